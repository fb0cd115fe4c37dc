//! TLS on a port of its own: the certificate, replaceable while connections run, and handshakes.
//!
//! ALPN offers `h2` and `http/1.1`; a client that offers none (the Java SDK) is known by its first
//! bytes, as on the plain port. Keys come as PEM texts; it must not know files. The provider is
//! `aws-lc-rs`, named here and not installed for the process, so that the order of start does not
//! matter.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// Protocols in order of preference.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate's text.
    #[error("the certificate is no PEM text: {0}")]
    Certificate(rustls::pki_types::pem::Error),
    /// There is no certificate in the text.
    #[error("there is no certificate; the file needs a block 'BEGIN CERTIFICATE'")]
    NoCertificate,
    /// The key's text.
    #[error("the key is no PEM text of a private key: {0}")]
    Key(rustls::pki_types::pem::Error),
    /// The key is of another certificate.
    #[error("the key does not belong to the certificate; give both files of one pair")]
    Mismatch,
    /// The library refuses the pair.
    #[error("the certificate or its key cannot be used: {0}")]
    Unusable(rustls::Error),
}

/// A handle to the certificate of the TLS port. Clones are the same: after a replacement new
/// connections get the new one, and those under way go on.
#[derive(Clone)]
pub struct TlsKeys(Arc<Resolver>);

struct Resolver {
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl TlsKeys {
    /// A chain of certificates, the server's own first, and its key, as PEM texts.
    ///
    /// # Errors
    /// When one of them is none, or they are no pair.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let current = certified(certificates, key, &provider)?;
        Ok(Self(Arc::new(Resolver {
            provider,
            current: RwLock::new(Arc::new(current)),
        })))
    }

    /// From now on new connections get this pair.
    ///
    /// # Errors
    /// As for [`TlsKeys::from_pem`]; the old pair stays.
    pub fn replace_pem(&self, certificates: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let new = certified(certificates, key, &self.0.provider)?;
        *self.0.current.write() = Arc::new(new);
        Ok(())
    }

    /// What makes TLS of a socket.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&self.0) as _;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.0.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites of both versions")
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        TlsAcceptor::from(Arc::new(config))
    }
}

impl fmt::Debug for TlsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKeys(redacted)")
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver(redacted)")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

fn certified(
    certificates: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain.map_err(TlsError::Certificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch,
        other => TlsError::Unusable(other),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Pair, generate_simple_self_signed};

    use super::*;

    fn pair() -> (Vec<u8>, Vec<u8>) {
        let Pair { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        (
            cert.pem().into_bytes(),
            signing_key.serialize_pem().into_bytes(),
        )
    }

    #[test]
    fn what_is_no_pair_is_refused_and_the_old_pair_stays() {
        let (certificate, key) = pair();
        let (_, other_key) = pair();
        let keys = TlsKeys::from_pem(&certificate, &key).expect("a pair");
        let before = Arc::clone(&keys.0.current.read());
        for (certificate, key, text) in [
            (&b""[..], &key[..], "there is no certificate"),
            (&key, &key, "there is no certificate"),
            (b"-----BEGIN CERTIFICATE-----\n", &key, "no PEM text"),
            (&certificate, b"", "no PEM text of a private key"),
            (&certificate, &certificate, "no PEM text of a private key"),
            (
                &certificate,
                &other_key,
                "does not belong to the certificate",
            ),
        ] {
            let error = keys.replace_pem(certificate, key).expect_err("refused");
            assert!(error.to_string().contains(text), "{error}");
            let made = TlsKeys::from_pem(certificate, key).expect_err("refused");
            assert_eq!(made.to_string(), error.to_string());
        }
        assert!(Arc::ptr_eq(&before, &keys.0.current.read()));
        let (certificate, key) = pair();
        keys.replace_pem(&certificate, &key).expect("a pair");
        assert!(!Arc::ptr_eq(&before, &keys.0.current.read()));
    }
}
