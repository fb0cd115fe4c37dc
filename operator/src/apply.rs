//! Calls to the API server: server-side apply with one field manager, deletion, patience at the
//! start.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt as _};
use millstream_clock::task;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::names::FIELD_MANAGER;

/// First wait of [`patiently`]; doubled with each try.
const PATIENCE_FIRST: Duration = Duration::from_millis(250);
/// Longest wait between two tries.
const PATIENCE_MAX: Duration = Duration::from_secs(5);
/// Most tries: about a minute.
const TRIES_MAX: usize = 15;

/// Applies an object that the operator alone makes: other managers lose the fields that it names.
///
/// # Errors
/// When the API server refuses.
pub async fn apply<K>(client: &Client, object: &K) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug,
{
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let options = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(&object.name_any(), &options, &Patch::Apply(object))
        .await
}

/// Deletes an object; one that is gone is deleted. With a UID only the object of that UID.
///
/// # Errors
/// When the API server refuses; a 409 says that the object has another UID now.
pub async fn delete<K>(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: Option<&str>,
) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + Debug,
{
    let only = uid.map(|uid| Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    });
    delete_only::<K>(client, namespace, name, only).await
}

/// Deletes an object if it is still as `only` has it; one that is gone is deleted.
///
/// # Errors
/// When the API server refuses; a 409 says that the object is another one now.
pub async fn delete_only<K>(
    client: &Client,
    namespace: &str,
    name: &str,
    only: Option<Preconditions>,
) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let options = DeleteParams {
        preconditions: only,
        ..DeleteParams::background()
    };
    match api.delete(name, &options).await {
        Err(error) if code(&error) != Some(404) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Calls until the API server answers: at a start it, or the way to it, may not be there yet, or it
/// may have too much to do. What it refuses is refused at once, and after some tries the last error
/// counts.
///
/// # Errors
/// The last one.
pub async fn patiently<T, F>(what: &str, call: impl Fn() -> F) -> Result<T, kube::Error>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let mut pause = PATIENCE_FIRST;
    for _ in 1..TRIES_MAX {
        let error = match call().await {
            Err(error) if is_passing(&error) => error,
            done => return done,
        };
        tracing::warn!(what, %error, "the API server does not answer; it is asked again");
        task::sleep(pause).await;
        pause = (pause * 2).min(PATIENCE_MAX);
    }
    call().await
}

/// Whether the same call may be answered a little later.
#[must_use]
pub fn is_passing(error: &kube::Error) -> bool {
    let passing = ["Unreachable", "ServerError", "TooManyRequests"];
    passing.contains(&reason(error))
}

/// The HTTP status that the API server answered with.
#[must_use]
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// A stable word for an error of the API server, for metrics.
#[must_use]
pub fn reason(error: &kube::Error) -> &'static str {
    match code(error) {
        Some(403) => "Forbidden",
        Some(404) => "NotFound",
        Some(409) => "Conflict",
        Some(410) => "Expired",
        Some(422) => "Invalid",
        Some(429) => "TooManyRequests",
        Some(500..) => "ServerError",
        Some(_) => "Refused",
        None => "Unreachable",
    }
}
