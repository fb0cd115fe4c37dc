//! Opening a data directory: scan, replay, copy, fence, then serve.
//!
//! The order matters. After a kill the page cache still returns frames that were never synced, and
//! after a failed sync a new one succeeds on pages that the kernel marked clean. So nothing of the
//! last window may be served before it was copied into a fresh file and synced; and `CURRENT` may
//! name the new epoch only after that.

mod fence;
mod find;
mod segments;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use millstream_clock::{Clock, Entropy};
use millstream_types::ShardUid;

use self::fence::{copies_len, fence, remove_strangers};
use self::segments::cut_segments;
use super::error::{OpenError, StepError};
use super::format::entry::Entry;
use super::layout;
use super::options::Options;
use super::reserve::{give_up_reserve, make_reserve};
use super::shared::Shared;
use super::sink::lane::SinkLane;
use super::wal::lane::{LogLane, Numbering};
use super::wal::scan::{Span, scan};
use super::wal::stock::{Linked, WalStock};
use super::wal::writer::WalWriter;
use crate::disk::{Disk, SyncPoint};
use crate::store::ShardStatus;

pub(crate) use self::fence::write_current;
pub(crate) use self::find::{Found, find, list, read_checkpoint, read_current, read_file, spans};

/// Batches are written to segments when this much was replayed.
const REPLAY_BYTES: usize = 8 * 1024 * 1024;

/// An open log group, its lanes ready to be stepped.
pub(crate) struct Opened<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
    pub(crate) stock: Arc<WalStock<D>>,
    pub(crate) log: LogLane<D>,
    pub(crate) sink: SinkLane<D>,
    /// Whether the reserve file is there.
    pub(crate) reserved: bool,
}

/// Opens the log group on `disk`, which the caller has locked.
pub(crate) fn open<D: Disk>(
    disk: Arc<D>,
    options: Options,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Opened<D>, OpenError> {
    if let Some(problem) = options.problem() {
        return Err(OpenError::Options(problem));
    }
    make_directories(disk.as_ref())?;
    let found = find(disk.as_ref())?;
    report(&found);
    if found.checkpoint_number > 0 {
        // after a kill its name may stand in the page cache only, and what it no longer needs is
        // removed from here on
        let dir = Path::new(layout::CHECKPOINTS);
        disk.sync_dir(dir, SyncPoint::CheckpointDir)
            .map_err(|error| OpenError::io("syncing", dir, error))?;
    }
    let persisted = (found.checkpoint_number > 0).then_some(found.checkpoint.wall);
    let shared = Arc::new(Shared::new(Arc::clone(&disk), options, clock, persisted));
    cut_segments(disk.as_ref(), &found.checkpoint)?;

    let (current, active) = fence(&shared, entropy.as_ref(), &found)?;
    let newest = current.newest();
    let mut chain: VecDeque<Linked> = VecDeque::new();
    for link in found.scans.iter().flat_map(|scanned| &scanned.chain) {
        if chain.back() != Some(link) {
            chain.push_back(*link);
        }
    }
    chain.push_back(Linked {
        first: active.first,
        capacity: active.capacity,
    });
    remove_strangers(disk.as_ref(), &chain, found.checkpoint_number)?;

    let stock = Arc::new(WalStock::new(Arc::clone(&shared), chain));
    let next_lsn = newest.start + copies_len(&found.last_window);
    let writer = WalWriter {
        shared: Arc::clone(&shared),
        stock: Arc::clone(&stock),
        entropy,
        log_id: current.log_id,
        epoch: newest.epoch,
        generation: newest.generation,
        active,
        next_lsn,
        unsealed: next_lsn > newest.start,
    };
    stock.want_after(writer.active.first + writer.active.capacity);
    let mut sink = SinkLane::new(
        Arc::clone(&shared),
        Arc::clone(&stock),
        found.checkpoint,
        found.checkpoint_number,
    );
    replay(disk.as_ref(), &shared, &mut sink, &found.spans)?;
    sink.folded_to(writer.position());
    write_pending(&shared, &mut sink)?;
    let numbering = show(&shared, &sink);
    let reserved = make_reserve(&shared)?;
    shared.set_full(!reserved);
    Ok(Opened {
        log: LogLane::new(writer, numbering),
        shared,
        stock,
        sink,
        reserved,
    })
}

/// Says how the log was left.
fn report(found: &Found) {
    let Some(scanned) = found.scans.last() else {
        return;
    };
    let file = layout::wal_file(scanned.end.file_first);
    if scanned.clean {
        tracing::info!(lsn = scanned.end.lsn, "the log was ended cleanly");
    } else {
        tracing::warn!(
            file = %file.display(),
            offset = scanned.end.lsn - scanned.end.file_first,
            lsn = scanned.end.lsn,
            torn_bytes = scanned.torn_bytes,
            "the log was not ended cleanly: what was acknowledged is replayed"
        );
    }
}

fn make_directories<D: Disk>(disk: &D) -> Result<(), OpenError> {
    for dir in [
        layout::WAL,
        layout::WAL_FREE,
        layout::SEGMENTS,
        layout::CHECKPOINTS,
    ] {
        let dir = Path::new(dir);
        disk.create_dir(dir)
            .map_err(|error| OpenError::io("creating", dir, error))?;
    }
    // before anything in them counts, the directories themselves are durable
    for dir in [layout::WAL, ""] {
        disk.sync_dir(Path::new(dir), SyncPoint::CurrentDir)
            .map_err(|error| OpenError::io("syncing", Path::new(dir), error))?;
    }
    Ok(())
}

/// Folds the log behind the checkpoint and writes its batches to segments.
fn replay<D: Disk>(
    disk: &D,
    shared: &Shared<D>,
    sink: &mut SinkLane<D>,
    spans: &[Span],
) -> Result<(), OpenError> {
    let mut pending = 0;
    for span in spans {
        scan(disk, span, &mut |frame, after| {
            let path = layout::wal_file(after.file_first);
            let lsn = frame.header.lsn;
            let corrupt = |reason: String| {
                OpenError::corrupt(&path, lsn.saturating_sub(after.file_first), lsn, reason)
            };
            let entries = Entry::decode_all(&frame.body).map_err(|e| corrupt(e.to_string()))?;
            // a copy, and every window before the first copy of the next epoch, may be known
            for entry in entries {
                sink.fold(entry, true)
                    .map_err(|gap| corrupt(gap.to_string()))?;
            }
            sink.folded_to(after);
            pending += frame.body.len();
            if pending >= REPLAY_BYTES {
                pending = 0;
                write_pending(shared, sink)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn write_pending<D: Disk>(shared: &Shared<D>, sink: &mut SinkLane<D>) -> Result<(), OpenError> {
    match sink.write(shared.clock.now()) {
        Ok(()) => return Ok(()),
        Err(StepError::Fatal(fatal)) => return Err(fatal.into()),
        Err(StepError::NoSpace) => {},
    }
    give_up_reserve(shared.disk.as_ref())?;
    sink.write(shared.clock.now()).map_err(|error| match error {
        StepError::Fatal(fatal) => fatal.into(),
        StepError::NoSpace => {
            let path = Path::new(layout::SEGMENTS);
            OpenError::io("writing", path, io::ErrorKind::StorageFull.into())
        },
    })
}

/// Puts the replayed state before readers, and says what the log lane needs of it.
fn show<D: Disk>(shared: &Shared<D>, sink: &SinkLane<D>) -> HashMap<ShardUid, Numbering> {
    let mut numbering = HashMap::new();
    for state in sink.shards() {
        let status = ShardStatus {
            first: state.first,
            next: state.next,
            last_arrival: state.last_arrival,
            sealed: state.sealed,
        };
        shared.insert_shard(state.uid, status, state.segments.clone());
        let known = Numbering::new(state.next, state.last_arrival, state.sealed);
        numbering.insert(state.uid, known);
    }
    shared.replace_rows(sink.rows().clone());
    numbering
}
