//! Settings of the volume engine, as plain data.

use std::path::PathBuf;

const MIB: u64 = 1024 * 1024;

/// How one log group is kept. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; made if absent.
    pub dir: PathBuf,
    /// Size of a WAL file. A frame that does not fit gets a file of its own size.
    pub wal_file_bytes: u64,
    /// A checkpoint is begun when this much of the WAL is not covered by one: the WAL's size, and so
    /// the time that opening takes.
    pub checkpoint_bytes: u64,
    /// A segment is sealed at this size.
    pub segment_bytes: u64,
    /// Durable batches kept in memory for readers at the tip.
    pub tail_bytes: u64,
    /// Requests and batches that are not yet in a segment; above it appends are refused.
    pub unwritten_bytes: u64,
    /// Buffers of reads from segments that are under way or not yet dropped by their readers.
    pub read_ahead_bytes: u64,
    /// Space set aside so that a full disk can still be checkpointed, and so trimmed.
    pub reserve_bytes: u64,
    /// Requests are gathered into one window up to about this size.
    pub window_bytes: u64,
    /// Most segment files held open.
    pub open_segments_max: usize,
    /// For measurements only: the bare log. Durable windows are dropped instead of being moved into
    /// segments, and the log's files are used again as soon as they are full, so nothing can be
    /// read and the directory cannot be opened a second time.
    pub log_only: bool,
}

impl Options {
    /// The defaults, for a data directory.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            wal_file_bytes: 64 * MIB,
            checkpoint_bytes: 256 * MIB,
            segment_bytes: 64 * MIB,
            tail_bytes: 64 * MIB,
            unwritten_bytes: 64 * MIB,
            read_ahead_bytes: 64 * MIB,
            reserve_bytes: 32 * MIB,
            window_bytes: 4 * MIB,
            open_segments_max: 1024,
            log_only: false,
        }
    }

    /// What is wrong with the settings, if anything is.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let aligned = |bytes: u64| bytes.is_multiple_of(4096);
        if self.wal_file_bytes < 64 * 1024 || !aligned(self.wal_file_bytes) {
            Some("wal_file_bytes is at least 64 KiB and a multiple of 4 KiB")
        } else if self.checkpoint_bytes < self.wal_file_bytes {
            Some("checkpoint_bytes is at least wal_file_bytes")
        } else if self.segment_bytes < 4096 {
            Some("segment_bytes is at least 4 KiB")
        } else if self.unwritten_bytes < 64 * 1024 || self.window_bytes < 4096 {
            Some("unwritten_bytes is at least 64 KiB and window_bytes at least 4 KiB")
        } else {
            None
        }
    }
}
