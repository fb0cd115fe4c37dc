//! The streams in memory: loaded from rows at the start, then changed after each durable change;
//! of a replica: as the groups tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_storage::ShardStore;
use millstream_types::{AccountId, Scope, StreamName, StreamUid};

use crate::error::OpenError;
use crate::rows;
use crate::stream::{Status, Stream};

/// Whether no other stream may be shown under its name. One that is being removed may have been a
/// retained one, whose name another stream has by now.
const fn holds_name(stream: &Stream) -> bool {
    stream.is_shown() && !matches!(stream.status(), Status::Deleting)
}

/// All streams by identity, and those that are shown by scope and name.
#[derive(Default)]
pub(crate) struct Registry {
    /// None of a replica: what one home tells of an identity says nothing of another's.
    streams: BTreeMap<StreamUid, Arc<Stream>>,
    scopes: BTreeMap<Scope, BTreeMap<StreamName, Arc<Stream>>>,
}

impl Registry {
    pub(crate) fn load<S: ShardStore>(store: &S) -> Result<Self, OpenError> {
        let mut registry = Self::default();
        for stream in rows::load(store)? {
            let namesake = registry.get(&stream.scope, &stream.name);
            if holds_name(&stream) && namesake.is_some_and(|other| holds_name(&other)) {
                return Err(OpenError::Corrupt {
                    key: rows::stream_row::key_text(stream.uid),
                    reason: "another stream has its name",
                });
            }
            registry.put(Arc::new(stream));
        }
        Ok(registry)
    }

    /// Of a replica: these are shown, each the only one of its name.
    pub(crate) fn of_shown<'a>(shown: impl Iterator<Item = &'a Arc<Stream>>) -> Self {
        let mut registry = Self::default();
        for stream in shown {
            let (scope, name) = (stream.scope.clone(), stream.name.clone());
            registry.show(scope, name, Some(Arc::clone(stream)));
        }
        registry
    }

    /// Of a replica: shows this stream under the name, or none. Answers what was shown before.
    pub(crate) fn show(
        &mut self,
        scope: Scope,
        name: StreamName,
        stream: Option<Arc<Stream>>,
    ) -> Option<Arc<Stream>> {
        let Some(stream) = stream else {
            let names = self.scopes.get_mut(&scope)?;
            let before = names.remove(&name);
            if names.is_empty() {
                self.scopes.remove(&scope);
            }
            return before;
        };
        let names = self.scopes.entry(scope).or_default();
        names.insert(name, stream)
    }

    /// The stream that is shown under this name.
    pub(crate) fn get(&self, scope: &Scope, name: &StreamName) -> Option<Arc<Stream>> {
        self.scopes.get(scope)?.get(name).cloned()
    }

    /// The stream with this identity, shown or not.
    pub(crate) fn by_uid(&self, uid: StreamUid) -> Option<Arc<Stream>> {
        self.streams.get(&uid).cloned()
    }

    /// Adds a stream, or replaces its state before; it is shown instead of another of its name, but
    /// one that is being removed only where there is no other.
    pub(crate) fn put(&mut self, stream: Arc<Stream>) {
        self.hide(stream.uid);
        let namesake = self.get(&stream.scope, &stream.name);
        let is_taken = namesake.is_some_and(|other| holds_name(&other));
        if holds_name(&stream) || (stream.is_shown() && !is_taken) {
            self.scopes
                .entry(stream.scope.clone())
                .or_default()
                .insert(stream.name.clone(), Arc::clone(&stream));
        }
        self.streams.insert(stream.uid, stream);
    }

    pub(crate) fn remove(&mut self, stream: &Stream) {
        self.hide(stream.uid);
        self.streams.remove(&stream.uid);
    }

    fn hide(&mut self, uid: StreamUid) {
        let Some(stream) = self.streams.get(&uid) else {
            return;
        };
        let Some(streams) = self.scopes.get_mut(&stream.scope) else {
            return;
        };
        if streams.get(&stream.name).is_some_and(|s| s.uid == uid) {
            streams.remove(&stream.name);
        }
        if streams.is_empty() {
            self.scopes.remove(&stream.scope);
        }
    }

    /// Those that are not shown, too.
    pub(crate) fn everything(&self) -> Vec<Arc<Stream>> {
        self.streams.values().cloned().collect()
    }

    /// At most `limit` streams of the scope whose name is above `after`, by name.
    pub(crate) fn after(
        &self,
        scope: &Scope,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Vec<Arc<Stream>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let Some(streams) = self.scopes.get(scope) else {
            return Vec::new();
        };
        let from = after.map_or(Unbounded, Excluded);
        streams
            .range::<StreamName, _>((from, Unbounded))
            .take(limit)
            .map(|(_, stream)| Arc::clone(stream))
            .collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Stream>> {
        self.scopes
            .values()
            .flat_map(BTreeMap::values)
            .map(Arc::clone)
            .collect()
    }

    pub(crate) fn account_shards(&self, account: &AccountId) -> u64 {
        self.scopes
            .iter()
            .filter(|(scope, _)| scope.account == *account)
            .flat_map(|(_, streams)| streams.values())
            .map(|stream| stream.open_shard_count() as u64)
            .sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }
}
