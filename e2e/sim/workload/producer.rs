//! Puts records, one or several at a time; now and then looks for what was just acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use millstream_storage::history::AppendId;
use millstream_stream::error::EntryError;
use millstream_stream::{Kind, PutEntry, PutOutput, StartingPosition, Stream};
use millstream_types::{HashKey, PartitionKey, ShardUid};

use super::{Client, consumer};
use crate::history::Shown;
use crate::layout;

/// Partition keys in use.
const KEYS: u64 = 24;
/// Most entries of a PutRecords.
const ENTRIES_MAX: u64 = 6;
/// Most bytes that fill a record up.
const FILL_BYTES_MAX: u64 = 120;
/// Attempts of an SDK, the first among them.
const ATTEMPTS: usize = 3;

pub(super) async fn run(client: Client) {
    while client.pause(20, 160).await {
        let streams = client.active();
        if streams.is_empty() {
            continue;
        }
        let stream = &streams[client.dice.index(streams.len())];
        let keys = if client.dice.chance(1, 4) {
            client.dice.between(2, ENTRIES_MAX)
        } else {
            1
        };
        let mut keys: Vec<PartitionKey> = (0..keys).map(|_| key(&client)).collect();
        for attempt in 1..=ATTEMPTS {
            let put_one = keys.len() == 1 && attempt == 1;
            keys = if put_one {
                put_record(&client, stream, keys).await
            } else {
                put_records(&client, stream, keys).await
            };
            if keys.is_empty() || !client.pause(20, 200).await {
                break;
            }
        }
    }
}

fn key(client: &Client) -> PartitionKey {
    let key = format!("key-{}", client.dice.below(KEYS));
    key.parse().expect("a partition key")
}

/// A record: its id, and something to fill it up.
fn entry(client: &Client, key: &PartitionKey, id: u64) -> PutEntry {
    let fill = usize::try_from(client.dice.below(FILL_BYTES_MAX)).expect("a few bytes");
    let mut data = BytesMut::with_capacity(8 + fill);
    data.put_u64(id);
    data.put_bytes(b'.', fill);
    PutEntry {
        partition_key: key.clone(),
        explicit_hash_key: None,
        data: data.freeze(),
    }
}

/// The id of a record from its data.
pub(super) fn id_of(data: &Bytes) -> u64 {
    let bytes = data.first_chunk::<8>();
    bytes.map_or(millstream_storage::history::GARBLED, |b| {
        u64::from_be_bytes(*b)
    })
}

fn shard_of(stream: &Stream, key: &PartitionKey) -> ShardUid {
    stream
        .map()
        .route(HashKey::of_partition_key(key.as_str()))
        .uid
}

/// The stream as the next request will find it, if it is the same one.
fn same(client: &Client, stream: &Arc<Stream>) -> bool {
    let now = client.gate.streams.get(layout::scope(), stream.name());
    now.is_ok_and(|now| now.uid() == stream.uid())
}

/// One PutRecord; the keys that are to be tried again.
async fn put_record(
    client: &Client,
    stream: &Arc<Stream>,
    keys: Vec<PartitionKey>,
) -> Vec<PartitionKey> {
    let (streams, key) = (&client.gate.streams, &keys[0]);
    if !same(client, stream) {
        return Vec::new();
    }
    let (shard, id) = (shard_of(stream, key), client.history.id());
    let entry = entry(client, key, id);
    let append = client.history.sends(shard, &[id]);
    let put = streams.put_record(layout::scope(), stream.name(), entry, None);
    match put.await {
        Ok(output) => {
            let number = output.sequence_number.counter;
            client.history.acked(client.view, append, 1, number);
            if client.dice.chance(1, 6) {
                look_for(client, stream, shard, &output).await;
            }
            Vec::new()
        },
        Err(error) if error.kind() == Kind::Internal => {
            client.history.unknown(1);
            keys
        },
        Err(error) => {
            client.history.refused(append, 1);
            if error.kind() == Kind::Throttled {
                keys
            } else {
                Vec::new()
            }
        },
    }
}

/// The entries of a request that go to one shard.
struct Group {
    append: AppendId,
    /// Places in the request.
    places: Vec<usize>,
}

/// One PutRecords; the keys that are to be tried again.
async fn put_records(
    client: &Client,
    stream: &Arc<Stream>,
    keys: Vec<PartitionKey>,
) -> Vec<PartitionKey> {
    if !same(client, stream) {
        return Vec::new();
    }
    let ids: Vec<u64> = keys.iter().map(|_| client.history.id()).collect();
    let entries = keys.iter().zip(&ids);
    let entries: Vec<PutEntry> = entries.map(|(key, id)| entry(client, key, *id)).collect();
    let mut by_shard: BTreeMap<ShardUid, Vec<usize>> = BTreeMap::new();
    for (place, key) in keys.iter().enumerate() {
        by_shard
            .entry(shard_of(stream, key))
            .or_default()
            .push(place);
    }
    let mut groups = Vec::new();
    for (shard, places) in by_shard {
        let ids: Vec<u64> = places.iter().map(|place| ids[*place]).collect();
        let append = client.history.sends(shard, &ids);
        groups.push(Group { append, places });
    }
    let put = client
        .gate
        .streams
        .put_records(layout::scope(), stream.name(), entries);
    let Ok(output) = put.await else {
        for group in groups {
            client
                .history
                .refused(group.append, group.places.len() as u64);
        }
        return Vec::new();
    };
    let mut again = Vec::new();
    for group in groups {
        let records = group.places.len() as u64;
        match &output.results[group.places[0]] {
            Ok(first) => {
                let first = first.sequence_number.counter;
                client
                    .history
                    .acked(client.view, group.append, records, first);
                check_adjacent(client, &group, first, &output.results);
            },
            Err(error) => {
                match error.kind() {
                    Kind::Throttled => client.history.refused(group.append, records),
                    _ => client.history.unknown(records),
                }
                again.extend(group.places.iter().map(|place| keys[*place].clone()));
            },
        }
    }
    again
}

/// Entries of one shard have adjacent numbers, in the order of the request.
fn check_adjacent(
    client: &Client,
    group: &Group,
    first: u64,
    results: &[Result<PutOutput, EntryError>],
) {
    for (number, place) in (first..).zip(&group.places) {
        let is_next = |put: &PutOutput| put.sequence_number.counter == number;
        if !results[*place].as_ref().is_ok_and(is_next) {
            let got = &results[*place];
            client
                .history
                .failed(format!("entry {place} should be number {number}: {got:?}"));
        }
    }
}

/// Reads at the number that was just acknowledged, through the same gateway.
async fn look_for(client: &Client, stream: &Arc<Stream>, shard: ShardUid, put: &PutOutput) {
    let (scope, number) = (layout::scope(), put.sequence_number.counter);
    let began = client.history.reads(client.view);
    let (shard_id, sequence) = (put.shard.to_string(), put.sequence_number.to_string());
    let start = StartingPosition::AtSequenceNumber(&sequence);
    let given = client
        .gate
        .streams
        .iterator(scope, stream.name(), &shard_id, start);
    let Ok(iterator) = given.await else {
        return;
    };
    let read = client
        .gate
        .streams
        .get_records(scope, None, &iterator, Some(1));
    if let Ok(output) = read.await {
        let records = consumer::records(&output);
        let shown = Shown {
            shard,
            from: number,
            tip: records.is_empty().then_some(number),
            records,
        };
        client.history.saw(client.view, began, shown);
    }
}
