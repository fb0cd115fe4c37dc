//! The server as a process: started, watched until it is ready, killed by its id.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use millstream_clock::{Clock as _, SystemClock, task};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::Error;

/// Longest time that a start may take.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// What is started, and where it keeps its data.
#[derive(Clone, Debug)]
pub struct Program {
    /// The binary.
    pub bin: PathBuf,
    /// The data directory.
    pub data_dir: PathBuf,
    /// Gets what the server says on stderr, all starts one behind the other.
    pub log: PathBuf,
}

/// A server that is ready.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it serves.
    pub address: SocketAddr,
    /// Where it serves its metrics.
    pub admin: SocketAddr,
    /// From its start until it was ready.
    pub recovery: Duration,
}

/// How a start ended.
#[derive(Debug)]
pub enum Start {
    /// It serves.
    Ready(Box<Server>),
    /// It was killed before that, as asked.
    Killed,
    /// It ended by itself, in words.
    Refused(String),
}

impl Program {
    /// Starts the server. With `kill_after` it is killed then unless it is ready before.
    ///
    /// # Errors
    /// When it cannot be started or says nothing for too long.
    pub async fn start(&self, kill_after: Option<Duration>) -> Result<Start, Error> {
        let clock = SystemClock::new();
        let admin = free_address()?;
        let mut child = self.command(admin)?.spawn()?;
        let stdout = child.stdout.take().ok_or("the server has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(address) = line.strip_prefix("export AWS_ENDPOINT_URL=http://") {
                    return Ok::<_, Error>(Some(address.parse::<SocketAddr>()?));
                }
            }
            Ok(None)
        };
        match task::timeout(kill_after.unwrap_or(START_DEADLINE), ready).await {
            Ok(answer) => match answer? {
                Some(address) => {
                    let recovery = clock.monotonic();
                    // keeps reading, so that the server never writes into a closed pipe
                    task::spawn("crash-server-stdout", async move {
                        while let Ok(Some(_)) = lines.next_line().await {}
                    });
                    Ok(Start::Ready(Box::new(Server {
                        child,
                        address,
                        admin,
                        recovery,
                    })))
                },
                None => Ok(Start::Refused(format!(
                    "the server ended: {}",
                    child.wait().await?
                ))),
            },
            Err(_) if kill_after.is_some() => {
                child.kill().await?;
                Ok(Start::Killed)
            },
            Err(_) => {
                child.kill().await?;
                Err("the server was not ready in time".into())
            },
        }
    }

    fn command(&self, admin: SocketAddr) -> Result<Command, Error> {
        let log: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = Command::new(&self.bin);
        command
            .arg("server")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                &admin.to_string(),
            ])
            .args(["--wal-file-bytes", "4MiB", "--checkpoint-bytes", "8MiB"])
            .args(["--segment-bytes", "1MiB"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        Ok(command)
    }
}

impl Server {
    /// SIGKILL, and the wait for its end.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn kill(mut self) -> Result<(), Error> {
        Ok(self.child.kill().await?)
    }
}

/// An address on loopback where nobody listened a moment ago.
fn free_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The end of the server's log, for the report of a failure.
#[must_use]
pub fn log_end(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
