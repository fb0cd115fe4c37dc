//! Remembers what was applied of each pool, so that what has not changed is not applied again.
//!
//! Pure: the caller reads the clock and talks to the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::names::PoolKey;

/// What is applied is applied again after this time, in case somebody changed it.
const RESYNC: Duration = Duration::from_secs(300);
/// What is not seen this long after it was applied was deleted.
const UNSEEN_MAX: Duration = Duration::from_secs(10);

/// What was applied last of each pool.
#[derive(Debug, Default)]
pub struct Applied(BTreeMap<PoolKey, Last>);

#[derive(Debug)]
struct Last {
    wanted: Wanted,
    at: Duration,
    generation: Option<i64>,
}

/// Stands for objects as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted([u8; 32]);

impl Wanted {
    /// Stands for `objects`.
    #[must_use]
    pub fn of(objects: &impl Serialize) -> Self {
        let text = serde_json::to_vec(objects).expect("objects are JSON");
        Self(Sha256::digest(text).into())
    }
}

impl Applied {
    /// Whether the same was applied not long ago. `generation` is that of the pool's set as it is
    /// seen now, where a change of it by somebody else counts too; none, if no set is seen.
    #[must_use]
    pub fn is_fresh(
        &self,
        key: &PoolKey,
        wanted: Wanted,
        generation: Option<i64>,
        now: Duration,
    ) -> bool {
        self.0.get(key).is_some_and(|last| {
            let limit = generation.map_or(UNSEEN_MAX, |_| RESYNC);
            let is_recent = now.saturating_sub(last.at) < limit;
            let is_untouched = generation.is_none() || last.generation == generation;
            last.wanted == wanted && is_recent && is_untouched
        })
    }

    /// It was applied at `now`; the pool's set has this generation since.
    pub fn insert(
        &mut self,
        key: &PoolKey,
        wanted: Wanted,
        generation: Option<i64>,
        now: Duration,
    ) {
        let last = Last {
            wanted,
            at: now,
            generation,
        };
        self.0.insert(key.clone(), last);
    }

    /// The next round applies the pool again.
    pub fn forget(&mut self, key: &PoolKey) {
        self.0.remove(key);
    }

    /// Forgets every pool but these.
    pub fn retain(&mut self, keys: &BTreeSet<PoolKey>) {
        self.0.retain(|key, _| keys.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    #[test]
    fn the_same_is_applied_again_when_it_is_old_or_the_set_was_touched() {
        let key = PoolKey::new("team", "default");
        let (wanted, other) = (Wanted::of(&"a"), Wanted::of(&"b"));
        let mut applied = Applied::default();
        assert!(!applied.is_fresh(&key, wanted, None, NOW));
        applied.insert(&key, wanted, Some(3), NOW);
        assert!(applied.is_fresh(&key, wanted, Some(3), NOW));
        assert!(applied.is_fresh(&key, wanted, None, NOW), "not seen yet");
        let later = NOW + UNSEEN_MAX;
        assert!(!applied.is_fresh(&key, wanted, None, later), "deleted");
        assert!(applied.is_fresh(&key, wanted, Some(3), later));
        assert!(!applied.is_fresh(&key, wanted, Some(4), NOW), "touched");
        assert!(!applied.is_fresh(&key, other, Some(3), NOW), "changed");
        assert!(!applied.is_fresh(&key, wanted, Some(3), NOW + RESYNC));
        applied.retain(&BTreeSet::from([key.clone()]));
        assert!(applied.is_fresh(&key, wanted, Some(3), NOW));
        applied.forget(&key);
        assert!(!applied.is_fresh(&key, wanted, Some(3), NOW));
    }
}
