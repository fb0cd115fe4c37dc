//! Shards and the map from hash keys to them.

use std::sync::Arc;

use millstream_types::{GroupId, HashKey, HashKeyRange, Millis, SequenceNumber, ShardId, ShardUid};

use crate::counters::ShardCounters;

/// One shard of a stream.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Its log in the store.
    pub uid: ShardUid,
    /// Its name in the stream.
    pub id: ShardId,
    /// Second in which it was created; a part of all of its sequence numbers.
    pub created_s: u64,
    /// The hash keys that it takes.
    pub range: HashKeyRange,
    /// The log group that holds it; none: the one that keeps the stream's rows.
    pub group: Option<GroupId>,
    /// What it took and gave since the process started.
    pub counters: Arc<ShardCounters>,
}

impl Shard {
    /// Whether it lives in the group that keeps the stream's rows.
    #[must_use]
    pub const fn is_at_home(&self) -> bool {
        self.group.is_none()
    }

    /// The sequence number of the record with this number, put at this time.
    #[must_use]
    pub const fn sequence_number(&self, number: u64, arrival: Millis) -> SequenceNumber {
        SequenceNumber {
            created_s: self.created_s,
            shard_index: self.id.0,
            counter: number,
            put_s: arrival.seconds(),
        }
    }

    /// The number below every record of the shard.
    #[must_use]
    pub const fn starting_sequence_number(&self) -> SequenceNumber {
        SequenceNumber {
            created_s: self.created_s,
            shard_index: self.id.0,
            counter: 0,
            put_s: self.created_s,
        }
    }
}

/// A set of shards that does not cover the hash-key space once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shards do not cover the hash-key space once, in order of their ids")]
pub struct ShardMapError;

/// The shards of a stream. Their ranges cover the hash-key space, each key once.
#[derive(Clone, Debug)]
pub struct ShardMap {
    /// By id: the id of a shard is its place here.
    shards: Vec<Shard>,
    /// (first hash key, place in `shards`), ordered by key.
    routes: Vec<(HashKey, usize)>,
}

impl ShardMap {
    /// A map of these shards.
    ///
    /// # Errors
    /// [`ShardMapError`] when an id is not the shard's place or the ranges leave a gap or overlap.
    pub fn new(shards: Vec<Shard>) -> Result<Self, ShardMapError> {
        let ids_are_places = shards.iter().zip(0u32..).all(|(s, i)| s.id.0 == i);
        let mut routes: Vec<(HashKey, usize)> =
            shards.iter().map(|s| s.range.start).zip(0..).collect();
        routes.sort_unstable();
        let mut next = Some(HashKey(0));
        for &(start, place) in &routes {
            let end = shards[place].range.end;
            if next != Some(start) || end < start {
                return Err(ShardMapError);
            }
            next = end.0.checked_add(1).map(HashKey);
        }
        if !ids_are_places || next.is_some() {
            return Err(ShardMapError);
        }
        Ok(Self { shards, routes })
    }

    /// All shards, by id.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The shard with this id.
    #[must_use]
    pub fn get(&self, id: ShardId) -> Option<&Shard> {
        self.shards.get(usize::try_from(id.0).ok()?)
    }

    /// The shard that takes records with this hash key.
    #[must_use]
    pub fn route(&self, key: HashKey) -> &Shard {
        let after = self.routes.partition_point(|(start, _)| *start <= key);
        let (_, place) = self.routes[after - 1];
        &self.shards[place]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shards(ranges: Vec<HashKeyRange>) -> Vec<Shard> {
        (0u32..)
            .zip(ranges)
            .map(|(index, range)| Shard {
                uid: ShardUid(u128::from(index)),
                id: ShardId(index),
                created_s: 0,
                range,
                group: None,
                counters: Arc::default(),
            })
            .collect()
    }

    /// The space cut after each of these keys.
    fn cut_after(mut ends: Vec<u128>) -> Vec<HashKeyRange> {
        ends.retain(|end| *end != u128::MAX);
        ends.sort_unstable();
        ends.dedup();
        let starts = [0].into_iter().chain(ends.iter().map(|end| end + 1));
        let closed = ends.iter().copied().chain([u128::MAX]);
        starts
            .zip(closed)
            .map(|(start, end)| HashKeyRange {
                start: HashKey(start),
                end: HashKey(end),
            })
            .collect()
    }

    #[test]
    fn a_gap_an_overlap_and_a_wrong_id_are_refused() {
        let good = HashKeyRange::uniform(3);
        assert!(ShardMap::new(shards(good.clone())).is_ok());
        let mut gap = good.clone();
        gap[1].end.0 -= 1;
        let mut overlap = good.clone();
        overlap[1].end.0 += 1;
        let mut short = good.clone();
        short[2].end.0 -= 1;
        let mut late = good.clone();
        late[0].start.0 += 1;
        for bad in [gap, overlap, short, late, vec![]] {
            assert!(ShardMap::new(shards(bad)).is_err());
        }
        let mut wrong_id = shards(good);
        wrong_id[0].id = ShardId(5);
        assert!(ShardMap::new(wrong_id).is_err());
    }

    proptest! {
        #[test]
        fn every_key_goes_to_the_one_shard_that_has_it(
            ends: Vec<u128>, order: u64, keys: Vec<u128>, near in any::<prop::sample::Index>(),
        ) {
            let mut ranges = cut_after(ends);
            // Ids need not follow the ranges: after a split they do not.
            let pivot = usize::try_from(order).unwrap_or(0) % ranges.len();
            ranges.rotate_left(pivot);
            let edge = ranges[near.index(ranges.len())];
            let map = ShardMap::new(shards(ranges)).expect("a cut of the space covers it");
            let edges = [edge.start, edge.end, HashKey(0), HashKey::MAX];
            for key in keys.into_iter().map(HashKey).chain(edges) {
                let having: Vec<ShardId> = map
                    .shards()
                    .iter()
                    .filter(|s| s.range.contains(key))
                    .map(|s| s.id)
                    .collect();
                prop_assert_eq!(having, vec![map.route(key).id]);
            }
        }
    }
}
