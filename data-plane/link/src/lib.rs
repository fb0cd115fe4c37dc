//! Connections between our own processes: how one is opened and accepted, who is at the other
//! end, and gRPC over it.
//!
//! The two halves are [`Connector`] and [`Listener`]; [`tcp`] opens sockets, [`tls`] puts mutual
//! TLS over any of them, a simulation brings its own. [`Identity`] is who a process is, from the
//! certificate that [`authority`] signed. [`grpc`] is the HTTP/2 client and server that the
//! generated gRPC code runs on. Start with [`Connector`].
//!
//! It must not know what is said over a connection: no streams, no placement, no Kubernetes.

pub mod address;
pub mod authority;
pub mod direct;
pub mod endpoint;
pub mod grpc;
pub mod identity;
pub mod lifetime;
pub mod tcp;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod tls;
pub mod transport;

pub use address::Address;
pub use endpoint::{Endpoint, Expected};
pub use identity::{Identity, PeerIdentity, Role};
pub use lifetime::Lifetime;
pub use transport::{
    BoxIo, ConnectError, Connection, Connector, Handshake, HandshakeError, Io, Listener, Resolver,
};
