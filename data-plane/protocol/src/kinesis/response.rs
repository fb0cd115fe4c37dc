//! Answers as the handlers give them, free of the encoding.

use bytes::Bytes;
use millstream_types::{HashKeyRange, Millis, SequenceNumber, ShardId, StreamArn, StreamMode};

use super::request::RecordDistributionStrategy;

/// An answer to be encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "one variant for each operation, by its name")]
pub enum Response {
    CreateStream,
    DeleteStream,
    DescribeStream(StreamDescription),
    DescribeStreamSummary(StreamDescriptionSummary),
    GetRecords(GetRecordsOutput),
    GetShardIterator(GetShardIteratorOutput),
    ListShards(ListShardsOutput),
    ListStreams(ListStreamsOutput),
    PutRecord(PutRecordOutput),
    PutRecords(PutRecordsOutput),
}

/// The state of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are AWS's and say it")]
pub enum StreamStatus {
    Creating,
    Deleting,
    Active,
    Updating,
}

impl StreamStatus {
    /// AWS's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Deleting => "DELETING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
        }
    }
}

/// One shard of a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardDescription {
    /// The shard.
    pub shard_id: ShardId,
    /// The shard it came from, if it is still known.
    pub parent: Option<ShardId>,
    /// The other parent of a merged shard.
    pub adjacent_parent: Option<ShardId>,
    /// The hash keys it takes.
    pub hash_keys: HashKeyRange,
    /// Its lowest number.
    pub starting: SequenceNumber,
    /// Its highest number, once it is closed.
    pub ending: Option<SequenceNumber>,
}

/// Output of `DescribeStream`. Streams are never encrypted yet: `EncryptionType` is `NONE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDescription {
    /// The stream, with its name.
    pub arn: StreamArn,
    /// Its state.
    pub status: StreamStatus,
    /// Its capacity mode.
    pub mode: StreamMode,
    /// Its shards, in order of their ids.
    pub shards: Vec<ShardDescription>,
    /// Whether there are shards after these.
    pub has_more_shards: bool,
    /// Hours that records are kept.
    pub retention_hours: u32,
    /// When it was made.
    pub created: Millis,
}

/// Output of `DescribeStreamSummary`. Streams are never encrypted yet: `EncryptionType` is `NONE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDescriptionSummary {
    /// The stream, with its name.
    pub arn: StreamArn,
    /// Its state.
    pub status: StreamStatus,
    /// Its capacity mode.
    pub mode: StreamMode,
    /// Hours that records are kept.
    pub retention_hours: u32,
    /// When it was made.
    pub created: Millis,
    /// Shards that take records.
    pub open_shards: u32,
    /// Registered consumers.
    pub consumers: u32,
    /// Largest record that it takes, KiB.
    pub max_record_size_kib: u32,
    /// How records find their shard; the producer library asks for it.
    pub record_distribution_strategy: RecordDistributionStrategy,
}

/// One stream of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// The stream, with its name.
    pub arn: StreamArn,
    /// Its state.
    pub status: StreamStatus,
    /// Its capacity mode, where it is known.
    pub mode: Option<StreamMode>,
    /// When it was made, where it is known.
    pub created: Option<Millis>,
}

/// Output of `ListStreams`; the names are taken from the summaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListStreamsOutput {
    /// The streams, by name.
    pub streams: Vec<StreamSummary>,
    /// Whether there are streams after these.
    pub has_more_streams: bool,
    /// Token of the next page, if there is one.
    pub next_token: Option<String>,
}

/// Output of `ListShards`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListShardsOutput {
    /// The shards, in order of their ids.
    pub shards: Vec<ShardDescription>,
    /// Token of the next page, if there is one.
    pub next_token: Option<String>,
}

/// Output of `PutRecord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutRecordOutput {
    /// Where the record is.
    pub shard_id: ShardId,
    /// Its number.
    pub sequence_number: SequenceNumber,
}

/// Why one entry of `PutRecords` failed: the two codes that AWS has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are AWS's and say it")]
pub enum EntryErrorCode {
    ProvisionedThroughputExceeded,
    InternalFailure,
}

impl EntryErrorCode {
    /// AWS's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            Self::InternalFailure => "InternalFailure",
        }
    }
}

/// What became of one entry of `PutRecords`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutEntryOutput {
    /// It is durable.
    Put(PutRecordOutput),
    /// It was not written.
    Failed {
        /// Why.
        code: EntryErrorCode,
        /// More about why.
        message: String,
    },
}

/// Output of `PutRecords`, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRecordsOutput {
    /// What became of each entry.
    pub entries: Vec<PutEntryOutput>,
}

/// Output of `GetShardIterator`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetShardIteratorOutput {
    /// The iterator, opaque.
    pub shard_iterator: String,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRecord {
    /// Its number.
    pub sequence_number: SequenceNumber,
    /// When it arrived.
    pub arrival: Millis,
    /// Its partition key, UTF-8.
    pub partition_key: Bytes,
    /// Its payload.
    pub data: Bytes,
}

/// A shard that continues a closed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildShard {
    /// The shard.
    pub shard_id: ShardId,
    /// The shards it came from.
    pub parents: Vec<ShardId>,
    /// The hash keys it takes.
    pub hash_keys: HashKeyRange,
}

/// Output of `GetRecords`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetRecordsOutput {
    /// The records.
    pub records: Vec<ReadRecord>,
    /// Where to go on; absent at the end of a closed shard.
    pub next_shard_iterator: Option<String>,
    /// How far the records are behind the newest of the shard.
    pub millis_behind_latest: u64,
    /// At the end of a closed shard: the shards that continue it.
    pub child_shards: Vec<ChildShard>,
}
