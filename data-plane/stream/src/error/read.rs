//! Iterators, reads and lists.

use millstream_types::{AccountId, ShardId, StreamName};

use super::{Kind, RateExceeded, ShardNotFound, StreamNotFound};
use crate::stream::Status;

/// Why no shard iterator was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IteratorError {
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
    /// The shard has not given the number yet, or does not hold it any more: it lost its newest
    /// records.
    #[error(
        "StartingSequenceNumber {number} used in GetShardIterator on shard {shard} in stream \
         {stream} under account {account} is invalid because it lies beyond the end of the shard."
    )]
    NumberAhead {
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
    Self::ShardNotFound(_) | Self::ShardIdInvalid { .. } => NotFound,
    Self::NumberInvalid { .. }
    | Self::NumberOfOtherShard { .. }
    | Self::NumberOfOtherStream { .. }
    | Self::NumberAhead { .. }
    | Self::TimestampAhead { .. } => Invalid,
    Self::Throttled(_) => Throttled,
    Self::Internal => Internal,
});

/// Why GetRecords failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GetRecordsError {
    /// Not an iterator that we gave to this account in this region, or of another stream than the
    /// request names, or of records that the shard lost.
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
    /// The stream is being created or removed.
    #[error("Stream {stream} under account {account} not ACTIVE, instead in state {status}.")]
    NotActive {
        /// The stream.
        stream: StreamName,
        /// The account.
        account: AccountId,
        /// Where it is in its life.
        status: Status,
    },
    /// Not a token that we gave to this account in this region for this operation.
    #[error("NextToken is invalid.")]
    TokenInvalid,
    /// Older than five minutes.
    #[error("NextToken expired. It was created more than {tolerated_ms} milliseconds ago.")]
    TokenExpired {
        /// How long a token lives.
        tolerated_ms: u64,
    },
    /// Not all of it is known here: what is left out would be taken for absent.
    #[error("Internal service failure.")]
    Internal,
}

kinds!(ListError {
    Self::Internal => Internal,
    Self::NotFound(_) => NotFound,
    Self::NotActive { .. } => Conflict,
    Self::TokenInvalid => Invalid,
    Self::TokenExpired { .. } => Expired,
});
