//! Which pools have a stream at home, by stream: so that nobody looks through all pools for one.

use std::collections::BTreeMap;

use millstream_types::StreamUid;

use crate::placement::PoolId;

/// The namespaces of each stream's homes, one entry for each home. Nearly always it is one.
#[derive(Debug, Default)]
pub(super) struct Whereabouts(BTreeMap<StreamUid, Vec<Box<str>>>);

impl Whereabouts {
    /// The pool has the stream at home now.
    pub(super) fn add(&mut self, stream: StreamUid, pool: &PoolId) {
        let namespaces = self.0.entry(stream).or_default();
        namespaces.push(pool.namespace().into());
    }

    /// The pool has it no more.
    pub(super) fn remove(&mut self, stream: StreamUid, pool: &PoolId) {
        let Some(namespaces) = self.0.get_mut(&stream) else {
            return;
        };
        let place = namespaces.iter().position(|n| **n == *pool.namespace());
        if let Some(place) = place {
            drop(namespaces.swap_remove(place));
        }
        if namespaces.is_empty() {
            self.0.remove(&stream);
        }
    }

    /// Whether a pool of another namespace has it.
    pub(super) fn is_elsewhere(&self, stream: StreamUid, namespace: &str) -> bool {
        let namespaces = self.0.get(&stream);
        namespaces.is_some_and(|all| all.iter().any(|n| **n != *namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_home_counts_until_it_is_removed() {
        let pool = |text: &str| text.parse::<PoolId>().expect("a pool");
        let (ours, theirs, further) = (pool("a/p"), pool("b/p"), pool("b/q"));
        let stream = StreamUid(7);
        let mut known = Whereabouts::default();
        assert!(!known.is_elsewhere(stream, "a"));
        known.add(stream, &ours);
        assert!(!known.is_elsewhere(stream, "a"));
        assert!(known.is_elsewhere(stream, "b"));
        known.add(stream, &theirs);
        known.add(stream, &further);
        known.remove(stream, &theirs);
        assert!(known.is_elsewhere(stream, "a"));
        known.remove(stream, &further);
        assert!(!known.is_elsewhere(stream, "a"));
        known.remove(stream, &ours);
        known.remove(stream, &ours);
        assert!(!known.is_elsewhere(stream, "b"));
    }
}
