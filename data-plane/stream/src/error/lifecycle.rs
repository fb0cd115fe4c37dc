//! Opening the stored streams; creating, changing and deleting one.

use millstream_types::{AccountId, Region, StreamName};

use super::{Kind, StreamNotFound};

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

/// Why shards for a stream of another group were not made or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The stream was removed: the request comes too late.
    #[error("the stream was removed")]
    Gone,
    /// The home that asks is of a life that was outlived: its decisions count no more.
    #[error("a later life of the stream's home has decided")]
    Outlived,
    /// The home has decided anew since.
    #[error("a later decision of the stream's home is known")]
    Late,
    /// Out of memory budget or disk space for now.
    #[error("the store takes nothing more for now")]
    Throttled,
    /// The store failed.
    #[error("the store failed")]
    Internal,
}

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
