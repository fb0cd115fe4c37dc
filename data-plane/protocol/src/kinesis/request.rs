//! Requests as the handlers see them: whole, valid by the service model, free of the encoding.
//!
//! Each struct has AWS's members by our names. What needs more than the model to be judged (does
//! the stream exist, does a sequence number belong to the shard) is left to the handler, with the
//! value as the client wrote it.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use millstream_types::{HashKey, Millis, Scope, ShardId, StreamArn, StreamMode, StreamName};

use super::errors;
use crate::error::ServiceError;

/// A decoded request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "one variant for each operation, by its name")]
pub enum Request {
    CreateStream(CreateStream),
    DeleteStream(DeleteStream),
    DescribeStream(DescribeStream),
    DescribeStreamSummary(DescribeStreamSummary),
    GetRecords(GetRecords),
    GetShardIterator(GetShardIterator),
    ListShards(ListShards),
    ListStreams(ListStreams),
    PutRecord(PutRecord),
    PutRecords(PutRecords),
}

/// The stream that a request names: by name, by ARN or by both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamTarget {
    /// `StreamName`.
    pub name: Option<StreamName>,
    /// `StreamARN`.
    pub arn: Option<StreamArn>,
}

impl StreamTarget {
    /// The name of the stream, for a caller of `scope`.
    ///
    /// # Errors
    /// When neither member is given, when the two name different streams, or when the ARN lies
    /// in another account or region than `scope` (nothing of theirs is here).
    pub fn resolve(&self, scope: &Scope) -> Result<&StreamName, ServiceError> {
        match (&self.name, &self.arn) {
            (None, None) => Err(errors::no_stream_given()),
            (Some(name), None) => Ok(name),
            (name, Some(arn)) => {
                if name.as_ref().is_some_and(|name| *name != arn.name) {
                    return Err(errors::name_and_arn_differ());
                }
                if arn.account != scope.account || arn.region != scope.region {
                    return Err(errors::stream_not_found(&arn.name, &arn.account));
                }
                Ok(&arn.name)
            },
        }
    }

    /// Whether the request names no stream.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.name.is_none() && self.arn.is_none()
    }
}

/// A partition key: 1 to 256 characters of UTF-8. It shares its memory with the request.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyBytes(Bytes);

impl KeyBytes {
    /// Takes over bytes that are known to be a partition key.
    pub(crate) const fn trusted(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The key as text.
    ///
    /// # Panics
    /// Never: a key is made of text alone.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a key is made from a str")
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBytes({:?})", self.as_str())
    }
}

/// A decimal number as the client wrote it, of the grammar of sequence numbers but of any layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceText(pub(crate) String);

impl SequenceText {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A shard as the client named it: 1 to 128 characters of `[a-zA-Z0-9_.-]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardName(pub(crate) String);

impl ShardName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shard that AWS takes it for: the digits after the first hyphen, or the whole text if it
    /// is all digits, up to 2,147,483,647 (kinesalite test/getShardIterator.js: `2147483647`,
    /// `-00002147483647` and `any-0` are shards, `2.14E4` is none).
    #[must_use]
    pub fn resolve(&self) -> Option<ShardId> {
        let text = match self.0.split('-').nth(1) {
            Some(part) if !part.is_empty() => part,
            _ => &self.0,
        };
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let index: u64 = text.parse().ok()?;
        i32::try_from(index).ok()?;
        u32::try_from(index).ok().map(ShardId)
    }
}

impl fmt::Display for ShardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the service may choose the shard of a record, or the partition key does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordDistributionStrategy {
    /// The service may.
    Auto,
    /// The partition key does.
    #[default]
    UserPartitionKey,
}

impl RecordDistributionStrategy {
    /// AWS's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "AUTO",
            Self::UserPartitionKey => "USER_PARTITION_KEY",
        }
    }
}

/// Input of `CreateStream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateStream {
    /// Name of the new stream.
    pub stream_name: StreamName,
    /// Number of shards, at least 1.
    pub shard_count: Option<u32>,
    /// Capacity mode; `PROVISIONED` when absent.
    pub stream_mode: Option<StreamMode>,
    /// Tags, 1 to 200 when given.
    pub tags: Option<BTreeMap<String, String>>,
    /// Warm throughput, MiB/s.
    pub warm_throughput_mibps: Option<u32>,
    /// Largest record, 1,024 to 10,240 KiB.
    pub max_record_size_kib: Option<u32>,
    /// How records find their shard.
    pub record_distribution_strategy: Option<RecordDistributionStrategy>,
}

/// Input of `DeleteStream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteStream {
    /// The stream.
    pub stream: StreamTarget,
    /// Whether registered consumers go with the stream; without it they keep it alive.
    pub enforce_consumer_deletion: bool,
}

/// Input of `DescribeStream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeStream {
    /// The stream.
    pub stream: StreamTarget,
    /// Most shards to show, 1 to 10,000.
    pub limit: Option<u32>,
    /// The shard to show shards after.
    pub exclusive_start_shard_id: Option<ShardName>,
}

/// Input of `DescribeStreamSummary`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeStreamSummary {
    /// The stream.
    pub stream: StreamTarget,
}

/// Input of `ListStreams`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListStreams {
    /// Most streams to show, 1 to 10,000.
    pub limit: Option<u32>,
    /// The stream to show streams after.
    pub exclusive_start_stream_name: Option<StreamName>,
    /// Token of the page before.
    pub next_token: Option<String>,
}

/// Which shards `ListShards` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are AWS's and say it")]
pub enum ShardFilterType {
    AfterShardId,
    AtTrimHorizon,
    FromTrimHorizon,
    AtLatest,
    AtTimestamp,
    FromTimestamp,
}

/// A filter of `ListShards`. Which of the optional members a type needs is for the handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardFilter {
    /// What the filter looks at.
    pub filter_type: ShardFilterType,
    /// For `AFTER_SHARD_ID`.
    pub shard_id: Option<ShardName>,
    /// For `AT_TIMESTAMP` and `FROM_TIMESTAMP`.
    pub timestamp: Option<Millis>,
}

/// Input of `ListShards`: a stream, or the token of the page before, but not both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListShards {
    /// The stream; empty when there is a token.
    pub stream: StreamTarget,
    /// Token of the page before; it names the stream.
    pub next_token: Option<String>,
    /// The shard to show shards after.
    pub exclusive_start_shard_id: Option<ShardName>,
    /// Most shards to show, 1 to 10,000.
    pub max_results: Option<u32>,
    /// Tells streams of one name apart by when they were made.
    pub stream_creation_timestamp: Option<Millis>,
    /// Which shards to show.
    pub shard_filter: Option<ShardFilter>,
}

/// A record to put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutEntry {
    /// The payload, at most 10 MiB; it shares its memory with the rest of the request.
    pub data: Bytes,
    /// The partition key; it shares its memory with the rest of the request.
    pub partition_key: KeyBytes,
    /// Overrides the hash of the partition key.
    pub explicit_hash_key: Option<HashKey>,
}

/// Input of `PutRecord`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRecord {
    /// The stream.
    pub stream: StreamTarget,
    /// The record.
    pub entry: PutEntry,
    /// The new record's number shall be above this one.
    pub sequence_number_for_ordering: Option<SequenceText>,
    /// Check everything, write nothing.
    pub dry_run: bool,
}

/// Input of `PutRecords`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRecords {
    /// The stream.
    pub stream: StreamTarget,
    /// 1 to 500 records.
    pub entries: Vec<PutEntry>,
    /// Check everything, write nothing.
    pub dry_run: bool,
}

/// Where an iterator starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are AWS's and say it")]
pub enum ShardIteratorType {
    AtSequenceNumber,
    AfterSequenceNumber,
    TrimHorizon,
    Latest,
    AtTimestamp,
}

impl ShardIteratorType {
    /// AWS's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtSequenceNumber => "AT_SEQUENCE_NUMBER",
            Self::AfterSequenceNumber => "AFTER_SEQUENCE_NUMBER",
            Self::TrimHorizon => "TRIM_HORIZON",
            Self::Latest => "LATEST",
            Self::AtTimestamp => "AT_TIMESTAMP",
        }
    }
}

/// Input of `GetShardIterator`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetShardIterator {
    /// The stream.
    pub stream: StreamTarget,
    /// The shard.
    pub shard_id: ShardName,
    /// Where to start.
    pub iterator_type: ShardIteratorType,
    /// For `AT_SEQUENCE_NUMBER` and `AFTER_SEQUENCE_NUMBER`.
    pub starting_sequence_number: Option<SequenceText>,
    /// For `AT_TIMESTAMP`.
    pub timestamp: Option<Millis>,
    /// Check everything, issue nothing.
    pub dry_run: bool,
}

/// Input of `GetRecords`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetRecords {
    /// The iterator, opaque, 1 to 512 characters.
    pub shard_iterator: String,
    /// Most records to return, 1 to 10,000.
    pub limit: Option<u32>,
    /// The stream that the iterator shall belong to, if given.
    pub stream_arn: Option<StreamArn>,
    /// Check everything, return nothing.
    pub dry_run: bool,
}
