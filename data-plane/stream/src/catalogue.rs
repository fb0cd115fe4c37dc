//! What streams there are, for whoever keeps a copy: the full state once, then what changes.
//!
//! A watcher that falls too far behind gets the full state again, so that nothing is queued for it.
//! A stream travels as the bytes of its rows ([`encode`], [`decode`]): one format, one version.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use millstream_types::{GroupId, StreamUid};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::OpenError;
use crate::rows::{shards_row, stream_row};
use crate::shard::ShardMap;
use crate::stream::Stream;
use crate::streams::Streams;

/// Changes that are kept for watchers that are behind.
const CHANGES_KEPT_MAX: usize = 256;

/// A change of what streams there are.
#[derive(Clone, Debug)]
pub enum Change {
    /// The stream is new or has changed.
    Put(Arc<Stream>),
    /// The stream is no more.
    Removed(StreamUid),
}

/// What a watcher gets.
#[derive(Clone, Debug)]
pub enum Update {
    /// All streams that there are.
    All(Vec<Arc<Stream>>),
    /// What has changed since the update before, in order.
    Changes(Vec<Change>),
}

/// Recent changes by version. The version counts the changes since the process started.
pub(crate) struct Feed {
    recent: Mutex<VecDeque<Change>>,
    version: watch::Sender<u64>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            recent: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl Feed {
    /// Tells the watchers. The caller holds the registry, so that changes have one order.
    pub(crate) fn tell(&self, change: Change) {
        let mut recent = self.recent.lock();
        if recent.len() == CHANGES_KEPT_MAX {
            recent.pop_front();
        }
        recent.push_back(change);
        self.version.send_modify(|version| *version += 1);
    }

    /// Tells the watchers that everything may have changed. The caller holds the registry.
    pub(crate) fn tell_all(&self) {
        self.recent.lock().clear();
        self.version.send_modify(|version| *version += 1);
    }

    /// The changes after `seen`, and the version after them; none when some are not kept any more.
    fn since(&self, seen: u64) -> Option<(Vec<Change>, u64)> {
        let recent = self.recent.lock();
        let version = *self.version.borrow();
        let missed = usize::try_from(version - seen).ok()?;
        let first = recent.len().checked_sub(missed)?;
        Some((recent.range(first..).cloned().collect(), version))
    }
}

/// Follows what streams there are.
pub struct Watcher<S> {
    streams: Streams<S>,
    version: watch::Receiver<u64>,
    /// Version of the update before.
    seen: Option<u64>,
}

impl<S> Streams<S> {
    /// How many changes there were since the process started. Whoever watches, and was given as
    /// many ([`Watcher::changes`]), knows everything that can be seen here now.
    #[must_use]
    pub fn changes(&self) -> u64 {
        *self.inner.feed.version.borrow()
    }

    /// A watcher from now on; its first update says what there is.
    #[must_use]
    pub fn watch(&self) -> Watcher<S> {
        Watcher {
            streams: self.clone(),
            version: self.inner.feed.version.subscribe(),
            seen: None,
        }
    }
}

impl<S> Watcher<S> {
    /// Up to how many changes the last update told; none before the first.
    #[must_use]
    pub const fn changes(&self) -> Option<u64> {
        self.seen
    }

    /// The next update; waits until there is one.
    pub async fn next(&mut self) -> Update {
        let Some(seen) = self.seen else {
            return self.all();
        };
        if self
            .version
            .wait_for(|version| *version > seen)
            .await
            .is_err()
        {
            // The feed lives as long as the streams that this watcher holds.
            std::future::pending::<()>().await;
        }
        match self.streams.inner.feed.since(seen) {
            Some((changes, version)) => {
                self.seen = Some(version);
                Update::Changes(changes)
            },
            None => self.all(),
        }
    }

    fn all(&mut self) -> Update {
        let registry = self.streams.inner.registry.read();
        self.seen = Some(*self.streams.inner.feed.version.borrow());
        Update::All(registry.all())
    }
}

/// A stream as bytes: those of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Identity, status and settings.
    pub stream: Bytes,
    /// The shard map, in parts.
    pub shards: Vec<Bytes>,
}

/// The stream as bytes.
#[must_use]
pub fn encode(stream: &Stream) -> Encoded {
    let parts = stream.map().shards().chunks(shards_row::SHARDS_PER_ROW);
    Encoded {
        stream: stream_row::encode(stream).into(),
        shards: parts.map(|part| shards_row::encode(part).into()).collect(),
    }
}

/// The stream from its bytes. Shards at home are in the group `home` here.
///
/// # Errors
/// When the bytes are no stream.
pub fn decode(home: &GroupId, encoded: &Encoded) -> Result<Stream, OpenError> {
    let key = || format!("catalogue of {home}").into_bytes();
    let row = stream_row::decode(&encoded.stream).map_err(|error| error.at(&key()))?;
    let mut shards = Vec::new();
    for part in &encoded.shards {
        shards.extend(shards_row::decode(part).map_err(|error| error.at(&key()))?);
    }
    for shard in &mut shards {
        shard.group.get_or_insert_with(|| home.clone());
    }
    let map = ShardMap::new(shards).map_err(|_| OpenError::Corrupt {
        key: stream_row::key_text(row.uid),
        reason: "its shards do not cover the hash keys",
    })?;
    Ok(row.into_stream(Arc::new(map)))
}
