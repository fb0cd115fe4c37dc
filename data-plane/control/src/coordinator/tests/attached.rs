//! The servers that are attached: sessions, availability, what gateways hear and have seen.

use millstream_types::Epoch;

use super::*;
use crate::observed::CataloguePoint;

fn gateway(name: &str) -> Identity {
    Identity::new("ms", Role::Gateway, name).expect("an identity")
}

/// A gateway that has followed the catalogue of group 0 this far.
fn follows(name: &str, at: Option<(u64, u64)>) -> ObservedState {
    let mut state = ObservedState::starting(gateway(name));
    state.health.ready = true;
    let group = pool_id("a/p").group(0);
    state.catalogues = Some(at.map(|at| (group, point(at))).into_iter().collect());
    state
}

const fn point((epoch, changes): (u64, u64)) -> CataloguePoint {
    CataloguePoint {
        epoch: Epoch(epoch),
        changes,
    }
}

/// The home of stream 1, with its catalogue at this point.
fn home_at(at: (u64, u64), streams: &[(u128, StreamPhase)]) -> ObservedState {
    let mut state = report("a/p", 0, streams);
    state.catalogue = Some(point(at));
    state
}

/// A leader with stream 1 at home in group 0, active from change 7 of its writer's third life on.
fn active() -> Leader {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.observe(0, home_at((3, 4), &[(1, StreamPhase::Creating)]));
    leader.observe(0, home_at((3, 7), &[(1, StreamPhase::Active)]));
    leader
}

fn behind(leader: &Leader) -> Vec<Identity> {
    let facts = leader.coordinator.stream(StreamUid(1), leader.now);
    facts.gateways_behind
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
fn a_leader_that_does_not_know_of_every_pool_does_not_say_which_there_are() {
    let mut leader = Leader::new(1, Vec::new());
    leader.coordinator = Coordinator::new(1, Vec::new(), Duration::ZERO).knowing_some_pools();
    leader.feed(Input::Pools(vec![pool("a/p", 1)]));
    leader.feed(Input::Streams(Vec::new()));
    leader.feed(Input::Access(Access::default()));
    leader.attach(20, ObservedState::starting(gateway("x")));
    let last = leader.sent.last().map(|(_, state)| &**state);
    let Some(DesiredState::Gateway(told)) = last else {
        panic!("{last:?}");
    };
    assert_eq!((told.routes.len(), &told.pools), (1, &None));
}

#[test]
fn gateways_learn_what_is_served_and_of_every_pool() {
    let mut before = active();
    before.feed(Input::Streams(vec![stream(1, "a/p"), stream(2, "a/p")]));
    before.feed(Input::Access(Access::default()));
    before.attach(20, ObservedState::starting(gateway("x")));
    let last = |leader: &Leader| {
        let mut sent = leader.sent.iter().rev();
        match sent
            .find(|(to, _)| *to == gateway("x"))
            .map(|(_, state)| &**state)
        {
            Some(DesiredState::Gateway(state)) => state.clone(),
            other => panic!("{other:?}"),
        }
    };
    let names = |leader: &Leader| -> Vec<String> {
        let streams = last(leader).routes.remove(0).streams;
        let names = streams.into_iter().flat_map(|streams| streams.names);
        names.map(|name| name.to_string()).collect()
    };
    assert_eq!(names(&before), ["stream-1"], "the other is not made yet");
    let pools = Some([pool_id("a/p")].into());
    assert_eq!(last(&before).pools, pools);
    let mut gone = stream(1, "a/p");
    gone.delete = true;
    before.feed(Input::Streams(vec![gone]));
    assert_eq!(names(&before), [""; 0], "it is to go");

    // A leader that cannot write the placement down has no routes to tell, and the pool is there.
    let found = before.persisted.last().cloned();
    let mut coordinator = Coordinator::new(2, found.into_iter().collect(), Duration::ZERO);
    let session = 20;
    let mut told = Vec::new();
    for input in [
        Input::Pools(vec![pool("a/p", 3)]),
        Input::Streams(vec![stream(1, "a/p")]),
        Input::Access(Access::default()),
        Input::Attached {
            server: gateway("x"),
            session,
        },
        Input::Observed {
            session,
            state: Arc::new(ObservedState::starting(gateway("x"))),
        },
    ] {
        told.extend(coordinator.handle(Duration::ZERO, input));
    }
    let state = told.into_iter().find_map(|effect| match effect {
        Effect::Send { state, .. } => Some(state),
        _ => None,
    });
    match state.as_deref() {
        Some(DesiredState::Gateway(state)) => {
            assert_eq!((state.routes.len(), &state.pools), (0, &pools));
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gateway_is_behind_until_it_has_followed_the_home_to_where_the_stream_was_made() {
    let mut leader = active();
    assert_eq!(behind(&leader), [], "nobody is waited for");
    leader.attach(20, follows("x", None));
    leader.attach(21, follows("y", Some((3, 6))));
    assert_eq!(behind(&leader), [gateway("x"), gateway("y")]);
    leader.observe(21, follows("y", Some((3, 7))));
    assert_eq!(behind(&leader), [gateway("x")]);
    leader.observe(20, follows("x", Some((4, 0))));
    assert_eq!(behind(&leader), [], "a later life of the home tells all");
}

#[test]
fn a_gateway_that_is_away_or_not_ready_or_of_an_earlier_release_holds_nothing_up() {
    let mut leader = active();
    leader.attach(20, follows("x", Some((3, 1))));
    assert_eq!(behind(&leader), [gateway("x")]);
    let mut draining = follows("x", Some((3, 1)));
    draining.health.ready = false;
    leader.observe(20, draining);
    assert_eq!(behind(&leader), []);
    leader.observe(20, follows("x", Some((3, 1))));
    assert_eq!(behind(&leader), [gateway("x")]);
    leader.feed(Input::Detached {
        server: gateway("x"),
        session: 20,
    });
    assert_eq!(behind(&leader), []);
    let mut earlier = follows("y", None);
    earlier.catalogues = None;
    leader.attach(21, earlier);
    assert_eq!(behind(&leader), []);
}

#[test]
fn other_streams_and_restarts_of_the_home_do_not_send_a_gateway_back() {
    let mut leader = active();
    leader.attach(20, follows("x", Some((3, 7))));
    let both = [(1, StreamPhase::Active), (2, StreamPhase::Active)];
    leader.observe(0, home_at((3, 9), &both));
    assert_eq!(behind(&leader), [], "stream 1 is as it was");
    let other = leader.coordinator.stream(StreamUid(2), leader.now);
    assert_eq!(other.gateways_behind, [gateway("x")]);
    leader.attach(0, home_at((4, 0), &both));
    assert_eq!(behind(&leader), [], "a new life, the same stream");
    let mut changed = home_at((4, 1), &both);
    changed.streams[0].version = Version(2);
    leader.observe(0, changed);
    assert_eq!(behind(&leader), [gateway("x")]);
    leader.observe(20, follows("x", Some((4, 1))));
    assert_eq!(behind(&leader), []);
}

#[test]
fn a_home_that_does_not_say_how_far_its_catalogue_is_makes_nobody_wait() {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Active)]));
    leader.attach(20, follows("x", None));
    assert_eq!(behind(&leader), []);
}
