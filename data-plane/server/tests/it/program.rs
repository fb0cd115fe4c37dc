//! The built program as a child process.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Longest wait for an answer of the program.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How the last line that a ready server says begins.
const LAST_LINE: &str = "export AWS_DEFAULT_REGION=";

/// A running server; killed when dropped.
pub(crate) struct Program {
    child: Child,
    /// The lines on stdout before it was ready.
    pub(crate) exports: Vec<String>,
    /// The address of the first line.
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// `millstream server` over `data_dir`, on free ports.
pub(crate) fn command(data_dir: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command
        .arg("server")
        .arg("--data-dir")
        .arg(data_dir)
        .args(flags);
    command.env_clear().stdin(Stdio::null());
    command
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// Runs a server that is to end by itself; gives its code and what it said on stderr.
pub(crate) fn refused(data_dir: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let output = command(data_dir, flags).output().expect("started");
    assert!(output.stdout.is_empty(), "nothing is exported");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

impl Program {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start(data_dir: &Path, flags: &[&str]) -> Self {
        Self::launch(command(data_dir, flags))
    }

    /// The same, but its stderr is for [`Self::wait_with_stderr`].
    pub(crate) fn start_with_stderr(data_dir: &Path) -> Self {
        let mut command = command(data_dir, &[]);
        command.stderr(Stdio::piped());
        Self::launch(command)
    }

    fn launch(mut command: Command) -> Self {
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            &admin.to_string(),
        ]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
        let stdout = child.stdout.take().expect("piped");
        let mut exports: Vec<String> = Vec::new();
        for line in BufReader::new(stdout).lines() {
            exports.push(line.expect("a line"));
            if exports.iter().any(|line| line.starts_with(LAST_LINE)) {
                break;
            }
        }
        let url = exports.first().and_then(|line| line.split_once("://"));
        let addr = url
            .and_then(|(_, addr)| addr.parse().ok())
            .expect("an address on the first line");
        Self {
            child,
            exports,
            addr,
            admin,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// From now on the process cannot write to a file, as if its disk had failed.
    pub(crate) fn forbid_file_writes(&self) {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};

        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, none).expect("allowed");
    }

    /// Waits for the end; gives the code and what the server said on stderr.
    pub(crate) fn wait_with_stderr(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().expect("piped");
        stderr.read_to_string(&mut said).expect("UTF-8");
        (self.wait().code(), said)
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("waited")
    }

    /// The status and body of an admin page.
    pub(crate) fn admin_page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).expect("connected");
        stream.set_read_timeout(Some(ANSWER_TIME)).expect("set");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }

    /// Calls an operation; gives the status and the body.
    pub(crate) fn call(&self, operation: &str, body: &str) -> (u16, String) {
        self.try_call(operation, body).expect("an answer")
    }

    /// The same, for a server that may end instead of answering.
    pub(crate) fn try_call(&self, operation: &str, body: &str) -> Option<(u16, String)> {
        self.try_send(&request(operation, body, "connection: close\r\n"))
    }

    /// Sends a whole request that closes its connection; gives the status and the body.
    pub(crate) fn try_send(&self, request: &str) -> Option<(u16, String)> {
        let stream = TcpStream::connect(self.addr).ok()?;
        stream.set_read_timeout(Some(ANSWER_TIME)).expect("set");
        exchange(stream, request)
    }
}

/// Sends a request over a connection that the server closes; gives the status and the body.
pub(crate) fn exchange(mut stream: impl Read + Write, request: &str) -> Option<(u16, String)> {
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    Some((status?, body.to_owned()))
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A signed request.
pub(crate) fn request(operation: &str, body: &str, more: &str) -> String {
    let length = body.len();
    format!(
        "{}{more}content-length: {length}\r\n\r\n{body}",
        head(operation)
    )
}

/// The head of a signed request; its end is the caller's.
pub(crate) fn head(operation: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: x\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential=k/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00\r\n\
         x-amz-date: d\r\ncontent-type: application/x-amz-json-1.1\r\n\
         x-amz-target: Kinesis_20131202.{operation}\r\n"
    )
}
