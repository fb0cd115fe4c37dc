//! Opening a data directory: scan, replay, copy, fence, then serve.
//!
//! The order matters. After a kill the page cache still returns frames that were never synced, and
//! after a failed sync a new one succeeds on pages that the kernel marked clean. So nothing of the
//! last window may be served before it was copied into a fresh file and synced; and `CURRENT` may
//! name the new epoch only after that.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::{Clock, Entropy};
use millstream_types::Millis;

use super::error::{OpenError, StepError};
use super::format::checkpoint::{Checkpoint, LogPosition};
use super::format::current::{Current, Epoch};
use super::format::entry::Entry;
use super::format::frame::{self, ALIGNMENT, Frame, FrameHeader, FrameKind};
use super::layout;
use super::options::Options;
use super::shared::Shared;
use super::sink::lane::SinkLane;
use super::wal::lane::{LogLane, Numbering};
use super::wal::scan::{Scanned, Span, scan};
use super::wal::stock::{Linked, WalFile, WalStock, create, create_zeroed};
use super::wal::writer::WalWriter;
use crate::disk::{Disk, DiskFile, SyncPoint};
use crate::store::ShardStatus;

/// Batches are written to segments when this much was replayed.
const REPLAY_BYTES: usize = 8 * 1024 * 1024;
/// LSN of the first frame of a new log. Not 0, so that 0 never looks like a place.
const FIRST_LSN: u64 = ALIGNMENT;

/// An open log group, its lanes ready to be stepped.
pub(crate) struct Opened<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
    pub(crate) stock: Arc<WalStock<D>>,
    pub(crate) log: LogLane<D>,
    pub(crate) sink: SinkLane<D>,
    /// Whether the reserve file is there.
    pub(crate) reserved: bool,
}

/// What a data directory says of itself, read without changing anything.
pub(crate) struct Found {
    pub(crate) current: Option<Current>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) checkpoint_number: u64,
    /// The parts of the log behind the checkpoint, oldest first.
    pub(crate) spans: Vec<Span>,
    pub(crate) scans: Vec<Scanned>,
    /// The last window: what may not be durable yet.
    pub(crate) last_window: Vec<Frame>,
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

/// Reads `CURRENT`, the newest checkpoint and the log, and checks all of it; changes nothing.
pub(crate) fn find<D: Disk>(disk: &D) -> Result<Found, OpenError> {
    let current = read_current(disk)?;
    let (checkpoint_number, checkpoint) = read_checkpoint(disk)?;
    let mut found = Found {
        spans: Vec::new(),
        scans: Vec::new(),
        last_window: Vec::new(),
        current,
        checkpoint,
        checkpoint_number,
    };
    let Some(current) = &found.current else {
        return if checkpoint_number > 0 || any_frame(disk)? {
            let path = Path::new(layout::CURRENT);
            Err(OpenError::corrupt(
                path,
                0,
                0,
                "the file is missing, but there is data",
            ))
        } else {
            Ok(found)
        };
    };
    let covered = found.checkpoint.position;
    for epoch in &current.epochs {
        let from = if epoch.epoch == covered.epoch {
            covered
        } else {
            LogPosition {
                epoch: epoch.epoch,
                lsn: epoch.start,
                file_first: epoch.start,
                generation: epoch.generation,
            }
        };
        let over = epoch.epoch < covered.epoch || epoch.end.is_some_and(|end| end <= from.lsn);
        if !over {
            found.spans.push(Span {
                log_id: current.log_id,
                from,
                end: epoch.end,
            });
        }
    }
    for span in &found.spans {
        let last_window = &mut found.last_window;
        last_window.clear();
        let scanned = scan(disk, span, &mut |frame, _| {
            last_window.retain(|kept| kept.header.lsn >= frame.header.synced_lsn);
            last_window.push(frame.clone());
            Ok(())
        })?;
        last_window.retain(|kept| kept.header.lsn >= scanned.synced_lsn);
        found.scans.push(scanned);
    }
    Ok(found)
}

/// The parts of the log that the checkpoint does not cover, oldest first.
pub(crate) fn spans(current: &Current, checkpoint: &Checkpoint) -> Vec<Span> {
    let covered = checkpoint.position;
    let mut spans = Vec::new();
    for epoch in &current.epochs {
        let from = if epoch.epoch == covered.epoch {
            covered
        } else {
            LogPosition {
                epoch: epoch.epoch,
                lsn: epoch.start,
                file_first: epoch.start,
                generation: epoch.generation,
            }
        };
        let over = epoch.epoch < covered.epoch || epoch.end.is_some_and(|end| end <= from.lsn);
        if !over {
            spans.push(Span {
                log_id: current.log_id,
                from,
                end: epoch.end,
            });
        }
    }
    spans
}

/// Reads a whole file; none where there is none.
pub(crate) fn read_file<D: Disk>(disk: &D, path: &Path) -> Result<Option<Bytes>, OpenError> {
    let failed = |error| OpenError::io("reading", path, error);
    let file = match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    let size = file.size().map_err(failed)?;
    let mut bytes = vec![0; usize::try_from(size).map_err(|e| failed(io::Error::other(e)))?];
    let got = file.read_at(&mut bytes, 0).map_err(failed)?;
    bytes.truncate(got);
    Ok(Some(bytes.into()))
}

pub(crate) fn read_current<D: Disk>(disk: &D) -> Result<Option<Current>, OpenError> {
    let path = Path::new(layout::CURRENT);
    let Some(bytes) = read_file(disk, path)? else {
        return Ok(None);
    };
    Current::decode(&bytes)
        .map(Some)
        .map_err(|error| OpenError::format(path, error))
}

pub(crate) fn read_checkpoint<D: Disk>(disk: &D) -> Result<(u64, Checkpoint), OpenError> {
    let dir = Path::new(layout::CHECKPOINTS);
    let entries = list(disk, dir)?;
    let newest = entries
        .iter()
        .filter_map(|e| layout::checkpoint_number(&e.name))
        .max();
    let Some(number) = newest else {
        let nowhere = LogPosition {
            epoch: 0,
            lsn: 0,
            file_first: 0,
            generation: 0,
        };
        let empty = Checkpoint {
            position: nowhere,
            wall: Millis(0),
            shards: Vec::new(),
            rows: Vec::new(),
        };
        return Ok((0, empty));
    };
    let path = layout::checkpoint_file(number);
    let bytes = read_file(disk, &path)?
        .ok_or_else(|| OpenError::corrupt(&path, 0, 0, "the file is missing"))?;
    let checkpoint = Checkpoint::decode(&bytes).map_err(|error| OpenError::format(&path, error))?;
    Ok((number, checkpoint))
}

fn list<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<crate::disk::Entry>, OpenError> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| OpenError::io("listing", dir, error)),
    }
}

/// Whether any WAL file begins with a frame: something was written here once.
fn any_frame<D: Disk>(disk: &D) -> Result<bool, OpenError> {
    for entry in list(disk, Path::new(layout::WAL))? {
        let Some(first) = layout::wal_first(&entry.name) else {
            continue;
        };
        let path = layout::wal_file(first);
        let failed = |error| OpenError::io("reading", &path, error);
        let file = disk.open(&path).map_err(failed)?;
        let mut header = [0; frame::HEADER_BYTES];
        file.read_at(&mut header, 0).map_err(failed)?;
        if FrameHeader::decode(&header).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Cuts active segments to what the checkpoint vouches for, and removes files that it does not
/// name: the log holds what they held.
fn cut_segments<D: Disk>(disk: &D, checkpoint: &Checkpoint) -> Result<(), OpenError> {
    let root = Path::new(layout::SEGMENTS);
    let mut known = HashMap::new();
    for shard in &checkpoint.shards {
        let dir = layout::shard_dir(shard.uid);
        let sizes: HashMap<u64, u64> = list(disk, &dir)?
            .iter()
            .filter_map(|e| Some((layout::segment_first(&e.name)?, e.len)))
            .collect();
        for segment in &shard.segments {
            let path = layout::segment_file(shard.uid, segment.first);
            let size = sizes.get(&segment.first).copied().ok_or_else(|| {
                OpenError::corrupt(&path, 0, 0, "the checkpoint names it, but it is missing")
            })?;
            if size < segment.len {
                return Err(OpenError::corrupt(
                    &path,
                    size,
                    0,
                    "shorter than its checkpoint says",
                ));
            }
            if size > segment.len && !segment.sealed {
                let failed = |error| OpenError::io("cutting", &path, error);
                disk.open(&path)
                    .and_then(|file| file.set_len(segment.len))
                    .map_err(failed)?;
            }
        }
        let named: BTreeSet<u64> = shard.segments.iter().map(|segment| segment.first).collect();
        known.insert(shard.uid.to_string(), named);
    }
    for entry in list(disk, root)?.iter().filter(|entry| entry.is_dir) {
        let dir = root.join(&entry.name);
        let named = known.get(&entry.name);
        for file in list(disk, &dir)? {
            let first = layout::segment_first(&file.name);
            if !named.is_some_and(|named| first.is_some_and(|first| named.contains(&first))) {
                remove(disk, &dir.join(&file.name))?;
            }
        }
        if named.is_none() {
            disk.remove_dir(&dir)
                .map_err(|error| OpenError::io("removing", &dir, error))?;
        }
    }
    Ok(())
}

fn remove<D: Disk>(disk: &D, path: &Path) -> Result<(), OpenError> {
    disk.remove(path)
        .map_err(|error| OpenError::io("removing", path, error))
}

fn copies_len(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| frame.header.total_len()).sum()
}

/// Copies the last window into a fresh file as a new epoch, and makes `CURRENT` name it.
fn fence<D: Disk>(
    shared: &Shared<D>,
    entropy: &dyn Entropy,
    found: &Found,
) -> Result<(Current, WalFile<D>), OpenError> {
    let mut start = FIRST_LSN;
    for entry in list(shared.disk.as_ref(), Path::new(layout::WAL))? {
        if let Some(first) = layout::wal_first(&entry.name) {
            // an empty one, left by a crash while it was made, has its name all the same
            start = start.max((first + entry.len.max(1)).next_multiple_of(ALIGNMENT));
        }
    }
    if let Some(scanned) = found.scans.last() {
        start = start.max(scanned.end.lsn);
    }
    start = start.max(found.checkpoint.position.lsn.next_multiple_of(ALIGNMENT));
    let old = found.current.as_ref();
    let log_id = old.map_or_else(|| entropy.u64(), |current| current.log_id);
    let epoch = old.map_or(1, |current| current.newest().epoch + 1);
    let newest = Epoch {
        epoch,
        start,
        end: None,
        generation: entropy.u64(),
    };

    let active = fresh_file(
        shared,
        start,
        copies_len(&found.last_window) + 2 * ALIGNMENT,
    )?;
    write_copies(&active, log_id, newest, &found.last_window)?;
    let mut epochs: Vec<Epoch> = old.map_or_else(Vec::new, |current| current.epochs.clone());
    if let (Some(last), Some(scanned)) = (epochs.last_mut(), found.scans.last()) {
        // a seal or roll frame at the end is not copied, and it may not be durable
        let first_copied = found.last_window.first().map(|frame| frame.header.lsn);
        last.end = Some(first_copied.unwrap_or(scanned.synced_lsn));
    }
    let covered = found.checkpoint.position;
    epochs.retain(|e| e.epoch >= covered.epoch && e.end.is_none_or(|end| end > covered.lsn));
    epochs.push(newest);
    let current = Current { log_id, epochs };
    write_current(shared.disk.as_ref(), &current)?;
    Ok((current, active))
}

/// A zeroed WAL file; a small one where the disk has no room for a whole one.
fn fresh_file<D: Disk>(
    shared: &Shared<D>,
    first: u64,
    needed: u64,
) -> Result<WalFile<D>, OpenError> {
    let path = layout::wal_file(first);
    let full = || OpenError::io("creating", &path, io::ErrorKind::StorageFull.into());
    match create(shared, first, needed.max(shared.options.wal_file_bytes)) {
        Ok(file) => return Ok(file),
        Err(StepError::Fatal(fatal)) => return Err(fatal.into()),
        Err(StepError::NoSpace) => {},
    }
    give_up_reserve(shared.disk.as_ref())?;
    match create(
        shared,
        first,
        needed.next_multiple_of(ALIGNMENT) + 16 * ALIGNMENT,
    ) {
        Ok(file) => Ok(file),
        Err(StepError::Fatal(fatal)) => Err(fatal.into()),
        Err(StepError::NoSpace) => Err(full()),
    }
}

fn write_copies<D: Disk>(
    active: &WalFile<D>,
    log_id: u64,
    epoch: Epoch,
    frames: &[Frame],
) -> Result<(), OpenError> {
    let path = layout::wal_file(active.first);
    let mut lsn = epoch.start;
    let mut buffer = Vec::new();
    for copied in frames {
        frame::begin(&mut buffer);
        buffer.extend_from_slice(&copied.body);
        let header = FrameHeader {
            kind: FrameKind::Copy,
            log_id,
            generation: epoch.generation,
            epoch: epoch.epoch,
            lsn,
            synced_lsn: epoch.start,
            body_len: 0,
        };
        let header = frame::finish(&mut buffer, header);
        active
            .file
            .write_at(&[IoSlice::new(&buffer)], lsn - active.first)
            .map_err(|error| OpenError::io("writing", &path, error))?;
        lsn = header.end_lsn();
    }
    if frames.is_empty() {
        return Ok(());
    }
    active
        .file
        .sync_data(SyncPoint::RecoveryCopy)
        .map_err(|error| OpenError::io("syncing", &path, error))
}

pub(crate) fn write_current<D: Disk>(disk: &D, current: &Current) -> Result<(), OpenError> {
    let (new, path) = (Path::new(layout::CURRENT_NEW), Path::new(layout::CURRENT));
    let failed = |error| OpenError::io("writing", path, error);
    match disk.remove(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {},
    }
    let file = disk.create(new).map_err(failed)?;
    file.write_at(&[IoSlice::new(&current.encode())], 0)
        .map_err(failed)?;
    file.sync_all(SyncPoint::CurrentFile).map_err(failed)?;
    disk.rename(new, path).map_err(failed)?;
    disk.sync_dir(Path::new(""), SyncPoint::CurrentDir)
        .map_err(failed)
}

/// Removes WAL files that `CURRENT` does not lead to, and what was left half-made.
fn remove_strangers<D: Disk>(
    disk: &D,
    chain: &VecDeque<Linked>,
    checkpoint_number: u64,
) -> Result<(), OpenError> {
    let mut strangers: Vec<PathBuf> = Vec::new();
    let linked: BTreeSet<u64> = chain.iter().map(|link| link.first).collect();
    for (dir, used) in [(layout::WAL, true), (layout::WAL_FREE, false)] {
        for entry in list(disk, Path::new(dir))?
            .iter()
            .filter(|entry| !entry.is_dir)
        {
            let first = layout::wal_first(&entry.name);
            if !(used && first.is_some_and(|first| linked.contains(&first))) {
                strangers.push(Path::new(dir).join(&entry.name));
            }
        }
    }
    for entry in list(disk, Path::new(layout::CHECKPOINTS))? {
        if layout::checkpoint_number(&entry.name) != Some(checkpoint_number) {
            strangers.push(Path::new(layout::CHECKPOINTS).join(&entry.name));
        }
    }
    strangers.iter().try_for_each(|path| remove(disk, path))
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
fn show<D: Disk>(
    shared: &Shared<D>,
    sink: &SinkLane<D>,
) -> HashMap<millstream_types::ShardUid, Numbering> {
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

/// Sets space aside, if there is any. True if it is there now.
pub(crate) fn make_reserve<D: Disk>(shared: &Shared<D>) -> Result<bool, OpenError> {
    let path = Path::new(layout::RESERVE);
    let disk = shared.disk.as_ref();
    let failed = |error| OpenError::io("creating", path, error);
    let wanted = shared.options.reserve_bytes;
    match disk.open(path).and_then(|file| file.size()) {
        Ok(size) if size == wanted => return Ok(true),
        Ok(_) => give_up_reserve(disk)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {},
        Err(error) => return Err(failed(error)),
    }
    match create_zeroed(disk, path, wanted, None) {
        Ok(_) => Ok(true),
        Err(error) if super::error::is_no_space(&error) => {
            give_up_reserve(disk)?;
            Ok(false)
        },
        Err(error) => Err(failed(error)),
    }
}

/// Frees the space that was set aside.
pub(crate) fn give_up_reserve<D: Disk>(disk: &D) -> Result<(), OpenError> {
    let path = Path::new(layout::RESERVE);
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::io("removing", path, error))
        },
        _ => Ok(()),
    }
}
