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

/// Read at a time.
const CHUNK_BYTES: usize = 1024 * 1024;
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

/// An open WAL file, read in chunks.
struct OpenFile<D: Disk> {
    file: D::File,
    first: u64,
    capacity: u64,
    /// The chunk that was read last, and its offset in the file.
    chunk: Bytes,
    chunk_at: u64,
}

impl<D: Disk> OpenFile<D> {
    /// Bytes at `offset`: `len` of them, fewer at the end of the file.
    fn bytes_at(&mut self, offset: u64, len: usize) -> Result<Bytes, OpenError> {
        let chunk_end = self.chunk_at + self.chunk.len() as u64;
        if offset < self.chunk_at || offset + len as u64 > chunk_end {
            let mut chunk = vec![0; len.max(CHUNK_BYTES)];
            let got = self
                .file
                .read_at(&mut chunk, offset)
                .map_err(|error| OpenError::io("reading", &layout::wal_file(self.first), error))?;
            chunk.truncate(got);
            self.chunk = chunk.into();
            self.chunk_at = offset;
        }
        let at = usize::try_from(offset - self.chunk_at).unwrap_or(usize::MAX);
        let end = at.saturating_add(len).min(self.chunk.len());
        Ok(self.chunk.slice(at.min(end)..end))
    }
}

/// Visits every frame of `span` with the position behind it.
pub(crate) fn scan<D: Disk>(
    disk: &D,
    span: &Span,
    visit: &mut dyn FnMut(&Frame, LogPosition) -> Result<(), OpenError>,
) -> Result<Scanned, OpenError> {
    let mut at = span.from;
    let mut open = open_linked(disk, at)?;
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
        let frame = match read_frame(&mut open, span.log_id, at)? {
            Ok(frame) => frame,
            Err(bad) => {
                let torn_bytes = bad.claimed_bytes;
                judge(disk, span, &mut open, at, &bad)?;
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
                expect_nothing_after(disk, span, &mut open, at)?;
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
                open = open_linked(disk, at)?;
                chain.push(Linked {
                    first: open.first,
                    capacity: open.capacity,
                });
            },
        }
    }
}

fn open_file<D: Disk>(disk: &D, first: u64) -> Result<Option<OpenFile<D>>, OpenError> {
    let path = layout::wal_file(first);
    let file = match disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| OpenError::io("opening", &path, error))?,
    };
    let capacity = file
        .size()
        .map_err(|error| OpenError::io("reading", &path, error))?;
    Ok(Some(OpenFile {
        file,
        first,
        capacity,
        chunk: Bytes::new(),
        chunk_at: 0,
    }))
}

/// The file that `at` is in, which something durable said to be there.
fn open_linked<D: Disk>(disk: &D, at: LogPosition) -> Result<OpenFile<D>, OpenError> {
    open_file(disk, at.file_first)?.ok_or_else(|| {
        let path = layout::wal_file(at.file_first);
        OpenError::corrupt(&path, 0, at.lsn, "the file is missing")
    })
}

/// Why a frame does not count.
struct BadFrame {
    reason: &'static str,
    /// The length that its header claims, where there is a header for this place.
    claimed_bytes: u64,
}

fn read_frame<D: Disk>(
    open: &mut OpenFile<D>,
    log_id: u64,
    at: LogPosition,
) -> Result<Result<Frame, BadFrame>, OpenError> {
    let bad = |reason, claimed_bytes| {
        Ok(Err(BadFrame {
            reason,
            claimed_bytes,
        }))
    };
    let offset = at.lsn - open.first;
    let Ok((header, _)) = FrameHeader::decode(&open.bytes_at(offset, HEADER_BYTES)?) else {
        return bad("there is no frame here", 0);
    };
    let expected = header.log_id == log_id
        && header.generation == at.generation
        && header.epoch == at.epoch
        && header.lsn == at.lsn;
    if !expected {
        return bad("the frame here is of an earlier use of the file", 0);
    }
    if offset + header.total_len() > open.capacity {
        return bad(
            "the frame here runs over the end of its file",
            header.total_len(),
        );
    }
    let len = HEADER_BYTES + header.body_len as usize;
    match Frame::decode(&open.bytes_at(offset, len)?) {
        Ok(frame) => Ok(Ok(frame)),
        Err(FormatError::Checksum) => bad("the frame here fails its checksum", header.total_len()),
        Err(_) => bad("the frame here is cut short", header.total_len()),
    }
}

/// Whether the bad frame at `at` is the torn end of the log. Otherwise an error that says why not.
fn judge<D: Disk>(
    disk: &D,
    span: &Span,
    open: &mut OpenFile<D>,
    at: LogPosition,
    bad: &BadFrame,
) -> Result<(), OpenError> {
    let first = open.first;
    let path = layout::wal_file(first);
    let corrupt = |why: &str| {
        let reason = format!("{}, but {why}", bad.reason);
        Err(OpenError::corrupt(&path, at.lsn - first, at.lsn, reason))
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
    if let Some(mut next_file) = open_file(disk, open.first + open.capacity)? {
        let later = |header: &FrameHeader| header.synced_lsn > at.lsn;
        let first = next_file.first;
        if let Some(lsn) = find_frame(&mut next_file, span.log_id, at.epoch, first, &later)? {
            return corrupt(&format!("the frame at LSN {lsn} says that it was durable"));
        }
    }
    Ok(())
}

fn expect_nothing_after<D: Disk>(
    disk: &D,
    span: &Span,
    open: &mut OpenFile<D>,
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
    open: &mut OpenFile<D>,
    log_id: u64,
    epoch: u64,
    from: u64,
    accept: &dyn Fn(&FrameHeader) -> bool,
) -> Result<Option<u64>, OpenError> {
    let mut offset = from - open.first;
    while offset < open.capacity {
        let chunk = open.bytes_at(offset, CHUNK_BYTES)?;
        for (index, block) in chunk.chunks(ALIGNMENT_BYTES).enumerate() {
            let lsn = open.first + offset + index as u64 * ALIGNMENT;
            let Ok((header, _)) = FrameHeader::decode(block) else {
                continue;
            };
            let of_this_place =
                header.log_id == log_id && header.epoch == epoch && header.lsn == lsn;
            if !of_this_place || !accept(&header) {
                continue;
            }
            let (file_first, generation) = (open.first, header.generation);
            let at = LogPosition {
                epoch,
                lsn,
                file_first,
                generation,
            };
            if read_frame(open, log_id, at)?.is_ok() {
                return Ok(Some(lsn));
            }
        }
        offset += CHUNK_BYTES as u64;
    }
    Ok(None)
}
