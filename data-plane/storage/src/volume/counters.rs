//! What the engine has done since it was opened, and what it holds now.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A reading of the engine's counters and gauges.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters while they run.
        #[derive(Debug, Default)]
        pub(crate) struct CountersCell {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl CountersCell {
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Commit windows made durable.
    windows,
    /// Records made durable.
    records,
    /// Bytes of keys and data made durable.
    record_bytes,
    /// Bytes written to the WAL, padding and marks included.
    wal_bytes,
    /// Bytes written to segments.
    segment_bytes,
    /// Bytes written to checkpoints.
    checkpoint_bytes,
    /// `fdatasync` calls on the WAL.
    wal_syncs,
    /// Files of the WAL that were ended.
    wal_rolls,
    /// WAL files made and zeroed.
    wal_files_created,
    /// WAL files used again.
    wal_files_recycled,
    /// Checkpoints finished.
    checkpoints,
    /// Syncs of segments and directories for checkpoints.
    checkpoint_syncs,
    /// Segments begun.
    segments_created,
    /// Segments removed by trim or drop.
    segments_removed,
    /// Requests refused because a memory budget was used up.
    refused_overloaded,
    /// Requests refused because the disk was full.
    refused_no_space,
    /// Reads answered from memory.
    reads_tail,
    /// Reads answered from segments.
    reads_segment,
    /// Gauge: bytes of the WAL that no checkpoint covers.
    wal_uncovered_bytes,
    /// Gauge: bytes of memory that the tail holds.
    tail_bytes,
    /// Gauge: bytes admitted and not yet in a segment.
    unwritten_bytes,
    /// Gauge: bytes of read buffers that are out.
    read_ahead_bytes,
    /// Gauge: shards.
    shards,
    /// Gauge: 1 while a full disk keeps writes away.
    no_space,
    /// Gauge: 1 while a jump of the wall clock keeps retention from deleting.
    retention_paused,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// Sets a gauge.
pub(crate) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Ordering::Relaxed);
}
