//! The sink lane: takes durable windows in order, folds their changes, and writes their batches to
//! segments. An acknowledgement never waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use millstream_types::{Millis, ShardUid};

use super::super::counters::set;
use super::super::error::StepError;
use super::super::format::batch::Batch;
use super::super::format::checkpoint::{Checkpoint, LogPosition, ShardState};
use super::super::format::entry::Entry;
use super::super::shared::Shared;
use super::super::wal::stock::WalStock;
use super::super::window::Window;
use super::checkpoint::CheckpointJob;
use super::segments::{SinkShard, Unsynced};
use crate::disk::{Disk, DiskFile};
use crate::store::Change;

/// A round takes in windows up to about this many bytes of batches.
const ROUND_BYTES: usize = 16 * 1024 * 1024;
/// Write-back is begun when this much was written since the last time.
const WRITEBACK_BYTES: u64 = 16 * 1024 * 1024;
/// What a new shard keeps until told otherwise.
const KEEP_MS_DEFAULT: u64 = 24 * 3_600_000;

/// A batch of the log does not follow the one before it in its shard.
#[derive(Debug, thiserror::Error)]
#[error("a batch of shard {shard} begins with {found}, after {next} records were due")]
pub(crate) struct Gap {
    shard: ShardUid,
    next: u64,
    found: u64,
}

/// The state that the log amounts to so far, and what of it is in segments.
pub(crate) struct SinkLane<D: Disk> {
    shared: Arc<Shared<D>>,
    stock: Arc<WalStock<D>>,
    queue: VecDeque<Arc<Window>>,
    shards: BTreeMap<ShardUid, SinkShard>,
    rows: BTreeMap<Bytes, Bytes>,
    /// Shards with pending batches, or segments to let go of.
    touched: BTreeSet<ShardUid>,
    /// The log up to here is in `shards` and `rows`.
    folded: LogPosition,
    /// The log up to here is in segments.
    sunk: LogPosition,
    /// Admission's charges of the windows between `sunk` and `folded`.
    charge: usize,
    unsynced: Unsynced,
    written_back: u64,
    written: u64,
    /// LSN up to which the newest checkpoint (or the one being made) reaches.
    covered_lsn: u64,
    checkpoint_number: u64,
}

impl<D: Disk> SinkLane<D> {
    /// `checkpoint` is the newest one, or an empty one where there is none yet.
    pub(crate) fn new(
        shared: Arc<Shared<D>>,
        stock: Arc<WalStock<D>>,
        checkpoint: Checkpoint,
        checkpoint_number: u64,
    ) -> Self {
        let position = checkpoint.position;
        Self {
            shared,
            stock,
            queue: VecDeque::new(),
            shards: checkpoint
                .shards
                .into_iter()
                .map(|state| (state.uid, SinkShard::new(state)))
                .collect(),
            rows: checkpoint.rows.into_iter().collect(),
            touched: BTreeSet::new(),
            folded: position,
            sunk: position,
            charge: 0,
            unsynced: Unsynced::default(),
            written_back: 0,
            written: 0,
            covered_lsn: position.lsn,
            checkpoint_number,
        }
    }

    /// The shards as the log says they are.
    pub(crate) fn shards(&self) -> impl Iterator<Item = &ShardState> {
        self.shards.values().map(|shard| &shard.state)
    }

    pub(crate) fn rows(&self) -> &BTreeMap<Bytes, Bytes> {
        &self.rows
    }

    /// Takes a durable window, in log order.
    pub(crate) fn push(&mut self, window: Arc<Window>) {
        self.queue.push_back(window);
    }

    /// Whether a round has something to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.touched.is_empty()
    }

    /// Folds queued windows and writes their batches; says how much charge is given back. After
    /// [`StepError::NoSpace`] the next round goes on where this one stopped.
    pub(crate) fn round(&mut self, now: Millis) -> Result<usize, StepError> {
        if self.touched.is_empty() {
            let mut bytes = 0;
            while bytes < ROUND_BYTES
                && let Some(window) = self.queue.pop_front()
            {
                bytes += window.memory;
                self.charge += window.charge;
                self.fold_window(&window);
            }
        }
        self.write(now)?;
        Ok(std::mem::take(&mut self.charge))
    }

    /// As [`Self::round`] where nothing may be written: folds what is queued and lets go of what was
    /// trimmed, so that a checkpoint can give its space back.
    pub(crate) fn hold(&mut self) -> usize {
        while let Some(window) = self.queue.pop_front() {
            self.charge += window.charge;
            self.fold_window(&window);
        }
        self.let_go();
        let shards = &self.shards;
        self.touched
            .retain(|uid| shards.get(uid).is_some_and(SinkShard::is_behind));
        if self.touched.is_empty() {
            self.reach();
            std::mem::take(&mut self.charge)
        } else {
            0
        }
    }

    fn fold_window(&mut self, window: &Window) {
        for entry in &window.entries {
            self.fold(entry.clone(), false)
                .expect("the log lane numbers without a gap");
        }
        self.folded = window.end;
    }

    /// Folds one entry. Where `again` is set it may have been seen before.
    pub(crate) fn fold(&mut self, entry: Entry, again: bool) -> Result<(), Gap> {
        match entry {
            Entry::Batch(batch) => self.fold_batch(batch, again),
            Entry::Change(change) => {
                self.fold_change(change);
                Ok(())
            },
        }
    }

    /// Says that everything up to `position` was folded.
    pub(crate) fn folded_to(&mut self, position: LogPosition) {
        self.folded = position;
    }

    fn fold_batch(&mut self, batch: Batch, again: bool) -> Result<(), Gap> {
        let header = batch.header;
        let Some(shard) = self.shards.get_mut(&header.shard) else {
            let gap = Gap {
                shard: header.shard,
                next: 0,
                found: header.first,
            };
            return if again { Ok(()) } else { Err(gap) };
        };
        let next = shard.state.next;
        if again && header.last() < next {
            return Ok(());
        }
        if header.first != next {
            return Err(Gap {
                shard: header.shard,
                next,
                found: header.first,
            });
        }
        shard.state.next = header.last() + 1;
        shard.state.last_arrival = header.arrival;
        shard.pending.push(batch);
        self.touched.insert(header.shard);
        Ok(())
    }

    fn fold_change(&mut self, change: Change) {
        match change {
            Change::OpenShard(uid) => {
                self.shards.entry(uid).or_insert_with(|| {
                    SinkShard::new(ShardState {
                        uid,
                        first: 1,
                        next: 1,
                        last_arrival: Millis(0),
                        sealed: false,
                        keep_ms: KEEP_MS_DEFAULT,
                        segments: Vec::new(),
                    })
                });
            },
            Change::SealShard(uid) => self.change_shard(uid, |state| state.sealed = true),
            Change::TrimShard { shard, before } => self.change_shard(shard, |state| {
                state.first = state.first.max(before.min(state.next));
            }),
            Change::KeepShard { shard, keep_ms } => {
                self.change_shard(shard, |state| state.keep_ms = keep_ms);
            },
            Change::DropShard(uid) => {
                self.touched.remove(&uid);
                if let Some(shard) = self.shards.remove(&uid) {
                    shard.drop_all(&self.shared, &mut self.unsynced);
                }
            },
            Change::PutRow { key, value } => {
                let (key, value) = (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value));
                self.rows.insert(key, value);
            },
            Change::DeleteRow { key } => {
                self.rows.remove(&key);
            },
        }
    }

    fn change_shard(&mut self, uid: ShardUid, change: impl FnOnce(&mut ShardState)) {
        if let Some(shard) = self.shards.get_mut(&uid) {
            change(&mut shard.state);
            self.touched.insert(uid);
        }
    }

    /// Writes everything that is pending. Trimmed segments are let go of first: on a full disk that
    /// is what makes room.
    pub(crate) fn write(&mut self, now: Millis) -> Result<(), StepError> {
        self.let_go();
        while let Some(uid) = self.touched.first().copied() {
            if let Some(shard) = self.shards.get_mut(&uid) {
                let written = shard.write(&self.shared, &mut self.unsynced, now);
                self.shared.set_segments(uid, &shard.state.segments);
                self.written += written?;
            }
            self.touched.remove(&uid);
        }
        self.reach();
        if self.written - self.written_back >= WRITEBACK_BYTES {
            self.written_back = self.written;
            self.start_writeback();
        }
        Ok(())
    }

    /// Lets go of what was trimmed.
    fn let_go(&mut self) {
        for uid in &self.touched {
            if let Some(shard) = self.shards.get_mut(uid)
                && shard.drop_trimmed(&self.shared, &mut self.unsynced)
            {
                self.shared.set_segments(*uid, &shard.state.segments);
            }
        }
    }

    /// Notes that everything folded is in segments.
    fn reach(&mut self) {
        self.sunk = self.folded;
        self.shared.set_sunk(self.sunk.lsn);
        set(&self.shared.counters.wal_uncovered_bytes, self.uncovered());
    }

    /// Asks the system to begin writing segments back, so that a checkpoint finds little to wait
    /// for.
    fn start_writeback(&self) {
        for (uid, first) in &self.unsynced.segments {
            if let Ok(segment) = self.shared.files.open(*uid, *first) {
                segment.file.start_writeback(0, 0);
            }
        }
    }

    /// Bytes of the log that are in segments and that no checkpoint reaches.
    pub(crate) fn uncovered(&self) -> u64 {
        self.sunk.lsn - self.covered_lsn
    }

    /// Whether a checkpoint has something to do.
    pub(crate) fn has_news(&self) -> bool {
        self.uncovered() > 0 || !self.unsynced.removed.is_empty()
    }

    /// Begins a checkpoint of what is in segments now; none when nothing is new. One at a time.
    ///
    /// Where a round is unfinished (the disk is full) the folded state runs ahead of the position:
    /// windows behind it are replayed onto it, which changes nothing, because numbers that were
    /// seen are skipped and the last word of a row or a shard wins again. Only what is pending must
    /// not count as seen.
    pub(crate) fn begin_checkpoint(&mut self, wall: Millis) -> Option<CheckpointJob<D>> {
        if !self.has_news() {
            return None;
        }
        let checkpoint = Checkpoint {
            position: self.sunk,
            wall,
            shards: self.shards.values().map(SinkShard::written_state).collect(),
            rows: self
                .rows
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        };
        self.checkpoint_number += 1;
        self.covered_lsn = self.sunk.lsn;
        let unsynced = std::mem::take(&mut self.unsynced);
        let (shared, stock) = (Arc::clone(&self.shared), Arc::clone(&self.stock));
        Some(CheckpointJob::new(
            shared,
            stock,
            self.checkpoint_number,
            &checkpoint,
            unsynced,
        ))
    }

    /// Takes back a checkpoint that a full disk stopped; a later one will do its work.
    pub(crate) fn abandon_checkpoint(&mut self, job: CheckpointJob<D>, covered_lsn: u64) {
        self.unsynced.merge(job.into_unsynced());
        self.covered_lsn = covered_lsn;
    }

    /// LSN up to which the newest checkpoint (or the one being made) reaches.
    pub(crate) fn covered_lsn(&self) -> u64 {
        self.covered_lsn
    }
}
