//! `verify`: reads every byte that counts and checks it.

use std::path::Path;

use bytes::Bytes;

use super::super::error::OpenError;
use super::super::format::batch::Batch;
use super::super::format::checkpoint::{SegmentMeta, ShardState};
use super::super::format::entry::Entry;
use super::super::format::segment;
use super::super::layout;
use super::super::open::{Found, find, read_file};
use super::super::wal::scan::scan;
use crate::disk::Disk;

/// What a healthy data directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Newest epoch.
    pub epoch: u64,
    /// Whether the log was ended by a clean shutdown.
    pub clean: bool,
    /// LSN behind the last frame.
    pub end_lsn: u64,
    /// Frames behind the newest checkpoint.
    pub wal_frames: u64,
    /// Records in those frames.
    pub wal_records: u64,
    /// Shards in the checkpoint.
    pub shards: u64,
    /// Rows in the checkpoint.
    pub rows: u64,
    /// Segment files that the checkpoint names.
    pub segments: u64,
    /// Records in those segments, up to what the checkpoint vouches for.
    pub segment_records: u64,
    /// Bytes of those segments.
    pub segment_bytes: u64,
}

/// Checks `CURRENT`, the checkpoint, every frame behind it and every batch of every segment.
/// Changes nothing.
///
/// # Errors
/// [`OpenError::Corrupt`] for the first damage found; otherwise as opening.
pub fn verify(dir: &Path) -> Result<Verified, OpenError> {
    let disk = super::lock(dir)?;
    verify_disk(disk.as_ref())
}

pub(super) fn verify_disk<D: Disk>(disk: &D) -> Result<Verified, OpenError> {
    let found = find(disk)?;
    let mut verified = Verified {
        epoch: found
            .current
            .as_ref()
            .map_or(0, |current| current.newest().epoch),
        shards: found.checkpoint.shards.len() as u64,
        rows: found.checkpoint.rows.len() as u64,
        ..Verified::default()
    };
    verify_log(disk, &found, &mut verified)?;
    for shard in &found.checkpoint.shards {
        verify_shard(disk, shard, &mut verified)?;
    }
    Ok(verified)
}

fn verify_log<D: Disk>(disk: &D, found: &Found, verified: &mut Verified) -> Result<(), OpenError> {
    for span in &found.spans {
        let scanned = scan(disk, span, &mut |frame, after| {
            let entries = Entry::decode_all(&frame.body).map_err(|error| {
                let offset = frame.header.lsn.saturating_sub(after.file_first);
                let path = layout::wal_file(after.file_first);
                OpenError::corrupt(&path, offset, frame.header.lsn, error)
            })?;
            verified.wal_frames += 1;
            for entry in entries {
                if let Entry::Batch(batch) = entry {
                    verified.wal_records += u64::from(batch.header.count);
                }
            }
            Ok(())
        })?;
        verified.clean = scanned.clean;
        verified.end_lsn = scanned.end.lsn;
    }
    Ok(())
}

fn verify_shard<D: Disk>(
    disk: &D,
    shard: &ShardState,
    verified: &mut Verified,
) -> Result<(), OpenError> {
    let mut due = None;
    for meta in &shard.segments {
        let path = layout::segment_file(shard.uid, meta.first);
        if due.is_some_and(|due| due != meta.first) {
            let reason = "its first record does not follow the segment before it";
            return Err(OpenError::corrupt(&path, 0, 0, reason));
        }
        verified.segment_records += verify_segment(disk, shard, meta, &path)?;
        verified.segment_bytes += meta.len;
        verified.segments += 1;
        due = Some(meta.last + 1);
    }
    if due.is_some_and(|due| due != shard.next) {
        let reason = format!("shard {} ends before its checkpoint says", shard.uid);
        return Err(OpenError::corrupt(
            &layout::shard_dir(shard.uid),
            0,
            0,
            reason,
        ));
    }
    Ok(())
}

/// Records of one segment.
fn verify_segment<D: Disk>(
    disk: &D,
    shard: &ShardState,
    meta: &SegmentMeta,
    path: &Path,
) -> Result<u64, OpenError> {
    let missing = || OpenError::corrupt(path, 0, 0, "the checkpoint names it, but it is missing");
    let bytes: Bytes = read_file(disk, path)?.ok_or_else(missing)?;
    let len = usize::try_from(meta.len).unwrap_or(usize::MAX);
    if bytes.len() < len {
        let reason = "shorter than its checkpoint says";
        return Err(OpenError::corrupt(path, bytes.len() as u64, 0, reason));
    }
    segment::check_header(&bytes, shard.uid, meta.first)
        .map_err(|error| OpenError::corrupt(path, 0, 0, error))?;
    let batches = bytes.slice(..len);
    let (mut at, mut due) = (segment::HEADER_BYTES, meta.first);
    while at < len {
        let corrupt =
            |reason: &dyn ToString| OpenError::corrupt(path, at as u64, 0, reason.to_string());
        let batch = Batch::decode(batches.slice(at..)).map_err(|error| corrupt(&error))?;
        if batch.header.shard != shard.uid || batch.header.first != due {
            return Err(corrupt(&"a batch does not follow the one before it"));
        }
        let count = u64::from(batch.header.count);
        if batch.records(0).count() as u64 != count {
            return Err(corrupt(&"a batch holds fewer records than it says"));
        }
        due += count;
        at += batch.header.total_len();
    }
    if due != meta.last + 1 {
        let reason = "it holds other records than its checkpoint says";
        return Err(OpenError::corrupt(path, at as u64, 0, reason));
    }
    if meta.sealed {
        segment::decode_tail(&bytes[len..], meta.len, meta.last)
            .map_err(|error| OpenError::corrupt(path, meta.len, 0, error))?;
    }
    Ok(due - meta.first)
}
