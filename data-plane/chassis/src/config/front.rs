//! The settings of the ports that clients use: how callers are known, and TLS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::source::{ConfigError, Found, Sources};
use super::{Role, address, optional_path, path};

/// Most names of `--tls-names`.
const NAMES_MAX: usize = 100;
/// Longest DNS name, in characters.
const NAME_CHARS_MAX: usize = 253;
/// Where TLS listens unless it is told.
const TLS_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4566);

/// How callers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Any well-formed signature is the server's account; on loopback alone.
    Loopback,
    /// Signatures are verified.
    Verify,
}

/// The TLS port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPort {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where its certificate comes from.
    pub certificate: CertificateSource,
}

/// Where the certificate of the TLS port comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// Files of the user's, read again on change.
    Files {
        /// The chain, the server's own certificate first.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// Made by the server, under a CA of its own in the data directory.
    SelfSigned {
        /// Names and addresses beside those of loopback.
        names: Vec<String>,
    },
}

pub(super) fn auth(text: &str) -> Result<AuthMode, String> {
    match text {
        "loopback" => Ok(AuthMode::Loopback),
        "verify" => Ok(AuthMode::Verify),
        _ => Err("it is no mode; use 'loopback' or 'verify'".to_owned()),
    }
}

/// The file of keys, which verification needs.
pub(super) fn credentials(
    sources: &Sources,
    mode: AuthMode,
    role: &Role,
) -> Result<Option<PathBuf>, ConfigError> {
    let found = optional_path(sources, "credentials")?;
    // The operator gives the keys to a gateway.
    if mode == AuthMode::Verify && found.is_none() && !role.is_member() {
        let auth = sources.required("auth")?;
        return Err(auth.refuse("it needs keys; set --credentials to the file that holds them"));
    }
    Ok(found)
}

/// An address where clients may come from, as `mode` allows.
pub(super) fn listen(found: &Found, mode: AuthMode) -> Result<SocketAddr, ConfigError> {
    let address = found.parse_with(address)?;
    if address.ip().is_loopback() || mode == AuthMode::Verify {
        return Ok(address);
    }
    Err(found.refuse(
        "it is beyond loopback, which '--auth loopback' does not allow; use 127.0.0.1 or [::1], or \
         '--auth verify' with --credentials",
    ))
}

/// The TLS port, if there is to be one.
pub(super) fn tls(sources: &Sources, mode: AuthMode) -> Result<Option<TlsPort>, ConfigError> {
    let certificate = match sources.find("tls") {
        Some(found) => {
            found.parse_with(self_signed)?;
            if let Some(file) = sources.find("tls-cert").or_else(|| sources.find("tls-key")) {
                return Err(file
                    .refuse("'--tls self-signed' makes its own; use one or the other, not both"));
            }
            let names = sources.find("tls-names");
            let names = names.map(|names| names.parse_with(names_of)).transpose()?;
            let names = names.unwrap_or_default();
            Some(CertificateSource::SelfSigned { names })
        },
        None => files(sources)?,
    };
    let listen_at = sources.find("tls-listen");
    let Some(certificate) = certificate else {
        if let Some(found) = listen_at {
            return Err(found.refuse(
                "there is no certificate to listen with; set --tls-cert and --tls-key, or --tls \
                 self-signed",
            ));
        }
        return Ok(None);
    };
    let listen = match listen_at {
        Some(found) => listen(found, mode)?,
        None => TLS_LISTEN_DEFAULT,
    };
    Ok(Some(TlsPort {
        listen,
        certificate,
    }))
}

fn files(sources: &Sources) -> Result<Option<CertificateSource>, ConfigError> {
    if let Some(names) = sources.find("tls-names") {
        return Err(names.refuse(
            "names are for '--tls self-signed' alone; a certificate of yours has its own",
        ));
    }
    match (sources.find("tls-cert"), sources.find("tls-key")) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(CertificateSource::Files {
            certificate: certificate.parse_with(path)?,
            key: key.parse_with(path)?,
        })),
        (Some(alone), None) => Err(alone.refuse("it needs its key; set --tls-key too")),
        (None, Some(alone)) => Err(alone.refuse("it needs its certificate; set --tls-cert too")),
    }
}

fn self_signed(text: &str) -> Result<(), String> {
    if text == "self-signed" {
        return Ok(());
    }
    Err(
        "it is no way to get a certificate; use 'self-signed', or leave it and set --tls-cert and \
         --tls-key"
            .to_owned(),
    )
}

fn names_of(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.len() > NAMES_MAX {
        return Err(format!("it has more than {NAMES_MAX} names"));
    }
    match names.iter().find(|name| !is_name(name)) {
        Some(bad) => Err(format!(
            "'{bad}' is no DNS name and no IP address; separate names by commas"
        )),
        None => Ok(names),
    }
}

fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    let labels = name.strip_prefix("*.").unwrap_or(name);
    let dns = name.len() <= NAME_CHARS_MAX && labels.split('.').all(label);
    dns || name.parse::<IpAddr>().is_ok()
}
