//! Shards and the map from hash keys to them.

use std::sync::Arc;

use millstream_types::{HashKey, HashKeyRange, Millis, SequenceNumber, ShardId, ShardUid};

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
    /// What it took and gave since the process started.
    pub counters: Arc<ShardCounters>,
}

impl Shard {
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
