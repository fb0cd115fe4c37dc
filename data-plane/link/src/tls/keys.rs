//! What a process shows and whom it trusts, swapped while it runs.

use std::fmt;
use std::sync::Arc;

use millstream_clock::Clock;
use millstream_types::Millis;
use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsStream;

use crate::tls::{ALPN, verify};
use crate::transport::{BoxIo, Connection};
use crate::{Expected, Identity, Lifetime, PeerIdentity};

/// Most authorities in a bundle. One is usual, and two while one replaces the other.
pub const AUTHORITIES_MAX: usize = 8;

/// What the certificate in use says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Who it names.
    pub identity: Identity,
    /// Valid from.
    pub not_before: Millis,
    /// Valid until.
    pub not_after: Millis,
}

impl CertificateFacts {
    /// When to ask for the next one: after a third of its life.
    #[must_use]
    pub const fn renew_at(&self) -> Millis {
        self.not_before
            .plus(self.not_after.since(self.not_before) / 3)
    }
}

/// Why certificates or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The bundle holds no authority, or too many.
    #[error("a bundle of authorities holds 1 to {AUTHORITIES_MAX} certificates, this one {0}")]
    Bundle(usize),
    /// Not PEM, or not what it should be.
    #[error("{what}: {reason}")]
    Unreadable {
        /// What was read.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The key is not that of the certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// Not yet, or not any more.
    #[error("the certificate is valid from {from} to {to} (ms since 1970), and it is {now}")]
    OutOfDate {
        /// Valid from.
        from: u64,
        /// Valid until.
        to: u64,
        /// The clock's time.
        now: u64,
    },
    /// There is no certificate yet.
    #[error("there is no certificate yet")]
    Absent,
}

/// What a process shows and whom it trusts. Clones share it.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    state: RwLock<State>,
}

struct State {
    roots: Arc<RootCertStore>,
    own: Option<Own>,
}

#[derive(Clone)]
struct Own {
    key: Arc<CertifiedKey>,
    facts: CertificateFacts,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("certificate", &self.certificate())
            .field("authorities", &self.0.state.read().roots.len())
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Trust in the authorities of `bundle_pem`, and no certificate yet.
    ///
    /// # Errors
    /// When the bundle cannot be read.
    pub fn new(clock: Arc<dyn Clock>, bundle_pem: &str) -> Result<Self, KeysError> {
        let roots = Arc::new(read_bundle(bundle_pem)?);
        Ok(Self(Arc::new(Inner {
            clock,
            provider: Arc::new(aws_lc_rs::default_provider()),
            state: RwLock::new(State { roots, own: None }),
        })))
    }

    /// Trusts the authorities of `bundle_pem` from now on, and no others.
    ///
    /// # Errors
    /// When the bundle cannot be read; the old one stays.
    pub fn set_bundle(&self, bundle_pem: &str) -> Result<(), KeysError> {
        let roots = Arc::new(read_bundle(bundle_pem)?);
        self.0.state.write().roots = roots;
        Ok(())
    }

    /// Shows this certificate from now on. Open connections stay as they are.
    ///
    /// # Errors
    /// When certificate or key cannot be read, are not of one pair, name nobody, or are out of
    /// date; the old ones stay.
    pub fn install(&self, chain_pem: &str, key_pem: &str) -> Result<(), KeysError> {
        let chain = read_certificates(chain_pem, "the certificate")?;
        let first = chain.first().ok_or(KeysError::Absent)?;
        let facts = verify::facts(first).map_err(|reason| KeysError::Unreadable {
            what: "the certificate",
            reason,
        })?;
        let now = self.0.clock.now();
        if now < facts.not_before || now >= facts.not_after {
            return Err(KeysError::OutOfDate {
                from: facts.not_before.0,
                to: facts.not_after.0,
                now: now.0,
            });
        }
        let unreadable = |reason: String| KeysError::Unreadable {
            what: "the private key",
            reason,
        };
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|error| unreadable(error.to_string()))?;
        let key =
            CertifiedKey::from_der(chain, key, &self.0.provider).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => KeysError::Mismatch,
                other => unreadable(other.to_string()),
            })?;
        let key = Arc::new(key);
        self.0.state.write().own = Some(Own { key, facts });
        Ok(())
    }

    /// What the certificate in use says; none before the first.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateFacts> {
        let state = self.0.state.read();
        state.own.as_ref().map(|own| own.facts.clone())
    }

    /// Whether it is time to ask for the next certificate: there is none, or a third of its life
    /// has passed.
    #[must_use]
    pub fn renewal_due(&self) -> bool {
        self.certificate()
            .is_none_or(|facts| self.0.clock.now() >= facts.renew_at())
    }

    /// TLS of a client that accepts the expected server only, and shows its certificate unless
    /// `anonymous`; and what that certificate says.
    pub(crate) fn client_config(
        &self,
        expected: Expected,
        anonymous: bool,
    ) -> Result<(Arc<ClientConfig>, Option<CertificateFacts>), KeysError> {
        let (roots, own) = self.snapshot();
        let verifier = verify::ExpectedServer::new(roots, Arc::clone(&self.0.provider), expected);
        let builder = ClientConfig::builder_with_details(
            Arc::clone(&self.0.provider),
            Arc::new(TlsTime(Arc::clone(&self.0.clock))),
        )
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
        let (mut config, facts) = if anonymous {
            (builder.with_no_client_auth(), None)
        } else {
            let own = own.ok_or(KeysError::Absent)?;
            let config = builder.with_client_cert_resolver(Arc::new(show(&own)));
            (config, Some(own.facts))
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.enable_sni = false;
        config.resumption = rustls::client::Resumption::disabled();
        Ok((Arc::new(config), facts))
    }

    /// TLS of a server, and what its certificate says; a client without one is let in if
    /// `anonymous_too`.
    pub(crate) fn server_config(
        &self,
        anonymous_too: bool,
    ) -> Result<(Arc<ServerConfig>, CertificateFacts), KeysError> {
        let (roots, own) = self.snapshot();
        let own = own.ok_or(KeysError::Absent)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.0.provider));
        let verifier = if anonymous_too {
            verifier.allow_unauthenticated()
        } else {
            verifier
        };
        let verifier = verifier.build().map_err(|error| KeysError::Unreadable {
            what: "the bundle of authorities",
            reason: error.to_string(),
        })?;
        let mut config = ServerConfig::builder_with_details(
            Arc::clone(&self.0.provider),
            Arc::new(TlsTime(Arc::clone(&self.0.clock))),
        )
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| unusable(&error))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(show(&own)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        Ok((Arc::new(config), own.facts))
    }

    /// A connection for which these certificates stood.
    pub(crate) fn connection(
        &self,
        io: TlsStream<BoxIo>,
        ours: Option<CertificateFacts>,
        theirs: Option<CertificateFacts>,
    ) -> Connection {
        let shown = [ours.as_ref(), theirs.as_ref()];
        let ends = shown.iter().flatten().map(|facts| facts.not_after).min();
        let between = shown.map(|facts| facts.map(|facts| &facts.identity));
        let clock = || Arc::clone(&self.0.clock);
        let lifetime = ends.map(|ends| Lifetime::begin(clock(), ends, between));
        Connection {
            io: Box::new(io),
            peer: theirs.map_or(PeerIdentity::Anonymous, |facts| {
                PeerIdentity::Known(facts.identity)
            }),
            lifetime,
        }
    }

    fn snapshot(&self) -> (Arc<RootCertStore>, Option<Own>) {
        let state = self.0.state.read();
        (Arc::clone(&state.roots), state.own.clone())
    }
}

fn show(own: &Own) -> SingleCertAndKey {
    SingleCertAndKey::from(Arc::clone(&own.key))
}

fn unusable(error: &rustls::Error) -> KeysError {
    KeysError::Unreadable {
        what: "the TLS provider",
        reason: error.to_string(),
    }
}

fn read_certificates(
    pem: &str,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, KeysError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .take(AUTHORITIES_MAX + 1)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| KeysError::Unreadable {
            what,
            reason: error.to_string(),
        })
}

fn read_bundle(pem: &str) -> Result<RootCertStore, KeysError> {
    let what = "the bundle of authorities";
    let certificates = read_certificates(pem, what)?;
    if !(1..=AUTHORITIES_MAX).contains(&certificates.len()) {
        return Err(KeysError::Bundle(certificates.len()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| KeysError::Unreadable {
                what,
                reason: error.to_string(),
            })?;
    }
    Ok(roots)
}

/// The clock, as TLS asks for it.
struct TlsTime(Arc<dyn Clock>);

impl fmt::Debug for TlsTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTime")
    }
}

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = std::time::Duration::from_secs(self.0.now().seconds());
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}
