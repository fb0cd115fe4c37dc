//! The calls that change resources. A gateway makes them; a control plane decides.

use std::future::Future;

use millstream_types::{Scope, StreamName};

use crate::stream::StreamSpec;

/// Whoever decides which streams exist: in the all-in-one process its local control plane.
///
/// Reads do not come here: a gateway serves them from what exists.
pub trait ControlPlane: Send + Sync + 'static {
    /// Creates a stream. When this returns, it exists.
    fn create_stream(
        &self,
        scope: &Scope,
        spec: StreamSpec,
    ) -> impl Future<Output = Result<(), CreateStreamError>> + Send;

    /// Deletes a stream with its records.
    fn delete_stream(
        &self,
        scope: &Scope,
        name: &StreamName,
    ) -> impl Future<Output = Result<(), DeleteStreamError>> + Send;
}

/// Why a stream was not created. The texts are what a client sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateStreamError {
    /// The name is taken.
    #[error("{0}")]
    Exists(String),
    /// A field of it belongs to somebody else, whom the text names.
    #[error("{0}")]
    InUse(String),
    /// A quota would be passed.
    #[error("{0}")]
    LimitExceeded(String),
    /// The specification is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// Out of memory budget or disk space for now; nothing was done.
    #[error("{0}")]
    Throttled(String),
    /// An administrator must look.
    #[error("Internal service failure.")]
    Internal,
}

/// Why a stream was not deleted. The texts are what a client sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteStreamError {
    /// No such stream.
    #[error("{0}")]
    NotFound(String),
    /// It belongs to somebody else, whom the text names.
    #[error("{0}")]
    InUse(String),
    /// Out of memory budget or disk space for now; nothing was done.
    #[error("{0}")]
    Throttled(String),
    /// An administrator must look.
    #[error("Internal service failure.")]
    Internal,
}
