//! A CA of the server's own and certificates under it.
//!
//! The key of the CA is kept in the data directory (`node/tls-ca.key`), and its certificate beside
//! it (`node/tls-ca.pem`) for clients to trust; both stay the same over restarts. The server's own
//! certificate is made anew at each start, and every month, with a key that is nowhere but in
//! memory.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_gateway::TlsKeys;
use millstream_types::Millis;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::FrontError;
use crate::local_control::node::{self, NodeFileError};

const KEY_FILE: &str = "tls-ca.key";
const CERTIFICATE_FILE: &str = "tls-ca.pem";
/// Names and addresses that every certificate has.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const DAY: Duration = Duration::from_secs(86_400);
/// How long a certificate is good.
const LIFE: Duration = DAY.saturating_mul(90);
/// Its age at which a new one is made.
const RENEWAL_AGE: Duration = DAY.saturating_mul(30);
/// What clocks may differ by.
const BACKDATED: Duration = DAY;

/// The CA, and the names that it certifies.
pub(super) struct Authority {
    key: KeyPair,
    names: Vec<String>,
    path: PathBuf,
}

/// Whether a certificate made at `made` is due for renewal.
pub(super) fn is_due(made: Millis, now: Millis) -> bool {
    Duration::from_millis(now.0.saturating_sub(made.0)) >= RENEWAL_AGE
}

impl Authority {
    /// Reads the CA of the data directory, or makes one, for `names` and the address `listen`.
    pub(super) fn open(
        data_dir: &Path,
        names: &[String],
        listen: IpAddr,
    ) -> Result<Self, FrontError> {
        let (key_bytes, certificate) = (
            node::read_file(data_dir, KEY_FILE)?,
            node::read_file(data_dir, CERTIFICATE_FILE)?,
        );
        let path = node::file_path(data_dir, CERTIFICATE_FILE);
        let key = match &key_bytes {
            Some(pem) => key_of(pem).ok_or_else(|| NodeFileError::TlsKey {
                path: node::file_path(data_dir, KEY_FILE),
            })?,
            None => {
                let key = KeyPair::generate().map_err(failed)?;
                node::write(data_dir, KEY_FILE, key.serialize_pem().as_bytes())?;
                key
            },
        };
        if key_bytes.is_none() || certificate.is_none() {
            let made = params(&key).self_signed(&key).map_err(failed)?;
            node::write(data_dir, CERTIFICATE_FILE, made.pem().as_bytes())?;
        }
        let mut all = LOOPBACK.map(str::to_owned).to_vec();
        if !listen.is_unspecified() {
            all.push(listen.to_string());
        }
        all.extend_from_slice(names);
        let mut seen = std::collections::HashSet::new();
        all.retain(|name| seen.insert(name.clone()));
        Ok(Self {
            key,
            names: all,
            path: std::path::absolute(&path).unwrap_or(path),
        })
    }

    /// The file that clients have to trust.
    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// A certificate for the TLS port.
    pub(super) fn certify(&self, now: Millis) -> Result<TlsKeys, FrontError> {
        let (certificate, key) = self.pair(now).map_err(failed)?;
        let keys = TlsKeys::from_pem(certificate.as_bytes(), key.as_bytes());
        keys.map_err(|error| FrontError::SelfSigned(error.to_string()))
    }

    /// A new one for the same port.
    pub(super) fn renew(&self, keys: &TlsKeys, now: Millis) -> Result<(), FrontError> {
        let (certificate, key) = self.pair(now).map_err(failed)?;
        let replaced = keys.replace_pem(certificate.as_bytes(), key.as_bytes());
        replaced.map_err(|error| FrontError::SelfSigned(error.to_string()))
    }

    fn pair(&self, now: Millis) -> Result<(String, String), rcgen::Error> {
        let mut params = CertificateParams::new(self.names.clone())?;
        let today = date_time_ymd(1970, 1, 1) + Duration::from_millis(now.0);
        params.not_before = today - BACKDATED;
        params.not_after = today + LIFE;
        params.distinguished_name = named("Millstream server");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let ca = self::params(&self.key);
        let certificate = params.signed_by(&key, &Issuer::from_params(&ca, &self.key))?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

fn failed(error: rcgen::Error) -> FrontError {
    FrontError::SelfSigned(error.to_string())
}

fn key_of(pem: &[u8]) -> Option<KeyPair> {
    let text = std::str::from_utf8(pem).ok()?;
    KeyPair::from_pem(text).ok()
}

/// The CA's certificate follows from its key, dates and all.
fn params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mark = crc32c::crc32c(key.public_key_raw());
    params.distinguished_name = named(&format!("Millstream CA {mark:08x}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2050, 1, 1);
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// 2026-11-22.
    const NOW: Millis = Millis(1_795_305_600_000);

    fn open(data: &Path) -> Authority {
        let names = ["streams.example".to_owned(), "localhost".to_owned()];
        let listen = IpAddr::from([0, 0, 0, 0]);
        Authority::open(data, &names, listen).expect("opened")
    }

    #[test]
    fn the_ca_stays_and_only_its_owner_reads_the_key() {
        let data = tempfile::tempdir().expect("a folder");
        let first = open(data.path());
        let certificate = fs::read(first.path()).expect("there");
        let key = data.path().join("node").join(KEY_FILE);
        let mode = fs::metadata(&key).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = open(data.path());
        assert_eq!(fs::read(again.path()).expect("there"), certificate);
        assert_eq!(again.key.serialize_pem(), first.key.serialize_pem());
        fs::remove_file(first.path()).expect("removed");
        let third = open(data.path());
        assert!(
            fs::read(third.path())
                .expect("there again")
                .starts_with(b"-----BEGIN")
        );
        assert_eq!(
            third.names,
            ["localhost", "127.0.0.1", "::1", "streams.example"]
        );
        fs::write(&key, "no key").expect("written");
        let refused = Authority::open(data.path(), &[], IpAddr::from([127, 0, 0, 1]));
        let text = refused.err().expect("refused").to_string();
        assert!(
            text.contains("tls-ca.key") && text.contains("remove"),
            "{text}"
        );
    }

    #[test]
    fn certificates_are_pairs_and_are_renewed_in_time() {
        let data = tempfile::tempdir().expect("a folder");
        let authority = open(data.path());
        let keys = authority.certify(NOW).expect("a pair");
        authority.renew(&keys, NOW).expect("another");
        let day_ms = 86_400_000;
        assert!(!is_due(NOW, Millis(NOW.0 + 29 * day_ms)));
        assert!(is_due(NOW, Millis(NOW.0 + 30 * day_ms)));
        assert!(!is_due(NOW, Millis(0)), "a clock that was set back");
        assert!(LIFE > RENEWAL_AGE * 2);
    }
}
