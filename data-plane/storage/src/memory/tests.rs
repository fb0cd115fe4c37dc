//! What the model promises; the engine is then held to the model.

use std::time::Duration;

use millstream_clock::{ManualClock, task};

use super::*;
use crate::store::NewRecord;

const SHARD: ShardUid = ShardUid(7);
const ALL: ReadLimit = ReadLimit {
    records: 100,
    bytes: 1 << 20,
};

fn store() -> (Arc<ManualClock>, MemoryStore) {
    let clock = Arc::new(ManualClock::new(Millis(1_000)));
    (clock.clone(), MemoryStore::new(clock))
}

fn append_to(shard: ShardUid, texts: &[&'static str]) -> Append {
    let record = |text: &&'static str| NewRecord {
        key: Bytes::from_static(b"k"),
        data: Bytes::from_static(text.as_bytes()),
    };
    Append {
        shard,
        records: texts.iter().map(record).collect(),
    }
}

async fn texts(store: &MemoryStore, from: u64, limit: ReadLimit) -> (Vec<(u64, String)>, u64) {
    let read = store.read(SHARD, from, limit).await.unwrap();
    let text = |r: &Record| (r.number, String::from_utf8(r.data.to_vec()).unwrap());
    (read.records.iter().map(text).collect(), read.next)
}

#[tokio::test]
async fn numbers_are_dense_from_one_and_arrival_never_goes_back() {
    let (clock, store) = store();
    store.apply(vec![Change::OpenShard(SHARD)]).await.unwrap();
    let first = store.append(vec![append_to(SHARD, &["a", "b"])]).await;
    let arrival = Millis(1_000);
    assert_eq!(first.unwrap(), vec![Ok(Appended { first: 1, arrival })]);
    clock.jump_to(Millis(10));
    let second = store.append(vec![append_to(SHARD, &["c"])]).await;
    assert_eq!(second.unwrap(), vec![Ok(Appended { first: 3, arrival })]);
    let (read, next) = texts(&store, 2, ALL).await;
    assert_eq!((read, next), (vec![(2, "b".into()), (3, "c".into())], 4));
}

#[tokio::test]
async fn appends_of_a_request_succeed_or_fail_alone() {
    let (_, store) = store();
    let changes = vec![
        Change::OpenShard(SHARD),
        Change::OpenShard(ShardUid(8)),
        Change::SealShard(ShardUid(8)),
    ];
    store.apply(changes).await.unwrap();
    let request = vec![
        append_to(ShardUid(8), &["x"]),
        append_to(ShardUid(9), &["x"]),
        append_to(SHARD, &["a"]),
    ];
    let answers = store.append(request).await.unwrap();
    let kinds: Vec<_> = answers.iter().map(|a| a.map(|ok| ok.first)).collect();
    let expected = vec![Err(AppendError::Sealed), Err(AppendError::NoShard), Ok(1)];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn a_read_stops_at_its_limits_but_gives_at_least_one_record() {
    let (_, store) = store();
    store.apply(vec![Change::OpenShard(SHARD)]).await.unwrap();
    let request = vec![append_to(SHARD, &["aaaa", "bbbb", "cccc"])];
    store.append(request).await.unwrap().remove(0).unwrap();
    for (records, bytes, expected) in [(100, 10, 2), (100, 9, 1), (100, 0, 1), (2, 99, 2)] {
        let (read, next) = texts(&store, 1, ReadLimit { records, bytes }).await;
        assert_eq!((read.len(), next), (expected, expected as u64 + 1));
    }
}

#[tokio::test]
async fn a_trim_hides_records_and_never_moves_back_or_past_the_end() {
    let (_, store) = store();
    store.apply(vec![Change::OpenShard(SHARD)]).await.unwrap();
    let request = vec![append_to(SHARD, &["a", "b", "c"])];
    store.append(request).await.unwrap().remove(0).unwrap();
    for (before, first) in [(2, 2), (1, 2), (99, 4)] {
        let trim = Change::TrimShard {
            shard: SHARD,
            before,
        };
        store.apply(vec![trim]).await.unwrap();
        assert_eq!(store.status_now(SHARD).unwrap().first, first);
    }
    assert_eq!(texts(&store, 1, ALL).await, (vec![], 4));
}

#[tokio::test]
async fn time_finds_the_oldest_readable_record_that_arrived_then_or_later() {
    let (clock, store) = store();
    store.apply(vec![Change::OpenShard(SHARD)]).await.unwrap();
    for text in ["a", "b", "c"] {
        store.append(vec![append_to(SHARD, &[text])]).await.unwrap();
        clock.advance(10);
    }
    for (time, number) in [(0, 1), (1_000, 1), (1_001, 2), (1_020, 3), (1_021, 4)] {
        let found = store.number_at(SHARD, Millis(time)).await;
        assert_eq!(found, Ok(number), "{time}");
    }
    let absent = store.number_at(ShardUid(9), Millis(0)).await;
    assert_eq!(absent, Err(ReadError::NoShard));
}

#[tokio::test]
async fn changes_are_applied_all_or_none() {
    let (_, store) = store();
    let row = |key: &'static str| Change::PutRow {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(b"v"),
    };
    let bad = vec![row("a"), Change::SealShard(SHARD)];
    assert_eq!(store.apply(bad).await, Err(ApplyError::NoShard));
    assert_eq!(store.rows(b""), vec![]);
    let good = vec![
        Change::OpenShard(SHARD),
        Change::DropShard(SHARD),
        Change::OpenShard(SHARD),
        row("a/2"),
        row("a/1"),
        row("b"),
    ];
    store.apply(good).await.unwrap();
    let keys: Vec<_> = store.rows(b"a/").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, vec!["a/1", "a/2"]);
    let twice = store.apply(vec![Change::OpenShard(SHARD)]).await;
    assert_eq!(twice, Err(ApplyError::ShardExists));
    let large = Change::PutRow {
        key: Bytes::from(vec![0; 1_025]),
        value: Bytes::new(),
    };
    assert_eq!(store.apply(vec![large]).await, Err(ApplyError::RowTooLarge));
}

#[tokio::test]
async fn a_waiter_wakes_for_a_record_a_seal_and_a_drop() {
    let (_, store) = store();
    store.apply(vec![Change::OpenShard(SHARD)]).await.unwrap();
    store.wait_past(ShardUid(9), 1).await;
    for change in [
        None,
        Some(Change::SealShard(SHARD)),
        Some(Change::DropShard(SHARD)),
    ] {
        let waiting = store.clone();
        let next = store.status_now(SHARD).unwrap().next;
        let waiter = task::spawn(
            "waiter",
            async move { waiting.wait_past(SHARD, next).await },
        );
        tokio::task::yield_now().await;
        match change {
            None => assert!(store.append(vec![append_to(SHARD, &["a"])]).await.is_ok()),
            Some(change) => store.apply(vec![change]).await.unwrap(),
        }
        let woken = task::timeout(Duration::from_secs(30), waiter).await;
        assert!(matches!(woken, Ok(Ok(()))));
    }
}

#[tokio::test]
async fn a_refusal_leaves_nothing_behind_and_reads_go_on() {
    let (_, store) = store();
    store.apply(vec![Change::OpenShard(SHARD)]).await.unwrap();
    for refusal in [StoreError::Overloaded, StoreError::NoSpace] {
        store.refuse(Some(refusal));
        let refused = store.append(vec![append_to(SHARD, &["a"])]).await;
        assert_eq!(refused, Err(refusal));
        let refused = store.apply(vec![Change::SealShard(SHARD)]).await;
        assert_eq!(refused, Err(ApplyError::Store(refusal)));
        assert_eq!(texts(&store, 1, ALL).await, (vec![], 1));
    }
    store.refuse(None);
    let taken = store.append(vec![append_to(SHARD, &["a"])]).await.unwrap();
    assert_eq!(taken[0].unwrap().first, 1);
}

#[tokio::test]
async fn a_copy_holds_what_there_was_and_goes_its_own_way() {
    let (_, store) = store();
    store.apply(vec![Change::OpenShard(SHARD)]).await.unwrap();
    store
        .append(vec![append_to(SHARD, &["a"])])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let copy = store.copied();
    copy.append(vec![append_to(SHARD, &["b"])])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(texts(&store, 1, ALL).await.1, 2);
    assert_eq!(
        texts(&copy, 1, ALL).await.0,
        vec![(1, "a".into()), (2, "b".into())]
    );
}
