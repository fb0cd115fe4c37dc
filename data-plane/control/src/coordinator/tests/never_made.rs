//! A place that was kept for a stream that nobody wants before it was made.

use super::*;

/// The server of group 0 reports these streams, and that it goes by what it was told.
fn obey(leader: &mut Leader, streams: &[(u128, StreamPhase)]) {
    let goes_by = leader.told(&server("a/p", 0)).map(|told| told.version);
    let mut state = report("a/p", 0, streams);
    state.desired = goes_by;
    leader.observe(0, state);
}

/// A leader that has told group 0 of stream 1, which is wanted no more.
fn unwanted() -> Leader {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    assert_eq!(leader.homes("a/p"), [(1, 0)]);
    leader.feed(Input::Streams(Vec::new()));
    leader
}

#[test]
fn it_is_given_up_once_its_server_knows_and_does_not_have_it() {
    let mut leader = unwanted();
    // a report from before it was told says nothing
    leader.observe(0, report("a/p", 0, &[]));
    assert_eq!(leader.homes("a/p"), [(1, 0)]);
    obey(&mut leader, &[]);
    assert_eq!(leader.homes("a/p"), []);
    assert_eq!(leader.coordinator.orphans(), []);
}

#[test]
fn what_its_server_has_begun_or_made_is_kept() {
    for phase in [StreamPhase::Creating, StreamPhase::Retained] {
        let mut leader = unwanted();
        obey(&mut leader, &[(1, phase)]);
        assert_eq!(leader.homes("a/p"), [(1, 0)], "{phase:?}");
    }
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    obey(&mut leader, &[(1, StreamPhase::Active)]);
    leader.feed(Input::Streams(Vec::new()));
    obey(&mut leader, &[]);
    assert_eq!(leader.homes("a/p"), [(1, 0)], "lost, not never made");
}
