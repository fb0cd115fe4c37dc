//! One leader by hand, one file for each part of its job; [`world`] has many leaders and any order
//! of events.

mod as_it_is;
mod attached;
mod homes;
mod lives;
mod never_made;
mod persisting;
mod world;

use std::sync::Arc;

use millstream_link::{Identity, Role};
use millstream_types::Scope;

use super::*;
use crate::desired::{Access, DesiredState, ShardDesired, Wanted};
use crate::observed::{ObservedState, ObservedStream, StreamPhase};
use crate::placement::{GROUPS_MAX, HOMES_MAX, Home, PlacementError, Seat};
use crate::stream::{StreamSpec, Version};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn pool_id(text: &str) -> PoolId {
    text.parse().expect("a pool")
}

fn seat(pool: &PoolId, ordinal: u32) -> Seat {
    let pod = format!("millstream-shard-{}-{ordinal}", pool.name());
    Seat {
        address: format!("{pod}.{}:4569", pool.namespace())
            .parse()
            .expect("an address"),
        direct: None,
        pod,
    }
}

fn pool(text: &str, servers: u32) -> PoolSpec {
    let id = pool_id(text);
    PoolSpec {
        seats: (0..servers).map(|ordinal| seat(&id, ordinal)).collect(),
        id,
    }
}

fn server(pool: &str, ordinal: u32) -> Identity {
    let id = pool_id(pool);
    seat(&id, ordinal).identity(&id).expect("an identity")
}

fn scope() -> Scope {
    Scope {
        account: "000000000001".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    }
}

fn stream(uid: u128, pool: &str) -> WantedStream {
    WantedStream {
        uid: StreamUid(uid),
        scope: scope(),
        pool: pool_id(pool),
        spec: Some(StreamSpec::new(
            format!("stream-{uid}").parse().expect("a name"),
        )),
        version: Version(1),
        delete: false,
    }
}

fn report(pool: &str, ordinal: u32, streams: &[(u128, StreamPhase)]) -> ObservedState {
    let group = pool_id(pool).group(ordinal);
    let mut state = ObservedState::starting(server(pool, ordinal));
    state.health.ready = true;
    state.streams = streams
        .iter()
        .map(|(uid, phase)| ObservedStream {
            uid: StreamUid(*uid),
            scope: scope(),
            name: format!("stream-{uid}").parse().expect("a name"),
            phase: *phase,
            version: Version(1),
            shard_count: 2,
            groups: vec![group.clone(), pool_id(pool).group(1)],
            message: None,
        })
        .collect();
    state.group = Some(group);
    state
}

/// A leader, its clock, and what it has asked for.
struct Leader {
    coordinator: Coordinator,
    now: Duration,
    persisted: Vec<Placement>,
    sent: Vec<(Identity, Arc<DesiredState>)>,
    ended: Vec<(Identity, PlacementVersion)>,
}

impl Leader {
    fn new(term: u64, found: Vec<Placement>) -> Self {
        Self {
            coordinator: Coordinator::new(term, found, Duration::ZERO),
            now: Duration::ZERO,
            persisted: Vec::new(),
            sent: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Feeds one input, and carries out at once what it asks for.
    fn feed(&mut self, input: Input) {
        let mut effects = self.coordinator.handle(self.now, input);
        while !effects.is_empty() {
            let mut next = Vec::new();
            for effect in effects {
                match effect {
                    Effect::PersistPlacement(placement) => {
                        let input = Input::PlacementPersisted {
                            pool: placement.pool.clone(),
                            version: placement.version,
                        };
                        self.persisted.push(placement);
                        next.extend(self.coordinator.handle(self.now, input));
                    },
                    Effect::Send { to, state, .. } => self.sent.push((to, state)),
                    Effect::EndSession { server, seen, .. } => self.ended.push((server, seen)),
                }
            }
            effects = next;
        }
    }

    fn attach(&mut self, session: u64, state: ObservedState) {
        self.feed(Input::Attached {
            server: state.server.clone(),
            session,
        });
        self.observe(session, state);
    }

    fn observe(&mut self, session: u64, state: ObservedState) {
        self.feed(Input::Observed {
            session,
            state: Arc::new(state),
        });
    }

    /// What a shard server was told last.
    fn told(&self, server: &Identity) -> Option<&ShardDesired> {
        let mut sent = self.sent.iter().rev();
        let (_, state) = sent.find(|(to, _)| to == server)?;
        match &**state {
            DesiredState::Shard(state) => Some(state),
            DesiredState::Gateway(_) => None,
        }
    }

    fn phase(&self, uid: u128) -> Phase {
        self.coordinator.stream(StreamUid(uid), self.now).phase
    }

    fn homes(&self, pool: &str) -> Vec<(u128, u32)> {
        let id = pool_id(pool);
        let last = self.persisted.iter().rev().find(|p| p.pool == id);
        last.into_iter()
            .flat_map(|p| p.homes.iter().map(|(uid, home)| (uid.0, home.group)))
            .collect()
    }
}

/// A leader of one pool of three servers, all attached.
fn settled() -> Leader {
    let mut leader = Leader::new(1, Vec::new());
    leader.feed(Input::Pools(vec![pool("a/p", 3)]));
    leader.feed(Input::Streams(Vec::new()));
    for ordinal in 0..3 {
        leader.attach(u64::from(ordinal), report("a/p", ordinal, &[]));
    }
    leader
}
