//! A copy of the streams of many groups, for a gateway: it knows what there is, and holds nothing.
//!
//! Every group tells of the streams that are at home there. A stream keeps its counters from one
//! state to the next. Where two streams have one name (one is being removed while the next is
//! made), the one that is not being removed counts, and of two such the younger.
//!
//! Who may see what is said by [`Tenants`]: a group tells of a stream under the account that its
//! namespace had when the stream was made, and only as long as that is so it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use millstream_clock::{Clock, Entropy};
use millstream_storage::ShardLog;
use millstream_types::{AccountId, Epoch, GroupId, Scope, StreamName, StreamUid};

use crate::list::Listed;
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

/// Whose streams a copy shows, and of which it should have been told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenants {
    /// The account that each namespace has now. A stream under another one is shown to nobody.
    pub accounts: BTreeMap<String, AccountId>,
    /// The streams that are to be served. One that no home has told of is not known here, which is
    /// not to be taken for absent.
    pub served: BTreeMap<Scope, BTreeSet<StreamName>>,
}

/// The streams of each group.
#[derive(Default)]
pub(crate) struct Replica {
    groups: BTreeMap<GroupId, Known>,
    /// None: every stream is shown that a group tells of.
    tenants: Option<Tenants>,
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

    /// Shows from now on what the tenants may see.
    pub fn admit(&self, tenants: Tenants) {
        let mut replica = self.inner.replica.lock();
        if replica.tenants.as_ref() != Some(&tenants) {
            replica.tenants = Some(tenants);
            self.show(&replica);
        }
    }

    /// Whether a stream of this name is to be served here, told of or not.
    pub(crate) fn is_to_be_served(&self, scope: &Scope, name: &StreamName) -> bool {
        let replica = self.inner.replica.lock();
        let tenants = replica.tenants.as_ref();
        let served = tenants.and_then(|tenants| tenants.served.get(scope));
        served.is_some_and(|names| names.contains(name))
    }

    /// At most `limit` streams of the scope whose name is above `after`, by name: those that are
    /// known, and those that are to be served.
    pub(crate) fn listed(
        &self,
        scope: &Scope,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Vec<Listed> {
        // While it is held, nothing that a home tells moves a stream from one of them to the other.
        let replica = self.inner.replica.lock();
        let registry = self.inner.registry.read();
        let known = registry.after(scope, after, limit).into_iter();
        let mut listed: Vec<Listed> = known.map(Listed::Known).collect();
        let tenants = replica.tenants.as_ref();
        if let Some(names) = tenants.and_then(|tenants| tenants.served.get(scope)) {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let names = names.range::<StreamName, _>((from, Bound::Unbounded));
            let untold = names.filter(|name| registry.get(scope, name).is_none());
            listed.extend(untold.take(limit).cloned().map(Listed::Untold));
            listed.sort_by(|a, b| a.name().cmp(b.name()));
            listed.truncate(limit);
        }
        listed
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
    /// The streams of a group that may be seen: those of the account that its namespace has now.
    fn shown<'a>(
        &'a self,
        (group, known): (&GroupId, &'a Known),
    ) -> impl Iterator<Item = &'a Arc<Stream>> + use<'a> {
        let all = self.tenants.is_none();
        let tenants = self.tenants.as_ref();
        let account = tenants.and_then(|tenants| tenants.accounts.get(group.namespace()));
        let streams = known.streams.values();
        streams.filter(move |stream| all || account == Some(&stream.scope.account))
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        for stream in self.groups.iter().flat_map(|told| self.shown(told)) {
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
