//! The two halves of a connection: whoever opens one, and whoever accepts it.
//!
//! Three kinds stand behind them: sockets ([`crate::tcp`]), mutual TLS over any other kind
//! ([`crate::tls`]), and whatever a simulation brings.

use std::fmt;
use std::io;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Address, Endpoint, Lifetime, PeerIdentity};

/// A stream of bytes in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A connection, whatever it is made of.
pub type BoxIo = Box<dyn Io>;

/// An open connection, and what is known of it.
pub struct Connection {
    /// Its bytes.
    pub io: BoxIo,
    /// Who is at the other end.
    pub peer: PeerIdentity,
    /// How long it may be used; none: as long as it is open.
    pub lifetime: Option<Lifetime>,
}

impl Connection {
    /// A connection of which nothing is known.
    #[must_use]
    pub fn plain(io: impl Io) -> Self {
        Self {
            io: Box::new(io),
            peer: PeerIdentity::Anonymous,
            lifetime: None,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection. Nothing was sent over it in any case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there, or the way is closed.
    #[error("cannot connect to {to}: {reason}")]
    Unreachable {
        /// Where to.
        to: Address,
        /// What the system said.
        reason: String,
    },
    /// No answer in time.
    #[error("no connection to {to} within {limit_ms} ms")]
    TimedOut {
        /// Where to.
        to: Address,
        /// The limit.
        limit_ms: u64,
    },
    /// Whoever answers is not who it should be, or does not trust us.
    #[error("no trusted connection to {to}: {reason}")]
    Untrusted {
        /// Where to.
        to: Address,
        /// What is wrong.
        reason: String,
    },
}

/// Opens connections.
pub trait Connector: Send + Sync + 'static {
    /// A connection to `to`. A connector that learns who answers refuses everybody but who is
    /// expected. The caller limits the time.
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>>;
}

/// Why an accepted connection is not used.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection broke, or spoke something else.
    #[error("the handshake failed: {0}")]
    Io(#[from] io::Error),
    /// It showed a certificate that names nobody, or more than one.
    #[error("the peer's certificate names no process of ours: {0}")]
    Identity(String),
}

/// The rest of accepting one connection: who is it? Run beside the accept loop, within a limit.
pub type Handshake = BoxFuture<'static, Result<Connection, HandshakeError>>;

/// Accepts connections.
pub trait Listener: Send + 'static {
    /// The next connection. Dropping the future loses none.
    ///
    /// An error is about this one connection or about a shortage that passes; the caller waits a
    /// moment and goes on.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Handshake>>;

    /// Where it listens.
    fn address(&self) -> Address;
}

impl Listener for Box<dyn Listener> {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Handshake>> {
        (**self).accept()
    }

    fn address(&self) -> Address {
        (**self).address()
    }
}

/// Finds all addresses behind a name, such as the pods of a headless Service.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses behind `name`, in no order that means anything.
    fn resolve<'a>(&'a self, name: &'a Address) -> BoxFuture<'a, io::Result<Vec<Address>>>;
}
