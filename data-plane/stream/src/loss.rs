//! Shards that a stream had in other groups, and that are not there any more.
//!
//! A group that came up on a new volume has none of the shards that it was asked to hold. They are
//! never made again: clients would meet empty ones in silence, and counters that begin anew. Its
//! home keeps in memory what is lost, for whoever reports it; [`Home`](crate::Home) asks again in
//! each life of the group, so that a volume that is brought back ends the loss.

use std::collections::BTreeMap;

use millstream_types::{GroupId, ShardId, ShardUid, StreamUid};

use crate::stream::Stream;
use crate::streams::Streams;

/// What is lost of each stream, by group; no entry without a shard.
pub(crate) type Losses = BTreeMap<StreamUid, BTreeMap<GroupId, Vec<ShardId>>>;

impl<S> Streams<S> {
    /// The shards of a stream that are lost, by the group that should have them.
    #[must_use]
    pub fn lost(&self, stream: StreamUid) -> BTreeMap<GroupId, Vec<ShardId>> {
        let losses = self.inner.losses.lock();
        losses.get(&stream).cloned().unwrap_or_default()
    }

    /// Notes which shards of the stream the group has lost: none, most of the time.
    pub(crate) fn note_lost(&self, stream: &Stream, group: &GroupId, lost: &[ShardUid]) {
        let shards = stream.map().shards().iter();
        let shards = shards.filter(|shard| lost.contains(&shard.uid));
        let lost: Vec<ShardId> = shards.map(|shard| shard.id).collect();
        let mut losses = self.inner.losses.lock();
        let groups = losses.entry(stream.uid()).or_default();
        let before = groups.remove(group).unwrap_or_default();
        if lost != before {
            let (stream, shards) = (stream.name(), lost.len());
            if lost.is_empty() {
                tracing::info!(%stream, %group, "the group has the shards again that it had lost");
            } else {
                tracing::error!(%stream, %group, shards,
                    "the group has lost shards of the stream; they are not made again");
            }
        }
        if !lost.is_empty() {
            groups.insert(group.clone(), lost);
        }
        if groups.is_empty() {
            losses.remove(&stream.uid());
        }
    }

    /// Forgets what was lost of streams that are no more.
    pub(crate) fn forget_losses(&self, is_there: impl Fn(StreamUid) -> bool) {
        self.inner.losses.lock().retain(|uid, _| is_there(*uid));
    }
}
