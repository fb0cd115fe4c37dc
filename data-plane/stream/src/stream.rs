//! A stream as the operations see it: an immutable snapshot, replaced as a whole when it changes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use millstream_types::{
    HashKeyRange, Millis, Scope, SequenceNumber, ShardId, ShardMetrics, StreamArn, StreamMode,
    StreamName, StreamUid, caps,
};

use crate::counters::StreamCounters;
use crate::error::SettingError;
use crate::shard::{Shard, ShardMap};

/// What can be changed in a stream's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a record stays readable, in hours.
    pub retention_hours: u32,
    /// Largest record (data and key), in KiB.
    pub max_record_kib: u32,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Metrics shown per shard.
    pub shard_level_metrics: ShardMetrics,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention_hours: caps::RETENTION_HOURS_MIN,
            max_record_kib: caps::RECORD_KIB_DEFAULT,
            tags: BTreeMap::new(),
            shard_level_metrics: ShardMetrics::default(),
        }
    }
}

impl Settings {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`SettingError`] for the first setting outside its range.
    pub fn validate(&self) -> Result<(), SettingError> {
        let refuse = |setting, value: String, range| {
            Err(SettingError {
                setting,
                value,
                range,
            })
        };
        if !(caps::RETENTION_HOURS_MIN..=caps::RETENTION_HOURS_MAX).contains(&self.retention_hours)
        {
            let value = self.retention_hours.to_string();
            return refuse("RetentionPeriodHours", value, "24 to 8760");
        }
        if !(caps::RECORD_KIB_DEFAULT..=caps::RECORD_KIB_MAX).contains(&self.max_record_kib) {
            let value = self.max_record_kib.to_string();
            return refuse("MaxRecordSizeInKiB", value, "1024 to 10240");
        }
        if self.tags.len() > caps::TAGS_MAX {
            return refuse(
                "the number of Tags",
                self.tags.len().to_string(),
                "at most 50",
            );
        }
        for (key, value) in &self.tags {
            if !(1..=caps::TAG_KEY_CHARS_MAX).contains(&key.chars().count()) {
                return refuse("a tag key", format!("{key:?}"), "1 to 128 characters");
            }
            if value.chars().count() > caps::TAG_VALUE_CHARS_MAX {
                return refuse(
                    "a tag value",
                    format!("{value:?}"),
                    "at most 256 characters",
                );
            }
        }
        Ok(())
    }
}

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its shards are being made; it takes no records yet.
    Creating,
    /// It takes and gives records.
    Active,
    /// Its shards are being removed; it takes and gives none.
    Deleting,
    /// Nobody wants it for now: it is kept with its records and shown to nobody. Its name is free.
    Retained,
}

impl Status {
    /// AWS's word; the last one is ours.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
            Self::Retained => "RETAINED",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stream at one moment. Cheap to keep: it shares its shard map and counters with later ones.
#[derive(Clone, Debug)]
pub struct Stream {
    pub(crate) uid: StreamUid,
    pub(crate) scope: Scope,
    pub(crate) name: StreamName,
    pub(crate) status: Status,
    pub(crate) mode: StreamMode,
    pub(crate) created: Millis,
    pub(crate) settings: Settings,
    pub(crate) map: Arc<ShardMap>,
    pub(crate) counters: Arc<StreamCounters>,
}

/// A shard as ListShards and DescribeStream show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardDescription {
    /// Its name.
    pub id: ShardId,
    /// The hash keys that it takes.
    pub hash_key_range: HashKeyRange,
    /// The number below every record of the shard.
    pub starting_sequence_number: SequenceNumber,
}

impl From<&Shard> for ShardDescription {
    fn from(shard: &Shard) -> Self {
        Self {
            id: shard.id,
            hash_key_range: shard.range,
            starting_sequence_number: shard.starting_sequence_number(),
        }
    }
}

impl Stream {
    /// Its identity over its whole life.
    #[must_use]
    pub const fn uid(&self) -> StreamUid {
        self.uid
    }

    /// Account and region.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Its name in the scope.
    #[must_use]
    pub const fn name(&self) -> &StreamName {
        &self.name
    }

    /// Where it is in its life.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Whether clients see it under its name.
    #[must_use]
    pub const fn is_shown(&self) -> bool {
        !matches!(self.status, Status::Retained)
    }

    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> StreamArn {
        StreamArn {
            region: self.scope.region.clone(),
            account: self.scope.account.clone(),
            name: self.name.clone(),
        }
    }

    /// How its capacity is set.
    #[must_use]
    pub const fn mode(&self) -> StreamMode {
        self.mode
    }

    /// When it was created.
    #[must_use]
    pub const fn created(&self) -> Millis {
        self.created
    }

    /// What can be changed.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its shards.
    #[must_use]
    pub fn map(&self) -> &ShardMap {
        &self.map
    }

    /// Shards that take records.
    #[must_use]
    pub fn open_shard_count(&self) -> usize {
        self.map.shards().len()
    }

    /// What it took and gave since the process started.
    #[must_use]
    pub fn counters(&self) -> &StreamCounters {
        &self.counters
    }

    /// How long a record stays readable, in milliseconds.
    #[must_use]
    pub fn retention_ms(&self) -> u64 {
        u64::from(self.settings.retention_hours) * 3_600_000
    }

    /// Most bytes of data and key that one record may have.
    #[must_use]
    pub fn record_bytes_max(&self) -> usize {
        usize::try_from(self.settings.max_record_kib).map_or(usize::MAX, |kib| kib * 1024)
    }

    /// At most `limit` shards whose id is above `after`, by id, and whether there are more:
    /// DescribeStream's page. None are shown while the stream is being created.
    #[must_use]
    pub fn shards_after(
        &self,
        after: Option<ShardId>,
        limit: usize,
    ) -> (Vec<ShardDescription>, bool) {
        let all = match self.status {
            Status::Creating => &[],
            Status::Active | Status::Deleting | Status::Retained => self.map.shards(),
        };
        let from = all.partition_point(|shard| Some(shard.id) <= after);
        let to = all.len().min(from.saturating_add(limit));
        let page = all[from..to].iter().map(ShardDescription::from).collect();
        (page, to < all.len())
    }
}
