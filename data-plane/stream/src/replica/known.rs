//! What the groups told, and which of it may be seen. Pure: what is to be shown instead is answered,
//! and the caller shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_types::{Epoch, GroupId, Scope, StreamName, StreamUid};

use super::names::Names;
use super::{News, Tenants};
use crate::shard::{Shard, ShardMap};
use crate::stream::Stream;

/// The names under which another stream, or none, may have to be shown.
pub(super) type Touched = BTreeSet<(Scope, StreamName)>;

/// The streams of each group.
#[derive(Default)]
pub(crate) struct Replica {
    groups: BTreeMap<GroupId, Known>,
    /// Those of them that may be seen.
    names: Names,
    /// None: every stream may be seen that a group tells of.
    tenants: Option<Arc<Tenants>>,
}

#[derive(Default)]
struct Known {
    epoch: Epoch,
    streams: BTreeMap<StreamUid, Arc<Stream>>,
}

impl Replica {
    /// Takes what a group told; none when it is of an earlier life of the group. The work is that
    /// of the streams that are told of.
    pub(super) fn learn(&mut self, group: &GroupId, epoch: Epoch, news: News) -> Option<Touched> {
        let known = self.groups.entry(group.clone()).or_default();
        if epoch < known.epoch {
            return None;
        }
        known.epoch = epoch;
        let mut touched = Touched::new();
        match news {
            News::All(streams) => {
                let told: BTreeSet<StreamUid> = streams.iter().map(|stream| stream.uid).collect();
                let there = known.streams.keys().copied();
                let gone: Vec<StreamUid> = there.filter(|uid| !told.contains(uid)).collect();
                for uid in gone {
                    self.remove(group, uid, &mut touched);
                }
                for stream in streams {
                    self.put(group, stream, &mut touched);
                }
            },
            News::Put(stream) => self.put(group, *stream, &mut touched),
            News::Removed(uid) => self.remove(group, uid, &mut touched),
        }
        Some(touched)
    }

    /// Forgets a group with its streams.
    pub(super) fn forget(&mut self, group: &GroupId) -> Touched {
        let mut touched = Touched::new();
        for uid in self.at_home(group) {
            self.remove(group, uid, &mut touched);
        }
        self.groups.remove(group);
        touched
    }

    /// Takes over who may see what. All streams are looked at where an account has changed.
    pub(super) fn admit(&mut self, tenants: Arc<Tenants>) -> Admitted {
        let before = self.tenants.replace(tenants);
        let (before, after) = (before.as_deref(), self.tenants.as_deref());
        if before == after {
            return Admitted::Same;
        }
        if before.map(|tenants| &tenants.accounts) == after.map(|tenants| &tenants.accounts) {
            return Admitted::Served;
        }
        self.names = self.names_of_all();
        Admitted::Accounts
    }

    /// The streams that the group told of.
    pub(super) fn at_home(&self, group: &GroupId) -> Vec<StreamUid> {
        let known = self.groups.get(group);
        known.map_or_else(Vec::new, |known| known.streams.keys().copied().collect())
    }

    /// The stream that is to be shown under this name.
    pub(super) fn shown(&self, scope: &Scope, name: &StreamName) -> Option<&Arc<Stream>> {
        work::note();
        self.names.get(scope, name)
    }

    /// Every stream that is to be shown.
    pub(super) fn all_shown(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.names.all().inspect(|_| work::note())
    }

    /// The index of all streams, made anew.
    pub(super) fn names_of_all(&self) -> Names {
        let mut names = Names::default();
        for (group, known) in &self.groups {
            for stream in known.streams.values() {
                if self.may_be_seen(group, stream) {
                    names.put(group, Arc::clone(stream));
                }
            }
        }
        names
    }

    fn put(&mut self, group: &GroupId, stream: Stream, touched: &mut Touched) {
        let Some(known) = self.groups.get_mut(group) else {
            return;
        };
        let before = known.streams.get(&stream.uid).cloned();
        let stream = Arc::new(continued(stream, before.as_deref()));
        if before.as_deref().is_some_and(|it| is_same(it, &stream)) {
            work::note();
            return;
        }
        known.streams.insert(stream.uid, Arc::clone(&stream));
        if let Some(before) = before {
            self.hide(group, &before, touched);
        }
        if self.may_be_seen(group, &stream) {
            touched.insert((stream.scope.clone(), stream.name.clone()));
            self.names.put(group, stream);
        }
    }

    fn remove(&mut self, group: &GroupId, uid: StreamUid, touched: &mut Touched) {
        let known = self.groups.get_mut(group);
        if let Some(before) = known.and_then(|known| known.streams.remove(&uid)) {
            self.hide(group, &before, touched);
        }
    }

    fn hide(&mut self, group: &GroupId, stream: &Stream, touched: &mut Touched) {
        if self.may_be_seen(group, stream) {
            self.names.remove(group, stream);
            touched.insert((stream.scope.clone(), stream.name.clone()));
        }
    }

    /// Whether it is of the account that the group's namespace has now, and one that is shown.
    fn may_be_seen(&self, group: &GroupId, stream: &Stream) -> bool {
        work::note();
        let is_theirs = self.tenants.as_ref().is_none_or(|tenants| {
            tenants.accounts.get(group.namespace()) == Some(&stream.scope.account)
        });
        is_theirs && stream.is_shown()
    }
}

/// What is another one since the tenants were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// Nothing.
    Same,
    /// Which streams are to be served; those that are shown stay as they are.
    Served,
    /// Whose the namespaces are: every name may show another stream.
    Accounts,
}

/// Whether a stream is as it was, down to its map, which it has from before then.
fn is_same(before: &Stream, after: &Stream) -> bool {
    let of = |stream: &Stream| (stream.uid, stream.status, stream.mode, stream.created);
    of(before) == of(after)
        && (&before.scope, &before.name) == (&after.scope, &after.name)
        && before.settings == after.settings
        && Arc::ptr_eq(&before.map, &after.map)
}

/// The stream with the counters of its state before.
fn continued(mut stream: Stream, before: Option<&Stream>) -> Stream {
    let Some(before) = before else {
        return stream;
    };
    stream.counters = Arc::clone(&before.counters);
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

/// All of a shard but its counters.
fn place(shard: &Shard) -> impl Eq + '_ {
    let Shard {
        uid,
        id,
        created_s,
        range,
        group,
        counters: _,
    } = shard;
    (uid, id, created_s, range, group)
}

/// Counts the streams and names that are looked at, for the tests that say how the work grows.
#[cfg(test)]
pub(super) mod work {
    use std::cell::Cell;

    thread_local! {
        static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn note() {
        LOOKS.with(|looks| looks.set(looks.get() + 1));
    }

    /// The looks since the last call.
    pub(crate) fn take() -> usize {
        LOOKS.with(Cell::take)
    }
}

#[cfg(not(test))]
mod work {
    pub(super) const fn note() {}
}
