//! The life of a stream: made, deleted, retained, taken back.

use millstream_types::Epoch;

use super::*;

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
fn a_server_that_removes_once_more_what_is_gone_gives_it_no_home() {
    for is_let_go in [false, true] {
        let mut leader = settled();
        leader.feed(Input::Streams(vec![stream(1, "a/p")]));
        leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Active)]));
        let mut gone = stream(1, "a/p");
        gone.delete = true;
        leader.feed(Input::Streams(vec![gone]));
        leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Gone)]));
        if is_let_go {
            leader.feed(Input::Streams(Vec::new()));
        }
        // A new life on another volume, by the state that the pod has kept.
        leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Deleting)]));
        assert_eq!(leader.homes("a/p"), [], "{is_let_go}");
        leader.feed(Input::Streams(Vec::new()));
        leader.observe(0, report("a/p", 0, &[]));
        assert_eq!(leader.homes("a/p"), [], "{is_let_go}");
    }
}

#[test]
fn a_process_that_was_outlived_gives_a_stream_that_is_gone_no_home() {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    let of_life = |life: u64, streams: &[(u128, StreamPhase)]| ObservedState {
        epoch: Epoch(life),
        ..report("a/p", 0, streams)
    };
    leader.observe(0, of_life(7, &[(1, StreamPhase::Active)]));
    // The pod goes on elsewhere; the stream is removed there.
    leader.attach(8, of_life(8, &[(1, StreamPhase::Active)]));
    let mut gone = stream(1, "a/p");
    gone.delete = true;
    leader.feed(Input::Streams(vec![gone]));
    leader.observe(8, of_life(8, &[(1, StreamPhase::Gone)]));
    leader.feed(Input::Streams(Vec::new()));
    assert_eq!(leader.homes("a/p"), []);
    // The former process is heard of again.
    leader.attach(9, of_life(7, &[(1, StreamPhase::Active)]));
    assert_eq!(leader.homes("a/p"), [], "it knows nothing of the end");
    leader.attach(10, of_life(8, &[]));
    assert_eq!(leader.homes("a/p"), []);
    // What begins after it has no life yet, and then a later one.
    leader.attach(11, ObservedState::starting(server("a/p", 0)));
    leader.observe(11, of_life(9, &[(2, StreamPhase::Retained)]));
    assert_eq!(leader.homes("a/p"), [(2, 0)]);
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
fn an_id_means_nothing_in_another_namespace() {
    let mut leader = settled();
    leader.feed(Input::Pools(vec![pool("a/p", 3), pool("b/q", 1)]));
    leader.attach(9, report("b/q", 0, &[]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Active)]));
    // Somebody in b has an object with that id, and wants it gone.
    let mut theirs = stream(1, "b/q");
    theirs.delete = true;
    leader.feed(Input::Streams(vec![theirs]));
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert_eq!(told.streams[0].wanted, Wanted::Retain);
    assert_eq!(leader.phase(1), Phase::Gone, "it never was in b");
    assert_eq!(
        leader.coordinator.orphans().len(),
        1,
        "it is still there in a"
    );
    // Nor does a server of b get it by saying that it has it.
    leader.observe(9, report("b/q", 0, &[(1, StreamPhase::Active)]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.observe(9, report("b/q", 0, &[(1, StreamPhase::Active)]));
    assert_eq!(leader.homes("b/q"), []);
    assert_eq!(leader.homes("a/p"), [(1, 0)]);
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert_eq!(told.streams[0].wanted, Wanted::Serve);
    // Nor does it keep its owner's from being gone.
    let mut ours = stream(1, "a/p");
    ours.delete = true;
    leader.feed(Input::Streams(vec![ours]));
    leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Gone)]));
    assert_eq!(leader.phase(1), Phase::Gone);
}

#[test]
fn nobody_knows_how_many_shards_a_lost_stream_had() {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.observe(0, report("a/p", 0, &[(1, StreamPhase::Active)]));
    let count = |leader: &Leader| {
        leader
            .coordinator
            .stream(StreamUid(1), leader.now)
            .shard_count
    };
    assert_eq!(count(&leader), Some(2));
    let mut lost = report("a/p", 0, &[(1, StreamPhase::Lost)]);
    lost.streams[0].shard_count = 0;
    leader.observe(0, lost);
    // None, not zero: a specification must not be refused for asking for more.
    assert_eq!(count(&leader), None);
}

#[test]
fn a_stream_whose_guests_are_lost_keeps_its_home() {
    let mut leader = Leader::new(4, Vec::new());
    leader.feed(Input::Pools(vec![pool("a/p", 2)]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.attach(1, report("a/p", 0, &[]));
    // Its placement is lost, too: the rows of its home still say where it is.
    leader.attach(2, report("a/p", 1, &[(1, StreamPhase::Damaged)]));
    assert_eq!(leader.homes("a/p"), [(1, 1)]);
    assert_eq!(leader.phase(1), Phase::Lost);
    let told = leader.told(&server("a/p", 1)).expect("told");
    assert!(told.streams[0].made);
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
