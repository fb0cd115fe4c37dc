//! A server's certificate: asked for, renewed after a third of its life, kept for a restart.
//!
//! The private key is made here and never leaves the process but for the place where it is kept.
//! Who we are is proved to the operator by the pod's service-account token; who the operator is, by
//! the mounted bundle of authorities.

mod source;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millstream_clock::{Entropy, task};
use millstream_link::authority::Request;
use millstream_link::grpc::Channel;
use millstream_link::tls::{Keys, KeysError, TlsConnector};
use millstream_link::{Address, Connector, Endpoint, Expected, Identity, Resolver};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::attach::client::{Backoff, find};
use crate::attach::told;
use crate::attach::wire::proto;
use crate::keeper::{StateStore, open, seal};
use crate::version::CONTRACT;
use proto::contract_client::ContractClient;

pub use source::{FileText, TextSource};

/// How often bundle and certificate are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long one replica may take to sign.
const SIGN_TIMEOUT: Duration = Duration::from_secs(10);
/// What is kept, as its first line says.
const KIND: &str = "certificate";

/// What a certificate is asked with.
pub struct CertifyOptions {
    /// Who we are.
    pub identity: Identity,
    /// The operator's headless Service.
    pub operator: Address,
    /// Who has to answer there.
    pub expected: Expected,
    /// Finds the replicas behind it.
    pub resolver: Arc<dyn Resolver>,
    /// Opens plain connections; TLS is put over them here.
    pub connector: Arc<dyn Connector>,
    /// For the jitter of waits.
    pub entropy: Arc<dyn Entropy>,
    /// The pod's service-account token, read again for each request.
    pub token: Box<dyn TextSource>,
    /// The bundle of authorities, read again on change.
    pub bundle: Box<dyn TextSource>,
    /// Keeps certificate and key for a restarted process.
    pub store: Box<dyn StateStore>,
}

/// Keeps the certificate in [`Keys`] fresh.
pub struct Certifier {
    options: CertifyOptions,
    keys: Keys,
    /// The bundle that `keys` trusts.
    bundle: String,
    /// The bundle under which the certificate in use was given.
    given_under: Option<String>,
}

impl fmt::Debug for Certifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certifier")
            .field("identity", &self.options.identity)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// Why there is no certifier.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// The bundle of authorities cannot be read.
    #[error("the bundle of authorities cannot be read: {0}; mount the operator's ConfigMap")]
    Bundle(std::io::Error),
    /// It holds no authorities.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// Certificate and key as they are kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    certificate_pem: String,
    key_pem: String,
    bundle_pem: String,
}

impl Certifier {
    /// Reads the bundle, and the certificate that was kept if it is still good.
    ///
    /// # Errors
    /// When there is no bundle.
    pub fn new(
        options: CertifyOptions,
        clock: Arc<dyn millstream_clock::Clock>,
    ) -> Result<Self, CertifyError> {
        let bundle = options.bundle.read().map_err(CertifyError::Bundle)?;
        let keys = Keys::new(clock, &bundle)?;
        let mut certifier = Self {
            options,
            keys,
            bundle,
            given_under: None,
        };
        certifier.load();
        Ok(certifier)
    }

    /// What connections are made with. Holds no certificate before the first is there.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.keys.clone()
    }

    fn load(&mut self) {
        let kept = match self.options.store.load() {
            Ok(None) => return,
            Ok(Some(bytes)) => open(KIND, &bytes)
                .map_err(str::to_owned)
                .and_then(|body| serde_json::from_slice::<Kept>(body).map_err(|e| e.to_string())),
            Err(error) => Err(error.to_string()),
        };
        let installed = kept.and_then(|kept| {
            let installed = self.keys.install(&kept.certificate_pem, &kept.key_pem);
            installed.map_err(|error| error.to_string())?;
            Ok(kept.bundle_pem)
        });
        match installed {
            Ok(bundle) => self.given_under = Some(bundle),
            Err(reason) => tracing::warn!(reason, "the certificate that was kept is not used"),
        }
    }

    /// Waits until there is a certificate: at once if a good one was kept.
    pub async fn first(&mut self) {
        let mut backoff = Backoff::new(Arc::clone(&self.options.entropy));
        while self.keys.certificate().is_none() {
            self.reread_bundle();
            if let Err(reason) = self.renew().await {
                tracing::warn!(reason, "no certificate yet");
                task::sleep(backoff.next()).await;
            }
        }
    }

    /// Keeps certificate and bundle fresh until `stop` says so or its sender is gone.
    pub async fn run(mut self, stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            () = told(stop) => {},
            () = self.refresh_for_ever() => {},
        }
    }

    async fn refresh_for_ever(&mut self) {
        loop {
            self.refresh().await;
            task::sleep(LOOK_EVERY).await;
        }
    }

    /// Reads the bundle again, and renews the certificate if it is time or the bundle has changed
    /// since it was given.
    pub async fn refresh(&mut self) {
        self.reread_bundle();
        let outlived = self.given_under.as_ref() != Some(&self.bundle);
        if !outlived && !self.keys.renewal_due() {
            return;
        }
        if let Err(reason) = self.renew().await {
            tracing::warn!(reason, "the certificate was not renewed, it is tried again");
        }
    }

    fn reread_bundle(&mut self) {
        let bundle = match self.options.bundle.read() {
            Ok(bundle) => bundle,
            Err(error) => {
                tracing::warn!(%error, "cannot read the bundle of authorities, the last one holds");
                return;
            },
        };
        if bundle == self.bundle {
            return;
        }
        match self.keys.set_bundle(&bundle) {
            Ok(()) => {
                tracing::info!("the bundle of authorities has changed");
                self.bundle = bundle;
            },
            Err(error) => {
                tracing::warn!(%error, "the new bundle of authorities is not used");
            },
        }
    }

    /// Asks each replica in turn.
    async fn renew(&mut self) -> Result<(), String> {
        let options = &self.options;
        let (resolver, entropy) = (Arc::clone(&options.resolver), Arc::clone(&options.entropy));
        let mut reason = format!("{} has no address", options.operator);
        let found = find(resolver, options.operator.clone(), entropy).await;
        for address in found {
            match task::timeout(SIGN_TIMEOUT, self.ask(&address)).await {
                Ok(Ok(kept)) => return self.install(&kept),
                Ok(Err(failed)) => reason = failed,
                Err(_) => reason = format!("{address} did not sign in time"),
            }
        }
        Err(reason)
    }

    async fn ask(&self, address: &Address) -> Result<Kept, String> {
        let token = self.options.token.read();
        let token = token.map_err(|error| format!("cannot read the token: {error}"))?;
        let asked = Request::new().map_err(|error| error.to_string())?;
        let plain = Arc::clone(&self.options.connector);
        let tls = TlsConnector::anonymous(plain, self.keys.clone());
        let replica = Endpoint::new(address.clone(), self.options.expected.clone());
        let mut client = ContractClient::new(Channel::new(Arc::new(tls), replica));
        let request = proto::SignCertificateRequest {
            contract: CONTRACT,
            request_pem: asked.request_pem,
            token: token.trim().to_owned(),
            identity: self.options.identity.to_string(),
        };
        let answer = client.sign_certificate(request).await;
        let answer = answer.map_err(|status| format!("{address}: {}", status.message()))?;
        Ok(Kept {
            certificate_pem: answer.into_inner().certificate_pem,
            key_pem: asked.key_pem,
            bundle_pem: self.bundle.clone(),
        })
    }

    /// Uses a certificate, and keeps it. One that cannot be kept is used all the same.
    fn install(&mut self, kept: &Kept) -> Result<(), String> {
        let used = self.keys.install(&kept.certificate_pem, &kept.key_pem);
        used.map_err(|error| format!("the operator's certificate is not used: {error}"))?;
        self.given_under = Some(kept.bundle_pem.clone());
        let body = serde_json::to_vec(kept).map_err(|error| error.to_string())?;
        if let Err(error) = self.options.store.save(&seal(KIND, &body)) {
            tracing::warn!(%error, "the certificate was not kept, a restart asks for a new one");
        }
        tracing::info!(identity = %self.options.identity, "has a new certificate");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../tests/golden/attached-certificate-v1");

    #[test]
    fn version_1_of_a_kept_certificate_is_written_and_read_as_in_the_golden_file() {
        let kept = Kept {
            certificate_pem: "a certificate\n".to_owned(),
            key_pem: "a private key\n".to_owned(),
            bundle_pem: "a bundle\n".to_owned(),
        };
        let body = serde_json::to_vec(&kept).expect("JSON");
        let written = String::from_utf8(seal(KIND, &body)).expect("a text");
        assert_eq!(written, GOLDEN);
        let body = open(KIND, GOLDEN.as_bytes()).expect("a good file");
        let read: Kept = serde_json::from_slice(body).expect("the format");
        assert_eq!(read.key_pem, kept.key_pem);
        assert!(open("desired-state", GOLDEN.as_bytes()).is_err());
    }
}
