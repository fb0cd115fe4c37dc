//! What the ports for clients stand on: access keys and certificates, read again when their files
//! change.
//!
//! [`Front::open`] reads them once and refuses what cannot be used; [`Front::watch`] looks at the
//! files twice a second. A bad new file is a warning, and the old keys or certificate go on. What the
//! files hold is read in `credentials` and, for a certificate of the server's own, made in
//! `self_signed`.

mod credentials;
mod reload;
mod self_signed;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millstream_chassis::config::{AuthMode, CertificateSource};
use millstream_chassis::{Config, Drain, Metrics};
use millstream_clock::{Clock, task};
use millstream_gateway::{Auth, Credentials, TlsKeys};

use crate::local_control::node::NodeFileError;
use reload::Watched;
use self_signed::Authority;

/// How often the age of a self-signed certificate is looked at.
const RENEWAL_PAUSE: Duration = Duration::from_secs(3600);

/// Why keys or certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// A file that a setting names.
    #[error("setting '{setting}': {problem}")]
    File {
        /// The setting.
        setting: &'static str,
        /// The file and what is wrong with it.
        problem: String,
    },
    /// A file of the data directory.
    #[error(transparent)]
    Node(#[from] NodeFileError),
    /// The library made no certificate.
    #[error("setting 'tls': a certificate could not be made: {0}")]
    SelfSigned(String),
}

/// Keys and certificates of a server.
pub(crate) struct Front {
    /// How callers are known.
    pub(crate) auth: Auth,
    /// The certificate of the TLS port.
    pub(crate) tls: Option<TlsKeys>,
    /// The file of the CA that clients have to trust, if it is the server's own.
    pub(crate) ca: Option<PathBuf>,
    watched: Vec<Watched>,
    authority: Option<Authority>,
}

impl Front {
    /// Reads or makes what `config` asks for.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(crate) fn open(config: &Config, clock: &dyn Clock) -> Result<Self, FrontError> {
        let mut front = Self {
            auth: Auth::Loopback,
            tls: None,
            ca: None,
            watched: Vec::new(),
            authority: None,
        };
        if let (AuthMode::Verify, Some(path)) = (config.auth, &config.credentials) {
            front.auth = Auth::Verify(front.open_credentials(path)?);
        }
        let Some(tls) = &config.tls else {
            return Ok(front);
        };
        front.tls = Some(match &tls.certificate {
            CertificateSource::Files { certificate, key } => {
                front.open_certificate(certificate, key)?
            },
            CertificateSource::SelfSigned { names } => {
                let authority = Authority::open(&config.data_dir, names, tls.listen.ip())?;
                front.ca = Some(authority.path());
                let keys = authority.certify(clock.now())?;
                front.authority = Some(authority);
                keys
            },
        });
        Ok(front)
    }

    fn open_credentials(&mut self, path: &Path) -> Result<Credentials, FrontError> {
        let credentials = Credentials::default();
        let handle = credentials.clone();
        let read = move |contents: &[Vec<u8>]| {
            let keys = credentials::parse(contents.first().map_or(&[][..], Vec::as_slice))?;
            tracing::info!(keys = keys.len(), "access keys are read");
            handle.replace(keys);
            Ok(())
        };
        let watched = Watched::open("credentials", vec![path.to_owned()], Box::new(read));
        self.watched.push(watched.map_err(refused("credentials"))?);
        Ok(credentials)
    }

    fn open_certificate(&mut self, certificate: &Path, key: &Path) -> Result<TlsKeys, FrontError> {
        let paths = vec![certificate.to_owned(), key.to_owned()];
        let contents = reload::read(&paths).map_err(refused("tls-cert"))?;
        let both = |contents: &[Vec<u8>]| match contents {
            [certificate, key] => Some((certificate.clone(), key.clone())),
            _ => None,
        };
        let (chain, secret) = both(&contents).expect("two files were read");
        let named = |error| format!("{}: {error}", certificate.display());
        let keys = TlsKeys::from_pem(&chain, &secret).map_err(|error| FrontError::File {
            setting: "tls-cert",
            problem: named(error.to_string()),
        })?;
        let handle = keys.clone();
        let read = move |contents: &[Vec<u8>]| {
            let (chain, secret) = both(contents).ok_or("there are not two files")?;
            let replaced = handle.replace_pem(&chain, &secret);
            replaced.map_err(|error| error.to_string())?;
            tracing::info!("the certificate of the TLS port is read");
            Ok(())
        };
        let watched = Watched::open("certificate", paths, Box::new(read));
        self.watched.push(watched.map_err(refused("tls-cert"))?);
        Ok(keys)
    }

    /// Starts what looks at the files and at the certificate's age, until the drain.
    pub(crate) fn watch(self, clock: Arc<dyn Clock>, metrics: &Metrics, drain: &Drain) {
        for watched in self.watched {
            let watching = watched.run(metrics.clone(), drain.clone());
            // Ends with the drain.
            drop(task::spawn("file-watch", watching));
        }
        if let (Some(authority), Some(keys)) = (self.authority, self.tls) {
            let renewing = renew(authority, keys, clock, drain.clone());
            // Ends with the drain.
            drop(task::spawn("certificate-renewal", renewing));
        }
    }
}

fn refused(setting: &'static str) -> impl FnOnce(String) -> FrontError {
    move |problem| FrontError::File { setting, problem }
}

/// Makes a new certificate before the old one ends.
async fn renew(authority: Authority, keys: TlsKeys, clock: Arc<dyn Clock>, drain: Drain) {
    let mut made = clock.now();
    loop {
        tokio::select! {
            () = task::sleep(RENEWAL_PAUSE) => {},
            () = drain.begun() => return,
        }
        let now = clock.now();
        if !self_signed::is_due(made, now) {
            continue;
        }
        match authority.renew(&keys, now) {
            Ok(()) => {
                tracing::info!("the self-signed certificate is renewed");
                made = now;
            },
            Err(error) => tracing::warn!(%error, "the self-signed certificate is not renewed"),
        }
    }
}
