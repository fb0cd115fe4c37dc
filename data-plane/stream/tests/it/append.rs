//! PutRecord and PutRecords.

use bytes::Bytes;
use millstream_storage::{Change, ShardStore, StoreError};
use millstream_stream::error::{PutRecordError, PutRecordsError};
use millstream_stream::{Kind, SettingsChange, StartingPosition};
use millstream_types::{HashKey, SequenceNumber, ShardId};

use crate::bed::{self, Bed, START, entry, entry_at, name, over_stores, scope};

over_stores! {
    a_record_goes_to_the_shard_of_its_key_or_of_its_explicit_hash_key
    sequence_numbers_carry_shard_and_time_and_are_dense
    put_records_answers_in_the_order_of_the_request_and_keeps_it_in_each_shard
    put_to_a_stream_that_does_not_exist_is_refused
    sizes_are_held_against_the_stream
    ordering_takes_numbers_given_before_and_nothing_else
    counters_count_what_became_durable
}

const HALF: u128 = 1 << 127;

async fn a_record_goes_to_the_shard_of_its_key_or_of_its_explicit_hash_key<S: ShardStore>(
    bed: &Bed<S>,
) {
    let stream = bed.create("flights", 4).await;
    for key in ["N14228", "N24211", "unknown", "é"] {
        let put = bed
            .streams
            .put_record(&scope(), &name("flights"), entry(key, "x"), None)
            .await;
        let shard = stream
            .map()
            .get(put.expect("durable").shard)
            .expect("a shard");
        assert!(
            shard.range.contains(HashKey::of_partition_key(key)),
            "{key}"
        );
    }
    for (hash_key, index) in [(0, 0), (HALF - 1, 1), (HALF, 2), (u128::MAX, 3)] {
        let entry = entry_at(hash_key, "x");
        let put = bed
            .streams
            .put_record(&scope(), &name("flights"), entry, None)
            .await;
        assert_eq!(put.expect("durable").shard, ShardId(index));
    }
}

async fn sequence_numbers_carry_shard_and_time_and_are_dense<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 2).await;
    bed.clock.advance(90_000);
    for counter in 1..=3 {
        let put = bed
            .streams
            .put_record(&scope(), &name("flights"), entry_at(HALF, "x"), None)
            .await
            .expect("durable");
        let expected = SequenceNumber {
            created_s: START.seconds(),
            shard_index: 1,
            counter,
            put_s: START.seconds() + 90,
        };
        assert_eq!(put.sequence_number, expected);
    }
}

async fn put_records_answers_in_the_order_of_the_request_and_keeps_it_in_each_shard<
    S: ShardStore,
>(
    bed: &Bed<S>,
) {
    bed.create("flights", 2).await;
    let keys = [HALF, 0, HALF, HALF, 0];
    let entries = keys
        .iter()
        .zip(0..)
        .map(|(key, i): (_, u8)| entry_at(*key, vec![b'0' + i]))
        .collect();
    let output = bed
        .streams
        .put_records(&scope(), &name("flights"), entries)
        .await;
    let output = output.expect("a request within the limits");
    assert_eq!(output.failed, 0);
    let places: Vec<(u32, u64)> = output
        .results
        .iter()
        .map(|r| r.as_ref().expect("durable"))
        .map(|put| (put.shard.0, put.sequence_number.counter))
        .collect();
    assert_eq!(places, [(1, 1), (0, 1), (1, 2), (1, 3), (0, 2)]);
    assert_eq!(
        bed.payloads("flights", StartingPosition::TrimHorizon).await,
        ["1", "4"]
    );
}

async fn put_to_a_stream_that_does_not_exist_is_refused<S: ShardStore>(bed: &Bed<S>) {
    let put = bed
        .streams
        .put_record(&scope(), &name("none"), entry("k", "x"), None)
        .await;
    let error = put.expect_err("no stream");
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(
        error.to_string(),
        "Stream none under account 000000000000 not found."
    );
    let puts = bed
        .streams
        .put_records(&scope(), &name("none"), vec![entry("k", "x")])
        .await;
    assert_eq!(puts.expect_err("no stream").kind(), Kind::NotFound);
}

async fn sizes_are_held_against_the_stream<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    let limit = 1024 * 1024;
    let data = |bytes: usize| Bytes::from(vec![0; bytes]);
    let put = async |bytes| {
        let entry = entry("key", data(bytes));
        bed.streams
            .put_record(&scope(), &name("flights"), entry, None)
            .await
    };
    assert!(put(limit - 3).await.is_ok());
    let error = put(limit - 2).await.expect_err("one byte too many");
    assert_eq!(error.kind(), Kind::Invalid);

    let pair = vec![entry("key", "x"), entry("key", data(limit - 2))];
    let puts = bed
        .streams
        .put_records(&scope(), &name("flights"), pair)
        .await;
    let Err(PutRecordsError::TooLarge(error)) = puts else {
        unreachable!("the second entry is too large");
    };
    assert_eq!(
        (error.entry, error.bytes, error.limit),
        (2, limit + 1, limit)
    );

    let change = SettingsChange {
        max_record_kib: Some(10 * 1024),
        ..SettingsChange::default()
    };
    bed.streams
        .update(&scope(), &name("flights"), change)
        .await
        .expect("a larger limit");
    assert!(put(10 * limit - 3).await.is_ok());
    assert!(matches!(
        put(10 * limit - 2).await,
        Err(PutRecordError::TooLarge(_))
    ));

    let many = vec![entry("key", "x"); 501];
    let puts = bed
        .streams
        .put_records(&scope(), &name("flights"), many)
        .await;
    assert!(matches!(puts, Err(PutRecordsError::RequestTooLarge { .. })));
    let large = vec![entry("key", data(limit - 3)); 11];
    let puts = bed
        .streams
        .put_records(&scope(), &name("flights"), large)
        .await;
    assert!(matches!(puts, Err(PutRecordsError::RequestTooLarge { .. })));
    assert_eq!(bed.streams.all()[0].counters().incoming_records.get(), 2);
}

async fn ordering_takes_numbers_given_before_and_nothing_else<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 2).await;
    let given = bed.put("flights", "one").await.sequence_number;
    let put = async |hash_key, ordering: &str| {
        let entry = entry_at(hash_key, "x");
        bed.streams
            .put_record(&scope(), &name("flights"), entry, Some(ordering))
            .await
    };
    assert!(put(0, &given.to_string()).await.is_ok());
    assert!(
        put(HALF, &given.to_string()).await.is_ok(),
        "AWS takes another shard's number"
    );
    let future = SequenceNumber {
        created_s: given.created_s - 1,
        put_s: given.put_s + 1,
        ..given
    };
    let of_later_shard = SequenceNumber {
        created_s: given.put_s + 1,
        ..given
    };
    bed.clock.jump_to(START.minus(60_000));
    assert!(
        put(0, &given.to_string()).await.is_ok(),
        "the clock was set back"
    );
    bed.clock.jump_to(START);
    let unknown = SequenceNumber {
        counter: given.counter + 5,
        ..given
    };
    let ahead = [future, unknown, of_later_shard].map(|number| number.to_string());
    for bad in ["", "1", "abc"]
        .into_iter()
        .chain(ahead.iter().map(String::as_str))
    {
        let error = put(0, bad).await.expect_err(bad);
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(
            error.to_string(),
            format!(
                "ExclusiveMinimumSequenceNumber {bad} used in PutRecord on stream flights under \
                 account 000000000000 is invalid."
            )
        );
    }
}

async fn counters_count_what_became_durable<S: ShardStore>(bed: &Bed<S>) {
    let stream = bed.create("flights", 2).await;
    bed.put("flights", "12345").await;
    let entries = vec![entry_at(0, "1"), entry_at(HALF, "22")];
    let puts = bed
        .streams
        .put_records(&scope(), &name("flights"), entries)
        .await;
    puts.expect("durable");
    let counters = stream.counters();
    assert_eq!(counters.incoming_records.get(), 3);
    assert_eq!(counters.incoming_bytes.get(), 8);
    assert_eq!(counters.put_record.calls.get(), 1);
    assert_eq!(counters.put_record_bytes.get(), 5);
    assert_eq!(counters.put_records.successes.get(), 1);
    assert_eq!(counters.put_records_total.get(), 2);
    assert_eq!(counters.put_records_successful.get(), 2);
    assert_eq!(counters.put_records_bytes.get(), 3);
    let of_shard = |i: usize| stream.map().shards()[i].counters.incoming_bytes.get();
    assert_eq!((of_shard(0), of_shard(1)), (6, 2));
}

#[tokio::test]
async fn a_refusing_store_throttles_or_fails_each_entry() {
    let bed = bed::memory();
    let stream = bed.create("flights", 2).await;
    for (refusal, kind, text) in [
        (
            StoreError::Overloaded,
            Kind::Throttled,
            "Rate exceeded for shard shardId-000000000001 in stream flights under account \
             000000000000.",
        ),
        (
            StoreError::NoSpace,
            Kind::Throttled,
            "Rate exceeded for shard shardId-000000000001 in stream flights under account \
             000000000000.",
        ),
        (
            StoreError::Closed,
            Kind::Internal,
            "Internal service failure.",
        ),
    ] {
        bed.store.refuse(Some(refusal));
        let put = bed
            .streams
            .put_record(&scope(), &name("flights"), entry_at(HALF, "x"), None)
            .await;
        let error = put.expect_err("refused");
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
        let entries = vec![entry_at(HALF, "x"), entry_at(0, "x")];
        let output = bed
            .streams
            .put_records(&scope(), &name("flights"), entries)
            .await;
        let output = output.expect("each entry has its own result");
        assert_eq!(output.failed, 2);
        let error = output.results[0].as_ref().expect_err("refused");
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
    }
    let counters = stream.counters();
    assert_eq!(counters.write_throttled.get(), 6);
    assert_eq!(counters.put_records_throttled.get(), 4);
    assert_eq!(counters.put_records_failed.get(), 2);
    assert_eq!(
        (
            counters.put_record.calls.get(),
            counters.put_record.successes.get()
        ),
        (3, 0)
    );
    assert_eq!(counters.incoming_records.get(), 0);
}

#[tokio::test]
async fn entries_fail_alone_when_one_shard_takes_nothing() {
    let bed = bed::memory();
    let stream = bed.create("flights", 2).await;
    let sealed = Change::SealShard(stream.map().shards()[0].uid);
    bed.store.apply(vec![sealed]).await.expect("sealed");
    let entries = vec![entry_at(0, "a"), entry_at(HALF, "b"), entry_at(0, "c")];
    let output = bed
        .streams
        .put_records(&scope(), &name("flights"), entries)
        .await;
    let output = output.expect("each entry has its own result");
    let durable: Vec<bool> = output.results.iter().map(Result::is_ok).collect();
    assert_eq!((durable, output.failed), (vec![false, true, false], 2));
}
