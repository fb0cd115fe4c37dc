//! Who has told of a stream of which name: where the one that counts goes, the next one is known
//! without a look at any other name. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_types::{GroupId, Millis, Scope, StreamName, StreamUid};

use crate::stream::{Status, Stream};

/// The streams that may be seen.
#[derive(Default)]
pub(super) struct Names {
    scopes: BTreeMap<Scope, BTreeMap<StreamName, Rivals>>,
}

/// The streams of one name. The last one counts.
type Rivals = BTreeMap<Rank, Arc<Stream>>;

/// One that stays counts before one that is being removed, and of two such the younger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    stays: bool,
    created: Millis,
    uid: StreamUid,
    /// Only where two groups tell of one stream: the first of them counts.
    group: Reverse<GroupId>,
}

impl Rank {
    fn new(group: &GroupId, stream: &Stream) -> Self {
        Self {
            stays: stream.status != Status::Deleting,
            created: stream.created,
            uid: stream.uid,
            group: Reverse(group.clone()),
        }
    }
}

impl Names {
    /// Adds a stream that the group told of.
    pub(super) fn put(&mut self, group: &GroupId, stream: Arc<Stream>) {
        let names = self.scopes.entry(stream.scope.clone()).or_default();
        let rivals = names.entry(stream.name.clone()).or_default();
        rivals.insert(Rank::new(group, &stream), stream);
    }

    /// Removes a stream as it was put.
    pub(super) fn remove(&mut self, group: &GroupId, stream: &Stream) {
        let Some(names) = self.scopes.get_mut(&stream.scope) else {
            return;
        };
        if let Some(rivals) = names.get_mut(&stream.name) {
            rivals.remove(&Rank::new(group, stream));
            if rivals.is_empty() {
                names.remove(&stream.name);
            }
        }
        if names.is_empty() {
            self.scopes.remove(&stream.scope);
        }
    }

    /// The stream that counts under this name.
    pub(super) fn get(&self, scope: &Scope, name: &StreamName) -> Option<&Arc<Stream>> {
        let rivals = self.scopes.get(scope)?.get(name)?;
        rivals.last_key_value().map(|(_, stream)| stream)
    }

    /// The streams that count.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Stream>> {
        let rivals = self.scopes.values().flat_map(BTreeMap::values);
        rivals.filter_map(|rivals| rivals.last_key_value().map(|(_, stream)| stream))
    }
}
