//! The keyring's Secret and the bundle's ConfigMap: read, made, rotated, spread.
//!
//! Both replicas read the Secret, since each shows a certificate of its own; only the leader
//! writes. Two that start at once make one Secret: the second finds it there.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret as SecretObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use millstream_clock::{Clock, Entropy, task};
use millstream_control::{Identity, Role};
use millstream_link::tls::Keys;
use parking_lot::Mutex;

use super::keyring::{ANNOTATION_ROTATE, ANNOTATION_ROTATE_TOKEN_KEY, Keyring, KeyringError};
use crate::apply::{apply, code, patiently};
use crate::config::OperatorConfig;
use crate::failure::Failure;
use crate::names::{FIELD_MANAGER, managed_labels};
use crate::pools::build::ca_bundle;

/// How often a replica looks at the Secret and at its own certificate.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often two replicas that start at once may run into each other.
const TRIES_MAX: usize = 5;

/// The keyring as this replica has it. Clones share it.
#[derive(Clone)]
pub struct KeyKeeper(Arc<Inner>);

struct Inner {
    secrets: Api<SecretObject>,
    client: Client,
    config: Arc<OperatorConfig>,
    namespace: String,
    identity: Identity,
    keyring: Mutex<Keyring>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl KeyKeeper {
    /// Reads the Secret, or makes it.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged: a new one would lock out every server.
    pub async fn open(
        client: Client,
        config: Arc<OperatorConfig>,
        namespace: String,
        pod: &str,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Failure> {
        let identity = Identity::new(&namespace, Role::Operator, pod)
            .map_err(|error| Failure::Setting(format!("POD_NAME and POD_NAMESPACE: {error}")))?;
        let secrets: Api<SecretObject> = Api::namespaced(client.clone(), &namespace);
        let keyring = first(&secrets, &config.contract.ca_secret, &*clock, &*entropy).await?;
        Ok(Self(Arc::new(Inner {
            secrets,
            client,
            config,
            namespace,
            identity,
            keyring: Mutex::new(keyring),
            clock,
            entropy,
        })))
    }

    /// The keyring as it is now.
    #[must_use]
    pub fn keyring(&self) -> Keyring {
        self.0.keyring.lock().clone()
    }

    /// What this replica shows to those who attach.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn own_keys(&self) -> Result<Keys, Failure> {
        let failed = |problem: String| Failure::Kept {
            object: self.object(),
            problem,
        };
        let keyring = self.keyring();
        let keys = Keys::new(Arc::clone(&self.0.clock), &keyring.bundle())
            .map_err(|error| failed(error.to_string()))?;
        self.certify(&keys).map_err(failed)?;
        Ok(keys)
    }

    /// Signs a certificate for this replica itself.
    fn certify(&self, keys: &Keys) -> Result<(), String> {
        let keyring = self.keyring();
        let authority = keyring.authority().map_err(|error| error.to_string())?;
        let now = self.0.clock.now();
        let pair = authority
            .issue(&self.0.identity, now, &*self.0.entropy)
            .map_err(|error| error.to_string())?;
        keys.set_bundle(&keyring.bundle())
            .map_err(|error| error.to_string())?;
        keys.install(&pair.certificate_pem, &pair.key_pem)
            .map_err(|error| error.to_string())
    }

    /// Signs for a server.
    ///
    /// # Errors
    /// When the request cannot be used.
    pub fn sign(&self, request_pem: &str, identity: &Identity) -> Result<String, KeyringError> {
        let authority = self.keyring().authority()?;
        let now = self.0.clock.now();
        Ok(authority.sign(request_pem, identity, now, &*self.0.entropy)?)
    }

    /// Looks at the Secret now and then: the other replica may have turned it. `leads` says whether
    /// this one turns it; `spread` is told of each new bundle.
    pub async fn keep(&self, keys: Keys, leads: impl Fn() -> bool, spread: impl Fn(String)) {
        let mut shown = self.keyring().bundle();
        loop {
            if let Err(error) = self.look(leads()).await {
                tracing::warn!(%error, "the certificate authority was not looked at");
            }
            let bundle = self.keyring().bundle();
            if bundle != shown || keys.renewal_due() {
                if let Err(error) = self.certify(&keys) {
                    tracing::error!(%error, "the operator has no new certificate");
                }
                shown.clone_from(&bundle);
            }
            if leads() {
                self.spread_own(&bundle).await;
                spread(bundle);
            }
            task::sleep(LOOK_EVERY).await;
        }
    }

    /// Looks at the Secret once: takes over what it says, and turns it if this replica `leads`.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or cannot be written; what was there before is used on.
    pub async fn look(&self, leads: bool) -> Result<(), Failure> {
        let name = &self.0.config.contract.ca_secret;
        let found = self.0.secrets.get(name).await;
        let mut found = found.map_err(|error| Failure::api(self.object(), &error))?;
        let mut keyring = read(&found, &self.object())?;
        let annotations = found.metadata.annotations.clone().unwrap_or_default();
        let is_asked = |name| annotations.get(name).is_some_and(|value| value == "true");
        let now = self.0.clock.now();
        let kept = |error: KeyringError| Failure::Kept {
            object: self.object(),
            problem: error.to_string(),
        };
        let mut has_changed = false;
        if leads {
            let entropy = &*self.0.entropy;
            let turned = keyring.turn(now, is_asked(ANNOTATION_ROTATE), entropy);
            has_changed = turned.map_err(kept)?;
            if is_asked(ANNOTATION_ROTATE_TOKEN_KEY) {
                keyring.replace_token_key(entropy);
                has_changed = true;
            }
        }
        if has_changed {
            found.data = Some(keyring.write());
            if let Some(all) = &mut found.metadata.annotations {
                all.remove(ANNOTATION_ROTATE);
                all.remove(ANNOTATION_ROTATE_TOKEN_KEY);
            }
            // The version that was read: a second leader's write would be refused.
            let options = PostParams::default();
            let replaced = self.0.secrets.replace(name, &options, &found).await;
            replaced.map_err(|error| Failure::api(self.object(), &error))?;
            tracing::info!("the keyring has taken a step of a rotation");
        }
        *self.0.keyring.lock() = keyring;
        Ok(())
    }

    /// The bundle of the operator's own namespace, for the gateways.
    async fn spread_own(&self, bundle: &str) {
        let config = &self.0.config;
        let object = ca_bundle(
            &self.0.namespace,
            &config.instance,
            &config.contract.ca_bundle,
            bundle,
        );
        if let Err(error) = apply(&self.0.client, &object).await {
            tracing::warn!(%error, "the bundle of certificates was not written");
        }
    }

    fn object(&self) -> String {
        format!(
            "Secret {}/{}",
            self.0.namespace, self.0.config.contract.ca_secret
        )
    }
}

/// The keyring that is there, or a new one.
async fn first(
    secrets: &Api<SecretObject>,
    name: &str,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Keyring, Failure> {
    let object = format!("Secret {name}");
    for _ in 0..TRIES_MAX {
        let found = patiently(&object, || secrets.get_opt(name)).await;
        if let Some(found) = found.map_err(|error| Failure::api(&object, &error))? {
            return read(&found, &object);
        }
        let keyring = Keyring::generate(clock.now(), entropy).map_err(|error| Failure::Kept {
            object: object.clone(),
            problem: error.to_string(),
        })?;
        let secret = SecretObject {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(managed_labels(FIELD_MANAGER)),
                ..ObjectMeta::default()
            },
            data: Some(keyring.write()),
            ..SecretObject::default()
        };
        match secrets.create(&PostParams::default(), &secret).await {
            Ok(_) => return Ok(keyring),
            Err(error) if code(&error) == Some(409) => {},
            Err(error) => return Err(Failure::api(&object, &error)),
        }
    }
    Err(Failure::ApiServer {
        what: object,
        reason: "it can neither be read nor made".to_owned(),
    })
}

fn read(found: &SecretObject, object: &str) -> Result<Keyring, Failure> {
    let data = found.data.clone().unwrap_or_default();
    Keyring::read(&data).map_err(|error| Failure::Kept {
        object: object.to_owned(),
        problem: error.to_string(),
    })
}
