//! PutRecord and PutRecords: a record's shard, its limits, one append, its sequence number.
//!
//! An append is never repeated here: after an error that leaves its fate open, a second one
//! could make the record twice.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use millstream_storage::{Append, NewRecord, ReadError, ShardLog};
use millstream_types::{HashKey, PartitionKey, Scope, SequenceNumber, ShardId, StreamName, caps};

use crate::error::store::{AppendFailure, ReadFailure};
use crate::error::{
    EntryError, PutRecordError, PutRecordsError, RateExceeded, RecordTooLarge, StreamNotFound,
};
use crate::shard::Shard;
use crate::stream::Stream;
use crate::streams::Streams;

/// A record to put.
#[derive(Clone, Debug)]
pub struct PutEntry {
    /// Decides the shard, unless an explicit hash key does.
    pub partition_key: PartitionKey,
    /// Decides the shard instead of the partition key.
    pub explicit_hash_key: Option<HashKey>,
    /// The payload.
    pub data: Bytes,
}

impl PutEntry {
    fn hash_key(&self) -> HashKey {
        self.explicit_hash_key
            .unwrap_or_else(|| HashKey::of_partition_key(self.partition_key.as_str()))
    }

    fn bytes(&self) -> usize {
        self.partition_key.as_str().len() + self.data.len()
    }

    fn into_record(self) -> NewRecord {
        NewRecord {
            key: Bytes::copy_from_slice(self.partition_key.as_str().as_bytes()),
            data: self.data,
        }
    }
}

/// Where a record is now durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutOutput {
    /// Its shard.
    pub shard: ShardId,
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
}

/// What became of each entry of a PutRecords, in the order of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutRecordsOutput {
    /// One result for each entry.
    pub results: Vec<Result<PutOutput, EntryError>>,
    /// How many of them failed.
    pub failed: usize,
}

impl<S: ShardLog> Streams<S> {
    /// Puts one record and waits until it is durable. `ordering` is `SequenceNumberForOrdering`:
    /// numbers of a shard grow in any case, so it is only checked.
    ///
    /// # Errors
    /// When the stream does not exist, the record or `ordering` is not allowed, or the store
    /// refuses.
    pub async fn put_record(
        &self,
        scope: &Scope,
        name: &StreamName,
        entry: PutEntry,
        ordering: Option<&str>,
    ) -> Result<PutOutput, PutRecordError> {
        let stream = self.active(scope, name)?;
        let started = self.inner.clock.monotonic();
        let result = self.put_one(&stream, entry, ordering).await;
        let latency_us = self.micros_since(started);
        stream.counters.put_record.note(result.is_ok(), latency_us);
        result
    }

    async fn put_one(
        &self,
        stream: &Stream,
        entry: PutEntry,
        ordering: Option<&str>,
    ) -> Result<PutOutput, PutRecordError> {
        check_size(stream, 1, &entry)?;
        let shard = stream.map.route(entry.hash_key());
        if let Some(number) = ordering {
            self.check_ordering(stream, number).await?;
        }
        let data_bytes = entry.data.len() as u64;
        let append = Append {
            shard: shard.uid,
            records: vec![entry.into_record()],
        };
        let outcome = match self.inner.store.append(vec![append]).await {
            Ok(results) => results[0].map_err(AppendFailure::from),
            Err(error) => Err(AppendFailure::from(error)),
        };
        match outcome {
            Ok(appended) => {
                note_durable(stream, shard, 1, data_bytes);
                stream.counters.put_record_bytes.add(data_bytes);
                Ok(PutOutput {
                    shard: shard.id,
                    sequence_number: shard.sequence_number(appended.first, appended.arrival),
                })
            },
            Err(AppendFailure::Gone) if self.misses_shard(stream, shard).await => {
                Err(PutRecordError::Internal)
            },
            Err(AppendFailure::Gone) => {
                Err(StreamNotFound::new(&stream.scope, &stream.name).into())
            },
            Err(AppendFailure::Throttled) => {
                note_throttled(stream, shard, 1);
                Err(rate_exceeded(stream, shard).into())
            },
            Err(AppendFailure::Internal) => Err(PutRecordError::Internal),
        }
    }

    /// Refuses what cannot be a number that was given before. A number of another shard or stream
    /// is allowed, as on AWS: AWS's own example passes the number of the record before, whatever
    /// its partition key.
    async fn check_ordering(&self, stream: &Stream, text: &str) -> Result<(), PutRecordError> {
        let given_before = match text.parse::<SequenceNumber>() {
            Ok(number) => self.was_given(stream, &number).await?,
            Err(_) => false,
        };
        if given_before {
            return Ok(());
        }
        Err(PutRecordError::Ordering {
            number: text.to_owned(),
            stream: stream.name.clone(),
            account: stream.scope.account.clone(),
        })
    }

    async fn was_given(
        &self,
        stream: &Stream,
        number: &SequenceNumber,
    ) -> Result<bool, PutRecordError> {
        let shard = stream.map.get(ShardId(number.shard_index));
        let Some(shard) = shard.filter(|shard| shard.created_s == number.created_s) else {
            let now_s = self.inner.clock.now().seconds();
            return Ok(number.created_s.max(number.put_s) <= now_s);
        };
        // The clock may have been set back since: the counter is what counts.
        match self.inner.store.status(shard.uid).await {
            Ok(status) => Ok(number.counter < status.next),
            Err(ReadError::NoShard) => Ok(number.counter < 1),
            Err(error) => Err(match ReadFailure::from(error) {
                ReadFailure::Throttled => rate_exceeded(stream, shard).into(),
                ReadFailure::Gone | ReadFailure::Internal => PutRecordError::Internal,
            }),
        }
    }

    /// Puts up to 500 records with one append. Entries of one shard keep their order.
    ///
    /// # Errors
    /// When the stream does not exist or the request or an entry is too large; nothing is durable
    /// then. Everything else is an entry's own result.
    pub async fn put_records(
        &self,
        scope: &Scope,
        name: &StreamName,
        entries: Vec<PutEntry>,
    ) -> Result<PutRecordsOutput, PutRecordsError> {
        let stream = self.active(scope, name)?;
        let bytes: usize = entries.iter().map(PutEntry::bytes).sum();
        if entries.len() > caps::PUT_RECORDS_ENTRIES_MAX || bytes > caps::PUT_RECORDS_BYTES_MAX {
            return Err(PutRecordsError::RequestTooLarge {
                entries: caps::PUT_RECORDS_ENTRIES_MAX,
                bytes: caps::PUT_RECORDS_BYTES_MAX,
            });
        }
        for (place, entry) in (1..).zip(&entries) {
            check_size(&stream, place, entry)?;
        }
        if entries.is_empty() {
            return Ok(PutRecordsOutput::default());
        }
        let started = self.inner.clock.monotonic();
        let output = self.put_all(&stream, entries).await;
        let success = output.failed < output.results.len();
        let latency_us = self.micros_since(started);
        stream.counters.put_records.note(success, latency_us);
        note_entries(&stream, &output);
        Ok(output)
    }

    async fn put_all(&self, stream: &Stream, entries: Vec<PutEntry>) -> PutRecordsOutput {
        let grouped = Grouped::of(stream, entries);
        let outcomes: Vec<Result<_, AppendFailure>> =
            match self.inner.store.append(grouped.appends).await {
                Ok(results) => results
                    .into_iter()
                    .map(|result| result.map_err(AppendFailure::from))
                    .collect(),
                Err(error) => vec![Err(AppendFailure::from(error)); grouped.groups.len()],
            };
        for (group, outcome) in grouped.groups.iter().zip(&outcomes) {
            match outcome {
                Ok(_) => {
                    note_durable(stream, group.shard, group.records, group.data_bytes);
                    stream.counters.put_records_bytes.add(group.data_bytes);
                },
                Err(AppendFailure::Throttled) => {
                    note_throttled(stream, group.shard, group.records);
                },
                Err(AppendFailure::Gone | AppendFailure::Internal) => {},
            }
        }
        let mut failed = 0;
        let mut results = Vec::with_capacity(grouped.places.len());
        for Place { group, offset } in grouped.places {
            let shard = grouped.groups[group].shard;
            results.push(match outcomes[group] {
                Ok(appended) => Ok(PutOutput {
                    shard: shard.id,
                    sequence_number: shard
                        .sequence_number(appended.first + offset, appended.arrival),
                }),
                Err(failure) => {
                    failed += 1;
                    Err(match failure {
                        AppendFailure::Throttled => rate_exceeded(stream, shard).into(),
                        AppendFailure::Gone | AppendFailure::Internal => EntryError::Internal,
                    })
                },
            });
        }
        PutRecordsOutput { results, failed }
    }

    pub(crate) fn micros_since(&self, started: Duration) -> u64 {
        let elapsed = self.inner.clock.monotonic().saturating_sub(started);
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Entries by shard.
struct Grouped<'a> {
    appends: Vec<Append>,
    /// One for each append.
    groups: Vec<Group<'a>>,
    /// One for each entry, in the order of the request.
    places: Vec<Place>,
}

struct Group<'a> {
    shard: &'a Shard,
    records: u64,
    data_bytes: u64,
}

struct Place {
    group: usize,
    /// How many entries of the group come before.
    offset: u64,
}

impl<'a> Grouped<'a> {
    fn of(stream: &'a Stream, entries: Vec<PutEntry>) -> Self {
        let mut grouped = Self {
            appends: Vec::new(),
            groups: Vec::new(),
            places: Vec::with_capacity(entries.len()),
        };
        let mut group_of_shard: HashMap<ShardId, usize> = HashMap::new();
        for entry in entries {
            let shard = stream.map.route(entry.hash_key());
            let group = *group_of_shard.entry(shard.id).or_insert_with(|| {
                grouped.groups.push(Group {
                    shard,
                    records: 0,
                    data_bytes: 0,
                });
                grouped.appends.push(Append {
                    shard: shard.uid,
                    records: Vec::new(),
                });
                grouped.groups.len() - 1
            });
            let offset = grouped.groups[group].records;
            grouped.groups[group].records += 1;
            grouped.groups[group].data_bytes += entry.data.len() as u64;
            grouped.places.push(Place { group, offset });
            grouped.appends[group].records.push(entry.into_record());
        }
        grouped
    }
}

fn check_size(stream: &Stream, place: usize, entry: &PutEntry) -> Result<(), RecordTooLarge> {
    let (bytes, limit) = (entry.bytes(), stream.record_bytes_max());
    if bytes > limit {
        return Err(RecordTooLarge {
            entry: place,
            bytes,
            limit,
        });
    }
    Ok(())
}

fn rate_exceeded(stream: &Stream, shard: &Shard) -> RateExceeded {
    RateExceeded {
        shard: shard.id,
        stream: stream.name.clone(),
        account: stream.scope.account.clone(),
    }
}

fn note_durable(stream: &Stream, shard: &Shard, records: u64, data_bytes: u64) {
    stream.counters.incoming_records.add(records);
    stream.counters.incoming_bytes.add(data_bytes);
    shard.counters.incoming_records.add(records);
    shard.counters.incoming_bytes.add(data_bytes);
}

fn note_throttled(stream: &Stream, shard: &Shard, records: u64) {
    stream.counters.write_throttled.add(records);
    shard.counters.write_throttled.add(records);
}

fn note_entries(stream: &Stream, output: &PutRecordsOutput) {
    let (total, failed) = (output.results.len() as u64, output.failed as u64);
    let throttled = output
        .results
        .iter()
        .filter(|result| matches!(result, Err(EntryError::Throttled(_))))
        .count() as u64;
    stream.counters.put_records_total.add(total);
    stream.counters.put_records_successful.add(total - failed);
    stream.counters.put_records_throttled.add(throttled);
    stream.counters.put_records_failed.add(failed - throttled);
}
