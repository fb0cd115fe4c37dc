//! CreateStream and DeleteStream of SDK clients: they become `DataStream` objects and back.
//!
//! Objects are written by server-side apply with the field manager `millstream-api`, **without
//! force**: what belongs to another manager stays, and the client is told whose it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use millstream_control::{CreateStreamError, DeleteStreamError, StreamSpec};
use millstream_crds::annotations;
use millstream_crds::data_stream::{
    DataStreamResource, DataStreamSpec, DeletionPolicy, ShardLevelMetric, StreamMode,
};
use millstream_types::caps::STREAM_SHARDS_MAX;
use millstream_types::{Scope, StreamName};

use super::object_name::object_name;
use crate::apply::code;
use crate::controllers::data_stream::status::Reason;
use crate::controllers::data_stream::validate::{Refusal, stream_name};
use crate::names::{API_MANAGER, managed_labels};
use crate::plan::is_on;

/// Makes and deletes objects for SDK clients, in one namespace.
#[derive(Clone)]
pub struct ApiStreams {
    api: Api<DataStreamResource>,
}

impl ApiStreams {
    /// For the account that `namespace` is.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
        }
    }

    /// Makes the object of a stream, and returns it as it is there.
    ///
    /// # Errors
    /// When there is one of that name, the specification is refused, or the API server is away.
    pub async fn create(
        &self,
        scope: &Scope,
        object: DataStreamResource,
    ) -> Result<DataStreamResource, CreateStreamError> {
        let name = stream_name(&object).to_owned();
        let found = self
            .find(&name)
            .await
            .map_err(|error| create_failed(&error))?;
        if found.is_some() {
            let text = format!(
                "Stream {name} under account {} already exists.",
                scope.account
            );
            return Err(CreateStreamError::Exists(text));
        }
        let options = PatchParams::apply(API_MANAGER);
        let applied = self
            .api
            .patch(&object.name_any(), &options, &Patch::Apply(&object))
            .await;
        match applied {
            Ok(applied) => {
                tracing::info!(stream = %name, object = applied.name_any(), "created for a client");
                Ok(applied)
            },
            Err(error) => Err(create_failed(&error)),
        }
    }

    /// Deletes the object of a stream, unless its spec is somebody else's.
    ///
    /// # Errors
    /// When there is none, it is not the API's to delete, or the API server is away.
    pub async fn delete(&self, scope: &Scope, name: &StreamName) -> Result<(), DeleteStreamError> {
        let found = self
            .find(name.as_str())
            .await
            .map_err(|error| delete_failed(&error))?;
        let Some(found) = found.filter(|found| found.metadata.deletion_timestamp.is_none()) else {
            let text = format!("Stream {name} under account {} not found.", scope.account);
            return Err(DeleteStreamError::NotFound(text));
        };
        if let Some(manager) = foreign_manager(&found)
            && !is_on(&found, annotations::API_DELETE)
        {
            return Err(DeleteStreamError::InUse(format!(
                "Stream {name} is kept as the DataStream {} by {manager}: delete it there, or \
                 annotate it {}: {}.",
                found.name_any(),
                annotations::API_DELETE,
                annotations::ALLOW
            )));
        }
        let options = DeleteParams {
            preconditions: Some(Preconditions {
                uid: found.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        match self.api.delete(&found.name_any(), &options).await {
            Ok(_) => {
                tracing::info!(stream = %name, object = found.name_any(), "deleted for a client");
                Ok(())
            },
            Err(error) if code(&error) == Some(404) => Ok(()),
            Err(error) => Err(delete_failed(&error)),
        }
    }

    /// The object of this stream name: the older, where there are two.
    async fn find(&self, name: &str) -> Result<Option<DataStreamResource>, kube::Error> {
        let listed = self.api.list(&ListParams::default()).await?;
        let same = |object: &DataStreamResource| stream_name(object) == name;
        let age = |object: &DataStreamResource| {
            let born = object
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0);
            (born, object.name_any())
        };
        Ok(listed.items.into_iter().filter(same).min_by_key(age))
    }
}

/// Who, other than SDK clients, wrote the object's spec.
#[must_use]
pub fn foreign_manager(object: &DataStreamResource) -> Option<String> {
    let entries = object.metadata.managed_fields.iter().flatten();
    let owns_spec = |fields: &serde_json::Value| fields.get("f:spec").is_some();
    entries
        .filter(|entry| {
            entry
                .fields_v1
                .as_ref()
                .is_some_and(|fields| owns_spec(&fields.0))
        })
        .filter_map(|entry| entry.manager.clone())
        .find(|manager| manager != API_MANAGER)
}

/// The object of a stream that a client asked for.
///
/// # Errors
/// When no object can say that.
pub fn object(spec: StreamSpec) -> Result<DataStreamResource, CreateStreamError> {
    let invalid = |text: &str| CreateStreamError::Invalid(text.to_owned());
    let number = |value: u32, what| i32::try_from(value).map_err(|_| invalid(what));
    let shard_count = match spec.shard_count {
        None => None,
        Some(count) => match u32::try_from(count) {
            Ok(count) if count <= STREAM_SHARDS_MAX => Some(number(count, "too many shards")?),
            Ok(_) | Err(_) => {
                let text = format!("A stream has at most {STREAM_SHARDS_MAX} shards.");
                return Err(CreateStreamError::LimitExceeded(text));
            },
        },
    };
    let metrics = spec
        .shard_level_metrics
        .map(|set| -> Vec<ShardLevelMetric> {
            let same = |name: &str| serde_json::from_value(serde_json::Value::from(name)).ok();
            set.iter()
                .filter_map(|metric| same(metric.as_str()))
                .collect()
        });
    let wanted = DataStreamSpec {
        stream_name: Some(spec.name.to_string()),
        stream_mode: match spec.mode {
            millstream_types::StreamMode::Provisioned => StreamMode::Provisioned,
            millstream_types::StreamMode::OnDemand => StreamMode::OnDemand,
        },
        shard_count,
        retention_period_hours: number(spec.retention_hours, "the retention is too long")?,
        max_record_size_in_kib: number(spec.max_record_kib, "the record size is too large")?,
        tags: spec.tags,
        shard_level_metrics: metrics.filter(|metrics| !metrics.is_empty()),
        deletion_policy: Some(DeletionPolicy::Delete),
        ..DataStreamSpec::default()
    };
    let mut object = DataStreamResource::new(&object_name(&spec.name), wanted);
    object.metadata = ObjectMeta {
        labels: Some(managed_labels(API_MANAGER)),
        ..object.metadata
    };
    Ok(object)
}

/// What a client is told of a stream that could not be built.
#[must_use]
pub fn refused(refusal: &Refusal, stream: &str, scope: &Scope) -> CreateStreamError {
    match refusal.reason {
        Reason::StreamNameTaken => {
            let account = &scope.account;
            let text = format!("Stream {stream} under account {account} already exists.");
            CreateStreamError::Exists(text)
        },
        Reason::PoolFull => CreateStreamError::LimitExceeded(refusal.message.clone()),
        Reason::OrphanExists => CreateStreamError::InUse(refusal.message.clone()),
        Reason::SpecInvalid | Reason::NotServed => {
            CreateStreamError::Invalid(refusal.message.clone())
        },
        // What only an administrator can mend.
        _ => CreateStreamError::Internal,
    }
}

/// The one map from the API server's answers to what a client of CreateStream is told.
fn create_failed(error: &kube::Error) -> CreateStreamError {
    tracing::warn!(%error, "CreateStream was not carried out");
    let said = |error: &kube::Error| match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    };
    match code(error) {
        Some(409) => CreateStreamError::InUse(format!("The stream is in use: {}", said(error))),
        Some(400 | 422) => CreateStreamError::Invalid(said(error)),
        Some(429) => CreateStreamError::Throttled("Rate exceeded.".to_owned()),
        Some(_) | None => CreateStreamError::Internal,
    }
}

fn delete_failed(error: &kube::Error) -> DeleteStreamError {
    tracing::warn!(%error, "DeleteStream was not carried out");
    match code(error) {
        Some(409) => DeleteStreamError::InUse("The stream is in use: try again.".to_owned()),
        Some(429) => DeleteStreamError::Throttled("Rate exceeded.".to_owned()),
        Some(_) | None => DeleteStreamError::Internal,
    }
}
