//! A stream whose object cannot be used is left as its home has it.

use super::*;

/// `stream(1)` without a word on how it should be.
fn unsaid() -> WantedStream {
    WantedStream {
        spec: None,
        version: Version(0),
        ..stream(1, "a/p")
    }
}

#[test]
fn it_is_served_under_the_name_that_its_home_has() {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.feed(Input::Streams(vec![unsaid()]));
    let told = leader.told(&server("a/p", 0)).expect("told");
    let stream = &told.streams[0];
    assert_eq!(stream.wanted, Wanted::Serve);
    assert_eq!(stream.name.as_str(), "stream-1");
    assert_eq!(stream.spec, None);
}

#[test]
fn it_is_not_placed() {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![unsaid()]));
    assert_eq!(leader.homes("a/p"), []);
}
