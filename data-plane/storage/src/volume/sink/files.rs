//! Open segment files with their indexes: a bounded cache that writer and readers share.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use millstream_types::{Millis, ShardUid};
use parking_lot::Mutex;

use super::super::format::batch::{self, BatchHeader};
use super::super::format::checkpoint::SegmentMeta;
use super::super::format::segment::{self, FOOTER_BYTES, INDEX_STEP_BYTES, IndexEntry};
use super::super::layout;
use crate::disk::{Disk, DiskFile};
use crate::store::ReadError;

/// How much of a segment without an index is read at a time to make one.
const SCAN_BYTES: usize = 1024 * 1024;

/// An open segment.
pub(crate) struct SegmentFile<D: Disk> {
    pub(crate) file: D::File,
    shard: ShardUid,
    first: u64,
    /// None until it is needed or, in a segment begun by this process, from the start.
    index: Mutex<Option<SparseIndex>>,
}

/// Where some of the batches begin. Sparse, and right wherever it has an entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct SparseIndex {
    entries: Vec<IndexEntry>,
}

impl SparseIndex {
    /// Notes the batch at `offset` unless the last entry is near.
    pub(crate) fn note(&mut self, number: u64, offset: u64, arrival: Millis) {
        let near = |last: &IndexEntry| offset < last.offset + INDEX_STEP_BYTES;
        if !self.entries.last().is_some_and(near) {
            self.entries.push(IndexEntry {
                number,
                offset,
                arrival,
            });
        }
    }

    /// Offset of a batch at or before the one that holds `number`.
    fn offset_of(&self, number: u64) -> u64 {
        let after = self.entries.partition_point(|entry| entry.number <= number);
        after
            .checked_sub(1)
            .map_or(segment::HEADER_BYTES as u64, |i| self.entries[i].offset)
    }

    /// Offset of a batch at or before the first one that arrived at or after `time`.
    fn offset_at(&self, time: Millis) -> u64 {
        let after = self.entries.partition_point(|entry| entry.arrival < time);
        after
            .checked_sub(1)
            .map_or(segment::HEADER_BYTES as u64, |i| self.entries[i].offset)
    }
}

impl<D: Disk> SegmentFile<D> {
    /// Notes a batch that was just written, if there is an index to keep.
    pub(crate) fn note(&self, number: u64, offset: u64, arrival: Millis) {
        if let Some(index) = self.index.lock().as_mut() {
            index.note(number, offset, arrival);
        }
    }

    /// The index entries, made from the file if need be.
    pub(crate) fn entries(&self, meta: &SegmentMeta) -> Result<Vec<IndexEntry>, ReadError> {
        self.with_index(meta, |index| index.entries.clone())
    }

    /// Where to begin reading for `number`.
    pub(crate) fn offset_of(&self, meta: &SegmentMeta, number: u64) -> Result<u64, ReadError> {
        self.with_index(meta, |index| index.offset_of(number))
    }

    /// Where to begin reading for the first batch that arrived at or after `time`.
    pub(crate) fn offset_at(&self, meta: &SegmentMeta, time: Millis) -> Result<u64, ReadError> {
        self.with_index(meta, |index| index.offset_at(time))
    }

    fn with_index<T>(
        &self,
        meta: &SegmentMeta,
        read: impl FnOnce(&SparseIndex) -> T,
    ) -> Result<T, ReadError> {
        if let Some(index) = self.index.lock().as_ref() {
            return Ok(read(index));
        }
        let loaded = if meta.sealed {
            self.load(meta)?
        } else {
            self.scan(meta)?
        };
        Ok(read(self.index.lock().get_or_insert(loaded)))
    }

    fn load(&self, meta: &SegmentMeta) -> Result<SparseIndex, ReadError> {
        let size = self.file.size().map_err(|error| io_error(&error))?;
        let len = size.saturating_sub(meta.len);
        if len < FOOTER_BYTES as u64 || len > meta.len.max(1024 * 1024) {
            return Err(self.corrupt(meta.len));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| self.corrupt(meta.len))?];
        let got = self
            .file
            .read_at(&mut bytes, meta.len)
            .map_err(|error| io_error(&error))?;
        bytes.truncate(got);
        let entries = segment::decode_tail(&bytes, meta.len, meta.last)
            .map_err(|_| self.corrupt(meta.len))?;
        Ok(SparseIndex { entries })
    }

    /// Makes the index of a segment that has none on disk, from its batch headers.
    fn scan(&self, meta: &SegmentMeta) -> Result<SparseIndex, ReadError> {
        let mut index = SparseIndex::default();
        let mut buffer = vec![0; SCAN_BYTES];
        let (mut start, mut got) = (0, 0);
        let mut offset = segment::HEADER_BYTES as u64;
        while offset < meta.len {
            if offset + batch::HEADER_BYTES as u64 > start + got as u64 {
                start = offset;
                got = self
                    .file
                    .read_at(&mut buffer, start)
                    .map_err(|error| io_error(&error))?;
            }
            let at = usize::try_from(offset - start).map_err(|_| self.corrupt(offset))?;
            let header = BatchHeader::decode(buffer.get(at..got).unwrap_or_default())
                .map_err(|_| self.corrupt(offset))?;
            index.note(header.first, offset, header.arrival);
            offset += header.total_len() as u64;
        }
        Ok(index)
    }

    pub(crate) fn corrupt(&self, offset: u64) -> ReadError {
        let file = layout::segment_file(self.shard, self.first)
            .display()
            .to_string();
        ReadError::Corrupt { file, offset }
    }
}

pub(crate) fn io_error(error: &io::Error) -> ReadError {
    ReadError::Io(error.to_string())
}

/// The cache. A file that falls out of it is closed when its last user drops it.
pub(crate) struct SegmentFiles<D: Disk> {
    disk: Arc<D>,
    open: Mutex<OpenSegments<D>>,
}

/// By shard and first number.
type OpenSegments<D> = LruCache<(ShardUid, u64), Arc<SegmentFile<D>>>;

impl<D: Disk> SegmentFiles<D> {
    pub(crate) fn new(disk: Arc<D>, capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self {
            disk,
            open: Mutex::new(LruCache::new(capacity)),
        }
    }

    /// The segment of `shard` that begins with `first`.
    pub(crate) fn open(&self, shard: ShardUid, first: u64) -> io::Result<Arc<SegmentFile<D>>> {
        if let Some(file) = self.open.lock().get(&(shard, first)) {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open(&layout::segment_file(shard, first))?;
        Ok(self.put(shard, first, file, None))
    }

    /// Takes in a segment that was just made, with its empty index.
    pub(crate) fn insert_new(&self, shard: ShardUid, first: u64, file: D::File) {
        self.put(shard, first, file, Some(SparseIndex::default()));
    }

    fn put(
        &self,
        shard: ShardUid,
        first: u64,
        file: D::File,
        index: Option<SparseIndex>,
    ) -> Arc<SegmentFile<D>> {
        let file = Arc::new(SegmentFile {
            file,
            shard,
            first,
            index: Mutex::new(index),
        });
        let mut open = self.open.lock();
        if let Some(other) = open.get(&(shard, first)) {
            return Arc::clone(other);
        }
        open.put((shard, first), Arc::clone(&file));
        file
    }

    /// Forgets a segment that is being removed.
    pub(crate) fn forget(&self, shard: ShardUid, first: u64) {
        self.open.lock().pop(&(shard, first));
    }
}
