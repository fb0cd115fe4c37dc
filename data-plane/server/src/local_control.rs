//! The control plane of the all-in-one process: the streams of the manifests and of CreateStream
//! exist because it says so.
//!
//! What exists is kept by the streams themselves, as rows of the store; there is no second copy.
//! It must not know HTTP or how a record is stored. Start with [`LocalControl`]; `manifests` reads
//! what the user wrote, `plan` decides (no I/O), `node` keeps the files of the folder `node/`.

pub mod manifests;
pub mod node;
pub mod plan;

use std::path::{Path, PathBuf};

use millstream_control::{ControlPlane, CreateStreamError, DeleteStreamError, StreamSpec};
use millstream_storage::ShardStore;
use millstream_stream::error::{CreateError, DeleteError, UpdateError};
use millstream_stream::{Kind, NewStream, Settings, Streams};
use millstream_types::{Scope, StreamMode, StreamName};

use self::manifests::ManifestError;
use self::node::NodeFileError;
use self::plan::{PlanError, Step};

/// Where the manifests' streams live.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; the files are in its folder `node/`.
    pub data_dir: PathBuf,
    /// Account and region of streams from manifests.
    pub scope: Scope,
}

/// The control plane. Clones share the streams.
pub struct LocalControl<S> {
    options: Options,
    streams: Streams<S>,
}

impl<S> Clone for LocalControl<S> {
    fn clone(&self) -> Self {
        Self {
            options: self.options.clone(),
            streams: self.streams.clone(),
        }
    }
}

/// Why manifests were not applied.
#[derive(Debug, thiserror::Error)]
pub enum ManifestsError {
    /// A manifest cannot be read.
    #[error(transparent)]
    Read(#[from] ManifestError),
    /// A manifest asks for what cannot be done; no stream was changed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The store refused while streams were created or changed; applying again goes on.
    #[error("stream {stream}: {reason}")]
    Apply {
        /// The stream.
        stream: StreamName,
        /// What the store said.
        reason: String,
    },
    /// A file of the data directory cannot be read or written.
    #[error(transparent)]
    Node(#[from] NodeFileError),
}

impl ManifestsError {
    /// Whether the user's files are to blame, and not the store or the disk.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Plan(_))
    }
}

/// What applying manifests did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Streams created.
    pub created: usize,
    /// Streams whose settings changed.
    pub updated: usize,
    /// Streams that were as wanted.
    pub unchanged: usize,
}

impl<S: ShardStore> LocalControl<S> {
    /// A control plane over these streams.
    #[must_use]
    pub const fn new(options: Options, streams: Streams<S>) -> Self {
        Self { options, streams }
    }

    /// Reads the manifests at `path`, a file or a folder, and makes the streams as they say:
    /// creates what is absent, changes what may change, deletes nothing. When one of them cannot
    /// be done, none is.
    ///
    /// # Errors
    /// See [`ManifestsError`].
    pub async fn apply_manifests(&self, path: &Path) -> Result<Applied, ManifestsError> {
        let manifests = manifests::read(path)?;
        let steps = {
            let exists = |name: &StreamName| self.streams.get(&self.options.scope, name).ok();
            let free = self.streams.account_shards_max()
                - self
                    .streams
                    .account_shards(&self.options.scope.account)
                    .min(self.streams.account_shards_max());
            plan::plan(&manifests, exists, free)?
        };
        let mut applied = Applied::default();
        for step in steps {
            self.take(step, &mut applied).await?;
        }
        self.remember(manifests.into_iter().map(|m| m.spec).collect())?;
        Ok(applied)
    }

    async fn take(&self, step: Step, applied: &mut Applied) -> Result<(), ManifestsError> {
        let scope = &self.options.scope;
        match step {
            Step::Create(new) => {
                let name = new.name.clone();
                let made = self.streams.create(scope, new).await;
                made.map_err(|error| refused(&name, &error))?;
                applied.created += 1;
            },
            Step::Update(name, change) => {
                let changed = self.streams.update(scope, &name, change).await;
                changed.map_err(|error: UpdateError| refused(&name, &error))?;
                applied.updated += 1;
            },
            Step::Keep => applied.unchanged += 1,
        }
        Ok(())
    }

    /// Keeps what was wanted last, and says which streams are wanted no longer.
    fn remember(&self, specs: Vec<StreamSpec>) -> Result<(), NodeFileError> {
        let before = node::read_desired_state(&self.options.data_dir)?;
        let after = before.followed_by(&self.options.scope, specs);
        for gone in before.dropped_by(&after) {
            tracing::info!(stream = %gone.spec.name,
                "the stream is in no manifest any more; it stays until DeleteStream");
        }
        if after != before {
            node::write_desired_state(&self.options.data_dir, &after)?;
        }
        Ok(())
    }
}

fn refused(stream: &StreamName, error: &impl std::fmt::Display) -> ManifestsError {
    ManifestsError::Apply {
        stream: stream.clone(),
        reason: error.to_string(),
    }
}

impl<S: ShardStore> ControlPlane for LocalControl<S> {
    async fn create_stream(
        &self,
        scope: &Scope,
        spec: StreamSpec,
    ) -> Result<(), CreateStreamError> {
        if spec.mode == StreamMode::OnDemand {
            return Err(CreateStreamError::Invalid(
                plan::ON_DEMAND_REFUSED.to_owned(),
            ));
        }
        match self.streams.create(scope, new_stream(spec)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(create_error(&error)),
        }
    }

    async fn delete_stream(
        &self,
        scope: &Scope,
        name: &StreamName,
    ) -> Result<(), DeleteStreamError> {
        self.streams
            .delete(scope, name)
            .await
            .map_err(|error| match error {
                DeleteError::NotFound(_) => DeleteStreamError::NotFound(error.to_string()),
                DeleteError::Throttled => DeleteStreamError::Throttled(error.to_string()),
                DeleteError::Internal => DeleteStreamError::Internal,
            })
    }
}

fn create_error(error: &CreateError) -> CreateStreamError {
    let text = error.to_string();
    match error.kind() {
        Kind::Conflict => CreateStreamError::Exists(text),
        Kind::LimitExceeded => CreateStreamError::LimitExceeded(text),
        Kind::Invalid => CreateStreamError::Invalid(text),
        Kind::Throttled => CreateStreamError::Throttled(text),
        Kind::NotFound | Kind::Expired | Kind::Internal => CreateStreamError::Internal,
    }
}

/// The stream that a specification creates.
pub(crate) fn new_stream(spec: StreamSpec) -> NewStream {
    NewStream {
        name: spec.name,
        mode: spec.mode,
        shard_count: spec.shard_count.unwrap_or(1),
        settings: Settings {
            retention_hours: spec.retention_hours,
            max_record_kib: spec.max_record_kib,
            tags: spec.tags.unwrap_or_default(),
            shard_level_metrics: spec.shard_level_metrics.unwrap_or_default(),
        },
    }
}

#[cfg(test)]
mod tests;
