//! PutRecord, PutRecords, and one entry of it.

use millstream_types::{AccountId, StreamName};

use super::{Kind, RateExceeded, StreamNotFound};

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
    /// The stream is not known here yet: nothing of the request is durable.
    #[error("Internal service failure.")]
    Internal,
}

kinds!(PutRecordsError {
    Self::NotFound(_) => NotFound,
    Self::TooLarge(_) | Self::RequestTooLarge { .. } => Invalid,
    Self::Internal => Internal,
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
