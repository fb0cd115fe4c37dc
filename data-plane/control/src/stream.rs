//! What a control plane wants of a stream.

use std::collections::BTreeMap;

use millstream_types::{Scope, ShardMetrics, StreamMode, StreamName, caps};
use serde::{Deserialize, Serialize};

/// A stream as its owner asks for it: a manifest, or a CreateStream call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// The stream's name.
    pub name: StreamName,
    /// How its capacity is set.
    pub mode: StreamMode,
    /// Shards. Absent: 1 at creation, then what the stream has. As large as a client asks: quotas
    /// are checked where the stream is created.
    pub shard_count: Option<u64>,
    /// How long a record stays readable, in hours.
    pub retention_hours: u32,
    /// Largest record (data and key), in KiB.
    pub max_record_kib: u32,
    /// Tags. Absent: none at creation, then what the stream has.
    pub tags: Option<BTreeMap<String, String>>,
    /// Metrics shown per shard. Absent: none at creation, then what the stream has.
    pub shard_level_metrics: Option<ShardMetrics>,
}

impl StreamSpec {
    /// A provisioned stream with defaults for all else.
    #[must_use]
    pub const fn new(name: StreamName) -> Self {
        Self {
            name,
            mode: StreamMode::Provisioned,
            shard_count: None,
            retention_hours: caps::RETENTION_HOURS_MIN,
            max_record_kib: caps::RECORD_KIB_DEFAULT,
            tags: None,
            shard_level_metrics: None,
        }
    }
}

/// A stream that a control plane wants to exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredStream {
    /// Account and region.
    pub scope: Scope,
    /// Which of two states of one stream is newer.
    pub version: Version,
    /// What is wanted.
    pub spec: StreamSpec,
}

/// Orders the states of a resource. A server keeps the higher one: replays are harmless.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(pub u64);
