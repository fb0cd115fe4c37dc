//! What a stream left in other groups, where its home has lost the rows that say so.
//!
//! A home that came up on a new volume knows of its streams only what it is told: that they were
//! made. When such a stream is to go with its records, nobody remembers which groups have shards of
//! it, so every group of the pool is asked to remove them. That is safe however the rows got lost:
//! it begins only on the word that the stream's records are to be deleted. It can be done twice,
//! and after an end it begins anew; [`Home`](crate::Home) does it.

use std::collections::{BTreeMap, BTreeSet};

use millstream_storage::ShardStore;
use millstream_types::{GroupId, StreamUid};

use crate::catalogue::Change;
use crate::streams::Streams;

/// The groups that each stream without rows may still have shards in; none is left of one with an
/// empty set.
pub(crate) type Sweeps = BTreeMap<StreamUid, BTreeSet<GroupId>>;

impl<S: ShardStore> Streams<S> {
    /// Begins to remove what a stream, whose records are to be deleted, has in `groups`. Nothing to
    /// do for one that has rows here, or that was removed by them.
    pub fn begin_sweep(&self, stream: StreamUid, groups: BTreeSet<GroupId>) {
        // The registry is held for as long as the watchers are told, as for any change of it.
        let registry = self.inner.registry.write();
        if registry.by_uid(stream).is_some() {
            return;
        }
        let mut sweeps = self.inner.sweeps.lock();
        if sweeps.contains_key(&stream) {
            return;
        }
        tracing::warn!(uid = %stream, groups = groups.len(),
            "the rows of a stream that is to be deleted are lost: every group is asked to remove its shards");
        sweeps.insert(stream, groups);
        drop(sweeps);
        self.inner.feed.tell(Change::Removed(stream));
    }

    /// Whether no group has shards of the stream: it was removed in this life of the process.
    #[must_use]
    pub fn is_swept(&self, stream: StreamUid) -> bool {
        let sweeps = self.inner.sweeps.lock();
        sweeps.get(&stream).is_some_and(BTreeSet::is_empty)
    }

    /// Forgets the streams of which nobody will ask any more.
    pub fn forget_swept(&self, is_asked: impl Fn(StreamUid) -> bool) {
        self.inner.sweeps.lock().retain(|uid, _| is_asked(*uid));
    }

    /// What is still to be asked of which group.
    pub(crate) fn to_sweep(&self) -> Vec<(StreamUid, GroupId)> {
        let sweeps = self.inner.sweeps.lock();
        let each = sweeps
            .iter()
            .flat_map(|(uid, groups)| groups.iter().map(|group| (*uid, group.clone())));
        each.collect()
    }

    /// The group has removed what it had of the stream.
    pub(crate) fn note_swept(&self, stream: StreamUid, group: &GroupId) {
        let registry = self.inner.registry.write();
        let mut sweeps = self.inner.sweeps.lock();
        let Some(groups) = sweeps.get_mut(&stream) else {
            return;
        };
        groups.remove(group);
        let is_over = groups.is_empty();
        drop(sweeps);
        if is_over {
            tracing::info!(uid = %stream, "no group has shards of the stream any more");
            self.inner.feed.tell(Change::Removed(stream));
        }
        drop(registry);
    }

    /// The stream was removed by its rows: nothing is left of it.
    pub(crate) fn note_removed(&self, stream: StreamUid) {
        self.inner.sweeps.lock().insert(stream, BTreeSet::new());
    }
}
