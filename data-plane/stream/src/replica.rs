//! A copy of the streams of many groups, for a gateway: it knows what there is, and holds nothing.
//!
//! Every group tells of the streams that are at home there. A stream keeps its counters from one
//! state to the next. Where two streams have one name (one is being removed while the next is
//! made), the one that is not being removed counts, and of two such the younger.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_clock::{Clock, Entropy};
use millstream_storage::ShardLog;
use millstream_types::{Epoch, GroupId, StreamUid};

use crate::registry::Registry;
use crate::shard::{Shard, ShardMap};
use crate::stream::{Status, Stream};
use crate::streams::{Options, Streams};
use crate::token::TokenKey;

/// What a group told.
#[derive(Clone, Debug)]
pub enum News {
    /// All streams that are at home there.
    All(Vec<Stream>),
    /// A stream is new or has changed.
    Put(Box<Stream>),
    /// A stream is no more.
    Removed(StreamUid),
}

/// The streams of each group.
#[derive(Default)]
pub(crate) struct Replica {
    groups: BTreeMap<GroupId, Known>,
}

#[derive(Default)]
struct Known {
    epoch: Epoch,
    streams: BTreeMap<StreamUid, Arc<Stream>>,
}

impl<S: ShardLog> Streams<S> {
    /// A copy that knows of no stream yet. Records are put to and read from `log`.
    #[must_use]
    pub fn replica(
        log: Arc<S>,
        options: Options,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        key: &TokenKey,
    ) -> Self {
        Self::new(log, options, clock, entropy, key, Registry::default())
    }

    /// Takes what a group told. What comes from an earlier life of the group is refused: false.
    pub fn learn(&self, group: &GroupId, epoch: Epoch, news: News) -> bool {
        let mut replica = self.inner.replica.lock();
        let known = replica.groups.entry(group.clone()).or_default();
        if epoch < known.epoch {
            return false;
        }
        known.epoch = epoch;
        match news {
            News::All(streams) => {
                let mut before = std::mem::take(&mut known.streams);
                for stream in streams {
                    let before = before.remove(&stream.uid);
                    let stream = Arc::new(continued(stream, before.as_deref()));
                    known.streams.insert(stream.uid, stream);
                }
            },
            News::Put(stream) => {
                let before = known.streams.remove(&stream.uid);
                let stream = Arc::new(continued(*stream, before.as_deref()));
                known.streams.insert(stream.uid, stream);
            },
            News::Removed(uid) => {
                known.streams.remove(&uid);
            },
        }
        self.show(&replica);
        true
    }

    /// The streams that the group told of.
    #[must_use]
    pub fn at_home(&self, group: &GroupId) -> Vec<StreamUid> {
        let replica = self.inner.replica.lock();
        let known = replica.groups.get(group);
        known.map_or_else(Vec::new, |known| known.streams.keys().copied().collect())
    }

    fn show(&self, replica: &Replica) {
        let mut registry = self.inner.registry.write();
        *registry = replica.registry();
        self.inner.feed.tell_all();
    }

    /// Forgets a group that is no more, with its streams.
    pub fn forget(&self, group: &GroupId) {
        let mut replica = self.inner.replica.lock();
        replica.groups.remove(group);
        self.show(&replica);
    }
}

impl Replica {
    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        for stream in self
            .groups
            .values()
            .flat_map(|known| known.streams.values())
        {
            let rival = registry.get(&stream.scope, &stream.name);
            if rival.is_none_or(|rival| rank(&rival) < rank(stream)) {
                registry.put(Arc::clone(stream));
            }
        }
        registry
    }
}

fn rank(stream: &Stream) -> (bool, u64, StreamUid) {
    let stays = stream.status != Status::Deleting;
    (stays, stream.created.0, stream.uid)
}

/// The stream with the counters of its state before.
fn continued(mut stream: Stream, before: Option<&Stream>) -> Stream {
    let Some(before) = before else {
        return stream;
    };
    stream.counters = Arc::clone(&before.counters);
    let place = |shard: &Shard| (shard.uid, shard.id, shard.group.clone());
    let (new, old) = (stream.map.shards(), before.map.shards());
    if new.iter().map(place).eq(old.iter().map(place)) {
        stream.map = Arc::clone(&before.map);
        return stream;
    }
    let shards = new.iter().map(|shard| {
        let same = before.map.get(shard.id).filter(|old| old.uid == shard.uid);
        let counters = same.map_or(&shard.counters, |old| &old.counters);
        Shard {
            counters: Arc::clone(counters),
            ..shard.clone()
        }
    });
    let map = ShardMap::new(shards.collect());
    stream.map = Arc::new(map.expect("the shards of a map make a map"));
    stream
}
