//! The five types of iterator, and what is refused.

use millstream_storage::ShardStore;
use millstream_stream::{Kind, StartingPosition};
use millstream_types::{Millis, SequenceNumber, caps};

use crate::bed::{Bed, START, name, other_scope, over_stores, payloads, scope, volume};

over_stores! {
    each_type_starts_where_it_says
    latest_on_an_idle_shard_stays_where_it_was_issued
    the_start_and_the_end_of_a_shard_are_numbers_too
    a_number_that_is_not_of_the_shard_is_refused
    a_number_beyond_the_newest_record_is_refused
    unknown_streams_and_shards_are_refused
    a_time_ahead_of_the_clock_is_refused
    the_time_of_a_record_is_taken_after_the_clock_was_set_back
    an_iterator_is_opaque_short_and_bound_to_its_scope
    an_iterator_expires_after_five_minutes
    an_iterator_of_another_stream_than_named_is_refused
}

async fn each_type_starts_where_it_says<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    let mut numbers = Vec::new();
    for data in ["a", "b", "c"] {
        bed.clock.advance(1_000);
        numbers.push(bed.put("flights", data).await.sequence_number.to_string());
    }
    let second = START.plus(2_000);
    for (start, expected) in [
        (StartingPosition::TrimHorizon, "abc"),
        (StartingPosition::Latest, ""),
        (StartingPosition::AtSequenceNumber(&numbers[1]), "bc"),
        (StartingPosition::AfterSequenceNumber(&numbers[1]), "c"),
        (StartingPosition::AfterSequenceNumber(&numbers[2]), ""),
        (StartingPosition::AtTimestamp(Millis(0)), "abc"),
        (StartingPosition::AtTimestamp(Millis(second.0 - 1)), "bc"),
        (StartingPosition::AtTimestamp(second), "bc"),
        (StartingPosition::AtTimestamp(second.plus(1)), "c"),
        (StartingPosition::AtTimestamp(START.plus(3_000)), "c"),
    ] {
        assert_eq!(
            bed.payloads("flights", start).await.concat(),
            expected,
            "{start:?}"
        );
    }
    bed.clock.advance(10);
    let after_all = StartingPosition::AtTimestamp(START.plus(3_001));
    assert_eq!(bed.payloads("flights", after_all).await.concat(), "");
}

async fn latest_on_an_idle_shard_stays_where_it_was_issued<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    bed.put("flights", "before").await;
    let now = bed.iterator("flights", StartingPosition::Latest).await;
    let empty = bed.get(&now).await;
    assert_eq!((empty.records.len(), empty.millis_behind_latest), (0, 0));
    let later = empty.next_iterator.expect("an open shard goes on");
    bed.put("flights", "after").await;
    assert_eq!(payloads(&bed.get(&now).await), ["after"]);
    assert_eq!(payloads(&bed.get(&later).await), ["after"]);
}

async fn the_start_and_the_end_of_a_shard_are_numbers_too<S: ShardStore>(bed: &Bed<S>) {
    let stream = bed.create("flights", 1).await;
    bed.put("flights", "a").await;
    let start = stream.map().shards()[0].starting_sequence_number();
    let end = SequenceNumber {
        counter: millstream_types::sequence::COUNTER_MAX,
        ..start
    };
    let (start, end) = (start.to_string(), end.to_string());
    for position in [
        StartingPosition::AtSequenceNumber(&start),
        StartingPosition::AfterSequenceNumber(&start),
    ] {
        assert_eq!(bed.payloads("flights", position).await, ["a"]);
    }
    for position in [
        StartingPosition::AtSequenceNumber(&end),
        StartingPosition::AfterSequenceNumber(&end),
    ] {
        let iterator = bed.iterator("flights", position).await;
        let read = bed.get(&iterator).await;
        assert_eq!((read.records.len(), read.millis_behind_latest), (0, 0));
        assert!(read.next_iterator.is_some());
    }
}

async fn a_number_that_is_not_of_the_shard_is_refused<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 2).await;
    let own = bed.put("flights", "a").await.sequence_number;
    let other_shard = SequenceNumber {
        shard_index: 1,
        ..own
    };
    let other_time = SequenceNumber {
        created_s: own.created_s - 1,
        ..own
    };
    let (bad, shard, time) = ("12", other_shard.to_string(), other_time.to_string());
    let in_call = "used in GetShardIterator on shard shardId-000000000000 in stream flights under \
                   account 000000000000 is invalid";
    for (text, message) in [
        (bad, format!("StartingSequenceNumber 12 {in_call}.")),
        (
            shard.as_str(),
            "Invalid StartingSequenceNumber. It encodes shardId-000000000001, while it was used \
             in a call to a shard with shardId-000000000000"
                .to_owned(),
        ),
        (
            time.as_str(),
            format!(
                "StartingSequenceNumber {time} {in_call} because it did not come from this stream."
            ),
        ),
    ] {
        for start in [
            StartingPosition::AtSequenceNumber(text),
            StartingPosition::AfterSequenceNumber(text),
        ] {
            let given = bed
                .streams
                .iterator(&scope(), &name("flights"), "0", start)
                .await;
            let error = given.expect_err("not of the shard");
            assert_eq!(
                (error.kind(), error.to_string()),
                (Kind::Invalid, message.clone())
            );
        }
    }
}

async fn a_number_beyond_the_newest_record_is_refused<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    let mut newest = bed.put("flights", "a").await.sequence_number;
    for data in ["b", "c"] {
        let text = newest.to_string();
        let after = StartingPosition::AfterSequenceNumber(&text);
        assert_eq!(bed.payloads("flights", after).await.concat(), "");
        newest.counter += 1;
        expect_ahead(bed, newest).await;
        assert_eq!(bed.put("flights", data).await.sequence_number, newest);
    }
    newest.counter += 1_000_000;
    expect_ahead(bed, newest).await;
}

/// The number is refused as one that no record of the shard has.
async fn expect_ahead<S: ShardStore>(bed: &Bed<S>, number: SequenceNumber) {
    let text = number.to_string();
    for start in [
        StartingPosition::AtSequenceNumber(&text),
        StartingPosition::AfterSequenceNumber(&text),
    ] {
        let given = bed
            .streams
            .iterator(&scope(), &name("flights"), "0", start)
            .await;
        let error = given.expect_err("no record has it");
        assert_eq!(
            (error.kind(), error.to_string()),
            (
                Kind::Invalid,
                format!(
                    "StartingSequenceNumber {text} used in GetShardIterator on shard \
                     shardId-000000000000 in stream flights under account 000000000000 is invalid \
                     because it lies beyond the end of the shard."
                )
            )
        );
    }
}

#[tokio::test]
async fn who_read_records_that_a_restored_shard_does_not_have_is_told_and_skips_nothing() {
    let bed = volume();
    bed.create("flights", 1).await;
    let kept = bed.put("flights", "kept").await.sequence_number.to_string();
    let (bed, restored) = bed.with_snapshot().await;
    let at_kept = bed
        .iterator("flights", StartingPosition::AfterSequenceNumber(&kept))
        .await;
    let lost = bed.put("flights", "lost").await.sequence_number;
    let at_lost = bed.get(&at_kept).await.next_iterator.expect("it goes on");
    bed.put("flights", "lost too").await;

    expect_ahead(&restored, lost).await;
    let read = restored
        .streams
        .get_records(&scope(), None, &at_lost, None)
        .await;
    let error = read.expect_err("it would skip the next record");
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(payloads(&restored.get(&at_kept).await), [""; 0]);
    let next = restored.put("flights", "new").await.sequence_number;
    assert_eq!(next.counter, lost.counter, "the number is given again");
    let after = StartingPosition::AfterSequenceNumber(&kept);
    assert_eq!(restored.payloads("flights", after).await, ["new"]);
}

async fn unknown_streams_and_shards_are_refused<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 2).await;
    for (stream, shard, message) in [
        (
            "flights",
            "shardId-000000000002",
            "Shard shardId-000000000002 in stream flights under account 000000000000 does not exist",
        ),
        (
            "flights",
            "shardId-x",
            "Could not find shard shardId-x in stream flights under account 000000000000.",
        ),
        (
            "none",
            "0",
            "Shard shardId-000000000000 in stream none under account 000000000000 does not exist",
        ),
    ] {
        let start = StartingPosition::Latest;
        let given = bed
            .streams
            .iterator(&scope(), &name(stream), shard, start)
            .await;
        let error = given.expect_err("unknown");
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (Kind::NotFound, message)
        );
    }
}

async fn a_time_ahead_of_the_clock_is_refused<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    let now = StartingPosition::AtTimestamp(START);
    assert!(
        bed.streams
            .iterator(&scope(), &name("flights"), "0", now)
            .await
            .is_ok()
    );
    let ahead = StartingPosition::AtTimestamp(START.plus(1));
    let given = bed
        .streams
        .iterator(&scope(), &name("flights"), "0", ahead)
        .await;
    let error = given.expect_err("ahead");
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(
        error.to_string(),
        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
         timestampInMillis: 1700000000251, currentTimestampInMillis: 1700000000250"
    );
}

async fn an_iterator_is_opaque_short_and_bound_to_its_scope<S: ShardStore>(bed: &Bed<S>) {
    let longest = "x".repeat(128);
    bed.create(&longest, 1).await;
    let iterator = bed.iterator(&longest, StartingPosition::TrimHorizon).await;
    assert!(
        iterator.len() <= caps::ITERATOR_CHARS_MAX,
        "{}",
        iterator.len()
    );
    let again = bed.iterator(&longest, StartingPosition::TrimHorizon).await;
    assert_ne!(iterator, again, "a nonce is never used twice");
    for (account, region) in [("000000000001", "us-east-1"), ("000000000000", "eu-west-1")] {
        let other = other_scope(account, region);
        let read = bed.streams.get_records(&other, None, &iterator, None).await;
        let error = read.expect_err("another scope");
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(error.to_string(), "Invalid ShardIterator.");
    }
}

async fn an_iterator_expires_after_five_minutes<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    let iterator = bed.iterator("flights", StartingPosition::TrimHorizon).await;
    bed.clock.advance(300_000);
    bed.get(&iterator).await;
    bed.clock.advance(1);
    let read = bed
        .streams
        .get_records(&scope(), None, &iterator, None)
        .await;
    let error = read.expect_err("too old");
    assert_eq!(error.kind(), Kind::Expired);
    assert_eq!(
        error.to_string(),
        "Iterator expired. The iterator was created at time Tue Nov 14 22:13:20 UTC 2023 while \
         right now it is Tue Nov 14 22:18:20 UTC 2023 which is further in the future than the \
         tolerated delay of 300000 milliseconds."
    );
}

async fn an_iterator_of_another_stream_than_named_is_refused<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    bed.create("trains", 1).await;
    let iterator = bed.iterator("flights", StartingPosition::TrimHorizon).await;
    let own = name("flights");
    assert!(
        bed.streams
            .get_records(&scope(), Some(&own), &iterator, None)
            .await
            .is_ok()
    );
    let other = name("trains");
    let read = bed
        .streams
        .get_records(&scope(), Some(&other), &iterator, None)
        .await;
    assert_eq!(read.expect_err("of another stream").kind(), Kind::Invalid);
}

async fn the_time_of_a_record_is_taken_after_the_clock_was_set_back<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    for data in ["a", "b"] {
        bed.clock.advance(1_000);
        bed.put("flights", data).await;
    }
    bed.clock.jump_to(START);
    let start = StartingPosition::AtTimestamp(START.plus(2_000));
    assert_eq!(bed.payloads("flights", start).await, ["b"]);
}
