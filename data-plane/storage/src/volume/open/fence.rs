//! Beginning a new epoch: the last window is copied into a fresh file, and `CURRENT` says so. From
//! then on what the old epoch wrote behind its end does not count.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use millstream_clock::Entropy;

use super::super::error::{OpenError, StepError};
use super::super::format::current::{Current, Epoch};
use super::super::format::frame::{self, ALIGNMENT, Frame, FrameHeader, FrameKind};
use super::super::layout;
use super::super::reserve::give_up_reserve;
use super::super::shared::Shared;
use super::super::wal::stock::{Linked, WalFile, create};
use super::find::{Found, list};
use super::segments::remove;
use crate::disk::{Disk, DiskFile, SyncPoint};

/// Most that the first file of an epoch is zeroed for: opening waits for it. The files after it are
/// made ready in the background.
const FRESH_BYTES: u64 = 8 * 1024 * 1024;
/// LSN of the first frame of a new log. Not 0, so that 0 never looks like a place.
const FIRST_LSN: u64 = ALIGNMENT;

pub(super) fn copies_len(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| frame.header.total_len()).sum()
}

/// Copies the last window into a fresh file as a new epoch, and makes `CURRENT` name it.
pub(super) fn fence<D: Disk>(
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
    // A pod's volume can be replaced, and the old one brought back: whoever knows the epoch of one
    // must find that of the other higher, or it would take the newer writer for a zombie.
    let started = shared.clock.now().0 / 1_000;
    let epoch = old
        .map_or(1, |current| current.newest().epoch + 1)
        .max(started);
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
    let wanted = shared.options.wal_file_bytes.min(FRESH_BYTES);
    match create(shared, first, needed.max(wanted)) {
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
pub(super) fn remove_strangers<D: Disk>(
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
