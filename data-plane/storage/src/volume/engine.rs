//! The volume engine as a [`ShardStore`]: the lanes on threads of their own, over the real disk.
//!
//! Four threads: `log` commits windows, `sink` writes segments, `checkpoint` makes them durable,
//! `wal-files` keeps the next WAL file ready. They decide nothing; they step the lanes.

mod admission;
mod lanes;
mod queue;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use millstream_clock::{Clock, Entropy, task};
use millstream_types::{Millis, ShardUid};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use self::admission::Admission;
use self::lanes::{Failure, SinkInbox};
use self::queue::{CommitQueue, Queued};
use super::counters::{Counters, add, set};
use super::error::OpenError;
use super::format::batch::KEY_BYTES_MAX;
use super::open::{Opened, open};
use super::options::Options;
use super::shared::Shared;
use super::wal::lane::LogLane;
use super::wal::stock::WalStock;
use super::window::{Reply, Request};
use super::{layout, read};
use crate::disk::real::RealDisk;
use crate::store::{
    Append, AppendError, Appended, ApplyError, Change, Read, ReadError, ReadLimit, ShardLog,
    ShardStatus, ShardStore, StoreError,
};

/// How long a read waits for buffers before it is refused.
const READ_WAIT: Duration = Duration::from_millis(500);

/// One log group on local files. Cheap to clone; the last clone stops the threads.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared<RealDisk>>,
    queue: Arc<CommitQueue>,
    inbox: Arc<SinkInbox>,
    stock: Arc<WalStock<RealDisk>>,
    admission: Arc<Admission>,
    failed: watch::Receiver<Option<String>>,
    /// The life of the writer.
    epoch: u64,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    log: JoinHandle<Option<LogLane<RealDisk>>>,
    sink: JoinHandle<()>,
    files: JoinHandle<()>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("dir", &self.inner.shared.options.dir)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens a data directory, replays its log and starts the threads. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        options: Options,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        let dir = options.dir.clone();
        let failed = |error| OpenError::io("opening", &dir, error);
        let mut disk = RealDisk::new(&dir).map_err(failed)?;
        if !disk.lock(layout::LOCK).map_err(failed)? {
            return Err(OpenError::Locked {
                dir: dir.display().to_string(),
            });
        }
        let opened = open(Arc::new(disk), options, clock, entropy)?;
        Self::start(opened).map_err(failed)
    }

    fn start(opened: Opened<RealDisk>) -> std::io::Result<Self> {
        let Opened {
            shared,
            stock,
            log,
            sink,
            reserved,
        } = opened;
        let epoch = log.epoch();
        let (failure, failed) = Failure::new();
        let queue = Arc::new(CommitQueue::new(shared.options.window_bytes));
        let admission = Arc::new(Admission::new(shared.options.unwritten_bytes));
        let inbox = Arc::new(SinkInbox::default());
        let log_thread = lanes::LogThread {
            shared: Arc::clone(&shared),
            stock: Arc::clone(&stock),
            lane: log,
            queue: Arc::clone(&queue),
            inbox: Arc::clone(&inbox),
            admission: Arc::clone(&admission),
            failure: failure.clone(),
        };
        let sink_thread = lanes::SinkThread {
            shared: Arc::clone(&shared),
            stock: Arc::clone(&stock),
            lane: sink,
            inbox: Arc::clone(&inbox),
            queue: Arc::clone(&queue),
            admission: Arc::clone(&admission),
            failure: failure.clone(),
            reserved,
            reserve_tried: Duration::ZERO,
        };
        let (files, files_inbox) = (Arc::clone(&stock), Arc::clone(&inbox));
        let guard = || PanicGuard {
            queue: Arc::clone(&queue),
            failure: failure.clone(),
        };
        let (log_guard, sink_guard, files_guard) = (guard(), guard(), guard());
        let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let threads = Threads {
            log: spawn("log").spawn(move || log_guard.watch(|| log_thread.run()))?,
            sink: spawn("sink").spawn(move || sink_guard.watch(|| sink_thread.run()))?,
            files: spawn("wal-files").spawn(move || {
                files_guard.watch(|| lanes::prepare_files(&files, &files_inbox, &failure));
            })?,
        };
        let threads = Mutex::new(Some(threads));
        let inner = Inner {
            shared,
            queue,
            inbox,
            stock,
            admission,
            failed,
            epoch,
            threads,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Answers what is queued, moves everything into segments, takes a checkpoint and ends the log
    /// cleanly. Later requests are refused.
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        let closed = tokio::task::spawn_blocking(move || inner.stop(true)).await;
        if let Err(error) = closed {
            tracing::error!(%error, "closing the store failed");
        }
    }

    /// Waits for the disk to fail in a way that the process must not outlive; says how.
    pub async fn failed(&self) -> String {
        let mut failed = self.inner.failed.clone();
        let what = failed
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|what| what.clone());
        match what {
            Some(what) => what,
            // the threads have ended without a failure
            None => std::future::pending().await,
        }
    }

    /// The life of the log's writer: each open begins one, with a higher number than all before.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    /// What was done since the open, and what is held now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let counters = &self.inner.shared.counters;
        set(
            &counters.unwritten_bytes,
            self.inner.admission.held() as u64,
        );
        set(
            &counters.read_ahead_bytes,
            self.inner.shared.reads.out() as u64,
        );
        counters.read()
    }

    async fn request(&self, request: Request) -> Result<Reply, StoreError> {
        let inner = &self.inner;
        let admitted = inner.admission.admit(&inner.shared, &request).await;
        let charge = admitted.inspect_err(|refused| {
            let counter = match refused {
                StoreError::NoSpace => &inner.shared.counters.refused_no_space,
                _ => &inner.shared.counters.refused_overloaded,
            };
            add(counter, 1);
        })?;
        let (reply, answered) = oneshot::channel();
        inner.queue.push(Queued {
            request,
            charge,
            reply,
        });
        answered.await.map_err(|_| StoreError::Closed)
    }
}

/// Ends the store when one of its threads panics: no request may wait for a thread that is gone.
struct PanicGuard {
    queue: Arc<CommitQueue>,
    failure: Failure,
}

impl PanicGuard {
    /// Runs a thread's work.
    fn watch<T>(self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.failure
            .report(&std::io::Error::other("a thread of the store panicked"));
        self.queue.abort();
    }
}

impl Inner {
    fn stop(&self, clean: bool) {
        let Some(threads) = self.threads.lock().take() else {
            return;
        };
        self.queue.close();
        let lane = threads.log.join();
        self.inbox.close(clean);
        self.stock.end();
        let ended = [threads.sink.join(), threads.files.join()];
        if ended.iter().any(Result::is_err) {
            tracing::error!("a thread of the store panicked");
            return;
        }
        match lane {
            Ok(Some(mut lane)) if clean && self.failed.borrow().is_none() => {
                if let Err(error) = lane.clean_seal() {
                    tracing::error!(%error, "the log could not be sealed");
                }
            },
            Ok(_) => {},
            Err(_) => tracing::error!("the log thread panicked"),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop(false);
    }
}

impl ShardLog for Engine {
    async fn append(
        &self,
        appends: Vec<Append>,
    ) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        for append in &appends {
            assert!(
                !append.records.is_empty(),
                "an append holds at least one record"
            );
            let longest = append.records.iter().map(|record| record.key.len()).max();
            assert!(
                longest <= Some(KEY_BYTES_MAX),
                "a key has at most 65,535 bytes"
            );
        }
        match self.request(Request::Append(appends)).await? {
            Reply::Append(result) => result,
            Reply::Apply(_) => Err(StoreError::Closed),
        }
    }

    async fn read(&self, shard: ShardUid, from: u64, limit: ReadLimit) -> Result<Read, ReadError> {
        let shared = &self.inner.shared;
        if let Some(read) = read::read_tail(shared, shard, from, limit)? {
            return Ok(read);
        }
        // buffers that other readers hold come back soon: wait a little before refusing
        let waited = task::timeout(READ_WAIT, async {
            loop {
                let mut returned = std::pin::pin!(shared.reads.returned.notified());
                returned.as_mut().enable();
                let reading = Arc::clone(shared);
                match on_disk(move || read::read(&reading, shard, from, limit)).await {
                    Err(ReadError::Overloaded) => returned.await,
                    other => return other,
                }
            }
        });
        waited.await.unwrap_or(Err(ReadError::Overloaded))
    }

    async fn number_at(&self, shard: ShardUid, time: Millis) -> Result<u64, ReadError> {
        let shared = Arc::clone(&self.inner.shared);
        on_disk(move || read::number_at(&shared, shard, time)).await
    }

    async fn wait_past(&self, uid: ShardUid, number: u64) {
        let Some(shard) = self.inner.shared.shard(uid) else {
            return;
        };
        loop {
            let mut changed = std::pin::pin!(shard.changed.notified());
            changed.as_mut().enable();
            {
                let view = shard.view.lock();
                if view.status.next > number || view.status.sealed || view.dropped {
                    return;
                }
            }
            changed.await;
        }
    }

    async fn status(&self, shard: ShardUid) -> Result<ShardStatus, ReadError> {
        self.status_now(shard).ok_or(ReadError::NoShard)
    }
}

impl ShardStore for Engine {
    async fn apply(&self, changes: Vec<Change>) -> Result<(), ApplyError> {
        match self.request(Request::Apply(changes)).await? {
            Reply::Apply(result) => result,
            Reply::Append(_) => Err(StoreError::Closed.into()),
        }
    }

    fn status_now(&self, shard: ShardUid) -> Option<ShardStatus> {
        self.inner
            .shared
            .shard(shard)
            .map(|shard| shard.view.lock().status)
    }

    fn rows(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        self.inner.shared.rows(prefix)
    }

    fn retention_now(&self) -> Option<Millis> {
        self.inner.shared.trusted_now()
    }
}

/// Runs a read that may wait for the disk away from the runtime's own threads.
async fn on_disk<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    let joined = tokio::task::spawn_blocking(read).await;
    joined.unwrap_or_else(|error| Err(ReadError::Io(error.to_string())))
}

#[cfg(test)]
mod tests;
