//! `DataStream`: one Kinesis data stream as an object.
//!
//! Field by field this is what a user writes and what the operator reports back. The ranges are
//! AWS's. The rules that hold between fields are in [`validate`], what is left out in
//! [`defaults`], the fields that are one of a few words in [`words`].

#![cfg_attr(
    feature = "k8s",
    expect(
        unreachable_pub,
        reason = "KubeSchema copies each struct into a function body"
    )
)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::meta::Metadata;
use crate::text;

mod defaults;
#[cfg(feature = "k8s")]
mod rules;
mod status;
mod validate;
mod words;

pub use status::DataStreamStatus;
pub use words::{DeletionPolicy, ShardLevelMetric, StreamMode};

use defaults::{
    default_pool, default_record_size, default_retention, or_default_mode, or_default_pool,
    or_default_record_size, or_default_retention,
};

/// A data stream, as it stands in a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataStream {
    /// Always `millstream.dev/v1alpha1`.
    pub api_version: String,
    /// Always `DataStream`.
    pub kind: String,
    /// Name, namespace, labels, annotations.
    #[serde(default)]
    pub metadata: Metadata,
    /// What the stream should be.
    pub spec: DataStreamSpec,
    /// What the stream is; written by the operator, ignored in a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<DataStreamStatus>,
}

impl DataStream {
    /// The kind, as it stands in a manifest.
    pub const KIND: &'static str = "DataStream";

    /// A stream named `name` with every field at its default.
    #[must_use]
    pub fn new(name: impl Into<String>, spec: DataStreamSpec) -> Self {
        Self {
            api_version: crate::API_VERSION.to_owned(),
            kind: Self::KIND.to_owned(),
            metadata: Metadata::named(name),
            spec,
            status: None,
        }
    }

    /// The name that Kinesis clients use: `spec.streamName`, or the object's name.
    #[must_use]
    pub fn stream_name(&self) -> &str {
        self.spec
            .stream_name
            .as_deref()
            .unwrap_or(&self.metadata.name)
    }
}

/// What a data stream should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "k8s",
    derive(kube::CustomResource, kube::KubeSchema),
    kube(
        group = "millstream.dev",
        version = "v1alpha1",
        kind = "DataStream",
        root = "DataStreamResource",
        plural = "datastreams",
        shortname = "dstream",
        category = "millstream",
        namespaced,
        doc = "One Kinesis data stream: ordered, durable, replayable shards.",
        status = "DataStreamStatus",
        derive = "PartialEq",
        selectable = ".spec.pool",
        selectable = ".spec.streamMode",
        scale(
            spec_replicas_path = ".spec.shardCount",
            status_replicas_path = ".status.shardCount",
            label_selector_path = ".status.selector"
        ),
        printcolumn(name = "Stream", type_ = "string", json_path = ".status.streamName"),
        printcolumn(name = "Status", type_ = "string", json_path = ".status.streamStatus"),
        printcolumn(name = "Shards", type_ = "integer", json_path = ".status.shardCount"),
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = ".status.conditions[?(@.type=='Ready')].status"
        ),
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
        printcolumn(
            name = "ARN",
            type_ = "string",
            json_path = ".status.streamArn",
            priority = 1
        ),
        printcolumn(
            name = "Pool",
            type_ = "string",
            json_path = ".spec.pool",
            priority = 1
        ),
        validation = Rule::new(rules::NAME_FITS)
            .message("metadata.name is longer than 128 characters: set spec.streamName")
            .field_path(".spec.streamName"),
        validation = Rule::new(rules::NAME_STAYS)
            .message("the stream name cannot change: make another DataStream")
            .field_path(".spec.streamName"),
        validation = Rule::new(rules::ADOPTED_ONCE)
            .message(
                "the stream has its records: adoptStreamId can only be removed, or set to \
                 status.streamId"
            )
            .field_path(".spec.adoptStreamId"),
    ),
    x_kube(
        validation = Rule::new(rules::COUNT_OR_ON_DEMAND)
            .message("a stream in mode ON_DEMAND counts its shards itself: remove shardCount")
            .field_path(".shardCount")
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataStreamSpec {
    /// The name that Kinesis clients use: 1 to 128 characters of `[a-zA-Z0-9_.-]`. Default: the
    /// object's name. Cannot be changed.
    #[cfg_attr(
        feature = "k8s",
        schemars(length(max = 128), regex(pattern = "^[a-zA-Z0-9_.-]{1,128}$"))
    )]
    #[serde(
        default,
        deserialize_with = "text::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub stream_name: Option<String>,
    /// Who decides how many shards there are: `PROVISIONED` (`shardCount` does) or `ON_DEMAND`
    /// (the load does).
    #[serde(default, deserialize_with = "or_default_mode")]
    pub stream_mode: StreamMode,
    /// Open shards, 1 to 10000, in the mode `PROVISIONED` only. Absent means 1 at creation, and
    /// later whatever the stream has.
    #[cfg_attr(feature = "k8s", schemars(range(min = 1, max = 10000)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard_count: Option<i32>,
    /// How long records are kept, 24 to 8760 hours.
    #[cfg_attr(feature = "k8s", schemars(range(min = 24, max = 8760)))]
    #[serde(
        default = "default_retention",
        deserialize_with = "or_default_retention"
    )]
    pub retention_period_hours: i32,
    /// Largest record (data and partition key), 1024 to 10240 KiB.
    #[cfg_attr(feature = "k8s", schemars(range(min = 1024, max = 10240)))]
    #[serde(
        default = "default_record_size",
        deserialize_with = "or_default_record_size",
        rename = "maxRecordSizeInKiB"
    )]
    pub max_record_size_in_kib: i32,
    /// Tags of the stream, at most 50: keys of 1 to 128 characters that do not start with `aws:`,
    /// values of at most 256. Absent means that the tags are managed elsewhere.
    #[cfg_attr(
        feature = "k8s",
        schemars(extend(
            "maxProperties" = 50,
            "additionalProperties" = {"type": "string", "maxLength": 256}
        )),
        x_kube(
            validation = Rule::new(rules::TAG_KEY_LENGTH)
                .message("a tag key has 1 to 128 characters"),
            validation = Rule::new(rules::TAG_KEY_FREE)
                .message("tag keys that start with aws: are reserved: choose another"),
        )
    )]
    #[serde(
        default,
        deserialize_with = "text::optional_map",
        skip_serializing_if = "Option::is_none"
    )]
    pub tags: Option<BTreeMap<String, String>>,
    /// The CloudWatch metrics to report per shard, each at most once; `ALL` means every one.
    #[cfg_attr(
        feature = "k8s",
        schemars(length(max = 8)),
        x_kube(merge_strategy = ListMerge::Set)
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard_level_metrics: Option<Vec<ShardLevelMetric>>,
    /// The pool of shard pods that holds the stream: 1 to 32 characters of `[a-z0-9-]`, first and
    /// last not `-`. Cannot be changed.
    #[cfg_attr(
        feature = "k8s",
        schemars(
            length(max = 32),
            regex(pattern = "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")
        ),
        x_kube(
            validation = Rule::new(rules::POOL_STAYS)
                .message("the pool cannot change: make another DataStream")
        )
    )]
    #[serde(default = "default_pool", deserialize_with = "or_default_pool")]
    pub pool: String,
    /// What happens to the records when the object is deleted. Absent means `Retain` for objects
    /// made from manifests and `Delete` for those made by CreateStream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// The id (32 lower-case hexadecimal digits) of a retained stream whose records this object
    /// takes over. Can be set until the object has a stream.
    #[cfg_attr(
        feature = "k8s",
        schemars(length(max = 32), regex(pattern = "^[0-9a-f]{32}$"))
    )]
    #[serde(
        default,
        deserialize_with = "text::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub adopt_stream_id: Option<String>,
}

impl Default for DataStreamSpec {
    fn default() -> Self {
        Self {
            stream_name: None,
            stream_mode: StreamMode::default(),
            shard_count: None,
            retention_period_hours: default_retention(),
            max_record_size_in_kib: default_record_size(),
            tags: None,
            shard_level_metrics: None,
            pool: default_pool(),
            deletion_policy: None,
            adopt_stream_id: None,
        }
    }
}
