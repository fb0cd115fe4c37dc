//! Reading what a data directory says of itself; changes nothing.

use std::io;
use std::path::Path;

use bytes::Bytes;
use millstream_types::Millis;

use super::super::error::OpenError;
use super::super::format::checkpoint::{Checkpoint, LogPosition};
use super::super::format::current::Current;
use super::super::format::frame::{self, Frame, FrameHeader};
use super::super::layout;
use super::super::wal::scan::{Scanned, Span, scan};
use crate::disk::{Disk, DiskFile, Entry};

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
    found.spans = spans(current, &found.checkpoint);
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

/// The entries of a directory; none where it is absent.
pub(crate) fn list<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<Entry>, OpenError> {
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
