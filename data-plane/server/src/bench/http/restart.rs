//! How long a killed server takes to its first acknowledgement, with 64 MiB of log to replay.

use std::path::Path;
use std::time::Duration;

use millstream_clock::{Clock, SystemClock, task};

use super::super::BenchError;
use super::super::payload::Payload;
use super::super::scenario::RECORD_BYTES;
use super::child::ChildServer;
use super::connection::Connection;
use super::requests;
use super::stream::{Stream, refused};

const LOG_BYTES: usize = 64 * 1024 * 1024;
const BATCH: usize = 100;
const SHARDS: usize = 64;
/// How long a refused put is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(2);

/// Milliseconds from the start of the process to its first acknowledgement.
pub(crate) async fn measure(
    data_dir: &Path,
    payload: &Payload,
    clock: &SystemClock,
) -> Result<f64, BenchError> {
    let server = ChildServer::start(data_dir).await?;
    let endpoint = server.served().endpoint;
    let stream = Stream::create(endpoint, SHARDS).await?;
    let puts = requests::puts(endpoint, &stream.name, payload, BATCH, 16);
    let mut connection = Connection::open(endpoint).await?;
    for number in 0..LOG_BYTES / (BATCH * RECORD_BYTES) {
        let answer = connection.send(&puts[number % puts.len()]).await?;
        if answer.status != 200 {
            return Err(refused(endpoint, "PutRecords", answer.status, answer.body));
        }
    }
    server.kill().await?;

    let begun = clock.monotonic();
    let server = ChildServer::start(data_dir).await?;
    let endpoint = server.served().endpoint;
    let put = requests::puts(endpoint, &stream.name, payload, 1, 1);
    let mut connection = Connection::open(endpoint).await?;
    loop {
        let status = connection.send(&put[0]).await?.status;
        let passed = clock.monotonic().saturating_sub(begun);
        if status == 200 {
            server.kill().await?;
            return Ok(passed.as_secs_f64() * 1e3);
        }
        if passed > PATIENCE {
            return Err(BenchError::Ended(
                "a restarted server takes no records".to_owned(),
            ));
        }
        task::sleep(AGAIN).await;
    }
}
