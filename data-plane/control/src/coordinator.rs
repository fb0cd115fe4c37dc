//! What each server should do, decided by one leader: which group is a stream's home, and what
//! everybody is told.
//!
//! A state machine without I/O: [`Coordinator::handle`] takes an [`Input`] and the time, and
//! answers with [`Effect`]s to carry out. The operator feeds it and does them; a simulation does
//! the same.
//!
//! **Nothing is sent that was not persisted**: a desired state is made from placements in
//! [`Persisted`], and only [`Input::PlacementPersisted`] puts one there. A new leader persists
//! each placement once under its own term before it sends anything, so that a deposed one finds
//! its write refused.
//!
//! **The lease alone deposes.** What a server says it goes by, or what stands in a ConfigMap, may be
//! a lie of whoever owns the namespace: a report of a later version than this leader can have given
//! ends that server's session and counts for nothing else.
//!
//! **A home never moves.** It is chosen once, when the leader has heard from every server it
//! expects or has waited long enough, and it goes only when the stream is deleted and its server
//! says that nothing is left.

mod facts;
mod homes;
mod input;
mod pool;
mod sessions;
mod tell;
mod whereabouts;

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_types::StreamUid;

pub use facts::{Orphan, Phase, ServerFacts, StreamFacts, Wait};
pub use input::{Effect, Input, PoolSpec, WantedStream};
pub use pool::Persisted;

use crate::desired::Access;
use crate::placement::{Placement, PoolId};
use crate::version::PlacementVersion;
use pool::Pool;
use sessions::Servers;
use whereabouts::Whereabouts;

/// How long a new leader waits for servers before it places anything.
pub const SETTLE: Duration = Duration::from_secs(30);
/// How long a group must be away before its shards count as unavailable.
pub const UNAVAILABLE_AFTER: Duration = Duration::from_secs(10);
/// How far a report may be ahead of what this leader has given out in its own term, and still be
/// believed: the lease was deleted, and a former leader had the same term. However often a liar says
/// so, the counter stays a number.
pub const COUNTER_AHEAD_MAX: u64 = 1_000_000;
/// Wait before a placement that could not be persisted is tried again.
pub const PERSIST_RETRY: Duration = Duration::from_secs(1);

/// The decisions of one leader, for as long as it leads.
#[derive(Debug)]
pub struct Coordinator {
    term: u64,
    counter: u64,
    started: Duration,
    settle_within: Duration,
    settled: bool,
    pools: BTreeMap<PoolId, Pool>,
    /// The homes in the drafts of all pools, by stream.
    whereabouts: Whereabouts,
    pools_known: bool,
    streams: BTreeMap<StreamUid, WantedStream>,
    streams_known: bool,
    access: Option<Access>,
    servers: Servers,
    /// Something has changed that a stream without a home may have waited for.
    place_again: bool,
    /// Whether this leader is told of every pool that there is.
    knows_all_pools: bool,
}

impl Coordinator {
    /// A leader of `term` (the lease's transitions) that found these placements.
    ///
    /// `now` is monotonic time, here and in [`handle`](Self::handle).
    #[must_use]
    pub fn new(term: u64, found: Vec<Placement>, now: Duration) -> Self {
        // A lease that was deleted starts again at 0: what was persisted tells the term then. It is
        // always a later one, so that no counter that was written is in this leader's way.
        let persisted = found.iter().map(|placement| placement.version.term + 1);
        let persisted = persisted.max().unwrap_or_default();
        let mut whereabouts = Whereabouts::default();
        for placement in &found {
            let homes = placement.homes.keys();
            homes.for_each(|uid| whereabouts.add(*uid, &placement.pool));
        }
        Self {
            term: term.max(persisted),
            counter: 0,
            started: now,
            settle_within: SETTLE,
            settled: false,
            pools: found
                .into_iter()
                .map(|placement| (placement.pool.clone(), Pool::found(placement)))
                .collect(),
            whereabouts,
            pools_known: false,
            streams: BTreeMap::new(),
            streams_known: false,
            access: None,
            servers: Servers::default(),
            place_again: true,
            knows_all_pools: true,
        }
    }

    /// There are more pools than this leader is told of, so that it never says which there are all
    /// in all: gateways keep those as they know them.
    #[must_use]
    pub const fn knowing_some_pools(mut self) -> Self {
        self.knows_all_pools = false;
        self
    }

    /// Waits at most this long for servers before it places anything; [`SETTLE`] unless set.
    #[must_use]
    pub const fn settle_within(mut self, limit: Duration) -> Self {
        self.settle_within = limit;
        self
    }

    /// Takes note of `input`, and says what is to be done now.
    #[must_use]
    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Pools(pools) => self.take_pools(pools),
            Input::Streams(streams) => {
                self.streams = streams.into_iter().map(|s| (s.uid, s)).collect();
                self.streams_known = true;
                self.place_again = true;
                self.servers.forget_told();
            },
            Input::Access(access) => {
                self.access = Some(access);
                self.servers.forget_told();
            },
            Input::Attached { server, session } => self.servers.attached(server, session, now),
            Input::Detached { server, session } => self.servers.detached(&server, session, now),
            Input::Observed { session, state } => {
                effects.extend(self.take_observed(session, state, now));
            },
            Input::PlacementPersisted { pool, version } => {
                if let Some(pool) = self.pools.get_mut(&pool)
                    && pool.persisted(version)
                {
                    self.servers.forget_told();
                }
            },
            Input::PersistFailed { pool, version } => {
                if let Some(pool) = self.pools.get_mut(&pool) {
                    pool.persist_failed(version, now.saturating_add(PERSIST_RETRY));
                }
            },
            Input::Tick => {},
        }
        self.settle(now);
        self.place();
        self.persist(now, &mut effects);
        self.tell(&mut effects);
        effects
    }

    /// The pools that can have a stream: those of the namespace of whoever wants it. An id that
    /// somebody else writes down or reports says nothing of it.
    fn pools_of(&self, stream: StreamUid) -> impl Iterator<Item = &Pool> {
        let wanted = self.streams.get(&stream);
        let pools = self.pools.iter().filter(move |(id, _)| {
            wanted.is_none_or(|wanted| wanted.pool.namespace() == id.namespace())
        });
        pools.map(|(_, pool)| pool)
    }

    fn take_pools(&mut self, specs: Vec<PoolSpec>) {
        let mut gone: Vec<PoolId> = self.pools.keys().cloned().collect();
        for spec in specs {
            gone.retain(|id| *id != spec.id);
            self.pools
                .entry(spec.id.clone())
                .or_insert_with(|| Pool::fresh(spec.id.clone()))
                .expect(spec.seats);
        }
        for id in gone {
            // a pool with streams stays known, whatever becomes of its servers
            if self.pools.get(&id).is_some_and(|pool| pool.is_empty()) {
                self.pools.remove(&id);
            }
        }
        self.pools_known = true;
        self.place_again = true;
        self.servers.forget_told();
    }

    /// The settling ends when every expected server has reported, or the time is up.
    fn settle(&mut self, now: Duration) {
        if self.settled || !self.pools_known || !self.streams_known {
            return;
        }
        let all = self.pools.values().all(|pool| {
            pool.servers()
                .all(|server| self.servers.has_reported(&server))
        });
        self.settled = all || now.saturating_sub(self.started) >= self.settle_within;
    }

    /// Asks to persist each placement that has changed, one at a time per pool.
    fn persist(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        for pool in self.pools.values_mut() {
            if pool.wants_persisting(now) {
                self.counter += 1;
                let version = PlacementVersion::new(self.term, self.counter);
                effects.push(Effect::PersistPlacement(pool.persist_as(version)));
            }
        }
    }
}

/// What is wanted of a stream in a pool of this namespace.
fn wanted_in<'a>(
    streams: &'a BTreeMap<StreamUid, WantedStream>,
    namespace: &str,
    stream: StreamUid,
) -> Option<&'a WantedStream> {
    let wanted = streams.get(&stream)?;
    (wanted.pool.namespace() == namespace).then_some(wanted)
}

#[cfg(test)]
mod tests;
