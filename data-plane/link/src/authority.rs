//! The authority that says who is who: it signs the certificates of our processes.
//!
//! The operator holds it; a process holds the bundle of those it trusts, which is two while one
//! replaces the other. A process makes its own key, which never leaves it, and asks with a
//! [`Request`]. Of a request only the public key is taken: who it is for says the caller.

use std::fmt;
use std::time::Duration;

use millstream_clock::Entropy;
use millstream_types::Millis;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};

use crate::Identity;

/// How long a process's certificate is valid.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an authority is valid.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// How far the clocks of two processes may be apart: a certificate starts that much earlier.
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// Largest certificate request, in bytes of PEM.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Longest common name that X.509 allows, in characters.
const COMMON_NAME_CHARS_MAX: usize = 64;

/// Why something was not signed or not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The request is no certificate request, or its signature is wrong.
    #[error("the certificate request cannot be used: {0}")]
    Request(String),
    /// The authority's own certificate or key cannot be used.
    #[error("the authority cannot be used: {0}")]
    Authority(String),
}

/// Certificate and private key, both PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair(..)")
    }
}

/// A new key, and the request for its certificate.
pub struct Request {
    /// The private key, PEM. It stays in the process.
    pub key_pem: String,
    /// What is sent, PEM.
    pub request_pem: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request(..)")
    }
}

impl Request {
    /// Makes a key and asks for nothing but a certificate.
    ///
    /// # Errors
    /// When the machine gives no key.
    pub fn new() -> Result<Self, AuthorityError> {
        let failed = |error: rcgen::Error| AuthorityError::Request(error.to_string());
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(failed)?;
        Ok(Self {
            key_pem: key.serialize_pem(),
            request_pem: request.pem().map_err(failed)?,
        })
    }
}

/// A certificate authority of our own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pair: Pair,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(..)")
    }
}

impl Authority {
    /// A new authority, valid from `now`.
    ///
    /// # Errors
    /// When the machine gives no key.
    pub fn generate(now: Millis, entropy: &dyn Entropy) -> Result<Self, AuthorityError> {
        let failed = |error: rcgen::Error| AuthorityError::Authority(error.to_string());
        let key = KeyPair::generate().map_err(failed)?;
        let serial = serial(entropy);
        let mut params = valid(now, AUTHORITY_LIFE);
        // its own name for each, so that a chain names the authority that it means
        params.distinguished_name = common_name(&format!("millstream {:016x}", entropy.u64()));
        params.serial_number = Some(serial);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed)?;
        let pair = Pair {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        };
        Self::from_pair(pair)
    }

    /// The authority that was kept.
    ///
    /// # Errors
    /// When certificate or key cannot be read.
    pub fn from_pair(pair: Pair) -> Result<Self, AuthorityError> {
        let failed = |error: rcgen::Error| AuthorityError::Authority(error.to_string());
        let key = KeyPair::from_pem(&pair.key_pem).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate_pem, key).map_err(failed)?;
        Ok(Self { issuer, pair })
    }

    /// What is to be kept: in a Secret, and nowhere else.
    #[must_use]
    pub const fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Its certificate, for the bundle.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.pair.certificate_pem
    }

    /// Signs a request in the name of `identity`, valid from `now`. Whatever else the request asks
    /// for is ignored.
    ///
    /// # Errors
    /// When the request cannot be used.
    pub fn sign(
        &self,
        request_pem: &str,
        identity: &Identity,
        now: Millis,
        entropy: &dyn Entropy,
    ) -> Result<String, AuthorityError> {
        if request_pem.len() > REQUEST_BYTES_MAX {
            let reason = format!("it is larger than {REQUEST_BYTES_MAX} bytes");
            return Err(AuthorityError::Request(reason));
        }
        let failed = |error: rcgen::Error| AuthorityError::Request(error.to_string());
        let mut request = CertificateSigningRequestParams::from_pem(request_pem).map_err(failed)?;
        request.params = process_params(identity, now, entropy).map_err(failed)?;
        let certificate = request.signed_by(&self.issuer).map_err(failed)?;
        Ok(certificate.pem())
    }

    /// A key and a certificate in the name of `identity`: for the process that holds the authority.
    ///
    /// # Errors
    /// When the machine gives no key.
    pub fn issue(
        &self,
        identity: &Identity,
        now: Millis,
        entropy: &dyn Entropy,
    ) -> Result<Pair, AuthorityError> {
        let request = Request::new()?;
        Ok(Pair {
            certificate_pem: self.sign(&request.request_pem, identity, now, entropy)?,
            key_pem: request.key_pem,
        })
    }
}

fn process_params(
    identity: &Identity,
    now: Millis,
    entropy: &dyn Entropy,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = valid(now, CERTIFICATE_LIFE);
    let name: String = identity
        .name()
        .chars()
        .take(COMMON_NAME_CHARS_MAX)
        .collect();
    params.distinguished_name = common_name(&name);
    params.serial_number = Some(serial(entropy));
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn valid(now: Millis, life: Duration) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = epoch + Duration::from_secs(now.seconds());
    let mut params = CertificateParams::default();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + life;
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// 127 random bits: positive, as X.509 wants it.
fn serial(entropy: &dyn Entropy) -> SerialNumber {
    let number = entropy.u128() >> 1;
    SerialNumber::from_slice(&number.to_be_bytes())
}
