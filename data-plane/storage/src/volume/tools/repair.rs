//! `repair`: lets a directory with a damaged log open again, at the price that its owner names.

use std::io;
use std::path::{Path, PathBuf};

use millstream_clock::Entropy;

use super::super::error::OpenError;
use super::super::format::checkpoint::Checkpoint;
use super::super::format::current::{Current, Epoch};
use super::super::format::frame::ALIGNMENT;
use super::super::layout;
use super::super::open::{read_checkpoint, read_current, spans, write_current};
use super::super::options::Options;
use super::super::wal::scan::{Span, scan};
use super::super::wal::stock::create_zeroed;
use crate::disk::{Disk, SyncPoint};

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
/// below. What is given up is moved aside, not deleted.
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
    create_zeroed(
        disk,
        &path,
        Options::new(PathBuf::new()).wal_file_bytes,
        Some(SyncPoint::WalFileCreate),
    )
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
    let wal = Path::new(layout::WAL);
    let entries = disk
        .list(wal)
        .map_err(|error| OpenError::io("listing", wal, error))?;
    let ends = entries
        .iter()
        .filter_map(|entry| Some(layout::wal_first(&entry.name)? + entry.len.max(1)));
    Ok(ends.fold(end_lsn, u64::max).next_multiple_of(ALIGNMENT))
}

/// Copies the WAL files from the one that holds `end_lsn` on into a directory of their own.
fn set_aside<D: Disk>(
    disk: &D,
    linked: &[u64],
    end_lsn: u64,
) -> Result<Option<PathBuf>, OpenError> {
    let wal = Path::new(layout::WAL);
    let dir = PathBuf::from(format!("lost-{end_lsn:020}"));
    let mut made = false;
    let entries = disk
        .list(wal)
        .map_err(|error| OpenError::io("listing", wal, error))?;
    for entry in entries {
        let Some(first) = layout::wal_first(&entry.name) else {
            continue;
        };
        let needed = linked.contains(&first);
        if needed && first + entry.len <= end_lsn {
            continue;
        }
        if !made {
            disk.create_dir(&dir)
                .map_err(|error| OpenError::io("creating", &dir, error))?;
            made = true;
        }
        let (from, to) = (wal.join(&entry.name), dir.join(&entry.name));
        let moved = if needed {
            copy(disk, &from, &to)
        } else {
            disk.rename(&from, &to)
        };
        moved.map_err(|error| OpenError::io("setting aside", &from, error))?;
    }
    Ok(made.then_some(dir))
}

fn copy<D: Disk>(disk: &D, from: &Path, to: &Path) -> io::Result<()> {
    use crate::disk::DiskFile as _;
    let (source, target) = (disk.open(from)?, disk.create(to)?);
    let mut buffer = vec![0; 1024 * 1024];
    let mut offset = 0;
    loop {
        let got = source.read_at(&mut buffer, offset)?;
        if got == 0 {
            return target.sync_all(SyncPoint::WalFileCreate);
        }
        target.write_at(&[io::IoSlice::new(&buffer[..got])], offset)?;
        offset += got as u64;
    }
}
