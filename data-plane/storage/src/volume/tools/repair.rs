//! `repair`: lets a directory with a damaged log open again, at the price that its owner names. One
//! that was cut short is run again: until `CURRENT` is replaced the log reads as it did.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use millstream_clock::Entropy;

use super::super::error::OpenError;
use super::super::format::checkpoint::Checkpoint;
use super::super::format::current::{Current, Epoch};
use super::super::format::frame::ALIGNMENT;
use super::super::layout;
use super::super::open::{list, read_checkpoint, read_current, spans, write_current};
use super::super::wal::scan::{Span, scan};
use super::super::wal::stock::create_zeroed;
use crate::disk::{Disk, DiskFile, SyncPoint};

/// Size of the file that the new epoch begins with. Nobody writes to it: the next open begins an
/// epoch and a file of its own.
const FRESH_BYTES: u64 = ALIGNMENT;
/// Bytes read at a time.
const COPY_BYTES: usize = 1024 * 1024;

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The log now ends here; everything at or above this LSN is given up.
    pub end_lsn: u64,
    /// The epoch that the next server begins after.
    pub epoch: u64,
    /// Where the files that are given up were put, if there are any.
    pub kept_in: Option<PathBuf>,
}

/// Ends the log of a directory at `accept_loss_after`, which must be where its first damage is, or
/// below. What is given up is copied aside first.
///
/// # Errors
/// [`OpenError::Corrupt`] where there is damage below `accept_loss_after`, or in a file that is not
/// part of the log; otherwise as opening.
pub fn repair(
    dir: &Path,
    accept_loss_after: u64,
    entropy: &dyn Entropy,
) -> Result<Repaired, OpenError> {
    let disk = super::lock(dir)?;
    repair_disk(disk.as_ref(), accept_loss_after, entropy)
}

fn repair_disk<D: Disk>(
    disk: &D,
    accept_loss_after: u64,
    entropy: &dyn Entropy,
) -> Result<Repaired, OpenError> {
    let missing = || {
        let path = Path::new(layout::CURRENT);
        OpenError::corrupt(path, 0, 0, "the file is missing: restore a snapshot")
    };
    let current = read_current(disk)?.ok_or_else(missing)?;
    let (_, checkpoint) = read_checkpoint(disk)?;
    if accept_loss_after < checkpoint.position.lsn {
        return Err(OpenError::Options(
            "--accept-loss-after lies below the newest checkpoint, which is whole: nothing needs to be given up there",
        ));
    }
    let (end_lsn, linked) = whole_part(disk, &current, &checkpoint, accept_loss_after)?;
    let kept_in = set_aside(disk, &linked, end_lsn)?;
    let mut epochs = current.epochs.clone();
    epochs.retain(|epoch| epoch.start < end_lsn);
    if let Some(last) = epochs.last_mut() {
        last.end = Some(last.end.map_or(end_lsn, |end| end.min(end_lsn)));
    }
    let epoch = current.newest().epoch + 1;
    let start = next_free_lsn(disk, end_lsn)?;
    let path = layout::wal_file(start);
    create_zeroed(disk, &path, FRESH_BYTES, Some(SyncPoint::WalFileCreate))
        .map_err(|error| OpenError::io("creating", &path, error))?;
    let wal = Path::new(layout::WAL);
    disk.sync_dir(wal, SyncPoint::WalDir)
        .map_err(|e| OpenError::io("syncing", wal, e))?;
    epochs.push(Epoch {
        epoch,
        start,
        end: None,
        generation: entropy.u64(),
    });
    write_current(
        disk,
        &Current {
            log_id: current.log_id,
            epochs,
        },
    )?;
    Ok(Repaired {
        end_lsn,
        epoch,
        kept_in,
    })
}

/// Where the log ends when it is read no further than `limit`, and the files that it is then in.
fn whole_part<D: Disk>(
    disk: &D,
    current: &Current,
    checkpoint: &Checkpoint,
    limit: u64,
) -> Result<(u64, Vec<u64>), OpenError> {
    let mut end_lsn = checkpoint.position.lsn;
    let mut linked = Vec::new();
    for span in spans(current, checkpoint) {
        if span.from.lsn >= limit {
            break;
        }
        let end = span.end.map_or(limit, |end| end.min(limit));
        let scanned = match scan(
            disk,
            &Span {
                end: Some(end),
                ..span
            },
            &mut |_, _| Ok(()),
        ) {
            // the log's own torn end lies below the point that was named
            Err(OpenError::Corrupt { .. }) if span.end.is_none() => {
                scan(disk, &span, &mut |_, _| Ok(()))?
            },
            other => other?,
        };
        end_lsn = scanned.end.lsn;
        linked.extend(scanned.chain.iter().map(|link| link.first));
    }
    Ok((end_lsn, linked))
}

/// First LSN above every WAL file.
fn next_free_lsn<D: Disk>(disk: &D, end_lsn: u64) -> Result<u64, OpenError> {
    let entries = list(disk, Path::new(layout::WAL))?;
    let ends = entries
        .iter()
        .filter_map(|entry| Some(layout::wal_first(&entry.name)? + entry.len.max(1)));
    Ok(ends.fold(end_lsn, u64::max).next_multiple_of(ALIGNMENT))
}

/// Copies the WAL files from the one that holds `end_lsn` on into a directory of their own. What a
/// repair that was cut short put there stays as it is. The files themselves go at the next open,
/// which finds that `CURRENT` does not lead to them.
fn set_aside<D: Disk>(
    disk: &D,
    linked: &[u64],
    end_lsn: u64,
) -> Result<Option<PathBuf>, OpenError> {
    let wal = Path::new(layout::WAL);
    let dir = PathBuf::from(format!("lost-{end_lsn:020}"));
    let mut kept: BTreeSet<String> = list(disk, &dir)?.into_iter().map(|e| e.name).collect();
    for entry in list(disk, wal)? {
        let Some(first) = layout::wal_first(&entry.name) else {
            continue;
        };
        let needed = linked.contains(&first);
        let whole = needed && first + entry.len <= end_lsn;
        if whole || kept.contains(&entry.name) {
            continue;
        }
        let from = wal.join(&entry.name);
        let failed = |error| OpenError::io("setting aside", &from, error);
        // made ready by a server, or by a repair that was cut short
        if is_blank(disk, &from).map_err(failed)? {
            continue;
        }
        disk.create_dir(&dir)
            .map_err(|error| OpenError::io("creating", &dir, error))?;
        copy(disk, &from, &dir.join(&entry.name)).map_err(failed)?;
        kept.insert(entry.name);
    }
    if kept.is_empty() {
        return Ok(None);
    }
    for synced in [&dir, Path::new("")] {
        disk.sync_dir(synced, SyncPoint::WalDir)
            .map_err(|error| OpenError::io("syncing", synced, error))?;
    }
    Ok(Some(dir))
}

/// Whether a file holds nothing but zeros.
fn is_blank<D: Disk>(disk: &D, path: &Path) -> io::Result<bool> {
    let file = disk.open(path)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0;
    loop {
        let got = file.read_at(&mut buffer, offset)?;
        if got == 0 {
            return Ok(true);
        }
        if buffer[..got].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += got as u64;
    }
}

/// Makes a copy that has its name only once it is whole.
fn copy<D: Disk>(disk: &D, from: &Path, to: &Path) -> io::Result<()> {
    let new = to.with_extension("wal.new");
    match disk.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {},
    }
    let (source, target) = (disk.open(from)?, disk.create(&new)?);
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0;
    loop {
        let got = source.read_at(&mut buffer, offset)?;
        if got == 0 {
            break;
        }
        target.write_at(&[io::IoSlice::new(&buffer[..got])], offset)?;
        offset += got as u64;
    }
    target.sync_all(SyncPoint::WalFileCreate)?;
    disk.rename(&new, to)
}

#[cfg(test)]
mod tests;
