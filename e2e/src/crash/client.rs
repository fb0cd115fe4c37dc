//! A small client: JSON 1.1 over one HTTP/1.1 connection, no retries, a deadline on every call.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use millstream_clock::task;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// Longest time that a call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Loopback mode wants a well-formed signature and does not check it.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
    Credential=AKIDEXAMPLE/20260101/us-east-1/kinesis/aws4_request, \
    SignedHeaders=host;x-amz-date, \
    Signature=0000000000000000000000000000000000000000000000000000000000000000";

/// Why a call has no good answer.
#[derive(Debug)]
pub enum CallError {
    /// The service answered an error.
    Service {
        /// HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// There was no whole answer: what became of the request is not known.
    NoAnswer(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { status, body } => write!(f, "the service answered {status}: {body}"),
            Self::NoAnswer(why) => write!(f, "no answer: {why}"),
        }
    }
}

impl std::error::Error for CallError {}

/// One connection.
pub struct Client {
    address: SocketAddr,
    sender: http1::SendRequest<Full<Bytes>>,
}

fn no_answer(error: impl fmt::Display) -> CallError {
    CallError::NoAnswer(error.to_string())
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(address: SocketAddr) -> Result<Self, CallError> {
        let stream = task::timeout(CALL_DEADLINE, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| no_answer("connecting took too long"))?;
        let stream = stream.map_err(no_answer)?;
        stream.set_nodelay(true).map_err(no_answer)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(no_answer)?;
        task::spawn("crash-connection", async move {
            // its end shows in the calls
            drop(connection.await);
        });
        Ok(Self { address, sender })
    }

    /// Calls an operation.
    ///
    /// # Errors
    /// What the service answered, or that it did not.
    pub async fn call<In: Serialize, Out: DeserializeOwned>(
        &mut self,
        operation: &str,
        input: &In,
    ) -> Result<Out, CallError> {
        let body = serde_json::to_vec(input).map_err(no_answer)?;
        let request = Request::post("/")
            .header("host", self.address.to_string())
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
            .header("x-amz-date", "20260101T000000Z")
            .header("authorization", AUTHORIZATION)
            .body(Full::new(Bytes::from(body)))
            .map_err(no_answer)?;
        let answer = self.send(request).await?;
        let answer: &[u8] = if answer.is_empty() { b"null" } else { &answer };
        serde_json::from_slice(answer).map_err(no_answer)
    }

    /// Gets a page of text.
    ///
    /// # Errors
    /// What was answered, or that nothing was.
    pub async fn get(&mut self, path: &str) -> Result<String, CallError> {
        let request = Request::get(path)
            .header("host", self.address.to_string())
            .body(Full::default())
            .map_err(no_answer)?;
        let page = self.send(request).await?;
        String::from_utf8(page.to_vec()).map_err(no_answer)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes, CallError> {
        let exchange = async {
            self.sender.ready().await.map_err(no_answer)?;
            let response = self.sender.send_request(request).await.map_err(no_answer)?;
            read(response).await
        };
        let answer = task::timeout(CALL_DEADLINE, exchange).await;
        let (status, body) = answer.map_err(|_| no_answer("it took too long"))??;
        if status == 200 {
            return Ok(body);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(CallError::Service { status, body })
    }
}

async fn read(response: Response<Incoming>) -> Result<(u16, Bytes), CallError> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(no_answer)?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(no_answer("the answer is over its limit"));
        }
    }
    Ok((status, bytes.freeze()))
}
