//! Mutual TLS over any kind of connection.
//!
//! [`Keys`] holds what a process shows and whom it trusts; both are swapped while it runs.
//! [`TlsConnector`] and [`TlsListener`] read them at every handshake. TLS 1.3 only, and no session
//! is resumed: each connection shows a certificate that is valid then.

pub mod connector;
pub mod keys;
pub mod listener;
mod verify;

pub use connector::TlsConnector;
pub use keys::{CertificateFacts, Keys, KeysError};
pub use listener::TlsListener;

/// What our connections speak, as ALPN says it.
const ALPN: &[u8] = b"h2";
