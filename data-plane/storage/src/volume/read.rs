//! Reading a shard: from memory at the tip, from segments behind it.

use std::collections::VecDeque;

use bytes::Bytes;
use millstream_types::{Millis, ShardUid};

use super::buffer::PooledBuffer;
use super::counters::add;
use super::format::batch::{self, Batch, BatchHeader};
use super::format::checkpoint::SegmentMeta;
use super::shared::{Shard, ShardView, Shared};
use super::sink::files::io_error;
use crate::disk::{Disk, DiskFile};
use crate::store::{Read, ReadError, ReadLimit, Record, ShardStatus};

/// Most bytes read from a segment at a time.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Fewest bytes read from a segment at a time: one step of the index, and some records.
const READ_BYTES_MIN: usize = 128 * 1024;

/// Where to go on reading.
enum Source {
    /// Nothing durable there yet.
    End,
    /// Batches in memory.
    Tail(Vec<Batch>),
    /// In this segment.
    Segment(SegmentMeta),
}

/// What was gathered so far, and what more is wanted.
struct Gather {
    records: Vec<Record>,
    bytes: usize,
    next: u64,
    limit: ReadLimit,
}

impl Gather {
    /// Takes records of `batch` from `next` on; false once the limit is reached.
    fn take(&mut self, batch: &Batch) -> bool {
        for record in batch.records(self.next) {
            let size = record.key.len() + record.data.len();
            let fits = self.records.len() < self.limit.records
                && self.bytes.saturating_add(size) <= self.limit.bytes;
            let first = self.records.is_empty() && self.limit.records > 0;
            if !(fits || first) {
                return false;
            }
            self.bytes += size;
            self.next = record.number + 1;
            self.records.push(record);
        }
        !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.records.len() >= self.limit.records || self.bytes >= self.limit.bytes
    }
}

/// A read that memory alone can answer; none where segments are needed.
pub(crate) fn read_tail<D: Disk>(
    shared: &Shared<D>,
    uid: ShardUid,
    from: u64,
    limit: ReadLimit,
) -> Result<Option<Read>, ReadError> {
    let shard = shared.shard(uid).ok_or(ReadError::NoShard)?;
    let (status, source, next) = look(&shard.view.lock(), from, limit)?;
    let mut gather = Gather {
        records: Vec::new(),
        bytes: 0,
        next,
        limit,
    };
    match source {
        Source::Segment(_) => return Ok(None),
        Source::End => {},
        Source::Tail(batches) => {
            add(&shared.counters.reads_tail, 1);
            for batch in &batches {
                if !gather.take(batch) {
                    break;
                }
            }
        },
    }
    Ok(Some(Read {
        records: gather.records,
        next: gather.next,
        status,
    }))
}

/// Reads from wherever the records are. Blocks on the disk.
pub(crate) fn read<D: Disk>(
    shared: &Shared<D>,
    uid: ShardUid,
    from: u64,
    limit: ReadLimit,
) -> Result<Read, ReadError> {
    let shard = shared.shard(uid).ok_or(ReadError::NoShard)?;
    let mut gather = Gather {
        records: Vec::new(),
        bytes: 0,
        next: from,
        limit,
    };
    loop {
        let (status, source, next) = look(&shard.view.lock(), gather.next, limit)?;
        gather.next = next;
        let more = match source {
            Source::End => false,
            Source::Tail(batches) => {
                add(&shared.counters.reads_tail, 1);
                batches.iter().all(|batch| gather.take(batch)) && !batches.is_empty()
            },
            Source::Segment(meta) => {
                add(&shared.counters.reads_segment, 1);
                match read_segment(shared, uid, &meta, &mut gather) {
                    // trimmed away between the look and the open: look again
                    Err(_) if shard.view.lock().status.first > gather.next => true,
                    // what was gathered is good; the next read meets the error again
                    Err(_) if !gather.records.is_empty() => false,
                    other => other?,
                }
            },
        };
        if !more || gather.is_full() {
            return Ok(Read {
                records: gather.records,
                next: gather.next,
                status,
            });
        }
    }
}

/// The shard's status, where number `from` is, and `from` moved up to the trim point.
fn look(
    view: &ShardView,
    from: u64,
    limit: ReadLimit,
) -> Result<(ShardStatus, Source, u64), ReadError> {
    if view.dropped {
        return Err(ReadError::NoShard);
    }
    let status = view.status;
    let next = from.max(status.first);
    if next >= status.next {
        return Ok((status, Source::End, next));
    }
    let in_tail = view
        .tail
        .front()
        .is_some_and(|front| front.header.first <= next);
    if in_tail {
        return Ok((
            status,
            Source::Tail(batches_from(&view.tail, next, limit)),
            next,
        ));
    }
    let at = view.segments.partition_point(|segment| segment.last < next);
    match view.segments.get(at) {
        Some(segment) if segment.first <= next => Ok((status, Source::Segment(*segment), next)),
        _ => Err(ReadError::Corrupt {
            file: "the shard's segments".to_owned(),
            offset: next,
        }),
    }
}

/// Batches of the tail from the one that holds `next`, as many as `limit` can want.
fn batches_from(tail: &VecDeque<Batch>, next: u64, limit: ReadLimit) -> Vec<Batch> {
    let start = tail.partition_point(|batch| batch.header.last() < next);
    let (mut records, mut bytes) = (0usize, 0usize);
    let mut batches = Vec::new();
    for batch in tail.range(start..) {
        batches.push(batch.clone());
        // the first batch may give as little as its last record
        if batches.len() > 1 {
            records = records.saturating_add(batch.header.count as usize);
            bytes = bytes.saturating_add(batch.bytes.len());
        }
        if records >= limit.records || bytes >= limit.bytes {
            break;
        }
    }
    batches
}

/// Reads a segment from `gather.next` on; false once the limit is reached.
fn read_segment<D: Disk>(
    shared: &Shared<D>,
    uid: ShardUid,
    meta: &SegmentMeta,
    gather: &mut Gather,
) -> Result<bool, ReadError> {
    let segment = shared
        .files
        .open(uid, meta.first)
        .map_err(|error| io_error(&error))?;
    let mut offset = segment.offset_of(meta, gather.next)?;
    let wanted = gather
        .limit
        .bytes
        .saturating_sub(gather.bytes)
        .saturating_add(READ_BYTES_MIN);
    let mut want = wanted.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
    while offset < meta.len {
        let bytes = read_at(shared, &segment.file, meta, offset, want)?.freeze();
        let (taken, stop) =
            take_batches(&bytes, uid, gather).map_err(|at| segment.corrupt(offset + at as u64))?;
        match stop {
            Stop::Limit => return Ok(false),
            Stop::End => {},
            // the segment ends with a whole batch
            Stop::Cut(_) if offset + bytes.len() as u64 >= meta.len => {
                return Err(segment.corrupt(offset + taken as u64));
            },
            // one batch larger than the read: read all of it
            Stop::Cut(total) if taken == 0 => want = total,
            Stop::Cut(_) => {},
        }
        offset += taken as u64;
    }
    Ok(true)
}

/// Why [`take_batches`] stopped.
enum Stop {
    /// All bytes were taken.
    End,
    /// The limit is reached.
    Limit,
    /// The next batch needs this many bytes, more than there are.
    Cut(usize),
}

/// Takes the records of the batches that `bytes` begins with; says how many bytes were taken. The
/// error is the offset of a bad batch.
fn take_batches(bytes: &Bytes, uid: ShardUid, gather: &mut Gather) -> Result<(usize, Stop), usize> {
    let mut at = 0;
    while at < bytes.len() {
        let rest = bytes.slice(at..);
        if rest.len() < batch::HEADER_BYTES {
            return Ok((at, Stop::Cut(batch::HEADER_BYTES)));
        }
        let header = BatchHeader::decode(&rest).map_err(|_| at)?;
        if header.total_len() > rest.len() {
            return Ok((at, Stop::Cut(header.total_len())));
        }
        if header.last() >= gather.next {
            let batch = Batch::decode(rest).map_err(|_| at)?;
            if header.shard != uid || header.first > gather.next {
                return Err(at);
            }
            if !gather.take(&batch) {
                return Ok((at, Stop::Limit));
            }
        }
        at += header.total_len();
    }
    Ok((at, Stop::End))
}

/// A pooled buffer with up to `want` bytes at `offset`, not past the segment's batches.
fn read_at<D: Disk>(
    shared: &Shared<D>,
    file: &D::File,
    meta: &SegmentMeta,
    offset: u64,
    want: usize,
) -> Result<PooledBuffer, ReadError> {
    let rest = usize::try_from(meta.len - offset).unwrap_or(usize::MAX);
    let len = want.min(rest);
    let held = shared.reads.out() as u64;
    if held > 0 && held + len as u64 > shared.options.read_ahead_bytes {
        return Err(ReadError::Overloaded);
    }
    let mut buffer = shared.reads.take(len);
    buffer.set_len_dirty(len);
    let got = file
        .read_at(&mut buffer.bytes, offset)
        .map_err(|error| io_error(&error))?;
    buffer.bytes.truncate(got);
    if got < len {
        // the writer published this length only after it had written it
        return Err(ReadError::Io(format!(
            "segment ends at {} of {}",
            offset + got as u64,
            meta.len
        )));
    }
    Ok(buffer)
}

/// Number of the oldest readable record that arrived at or after `time`. May block on the disk.
pub(crate) fn number_at<D: Disk>(
    shared: &Shared<D>,
    uid: ShardUid,
    time: Millis,
) -> Result<u64, ReadError> {
    let shard = shared.shard(uid).ok_or(ReadError::NoShard)?;
    number_through(&shard, time, |meta| {
        number_in_segment(shared, uid, meta, time)
    })
}

/// As [`number_at`], with `search` for the number in a segment.
fn number_through(
    shard: &Shard,
    time: Millis,
    mut search: impl FnMut(&SegmentMeta) -> Result<Option<u64>, ReadError>,
) -> Result<u64, ReadError> {
    loop {
        let (status, in_tail, segment) = look_for(&shard.view.lock(), time)?;
        let in_segment = match segment.map(|meta| (meta, search(&meta))) {
            // trimmed away between the look and the open: look again, past it
            Some((meta, Err(_))) if shard.view.lock().status.first > meta.last => continue,
            Some((_, found)) => found?,
            None => None,
        };
        let number = in_segment.or(in_tail).unwrap_or(status.next);
        return Ok(number.max(status.first));
    }
}

/// The shard's status, and where its oldest readable record is that arrived at or after `time`: the
/// number of its batch in memory, and the segment to search first.
fn look_for(
    view: &ShardView,
    time: Millis,
) -> Result<(ShardStatus, Option<u64>, Option<SegmentMeta>), ReadError> {
    if view.dropped {
        return Err(ReadError::NoShard);
    }
    let status = view.status;
    let at = view
        .tail
        .partition_point(|batch| batch.header.arrival < time);
    let in_tail = view.tail.get(at).map(|batch| batch.header.first);
    // what the tail holds need not be looked for in segments, unless it begins the tail
    let tail_first = view
        .tail
        .front()
        .map_or(status.next, |batch| batch.header.first);
    let at = view
        .segments
        .partition_point(|segment| segment.last_arrival < time || segment.last < status.first);
    let segment = view.segments.get(at).copied();
    let segment = segment.filter(|segment| segment.first < tail_first);
    Ok((status, in_tail, segment))
}

fn number_in_segment<D: Disk>(
    shared: &Shared<D>,
    uid: ShardUid,
    meta: &SegmentMeta,
    time: Millis,
) -> Result<Option<u64>, ReadError> {
    let segment = shared
        .files
        .open(uid, meta.first)
        .map_err(|error| io_error(&error))?;
    let mut offset = segment.offset_at(meta, time)?;
    let mut header = [0; batch::HEADER_BYTES];
    while offset < meta.len {
        let got = segment
            .file
            .read_at(&mut header, offset)
            .map_err(|error| io_error(&error))?;
        let decoded = BatchHeader::decode(&header[..got]).map_err(|_| segment.corrupt(offset))?;
        if decoded.arrival >= time {
            return Ok(Some(decoded.first));
        }
        offset += decoded.total_len() as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
