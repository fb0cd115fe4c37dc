//! One leader by hand; [`world`] has many leaders and any order of events.

mod world;

use std::sync::Arc;

use millstream_link::{Identity, Role};
use millstream_types::Scope;

use super::*;
use crate::desired::{DesiredState, ShardDesired, Wanted};
use crate::observed::{ObservedState, ObservedStream, StreamPhase};
use crate::placement::{HOMES_MAX, Home, Seat};
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
        spec: StreamSpec::new(format!("stream-{uid}").parse().expect("a name")),
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
    down: Option<PlacementVersion>,
}

impl Leader {
    fn new(term: u64, found: Vec<Placement>) -> Self {
        Self {
            coordinator: Coordinator::new(term, found, Duration::ZERO),
            now: Duration::ZERO,
            persisted: Vec::new(),
            sent: Vec::new(),
            down: None,
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
                    Effect::StepDown { seen } => self.down = Some(seen),
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

#[test]
fn homes_go_to_the_group_with_the_fewest_and_stay() {
    let mut leader = settled();
    let streams: Vec<_> = (1..=5).map(|uid| stream(uid, "a/p")).collect();
    leader.feed(Input::Streams(streams.clone()));
    assert_eq!(
        leader.homes("a/p"),
        [(1, 0), (2, 1), (3, 2), (4, 0), (5, 1)]
    );
    let told = leader.told(&server("a/p", 1)).expect("told");
    let uids: Vec<u128> = told.streams.iter().map(|s| s.uid.0).collect();
    assert_eq!(uids, [2, 5]);
    assert_eq!(told.peers.len(), 3);

    // a stream less, a stream more: nobody moves
    let mut fewer = streams;
    fewer.remove(0);
    fewer.push(stream(9, "a/p"));
    leader.feed(Input::Streams(fewer));
    assert_eq!(
        leader.homes("a/p"),
        [(1, 0), (2, 1), (3, 2), (4, 0), (5, 1), (9, 2)]
    );
}

#[test]
fn a_new_leader_waits_for_every_server_before_it_places() {
    let mut leader = Leader::new(1, Vec::new());
    leader.feed(Input::Pools(vec![pool("a/p", 2)]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.attach(1, report("a/p", 0, &[]));
    leader.now = seconds(29);
    leader.feed(Input::Tick);
    assert_eq!(leader.phase(1), Phase::Waiting(Wait::Settling));
    leader.attach(2, report("a/p", 1, &[]));
    assert_eq!(leader.phase(1), Phase::Waiting(Wait::Home));
    assert_eq!(leader.homes("a/p"), [(1, 0)]);
}

#[test]
fn a_new_leader_waits_no_longer_than_its_limit() {
    let mut leader = Leader::new(1, Vec::new());
    leader.feed(Input::Pools(vec![pool("a/p", 2)]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.now = SETTLE;
    leader.feed(Input::Tick);
    assert_eq!(leader.homes("a/p"), [(1, 0)]);
}

#[test]
fn a_home_whose_record_is_lost_is_learned_from_its_server() {
    let mut leader = Leader::new(4, Vec::new());
    leader.feed(Input::Pools(vec![pool("a/p", 3)]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.attach(1, report("a/p", 0, &[]));
    leader.attach(
        2,
        report(
            "a/p",
            2,
            &[(1, StreamPhase::Active), (7, StreamPhase::Active)],
        ),
    );
    leader.attach(3, report("a/p", 1, &[]));
    assert_eq!(leader.homes("a/p"), [(1, 2), (7, 2)]);
    let orphans = leader.coordinator.orphans();
    assert_eq!(orphans.len(), 1, "{orphans:?}");
    assert_eq!(
        (orphans[0].uid.0, orphans[0].name.as_str()),
        (7, "stream-7")
    );
}

#[test]
fn nothing_is_told_before_its_placement_is_persisted() {
    let mut leader = settled();
    leader.sent.clear();
    let effects = leader
        .coordinator
        .handle(leader.now, Input::Streams(vec![stream(1, "a/p")]));
    let [Effect::PersistPlacement(placement)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(leader.phase(1), Phase::Waiting(Wait::Persisting));
    // another version, an old answer: not this one
    for version in [
        PlacementVersion::new(placement.version.term, placement.version.counter - 1),
        PlacementVersion::new(placement.version.term, placement.version.counter + 1),
    ] {
        let input = Input::PlacementPersisted {
            pool: placement.pool.clone(),
            version,
        };
        assert_eq!(leader.coordinator.handle(leader.now, input), []);
    }
    leader.feed(Input::PlacementPersisted {
        pool: placement.pool.clone(),
        version: placement.version,
    });
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert_eq!((told.placement, told.streams.len()), (placement.version, 1));
}

#[test]
fn a_placement_that_was_not_written_is_tried_again_later_under_a_new_version() {
    let mut leader = settled();
    let effects = leader
        .coordinator
        .handle(leader.now, Input::Streams(vec![stream(1, "a/p")]));
    let [Effect::PersistPlacement(first)] = &effects[..] else {
        panic!("{effects:?}");
    };
    let failed = Input::PersistFailed {
        pool: first.pool.clone(),
        version: first.version,
    };
    assert_eq!(leader.coordinator.handle(leader.now, failed), []);
    assert_eq!(leader.coordinator.handle(leader.now, Input::Tick), []);
    let effects = leader
        .coordinator
        .handle(leader.now + PERSIST_RETRY, Input::Tick);
    let [Effect::PersistPlacement(second)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert!(second.version > first.version);
    assert_eq!(second.homes, first.homes);
}

#[test]
fn deletion_is_over_when_its_home_says_so_and_that_is_written_down() {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Active)]));
    assert_eq!(leader.phase(1), Phase::Active);

    let mut gone = stream(1, "a/p");
    gone.delete = true;
    leader.feed(Input::Streams(vec![gone]));
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert_eq!(told.streams[0].wanted, Wanted::Delete);
    leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Deleting)]));
    assert_eq!(leader.phase(1), Phase::Deleting);
    leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Gone)]));
    assert_eq!(leader.phase(1), Phase::Gone);
    assert_eq!(leader.homes("a/p"), []);
}

#[test]
fn a_stream_that_was_made_is_known_to_be_made_by_every_later_leader() {
    let mut before = settled();
    before.feed(Input::Streams(vec![stream(1, "a/p")]));
    let told = before.told(&server("a/p", 0)).expect("told");
    assert!(!told.streams[0].made);
    before.observe(0, report("a/p", 0, &[(1, StreamPhase::Active)]));
    let told = before.told(&server("a/p", 0)).expect("told again");
    assert!(told.streams[0].made);

    let text = before.persisted.last().expect("persisted").to_json();
    let found = Placement::from_json(&text.expect("it fits")).expect("ours");
    let mut leader = Leader::new(2, vec![found]);
    leader.feed(Input::Pools(vec![pool("a/p", 3)]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.attach(0, report("a/p", 0, &[]));
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert!(told.streams[0].made, "its volume is new");
    leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Lost)]));
    assert_eq!(leader.phase(1), Phase::Lost);
    assert_eq!(leader.homes("a/p").len(), 1, "a home never moves");
}

#[test]
fn a_stream_nobody_wants_is_retained_and_can_be_taken_back() {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.feed(Input::Streams(Vec::new()));
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert_eq!(told.streams[0].wanted, Wanted::Retain);
    assert_eq!(leader.coordinator.orphans().len(), 1);
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert_eq!(told.streams[0].wanted, Wanted::Serve);
    assert_eq!(leader.coordinator.orphans(), []);
}

#[test]
fn nobody_is_told_to_retain_before_the_streams_are_known() {
    let mut before = settled();
    before.feed(Input::Streams(vec![stream(1, "a/p")]));
    let found = before.persisted.last().cloned();
    let mut leader = Leader::new(2, found.into_iter().collect());
    leader.feed(Input::Pools(vec![pool("a/p", 3)]));
    leader.attach(1, report("a/p", 0, &[(1, StreamPhase::Active)]));
    assert_eq!(leader.sent, []);
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert_eq!(told.streams[0].wanted, Wanted::Serve);
    assert_eq!(told.version.term, 2);
}

#[test]
fn a_leader_steps_down_when_a_server_has_heard_a_later_one() {
    let mut leader = settled();
    let later = PlacementVersion::new(2, 1);
    let mut state = report("a/p", 0, &[]);
    state.desired = Some(later);
    leader.observe(0, state);
    assert_eq!(leader.down, Some(later));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    assert_eq!(leader.homes("a/p"), [], "it does nothing any more");
}

#[test]
fn a_leader_that_restarts_in_its_term_numbers_on() {
    let mut leader = Leader::new(1, Vec::new());
    leader.feed(Input::Pools(vec![pool("a/p", 1)]));
    leader.feed(Input::Streams(Vec::new()));
    let mut state = report("a/p", 0, &[]);
    // told by the earlier life, and never persisted
    state.desired = Some(PlacementVersion::new(1, 40));
    leader.attach(1, state);
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert!(
        told.version > PlacementVersion::new(1, 40),
        "{}",
        told.version
    );
}

#[test]
fn a_deleted_lease_does_not_turn_the_term_back() {
    let mut placement = Placement::empty(pool_id("a/p"));
    placement.version = PlacementVersion::new(7, 3);
    let mut leader = Leader::new(0, vec![placement]);
    leader.feed(Input::Pools(vec![pool("a/p", 1)]));
    assert_eq!(leader.persisted[0].version, PlacementVersion::new(7, 4));
}

#[test]
fn shards_are_unavailable_once_a_group_has_been_away_for_a_while() {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Active)]));
    let unavailable = |leader: &Leader| {
        leader
            .coordinator
            .stream(StreamUid(1), leader.now)
            .unavailable
    };
    assert_eq!(unavailable(&leader), []);
    leader.feed(Input::Detached {
        server: server("a/p", 1),
        session: 1,
    });
    assert_eq!(unavailable(&leader), [], "not yet");
    leader.now += UNAVAILABLE_AFTER;
    leader.feed(Input::Tick);
    // the home holds shards itself, and group 1 does; group 2 has none of it
    assert_eq!(unavailable(&leader), [pool_id("a/p").group(1)]);
    leader.attach(9, report("a/p", 1, &[]));
    assert_eq!(unavailable(&leader), []);
}

#[test]
fn an_old_session_says_nothing_any_more() {
    let mut leader = settled();
    leader.attach(9, report("a/p", 0, &[]));
    leader.observe(0, report("a/p", 0, &[(5, StreamPhase::Active)]));
    assert_eq!(leader.homes("a/p"), []);
    leader.feed(Input::Detached {
        server: server("a/p", 0),
        session: 0,
    });
    let facts = leader.coordinator.server(&server("a/p", 0)).expect("known");
    assert!(facts.attached);
}

#[test]
fn gateways_learn_routes_and_keys_and_how_many_they_are() {
    let mut leader = settled();
    let gateway = |name: &str| Identity::new("ms", Role::Gateway, name).expect("an identity");
    leader.attach(20, ObservedState::starting(gateway("x")));
    assert!(
        leader.sent.iter().all(|(to, _)| *to != gateway("x")),
        "no keys yet"
    );
    leader.feed(Input::Access(Access::default()));
    leader.attach(21, ObservedState::starting(gateway("y")));
    let last = |name: &str| {
        let mut sent = leader.sent.iter().rev();
        match sent
            .find(|(to, _)| *to == gateway(name))
            .map(|(_, state)| &**state)
        {
            Some(DesiredState::Gateway(state)) => state.clone(),
            other => panic!("{other:?}"),
        }
    };
    for name in ["x", "y"] {
        let state = last(name);
        assert_eq!(state.gateways, 2, "{name}");
        assert_eq!(state.routes.len(), 1);
        assert_eq!(state.routes[0].groups.len(), 3);
    }
}

#[test]
fn a_pool_with_streams_keeps_its_groups() {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.feed(Input::Pools(vec![pool("a/p", 1)]));
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert_eq!(told.peers.len(), 3, "there may be shards in the others");
    leader.feed(Input::Pools(vec![pool("a/p", 4)]));
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert_eq!(told.peers.len(), 4);
}

#[test]
fn a_full_pool_takes_no_more_and_its_placement_fits() {
    let mut full = Placement::empty(pool_id("a/p"));
    let region = "r".repeat(64).parse().expect("a region");
    let home = |uid: u32| Home {
        group: uid % 200,
        scope: Scope {
            account: "000000000001".parse().expect("an account"),
            region: Clone::clone(&region),
        },
        name: format!("{uid:0>128}").parse().expect("a name"),
        made: true,
    };
    let uids = 0..u32::try_from(HOMES_MAX).expect("thousands");
    full.homes = uids
        .map(|uid| (StreamUid(u128::MAX - u128::from(uid)), home(uid)))
        .collect();
    let mut leader = Leader::new(u64::MAX, vec![full]);
    let host = "h".repeat(240);
    let mut spec = pool("a/p", 200);
    for seat in &mut spec.seats {
        seat.address = format!("{host}:65535").parse().expect("an address");
    }
    leader.feed(Input::Pools(vec![spec]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.now = SETTLE;
    leader.feed(Input::Tick);
    assert_eq!(leader.phase(1), Phase::Waiting(Wait::PoolFull));
    let placement = leader.persisted.last().expect("under the new term");
    assert_eq!(placement.homes.len(), HOMES_MAX);
    placement.to_json().expect("it fits");
}

#[test]
fn a_placement_reads_back_and_contradictions_are_refused() {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p"), stream(2, "a/p")]));
    let placement = leader.persisted.last().expect("persisted");
    let text = placement.to_json().expect("it fits");
    assert_eq!(Placement::from_json(&text).expect("ours"), *placement);
    let later = text.replacen("\"format\":1", "\"format\":2", 1);
    assert!(Placement::from_json(&later).is_err());
    let mut broken = placement.clone();
    let home = Home {
        group: 9,
        scope: scope(),
        name: "x".parse().expect("a name"),
        made: false,
    };
    broken.homes.insert(StreamUid(3), home);
    let text = broken.to_json().expect("it fits");
    assert!(Placement::from_json(&text).is_err());
}
