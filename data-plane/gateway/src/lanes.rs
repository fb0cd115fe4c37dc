//! Memory for request bodies and answers, by lanes.
//!
//! A body draws on the lane of its size, so a hundred slow 14 MiB bodies can fill the large lane
//! and a PutRecord of 1 KiB still finds room in the small one. Bytes are taken as they arrive, not
//! as they are announced.

use millstream_chassis::{Budget, Permit};
use millstream_protocol::Codec;
use millstream_types::caps;
use tokio::sync::OwnedSemaphorePermit;

use crate::options::Budgets;

/// Largest body of each lane, in bytes.
const LANE_BYTES: [u64; 3] = [64 << 10, 1 << 20, caps::BODY_BYTES_MAX as u64];
/// Bodies take memory in steps of at least this.
const STEP_BYTES: u64 = 4096;
/// Most bytes and records of a page, from the best to the least.
const PAGES: [PageSize; 4] = [
    page(caps::GET_RECORDS_BYTES_MAX, caps::GET_RECORDS_RECORDS_MAX),
    page(caps::GET_RECORDS_BYTES_MAX / 4, 5000),
    page(caps::GET_RECORDS_BYTES_MAX / 16, 2000),
    page(128 << 10, 500),
];
/// A page in the small lane.
const SMALL_PAGE: PageSize = page(24 << 10, 100);
/// Memory for a page without records.
const PAGE_BASE_BYTES: u64 = 2048;
/// Memory for a record beside its key and data: the record as a value, and its numbers and member
/// names in JSON.
const RECORD_BASE_BYTES: u64 = 512;

/// How much a page of records may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageSize {
    /// Bytes of keys and data.
    pub(crate) bytes: usize,
    /// Records.
    pub(crate) records: usize,
}

const fn page(bytes: usize, records: usize) -> PageSize {
    PageSize { bytes, records }
}

impl PageSize {
    /// Memory for the records and their JSON, data in base64.
    const fn cost_bytes(self) -> u64 {
        let bytes = self.bytes as u64;
        bytes + bytes / 3 * 4 + self.records as u64 * RECORD_BASE_BYTES + PAGE_BASE_BYTES
    }
}

/// The memory of one body: grows as the body arrives, changes lane when it outgrows one.
#[derive(Debug)]
pub(crate) struct BodyMemory<'a> {
    /// From small to large.
    lanes: &'a [Budget],
    /// Lane of the announced size: no small lane for what says that it will be large.
    lane_min: usize,
    announced_bytes: Option<u64>,
    permit: Option<Permit>,
}

impl<'a> BodyMemory<'a> {
    pub(crate) fn new(lanes: &'a [Budget], announced_bytes: Option<u64>) -> Self {
        Self {
            lanes,
            lane_min: lane_of(announced_bytes.unwrap_or(0)),
            announced_bytes,
            permit: None,
        }
    }

    /// Makes room for `bytes` in all; gives the capacity to allocate, or none when memory is out.
    pub(crate) fn hold(&mut self, bytes: u64) -> Option<u64> {
        let held = self.permit.as_ref().map_or(0, Permit::bytes);
        if bytes <= held {
            return Some(held);
        }
        let double = (held * 2).min(self.announced_bytes.unwrap_or(u64::MAX));
        let wanted = bytes.max(double).next_multiple_of(STEP_BYTES);
        self.take(wanted)
    }

    /// Adds room for the records that are decoded from `body_bytes`, and gives the whole up.
    pub(crate) fn with_records(mut self, codec: Codec, body_bytes: u64) -> Option<Permit> {
        let held = self.permit.as_ref().map_or(0, Permit::bytes);
        let records = match codec {
            Codec::Json => body_bytes / 4 * 3, // base64
            Codec::Cbor => body_bytes,
        };
        self.take(held + records)?;
        self.permit
    }

    /// Changes what is held to `wanted`, in the lane of its size or a larger one.
    fn take(&mut self, wanted: u64) -> Option<u64> {
        let lane = lane_of(wanted).max(self.lane_min);
        if lane == self.lane_min
            && let Some(permit) = &mut self.permit
            && permit.grow(wanted - permit.bytes())
        {
            return Some(wanted);
        }
        let lanes = self.lanes.iter().enumerate().skip(lane);
        for (lane, budget) in lanes {
            if let Some(permit) = budget.take(wanted) {
                self.permit = Some(permit);
                self.lane_min = lane;
                return Some(wanted);
            }
        }
        None
    }
}

fn lane_of(bytes: u64) -> usize {
    let fits = LANE_BYTES.iter().position(|largest| bytes <= *largest);
    fits.unwrap_or(LANE_BYTES.len() - 1)
}

/// The memory of one page of records, taken before it is read.
#[derive(Debug)]
pub(crate) struct PageMemory {
    /// What to ask the store for.
    pub(crate) size: PageSize,
    permit: Permit,
    /// The large lane, for who is in the small one.
    large: Option<Budget>,
    /// The reader's place, for as long as it holds on to what the engine read.
    _place: OwnedSemaphorePermit,
}

impl PageMemory {
    /// Room for the largest page that there is room for, of at most `records_max` records; or none.
    pub(crate) fn reserve(
        budgets: &Budgets,
        records_max: usize,
        place: OwnedSemaphorePermit,
    ) -> Option<Self> {
        let [small, large] = &budgets.responses;
        let of = |budget: &Budget, size: PageSize| {
            let size = page(size.bytes, size.records.min(records_max));
            // No try that is known to fail: it would count as a refusal.
            if size.cost_bytes() > budget.free_bytes() {
                return None;
            }
            Some((size, budget.take(size.cost_bytes())?))
        };
        let found = PAGES.iter().find_map(|size| of(large, *size));
        let is_large = found.is_some();
        let (size, permit) = found.or_else(|| of(small, SMALL_PAGE))?;
        Some(Self {
            size,
            permit,
            large: (!is_large).then(|| large.clone()),
            _place: place,
        })
    }

    /// Fits what is held to the page that was read. A single record can be larger than asked for:
    /// it never fills the small lane, and this is false when the large one has no room for it.
    pub(crate) fn fit(&mut self, bytes: usize, records: usize) -> bool {
        let cost = page(bytes, records).cost_bytes();
        if cost <= self.permit.bytes() {
            self.permit.shrink_to(cost);
            return true;
        }
        let Some(large) = &self.large else {
            // by the difference: the lane may have no room for old and new at once
            return self.permit.grow(cost - self.permit.bytes());
        };
        let Some(permit) = large.take(cost) else {
            return false;
        };
        (self.permit, self.large) = (permit, None);
        true
    }

    /// Keeps what the encoded page needs; the records themselves are dropped.
    pub(crate) fn encoded(mut self, body_bytes: u64) -> Permit {
        self.permit.shrink_to(body_bytes);
        self.permit
    }
}

#[cfg(test)]
mod tests {
    use millstream_chassis::MemoryPlan;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn budgets() -> Budgets {
        Budgets::new(MemoryPlan::new(128 * MIB).expect("the floor"))
    }

    fn reserve(budgets: &Budgets, records_max: usize) -> Option<PageMemory> {
        let places = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
        let place = places.try_acquire_owned().expect("a place");
        PageMemory::reserve(budgets, records_max, place)
    }

    fn used(budgets: &Budgets) -> [u64; 3] {
        [0, 1, 2].map(|lane| budgets.bodies[lane].used_bytes())
    }

    #[test]
    fn a_small_body_takes_a_step_and_gives_it_back() {
        let budgets = budgets();
        let mut memory = BodyMemory::new(&budgets.bodies, Some(1400));
        assert_eq!(memory.hold(1400), Some(4096));
        let permit = memory.with_records(Codec::Json, 1400).expect("room");
        assert_eq!(used(&budgets), [4096 + 1050, 0, 0]);
        drop(permit);
        assert_eq!(used(&budgets), [0, 0, 0]);
    }

    #[test]
    fn an_unannounced_body_moves_up_through_the_lanes() {
        let budgets = budgets();
        let mut memory = BodyMemory::new(&budgets.bodies, None);
        memory.hold(60 << 10).expect("room");
        assert_eq!(used(&budgets), [60 << 10, 0, 0]);
        memory.hold(100 << 10).expect("room");
        assert_eq!(used(&budgets), [0, 120 << 10, 0]);
        memory.hold(2 * MIB).expect("room");
        assert_eq!(used(&budgets), [0, 0, 2 * MIB]);
        drop(memory);
        assert_eq!(used(&budgets), [0, 0, 0]);
    }

    #[test]
    fn an_announced_large_body_never_touches_the_small_lane() {
        let budgets = budgets();
        let mut memory = BodyMemory::new(&budgets.bodies, Some(14 * MIB));
        memory.hold(1).expect("room");
        assert_eq!(
            used(&budgets),
            [0, 0, 4096],
            "and takes what arrived, not what was announced"
        );
    }

    #[test]
    fn a_full_large_lane_leaves_the_others_alone() {
        let budgets = budgets();
        let mut held = Vec::new();
        loop {
            let mut memory = BodyMemory::new(&budgets.bodies, Some(14 * MIB));
            if memory.hold(MIB).is_none() {
                break;
            }
            held.push(memory);
        }
        assert_eq!(held.len(), 28, "7 of 32 parts of 128 MiB");
        assert!(
            BodyMemory::new(&budgets.bodies, Some(500 << 10))
                .hold(500 << 10)
                .is_some()
        );
        assert!(
            BodyMemory::new(&budgets.bodies, Some(100))
                .hold(100)
                .is_some()
        );
    }

    #[test]
    fn a_full_small_lane_borrows_from_the_larger_ones() {
        let budgets = budgets();
        let hog = budgets.bodies[0].take(budgets.bodies[0].cap_bytes());
        let mut memory = BodyMemory::new(&budgets.bodies, Some(100));
        assert_eq!(memory.hold(100), Some(4096));
        assert_eq!(used(&budgets)[1], 4096);
        drop(hog);
    }

    #[test]
    fn pages_get_smaller_as_memory_runs_out_and_end_in_the_small_lane() {
        let budgets = budgets();
        let mut pages = Vec::new();
        while let Some(page) = reserve(&budgets, 10_000) {
            pages.push(page);
        }
        let sizes: Vec<usize> = pages.iter().map(|page| page.size.bytes).collect();
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        assert_eq!(sizes.last(), Some(&SMALL_PAGE.bytes));
        assert!(sizes.len() > 30, "{}", sizes.len());
    }

    #[test]
    fn the_largest_page_is_given_where_there_is_memory() {
        let budgets = Budgets::new(MemoryPlan::new(512 * MIB).expect("the default"));
        let page = reserve(&budgets, 10_000).expect("room");
        assert_eq!(page.size, PAGES[0]);
        assert_eq!(reserve(&budgets, 7).expect("room").size.records, 7);
    }

    #[test]
    fn the_largest_record_fits_into_the_least_memory() {
        let budgets = budgets();
        let mut memory = reserve(&budgets, 10_000).expect("room");
        let largest = caps::GET_RECORDS_BYTES_MAX;
        assert!(memory.fit(largest, 1), "alone, so there is room");
        let large = &budgets.responses[1];
        assert_eq!(large.used_bytes(), page(largest, 1).cost_bytes());
        let mut small = reserve(&budgets, 10_000).expect("the small lane");
        assert!(!small.fit(largest, 1), "the other one holds the large lane");
        drop(memory);
        assert!(small.fit(largest, 1));
        assert_eq!(budgets.responses[0].used_bytes(), 0, "it has moved");
    }

    #[test]
    fn a_page_shrinks_to_what_was_read_and_grows_for_one_large_record() {
        let budgets = budgets();
        let large = &budgets.responses[1];
        let mut memory = reserve(&budgets, 10_000).expect("room");
        assert!(memory.fit(1000, 1));
        assert_eq!(large.used_bytes(), page(1000, 1).cost_bytes());
        assert!(memory.fit(5 << 20, 1));
        assert_eq!(large.used_bytes(), page(5 << 20, 1).cost_bytes());
        let permit = memory.encoded(700);
        assert_eq!((permit.bytes(), large.used_bytes()), (700, 700));
    }
}
