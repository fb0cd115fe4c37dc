//! GetRecords: durable records from an iterator on, and the iterator to go on with.

use std::sync::Arc;

use bytes::Bytes;
use millstream_storage::{Read, ReadLimit, ShardLog};
use millstream_types::{Millis, Scope, SequenceNumber, StreamName, caps};

use crate::amazon_time;
use crate::error::store::ReadFailure;
use crate::error::{Absent, GetRecordsError, RateExceeded, ShardNotFound};
use crate::iterator::{Position, is_beyond};
use crate::shard::Shard;
use crate::stream::Stream;
use crate::streams::Streams;
use crate::token::{OpenError, Purpose};

/// A record as GetRecords shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRecord {
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
    /// When it arrived.
    pub arrival: Millis,
    /// Its partition key, UTF-8.
    pub key: Bytes,
    /// The payload.
    pub data: Bytes,
}

impl ReadRecord {
    /// The partition key as text.
    #[must_use]
    pub fn partition_key(&self) -> &str {
        std::str::from_utf8(&self.key).unwrap_or_default()
    }
}

/// What a GetRecords found.
#[derive(Clone, Debug)]
pub struct GetRecordsOutput {
    /// The stream that was read.
    pub stream: Arc<Stream>,
    /// Adjacent records; empty at the tip.
    pub records: Vec<ReadRecord>,
    /// The iterator to go on with; none at the end of a closed shard.
    pub next_iterator: Option<String>,
    /// How far the last record returned is behind now; 0 at the tip.
    pub millis_behind_latest: u64,
}

impl<S: ShardLog> Streams<S> {
    /// Durable records from the iterator on: at most `limit` (10,000 when absent or more) and
    /// 10 MiB. `name` is the stream that the request names beside the iterator, if it does.
    ///
    /// # Errors
    /// When the iterator is foreign or expired, its shard is gone, or the store cannot answer.
    pub async fn get_records(
        &self,
        scope: &Scope,
        name: Option<&StreamName>,
        iterator: &str,
        limit: Option<usize>,
    ) -> Result<GetRecordsOutput, GetRecordsError> {
        let limit = ReadLimit {
            records: limit.unwrap_or(caps::GET_RECORDS_RECORDS_MAX),
            bytes: caps::GET_RECORDS_BYTES_MAX,
        };
        self.get_records_within(scope, name, iterator, limit).await
    }

    /// The same, for a caller with less room: at most `limit`, and never more than a GetRecords may
    /// return.
    ///
    /// # Errors
    /// As of [`Self::get_records`].
    pub async fn get_records_within(
        &self,
        scope: &Scope,
        name: Option<&StreamName>,
        iterator: &str,
        limit: ReadLimit,
    ) -> Result<GetRecordsOutput, GetRecordsError> {
        let started = self.inner.clock.monotonic();
        let position = self.open_iterator(scope, iterator)?;
        if name.is_some_and(|name| *name != position.stream) {
            return Err(GetRecordsError::IteratorInvalid);
        }
        let stream = match self.active(scope, &position.stream) {
            Ok(stream) if stream.uid == position.stream_uid => stream,
            Err(Absent::Untold) => return Err(GetRecordsError::Internal),
            Ok(_) | Err(Absent::NotFound(_)) => return Err(gone(scope, &position)),
        };
        let result = self.read_from(scope, &stream, &position, limit).await;
        let latency_us = self.micros_since(started);
        stream.counters.get_records.note(result.is_ok(), latency_us);
        result
    }

    fn open_iterator(&self, scope: &Scope, text: &str) -> Result<Position, GetRecordsError> {
        let now = self.inner.clock.now();
        let opened = self
            .inner
            .sealer
            .open(Purpose::ShardIterator, scope, text, now);
        let content = opened.map_err(|error| match error {
            OpenError::Invalid => GetRecordsError::IteratorInvalid,
            OpenError::Expired { issued } => GetRecordsError::Expired {
                created: amazon_time::shown(issued),
                now: amazon_time::shown(now),
                tolerated_ms: caps::ITERATOR_LIFE_MS,
            },
        })?;
        Position::decode(&content).map_err(|_| GetRecordsError::IteratorInvalid)
    }

    async fn read_from(
        &self,
        scope: &Scope,
        stream: &Arc<Stream>,
        position: &Position,
        limit: ReadLimit,
    ) -> Result<GetRecordsOutput, GetRecordsError> {
        let shard = stream
            .map
            .get(position.shard)
            .filter(|shard| shard.uid == position.shard_uid)
            .ok_or_else(|| gone(scope, position))?;
        let limit = ReadLimit {
            records: limit.records.clamp(1, caps::GET_RECORDS_RECORDS_MAX),
            bytes: limit.bytes.min(caps::GET_RECORDS_BYTES_MAX),
        };
        let read = self.inner.store.read(shard.uid, position.number, limit);
        match read.await.map_err(ReadFailure::from) {
            // it was given before the shard lost records, and would skip as many new ones
            Ok(read) if is_beyond(position.number, read.status.next) => {
                Err(GetRecordsError::IteratorInvalid)
            },
            Ok(read) => Ok(self.output(scope, stream, shard, read)),
            Err(ReadFailure::Gone) if self.misses_shard(stream, shard).await => {
                Err(GetRecordsError::Internal)
            },
            Err(ReadFailure::Gone) => Err(gone(scope, position)),
            Err(ReadFailure::Throttled) => Err(throttled(stream, shard)),
            Err(ReadFailure::Internal) => Err(GetRecordsError::Internal),
        }
    }

    fn output(
        &self,
        scope: &Scope,
        stream: &Arc<Stream>,
        shard: &Shard,
        read: Read,
    ) -> GetRecordsOutput {
        let now = self.inner.clock.now();
        let at_tip = read.next >= read.status.next;
        let millis_behind_latest = match read.records.last() {
            _ if at_tip => 0,
            // Behind the tip, so at least 1: 0 says that there is nothing more.
            Some(last) => now.since(last.arrival).max(1),
            None => now.since(read.status.last_arrival).max(1),
        };
        note_read(stream, shard, &read, millis_behind_latest);
        let next_iterator = if at_tip && read.status.sealed {
            None
        } else {
            let next = Position::new(stream, shard, read.next);
            Some(next.seal(&self.inner.sealer, scope, now))
        };
        let records = read
            .records
            .into_iter()
            .map(|record| ReadRecord {
                sequence_number: shard.sequence_number(record.number, record.arrival),
                arrival: record.arrival,
                key: record.key,
                data: record.data,
            })
            .collect();
        GetRecordsOutput {
            stream: Arc::clone(stream),
            records,
            next_iterator,
            millis_behind_latest,
        }
    }
}

fn gone(scope: &Scope, position: &Position) -> GetRecordsError {
    GetRecordsError::ShardNotFound(ShardNotFound {
        shard: position.shard,
        stream: position.stream.clone(),
        account: scope.account.clone(),
    })
}

fn throttled(stream: &Stream, shard: &Shard) -> GetRecordsError {
    stream.counters.read_throttled.add(1);
    shard.counters.read_throttled.add(1);
    GetRecordsError::Throttled(RateExceeded {
        shard: shard.id,
        stream: stream.name.clone(),
        account: stream.scope.account.clone(),
    })
}

fn note_read(stream: &Stream, shard: &Shard, read: &Read, behind_ms: u64) {
    let records = read.records.len() as u64;
    let bytes: u64 = read.records.iter().map(|r| r.data.len() as u64).sum();
    stream.counters.outgoing_records.add(records);
    stream.counters.outgoing_bytes.add(bytes);
    stream.counters.iterator_age_ms.add(behind_ms);
    shard.counters.outgoing_records.add(records);
    shard.counters.outgoing_bytes.add(bytes);
    shard.counters.reads.add(1);
    shard.counters.iterator_age_ms.add(behind_ms);
}
