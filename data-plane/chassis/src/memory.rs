//! The one table that splits `--memory-bytes`.
//!
//! Each row is a cap on bytes; what a cap has no room for is refused with the throttling error.
//! The process may use some memory beside the caps (code, stacks, allocator slack): less than
//! 128 MiB, which the overload test checks.

use crate::budget::Budget;

/// Least memory that holds one request of every size: a 16 MiB body and its records, a 10 MiB
/// page of records and its JSON, one 10 MiB record on its way to the disk.
pub const MEMORY_BYTES_MIN: u64 = 128 * 1024 * 1024;
/// The parts that [`TABLE`] deals out.
const PARTS: u64 = 32;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The name in metrics and in the documentation.
    pub name: &'static str,
    /// How many of the 32 parts.
    pub parts: u64,
    /// What the bytes hold.
    pub holds: &'static str,
}

/// The split. The parts add up to 32.
pub const TABLE: [Share; 9] = [
    share(
        "bodies_small",
        2,
        "request bodies up to 64 KiB and their records",
    ),
    share(
        "bodies_medium",
        3,
        "request bodies up to 1 MiB and their records",
    ),
    share(
        "bodies_large",
        7,
        "request bodies up to 16 MiB and their records",
    ),
    share(
        "responses_small",
        1,
        "answers up to 64 KiB until they are sent: pages of records, and others over 4 KiB",
    ),
    share("responses_large", 6, "larger answers until they are sent"),
    share("read_ahead", 2, "segments being read"),
    share(
        "tail",
        4,
        "the newest durable batches, for readers at the tip",
    ),
    share("unwritten", 4, "durable batches that are in no segment yet"),
    share(
        "fixed",
        3,
        "connections, indexes, metadata (no cap, an allowance); 1 MiB for requests that \
         name no known key",
    ),
];

const fn share(name: &'static str, parts: u64, holds: &'static str) -> Share {
    Share { name, parts, holds }
}

/// `--memory-bytes`, split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    total_bytes: u64,
}

/// Too little memory for one request of each size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be at least 128MiB, so that one request of every size fits")]
pub struct TooSmall;

impl MemoryPlan {
    /// Splits `total_bytes`.
    ///
    /// # Errors
    /// [`TooSmall`] below [`MEMORY_BYTES_MIN`].
    pub const fn new(total_bytes: u64) -> Result<Self, TooSmall> {
        if total_bytes < MEMORY_BYTES_MIN {
            return Err(TooSmall);
        }
        Ok(Self { total_bytes })
    }

    /// The whole.
    #[must_use]
    pub const fn total_bytes(self) -> u64 {
        self.total_bytes
    }

    /// Cap on the tail of durable batches.
    #[must_use]
    pub fn tail_bytes(self) -> u64 {
        self.part("tail")
    }

    /// Cap on durable bytes that are in no segment yet.
    #[must_use]
    pub fn unwritten_bytes(self) -> u64 {
        self.part("unwritten")
    }

    /// Cap on segment reads under way.
    #[must_use]
    pub fn read_ahead_bytes(self) -> u64 {
        self.part("read_ahead")
    }

    /// The budget of the row `name`; a new one with each call.
    #[must_use]
    pub fn budget(self, name: &'static str) -> Budget {
        Budget::new(name, self.part(name))
    }

    fn part(self, name: &str) -> u64 {
        let row = TABLE.iter().find(|share| share.name == name);
        let parts = row.map_or(0, |share| share.parts);
        assert!(parts > 0, "the memory table has no row {name}");
        self.total_bytes / PARTS * parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_deals_out_everything_once() {
        assert_eq!(TABLE.iter().map(|share| share.parts).sum::<u64>(), PARTS);
    }

    #[test]
    fn the_default_gives_tail_and_unwritten_64_mib_each() {
        let plan = MemoryPlan::new(512 << 20).expect("above the floor");
        assert_eq!(plan.tail_bytes(), 64 << 20);
        assert_eq!(plan.unwritten_bytes(), 64 << 20);
    }

    #[test]
    fn the_floor_holds_one_request_of_every_size() {
        assert_eq!(MemoryPlan::new(MEMORY_BYTES_MIN - 1), Err(TooSmall));
        let plan = MemoryPlan::new(MEMORY_BYTES_MIN).expect("the floor itself");
        let body_and_records = (16 << 20) + (16 << 20) / 4 * 3;
        assert!(plan.budget("bodies_large").cap_bytes() >= body_and_records);
        let page_and_json = (10 << 20) + (10 << 20) / 3 * 4;
        assert!(plan.budget("responses_large").cap_bytes() >= page_and_json);
        assert!(plan.unwritten_bytes() > 10 << 20);
    }
}
