//! What the lanes publish and the readers see: durable records, rows, and where they are.

#[cfg(all(test, feature = "shuttle"))]
mod threads;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use millstream_clock::Clock;
use millstream_types::{Millis, ShardUid};
use tokio::sync::Notify;

use super::buffer::BufferPool;
use super::counters::{CountersCell, add, set};
use super::format::batch::Batch;
use super::format::checkpoint::SegmentMeta;
use super::format::entry::Entry;
use super::options::Options;
use super::retention::ClockGuard;
use super::sink::files::SegmentFiles;
use super::sync::{Mutex, RwLock};
use super::window::Window;
use crate::disk::Disk;
use crate::store::{Change, ShardStatus};

/// State shared by the lanes and the readers of one log group.
pub(crate) struct Shared<D: Disk> {
    pub(crate) disk: Arc<D>,
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: CountersCell,
    /// Buffers of frames; the tail holds slices of them.
    pub(crate) frames: Arc<BufferPool>,
    /// Buffers of reads from segments.
    pub(crate) reads: Arc<BufferPool>,
    pub(crate) files: SegmentFiles<D>,
    pub(crate) guard: Mutex<ClockGuard>,
    shards: RwLock<HashMap<ShardUid, Arc<Shard>>>,
    rows: RwLock<BTreeMap<Bytes, Bytes>>,
    tail: Mutex<Tail>,
}

/// One shard as readers see it.
pub(crate) struct Shard {
    pub(crate) view: Mutex<ShardView>,
    /// Woken when the view's status changes.
    pub(crate) changed: Notify,
}

/// Where a shard's durable records are.
pub(crate) struct ShardView {
    pub(crate) status: ShardStatus,
    pub(crate) dropped: bool,
    /// The newest batches, in memory; adjacent.
    pub(crate) tail: VecDeque<Batch>,
    /// What is in segments; adjacent, oldest first. Together with the tail it covers every record
    /// from the trim point on.
    pub(crate) segments: Vec<SegmentMeta>,
}

/// Windows held in memory, oldest first.
#[derive(Default)]
struct Tail {
    windows: VecDeque<TailWindow>,
    memory: u64,
    /// Everything below this LSN is in segments.
    sunk_lsn: u64,
}

struct TailWindow {
    end_lsn: u64,
    memory: u64,
    shards: Vec<ShardUid>,
}

impl<D: Disk> Shared<D> {
    pub(crate) fn new(
        disk: Arc<D>,
        options: Options,
        clock: Arc<dyn Clock>,
        persisted: Option<Millis>,
    ) -> Self {
        let guard = ClockGuard::new(persisted, clock.now(), clock.monotonic());
        Self {
            files: SegmentFiles::new(Arc::clone(&disk), options.open_segments_max),
            disk,
            options,
            clock,
            counters: CountersCell::default(),
            frames: Arc::default(),
            reads: Arc::default(),
            guard: Mutex::new(guard),
            shards: RwLock::default(),
            rows: RwLock::default(),
            tail: Mutex::default(),
        }
    }

    /// The wall clock as far as retention may trust it.
    pub(crate) fn trusted_now(&self) -> Option<Millis> {
        let now = self
            .guard
            .lock()
            .look(self.clock.now(), self.clock.monotonic());
        set(&self.counters.retention_paused, u64::from(now.is_none()));
        now
    }

    /// The newest wall-clock time that was trusted.
    pub(crate) fn trusted_wall(&self) -> Millis {
        self.trusted_now()
            .unwrap_or_else(|| self.guard.lock().trusted())
    }

    /// Notes whether the disk is full, and says so in the log where that is news. While it is,
    /// appends are refused, and WAL files are made small and kept no longer than needed.
    pub(crate) fn set_full(&self, full: bool) {
        let was = self
            .counters
            .no_space
            .swap(u64::from(full), Ordering::AcqRel)
            != 0;
        match (was, full) {
            (false, true) => {
                tracing::warn!("the disk is full: appends are refused until there is space");
            },
            (true, false) => tracing::info!("there is space again: appends are taken"),
            _ => {},
        }
    }

    /// Whether the disk was full when it was last looked at.
    pub(crate) fn is_full(&self) -> bool {
        self.counters.no_space.load(Ordering::Acquire) != 0
    }

    pub(crate) fn shard(&self, uid: ShardUid) -> Option<Arc<Shard>> {
        self.shards.read().get(&uid).cloned()
    }

    /// Puts a shard that the log or a checkpoint knows in front of readers.
    pub(crate) fn insert_shard(&self, uid: ShardUid, status: ShardStatus, parts: Vec<SegmentMeta>) {
        let view = ShardView {
            status,
            dropped: false,
            tail: VecDeque::new(),
            segments: parts,
        };
        let shard = Arc::new(Shard {
            view: Mutex::new(view),
            changed: Notify::new(),
        });
        self.shards.write().insert(uid, shard);
        add(&self.counters.shards, 1);
    }

    pub(crate) fn replace_rows(&self, rows: BTreeMap<Bytes, Bytes>) {
        *self.rows.write() = rows;
    }

    /// Rows whose key starts with `prefix`.
    pub(crate) fn rows(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let rows = self.rows.read();
        let from = rows.range(Bytes::copy_from_slice(prefix)..);
        from.take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Shows a durable window to the readers, keeping it in memory.
    pub(crate) fn publish(&self, window: &Window) {
        let mut shards = Vec::new();
        for entry in &window.entries {
            match entry {
                Entry::Batch(batch) => {
                    self.publish_batch(batch);
                    shards.push(batch.header.shard);
                },
                Entry::Change(change) => self.publish_change(change),
            }
        }
        let mut tail = self.tail.lock();
        let memory = window.memory as u64;
        tail.memory += memory;
        tail.windows.push_back(TailWindow {
            end_lsn: window.end.lsn,
            memory,
            shards,
        });
        self.evict(&mut tail);
    }

    fn publish_batch(&self, batch: &Batch) {
        let header = batch.header;
        let Some(shard) = self.shard(header.shard) else {
            return;
        };
        let mut view = shard.view.lock();
        assert_eq!(
            view.status.next, header.first,
            "the log lane numbers without a gap"
        );
        view.status.next = header.last() + 1;
        view.status.last_arrival = header.arrival;
        view.tail.push_back(batch.clone());
        drop(view);
        shard.changed.notify_waiters();
    }

    fn publish_change(&self, change: &Change) {
        match change {
            Change::OpenShard(uid) => {
                let status = ShardStatus {
                    first: 1,
                    next: 1,
                    last_arrival: Millis(0),
                    sealed: false,
                };
                self.insert_shard(*uid, status, Vec::new());
            },
            Change::SealShard(uid) => self.update(*uid, |view| view.status.sealed = true),
            Change::TrimShard { shard, before } => self.update(*shard, |view| {
                view.status.first = view.status.first.max(view.status.next.min(*before));
            }),
            Change::DropShard(uid) => {
                let removed = self.shards.write().remove(uid);
                if let Some(shard) = removed {
                    let mut view = shard.view.lock();
                    view.dropped = true;
                    view.tail.clear();
                    drop(view);
                    shard.changed.notify_waiters();
                    self.counters.shards.fetch_sub(1, Ordering::Relaxed);
                }
            },
            Change::KeepShard { .. } => {},
            Change::PutRow { key, value } => {
                // copies, so that a row does not hold its whole frame in memory
                let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                self.rows.write().insert(key, value);
            },
            Change::DeleteRow { key } => {
                self.rows.write().remove(key);
            },
        }
    }

    fn update(&self, uid: ShardUid, change: impl FnOnce(&mut ShardView)) {
        if let Some(shard) = self.shard(uid) {
            change(&mut shard.view.lock());
            shard.changed.notify_waiters();
        }
    }

    /// Says where a shard's written records are now.
    pub(crate) fn set_segments(&self, uid: ShardUid, segments: &[SegmentMeta]) {
        if let Some(shard) = self.shard(uid) {
            let mut view = shard.view.lock();
            view.segments.clear();
            view.segments.extend_from_slice(segments);
        }
    }

    /// Everything below `lsn` is in segments and may leave the memory.
    pub(crate) fn set_sunk(&self, lsn: u64) {
        let mut tail = self.tail.lock();
        tail.sunk_lsn = tail.sunk_lsn.max(lsn);
        self.evict(&mut tail);
    }

    fn evict(&self, tail: &mut Tail) {
        while tail.memory > self.options.tail_bytes
            && tail
                .windows
                .front()
                .is_some_and(|window| window.end_lsn <= tail.sunk_lsn)
        {
            let Some(window) = tail.windows.pop_front() else {
                break;
            };
            tail.memory -= window.memory;
            for uid in window.shards {
                if let Some(shard) = self.shard(uid) {
                    shard.view.lock().tail.pop_front();
                }
            }
        }
        set(&self.counters.tail_bytes, tail.memory);
    }
}
