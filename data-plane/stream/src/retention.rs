//! The service that trims records that are older than their stream's retention.
//!
//! Every pass asks the store for the number at each shard's horizon and moves the trim point
//! there; the store frees whole segments. While the store does not trust the wall clock, nothing
//! is trimmed. A raised retention keeps what is still there: a trim point never moves back. Of a
//! retained stream everything is kept until it is served again or removed.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use millstream_clock::task;
use millstream_storage::{ApplyError, Change, ReadError, ShardStore};
use millstream_types::{Millis, ShardUid, StreamUid};

use crate::stream::Status;
use crate::streams::Streams;

/// Most trims in one change of the store.
const TRIMS_PER_CHANGE: usize = 256;

/// How retention works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Pause between two passes.
    pub interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
        }
    }
}

/// The service.
pub struct Service<S> {
    options: Options,
    streams: Streams<S>,
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Shards whose trim point moved.
    pub trimmed: usize,
    /// Shards that the store could not look at or trim; the next pass tries again.
    pub failed: usize,
    /// Whether the pass did nothing because the clock is not trusted.
    pub paused: bool,
}

impl<S: ShardStore> Service<S> {
    /// A service over these streams.
    #[must_use]
    pub const fn new(options: Options, streams: Streams<S>) -> Self {
        Self { options, streams }
    }

    /// Makes a pass every interval until `drain` is ready.
    pub async fn run(self, drain: impl Future<Output = ()> + Send) {
        let mut drain = pin!(drain);
        loop {
            tokio::select! {
                biased;
                () = &mut drain => return,
                () = task::sleep(self.options.interval) => {}
            }
            let pass = tokio::select! {
                biased;
                () = &mut drain => return,
                pass = self.pass() => pass,
            };
            if pass.trimmed > 0 || pass.failed > 0 {
                tracing::debug!(
                    trimmed = pass.trimmed,
                    failed = pass.failed,
                    "retention pass"
                );
            }
        }
    }

    /// Trims every shard once.
    pub async fn pass(&self) -> Pass {
        let store = &self.streams.inner.store;
        let Some(now) = store.retention_now() else {
            return Pass {
                paused: true,
                ..Pass::default()
            };
        };
        let mut pass = Pass::default();
        let mut trims = Vec::new();
        for kept in self.kept() {
            let Some(horizon) = kept.horizon(now) else {
                continue;
            };
            for shard in &kept.shards {
                match self.trim(*shard, horizon).await {
                    Ok(Some(trim)) => trims.push(trim),
                    Ok(None) => {},
                    Err(error) => {
                        tracing::warn!(%error, stream = %kept.stream, %shard,
                            "the shard's horizon was not found; the next pass tries again");
                        pass.failed += 1;
                    },
                }
                if trims.len() == TRIMS_PER_CHANGE {
                    self.apply(&mut trims, &mut pass).await;
                }
            }
            // A stream that is deleted in between takes only its own trims with it.
            self.apply(&mut trims, &mut pass).await;
        }
        self.streams.forget_gone(now).await;
        pass
    }

    /// The shards of this store: of streams that are at home here, and of others.
    fn kept(&self) -> Vec<Kept> {
        let own = self.streams.everything();
        let served = own
            .iter()
            .filter(|stream| stream.status() != Status::Retained);
        let own = served.map(|stream| Kept {
            stream: stream.uid(),
            created: stream.created(),
            retention_ms: stream.retention_ms(),
            shards: stream
                .map()
                .shards()
                .iter()
                .filter(|shard| shard.is_at_home())
                .map(|shard| shard.uid)
                .collect(),
        });
        let guests = self.streams.hosted();
        let guests = guests.into_iter().map(|guests| Kept {
            stream: guests.stream,
            created: guests.created,
            retention_ms: guests.retention_ms(),
            shards: guests.shards,
        });
        own.chain(guests).collect()
    }

    /// The trim that the shard needs, if any.
    async fn trim(&self, shard: ShardUid, horizon: Millis) -> Result<Option<Change>, ReadError> {
        let store: &Arc<S> = &self.streams.inner.store;
        let Some(status) = store.status_now(shard) else {
            return Ok(None);
        };
        if status.first == status.next {
            return Ok(None);
        }
        let before = store.number_at(shard, horizon).await?;
        let trim = Change::TrimShard { shard, before };
        Ok((before > status.first).then_some(trim))
    }

    async fn apply(&self, trims: &mut Vec<Change>, pass: &mut Pass) {
        if trims.is_empty() {
            return;
        }
        let count = trims.len();
        match self.streams.inner.store.apply(std::mem::take(trims)).await {
            Ok(()) => pass.trimmed += count,
            // The stream was deleted: there is nothing left to trim.
            Err(ApplyError::NoShard) => {},
            Err(error) => {
                tracing::warn!(%error, "trimming was refused; the next pass tries again");
                pass.failed += count;
            },
        }
    }
}

/// Shards of one stream, and for how long their records are kept.
struct Kept {
    stream: StreamUid,
    created: Millis,
    retention_ms: u64,
    shards: Vec<ShardUid>,
}

impl Kept {
    /// Records that arrived before this are trimmed; none while the stream is younger than its
    /// retention.
    fn horizon(&self, now: Millis) -> Option<Millis> {
        (now.since(self.created) > self.retention_ms).then(|| now.minus(self.retention_ms))
    }
}
