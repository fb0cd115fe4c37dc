//! Creating, changing and deleting streams.

use std::future::Future as _;
use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::{ManualClock, SeededEntropy};
use millstream_storage::memory::MemoryStore;
use millstream_storage::{Change, ShardStore, StoreError};
use millstream_stream::error::{CreateError, OpenError};
use millstream_stream::{
    Kind, Options, Settings, SettingsChange, StartingPosition, Streams, TokenKey,
};
use millstream_types::ShardMetrics;

use crate::bed::{self, Bed, START, name, new_stream, other_scope, over_stores, scope};

over_stores! {
    a_stream_is_there_after_a_restart_with_its_settings_and_records
    a_stream_of_10000_shards_fits_and_is_deleted_again
    a_name_is_taken_until_it_is_deleted
    a_recreated_stream_never_shows_old_records
    names_are_apart_by_account_and_region
    settings_change_and_stay_changed
}

async fn a_stream_is_there_after_a_restart_with_its_settings_and_records<S: ShardStore>(
    bed: &Bed<S>,
) {
    let mut new = new_stream("flights", 3);
    new.settings = Settings {
        retention_hours: 48,
        max_record_kib: 2048,
        tags: [("team".to_owned(), "data".to_owned())].into(),
        shard_level_metrics: ShardMetrics::ALL,
    };
    let before = bed
        .streams
        .create(&scope(), new.clone())
        .await
        .expect("a stream");
    bed.put("flights", "one").await;

    let bed = bed.reopened();
    let after = bed.streams.get(&scope(), &new.name).expect("the stream");
    assert_eq!(after.settings(), &new.settings);
    assert_eq!(
        (after.uid(), after.created(), after.arn()),
        (before.uid(), START, before.arn())
    );
    assert_eq!(after.shards_after(None, 10), before.shards_after(None, 10));
    assert_eq!(
        bed.payloads("flights", StartingPosition::TrimHorizon).await,
        ["one"]
    );
}

async fn a_stream_of_10000_shards_fits_and_is_deleted_again<S: ShardStore>(bed: &Bed<S>) {
    let stream = bed.create("large", 10_000).await;
    assert_eq!(stream.open_shard_count(), 10_000);
    let bed = bed.reopened();
    let stream = bed
        .streams
        .get(&scope(), &name("large"))
        .expect("the stream");
    assert_eq!(stream.map().shards().len(), 10_000);
    bed.streams
        .delete(&scope(), &name("large"))
        .await
        .expect("deleted");
    assert!(bed.store.rows(b"").is_empty());
    assert!(
        bed.store
            .status_now(stream.map().shards()[9_999].uid)
            .is_none()
    );
    assert_eq!(bed.streams.account_shards(&scope().account), 0);
}

async fn a_name_is_taken_until_it_is_deleted<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    let again = bed.streams.create(&scope(), new_stream("flights", 2)).await;
    let error = again.expect_err("the name is taken");
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(
        error.to_string(),
        "Stream flights under account 000000000000 already exists."
    );
    bed.streams
        .delete(&scope(), &name("flights"))
        .await
        .expect("deleted");
    let missing = bed.streams.delete(&scope(), &name("flights")).await;
    let error = missing.expect_err("it is gone");
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(
        error.to_string(),
        "Stream flights under account 000000000000 not found."
    );
    assert_eq!(bed.create("flights", 2).await.open_shard_count(), 2);
}

async fn a_recreated_stream_never_shows_old_records<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    let old = bed.put("flights", "old").await;
    let iterator = bed.iterator("flights", StartingPosition::TrimHorizon).await;
    bed.streams
        .delete(&scope(), &name("flights"))
        .await
        .expect("deleted");
    bed.clock.advance(1_000);
    bed.create("flights", 1).await;

    assert!(
        bed.payloads("flights", StartingPosition::TrimHorizon)
            .await
            .is_empty()
    );
    let read = bed
        .streams
        .get_records(&scope(), None, &iterator, None)
        .await;
    assert_eq!(
        read.expect_err("an iterator of the old stream").kind(),
        Kind::NotFound
    );
    let number = old.sequence_number.to_string();
    let start = StartingPosition::AtSequenceNumber(&number);
    let given = bed
        .streams
        .iterator(&scope(), &name("flights"), "0", start)
        .await;
    assert_eq!(
        given.expect_err("a number of the old stream").kind(),
        Kind::Invalid
    );
}

async fn names_are_apart_by_account_and_region<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    for (account, region) in [("000000000001", "us-east-1"), ("000000000000", "eu-west-1")] {
        let other = other_scope(account, region);
        assert!(bed.streams.get(&other, &name("flights")).is_err());
        bed.streams
            .create(&other, new_stream("flights", 2))
            .await
            .expect("another stream");
    }
    assert_eq!(
        bed.streams
            .get(&scope(), &name("flights"))
            .expect("ours")
            .open_shard_count(),
        1
    );
}

async fn settings_change_and_stay_changed<S: ShardStore>(bed: &Bed<S>) {
    let before = bed.create("flights", 1).await;
    bed.put("flights", "one").await;
    let change = SettingsChange {
        retention_hours: Some(72),
        tags: Some([("a".to_owned(), "b".to_owned())].into()),
        ..SettingsChange::default()
    };
    let updated = bed
        .streams
        .update(&scope(), &name("flights"), change)
        .await
        .expect("updated");
    assert_eq!(updated.settings().retention_hours, 72);
    assert_eq!(
        updated.settings().max_record_kib,
        before.settings().max_record_kib
    );
    assert_eq!(
        updated.counters().incoming_records.get(),
        1,
        "counters go on"
    );
    let found = bed
        .reopened()
        .streams
        .get(&scope(), &name("flights"))
        .expect("the stream");
    assert_eq!(found.settings(), updated.settings());

    let beyond = SettingsChange {
        retention_hours: Some(8_761),
        ..SettingsChange::default()
    };
    let refused = bed.streams.update(&scope(), &name("flights"), beyond).await;
    let error = refused.expect_err("out of range");
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(
        error.to_string(),
        "RetentionPeriodHours is 8761, it must be 24 to 8760"
    );
}

#[tokio::test]
async fn a_huge_shard_count_is_refused_before_anything_is_made() {
    let bed = bed::memory();
    bed.create("flights", 2).await;
    let huge = bed
        .streams
        .create(&scope(), new_stream("huge", 100_000_000_000))
        .await;
    let error = huge.expect_err("over the quota");
    assert_eq!(error.kind(), Kind::LimitExceeded);
    assert_eq!(
        error.to_string(),
        "This request would exceed the shard limit for the account 000000000000 in us-east-1. \
         Current shard count for the account: 2. Limit: 10000. Number of additional shards that \
         would have resulted from this request: 100000000000. Refer to the AWS Service Limits \
         page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current \
         limits and how to request higher limits."
    );
    assert_eq!(bed.store.shards().len(), 2);
}

#[tokio::test]
async fn the_shard_quota_counts_all_regions_of_an_account() {
    let clock = Arc::new(ManualClock::new(START));
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let options = Options {
        account_shards_max: 5,
    };
    let bed = Bed::with_options(store, clock, options);
    bed.create("a", 3).await;
    let elsewhere = other_scope("000000000000", "eu-west-1");
    let over = bed.streams.create(&elsewhere, new_stream("b", 3)).await;
    assert!(matches!(
        over,
        Err(CreateError::ShardLimit {
            have: 3,
            limit: 5,
            asked: 3,
            ..
        })
    ));
    bed.streams
        .create(&elsewhere, new_stream("b", 2))
        .await
        .expect("within the quota");
    let other = other_scope("000000000001", "us-east-1");
    bed.streams
        .create(&other, new_stream("c", 5))
        .await
        .expect("another account");
}

#[tokio::test]
async fn a_stream_without_shards_or_with_too_many_is_refused() {
    let clock = Arc::new(ManualClock::new(START));
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let options = Options {
        account_shards_max: u64::MAX,
    };
    let bed = Bed::with_options(store, clock, options);
    let none = bed.streams.create(&scope(), new_stream("none", 0)).await;
    assert_eq!(none.expect_err("no shards").kind(), Kind::Invalid);
    let many = bed
        .streams
        .create(&scope(), new_stream("many", 10_001))
        .await;
    assert!(matches!(
        many,
        Err(CreateError::StreamShardLimit {
            limit: 10_000,
            asked: 10_001
        })
    ));
}

#[tokio::test]
async fn what_the_store_refuses_leaves_no_trace() {
    let bed = bed::memory();
    for (refusal, kind) in [
        (StoreError::Overloaded, Kind::Throttled),
        (StoreError::NoSpace, Kind::Throttled),
        (StoreError::Closed, Kind::Internal),
    ] {
        bed.store.refuse(Some(refusal));
        let created = bed.streams.create(&scope(), new_stream("flights", 1)).await;
        assert_eq!(created.expect_err("refused").kind(), kind);
        assert!(bed.streams.get(&scope(), &name("flights")).is_err());
    }
    bed.store.refuse(None);
    bed.create("flights", 1).await;
    bed.store.refuse(Some(StoreError::NoSpace));
    let deleted = bed.streams.delete(&scope(), &name("flights")).await;
    assert_eq!(deleted.expect_err("refused").kind(), Kind::Throttled);
    assert!(bed.streams.get(&scope(), &name("flights")).is_ok());
}

#[tokio::test]
async fn rows_that_contradict_each_other_are_not_served() {
    type Damage = fn(&MemoryStore) -> Change;
    let row = |store: &MemoryStore, prefix: &[u8]| store.rows(prefix)[0].clone();
    let cases: [(Damage, &str); 4] = [
        (
            |store| Change::DropShard(store.shards()[0]),
            "a shard of the stream has no log",
        ),
        (
            |store| Change::DeleteRow {
                key: store.rows(b"ds/stream/")[0].0.clone(),
            },
            "it has no stream row",
        ),
        (
            |store| Change::DeleteRow {
                key: store.rows(b"ds/shards/")[0].0.clone(),
            },
            "its shards do not cover the hash keys",
        ),
        (
            |store| Change::PutRow {
                key: store.rows(b"ds/stream/")[0].0.clone(),
                value: Bytes::from_static(&[1, 2, 3]),
            },
            "it ends too early",
        ),
    ];
    for (damage, expected) in cases {
        let bed = bed::memory();
        bed.create("flights", 2).await;
        bed.store
            .apply(vec![damage(&bed.store)])
            .await
            .expect("damaged");
        let Err(OpenError::Corrupt { reason, .. }) = open(&bed) else {
            unreachable!("opened in spite of: {expected}");
        };
        assert_eq!(reason, expected);
    }

    let bed = bed::memory();
    bed.create("flights", 2).await;
    let (key, value) = row(&bed.store, b"ds/stream/");
    let value = [&[9], &value[1..]].concat().into();
    let newer = Change::PutRow {
        key: key.clone(),
        value,
    };
    bed.store
        .apply(vec![newer])
        .await
        .expect("a row of the future");
    let key = String::from_utf8(key.to_vec()).expect("a text");
    assert_eq!(open(&bed).err(), Some(OpenError::Newer { key, version: 9 }));
}

fn open(bed: &Bed<MemoryStore>) -> Result<Streams<MemoryStore>, OpenError> {
    Streams::open(
        Arc::clone(&bed.store),
        Options::default(),
        bed.clock.clone(),
        Arc::new(SeededEntropy::new(1)),
        &TokenKey::new([1; 32]),
    )
}

#[tokio::test]
async fn streams_and_records_outlive_the_process_on_files() {
    for orderly in [true, false] {
        let bed = bed::volume();
        let before = bed.create("flights", 2).await;
        bed.create("gone", 1).await;
        bed.streams
            .delete(&scope(), &name("gone"))
            .await
            .expect("deleted");
        let put = bed.put("flights", "one").await;
        let bed = bed.restarted(orderly).await;
        let after = bed
            .streams
            .get(&scope(), &name("flights"))
            .expect("the stream");
        assert_eq!(
            (after.uid(), after.settings()),
            (before.uid(), before.settings())
        );
        assert!(bed.streams.get(&scope(), &name("gone")).is_err());
        assert_eq!(
            bed.payloads("flights", StartingPosition::TrimHorizon).await,
            ["one"]
        );
        let next = bed.put("flights", "two").await;
        assert_eq!(
            next.sequence_number.counter,
            put.sequence_number.counter + 1
        );
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_stream_served() {
    let bed = bed::memory();
    {
        let scope = scope();
        let mut creating = Box::pin(bed.streams.create(&scope, new_stream("flights", 1)));
        let first_poll = std::future::poll_fn(|context| {
            let pending = creating.as_mut().poll(context).is_pending();
            std::task::Poll::Ready(pending)
        });
        assert!(first_poll.await, "the store has not answered yet");
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bed.store.rows(b"ds/stream/").len(), 1);
    let stream = bed.streams.get(&scope(), &name("flights"));
    assert_eq!(stream.expect("served").open_shard_count(), 1);
}
