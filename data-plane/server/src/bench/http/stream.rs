//! Streams of a server: made before a measurement, removed after it.

use std::time::Duration;

use millstream_clock::{Entropy as _, SystemEntropy, task};
use serde_json::Value;

use super::super::BenchError;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::requests::request;

/// How often, and how many times, a new stream is looked at.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS_MAX: usize = 1000;

/// A stream on a server.
pub(crate) struct Stream {
    endpoint: Endpoint,
    pub(crate) name: String,
}

impl Stream {
    /// Makes a stream and waits until it is active.
    pub(crate) async fn create(endpoint: Endpoint, shards: usize) -> Result<Self, BenchError> {
        let name = format!("bench-{:016x}", SystemEntropy.u64());
        let body = format!(r#"{{"StreamName":"{name}","ShardCount":{shards}}}"#);
        call(endpoint, "CreateStream", &body).await?;
        let stream = Self { endpoint, name };
        for _ in 0..LOOKS_MAX {
            let seen = call(endpoint, "DescribeStreamSummary", &stream.body()).await?;
            if seen["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE" {
                return Ok(stream);
            }
            task::sleep(LOOK).await;
        }
        Err(BenchError::Server {
            endpoint: endpoint.to_string(),
            what: format!("stream {} does not become active", stream.name),
        })
    }

    /// Removes it with its records.
    pub(crate) async fn delete(self) -> Result<(), BenchError> {
        let body = self.body();
        call(self.endpoint, "DeleteStream", &body).await.map(drop)
    }

    fn body(&self) -> String {
        format!(r#"{{"StreamName":"{}"}}"#, self.name)
    }
}

/// One call on a connection of its own. An empty answer is null.
pub(crate) async fn call(
    endpoint: Endpoint,
    operation: &str,
    body: &str,
) -> Result<Value, BenchError> {
    let mut connection = Connection::open(endpoint).await?;
    let sent = request(endpoint, operation, body);
    let answer = connection.send(&sent).await?;
    if answer.status != 200 {
        return Err(refused(endpoint, operation, answer.status, answer.body));
    }
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(answer.body).map_err(|error| BenchError::Server {
        endpoint: endpoint.to_string(),
        what: format!("{operation} answered no JSON: {error}"),
    })
}

/// The error for an answer that is no success.
pub(crate) fn refused(endpoint: Endpoint, operation: &str, status: u16, body: &[u8]) -> BenchError {
    let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
    BenchError::Server {
        endpoint: endpoint.to_string(),
        what: format!("{operation} answered {status}: {text}"),
    }
}
