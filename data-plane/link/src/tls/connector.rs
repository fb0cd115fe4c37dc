//! The client's half of mutual TLS.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error};

use crate::Endpoint;
use crate::tls::{Keys, verify};
use crate::transport::{ConnectError, Connection, Connector};

/// TLS asks for a host; it is neither sent nor looked at.
const NO_HOST: &str = "millstream";

/// Opens TLS over the connections of another connector, to who is expected there.
#[derive(Clone)]
pub struct TlsConnector {
    inner: Arc<dyn Connector>,
    keys: Keys,
    anonymous: bool,
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

impl TlsConnector {
    /// Shows the certificate of `keys`.
    #[must_use]
    pub const fn new(inner: Arc<dyn Connector>, keys: Keys) -> Self {
        Self {
            inner,
            keys,
            anonymous: false,
        }
    }

    /// Shows no certificate: for the call that asks for the first one.
    #[must_use]
    pub fn anonymous(inner: Arc<dyn Connector>, keys: Keys) -> Self {
        Self {
            anonymous: true,
            ..Self::new(inner, keys)
        }
    }
}

impl Connector for TlsConnector {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        async move {
            let untrusted = |reason: String| ConnectError::Untrusted {
                to: to.address.clone(),
                reason,
            };
            let (config, own) = self
                .keys
                .client_config(to.expected.clone(), self.anonymous)
                .map_err(|error| untrusted(error.to_string()))?;
            let name =
                ServerName::try_from(NO_HOST).map_err(|error| untrusted(error.to_string()))?;
            let plain = self.inner.connect(to).await?;
            let stream = tokio_rustls::TlsConnector::from(config)
                .connect(name, plain.io)
                .await
                .map_err(|error| untrusted(explain(&error)))?;
            let (_, session) = stream.get_ref();
            let theirs = session.peer_certificates().and_then(<[_]>::first);
            let theirs = theirs.map(verify::facts).transpose().map_err(untrusted)?;
            Ok(self.keys.connection(stream.into(), own, theirs))
        }
        .boxed()
    }
}

/// Why a handshake failed, in our own words where it was us who refused.
fn explain(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|e| e.downcast_ref());
    match tls {
        Some(Error::InvalidCertificate(CertificateError::Other(ours))) => ours.0.to_string(),
        _ => error.to_string(),
    }
}
