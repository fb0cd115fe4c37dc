//! Reading the log back, and telling a torn tail from damage.
//!
//! A frame counts only with the log, generation, epoch and LSN that its place calls for: a recycled
//! file holds old, valid frames behind every tail. At the first frame that does not count, a later
//! one that says "everything below here was durable when I was written" proves that acknowledged
//! data is gone. Without such a witness the tail was torn by a crash, and nothing of it was
//! acknowledged.

use std::io;

use bytes::Bytes;

use super::super::error::OpenError;
use super::super::format::FormatError;
use super::super::format::checkpoint::LogPosition;
use super::super::format::frame::{
    ALIGNMENT, ALIGNMENT_BYTES, Frame, FrameHeader, FrameKind, HEADER_BYTES, Roll,
};
use super::super::layout;
use super::stock::Linked;
use crate::disk::{Disk, DiskFile};

/// Read at a time while looking for witnesses behind a bad frame.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Read with each frame's header: most frames need no second read.
const FIRST_READ_BYTES: usize = 64 * 1024;

/// One epoch's part of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) log_id: u64,
    pub(crate) from: LogPosition,
    /// The log is known to reach to here; none for the newest epoch.
    pub(crate) end: Option<u64>,
}

/// Where a scan stopped.
#[derive(Clone, Debug)]
pub(crate) struct Scanned {
    pub(crate) end: LogPosition,
    /// The files gone through, in order.
    pub(crate) chain: Vec<Linked>,
    /// `synced_lsn` of the last frame.
    pub(crate) synced_lsn: u64,
    /// Whether the last frame is a clean seal.
    pub(crate) clean: bool,
    /// Bytes that the frame at the torn end would have had; 0 where nothing readable stands there.
    pub(crate) torn_bytes: u64,
}

/// An open WAL file.
struct OpenFile<D: Disk> {
    file: D::File,
    first: u64,
    capacity: u64,
}

/// Visits every frame of `span` with the position behind it.
pub(crate) fn scan<D: Disk>(
    disk: &D,
    span: &Span,
    visit: &mut dyn FnMut(&Frame, LogPosition) -> Result<(), OpenError>,
) -> Result<Scanned, OpenError> {
    let mut at = span.from;
    let mut open = open_file(disk, at)?;
    let mut chain = vec![Linked {
        first: open.first,
        capacity: open.capacity,
    }];
    let mut synced_lsn = at.lsn;
    loop {
        if span.end.is_some_and(|end| at.lsn >= end) {
            return Ok(Scanned {
                end: at,
                chain,
                synced_lsn,
                clean: false,
                torn_bytes: 0,
            });
        }
        let frame = match read_frame(&open, span.log_id, at)? {
            Ok(frame) => frame,
            Err(bad) => {
                let torn_bytes = bad.claimed_bytes;
                judge(disk, span, &open, at, &bad)?;
                return Ok(Scanned {
                    end: at,
                    chain,
                    synced_lsn,
                    clean: false,
                    torn_bytes,
                });
            },
        };
        synced_lsn = frame.header.synced_lsn;
        at.lsn = frame.header.end_lsn();
        match frame.header.kind {
            FrameKind::Window | FrameKind::Copy => visit(&frame, at)?,
            FrameKind::Seal => {},
            FrameKind::CleanSeal => {
                expect_nothing_after(disk, span, &open, at)?;
                return Ok(Scanned {
                    end: at,
                    chain,
                    synced_lsn,
                    clean: true,
                    torn_bytes: 0,
                });
            },
            FrameKind::Roll => {
                let roll = Roll::decode(&frame.body).map_err(|error| {
                    let offset = frame.header.lsn - open.first;
                    let path = layout::wal_file(open.first);
                    OpenError::corrupt(&path, offset, frame.header.lsn, error)
                })?;
                at = LogPosition {
                    epoch: at.epoch,
                    lsn: roll.next_first,
                    file_first: roll.next_first,
                    generation: roll.next_generation,
                };
                open = open_file(disk, at)?;
                chain.push(Linked {
                    first: open.first,
                    capacity: open.capacity,
                });
            },
        }
    }
}

fn open_file<D: Disk>(disk: &D, at: LogPosition) -> Result<OpenFile<D>, OpenError> {
    let path = layout::wal_file(at.file_first);
    let missing = |error: io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            OpenError::corrupt(&path, 0, at.lsn, "the file is missing")
        } else {
            OpenError::io("opening", &path, error)
        }
    };
    let file = disk.open(&path).map_err(missing)?;
    let capacity = file
        .size()
        .map_err(|error| OpenError::io("reading", &path, error))?;
    Ok(OpenFile {
        file,
        first: at.file_first,
        capacity,
    })
}

/// Why a frame does not count.
struct BadFrame {
    reason: &'static str,
    /// The length that its header claims, where there is a header for this place.
    claimed_bytes: u64,
}

fn read_frame<D: Disk>(
    open: &OpenFile<D>,
    log_id: u64,
    at: LogPosition,
) -> Result<Result<Frame, BadFrame>, OpenError> {
    let path = layout::wal_file(open.first);
    let io = |error| OpenError::io("reading", &path, error);
    let bad = |reason, claimed_bytes| {
        Ok(Err(BadFrame {
            reason,
            claimed_bytes,
        }))
    };
    let offset = at.lsn - open.first;
    let mut buffer = vec![0; FIRST_READ_BYTES];
    let got = open.file.read_at(&mut buffer, offset).map_err(io)?;
    buffer.truncate(got);
    let Ok((header, _)) = FrameHeader::decode(&buffer) else {
        return bad("there is no frame here", 0);
    };
    let expected = header.log_id == log_id
        && header.generation == at.generation
        && header.epoch == at.epoch
        && header.lsn == at.lsn;
    if !expected {
        return bad("the frame here is of an earlier use of the file", 0);
    }
    let len = HEADER_BYTES + header.body_len as usize;
    if offset + header.total_len() > open.capacity {
        return bad(
            "the frame here runs over the end of its file",
            header.total_len(),
        );
    }
    if len > buffer.len() {
        let have = buffer.len();
        buffer.resize(len, 0);
        let got = open
            .file
            .read_at(&mut buffer[have..], offset + have as u64)
            .map_err(io)?;
        buffer.truncate(have + got);
    }
    match Frame::decode(&Bytes::from(buffer)) {
        Ok(frame) => Ok(Ok(frame)),
        Err(FormatError::Checksum) => bad("the frame here fails its checksum", header.total_len()),
        Err(_) => bad("the frame here is cut short", header.total_len()),
    }
}

/// Whether the bad frame at `at` is the torn end of the log. Otherwise an error that says why not.
fn judge<D: Disk>(
    disk: &D,
    span: &Span,
    open: &OpenFile<D>,
    at: LogPosition,
    bad: &BadFrame,
) -> Result<(), OpenError> {
    let path = layout::wal_file(open.first);
    let corrupt = |why: &str| {
        let reason = format!("{}, but {why}", bad.reason);
        Err(OpenError::corrupt(
            &path,
            at.lsn - open.first,
            at.lsn,
            reason,
        ))
    };
    if span.end.is_some() {
        return corrupt("a later epoch was begun behind it");
    }
    let later =
        |header: &FrameHeader| header.generation == at.generation && header.synced_lsn > at.lsn;
    if let Some(lsn) = find_frame(open, span.log_id, at.epoch, at.lsn + ALIGNMENT, &later)? {
        return corrupt(&format!("the frame at LSN {lsn} says that it was durable"));
    }
    // Without its roll frame the next file's generation is not known; but a frame of this epoch at
    // its own LSN can only be of the file's present use.
    let next = LogPosition {
        file_first: open.first + open.capacity,
        ..at
    };
    if disk.open(&layout::wal_file(next.file_first)).is_ok() {
        let next_file = open_file(disk, next)?;
        let later = |header: &FrameHeader| header.synced_lsn > at.lsn;
        let first = next_file.first;
        if let Some(lsn) = find_frame(&next_file, span.log_id, at.epoch, first, &later)? {
            return corrupt(&format!("the frame at LSN {lsn} says that it was durable"));
        }
    }
    Ok(())
}

fn expect_nothing_after<D: Disk>(
    disk: &D,
    span: &Span,
    open: &OpenFile<D>,
    at: LogPosition,
) -> Result<(), OpenError> {
    let bad = BadFrame {
        reason: "the log was ended cleanly",
        claimed_bytes: 0,
    };
    judge(disk, &Span { end: None, ..*span }, open, at, &bad)?;
    match read_frame(open, span.log_id, at)? {
        Err(_) => Ok(()),
        Ok(_) => {
            let reason = "a frame follows the clean end of its epoch";
            let path = layout::wal_file(open.first);
            Err(OpenError::corrupt(
                &path,
                at.lsn - open.first,
                at.lsn,
                reason,
            ))
        },
    }
}

/// LSN of the first whole frame from `from` on that stands at its own LSN and fits `accept`.
fn find_frame<D: Disk>(
    open: &OpenFile<D>,
    log_id: u64,
    epoch: u64,
    from: u64,
    accept: &dyn Fn(&FrameHeader) -> bool,
) -> Result<Option<u64>, OpenError> {
    let path = layout::wal_file(open.first);
    let io = |error| OpenError::io("reading", &path, error);
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = from - open.first;
    while offset < open.capacity {
        let got = open.file.read_at(&mut buffer, offset).map_err(io)?;
        for (index, block) in buffer[..got].chunks(ALIGNMENT_BYTES).enumerate() {
            let lsn = open.first + offset + index as u64 * ALIGNMENT;
            let Ok((header, _)) = FrameHeader::decode(block) else {
                continue;
            };
            if header.log_id != log_id || header.epoch != epoch || header.lsn != lsn {
                continue;
            }
            let at = LogPosition {
                epoch,
                lsn,
                file_first: open.first,
                generation: header.generation,
            };
            if accept(&header) && read_frame(open, log_id, at)?.is_ok() {
                return Ok(Some(lsn));
            }
        }
        offset += CHUNK_BYTES as u64;
    }
    Ok(None)
}
