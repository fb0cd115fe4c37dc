//! A scenario over HTTP: as many connections as requests in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use millstream_clock::{Clock, SystemClock, task};
use serde_json::Value;

use super::super::BenchError;
use super::super::in_process::nanos_between;
use super::super::payload::Payload;
use super::super::sample::{Counted, Sample};
use super::super::scenario::Scenario;
use super::super::usage::{DiskUse, Usage};
use super::child::Metrics;
use super::connection::{Connection, find};
use super::endpoint::Endpoint;
use super::requests;
use super::stream::{Stream, refused};

/// Different requests, so that the keys spread over the shards.
const VARIANTS_SINGLE: usize = 1024;
const VARIANTS_BATCH: usize = 48;
/// How long answers are waited for at the end.
const GRACE: Duration = Duration::from_secs(5);

/// The server under load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    pub(crate) endpoint: Endpoint,
    /// Its process, to count what it uses.
    pub(crate) pid: Option<u32>,
    /// Where its metrics are.
    pub(crate) metrics: Option<Metrics>,
}

/// Loads the server for a while with the requests of a scenario.
pub(crate) async fn measure(
    served: Served,
    scenario: Scenario,
    how_long: Duration,
    payload: &Payload,
    clock: Arc<SystemClock>,
) -> Result<Sample, BenchError> {
    let Served {
        endpoint,
        pid,
        metrics,
    } = served;
    let stream = Stream::create(endpoint, scenario.shards).await?;
    let variants = if scenario.batch == 1 {
        VARIANTS_SINGLE
    } else {
        VARIANTS_BATCH
    };
    let puts = requests::puts(endpoint, &stream.name, payload, scenario.batch, variants);
    let mut connections = Vec::with_capacity(scenario.in_flight);
    for _ in 0..scenario.in_flight {
        connections.push(Connection::open(endpoint).await?);
    }
    let usage = pid.map(Usage::of).transpose()?;
    let disk = disk_use(metrics).await?;
    let begun = clock.monotonic();
    let work = Work {
        endpoint,
        puts: Arc::new(puts),
        batch: scenario.batch,
        next: Arc::new(AtomicUsize::new(0)),
        end: begun + how_long,
        clock: Arc::clone(&clock),
    };
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| task::spawn("load", work.clone().run(connection)))
        .collect();
    let mut ack_nanos = Vec::new();
    let mut records = 0;
    for task in tasks {
        let done = task.await.map_err(|e| BenchError::Ended(e.to_string()))??;
        ack_nanos.extend(done.ack_nanos);
        records += done.records;
    }
    let seconds = clock.monotonic().saturating_sub(begun).as_secs_f64();
    let after = pid.map(Usage::of).transpose()?;
    let disk_after = disk_use(metrics).await?;
    stream.delete().await?;
    Ok(Sample::of(Counted {
        records,
        seconds,
        ack_nanos,
        usage: after.zip(usage).map(|(after, before)| after.since(before)),
        disk: disk_after
            .zip(disk)
            .map(|(after, before)| after.since(before)),
    }))
}

async fn disk_use(metrics: Option<Metrics>) -> Result<Option<DiskUse>, BenchError> {
    match metrics {
        Some(metrics) => metrics.disk_use().await.map(Some),
        None => Ok(None),
    }
}

/// What each connection does.
#[derive(Clone)]
struct Work {
    endpoint: Endpoint,
    puts: Arc<Vec<Bytes>>,
    batch: usize,
    next: Arc<AtomicUsize>,
    end: Duration,
    clock: Arc<SystemClock>,
}

struct Done {
    ack_nanos: Vec<u64>,
    records: u64,
}

impl Work {
    async fn run(self, mut connection: Connection) -> Result<Done, BenchError> {
        let mut done = Done {
            ack_nanos: Vec::with_capacity(4096),
            records: 0,
        };
        loop {
            let sent = self.clock.monotonic();
            if sent >= self.end {
                return Ok(done);
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let put = &self.puts[number % self.puts.len()];
            let left = (self.end + GRACE).saturating_sub(sent);
            let answer = match task::timeout(left, connection.send(put)).await {
                Ok(Ok(answer)) => answer,
                // a slow server: what it did not answer does not count
                Err(_) => return Ok(done),
                Ok(Err(error)) => return Err(self.broken(&error, done.ack_nanos.len())),
            };
            let now = self.clock.monotonic();
            let accepted = match (answer.status, self.batch) {
                (200, 1) => 1,
                (200, batch) => batch - failed(answer.body)?,
                // throttled: the server says so, and it counts as nothing
                (400 | 500 | 503, _) if is_throttle(answer.body) => continue,
                (status, _) => return Err(refused(self.endpoint, "a put", status, answer.body)),
            };
            if accepted > 0 {
                done.ack_nanos.push(nanos_between(sent, now));
                done.records += accepted as u64;
            }
        }
    }
}

impl Work {
    fn broken(&self, error: &std::io::Error, answers: usize) -> BenchError {
        BenchError::Server {
            endpoint: self.endpoint.to_string(),
            what: format!("a connection broke after {answers} answers: {error}"),
        }
    }
}

fn is_throttle(body: &[u8]) -> bool {
    find(body, b"ProvisionedThroughputExceeded").is_some()
}

/// Entries of a PutRecords answer that were refused.
fn failed(body: &[u8]) -> Result<usize, BenchError> {
    // what nearly every answer says, without parsing all of it
    if find(body, br#""FailedRecordCount":0,"#).is_some()
        || find(body, br#""FailedRecordCount":0}"#).is_some()
    {
        return Ok(0);
    }
    let parsed: Value = serde_json::from_slice(body)
        .map_err(|error| BenchError::Ended(format!("PutRecords answered no JSON: {error}")))?;
    let failed = parsed["FailedRecordCount"].as_u64().unwrap_or(0);
    Ok(usize::try_from(failed).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_entries_are_counted_however_the_answer_is_written() {
        for (body, wanted) in [
            (r#"{"FailedRecordCount":0,"Records":[]}"#, 0),
            (r#"{"Records":[],"FailedRecordCount": 7}"#, 7),
            (r#"{"Records":[]}"#, 0),
        ] {
            assert_eq!(failed(body.as_bytes()).ok(), Some(wanted), "{body}");
        }
        assert!(failed(b"no").is_err());
    }
}
