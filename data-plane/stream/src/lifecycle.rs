//! Creating, changing and deleting streams: each is one atomic change of the store.
//!
//! The change and the switch of the registry run in a task of their own: a caller that goes away
//! in between cannot leave a durable stream that is not served, or the reverse.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_clock::task;
use millstream_storage::ShardStore;
use millstream_types::{
    GroupId, HashKeyRange, Scope, ShardId, ShardMetrics, ShardUid, StreamMode, StreamName,
    StreamUid, caps,
};

use crate::counters::{ShardCounters, StreamCounters};
use crate::error::{CreateError, DeleteError, SettingError, StreamNotFound, UpdateError};
use crate::rows;
use crate::shard::{Shard, ShardMap};
use crate::stream::{Settings, Status, Stream};
use crate::streams::Streams;

/// A stream to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStream {
    /// Its name.
    pub name: StreamName,
    /// How its capacity is set.
    pub mode: StreamMode,
    /// Shards to start with, as large as the client asks: it is checked here.
    pub shard_count: u64,
    /// What can be changed later.
    pub settings: Settings,
}

/// Settings to change; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// Retention, in hours. A longer one keeps what is still there.
    pub retention_hours: Option<u32>,
    /// Largest record (data and key), in KiB.
    pub max_record_kib: Option<u32>,
    /// All tags, instead of those before.
    pub tags: Option<BTreeMap<String, String>>,
    /// Metrics shown per shard, instead of those before.
    pub shard_level_metrics: Option<ShardMetrics>,
}

impl<S: ShardStore> Streams<S> {
    /// Creates a stream. It is ACTIVE when this returns.
    ///
    /// # Errors
    /// When the name is taken, a quota or range is passed, or the store refuses.
    pub async fn create(&self, scope: &Scope, new: NewStream) -> Result<Arc<Stream>, CreateError> {
        // Before anything waits or is allocated: the count can be as large as a client likes.
        self.check_quota(scope, &new)?;
        new.settings.validate()?;
        let (streams, scope) = (self.clone(), scope.clone());
        let created = task::spawn("create-stream", async move {
            streams.create_alone(&scope, new).await
        });
        created.await.unwrap_or(Err(CreateError::Internal))
    }

    async fn create_alone(
        &self,
        scope: &Scope,
        new: NewStream,
    ) -> Result<Arc<Stream>, CreateError> {
        let _alone = self.inner.lifecycle.lock().await;
        self.check_quota(scope, &new)?;
        let stream = Arc::new(self.draft(scope, new, |count| vec![None; count]));
        self.inner
            .store
            .apply(rows::create_changes(&stream))
            .await?;
        self.inner.put(Arc::clone(&stream));
        let (name, shards) = (&stream.name, stream.open_shard_count());
        tracing::info!(stream = %name, uid = %stream.uid, shards, "stream created");
        Ok(stream)
    }

    pub(crate) fn check_name(&self, scope: &Scope, name: &StreamName) -> Result<(), CreateError> {
        if self.inner.registry.read().get(scope, name).is_some() {
            return Err(CreateError::Exists {
                name: name.clone(),
                account: scope.account.clone(),
            });
        }
        Ok(())
    }

    fn check_quota(&self, scope: &Scope, new: &NewStream) -> Result<(), CreateError> {
        self.check_name(scope, &new.name)?;
        let (have, limit) = (
            self.account_shards(&scope.account),
            self.inner.options.account_shards_max,
        );
        if new.shard_count > limit.saturating_sub(have) {
            return Err(CreateError::ShardLimit {
                account: scope.account.clone(),
                region: scope.region.clone(),
                have,
                limit,
                asked: new.shard_count,
            });
        }
        Self::check_count(new)
    }

    pub(crate) fn check_count(new: &NewStream) -> Result<(), CreateError> {
        let stream_limit = u64::from(caps::STREAM_SHARDS_MAX);
        if new.shard_count > stream_limit {
            return Err(CreateError::StreamShardLimit {
                limit: stream_limit,
                asked: new.shard_count,
            });
        }
        if new.shard_count == 0 {
            return Err(CreateError::Setting(SettingError {
                setting: "ShardCount",
                value: "0".to_owned(),
                range: "at least 1",
            }));
        }
        Ok(())
    }

    /// The stream as it will be; its count has been checked. `places` says in which group each of
    /// so many shards lives.
    pub(crate) fn draft(
        &self,
        scope: &Scope,
        new: NewStream,
        places: impl FnOnce(usize) -> Vec<Option<GroupId>>,
    ) -> Stream {
        let (clock, entropy) = (&self.inner.clock, &self.inner.entropy);
        let created = clock.now();
        let count = u32::try_from(new.shard_count).expect("at most 10,000, by the check");
        let ranges = HashKeyRange::uniform(count);
        let places = places(ranges.len());
        let shards = ranges
            .into_iter()
            .zip(places)
            .zip(0u32..)
            .map(|((range, group), index)| Shard {
                uid: ShardUid(entropy.u128()),
                id: ShardId(index),
                created_s: created.seconds(),
                range,
                group,
                counters: Arc::new(ShardCounters::default()),
            })
            .collect();
        let map = ShardMap::new(shards).expect("uniform ranges cover the space once, in order");
        Stream {
            uid: StreamUid(entropy.u128()),
            scope: scope.clone(),
            name: new.name,
            status: Status::Active,
            mode: new.mode,
            created,
            settings: new.settings,
            map: Arc::new(map),
            counters: Arc::new(StreamCounters::default()),
        }
    }

    /// Deletes a stream with its records.
    ///
    /// # Errors
    /// When there is none or the store refuses.
    pub async fn delete(&self, scope: &Scope, name: &StreamName) -> Result<(), DeleteError> {
        let (streams, scope, name) = (self.clone(), scope.clone(), name.clone());
        let deleted = task::spawn("delete-stream", async move {
            streams.delete_alone(&scope, &name).await
        });
        deleted.await.unwrap_or(Err(DeleteError::Internal))
    }

    async fn delete_alone(&self, scope: &Scope, name: &StreamName) -> Result<(), DeleteError> {
        let _alone = self.inner.lifecycle.lock().await;
        let stream = self.get(scope, name)?;
        self.inner
            .store
            .apply(rows::delete_changes(&stream))
            .await?;
        self.inner.remove(&stream);
        tracing::info!(stream = %name, uid = %stream.uid, "stream deleted");
        Ok(())
    }

    /// Changes a stream's settings.
    ///
    /// # Errors
    /// When there is no such stream, a setting is outside its range, or the store refuses.
    pub async fn update(
        &self,
        scope: &Scope,
        name: &StreamName,
        change: SettingsChange,
    ) -> Result<Arc<Stream>, UpdateError> {
        let (streams, scope, name) = (self.clone(), scope.clone(), name.clone());
        let updated = task::spawn("update-stream", async move {
            streams.update_alone(&scope, &name, change).await
        });
        updated.await.unwrap_or(Err(UpdateError::Internal))
    }

    async fn update_alone(
        &self,
        scope: &Scope,
        name: &StreamName,
        change: SettingsChange,
    ) -> Result<Arc<Stream>, UpdateError> {
        let _alone = self.inner.lifecycle.lock().await;
        let before = self.get(scope, name)?;
        if before.status == Status::Deleting {
            return Err(StreamNotFound::new(scope, name).into());
        }
        let settings = changed(&before.settings, change);
        settings.validate()?;
        if settings == before.settings {
            return Ok(before);
        }
        let after = Arc::new(Stream {
            settings,
            ..(*before).clone()
        });
        self.inner
            .store
            .apply(rows::update_changes(&before, &after))
            .await?;
        self.inner.put(Arc::clone(&after));
        tracing::info!(stream = %name, uid = %after.uid, "stream settings changed");
        Ok(after)
    }
}

fn changed(before: &Settings, change: SettingsChange) -> Settings {
    Settings {
        retention_hours: change.retention_hours.unwrap_or(before.retention_hours),
        max_record_kib: change.max_record_kib.unwrap_or(before.max_record_kib),
        tags: change.tags.unwrap_or_else(|| before.tags.clone()),
        shard_level_metrics: change
            .shard_level_metrics
            .unwrap_or(before.shard_level_metrics),
    }
}
