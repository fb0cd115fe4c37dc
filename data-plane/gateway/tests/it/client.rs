//! A client of HTTP/1.1 that can misbehave, and one of HTTP/2.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use millstream_clock::task;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::STREAM;

const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A credential of the server's own region.
pub(crate) const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
    Credential=k/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00";

/// An answer, as far as tests look at it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1);
        lines.find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// The head of a signed request in AWS JSON; the end of the head is the caller's.
pub(crate) fn head(operation: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: x\r\nauthorization: {AUTHORIZATION}\r\nx-amz-date: d\r\n\
         content-type: application/x-amz-json-1.1\r\nx-amz-target: Kinesis_20131202.{operation}\r\n"
    )
}

/// A whole signed request.
pub(crate) fn request(operation: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{}content-length: {length}\r\n\r\n{body}", head(operation)).into_bytes()
}

/// The body of a PutRecord with about `bytes` of data in base64.
pub(crate) fn put_body(bytes: usize) -> String {
    let data = "A".repeat(bytes / 3 * 4);
    format!(r#"{{"StreamName":"{STREAM}","PartitionKey":"k","Data":"{data}"}}"#)
}

/// A connection.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("connected");
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("sent");
    }

    /// Reads one answer with a content length; none when the connection ends first.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = self.complete() {
                return Some(answer);
            }
            if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn ask(&mut self, operation: &str, body: &str) -> Answer {
        self.send(request(operation, body)).await;
        self.answer().await.expect("an answer")
    }

    /// Whether the server closes the connection (it may say something before).
    pub(crate) async fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        let limit = std::time::Duration::from_secs(10);
        task::timeout(limit, self.stream.read_to_end(&mut rest))
            .await
            .is_ok()
    }

    fn complete(&mut self) -> Option<Answer> {
        let end = self.read.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        let status = head.get(9..12)?.parse().ok()?;
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
        };
        let length = match status {
            100 => 0,
            _ => answer.header("content-length")?.parse().ok()?,
        };
        let whole = end + 4 + length;
        if self.read.len() < whole {
            return None;
        }
        answer.body = self.read[end + 4..whole].to_vec();
        self.read.drain(..whole);
        Some(answer)
    }
}

/// An HTTP/2 connection by prior knowledge.
pub(crate) async fn http2(addr: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(addr).await.expect("connected");
    let io = TokioIo::new(stream);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
        .await
        .expect("HTTP/2");
    // Ends when the sender and the server are gone.
    drop(task::spawn("http2-client", connection));
    sender
}

/// A signed HTTP/2 request.
pub(crate) fn http2_request(operation: &str, body: String) -> Request<Full<Bytes>> {
    let request = Request::post("http://x/")
        .header("authorization", AUTHORIZATION)
        .header("x-amz-date", "d")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("Kinesis_20131202.{operation}"));
    request
        .body(Full::new(Bytes::from(body)))
        .expect("a request")
}

/// The text of an HTTP/2 answer.
#[expect(clippy::disallowed_methods, reason = "bounded by Limited")]
pub(crate) async fn body_text(response: Response<hyper::body::Incoming>) -> String {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let bytes = body.collect().await.expect("an answer").to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}
