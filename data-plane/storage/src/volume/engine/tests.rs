//! The engine on a real directory: what the simulation cannot show, which is threads and files.

use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::{SystemClock, SystemEntropy};
use millstream_types::ShardUid;

use super::*;
use crate::store::NewRecord;

const SHARD: ShardUid = ShardUid(7);
const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

fn options(dir: &std::path::Path) -> Options {
    Options {
        wal_file_bytes: 256 * 1024,
        checkpoint_bytes: 512 * 1024,
        segment_bytes: 128 * 1024,
        tail_bytes: 128 * 1024,
        reserve_bytes: 4096,
        ..Options::new(dir.to_owned())
    }
}

fn open_engine(dir: &std::path::Path) -> Result<Engine, OpenError> {
    Engine::open(
        options(dir),
        Arc::new(SystemClock::new()),
        Arc::new(SystemEntropy),
    )
}

fn append(shard: ShardUid, data: impl IntoIterator<Item = Vec<u8>>) -> Vec<Append> {
    let record = |data| NewRecord {
        key: Bytes::from_static(b"key"),
        data: Bytes::from(data),
    };
    vec![Append {
        shard,
        records: data.into_iter().map(record).collect(),
    }]
}

async fn put(engine: &Engine, number: u64) {
    let data = format!("{number:01000}").into_bytes();
    let appended = engine
        .append(append(SHARD, [data]))
        .await
        .expect("the store takes it");
    assert_eq!(appended[0].map(|a| a.first), Ok(number));
}

async fn read_all(engine: &Engine) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut from = 1;
    loop {
        let read = engine
            .read(
                SHARD,
                from,
                ReadLimit {
                    records: 100,
                    bytes: 50_000,
                },
            )
            .await;
        let read = read.expect("the shard is there");
        if read.records.is_empty() {
            return numbers;
        }
        for record in read.records {
            assert_eq!(record.data, format!("{:01000}", record.number));
            numbers.push(record.number);
        }
        from = read.next;
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_read_back_after_every_kind_of_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut last = 0;
    for round in 0..6 {
        let engine = open_engine(dir.path()).expect("the directory opens");
        if round == 0 {
            engine
                .apply(vec![Change::OpenShard(SHARD)])
                .await
                .expect("a new shard");
        }
        assert_eq!(read_all(&engine).await, (1..=last).collect::<Vec<_>>());
        for _ in 0..700 {
            last += 1;
            put(&engine, last).await;
        }
        assert_eq!(read_all(&engine).await, (1..=last).collect::<Vec<_>>());
        if round % 2 == 0 {
            engine.close().await;
            assert!(engine.counters().checkpoints > 0);
        }
    }
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open_engine(dir.path()).expect("the directory opens");
    assert!(matches!(
        open_engine(dir.path()),
        Err(OpenError::Locked { .. })
    ));
    drop(engine);
    open_engine(dir.path()).expect("the lock went with the engine");
}

#[tokio::test]
async fn concurrent_callers_share_windows_and_keep_their_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open_engine(dir.path()).expect("the directory opens");
    let shards: Vec<ShardUid> = (1..=8).map(ShardUid).collect();
    let opens = shards.iter().map(|uid| Change::OpenShard(*uid)).collect();
    engine.apply(opens).await.expect("new shards");
    let writers = shards.iter().map(|uid| {
        let (engine, uid) = (engine.clone(), *uid);
        async move {
            for n in 0..200u64 {
                let data = [n.to_le_bytes().to_vec(), vec![0; 2000]];
                let done = engine.append(append(uid, data)).await.expect("taken");
                assert_eq!(done[0].map(|a| a.first), Ok(2 * n + 1));
            }
        }
    });
    futures::future::join_all(writers).await;
    let counters = engine.counters();
    assert_eq!(counters.records, 8 * 400);
    assert!(
        counters.windows < 8 * 200,
        "callers that wait together share a sync"
    );
    for uid in shards {
        let mut from = 1;
        for n in 0..200u64 {
            let read = engine
                .read(
                    uid,
                    from,
                    ReadLimit {
                        records: 2,
                        bytes: usize::MAX,
                    },
                )
                .await;
            let read = read.expect("readable");
            assert_eq!(read.records[0].data, n.to_le_bytes().to_vec());
            from = read.next;
        }
    }
}

#[tokio::test]
async fn trim_frees_files_and_drop_frees_all_of_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open_engine(dir.path()).expect("the directory opens");
    engine
        .apply(vec![Change::OpenShard(SHARD)])
        .await
        .expect("a new shard");
    for number in 1..=2_000 {
        put(&engine, number).await;
    }
    let change = Change::TrimShard {
        shard: SHARD,
        before: 1_900,
    };
    engine.apply(vec![change]).await.expect("trims");
    let read = engine.read(SHARD, 1, ALL).await.expect("readable");
    assert_eq!((read.records[0].number, read.next), (1_900, 2_001));
    engine.close().await;
    let files = |dir: &std::path::Path| std::fs::read_dir(dir).map_or(0, Iterator::count);
    let shard_dir = dir.path().join(layout::shard_dir(SHARD));
    assert!(
        (1..=2).contains(&files(&shard_dir)),
        "{} files",
        files(&shard_dir)
    );
    drop(engine);

    let engine = open_engine(dir.path()).expect("the directory opens");
    assert_eq!(
        engine.status_now(SHARD).map(|s| (s.first, s.next)),
        Some((1_900, 2_001))
    );
    engine
        .apply(vec![Change::DropShard(SHARD)])
        .await
        .expect("drops");
    assert_eq!(engine.read(SHARD, 1, ALL).await, Err(ReadError::NoShard));
    engine.close().await;
    assert!(!shard_dir.try_exists().expect("readable"));
}

#[tokio::test]
async fn a_waiting_reader_is_woken_by_an_append_and_by_the_end_of_the_shard() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open_engine(dir.path()).expect("the directory opens");
    engine
        .apply(vec![Change::OpenShard(SHARD)])
        .await
        .expect("a new shard");
    let ((), ()) = tokio::join!(engine.wait_past(SHARD, 1), put(&engine, 1));
    let seal = engine.apply(vec![Change::SealShard(SHARD)]);
    let ((), sealed) = tokio::join!(engine.wait_past(SHARD, 2), seal);
    assert_eq!(sealed, Ok(()));
    let refused = engine
        .append(append(SHARD, [vec![1]]))
        .await
        .expect("answered");
    assert_eq!(refused, vec![Err(AppendError::Sealed)]);
}

#[tokio::test]
async fn rows_and_refused_changes_are_all_or_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let row = |key: &'static str, value: &'static str| Change::PutRow {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
    };
    let engine = open_engine(dir.path()).expect("the directory opens");
    engine
        .apply(vec![row("a/1", "x"), row("a/2", "y"), row("b/1", "z")])
        .await
        .expect("rows");
    let refused = engine
        .apply(vec![row("a/3", "w"), Change::SealShard(SHARD)])
        .await;
    assert_eq!(refused, Err(ApplyError::NoShard));
    drop(engine);
    let engine = open_engine(dir.path()).expect("the directory opens");
    let values: Vec<Bytes> = engine
        .rows(b"a/")
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(values, ["x", "y"]);
}

#[tokio::test]
async fn a_record_larger_than_a_wal_file_gets_a_file_of_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open_engine(dir.path()).expect("the directory opens");
    engine
        .apply(vec![Change::OpenShard(SHARD)])
        .await
        .expect("a new shard");
    let large = vec![9; 5 * 1024 * 1024];
    for _ in 0..3 {
        engine
            .append(append(SHARD, [large.clone(), vec![1]]))
            .await
            .expect("taken")[0]
            .expect("the shard is open");
    }
    drop(engine);
    let engine = open_engine(dir.path()).expect("the directory opens");
    let read = engine.read(SHARD, 1, ALL).await.expect("readable");
    let sizes: Vec<usize> = read
        .records
        .iter()
        .map(|record| record.data.len())
        .collect();
    assert_eq!(sizes, [large.len(), 1, large.len(), 1, large.len(), 1]);
}

#[tokio::test]
async fn the_bare_log_writes_no_segments_and_uses_its_files_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        log_only: true,
        tail_bytes: 0,
        ..options(dir.path())
    };
    let clock = Arc::new(SystemClock::new());
    let engine =
        Engine::open(options, clock, Arc::new(SystemEntropy)).expect("the directory opens");
    let opened = engine.apply(vec![Change::OpenShard(SHARD)]).await;
    assert_eq!(opened, Ok(()));
    for number in 1..=1500 {
        put(&engine, number).await;
    }
    let counters = engine.counters();
    assert!(counters.wal_files_recycled > 2, "{counters:?}");
    assert_eq!(
        (
            counters.segment_bytes,
            counters.checkpoints,
            counters.tail_bytes
        ),
        (0, 0, 0)
    );
    assert_eq!(counters.unwritten_bytes, 0);
}

#[tokio::test]
async fn a_thread_that_panics_ends_every_request_and_says_so() {
    let (failure, mut failed) = Failure::new();
    let queue = Arc::new(CommitQueue::new(1024));
    let (reply, answered) = oneshot::channel();
    let request = Request::Apply(Vec::new());
    queue.push(Queued {
        request,
        charge: 0,
        reply,
    });
    let guard = PanicGuard {
        queue: Arc::clone(&queue),
        failure,
    };
    let thread = std::thread::spawn(move || guard.watch(|| panic!("planted")));
    thread.join().expect_err("it panicked");
    assert!(answered.await.is_err(), "the request was dropped");
    assert!(failed.borrow_and_update().is_some());
}
