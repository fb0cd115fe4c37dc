//! A search for a time, and trims in the midst of it.

use std::path::PathBuf;
use std::sync::Arc;

use millstream_clock::ManualClock;

use super::*;
use crate::disk::sim::SimDisk;
use crate::volume::options::Options;

const SHARD: ShardUid = ShardUid(5);
/// Records, and milliseconds, of each segment.
const EACH: u64 = 10;

fn segment(index: u64) -> SegmentMeta {
    SegmentMeta {
        first: index * EACH + 1,
        last: (index + 1) * EACH,
        created: Millis(0),
        first_arrival: Millis(index * EACH + 1),
        last_arrival: Millis((index + 1) * EACH),
        len: 1000,
        sealed: true,
    }
}

/// Three segments, whose record n arrived at the time n.
fn shard() -> Arc<Shard> {
    let options = Options::new(PathBuf::new());
    let clock = Arc::new(ManualClock::new(Millis(100)));
    let shared = Shared::new(Arc::new(SimDisk::new(1)), options, clock, None);
    let status = ShardStatus {
        first: 1,
        next: 3 * EACH + 1,
        last_arrival: Millis(3 * EACH),
        sealed: false,
    };
    shared.insert_shard(SHARD, status, (0..3).map(segment).collect());
    shared.shard(SHARD).expect("it was put there")
}

/// What a search in a segment that is there finds.
fn found(meta: &SegmentMeta, time: Millis) -> Option<u64> {
    Some(time.0.max(meta.first))
}

#[test]
fn a_time_is_found_where_its_segment_is_trimmed_between_the_look_and_the_open() {
    for trimmed in 1..=3 {
        let shard = shard();
        let mut searched = Vec::new();
        let number = number_through(&shard, Millis(3), |meta| {
            searched.push(meta.first);
            if searched.len() > 1 {
                return Ok(found(meta, Millis(3)));
            }
            let mut view = shard.view.lock();
            view.status.first = trimmed * EACH + 1;
            view.segments
                .drain(..usize::try_from(trimmed).expect("few"));
            Err(ReadError::Io("the file is gone".to_owned()))
        });
        assert_eq!(number, Ok(trimmed * EACH + 1), "the oldest that is kept");
        let last = (trimmed < 3).then_some(trimmed * EACH + 1);
        assert_eq!(searched, [1].into_iter().chain(last).collect::<Vec<_>>());
    }
}

#[test]
fn a_segment_below_the_trim_point_is_not_searched_even_while_it_is_there() {
    let shard = shard();
    shard.view.lock().status.first = EACH + 5;
    let number = number_through(&shard, Millis(3), |meta| {
        assert_eq!(meta.first, EACH + 1);
        Ok(found(meta, Millis(3)))
    });
    assert_eq!(number, Ok(EACH + 5));
}

#[test]
fn an_error_of_a_segment_that_is_kept_is_told() {
    let shard = shard();
    let failed = || ReadError::Io("a bad disk".to_owned());
    let number = number_through(&shard, Millis(3), |_| Err(failed()));
    assert_eq!(number, Err(failed()));
}
