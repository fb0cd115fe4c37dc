//! What the objects of one namespace claim: names, ids, room in pools. Indexed once for a plan, so
//! that judging one object costs the same however many siblings it has.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::jiff::Timestamp;
use millstream_crds::data_stream::DataStreamResource;
use millstream_types::{StreamName, StreamUid};

use super::validate::{HomeView, given_up, stream_name, stream_uid};

/// What one object claims: a name, an id, room in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The object's name.
    pub object_name: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The stream's name.
    pub stream_name: String,
    /// The stream's id; none if the object has no UID yet.
    pub stream: Option<StreamUid>,
    /// The pool.
    pub pool: String,
    /// The shards that it asks for.
    pub shards: u64,
    /// The shards that its stream has: none before it is made.
    pub has: u64,
}

impl Claim {
    /// What `object` claims.
    #[must_use]
    pub fn of(object: &DataStreamResource) -> Self {
        let metadata = &object.metadata;
        let spec = &object.spec;
        let has = shards_made(object);
        Self {
            object_name: metadata.name.clone().unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            stream_name: stream_name(object).to_owned(),
            stream: stream_uid(object),
            pool: spec.pool.clone(),
            shards: match spec.shard_count {
                Some(count) => u64::try_from(count).unwrap_or(1),
                None => has.map_or(1, u64::from),
            },
            has: has.map_or(0, u64::from),
        }
    }

    /// Orders objects: the older goes first.
    #[must_use]
    pub fn age(&self) -> (Option<Timestamp>, &str) {
        (self.created, &self.object_name)
    }
}

/// A claim by its place among all of them, the oldest first.
type Place = usize;

/// The claims of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// The oldest first.
    all: Vec<Claim>,
    /// Of each stream name, the oldest first.
    by_stream_name: HashMap<String, Vec<Place>>,
    /// Of each id, the oldest first.
    by_stream: HashMap<StreamUid, Vec<Place>>,
    /// Of each pool, the shards of all that were settled.
    taken: HashMap<String, u64>,
    /// Of each stream name, the streams that a pool holds and that no object claims.
    orphans: BTreeMap<StreamName, Vec<StreamUid>>,
}

impl Claims {
    /// The claims of all objects of a namespace whose pools hold `homes`.
    #[must_use]
    pub fn new(mut all: Vec<Claim>, homes: &BTreeMap<StreamUid, HomeView>) -> Self {
        all.sort_by(|one, other| one.age().cmp(&other.age()));
        let mut claims = Self::default();
        for (place, claim) in all.iter().enumerate() {
            work::note();
            let named = claims.by_stream_name.entry(claim.stream_name.clone());
            named.or_default().push(place);
            if let Some(stream) = claim.stream {
                claims.by_stream.entry(stream).or_default().push(place);
            }
        }
        claims.all = all;
        for (stream, home) in homes {
            work::note();
            // A place that was kept for a stream that was never made has no records.
            if home.made && !claims.claims(*stream) {
                let orphans = claims.orphans.entry(home.name.clone());
                orphans.or_default().push(*stream);
            }
        }
        claims
    }

    /// Whether an object stands for the stream.
    #[must_use]
    pub fn claims(&self, stream: StreamUid) -> bool {
        self.by_stream.contains_key(&stream)
    }

    /// The streams of this name that a pool holds and that no object stands for.
    #[must_use]
    pub fn orphans(&self, name: &StreamName) -> &[StreamUid] {
        self.orphans.get(name).map_or(&[], Vec::as_slice)
    }

    /// The oldest object with the stream name of `own`, if that is older.
    #[must_use]
    pub fn older_of_name(&self, own: &Claim) -> Option<&Claim> {
        self.older(self.by_stream_name.get(&own.stream_name)?, own)
    }

    /// The oldest object with the stream of `own`, if that is older.
    #[must_use]
    pub fn older_of_stream(&self, own: &Claim) -> Option<&Claim> {
        self.older(self.by_stream.get(&own.stream?)?, own)
    }

    fn older(&self, places: &[Place], own: &Claim) -> Option<&Claim> {
        let mut claims = places.iter().map(|place| &self.all[*place]);
        let oldest = claims.find(|claim| {
            work::note();
            claim.object_name != own.object_name
        });
        oldest.filter(|claim| claim.age() < own.age())
    }

    /// The shards that older objects take of the pool of `own`: those that were settled.
    #[must_use]
    pub fn shards_before(&self, own: &Claim) -> u64 {
        self.taken.get(&own.pool).copied().unwrap_or_default()
    }

    /// Takes room for `claim`, the oldest that was not settled yet: what it asks for, if it is good,
    /// and only what its stream has, if it is refused. So a wish that cannot be met is in nobody's
    /// way.
    pub fn settle(&mut self, claim: &Claim, is_good: bool) {
        let shards = if is_good { claim.shards } else { claim.has };
        *self.taken.entry(claim.pool.clone()).or_default() += shards;
    }
}

/// Whether the object's stream was ever made, as its status says: its home may be away, or forgotten.
/// What is said of one that the object gives up is not said of the one that it has instead.
#[must_use]
pub fn was_made(object: &DataStreamResource) -> bool {
    if given_up(object).is_some() {
        return false;
    }
    let status = object.status.as_ref();
    let word = status.and_then(|status| status.stream_status.as_deref());
    word.is_some_and(|word| word != "CREATING")
}

/// The shards of the object's stream, if it was ever made: a new leader has not heard from its home.
#[must_use]
pub fn shards_made(object: &DataStreamResource) -> Option<u32> {
    let count = object.status.as_ref()?.shard_count?;
    u32::try_from(count).ok().filter(|_| was_made(object))
}

/// Counts the claims that are looked at, for the test that says how the work grows.
#[cfg(test)]
pub(crate) mod work {
    use std::cell::Cell;

    thread_local! {
        static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn note() {
        LOOKS.with(|looks| looks.set(looks.get() + 1));
    }

    /// The looks since the last call.
    pub(crate) fn take() -> usize {
        LOOKS.with(Cell::take)
    }
}

#[cfg(not(test))]
mod work {
    pub(super) const fn note() {}
}
