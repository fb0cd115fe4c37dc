//! GetRecords: limits, how far behind, the end of a shard.

use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::ManualClock;
use millstream_storage::memory::MemoryStore;
use millstream_storage::testkit::{Hooked, Hooks};
use millstream_storage::{Change, ReadError, ShardStore};
use millstream_stream::{Kind, SettingsChange, StartingPosition};
use parking_lot::Mutex;

use crate::bed::{Bed, START, entry, name, over_stores, payloads, scope};

over_stores! {
    records_come_back_as_they_were_put
    a_read_gives_at_most_limit_records_and_goes_on_after_them
    a_read_gives_at_most_10_mib
    behind_is_the_age_of_the_last_record_and_0_at_the_tip
    trimmed_records_are_skipped
    the_end_of_a_closed_shard_gives_no_iterator
    an_iterator_of_a_deleted_stream_says_so
    counters_count_what_was_read
}

async fn records_come_back_as_they_were_put<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    bed.clock.advance(5);
    let data = Bytes::from_static(&[0, 159, 146, 150]);
    let put = bed
        .streams
        .put_record(
            &scope(),
            &name("flights"),
            entry("ключ", data.clone()),
            None,
        )
        .await;
    let put = put.expect("durable");
    let iterator = bed.iterator("flights", StartingPosition::TrimHorizon).await;
    let read = bed.get(&iterator).await;
    let [record] = &read.records[..] else {
        unreachable!("one record was put");
    };
    assert_eq!(record.partition_key(), "ключ");
    assert_eq!(record.data, data);
    assert_eq!(record.arrival, START.plus(5));
    assert_eq!(record.sequence_number, put.sequence_number);
}

async fn a_read_gives_at_most_limit_records_and_goes_on_after_them<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    for data in ["a", "b", "c", "d", "e"] {
        bed.put("flights", data).await;
    }
    let mut iterator = bed.iterator("flights", StartingPosition::TrimHorizon).await;
    for expected in ["ab", "cd", "e", ""] {
        let read = bed
            .streams
            .get_records(&scope(), None, &iterator, Some(2))
            .await;
        let read = read.expect("records");
        assert_eq!(payloads(&read).concat(), expected);
        iterator = read.next_iterator.expect("an open shard goes on");
    }
}

async fn a_read_gives_at_most_10_mib<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    let change = SettingsChange {
        max_record_kib: Some(10 * 1024),
        ..SettingsChange::default()
    };
    bed.streams
        .update(&scope(), &name("flights"), change)
        .await
        .expect("a larger limit");
    let mib = 1024 * 1024;
    // One record fills a read by itself, two more do not fit together.
    for bytes in [10 * mib - 3, 6 * mib, 6 * mib, 1] {
        let entry = entry("key", vec![0; bytes]);
        let put = bed
            .streams
            .put_record(&scope(), &name("flights"), entry, None)
            .await;
        put.expect("durable");
    }
    let mut iterator = bed.iterator("flights", StartingPosition::TrimHorizon).await;
    let mut counts = Vec::new();
    for _ in 0..3 {
        let read = bed.get(&iterator).await;
        let bytes: usize = read.records.iter().map(|r| r.data.len()).sum();
        assert!(bytes <= 10 * mib);
        counts.push(read.records.len());
        iterator = read.next_iterator.expect("an open shard goes on");
    }
    assert_eq!(counts, [1, 1, 2]);
}

async fn behind_is_the_age_of_the_last_record_and_0_at_the_tip<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    for data in ["a", "b"] {
        bed.put("flights", data).await;
        bed.clock.advance(1_000);
    }
    let first = bed.iterator("flights", StartingPosition::TrimHorizon).await;
    let read = bed
        .streams
        .get_records(&scope(), None, &first, Some(1))
        .await
        .expect("a");
    assert_eq!(read.millis_behind_latest, 2_000);
    let next = read.next_iterator.expect("more");
    assert_eq!(bed.get(&next).await.millis_behind_latest, 0);
}

async fn trimmed_records_are_skipped<S: ShardStore>(bed: &Bed<S>) {
    let stream = bed.create("flights", 1).await;
    let mut numbers = Vec::new();
    for data in ["a", "b", "c"] {
        numbers.push(bed.put("flights", data).await.sequence_number.to_string());
    }
    let from_start = bed.iterator("flights", StartingPosition::TrimHorizon).await;
    let trim = Change::TrimShard {
        shard: stream.map().shards()[0].uid,
        before: 3,
    };
    bed.store.apply(vec![trim]).await.expect("trimmed");
    assert_eq!(payloads(&bed.get(&from_start).await), ["c"]);
    for start in [
        StartingPosition::TrimHorizon,
        StartingPosition::AtSequenceNumber(&numbers[0]),
        StartingPosition::AtTimestamp(START),
    ] {
        assert_eq!(bed.payloads("flights", start).await, ["c"], "{start:?}");
    }
}

async fn the_end_of_a_closed_shard_gives_no_iterator<S: ShardStore>(bed: &Bed<S>) {
    let stream = bed.create("flights", 1).await;
    for data in ["a", "b"] {
        bed.put("flights", data).await;
    }
    let seal = Change::SealShard(stream.map().shards()[0].uid);
    bed.store.apply(vec![seal]).await.expect("sealed");
    let first = bed.iterator("flights", StartingPosition::TrimHorizon).await;
    let read = bed
        .streams
        .get_records(&scope(), None, &first, Some(1))
        .await
        .expect("a");
    let next = read.next_iterator.expect("one record is left");
    let read = bed.get(&next).await;
    assert_eq!(
        (payloads(&read), read.next_iterator),
        (vec!["b".to_owned()], None)
    );
}

async fn an_iterator_of_a_deleted_stream_says_so<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    let iterator = bed.iterator("flights", StartingPosition::TrimHorizon).await;
    bed.streams
        .delete(&scope(), &name("flights"))
        .await
        .expect("deleted");
    let read = bed
        .streams
        .get_records(&scope(), None, &iterator, None)
        .await;
    let error = read.expect_err("the stream is gone");
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(
        error.to_string(),
        "Shard shardId-000000000000 in stream flights under account 000000000000 does not exist"
    );
}

async fn counters_count_what_was_read<S: ShardStore>(bed: &Bed<S>) {
    let stream = bed.create("flights", 1).await;
    bed.put("flights", "12345").await;
    bed.payloads("flights", StartingPosition::TrimHorizon).await;
    let counters = stream.counters();
    assert_eq!(counters.outgoing_records.get(), 1);
    assert_eq!(counters.outgoing_bytes.get(), 5);
    assert_eq!(counters.get_records.successes.get(), 1);
    assert_eq!(stream.map().shards()[0].counters.outgoing_bytes.get(), 5);
}

/// Reads fail as a test orders.
#[derive(Default)]
struct FailingReads(Mutex<Option<ReadError>>);

impl Hooks for FailingReads {
    fn read(&self) -> Result<(), ReadError> {
        self.0.lock().clone().map_or(Ok(()), Err)
    }
}

#[tokio::test]
async fn a_store_that_cannot_read_throttles_or_fails_the_call() {
    let clock = Arc::new(ManualClock::new(START));
    let store = Arc::new(Hooked {
        store: MemoryStore::new(clock.clone()),
        hooks: FailingReads::default(),
    });
    let bed = Bed::over(Arc::clone(&store), clock);
    let stream = bed.create("flights", 1).await;
    bed.put("flights", "a").await;
    let iterator = bed.iterator("flights", StartingPosition::TrimHorizon).await;
    let corrupt = ReadError::Corrupt {
        file: "seg/x".to_owned(),
        offset: 1,
    };
    for (failure, kind) in [
        (ReadError::Overloaded, Kind::Throttled),
        // Of an active stream: it is lost, and nobody may take it for a removed one.
        (ReadError::NoShard, Kind::Internal),
        (corrupt, Kind::Internal),
        (ReadError::Io("no".to_owned()), Kind::Internal),
    ] {
        *store.hooks.0.lock() = Some(failure.clone());
        let read = bed
            .streams
            .get_records(&scope(), None, &iterator, None)
            .await;
        assert_eq!(read.expect_err("ordered").kind(), kind, "{failure:?}");
        let at = StartingPosition::AtTimestamp(START);
        let given = bed
            .streams
            .iterator(&scope(), &name("flights"), "0", at)
            .await;
        assert_eq!(given.expect_err("ordered").kind(), kind, "{failure:?}");
    }
    assert_eq!(stream.counters().read_throttled.get(), 1);
    *store.hooks.0.lock() = None;
    assert_eq!(payloads(&bed.get(&iterator).await), ["a"]);
}
