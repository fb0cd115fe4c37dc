//! One pool: the placement that is being made, the one that is being written, the one that holds.

use std::time::Duration;

use millstream_link::Identity;

use crate::placement::{HOMES_MAX, Home, Placement, PoolId, Seat};
use crate::version::PlacementVersion;
use millstream_types::StreamUid;

/// A placement that is durable. Desired states are made from nothing else, and nobody else can
/// make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persisted(Placement);

impl Persisted {
    /// The placement.
    #[must_use]
    pub const fn placement(&self) -> &Placement {
        &self.0
    }
}

#[derive(Debug)]
pub(super) struct Pool {
    /// What the placement will be. Its version is that of the last one that was asked for.
    draft: Placement,
    /// The draft says more than what was asked to be written last.
    changed: bool,
    /// Being written; one at a time.
    asked: Option<Placement>,
    /// Not before this time, after a failure.
    not_before: Duration,
    /// Durable in this leader's term.
    held: Option<Persisted>,
    /// It was said to be there, once: not only a placement was found of it, which anybody may have
    /// written who can write in its namespace.
    is_expected: bool,
}

impl Pool {
    /// A pool that nobody has heard of.
    pub(super) const fn fresh(id: PoolId) -> Self {
        Self::found(Placement::empty(id))
    }

    /// A pool whose placement an earlier leader wrote: to be written once under the new term.
    pub(super) const fn found(placement: Placement) -> Self {
        Self {
            draft: placement,
            changed: true,
            asked: None,
            not_before: Duration::ZERO,
            held: None,
            is_expected: false,
        }
    }

    /// The servers that the pool should have, by ordinal. A group is never dropped while the pool
    /// has streams: there may be shards in it. An IP address stands until another one is known: it
    /// may still be right, and does no harm where it is not.
    pub(super) fn expect(&mut self, seats: Vec<Seat>) {
        self.is_expected = true;
        let mut groups = if self.draft.homes.is_empty() {
            std::collections::BTreeMap::new()
        } else {
            self.draft.groups.clone()
        };
        for (ordinal, mut seat) in (0..).zip(seats) {
            let before = self.draft.groups.get(&ordinal);
            if let Some(before) = before.filter(|before| before.pod == seat.pod) {
                seat.direct = seat.direct.or_else(|| before.direct.clone());
            }
            groups.insert(ordinal, seat);
        }
        if groups != self.draft.groups {
            self.draft.groups = groups;
            self.changed = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let held = self
            .held
            .as_ref()
            .is_some_and(|held| !held.0.homes.is_empty());
        self.draft.homes.is_empty() && self.asked.is_none() && !held
    }

    pub(super) const fn draft(&self) -> &Placement {
        &self.draft
    }

    pub(super) const fn held(&self) -> Option<&Persisted> {
        self.held.as_ref()
    }

    /// Who sits in the groups. Nobody, in a pool that nobody said is there.
    pub(super) fn servers(&self) -> impl Iterator<Item = Identity> + '_ {
        let pool = &self.draft.pool;
        let seats = self.draft.groups.values().filter(|_| self.is_expected);
        seats.filter_map(move |seat| seat.identity(pool))
    }

    /// Makes a group the stream's home, unless it has one or the pool is full. Whether it did.
    pub(super) fn add_home(&mut self, stream: StreamUid, home: Home) -> bool {
        let is_full = self.draft.homes.len() >= HOMES_MAX;
        let has_one = self.draft.homes.contains_key(&stream);
        let is_added = self.draft.groups.contains_key(&home.group) && !has_one && !is_full;
        if is_added {
            self.draft.homes.insert(stream, home);
            self.changed = true;
        }
        is_added
    }

    /// The home has the stream: from now on one without it has lost it.
    pub(super) fn note_made(&mut self, stream: StreamUid) {
        if let Some(home) = self.draft.homes.get_mut(&stream) {
            home.made = true;
            self.changed = true;
        }
    }

    /// Forgets a stream of which nothing is left. Whether it had a home here.
    pub(super) fn remove_home(&mut self, stream: StreamUid) -> bool {
        let had_one = self.draft.homes.remove(&stream).is_some();
        self.changed |= had_one;
        had_one
    }

    pub(super) fn wants_persisting(&self, now: Duration) -> bool {
        self.is_expected && self.changed && self.asked.is_none() && now >= self.not_before
    }

    /// The placement to write, under `version`.
    pub(super) fn persist_as(&mut self, version: PlacementVersion) -> Placement {
        assert!(
            version > self.draft.version,
            "placement {version} of {} would not follow {}",
            self.draft.pool,
            self.draft.version
        );
        self.draft.version = version;
        self.changed = false;
        self.asked = Some(self.draft.clone());
        self.draft.clone()
    }

    /// Whether that was the placement that was being written; it holds now.
    pub(super) fn persisted(&mut self, version: PlacementVersion) -> bool {
        match self.asked.take_if(|asked| asked.version == version) {
            None => false,
            Some(placement) => {
                self.held = Some(Persisted(placement));
                true
            },
        }
    }

    /// It was not written: another version is tried later.
    pub(super) fn persist_failed(&mut self, version: PlacementVersion, not_before: Duration) {
        if self
            .asked
            .take_if(|asked| asked.version == version)
            .is_some()
        {
            self.changed = true;
            self.not_before = not_before;
        }
    }
}
