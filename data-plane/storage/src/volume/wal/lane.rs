//! The log lane: numbers requests, writes them as one commit window, and says what became of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use millstream_types::{Millis, ShardUid};

use super::super::buffer::PooledBuffer;
use super::super::counters::add;
use super::super::error::{Fatal, StepError};
use super::super::format::batch::{self, Batch, BatchHeader};
use super::super::format::entry::{self, Entry};
use super::super::format::frame::{self, FrameKind};
use super::super::shared::Shared;
use super::super::window::{Reply, Request, Window};
use super::writer::WalWriter;
use crate::disk::Disk;
use crate::store::{Append, AppendError, Appended, ApplyError, Change, StoreError};

/// Longest key of a row, in bytes.
const ROW_KEY_BYTES_MAX: usize = 1024;
/// Longest value of a row, in bytes.
const ROW_VALUE_BYTES_MAX: usize = 1024 * 1024;

/// The one writer of a log group.
pub(crate) struct LogLane<D: Disk> {
    shared: Arc<Shared<D>>,
    writer: WalWriter<D>,
    shards: HashMap<ShardUid, Numbering>,
}

/// What the lane knows of a shard. It runs ahead of what is durable by the window being made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbering {
    pub(crate) next: u64,
    pub(crate) last_arrival: Millis,
    pub(crate) sealed: bool,
    /// Index of the shard's batch in the window being made.
    batch: Option<usize>,
}

impl Numbering {
    pub(crate) fn new(next: u64, last_arrival: Millis, sealed: bool) -> Self {
        Self {
            next,
            last_arrival,
            sealed,
            batch: None,
        }
    }
}

/// What one window came to.
pub(crate) struct Committed {
    /// In the order of the requests.
    pub(crate) replies: Vec<Reply>,
    /// What is now durable; none where every request was refused.
    pub(crate) window: Option<Arc<Window>>,
    /// Whether that was because the disk has no room for the log's next file. Only the sink can
    /// make room.
    pub(crate) no_space: bool,
}

/// The window being made.
struct Draft<'a> {
    buffer: PooledBuffer,
    /// Batches that take appends, in the order of their first one.
    open: Vec<OpenBatch<'a>>,
    /// Finished entries and where they stand in the buffer.
    parts: Vec<Part>,
}

struct OpenBatch<'a> {
    shard: ShardUid,
    first: u64,
    arrival: Millis,
    appends: Vec<&'a Append>,
}

enum Part {
    Batch { header: BatchHeader, start: usize },
    Change(Change),
}

impl<D: Disk> LogLane<D> {
    /// The writer's epoch.
    pub(crate) const fn epoch(&self) -> u64 {
        self.writer.epoch
    }

    pub(crate) fn new(writer: WalWriter<D>, shards: HashMap<ShardUid, Numbering>) -> Self {
        Self {
            shared: Arc::clone(&writer.shared),
            writer,
            shards,
        }
    }

    /// Makes `requests` durable as one window. `charge` is what admission charged for them.
    ///
    /// # Errors
    /// [`Fatal`]: what is durable is not known, and the lane must not be used again.
    pub(crate) fn commit(
        &mut self,
        requests: &[Request],
        charge: usize,
    ) -> Result<Committed, Fatal> {
        let bound = frame::HEADER_BYTES + requests.iter().map(Request::frame_len).sum::<usize>();
        match self.writer.ensure_room(frame::padded(bound)) {
            Ok(()) => {},
            Err(StepError::NoSpace) => {
                add(
                    &self.shared.counters.refused_no_space,
                    requests.len() as u64,
                );
                let refuse = |request| Reply::refused(request, StoreError::NoSpace);
                return Ok(Committed {
                    replies: requests.iter().map(refuse).collect(),
                    window: None,
                    no_space: true,
                });
            },
            Err(StepError::Fatal(fatal)) => return Err(fatal),
        }
        let mut buffer = self.shared.frames.take(frame::padded_capacity(bound));
        frame::begin(&mut buffer.bytes);
        let mut draft = Draft {
            buffer,
            open: Vec::new(),
            parts: Vec::new(),
        };
        let now = self.shared.clock.now();
        let mut replies = Vec::with_capacity(requests.len());
        for request in requests {
            replies.push(match request {
                Request::Append(appends) => {
                    let one = |append| self.number(&mut draft, append, now);
                    Reply::Append(Ok(appends.iter().map(one).collect()))
                },
                Request::Apply(changes) => Reply::Apply(self.apply(&mut draft, changes)),
            });
        }
        self.finish_batches(&mut draft);
        let window = if draft.parts.is_empty() {
            None
        } else {
            Some(self.write(draft, charge)?)
        };
        Ok(Committed {
            replies,
            window,
            no_space: false,
        })
    }

    /// Writes a plain seal if the newest frame is a window.
    pub(crate) fn idle_seal(&mut self) -> Result<(), Fatal> {
        if self.writer.unsealed {
            self.writer.seal(FrameKind::Seal)
        } else {
            Ok(())
        }
    }

    /// Ends the epoch. Nothing may be committed after it.
    pub(crate) fn clean_seal(&mut self) -> Result<(), Fatal> {
        self.writer.seal(FrameKind::CleanSeal)
    }

    fn number<'a>(
        &mut self,
        draft: &mut Draft<'a>,
        append: &'a Append,
        now: Millis,
    ) -> Result<Appended, AppendError> {
        let shard = self
            .shards
            .get_mut(&append.shard)
            .ok_or(AppendError::NoShard)?;
        if shard.sealed {
            return Err(AppendError::Sealed);
        }
        let arrival = now.max(shard.last_arrival);
        let first = shard.next;
        assert!(
            !append.records.is_empty(),
            "admission refuses empty appends"
        );
        shard.next += append.records.len() as u64;
        shard.last_arrival = arrival;
        match shard.batch {
            Some(index) => draft.open[index].appends.push(append),
            None => {
                shard.batch = Some(draft.open.len());
                let appends = vec![append];
                draft.open.push(OpenBatch {
                    shard: append.shard,
                    first,
                    arrival,
                    appends,
                });
            },
        }
        Ok(Appended { first, arrival })
    }

    /// Packs the open batches, so that what follows stands behind them in the log.
    fn finish_batches(&mut self, draft: &mut Draft<'_>) {
        for open in draft.open.drain(..) {
            let out = &mut draft.buffer.bytes;
            let start = entry::begin_batch(out);
            let records = open.appends.iter().flat_map(|append| &append.records);
            let header = batch::encode(out, open.shard, open.first, open.arrival, records);
            entry::finish_batch(out, start);
            draft.parts.push(Part::Batch {
                header,
                start: start + entry::HEADER_BYTES,
            });
            if let Some(shard) = self.shards.get_mut(&open.shard) {
                assert_eq!(
                    shard.next,
                    header.last() + 1,
                    "a batch holds what was numbered"
                );
                shard.batch = None;
            }
        }
    }

    fn apply(&mut self, draft: &mut Draft<'_>, changes: &[Change]) -> Result<(), ApplyError> {
        self.check(changes)?;
        self.finish_batches(draft);
        for change in changes {
            match change {
                Change::OpenShard(uid) => {
                    self.shards
                        .insert(*uid, Numbering::new(1, Millis(0), false));
                },
                Change::SealShard(uid) => {
                    if let Some(shard) = self.shards.get_mut(uid) {
                        shard.sealed = true;
                    }
                },
                Change::DropShard(uid) => {
                    self.shards.remove(uid);
                },
                _ => {},
            }
            entry::encode_change(&mut draft.buffer.bytes, change);
            draft.parts.push(Part::Change(change.clone()));
        }
        Ok(())
    }

    /// Whether all of `changes` can be applied, one after the other.
    fn check(&self, changes: &[Change]) -> Result<(), ApplyError> {
        let mut made_or_dropped: BTreeMap<ShardUid, bool> = BTreeMap::new();
        for change in changes {
            let exists = |uid: &ShardUid| {
                let made = made_or_dropped.get(uid);
                made.copied()
                    .unwrap_or_else(|| self.shards.contains_key(uid))
            };
            match change {
                Change::OpenShard(uid) => {
                    if exists(uid) {
                        return Err(ApplyError::ShardExists);
                    }
                    made_or_dropped.insert(*uid, true);
                },
                Change::SealShard(uid)
                | Change::TrimShard { shard: uid, .. }
                | Change::KeepShard { shard: uid, .. } => {
                    if !exists(uid) {
                        return Err(ApplyError::NoShard);
                    }
                },
                Change::DropShard(uid) => {
                    made_or_dropped.insert(*uid, false);
                },
                Change::PutRow { key, value } => {
                    if key.len() > ROW_KEY_BYTES_MAX || value.len() > ROW_VALUE_BYTES_MAX {
                        return Err(ApplyError::RowTooLarge);
                    }
                },
                Change::DeleteRow { key } => {
                    if key.len() > ROW_KEY_BYTES_MAX {
                        return Err(ApplyError::RowTooLarge);
                    }
                },
            }
        }
        Ok(())
    }

    fn write(&mut self, draft: Draft<'_>, charge: usize) -> Result<Arc<Window>, Fatal> {
        let Draft {
            mut buffer, parts, ..
        } = draft;
        self.writer.write(FrameKind::Window, &mut buffer.bytes)?;
        let memory = buffer.bytes.capacity();
        let frame: Bytes = buffer.freeze();
        let counters = &self.shared.counters;
        let entries = parts
            .into_iter()
            .map(|part| match part {
                Part::Batch { header, start } => {
                    let overhead = batch::RECORD_HEADER_BYTES as u64 * u64::from(header.count);
                    add(&counters.records, u64::from(header.count));
                    add(
                        &counters.record_bytes,
                        u64::from(header.body_len) - overhead,
                    );
                    let bytes = frame.slice(start..start + header.total_len());
                    Entry::Batch(Batch { header, bytes })
                },
                Part::Change(change) => Entry::Change(change),
            })
            .collect();
        let window = Window {
            end: self.writer.position(),
            entries,
            memory,
            charge,
        };
        add(&counters.windows, 1);
        self.shared.publish(&window);
        Ok(Arc::new(window))
    }
}
