//! The client's half of mutual TLS.

use std::fmt;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use rustls::pki_types::ServerName;

use crate::tls::Keys;
use crate::transport::{BoxIo, ConnectError, Connector};
use crate::{Address, Role};

/// Opens TLS over the connections of another connector, to servers of one role.
#[derive(Clone)]
pub struct TlsConnector {
    inner: Arc<dyn Connector>,
    keys: Keys,
    role: Role,
    anonymous: bool,
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("role", &self.role)
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

impl TlsConnector {
    /// Shows the certificate of `keys` and accepts servers of `role` only.
    #[must_use]
    pub fn new(inner: Arc<dyn Connector>, keys: Keys, role: Role) -> Self {
        Self {
            inner,
            keys,
            role,
            anonymous: false,
        }
    }

    /// Shows no certificate: for the call that asks for the first one.
    #[must_use]
    pub fn anonymous(inner: Arc<dyn Connector>, keys: Keys, role: Role) -> Self {
        Self {
            anonymous: true,
            ..Self::new(inner, keys, role)
        }
    }
}

impl Connector for TlsConnector {
    fn connect<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, Result<BoxIo, ConnectError>> {
        async move {
            let untrusted = |reason: String| ConnectError::Untrusted {
                to: to.clone(),
                reason,
            };
            let config = self
                .keys
                .client_config(self.role, self.anonymous)
                .map_err(|error| untrusted(error.to_string()))?;
            let name = ServerName::try_from(self.role.as_str())
                .map_err(|error| untrusted(error.to_string()))?;
            let plain = self.inner.connect(to).await?;
            let stream = tokio_rustls::TlsConnector::from(config)
                .connect(name, plain)
                .await
                .map_err(|error| untrusted(error.to_string()))?;
            Ok(Box::new(stream) as BoxIo)
        }
        .boxed()
    }
}
