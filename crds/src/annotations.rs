//! The annotations that people set on our objects to steer the operator.
//!
//! An annotation says what to do now; what a stream should be is in its spec. Values are words,
//! compared exactly: anything else counts as not set.

use std::collections::BTreeMap;

/// `true`: the operator leaves the object and what it made for it alone until it is removed.
pub const PAUSE: &str = "millstream.dev/pause";
/// `true`: the operator restarts the pods that hold the stream, one at a time, and then removes it.
pub const ROLLING_RESTART: &str = "millstream.dev/rolling-restart";
/// `allow`: DeleteStream may delete the object although a manifest's manager owns its spec.
pub const API_DELETE: &str = "millstream.dev/api-delete";
/// Ids of streams, with commas: start with an empty stream although records of these are retained, or
/// may be. It says nothing of any other stream, so it does no harm when it stays.
pub const START_EMPTY: &str = "millstream.dev/start-empty";

/// The value that turns [`PAUSE`] and [`ROLLING_RESTART`] on.
pub const TRUE: &str = "true";
/// The value that turns [`API_DELETE`] on.
pub const ALLOW: &str = "allow";

/// Every annotation with the value that turns it on and what it does, for the reference page.
pub const ALL: [(&str, &str, &str); 4] = [
    (
        PAUSE,
        TRUE,
        "the operator leaves the object and what it made for it alone",
    ),
    (
        ROLLING_RESTART,
        TRUE,
        "the operator restarts the pods that hold the stream, one at a time",
    ),
    (
        API_DELETE,
        ALLOW,
        "DeleteStream may delete the object although a manifest made it",
    ),
    (
        START_EMPTY,
        "<stream id>[,<stream id>...]",
        "start empty although records of these streams are retained, or may be; they stay where they are",
    ),
];

/// Whether the annotation `name` has the value that turns it on.
#[must_use]
pub fn is_on(annotations: &BTreeMap<String, String>, name: &str) -> bool {
    let value = annotations.get(name).map(String::as_str);
    ALL.iter()
        .any(|(known, on, _)| *known == name && value == Some(on))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_word_turns_an_annotation_on() {
        let with = |value: &str| BTreeMap::from([(API_DELETE.to_owned(), value.to_owned())]);
        assert!(is_on(&with("allow"), API_DELETE));
        assert!(!is_on(&with("true"), API_DELETE));
        assert!(!is_on(&with("Allow"), API_DELETE));
        assert!(!is_on(&with("allow"), PAUSE));
        assert!(!is_on(&BTreeMap::new(), API_DELETE));
    }
}
