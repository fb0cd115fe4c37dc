//! GetRecords by one consumer, from the oldest record on, again and again.

use std::time::Duration;

use millstream_clock::{Clock, SystemClock};

use super::super::BenchError;
use super::super::payload::Payload;
use super::super::scenario::RECORD_BYTES;
use super::super::usage::as_f64;
use super::connection::{Connection, find};
use super::endpoint::Endpoint;
use super::requests;
use super::requests::request;
use super::stream::{Stream, call, refused};

/// Data to read: more than a server of ours keeps in memory.
const FILL_BYTES: usize = 192 * 1024 * 1024;
/// A slow server need not be filled further than this takes.
const FILL_MAX: Duration = Duration::from_secs(8);
const BATCH: usize = 500;

/// A filled stream of one shard.
pub(crate) struct Filled {
    endpoint: Endpoint,
    stream: Stream,
}

impl Filled {
    /// Makes the stream and fills it.
    pub(crate) async fn new(
        endpoint: Endpoint,
        payload: &Payload,
        clock: &SystemClock,
    ) -> Result<Self, BenchError> {
        let stream = Stream::create(endpoint, 1).await?;
        let puts = requests::puts(endpoint, &stream.name, payload, BATCH, 8);
        let mut connection = Connection::open(endpoint).await?;
        let end = clock.monotonic() + FILL_MAX;
        for number in 0..FILL_BYTES / (BATCH * RECORD_BYTES) {
            let answer = connection.send(&puts[number % puts.len()]).await?;
            if answer.status != 200 {
                return Err(refused(endpoint, "PutRecords", answer.status, answer.body));
            }
            if clock.monotonic() > end {
                break;
            }
        }
        Ok(Self { endpoint, stream })
    }

    /// Megabytes of data a second.
    pub(crate) async fn read(
        &self,
        clock: &SystemClock,
        how_long: Duration,
    ) -> Result<f64, BenchError> {
        let mut connection = Connection::open(self.endpoint).await?;
        let oldest = self.oldest().await?;
        let mut iterator = oldest.clone();
        let mut records = 0;
        let begun = clock.monotonic();
        while clock.monotonic().saturating_sub(begun) < how_long {
            let body = format!(r#"{{"ShardIterator":"{iterator}","Limit":10000}}"#);
            let sent = request(self.endpoint, "GetRecords", &body);
            let answer = connection.send(&sent).await?;
            if answer.status != 200 {
                return Err(refused(
                    self.endpoint,
                    "GetRecords",
                    answer.status,
                    answer.body,
                ));
            }
            let count = memchr::memmem::find_iter(answer.body, br#""PartitionKey""#).count();
            records += count as u64;
            iterator = match next(answer.body) {
                Some(next) if count > 0 => next,
                _ => oldest.clone(),
            };
        }
        let seconds = clock.monotonic().saturating_sub(begun).as_secs_f64();
        Ok(as_f64(records) * as_f64(RECORD_BYTES as u64) / seconds / 1e6)
    }

    /// Removes the stream.
    pub(crate) async fn delete(self) -> Result<(), BenchError> {
        self.stream.delete().await
    }

    async fn oldest(&self) -> Result<String, BenchError> {
        let body = format!(
            r#"{{"StreamName":"{}","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}}"#,
            self.stream.name
        );
        let answer = call(self.endpoint, "GetShardIterator", &body).await?;
        let iterator = answer["ShardIterator"].as_str();
        iterator
            .map(str::to_owned)
            .ok_or_else(|| BenchError::Server {
                endpoint: self.endpoint.to_string(),
                what: "GetShardIterator answered no iterator".to_owned(),
            })
    }
}

/// The next iterator, without parsing megabytes of records.
fn next(body: &[u8]) -> Option<String> {
    let name = br#""NextShardIterator":"#;
    let from = find(body, name)? + name.len();
    let rest = body.get(from..)?;
    let begin = find(rest, b"\"")? + 1;
    let end = begin + find(&rest[begin..], b"\"")?;
    let text = std::str::from_utf8(&rest[begin..end]).ok()?;
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_iterator_is_found_wherever_it_stands() {
        let body = br#"{"NextShardIterator": "AAA=","Records":[]}"#;
        assert_eq!(next(body).as_deref(), Some("AAA="));
        assert_eq!(next(br#"{"Records":[]}"#), None);
    }
}
