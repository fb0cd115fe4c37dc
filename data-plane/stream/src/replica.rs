//! A copy of the streams of many groups, for a gateway: it knows what there is, and holds nothing.
//!
//! Every group tells of the streams that are at home there. A stream keeps its counters from one
//! state to the next. Where two streams have one name (one is being removed while the next is
//! made), the one that is not being removed counts, and of two such the younger.
//!
//! Who may see what is said by [`Tenants`]: a group tells of a stream under the account that its
//! namespace had when the stream was made, and only as long as that is so it is shown.
//!
//! Any home may tell of a change at any time, and every request of everybody reads what is shown
//! here: what a change takes is the work of its own streams (`known`, `names`), and nothing is
//! found out while the registry is locked.

mod known;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use millstream_clock::{Clock, Entropy};
use millstream_storage::ShardLog;
use millstream_types::{AccountId, Epoch, GroupId, Scope, StreamName, StreamUid};

use crate::list::Listed;
use crate::registry::Registry;
use crate::stream::Stream;
use crate::streams::{Options, Streams};
use crate::token::TokenKey;
pub(crate) use known::Replica;
use known::{Admitted, Touched};

/// Names that are shown anew in one go: requests come in between.
const NAMES_AT_ONCE: usize = 256;

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
        let Some(touched) = replica.learn(group, epoch, news) else {
            return false;
        };
        self.show(&replica, touched);
        true
    }

    /// Shows from now on what the tenants may see.
    pub fn admit(&self, tenants: Tenants) {
        let tenants = Arc::new(tenants);
        let mut replica = self.inner.replica.lock();
        let mut shown = None;
        match replica.admit(Arc::clone(&tenants)) {
            Admitted::Same => return,
            Admitted::Served => {},
            Admitted::Accounts => shown = Some(Registry::of_shown(replica.all_shown())),
        }
        *self.inner.tenants.write() = Some(tenants);
        let mut registry = self.inner.registry.write();
        if let Some(shown) = &mut shown {
            std::mem::swap(&mut *registry, shown);
        }
        self.inner.feed.tell_all();
        // What was shown before goes once nobody waits for it.
        drop(registry);
        drop(shown);
    }

    /// Whether a stream of this name is to be served here, told of or not.
    pub(crate) fn is_to_be_served(&self, scope: &Scope, name: &StreamName) -> bool {
        let tenants = self.inner.tenants.read();
        let served = tenants.as_ref().and_then(|all| all.served.get(scope));
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
        let tenants = self.inner.tenants.read().clone();
        // While it is held, nothing that a home tells moves a stream from one of them to the other.
        let registry = self.inner.registry.read();
        let known = registry.after(scope, after, limit).into_iter();
        let mut listed: Vec<Listed> = known.map(Listed::Known).collect();
        if let Some(names) = tenants.as_ref().and_then(|all| all.served.get(scope)) {
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
        self.inner.replica.lock().at_home(group)
    }

    /// Forgets a group that is no more, with its streams.
    pub fn forget(&self, group: &GroupId) {
        let mut replica = self.inner.replica.lock();
        let touched = replica.forget(group);
        self.show(&replica, touched);
    }

    /// Shows under these names what is to be shown now. Only who holds the replica changes its
    /// registry: what is found out before stays so.
    fn show(&self, replica: &Replica, touched: Touched) {
        let mut names = Vec::with_capacity(touched.len());
        for (scope, name) in touched {
            let stream = replica.shown(&scope, &name).cloned();
            let before = self.inner.registry.read().get(&scope, &name);
            if before.as_ref().map(Arc::as_ptr) != stream.as_ref().map(Arc::as_ptr) {
                names.push((scope, name, stream));
            }
        }
        while !names.is_empty() {
            let part = names.split_off(names.len().saturating_sub(NAMES_AT_ONCE));
            let mut before = Vec::with_capacity(part.len());
            let mut registry = self.inner.registry.write();
            for (scope, name, stream) in part {
                before.push(registry.show(scope, name, stream));
            }
            self.inner.feed.tell_all();
            // What was shown before goes once nobody waits for it.
            drop(registry);
            drop(before);
        }
    }
}

#[cfg(test)]
mod tests;
