//! The Secret with the token that servers ask for before they show their metrics: one for each
//! namespace that has a pool, and one beside the gateways.
//!
//! A Secret of the name that is there is taken as it is, so that an administrator can bring a token;
//! one without a token that servers would take gets one. To replace a token: delete its Secret.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use millstream_clock::Entropy;

use crate::apply::code;
use crate::context::Context;
use crate::names::{METRICS_SECRET, METRICS_TOKEN_KEY, release_labels};
use crate::random_key::random_key;

/// How often a Secret is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Shortest token that servers take, in bytes.
const TOKEN_BYTES_MIN: usize = 16;
/// Longest one, with the blanks around it.
const TOKEN_BYTES_MAX: usize = 4 * 1024;

/// Keeps the Secrets; remembers when each was looked at.
#[derive(Debug, Default)]
pub struct Tokens {
    looked: BTreeMap<String, Duration>,
}

impl Tokens {
    /// Sees that `namespace` has a token; asks the API server once a minute.
    ///
    /// # Errors
    /// When it refuses. The next call asks again.
    pub async fn keep(&mut self, context: &Context, namespace: &str) -> Result<(), kube::Error> {
        let now = context.clock.monotonic();
        let looked = self.looked.get(namespace);
        if looked.is_some_and(|at| now.saturating_sub(*at) < LOOK_EVERY) {
            return Ok(());
        }
        let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
        let options = PostParams::default();
        match secrets.get_opt(METRICS_SECRET).await? {
            Some(there) if is_usable(&there) => {},
            Some(there) => {
                // The version that was read: whoever writes at this moment is not overwritten.
                let mended = mended(there, &*context.entropy);
                secrets.replace(METRICS_SECRET, &options, &mended).await?;
                tracing::warn!(
                    namespace,
                    "Secret {METRICS_SECRET} had no token for metrics; it has one now"
                );
            },
            None => {
                let instance = &context.config.instance;
                let made = build(namespace, instance, &*context.entropy);
                match secrets.create(&options, &made).await {
                    Err(error) if code(&error) != Some(409) => return Err(error),
                    Ok(_) | Err(_) => {},
                }
            },
        }
        self.looked.insert(namespace.to_owned(), now);
        Ok(())
    }
}

/// The Secret with a new token.
fn build(namespace: &str, instance: &str, entropy: &dyn Entropy) -> Secret {
    let metadata = ObjectMeta {
        name: Some(METRICS_SECRET.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(release_labels(instance)),
        ..ObjectMeta::default()
    };
    let secret = Secret {
        metadata,
        ..Secret::default()
    };
    mended(secret, entropy)
}

/// The same Secret with a new token.
fn mended(mut secret: Secret, entropy: &dyn Entropy) -> Secret {
    let token = random_key(entropy);
    let data = secret.data.get_or_insert_default();
    data.insert(METRICS_TOKEN_KEY.to_owned(), ByteString(token.into_bytes()));
    secret
}

/// Whether servers would take the token of this Secret.
fn is_usable(secret: &Secret) -> bool {
    let token = secret
        .data
        .as_ref()
        .and_then(|data| data.get(METRICS_TOKEN_KEY));
    token.is_some_and(|token| {
        token.0.len() <= TOKEN_BYTES_MAX && token.0.trim_ascii().len() >= TOKEN_BYTES_MIN
    })
}

#[cfg(test)]
mod tests {
    use millstream_clock::SeededEntropy;

    use super::*;

    fn token(secret: &Secret) -> String {
        let data = secret.data.clone().expect("data");
        String::from_utf8(data[METRICS_TOKEN_KEY].0.clone()).expect("text")
    }

    #[test]
    fn every_secret_has_a_token_of_its_own() {
        let entropy = SeededEntropy::new(1);
        let (one, other) = (build("a", "r", &entropy), build("b", "r", &entropy));
        assert!(is_usable(&one) && is_usable(&other));
        assert_eq!(token(&one).len(), 64);
        assert_ne!(token(&one), token(&other));
    }

    #[test]
    fn what_servers_would_not_take_is_mended_and_the_rest_is_kept() {
        for bad in ["", "   \n", "fifteen-letters", &" ".repeat(5_000)] {
            let mut secret = build("a", "r", &SeededEntropy::new(2));
            let data = secret.data.get_or_insert_default();
            data.insert(
                METRICS_TOKEN_KEY.to_owned(),
                ByteString(bad.as_bytes().to_vec()),
            );
            data.insert("other".to_owned(), ByteString(b"stays".to_vec()));
            assert!(!is_usable(&secret), "{bad:?}");
            let mended = mended(secret, &SeededEntropy::new(3));
            assert!(is_usable(&mended), "{bad:?}");
            let data = mended.data.expect("data");
            assert_eq!(data["other"], ByteString(b"stays".to_vec()));
        }
        assert!(!is_usable(&Secret::default()));
    }
}
