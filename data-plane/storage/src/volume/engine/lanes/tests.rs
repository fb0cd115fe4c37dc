//! The lanes' threads on a simulated disk that is full and stays as large as it is.

use std::thread::JoinHandle;

use bytes::Bytes;
use millstream_clock::{SeededEntropy, SystemClock};
use millstream_types::ShardUid;

use super::*;
use crate::disk::sim::SimDisk;
use crate::store::{
    Append, AppendError, Appended, ApplyError, Change, NewRecord, ReadLimit, StoreError,
};
use crate::volume::open::open;
use crate::volume::options::Options;
use crate::volume::read;
use crate::volume::window::Request;

use super::super::queue::Queued;

const SHARD: ShardUid = ShardUid(7);
const KIB: u64 = 1024;
/// How often something is tried that the other threads have to make possible.
const TRIES_MAX: usize = 300;
const TRY_AGAIN: Duration = Duration::from_millis(50);

fn options() -> Options {
    Options {
        wal_file_bytes: 1024 * KIB,
        checkpoint_bytes: 4096 * KIB,
        segment_bytes: 64 * KIB,
        tail_bytes: 16 * KIB,
        reserve_bytes: 256 * KIB,
        ..Options::new("unused".into())
    }
}

/// A store without the thread that makes WAL files ahead of need: on a disk that is nearly full it
/// would not find space for them.
struct Store {
    disk: SimDisk,
    shared: Arc<Shared<SimDisk>>,
    queue: Arc<CommitQueue>,
    inbox: Arc<SinkInbox>,
    admission: Arc<Admission>,
    failed: watch::Receiver<Option<String>>,
    log: JoinHandle<Option<LogLane<SimDisk>>>,
    sink: JoinHandle<()>,
}

impl Store {
    fn start() -> Self {
        let disk = SimDisk::new(1);
        let (clock, entropy) = (SystemClock::new(), SeededEntropy::new(1));
        let opened = open(
            Arc::new(disk.clone()),
            options(),
            Arc::new(clock),
            Arc::new(entropy),
        );
        let opened = opened.expect("an empty disk opens");
        let (failure, failed) = Failure::new();
        let shared = opened.shared;
        let queue = Arc::new(CommitQueue::new(shared.options.window_bytes));
        let admission = Arc::new(Admission::new(shared.options.unwritten_bytes));
        let inbox = Arc::new(SinkInbox::default());
        let log = LogThread {
            shared: Arc::clone(&shared),
            stock: Arc::clone(&opened.stock),
            lane: opened.log,
            queue: Arc::clone(&queue),
            inbox: Arc::clone(&inbox),
            admission: Arc::clone(&admission),
            failure: failure.clone(),
        };
        let sink = SinkThread {
            shared: Arc::clone(&shared),
            stock: opened.stock,
            lane: opened.sink,
            inbox: Arc::clone(&inbox),
            queue: Arc::clone(&queue),
            admission: Arc::clone(&admission),
            failure,
            reserved: opened.reserved,
            reserve_tried: Duration::ZERO,
        };
        Self {
            disk,
            shared,
            queue,
            inbox,
            admission,
            failed,
            log: std::thread::spawn(move || log.run()),
            sink: std::thread::spawn(move || sink.run()),
        }
    }

    async fn request(&self, request: Request) -> Result<Reply, StoreError> {
        let charge = self.admission.admit(&self.shared, &request).await?;
        let (reply, answered) = oneshot::channel();
        self.queue.push(Queued {
            request,
            charge,
            reply,
        });
        answered.await.map_err(|_| StoreError::Closed)
    }

    async fn apply(&self, change: Change) -> Result<(), ApplyError> {
        match self.request(Request::Apply(vec![change])).await? {
            Reply::Apply(result) => result,
            Reply::Append(_) => panic!("changes are answered as changes"),
        }
    }

    async fn append(&self) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        self.append_to([SHARD], 10_000).await
    }

    async fn append_to(
        &self,
        shards: impl IntoIterator<Item = ShardUid>,
        bytes: usize,
    ) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        let record = NewRecord {
            key: Bytes::from_static(b"k"),
            data: Bytes::from(vec![7; bytes]),
        };
        let append = |shard| Append {
            shard,
            records: vec![record.clone()],
        };
        let appends = shards.into_iter().map(append).collect();
        match self.request(Request::Append(appends)).await? {
            Reply::Append(result) => result,
            Reply::Apply(_) => panic!("appends are answered as appends"),
        }
    }

    async fn row(&self, value: u64) -> Result<(), ApplyError> {
        let mut bytes = vec![0; 3000];
        bytes[..8].copy_from_slice(&value.to_le_bytes());
        let (key, value) = (Bytes::from_static(b"row"), Bytes::from(bytes));
        self.apply(Change::PutRow { key, value }).await
    }

    fn next(&self) -> u64 {
        let shard = self.shared.shard(SHARD).expect("it was opened");
        shard.view.lock().status.next
    }

    /// Has the sink write everything.
    fn settle(&self) {
        for _ in 0..TRIES_MAX {
            if self.admission.held() == 0 {
                return;
            }
            std::thread::sleep(TRY_AGAIN);
        }
        panic!("the sink does not write what it has");
    }

    /// Trims everything on the full disk, and appends once that is taken; gives the record's number.
    async fn trim_and_append(&self) -> u64 {
        let before = self.next();
        let trim = Change::TrimShard {
            shard: SHARD,
            before,
        };
        let mut trimmed = Err(ApplyError::Store(StoreError::NoSpace));
        for _ in 0..TRIES_MAX {
            trimmed = self.apply(trim.clone()).await;
            if trimmed.is_ok() {
                break;
            }
            std::thread::sleep(TRY_AGAIN);
        }
        assert_eq!(trimmed, Ok(()), "what frees space is written");
        let mut appended = Err(StoreError::NoSpace);
        for _ in 0..TRIES_MAX {
            appended = self.append().await;
            if appended.is_ok() {
                break;
            }
            std::thread::sleep(TRY_AGAIN);
        }
        let appended = appended.expect("appends go on once there is space");
        assert_eq!(appended[0].map(|a| a.first), Ok(before));
        before
    }

    /// Ends the threads.
    fn end(self) -> Option<String> {
        self.queue.close();
        self.log.join().expect("the log ends");
        self.inbox.close(true);
        let ended = (0..TRIES_MAX).any(|_| {
            std::thread::sleep(TRY_AGAIN);
            self.sink.is_finished()
        });
        assert!(ended, "the sink does not end");
        self.sink.join().expect("the sink ends");
        self.failed.borrow().clone()
    }
}

/// A store whose log has filled its only file and finds no space for another one. Gives the newest
/// row that was taken.
async fn starved() -> (Store, u64) {
    let store = Store::start();
    store
        .apply(Change::OpenShard(SHARD))
        .await
        .expect("a new shard");
    for _ in 0..60 {
        store.append().await.expect("taken")[0].expect("the shard is open");
    }
    store.settle();
    let room = 300 * KIB;
    store.disk.set_capacity(Some(store.disk.allocated() + room));
    let mut row = 0;
    while store.row(row + 1).await == Ok(()) {
        row += 1;
        assert!(row < 1000, "the log never needs another file");
    }
    (store, row)
}

#[tokio::test]
async fn a_log_without_space_for_its_next_file_takes_trims_and_then_appends_again() {
    let (store, row) = starved().await;
    let before = store.trim_and_append().await;
    let shared = Arc::clone(&store.shared);
    let limit = ReadLimit {
        records: 10,
        bytes: usize::MAX,
    };
    let read = read::read(&shared, SHARD, 1, limit).expect("readable");
    assert_eq!((read.records.len(), read.next), (1, before + 1));
    let disk = store.disk.clone();
    assert_eq!(store.end(), None, "a full disk is no failure");

    disk.restart(crate::disk::sim::Crash::Power);
    let (clock, entropy) = (SystemClock::new(), SeededEntropy::new(2));
    let opened = open(
        Arc::new(disk),
        options(),
        Arc::new(clock),
        Arc::new(entropy),
    );
    let shared = opened.expect("it opens on the same disk").shared;
    let read = read::read(&shared, SHARD, 1, limit).expect("readable");
    assert_eq!((read.records.len(), read.next), (1, before + 1));
    let kept = shared.rows(b"row").remove(0).1;
    assert_eq!(kept[..8], row.to_le_bytes(), "the newest row is kept");
}

#[tokio::test]
async fn a_disk_too_full_for_what_waits_takes_trims_and_then_appends_again() {
    let store = Store::start();
    let others = || (100..220).map(ShardUid);
    let open = others().chain([SHARD]).map(Change::OpenShard).collect();
    let opened = store.request(Request::Apply(open)).await;
    assert_eq!(opened, Ok(Reply::Apply(Ok(()))));
    for _ in 0..200 {
        store.append().await.expect("taken")[0].expect("the shard is open");
    }
    store.settle();
    store.disk.set_capacity(Some(store.disk.allocated()));
    // the log has room for it, the reserve has not
    let appended = store.append_to(others(), 4000).await.expect("taken");
    assert!(appended.iter().all(Result::is_ok), "the shards are open");
    for _ in 0..TRIES_MAX {
        if store.shared.is_full() {
            break;
        }
        std::thread::sleep(TRY_AGAIN);
    }
    assert_eq!(store.append().await, Err(StoreError::NoSpace));
    assert!(store.admission.held() >= 480_000, "it waits");
    store.trim_and_append().await;
    store.settle();
    assert_eq!(store.end(), None, "a full disk is no failure");
}

#[tokio::test]
async fn a_clean_end_on_a_full_disk_ends_and_loses_nothing() {
    let store = Store::start();
    store
        .apply(Change::OpenShard(SHARD))
        .await
        .expect("a new shard");
    store.settle();
    store.disk.set_capacity(Some(store.disk.allocated()));
    // more than the reserve has room for, and less than the log's first file
    for _ in 0..60 {
        if store.append().await.is_err() {
            break;
        }
    }
    let next = store.next();
    let disk = store.disk.clone();
    assert_eq!(store.end(), None, "a full disk is no failure");

    disk.restart(crate::disk::sim::Crash::Power);
    disk.set_capacity(None);
    let (clock, entropy) = (SystemClock::new(), SeededEntropy::new(2));
    let opened = open(
        Arc::new(disk),
        options(),
        Arc::new(clock),
        Arc::new(entropy),
    );
    let limit = ReadLimit {
        records: 100,
        bytes: usize::MAX,
    };
    let shared = opened.expect("it opens").shared;
    let read = read::read(&shared, SHARD, 1, limit).expect("readable");
    assert_eq!(read.records.len() as u64 + 1, next);
}
