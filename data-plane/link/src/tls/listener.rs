//! The server's half of mutual TLS.

use std::io;

use futures::future::{BoxFuture, FutureExt as _};
use tokio_rustls::TlsAcceptor;

use crate::Address;
use crate::tls::{Keys, verify};
use crate::transport::{Connection, Handshake, HandshakeError, Listener};

/// Accepts TLS over the connections of another listener.
#[derive(Debug)]
pub struct TlsListener<L> {
    inner: L,
    keys: Keys,
    anonymous_too: bool,
}

impl<L: Listener> TlsListener<L> {
    /// Lets in who shows a certificate of an authority in the bundle.
    #[must_use]
    pub const fn new(inner: L, keys: Keys) -> Self {
        Self {
            inner,
            keys,
            anonymous_too: false,
        }
    }

    /// Lets in those without a certificate too, as [`PeerIdentity::Anonymous`].
    #[must_use]
    pub const fn anonymous_too(inner: L, keys: Keys) -> Self {
        Self {
            inner,
            keys,
            anonymous_too: true,
        }
    }
}

impl<L: Listener> Listener for TlsListener<L> {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Handshake>> {
        async move {
            let plain = self.inner.accept().await?;
            let (keys, anonymous_too) = (self.keys.clone(), self.anonymous_too);
            Ok(handshake(plain, keys, anonymous_too).boxed())
        }
        .boxed()
    }

    fn address(&self) -> Address {
        self.inner.address()
    }
}

async fn handshake(
    plain: Handshake,
    keys: Keys,
    anonymous_too: bool,
) -> Result<Connection, HandshakeError> {
    let plain = plain.await?;
    let (config, own) = keys
        .server_config(anonymous_too)
        .map_err(|error| HandshakeError::Io(io::Error::other(error)))?;
    let stream = TlsAcceptor::from(config).accept(plain.io).await?;
    let (_, session) = stream.get_ref();
    let theirs = session.peer_certificates().and_then(<[_]>::first);
    let theirs = theirs.map(verify::facts).transpose();
    let theirs = theirs.map_err(HandshakeError::Identity)?;
    Ok(keys.connection(stream.into(), Some(own), theirs))
}
