//! What is written down before it is said, under which version, and by whom.

use super::*;

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

#[test]
fn a_placement_holds_no_more_than_a_leader_writes() {
    let mut placement = Placement::empty(pool_id("a/p"));
    let id = pool_id("a/p");
    placement
        .groups
        .insert(GROUPS_MAX - 1, seat(&id, GROUPS_MAX - 1));
    let home = Home {
        group: GROUPS_MAX - 1,
        scope: scope(),
        name: "x".parse().expect("a name"),
        made: true,
    };
    for uid in 0..HOMES_MAX as u128 {
        placement.homes.insert(StreamUid(uid), home.clone());
    }
    let read = |placement: &Placement| {
        let text = placement.to_json().expect("it fits");
        Placement::from_json(&text).map(drop)
    };
    read(&placement).expect("as large as can be");
    let mut more = placement.clone();
    more.homes.insert(StreamUid(u128::MAX), home);
    assert!(matches!(read(&more), Err(PlacementError::TooManyHomes(_))));
    placement.groups.insert(GROUPS_MAX, seat(&id, GROUPS_MAX));
    let refused = read(&placement);
    assert!(matches!(
        refused,
        Err(PlacementError::GroupOutOfRange(GROUPS_MAX))
    ));
}

#[test]
fn a_placement_of_a_pool_that_nobody_made_is_kept_and_not_routed() {
    let mut forged = Placement::empty(pool_id("a/x1"));
    let id = pool_id("a/x1");
    forged.groups.insert(0, seat(&id, 0));
    let home = Home {
        group: 0,
        scope: scope(),
        name: "stream-9".parse().expect("a name"),
        made: true,
    };
    forged.homes.insert(StreamUid(9), home);
    let mut leader = Leader::new(1, vec![forged]);
    leader.feed(Input::Access(Access::default()));
    leader.feed(Input::Streams(Vec::new()));
    leader.feed(Input::Pools(vec![pool("a/p", 1)]));
    leader.attach(1, report("a/p", 0, &[]));
    assert!(
        leader.coordinator.is_settled(),
        "nobody is waited for in it"
    );
    let gateway = Identity::new("ms", Role::Gateway, "x").expect("an identity");
    leader.attach(2, ObservedState::starting(gateway));
    let written: Vec<_> = leader.persisted.iter().map(|p| p.pool.clone()).collect();
    assert_eq!(written, [pool_id("a/p")]);
    let routed = |leader: &Leader| match leader.sent.last().map(|(_, state)| &**state) {
        Some(DesiredState::Gateway(told)) => {
            let pools = told.routes.iter().map(|routes| routes.pool.to_string());
            (pools.collect::<Vec<_>>(), told.pools.clone())
        },
        other => panic!("{other:?}"),
    };
    let both = Some([pool_id("a/p"), id].into());
    assert_eq!(routed(&leader), (vec!["a/p".to_owned()], both.clone()));
    assert_eq!(leader.coordinator.orphans().len(), 1, "it is kept");
    // Its pool is made after all, or again.
    leader.feed(Input::Pools(vec![pool("a/p", 1), pool("a/x1", 1)]));
    let all = vec!["a/p".to_owned(), "a/x1".to_owned()];
    assert_eq!(routed(&leader), (all, both));
}

#[test]
fn a_report_of_a_version_that_the_leader_cannot_have_given_ends_its_session_and_nothing_else() {
    for seen in [
        PlacementVersion::new(2, 1),
        PlacementVersion::new(1 << 60, 0),
        PlacementVersion::new(u64::MAX, u64::MAX),
        PlacementVersion::new(1, COUNTER_AHEAD_MAX + 1_000),
        PlacementVersion::new(1, u64::MAX),
    ] {
        let mut leader = settled();
        let mut state = report("a/p", 0, &[(7, StreamPhase::Active)]);
        state.desired = Some(seen);
        leader.observe(0, state.clone());
        assert_eq!(leader.ended, [(server("a/p", 0), seen)]);
        let facts = leader.coordinator.server(&server("a/p", 0)).expect("known");
        assert!(!facts.attached);
        assert_eq!(leader.homes("a/p"), [], "nothing is learned from it");
        // What it still says in that session is not heard, and it may come again.
        leader.observe(0, state);
        assert_eq!(leader.ended.len(), 1);
        leader.feed(Input::Streams(vec![stream(1, "a/p")]));
        leader.attach(9, report("a/p", 0, &[]));
        assert_eq!(leader.homes("a/p"), [(1, 0)], "the leader goes on");
        let told = leader.told(&server("a/p", 0)).expect("told");
        assert_eq!(told.version.term, 1, "{seen}");
        assert!(told.version.counter < COUNTER_AHEAD_MAX, "{seen}");
    }
}

#[test]
fn a_leader_of_a_term_that_was_given_before_numbers_on() {
    let mut leader = Leader::new(1, Vec::new());
    leader.feed(Input::Pools(vec![pool("a/p", 1)]));
    leader.feed(Input::Streams(Vec::new()));
    let mut state = report("a/p", 0, &[]);
    // told by a former one, before the lease was deleted, and never persisted
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
    assert_eq!(leader.persisted[0].version, PlacementVersion::new(8, 1));
}

#[test]
fn no_counter_that_was_written_is_in_a_leaders_way() {
    let mut forged = Placement::empty(pool_id("a/p"));
    forged.version = PlacementVersion::new(7, u64::MAX);
    let mut leader = Leader::new(7, vec![forged]);
    leader.feed(Input::Pools(vec![pool("a/p", 1), pool("b/q", 1)]));
    let versions: Vec<_> = leader.persisted.iter().map(|p| p.version).collect();
    assert_eq!(
        versions,
        [PlacementVersion::new(8, 1), PlacementVersion::new(8, 2)]
    );
}
