//! Reads every shard from a position on, as a consumer with a checkpoint does.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_stream::{GetRecordsOutput, Kind, StartingPosition, Stream};
use millstream_types::{SequenceNumber, ShardId, ShardUid};

use super::{Client, producer};
use crate::history::Shown;
use crate::layout;

/// Most records of one read.
const RECORDS_MAX: u64 = 200;

/// How far a shard was read.
struct Place {
    stream: Arc<Stream>,
    shard: ShardId,
    iterator: Option<String>,
    /// Number of the next record; not known while LATEST has shown nothing.
    next: Option<u64>,
    /// The last record that was read.
    last: Option<SequenceNumber>,
}

pub(super) async fn run(client: Client) {
    let mut places: BTreeMap<ShardUid, Place> = BTreeMap::new();
    while client.pause(40, 160).await {
        let mut there = Vec::new();
        for stream in client.active() {
            for shard in stream.map().shards() {
                there.push(shard.uid);
                places.entry(shard.uid).or_insert_with(|| Place {
                    stream: Arc::clone(&stream),
                    shard: shard.id,
                    iterator: None,
                    next: None,
                    last: None,
                });
            }
        }
        places.retain(|uid, _| there.contains(uid));
        if there.is_empty() {
            continue;
        }
        let uid = there[client.dice.index(there.len())];
        if let Some(place) = places.get_mut(&uid) {
            step(&client, uid, place).await;
        }
    }
}

/// One read of a shard, with a new iterator where there is none.
async fn step(client: &Client, uid: ShardUid, place: &mut Place) {
    let (streams, scope) = (&client.gate.streams, layout::scope());
    if place.iterator.is_none() && !begin(client, place).await {
        return;
    }
    let Some(iterator) = place.iterator.take() else {
        return;
    };
    let began = client.history.reads(client.view);
    let limit = usize::try_from(client.dice.between(1, RECORDS_MAX)).expect("a few");
    match streams
        .get_records(scope, None, &iterator, Some(limit))
        .await
    {
        Ok(output) => {
            let records = records(&output);
            let first = records.first().map(|(number, _)| *number);
            if let Some(from) = place.next.or(first) {
                let next = records.last().map_or(from, |(number, _)| number + 1);
                let shown = Shown {
                    shard: uid,
                    from,
                    tip: (output.millis_behind_latest == 0).then_some(next),
                    records,
                };
                client.history.saw(client.view, began, shown);
                place.next = Some(next);
            }
            let last = output.records.last().map(|record| record.sequence_number);
            place.last = last.or(place.last);
            place.iterator = output.next_iterator;
        },
        Err(error) if error.kind() == Kind::Invalid => {
            client
                .history
                .failed(format!("an iterator was refused: {error}"));
        },
        Err(_) => {},
    }
}

/// Gets an iterator: after the last record, else at one end of the shard.
async fn begin(client: &Client, place: &mut Place) -> bool {
    let last = place.last.map(|number| number.to_string());
    let start = match &last {
        Some(number) => StartingPosition::AfterSequenceNumber(number),
        None if client.dice.chance(1, 4) => StartingPosition::Latest,
        None => StartingPosition::TrimHorizon,
    };
    if last.is_none() {
        let from_the_start = matches!(start, StartingPosition::TrimHorizon);
        place.next = from_the_start.then_some(1);
    }
    let (name, shard) = (place.stream.name(), place.shard.to_string());
    let given = client
        .gate
        .streams
        .iterator(layout::scope(), name, &shard, start);
    place.iterator = given.await.ok();
    place.iterator.is_some()
}

/// Numbers and ids of the records of a read.
pub(super) fn records(output: &GetRecordsOutput) -> Vec<(u64, u64)> {
    let records = output.records.iter();
    records
        .map(|record| {
            (
                record.sequence_number.counter,
                producer::id_of(&record.data),
            )
        })
        .collect()
}
