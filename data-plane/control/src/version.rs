//! Which of two states is newer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The contract's own version: both sides say it in every message.
///
/// Fields may be added within a version, and each side ignores those that it does not know.
pub const CONTRACT: u32 = 1;

/// Orders placements and desired states: first by the leader's term, then by its counter.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PlacementVersion {
    /// How often the lease has changed hands: the leader's term.
    pub term: u64,
    /// Counts up within the term.
    pub counter: u64,
}

impl PlacementVersion {
    /// The version of a term and a counter.
    #[must_use]
    pub const fn new(term: u64, counter: u64) -> Self {
        Self { term, counter }
    }
}

impl fmt::Display for PlacementVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.counter)
    }
}
