//! When a pool goes.
//!
//! Never by itself: its volumes may hold records that somebody wants back, and an empty pool costs
//! its smallest size. An administrator annotates the StatefulSet with
//! `millstream.dev/delete-pool: "true"`; while streams or retained records are in the pool it
//! stays, and an Event says what is in the way. `with-retained-records` gives up the records too.
//! What becomes of the volumes is the class's `storage.whenDeleted`.

use std::collections::BTreeMap;

use crate::names::ANNOTATION_DELETE_POOL;

/// The value that deletes a pool with nothing in it.
pub const DELETE: &str = "true";
/// The value that deletes a pool with retained records in it.
pub const DELETE_WITH_RECORDS: &str = "with-retained-records";

/// Whether the pool goes with the records that are retained in it: they are deleted first.
#[must_use]
pub fn gives_up(annotations: Option<&BTreeMap<String, String>>) -> bool {
    let asked = annotations.and_then(|all| all.get(ANNOTATION_DELETE_POOL));
    asked.is_some_and(|value| value == DELETE_WITH_RECORDS)
}

/// Whether a pool goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody asked.
    Keep,
    /// Objects of streams name the pool.
    StreamsInTheWay(usize),
    /// Retained streams are in the pool.
    RecordsInTheWay(usize),
    /// It goes.
    Delete,
}

/// The verdict over a pool with these annotations on its StatefulSet, named by `streams` objects
/// and holding `retained` streams that no object stands for.
#[must_use]
pub fn verdict(
    annotations: Option<&BTreeMap<String, String>>,
    streams: usize,
    retained: usize,
) -> Verdict {
    let asked = annotations.and_then(|all| all.get(ANNOTATION_DELETE_POOL));
    if !matches!(
        asked.map(String::as_str),
        Some(DELETE | DELETE_WITH_RECORDS)
    ) {
        return Verdict::Keep;
    }
    if streams > 0 {
        return Verdict::StreamsInTheWay(streams);
    }
    if retained > 0 {
        return Verdict::RecordsInTheWay(retained);
    }
    Verdict::Delete
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_goes_only_when_it_is_asked_and_empty() {
        let asked =
            |value: &str| BTreeMap::from([(ANNOTATION_DELETE_POOL.to_owned(), value.to_owned())]);
        for (annotations, streams, retained, want) in [
            (None, 0, 0, Verdict::Keep),
            (Some(asked("yes")), 0, 0, Verdict::Keep),
            (Some(asked(DELETE)), 0, 0, Verdict::Delete),
            (Some(asked(DELETE)), 2, 1, Verdict::StreamsInTheWay(2)),
            (Some(asked(DELETE)), 0, 1, Verdict::RecordsInTheWay(1)),
            // the plan has them deleted, and then nothing is in the way
            (
                Some(asked(DELETE_WITH_RECORDS)),
                0,
                1,
                Verdict::RecordsInTheWay(1),
            ),
            (Some(asked(DELETE_WITH_RECORDS)), 0, 0, Verdict::Delete),
            (
                Some(asked(DELETE_WITH_RECORDS)),
                1,
                0,
                Verdict::StreamsInTheWay(1),
            ),
        ] {
            assert_eq!(
                verdict(annotations.as_ref(), streams, retained),
                want,
                "{annotations:?}"
            );
        }
        assert!(gives_up(Some(&asked(DELETE_WITH_RECORDS))));
        assert!(!gives_up(Some(&asked(DELETE))));
    }
}
