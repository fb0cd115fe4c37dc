//! What can go wrong, one enum per operation.
//!
//! `Display` is the message that a client sees, in AWS's words where they are known. `kind` says
//! what the caller can do; the gateway maps it to a code. Store errors are logged where they are
//! turned into `Internal`, so that clients see no paths.

use millstream_types::{AccountId, Scope, ShardId, StreamName};

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

mod append;
mod lifecycle;
mod read;
pub(crate) mod store;

pub use append::{EntryError, PutRecordError, PutRecordsError, RecordTooLarge};
pub use lifecycle::{CreateError, DeleteError, HostError, OpenError, SettingError, UpdateError};
pub use read::{GetRecordsError, IteratorError, ListError};

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

/// Why a stream is not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// There is none.
    #[error(transparent)]
    NotFound(#[from] StreamNotFound),
    /// It is to be served, and its home has not told of it: it is away, or has lost it.
    #[error("Internal service failure.")]
    Untold,
}

kinds!(Absent {
    Self::NotFound(_) => NotFound,
    Self::Untold => Internal,
});

macro_rules! from_absent {
    ($($error:ident)*) => {$(
        impl From<Absent> for $error {
            fn from(absent: Absent) -> Self {
                match absent {
                    Absent::NotFound(error) => Self::NotFound(error),
                    Absent::Untold => Self::Internal,
                }
            }
        }
    )*};
}

from_absent!(PutRecordError PutRecordsError ListError DeleteError UpdateError);

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
