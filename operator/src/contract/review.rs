//! Who a server is: its token is reviewed by the API server, then the pod itself is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use millstream_control::attach::{Authenticator, PodIdentity, ReviewError, SignError};
use millstream_control::{Identity, Role, Secret};

use crate::config::OperatorConfig;
use crate::config::pool_class::PODS_MAX;
use crate::names::PoolKey;
use crate::pools::view;

/// What the API server says in `extra` of a token that is bound to a pod.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
/// The same, for the pod's UID.
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
/// How the user of a service account's token begins.
const USER_PREFIX: &str = "system:serviceaccount:";

/// Reviews tokens by asking the API server.
#[derive(Clone)]
pub struct TokenReviewer {
    client: Client,
    audience: String,
}

impl TokenReviewer {
    /// Accepts tokens of this audience alone.
    #[must_use]
    pub const fn new(client: Client, audience: String) -> Self {
        Self { client, audience }
    }

    async fn ask(&self, token: &Secret) -> Result<PodIdentity, ReviewError> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.reveal().to_owned()),
                audiences: Some(vec![self.audience.clone()]),
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| ReviewError::Unavailable(error.to_string()))?;
        pod_of(&answer.status.unwrap_or_default(), &self.audience)
    }
}

impl Authenticator for TokenReviewer {
    fn review<'a>(&'a self, token: &'a Secret) -> BoxFuture<'a, Result<PodIdentity, ReviewError>> {
        Box::pin(self.ask(token))
    }
}

/// The pod that the reviewed token is bound to.
fn pod_of(status: &TokenReviewStatus, audience: &str) -> Result<PodIdentity, ReviewError> {
    let rejected = |text: &str| Err(ReviewError::Rejected(text.to_owned()));
    if status.authenticated != Some(true) {
        return rejected(
            status
                .error
                .as_deref()
                .unwrap_or("the cluster does not know it"),
        );
    }
    // An API server that ignores audiences would say yes to any token.
    let audiences = status.audiences.as_deref().unwrap_or_default();
    if !audiences.iter().any(|found| found == audience) {
        return rejected("it is for another audience");
    }
    let user = status.user.clone().unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let Some((namespace, _)) = name
        .strip_prefix(USER_PREFIX)
        .and_then(|rest| rest.split_once(':'))
    else {
        return rejected("it is not a service account's");
    };
    let extra: BTreeMap<String, Vec<String>> = user.extra.unwrap_or_default();
    let first = |key: &str| extra.get(key).and_then(|values| values.first()).cloned();
    match (first(POD_NAME), first(POD_UID)) {
        (Some(pod), Some(uid)) => Ok(PodIdentity {
            namespace: namespace.to_owned(),
            pod,
            uid,
        }),
        _ => rejected("it is not bound to a pod"),
    }
}

/// Whether the pod may have this identity: it is there, it is the one of the token, and its
/// service account is that of the role.
///
/// # Errors
/// When it may not, or the API server cannot say.
pub async fn check_pod(
    client: &Client,
    config: &OperatorConfig,
    operator_namespace: &str,
    pod: &PodIdentity,
    identity: &Identity,
) -> Result<(), SignError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let found = pods.get_opt(&pod.pod).await;
    let found = found.map_err(|error| SignError::Unavailable(error.to_string()))?;
    let refuse = |text: &str| Err(SignError::Refused(format!("pod {}: {text}", pod.pod)));
    let Some(found) = found.filter(|found| found.metadata.uid.as_deref() == Some(&pod.uid)) else {
        return refuse("it is not the pod of that token any more");
    };
    let account = found
        .spec
        .and_then(|spec| spec.service_account_name)
        .unwrap_or_default();
    let fits = match identity.role() {
        Role::Gateway => {
            pod.namespace == operator_namespace && account == config.gateway.service_account
        },
        Role::Shard => match PoolKey::of_object(&pod.namespace, &account) {
            Some(key) if is_seat(&key, &pod.pod) => {
                config.pool_classes.contains_key(&key.pool)
                    || is_pool(client, &config.instance, &key).await?
            },
            Some(_) | None => false,
        },
        Role::Operator => false,
    };
    if fits {
        Ok(())
    } else {
        refuse(&format!(
            "its service account {account} may not be a {}",
            identity.role()
        ))
    }
}

/// Whether a pod of this name can be one of the pool's: a higher one than any pool has may have been
/// made by whoever can make pods in the namespace.
fn is_seat(key: &PoolKey, pod: &str) -> bool {
    key.ordinal_of(pod)
        .is_some_and(|ordinal| ordinal < PODS_MAX)
}

/// Whether there is such a pool of this release: one whose class was taken out of the configuration
/// serves on, and needs certificates.
async fn is_pool(client: &Client, instance: &str, key: &PoolKey) -> Result<bool, SignError> {
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &key.namespace);
    let found = sets.get_opt(&key.object_name()).await;
    let found = found.map_err(|error| SignError::Unavailable(error.to_string()))?;
    let found = found.into_iter().map(Arc::new).collect();
    Ok(view::sets(found, instance).contains_key(key))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn status(change: impl FnOnce(&mut TokenReviewStatus)) -> TokenReviewStatus {
        let one = |key: &str, value: &str| (key.to_owned(), vec![value.to_owned()]);
        let mut status = TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec!["millstream-control".to_owned()]),
            user: Some(UserInfo {
                username: Some("system:serviceaccount:team:shards".to_owned()),
                extra: Some(BTreeMap::from([one(POD_NAME, "p-0"), one(POD_UID, "u")])),
                ..UserInfo::default()
            }),
            ..TokenReviewStatus::default()
        };
        change(&mut status);
        status
    }

    #[test]
    fn only_a_pod_that_a_pool_can_have_is_certified() {
        let key = PoolKey::new("team", "fast");
        assert!(is_seat(&key, &key.pod_name(0)));
        assert!(is_seat(&key, &key.pod_name(PODS_MAX - 1)));
        for stranger in [
            key.pod_name(PODS_MAX),
            key.pod_name(u32::MAX),
            "p-0".to_owned(),
        ] {
            assert!(!is_seat(&key, &stranger), "{stranger}");
        }
    }

    #[test]
    fn a_good_token_names_its_pod() {
        let pod = pod_of(&status(|_| {}), "millstream-control").expect("accepted");
        assert_eq!((pod.namespace.as_str(), pod.pod.as_str()), ("team", "p-0"));
        assert_eq!(pod.uid, "u");
    }

    #[test]
    fn every_other_token_is_rejected() {
        for (change, want) in [
            (
                (|s: &mut TokenReviewStatus| s.authenticated = Some(false)) as fn(&mut _),
                "does not know",
            ),
            (|s| s.audiences = None, "another audience"),
            (
                |s| s.audiences = Some(vec!["api".to_owned()]),
                "another audience",
            ),
            (|s| s.user = None, "not a service account's"),
            (
                |s| s.user.as_mut().expect("there").extra = None,
                "not bound to a pod",
            ),
        ] {
            let error = pod_of(&status(change), "millstream-control").expect_err("rejected");
            assert!(error.to_string().contains(want), "{error}");
        }
    }
}
