//! The handle to all streams of a store.

use std::sync::Arc;

use millstream_clock::{Clock, Entropy};
use millstream_storage::{ShardLog, ShardStore};
use millstream_types::{AccountId, Scope, StreamName, StreamUid, caps};
use parking_lot::{Mutex, RwLock};

use crate::catalogue::{Change, Feed};
use crate::error::{Absent, OpenError, StreamNotFound};
use crate::guests::{self, Book, Decided};
use crate::loss::Losses;
use crate::registry::Registry;
use crate::replica::{Replica, Tenants};
use crate::shard::Shard;
use crate::stream::{Status, Stream};
use crate::sweep::Sweeps;
use crate::token::{Sealer, TokenKey};

/// What an administrator can set.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Shards that one account may have in all its regions together.
    pub account_shards_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            account_shards_max: u64::from(caps::ACCOUNT_SHARDS_DEFAULT),
        }
    }
}

/// All streams of a store. Clones are cheap and share everything.
pub struct Streams<S> {
    pub(crate) inner: Arc<Inner<S>>,
}

impl<S> Clone for Streams<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

pub(crate) struct Inner<S> {
    pub(crate) store: Arc<S>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) sealer: Sealer,
    pub(crate) options: Options,
    /// Held for a moment only, never across a wait.
    pub(crate) registry: RwLock<Registry>,
    /// Tells the watchers what changes in the registry.
    pub(crate) feed: Feed,
    /// Shards here that are of streams of other groups. Held for a moment only.
    pub(crate) guests: RwLock<Book>,
    /// What the homes of those decided last. Held for a moment only.
    pub(crate) decided: Mutex<Decided>,
    /// What streams without rows may still have in other groups. Held for a moment only.
    pub(crate) sweeps: Mutex<Sweeps>,
    /// Shards that other groups have lost. Held for a moment only.
    pub(crate) losses: Mutex<Losses>,
    /// Where the registry of a replica comes from. Held while a group's news are taken over: no
    /// request waits for it.
    pub(crate) replica: Mutex<Replica>,
    /// Of a replica: whose streams it shows. Held for a moment only.
    pub(crate) tenants: RwLock<Option<Arc<Tenants>>>,
    /// Held while a stream is created, changed or deleted: one at a time.
    pub(crate) lifecycle: tokio::sync::Mutex<()>,
}

impl<S> Inner<S> {
    /// Serves a stream in its new state, and tells the watchers.
    pub(crate) fn put(&self, stream: Arc<Stream>) {
        let mut registry = self.registry.write();
        registry.put(Arc::clone(&stream));
        self.feed.tell(if stream.is_shown() {
            Change::Put(stream)
        } else {
            Change::Removed(stream.uid)
        });
    }

    /// Serves a stream no more, and tells the watchers.
    pub(crate) fn remove(&self, stream: &Stream) {
        let mut registry = self.registry.write();
        registry.remove(stream);
        self.feed.tell(Change::Removed(stream.uid));
    }
}

impl<S: ShardStore> Streams<S> {
    /// The streams whose rows are in `store`.
    ///
    /// # Errors
    /// When a row cannot be read; nothing is served then.
    pub fn open(
        store: Arc<S>,
        options: Options,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        key: &TokenKey,
    ) -> Result<Self, OpenError> {
        let registry = Registry::load(&*store)?;
        let book = guests::load(&*store)?;
        tracing::info!(streams = registry.len(), "streams are open");
        let streams = Self::new(store, options, clock, entropy, key, registry);
        *streams.inner.guests.write() = book;
        Ok(streams)
    }
}

impl<S: ShardLog> Streams<S> {
    pub(crate) fn new(
        store: Arc<S>,
        options: Options,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        key: &TokenKey,
        registry: Registry,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                clock,
                sealer: Sealer::new(key, Arc::clone(&entropy)),
                entropy,
                options,
                registry: RwLock::new(registry),
                feed: Feed::default(),
                guests: RwLock::default(),
                decided: Mutex::default(),
                sweeps: Mutex::default(),
                losses: Mutex::default(),
                replica: Mutex::default(),
                tenants: RwLock::default(),
                lifecycle: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// The stream of this name where it takes and gives records.
    pub(crate) fn active(&self, scope: &Scope, name: &StreamName) -> Result<Arc<Stream>, Absent> {
        let stream = self.get(scope, name)?;
        match stream.status {
            Status::Active => Ok(stream),
            Status::Creating | Status::Deleting | Status::Retained => {
                Err(StreamNotFound::new(scope, name).into())
            },
        }
    }

    /// Whether a stream of which a shard was not found is one that takes and gives records: then
    /// the shard is lost, or not known here yet. Otherwise the stream was removed in between.
    pub(crate) async fn misses_shard(&self, stream: &Stream, shard: &Shard) -> bool {
        // A removal that is under way here ends first.
        let _alone = self.inner.lifecycle.lock().await;
        let now = self.inner.registry.read().get(&stream.scope, &stream.name);
        let misses = now.is_some_and(|now| now.uid == stream.uid && now.status == Status::Active);
        if misses {
            // Each request would say so: the stream's home does once.
            tracing::debug!(stream = %stream.name, shard = %shard.id,
                "a shard of an active stream was not found");
        }
        misses
    }

    /// The stream of this name as it is now.
    ///
    /// # Errors
    /// When there is none, or its home has not told of it.
    pub fn get(&self, scope: &Scope, name: &StreamName) -> Result<Arc<Stream>, Absent> {
        let shown = self.inner.registry.read().get(scope, name);
        match shown {
            Some(stream) => Ok(stream),
            None if self.is_to_be_served(scope, name) => Err(Absent::Untold),
            None => Err(StreamNotFound::new(scope, name).into()),
        }
    }

    /// Every stream of every scope that clients see, for metrics.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Stream>> {
        self.inner.registry.read().all()
    }

    /// The stream with this identity whose rows are here, one that is only kept, too.
    #[must_use]
    pub fn by_uid(&self, uid: StreamUid) -> Option<Arc<Stream>> {
        self.inner.registry.read().by_uid(uid)
    }

    /// Every stream whose rows are here, those that are only kept, too.
    #[must_use]
    pub fn everything(&self) -> Vec<Arc<Stream>> {
        self.inner.registry.read().everything()
    }

    /// Shards that the account has.
    #[must_use]
    pub fn account_shards(&self, account: &AccountId) -> u64 {
        self.inner.registry.read().account_shards(account)
    }

    /// Shards that an account may have.
    #[must_use]
    pub fn account_shards_max(&self) -> u64 {
        self.inner.options.account_shards_max
    }
}
