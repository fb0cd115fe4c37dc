//! One shard's segments as the sink writes them.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::Path;

use millstream_types::{Millis, ShardUid};

use super::super::counters::add;
use super::super::error::{Fatal, StepError};
use super::super::format::batch::Batch;
use super::super::format::checkpoint::{SegmentMeta, ShardState};
use super::super::format::segment;
use super::super::layout;
use super::super::shared::Shared;
use crate::disk::{Disk, DiskFile};
use crate::store::ReadError;

/// A segment is ended when it is older than this, or than a 24th of the time that its shard keeps
/// records, whichever is longer: so its space comes free in time however slow the shard is.
const SEGMENT_AGE_MS_MIN: u64 = 3_600_000;
const SEGMENTS_PER_RETENTION: u64 = 24;

/// A shard as the log says it is, and the batches that are not yet in its segments.
pub(crate) struct SinkShard {
    pub(crate) state: ShardState,
    pub(crate) pending: Vec<Batch>,
}

/// What the next checkpoint has to make durable, and what it may then remove.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    /// Segments written to.
    pub(crate) segments: BTreeSet<(ShardUid, u64)>,
    /// Shard directories with new names in them.
    pub(crate) dirs: BTreeSet<ShardUid>,
    /// Whether there are new shard directories.
    pub(crate) root: bool,
    /// Segments that no shard has any more.
    pub(crate) removed: Vec<(ShardUid, u64)>,
    /// Shards that are gone.
    pub(crate) dropped: Vec<ShardUid>,
}

impl Unsynced {
    /// Takes back what a checkpoint that failed was to do.
    pub(crate) fn merge(&mut self, other: Self) {
        self.segments.extend(other.segments);
        self.dirs.extend(other.dirs);
        self.root |= other.root;
        self.removed.extend(other.removed);
        self.dropped.extend(other.dropped);
        for gone in &self.dropped {
            self.dirs.remove(gone);
            self.segments.retain(|(shard, _)| shard != gone);
        }
    }
}

impl SinkShard {
    pub(crate) fn new(state: ShardState) -> Self {
        Self {
            state,
            pending: Vec::new(),
        }
    }

    /// The shard as it is without what is pending.
    pub(crate) fn written_state(&self) -> ShardState {
        let mut state = self.state.clone();
        if let Some(batch) = self.pending.first() {
            state.next = batch.header.first;
            state.last_arrival = state.segments.last().map_or(Millis(0), |s| s.last_arrival);
        }
        state
    }

    /// Writes all pending batches and says how many bytes. On [`StepError::NoSpace`] what is not
    /// written stays pending.
    pub(crate) fn write<D: Disk>(
        &mut self,
        shared: &Shared<D>,
        unsynced: &mut Unsynced,
        now: Millis,
    ) -> Result<u64, StepError> {
        let mut written = 0;
        while !self.pending.is_empty() {
            if self.active_is_full(shared.options.segment_bytes, now) {
                self.seal_active(shared, unsynced)?;
            }
            let count = self.write_some(shared, unsynced, now)?;
            written += self
                .pending
                .drain(..count)
                .map(|b| b.bytes.len() as u64)
                .sum::<u64>();
        }
        if self.state.sealed {
            self.seal_active(shared, unsynced)?;
        }
        Ok(written)
    }

    fn active(&self) -> Option<&SegmentMeta> {
        self.state.segments.last().filter(|segment| !segment.sealed)
    }

    fn active_is_full(&self, segment_bytes: u64, now: Millis) -> bool {
        let age_max = SEGMENT_AGE_MS_MIN.max(self.state.keep_ms / SEGMENTS_PER_RETENTION);
        self.active()
            .is_some_and(|s| s.len >= segment_bytes || now.since(s.created) >= age_max)
    }

    /// Writes as many pending batches as the active segment takes, and says how many.
    fn write_some<D: Disk>(
        &mut self,
        shared: &Shared<D>,
        unsynced: &mut Unsynced,
        now: Millis,
    ) -> Result<usize, StepError> {
        let uid = self.state.uid;
        let meta = match self.active() {
            Some(meta) => *meta,
            None => {
                let meta = begin_segment(shared, unsynced, uid, &self.pending[0], now)?;
                self.state.segments.push(meta);
                meta
            },
        };
        let path = layout::segment_file(uid, meta.first);
        let segment = shared
            .files
            .open(uid, meta.first)
            .map_err(|error| Fatal::new("opening", &path, error))?;
        let mut slices = Vec::new();
        let mut after = meta;
        for batch in &self.pending {
            if after.len >= shared.options.segment_bytes && !slices.is_empty() {
                break;
            }
            slices.push(IoSlice::new(&batch.bytes));
            after.len += batch.bytes.len() as u64;
            after.last = batch.header.last();
            after.last_arrival = batch.header.arrival;
        }
        if let Err(error) = segment.file.write_at(&slices, meta.len) {
            if meta.len == segment::HEADER_BYTES as u64 {
                // without a batch it is no segment: it must be neither sealed nor trimmed
                self.state.segments.pop();
                shared.files.forget(uid, meta.first);
            }
            return Err(StepError::new("writing", &path, error));
        }
        let mut offset = meta.len;
        for batch in &self.pending[..slices.len()] {
            segment.note(batch.header.first, offset, batch.header.arrival);
            offset += batch.bytes.len() as u64;
        }
        add(&shared.counters.segment_bytes, after.len - meta.len);
        unsynced.segments.insert((uid, meta.first));
        if let Some(active) = self.state.segments.last_mut() {
            *active = after;
        }
        Ok(slices.len())
    }

    /// Ends the active segment, if there is one, with its index and footer.
    fn seal_active<D: Disk>(
        &mut self,
        shared: &Shared<D>,
        unsynced: &mut Unsynced,
    ) -> Result<(), StepError> {
        let uid = self.state.uid;
        let Some(meta) = self.state.segments.last_mut().filter(|s| !s.sealed) else {
            return Ok(());
        };
        let path = layout::segment_file(uid, meta.first);
        let segment = shared
            .files
            .open(uid, meta.first)
            .map_err(|error| Fatal::new("opening", &path, error))?;
        let entries = segment
            .entries(meta)
            .map_err(|error| unreadable(&path, error))?;
        let tail = segment::encode_tail(&entries, meta.len, meta.last);
        segment
            .file
            .write_at(&[IoSlice::new(&tail)], meta.len)
            .map_err(|error| StepError::new("sealing", &path, error))?;
        // a write that a full disk cut short may have left bytes behind the end; the footer is last
        segment
            .file
            .set_len(meta.len + tail.len() as u64)
            .map_err(|error| StepError::new("sealing", &path, error))?;
        add(&shared.counters.segment_bytes, tail.len() as u64);
        unsynced.segments.insert((uid, meta.first));
        meta.sealed = true;
        Ok(())
    }

    /// Whether there is something left to be written.
    pub(crate) fn is_behind(&self) -> bool {
        !self.pending.is_empty() || self.state.sealed && self.active().is_some()
    }

    /// Lets go of the segments, and of the batches on their way there, that lie wholly below the
    /// trim point. True if there were such segments.
    pub(crate) fn drop_trimmed<D: Disk>(
        &mut self,
        shared: &Shared<D>,
        unsynced: &mut Unsynced,
    ) -> bool {
        let keep = self
            .state
            .segments
            .partition_point(|segment| segment.last < self.state.first);
        let first = self.state.first;
        let unwanted = self
            .pending
            .partition_point(|batch| batch.header.last() < first);
        self.pending.drain(..unwanted);
        let uid = self.state.uid;
        for segment in self.state.segments.drain(..keep) {
            remove_segment(shared, unsynced, uid, segment.first);
        }
        keep > 0
    }

    /// Lets go of everything.
    pub(crate) fn drop_all<D: Disk>(self, shared: &Shared<D>, unsynced: &mut Unsynced) {
        let uid = self.state.uid;
        for segment in &self.state.segments {
            remove_segment(shared, unsynced, uid, segment.first);
        }
        unsynced.dirs.remove(&uid);
        unsynced.dropped.push(uid);
    }
}

fn remove_segment<D: Disk>(shared: &Shared<D>, unsynced: &mut Unsynced, uid: ShardUid, first: u64) {
    unsynced.segments.remove(&(uid, first));
    unsynced.removed.push((uid, first));
    shared.files.forget(uid, first);
    add(&shared.counters.segments_removed, 1);
}

/// Makes the file of a segment that begins with `batch`.
fn begin_segment<D: Disk>(
    shared: &Shared<D>,
    unsynced: &mut Unsynced,
    uid: ShardUid,
    batch: &Batch,
    now: Millis,
) -> Result<SegmentMeta, StepError> {
    let first = batch.header.first;
    let path = layout::segment_file(uid, first);
    let failed = |error| StepError::new("creating", &path, error);
    shared
        .disk
        .create_dir(&layout::shard_dir(uid))
        .map_err(failed)?;
    let file = match shared.disk.create(&path) {
        // left by an attempt that a full disk cut short
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            shared.disk.remove(&path).map_err(failed)?;
            shared.disk.create(&path).map_err(failed)?
        },
        other => other.map_err(failed)?,
    };
    let header = segment::encode_header(uid, first);
    file.write_at(&[IoSlice::new(&header)], 0).map_err(failed)?;
    shared.files.insert_new(uid, first, file);
    unsynced.dirs.insert(uid);
    unsynced.root = true;
    add(&shared.counters.segments_created, 1);
    Ok(SegmentMeta {
        first,
        last: first,
        created: now,
        first_arrival: batch.header.arrival,
        last_arrival: batch.header.arrival,
        len: segment::HEADER_BYTES as u64,
        sealed: false,
    })
}

fn unreadable(path: &Path, error: ReadError) -> Fatal {
    Fatal::new("reading", path, io::Error::other(error))
}
