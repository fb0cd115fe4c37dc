//! What can go wrong, one enum per operation.
//!
//! `Display` is the message that a client sees, in AWS's words where they are known. `kind` says
//! what the caller can do; the gateway maps it to a code. Store errors are logged where they are
//! turned into `Internal`, so that clients see no paths.

use millstream_storage::{AppendError, ApplyError, ReadError, StoreError};
use millstream_types::{AccountId, Region, Scope, ShardId, StreamName};

/// What a caller can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Correct the request.
    Invalid,
    /// Name something that exists.
    NotFound,
    /// Name something that does not exist yet, or wait.
    Conflict,
    /// Ask for less, or for a higher quota.
    LimitExceeded,
    /// Try again later; nothing was done.
    Throttled,
    /// Get a new iterator or page token.
    Expired,
    /// Nothing; an administrator must look. For a put: it is not known whether it is durable.
    Internal,
}

macro_rules! kinds {
    ($error:ident { $($pattern:pat => $kind:ident,)* }) => {
        impl $error {
            /// What the caller can do.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self {
                    $($pattern => Kind::$kind,)*
                }
            }
        }
    };
}

/// No stream of this name in the scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Stream {name} under account {account} not found.")]
pub struct StreamNotFound {
    /// The name asked for.
    pub name: StreamName,
    /// The account that was asked.
    pub account: AccountId,
}

impl StreamNotFound {
    pub(crate) fn new(scope: &Scope, name: &StreamName) -> Self {
        Self {
            name: name.clone(),
            account: scope.account.clone(),
        }
    }
}

/// No such shard in a stream that may exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Shard {shard} in stream {stream} under account {account} does not exist")]
pub struct ShardNotFound {
    /// The shard asked for.
    pub shard: ShardId,
    /// Its stream.
    pub stream: StreamName,
    /// The account that was asked.
    pub account: AccountId,
}

/// Why the stored streams cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A row was written by a newer version of the program.
    #[error(
        "row {key} has format {version}, written by a newer version of the program; start that one"
    )]
    Newer {
        /// The row.
        key: String,
        /// Its format.
        version: u8,
    },
    /// A row contradicts its format or the other rows.
    #[error("row {key} is corrupt: {reason}")]
    Corrupt {
        /// The row.
        key: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Why a stream was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The name is taken.
    #[error("Stream {name} under account {account} already exists.")]
    Exists {
        /// The name.
        name: StreamName,
        /// The account.
        account: AccountId,
    },
    /// The account would have too many shards.
    #[error(
        "This request would exceed the shard limit for the account {account} in {region}. Current \
         shard count for the account: {have}. Limit: {limit}. Number of additional shards that \
         would have resulted from this request: {asked}. Refer to the AWS Service Limits page \
         (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits \
         and how to request higher limits."
    )]
    ShardLimit {
        /// The account.
        account: AccountId,
        /// The region of the request.
        region: Region,
        /// Shards that the account has.
        have: u64,
        /// Shards that it may have.
        limit: u64,
        /// Shards that were asked for.
        asked: u64,
    },
    /// One stream would have too many shards.
    #[error("a stream has at most {limit} shards, {asked} were asked for")]
    StreamShardLimit {
        /// Most shards of one stream.
        limit: u64,
        /// Shards that were asked for.
        asked: u64,
    },
    /// A setting is outside its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Out of memory budget or disk space for now.
    #[error("Rate exceeded for the account.")]
    Throttled,
    /// The store failed.
    #[error("Internal service failure.")]
    Internal,
}

kinds!(CreateError {
    Self::Exists { .. } => Conflict,
    Self::ShardLimit { .. } | Self::StreamShardLimit { .. } => LimitExceeded,
    Self::Setting(_) => Invalid,
    Self::Throttled => Throttled,
    Self::Internal => Internal,
});

/// A stream setting outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}, it must be {range}")]
pub struct SettingError {
    /// The setting, in AWS's word.
    pub setting: &'static str,
    /// What was asked for.
    pub value: String,
    /// What is allowed.
    pub range: &'static str,
}

/// Why a stream was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// No such stream.
    #[error(transparent)]
    NotFound(#[from] StreamNotFound),
    /// Out of memory budget or disk space for now.
    #[error("Rate exceeded for the account.")]
    Throttled,
    /// The store failed.
    #[error("Internal service failure.")]
    Internal,
}

kinds!(DeleteError {
    Self::NotFound(_) => NotFound,
    Self::Throttled => Throttled,
    Self::Internal => Internal,
});

/// Why a stream's settings were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// No such stream.
    #[error(transparent)]
    NotFound(#[from] StreamNotFound),
    /// A setting is outside its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Out of memory budget or disk space for now.
    #[error("Rate exceeded for the account.")]
    Throttled,
    /// The store failed.
    #[error("Internal service failure.")]
    Internal,
}

kinds!(UpdateError {
    Self::NotFound(_) => NotFound,
    Self::Setting(_) => Invalid,
    Self::Throttled => Throttled,
    Self::Internal => Internal,
});

/// Why a PutRecord was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutRecordError {
    /// No such stream.
    #[error(transparent)]
    NotFound(#[from] StreamNotFound),
    /// Data and key are larger than the stream allows.
    #[error(transparent)]
    TooLarge(#[from] RecordTooLarge),
    /// `SequenceNumberForOrdering` is no number, or lies ahead of every number given so far.
    #[error(
        "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {stream} under \
         account {account} is invalid."
    )]
    Ordering {
        /// The text given.
        number: String,
        /// The stream.
        stream: StreamName,
        /// The account.
        account: AccountId,
    },
    /// Out of memory budget or disk space for now.
    #[error(transparent)]
    Throttled(#[from] RateExceeded),
    /// The store failed or is closing: it is not known whether the record is durable.
    #[error("Internal service failure.")]
    Internal,
}

kinds!(PutRecordError {
    Self::NotFound(_) => NotFound,
    Self::TooLarge(_) | Self::Ordering { .. } => Invalid,
    Self::Throttled(_) => Throttled,
    Self::Internal => Internal,
});

/// A record over its stream's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Record {entry} has {bytes} bytes of data and partition key, the stream allows {limit} \
     (MaxRecordSizeInKiB)"
)]
pub struct RecordTooLarge {
    /// Its place in the request, from 1.
    pub entry: usize,
    /// Its bytes of data and key.
    pub bytes: usize,
    /// The stream's limit in bytes.
    pub limit: usize,
}

/// The store takes nothing more for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Rate exceeded for shard {shard} in stream {stream} under account {account}.")]
pub struct RateExceeded {
    /// The shard.
    pub shard: ShardId,
    /// Its stream.
    pub stream: StreamName,
    /// The account.
    pub account: AccountId,
}

/// Why a whole PutRecords was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutRecordsError {
    /// No such stream.
    #[error(transparent)]
    NotFound(#[from] StreamNotFound),
    /// Data and key of an entry are larger than the stream allows.
    #[error(transparent)]
    TooLarge(#[from] RecordTooLarge),
    /// More entries or bytes than one request may have.
    #[error(
        "one PutRecords request has at most {entries} records and {bytes} bytes of data and keys"
    )]
    RequestTooLarge {
        /// Most entries.
        entries: usize,
        /// Most bytes.
        bytes: usize,
    },
}

kinds!(PutRecordsError {
    Self::NotFound(_) => NotFound,
    Self::TooLarge(_) | Self::RequestTooLarge { .. } => Invalid,
});

/// Why one entry of a PutRecords failed; the others stand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Out of memory budget or disk space for now; the entry is not durable.
    #[error(transparent)]
    Throttled(#[from] RateExceeded),
    /// The store failed or is closing: it is not known whether the entry is durable.
    #[error("Internal service failure.")]
    Internal,
}

kinds!(EntryError {
    Self::Throttled(_) => Throttled,
    Self::Internal => Internal,
});

/// Why no shard iterator was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IteratorError {
    /// No such stream.
    #[error(transparent)]
    StreamNotFound(#[from] StreamNotFound),
    /// No such shard, or no such stream.
    #[error(transparent)]
    ShardNotFound(#[from] ShardNotFound),
    /// The text names no shard at all.
    #[error("Could not find shard {shard} in stream {stream} under account {account}.")]
    ShardIdInvalid {
        /// The text given.
        shard: String,
        /// The stream.
        stream: StreamName,
        /// The account.
        account: AccountId,
    },
    /// The text is no sequence number.
    #[error(
        "StartingSequenceNumber {number} used in GetShardIterator on shard {shard} in stream \
         {stream} under account {account} is invalid."
    )]
    NumberInvalid {
        /// The text given.
        number: String,
        /// The shard.
        shard: ShardId,
        /// The stream.
        stream: StreamName,
        /// The account.
        account: AccountId,
    },
    /// The number belongs to another shard.
    #[error(
        "Invalid StartingSequenceNumber. It encodes {encodes}, while it was used in a call to a \
         shard with {shard}"
    )]
    NumberOfOtherShard {
        /// The shard in the number.
        encodes: ShardId,
        /// The shard in the request.
        shard: ShardId,
    },
    /// The number belongs to a stream of another time.
    #[error(
        "StartingSequenceNumber {number} used in GetShardIterator on shard {shard} in stream \
         {stream} under account {account} is invalid because it did not come from this stream."
    )]
    NumberOfOtherStream {
        /// The text given.
        number: String,
        /// The shard.
        shard: ShardId,
        /// The stream.
        stream: StreamName,
        /// The account.
        account: AccountId,
    },
    /// AT_TIMESTAMP ahead of the clock.
    #[error(
        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
         timestampInMillis: {timestamp}, currentTimestampInMillis: {now}"
    )]
    TimestampAhead {
        /// The time asked for.
        timestamp: u64,
        /// The time now.
        now: u64,
    },
    /// Out of read budget for now.
    #[error(transparent)]
    Throttled(#[from] RateExceeded),
    /// The store failed.
    #[error("Internal service failure.")]
    Internal,
}

kinds!(IteratorError {
    Self::StreamNotFound(_) | Self::ShardNotFound(_) | Self::ShardIdInvalid { .. } => NotFound,
    Self::NumberInvalid { .. }
    | Self::NumberOfOtherShard { .. }
    | Self::NumberOfOtherStream { .. }
    | Self::TimestampAhead { .. } => Invalid,
    Self::Throttled(_) => Throttled,
    Self::Internal => Internal,
});

/// Why GetRecords failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GetRecordsError {
    /// Not an iterator that we gave to this account in this region, or of another stream than the
    /// request names.
    #[error("Invalid ShardIterator.")]
    IteratorInvalid,
    /// Older than five minutes.
    #[error(
        "Iterator expired. The iterator was created at time {created} while right now it is {now} \
         which is further in the future than the tolerated delay of {tolerated_ms} milliseconds."
    )]
    Expired {
        /// When it was made, as AWS shows times.
        created: String,
        /// Now, as AWS shows times.
        now: String,
        /// How long an iterator lives.
        tolerated_ms: u64,
    },
    /// The shard or its stream was deleted.
    #[error(transparent)]
    ShardNotFound(#[from] ShardNotFound),
    /// Out of read budget for now.
    #[error(transparent)]
    Throttled(#[from] RateExceeded),
    /// The store failed.
    #[error("Internal service failure.")]
    Internal,
}

kinds!(GetRecordsError {
    Self::IteratorInvalid => Invalid,
    Self::Expired { .. } => Expired,
    Self::ShardNotFound(_) => NotFound,
    Self::Throttled(_) => Throttled,
    Self::Internal => Internal,
});

/// Why a page of shards or streams was not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// No such stream.
    #[error(transparent)]
    NotFound(#[from] StreamNotFound),
    /// Not a token that we gave to this account in this region for this operation.
    #[error("NextToken is invalid.")]
    TokenInvalid,
    /// Older than five minutes.
    #[error("NextToken expired. It was created more than {tolerated_ms} milliseconds ago.")]
    TokenExpired {
        /// How long a token lives.
        tolerated_ms: u64,
    },
}

kinds!(ListError {
    Self::NotFound(_) => NotFound,
    Self::TokenInvalid => Invalid,
    Self::TokenExpired { .. } => Expired,
});

/// What a failed change of rows and shards means.
pub(crate) enum ApplyFailure {
    Throttled,
    Internal,
}

impl From<ApplyError> for ApplyFailure {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Store(StoreError::Overloaded | StoreError::NoSpace) => Self::Throttled,
            ApplyError::Store(StoreError::Closed)
            | ApplyError::ShardExists
            | ApplyError::NoShard
            | ApplyError::RowTooLarge => {
                tracing::error!(%error, "the store refused a change of streams");
                Self::Internal
            },
        }
    }
}

macro_rules! from_apply_failure {
    ($($error:ident)*) => {$(
        impl From<ApplyError> for $error {
            fn from(error: ApplyError) -> Self {
                match ApplyFailure::from(error) {
                    ApplyFailure::Throttled => Self::Throttled,
                    ApplyFailure::Internal => Self::Internal,
                }
            }
        }
    )*};
}

from_apply_failure!(CreateError DeleteError UpdateError);

/// What a failed append means for a record.
#[derive(Clone, Copy)]
pub(crate) enum AppendFailure {
    Gone,
    Throttled,
    Internal,
}

impl From<AppendError> for AppendFailure {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NoShard | AppendError::Sealed => Self::Gone,
        }
    }
}

impl From<StoreError> for AppendFailure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overloaded | StoreError::NoSpace => Self::Throttled,
            StoreError::Closed => Self::Internal,
        }
    }
}

/// What a failed read means.
pub(crate) enum ReadFailure {
    Gone,
    Throttled,
    Internal,
}

impl From<ReadError> for ReadFailure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoShard => Self::Gone,
            ReadError::Overloaded => Self::Throttled,
            ReadError::Corrupt { .. } | ReadError::Io(_) => {
                tracing::error!(%error, "the store failed to read a shard");
                Self::Internal
            },
        }
    }
}
