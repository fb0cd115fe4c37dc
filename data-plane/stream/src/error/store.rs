//! What the store's failures mean for the operations above it.

use millstream_storage::{AppendError, ApplyError, ReadError, StoreError};

use super::{CreateError, DeleteError, HostError, UpdateError};

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

from_apply_failure!(CreateError DeleteError UpdateError HostError);

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
            AppendError::Overloaded | AppendError::NoSpace => Self::Throttled,
            AppendError::Unreachable | AppendError::Unknown => Self::Internal,
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
            ReadError::Corrupt { .. } | ReadError::Io(_) | ReadError::Unreachable(_) => {
                tracing::error!(%error, "the store failed to read a shard");
                Self::Internal
            },
        }
    }
}
