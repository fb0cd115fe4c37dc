//! The engine's counters under their names.

use millstream_chassis::metrics::names::{self, Name};
use millstream_storage::volume::Counters;

/// One reading of the counters, by name.
#[must_use]
pub fn named(counters: &Counters) -> Vec<(&'static Name, u64)> {
    let c = counters;
    vec![
        (&names::WAL_WINDOWS, c.windows),
        (&names::WAL_SYNCS, c.wal_syncs),
        (&names::WAL_ROLLS, c.wal_rolls),
        (&names::WAL_WRITTEN, c.wal_bytes),
        (&names::WAL_FILES_CREATED, c.wal_files_created),
        (&names::WAL_FILES_RECYCLED, c.wal_files_recycled),
        (&names::WAL_UNCOVERED, c.wal_uncovered_bytes),
        (&names::RECORDS, c.records),
        (&names::RECORD_BYTES, c.record_bytes),
        (&names::CHECKPOINTS, c.checkpoints),
        (&names::CHECKPOINT_SYNCS, c.checkpoint_syncs),
        (&names::CHECKPOINT_WRITTEN, c.checkpoint_bytes),
        (&names::SEGMENT_WRITTEN, c.segment_bytes),
        (&names::SEGMENTS_CREATED, c.segments_created),
        (&names::SEGMENTS_REMOVED, c.segments_removed),
        (&names::READS_TAIL, c.reads_tail),
        (&names::READS_SEGMENT, c.reads_segment),
        (&names::STORE_REFUSED_OVERLOADED, c.refused_overloaded),
        (&names::STORE_REFUSED_NO_SPACE, c.refused_no_space),
        (&names::STORE_TAIL, c.tail_bytes),
        (&names::STORE_UNWRITTEN, c.unwritten_bytes),
        (&names::STORE_READ_AHEAD, c.read_ahead_bytes),
        (&names::STORE_NO_SPACE, c.no_space),
        (&names::RETENTION_PAUSED, c.retention_paused),
        (&names::SHARDS, c.shards),
    ]
}
