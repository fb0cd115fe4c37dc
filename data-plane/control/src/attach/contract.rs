//! What the operator does for the servers that attach to it.

use std::sync::Arc;

use futures::future::BoxFuture;
use millstream_link::Identity;
use millstream_types::{Scope, StreamName};
use tokio::sync::{mpsc, watch};

use crate::desired::DesiredState;
use crate::observed::ObservedState;
use crate::plane::{CreateStreamError, DeleteStreamError};
use crate::secret::Secret;
use crate::stream::StreamSpec;

/// Observed states that wait for the operator, per session; a server that reports faster waits.
pub const OBSERVED_QUEUE_MAX: usize = 4;

/// The pod that a token was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
}

/// Why a token says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// It is not good: expired, for another audience, not bound to a pod.
    #[error("the token was rejected: {0}")]
    Rejected(String),
    /// Nobody could say.
    #[error("the token could not be checked: {0}")]
    Unavailable(String),
}

/// Tells which pod a service account's token was made for.
pub trait Authenticator: Send + Sync + 'static {
    /// Asks whether the token is good for this purpose, and for which pod it was made.
    fn review<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<PodIdentity, ReviewError>>;
}

/// One server that is attached. It ends when either side lets go: the server's end shows as the end
/// of `observed`; the operator ends it by dropping the session.
#[derive(Debug)]
pub struct Session {
    /// Tells apart two sessions of one server; counts up within this process.
    pub id: u64,
    /// Who attached, as its certificate says.
    pub server: Identity,
    /// What it reports; the newest counts.
    pub observed: mpsc::Receiver<ObservedState>,
    /// What it should do; only the newest is sent.
    pub desired: watch::Sender<Option<Arc<DesiredState>>>,
}

/// This replica does not lead: ask another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica is a standby")]
pub struct Standby;

/// Why no certificate was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The pod may not have that identity, or the request is none.
    #[error("{0}")]
    Refused(String),
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}

/// What the operator does for the servers that attach. Callers have been authenticated.
pub trait Contract: Send + Sync + 'static {
    /// Whether this replica leads. A standby answers `UNAVAILABLE` to every call.
    fn leads(&self) -> bool;

    /// A server has attached.
    fn attach(&self, session: Session) -> BoxFuture<'_, Result<(), Standby>>;

    /// Signs `request_pem` in the name of `identity`, if that pod may have it: namespace and pod
    /// name have been checked, role and UID are left to check. Returns the certificate, PEM.
    fn sign<'a>(
        &'a self,
        pod: &'a PodIdentity,
        identity: &'a Identity,
        request_pem: &'a str,
    ) -> BoxFuture<'a, Result<String, SignError>>;

    /// A gateway's client wants a stream.
    fn create_stream<'a>(
        &'a self,
        scope: &'a Scope,
        spec: StreamSpec,
    ) -> BoxFuture<'a, Result<(), CreateStreamError>>;

    /// A gateway's client wants a stream gone.
    fn delete_stream<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a StreamName,
    ) -> BoxFuture<'a, Result<(), DeleteStreamError>>;
}
