//! `DataStream`: one Kinesis data stream as an object.
//!
//! Field by field this is what a user writes and what the operator reports back. The ranges are
//! AWS's. The rules that hold between fields are in [`validate`].

#![cfg_attr(
    feature = "k8s",
    expect(
        unreachable_pub,
        reason = "KubeSchema copies each struct into a function body"
    )
)]

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::meta::{Condition, Metadata};
use crate::text;

#[cfg(feature = "k8s")]
mod rules;
mod validate;

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

/// Who decides how many shards a stream has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "k8s", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StreamMode {
    /// `spec.shardCount` decides.
    #[default]
    Provisioned,
    /// The load decides.
    OnDemand,
}

/// What happens to the records when the object is deleted. Absent means `Retain` for objects made
/// from manifests and `Delete` for those made by CreateStream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "k8s", derive(schemars::JsonSchema))]
pub enum DeletionPolicy {
    /// They stay, as an orphan that another object can adopt.
    Retain,
    /// They go.
    Delete,
}

impl StreamMode {
    /// The mode as it stands in a manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioned => "PROVISIONED",
            Self::OnDemand => "ON_DEMAND",
        }
    }
}

impl fmt::Display for StreamMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl DeletionPolicy {
    /// The policy as it stands in a manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }
}

impl fmt::Display for DeletionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A CloudWatch metric that can be reported per shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "k8s", derive(schemars::JsonSchema))]
pub enum ShardLevelMetric {
    /// Bytes put.
    IncomingBytes,
    /// Records put.
    IncomingRecords,
    /// Age of the last record read.
    IteratorAgeMilliseconds,
    /// Bytes read.
    OutgoingBytes,
    /// Records read.
    OutgoingRecords,
    /// Reads refused for their rate.
    ReadProvisionedThroughputExceeded,
    /// Writes refused for their rate.
    WriteProvisionedThroughputExceeded,
    /// Every metric above.
    #[serde(rename = "ALL")]
    All,
}

impl ShardLevelMetric {
    /// The metric's name in CloudWatch, or `ALL`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IncomingBytes => "IncomingBytes",
            Self::IncomingRecords => "IncomingRecords",
            Self::IteratorAgeMilliseconds => "IteratorAgeMilliseconds",
            Self::OutgoingBytes => "OutgoingBytes",
            Self::OutgoingRecords => "OutgoingRecords",
            Self::ReadProvisionedThroughputExceeded => "ReadProvisionedThroughputExceeded",
            Self::WriteProvisionedThroughputExceeded => "WriteProvisionedThroughputExceeded",
            Self::All => "ALL",
        }
    }
}

/// What a data stream is, as the operator last saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "k8s", derive(kube::KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct DataStreamStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The name that clients use: `spec.streamName`, or the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_name: Option<String>,
    /// The internal id of the stream, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// The ARN that clients use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_arn: Option<String>,
    /// `CREATING`, `ACTIVE`, `UPDATING` or `DELETING`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_status: Option<String>,
    /// Open shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard_count: Option<i32>,
    /// The label selector of the pods that hold the shards, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// `Ready`, `Reconciling`, `Stalled` and more, one of each type.
    #[cfg_attr(
        feature = "k8s",
        x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))
    )]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

const fn default_retention() -> i32 {
    24
}

const fn default_record_size() -> i32 {
    1024
}

fn default_pool() -> String {
    "default".to_owned()
}

// The API server prunes a null before it fills in defaults, so a null here is a default too.

fn or_default_mode<'de, D: Deserializer<'de>>(value: D) -> Result<StreamMode, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

fn or_default_retention<'de, D: Deserializer<'de>>(value: D) -> Result<i32, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_else(default_retention))
}

fn or_default_record_size<'de, D: Deserializer<'de>>(value: D) -> Result<i32, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_else(default_record_size))
}

fn or_default_pool<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(text::optional(value)?.unwrap_or_else(default_pool))
}
