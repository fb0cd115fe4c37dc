//! Which of the watched namespaces the operator can read.
//!
//! A namespace that was deleted, or whose Role is gone, answers 403 to everything. A leader that
//! waited for it would serve nobody: it is left out, told of and asked again, and the others are
//! served. See [`crate::mended`].
//!
//! Its access keys are not used while it is left out. Deleting a Secret is how a key is revoked, and
//! who may not read the Secrets cannot tell one that was deleted from one that is there.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use millstream_clock::task;
use millstream_crds::data_stream::DataStreamResource;
use serde::de::DeserializeOwned;

use crate::apply::{code, patiently};
use crate::failure::Failure;

/// How often a namespace must be forbidden to be left out.
const FORBIDDEN_TIMES: u32 = 3;
/// Wait before it is asked for again.
const FORBIDDEN_PAUSE: Duration = Duration::from_secs(1);

/// The namespaces of a leader, for as long as it leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Those that it reads; none if it reads the whole cluster at once.
    readable: Option<Vec<String>>,
    /// Those that it is configured to watch and may not read.
    left_out: BTreeSet<String>,
}

impl Reach {
    /// Asks for each of `watched` whether it can be read; none stands for the whole cluster, which
    /// is not asked for.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn find(client: &Client, watched: Option<Vec<&str>>) -> Result<Self, Failure> {
        let Some(watched) = watched else {
            return Ok(Self::default());
        };
        let left_out = forbidden(client, &watched).await?;
        for namespace in &left_out {
            tracing::error!(
                namespace,
                "a watched namespace is left out, and its access keys are not used: the API server \
                 forbids to read it; if it is gone take it out of watchNamespaces, or else upgrade \
                 the release, which makes its Role"
            );
        }
        let owned = watched.into_iter().map(str::to_owned);
        Ok(Self {
            readable: Some(owned.filter(|name| !left_out.contains(name)).collect()),
            left_out,
        })
    }

    /// The namespaces to read; none stands for the whole cluster.
    #[must_use]
    pub fn namespaces(&self) -> Option<Vec<&str>> {
        let readable = self.readable.as_ref()?;
        Some(readable.iter().map(String::as_str).collect())
    }

    /// The namespaces that are left out.
    #[must_use]
    pub const fn left_out(&self) -> &BTreeSet<String> {
        &self.left_out
    }
}

/// Those of `namespaces` that may not be read. It is believed when it is said each of several times:
/// an API server that has just started forbids what it does not know yet.
///
/// # Errors
/// When the API server does not answer, or with another error than that it is forbidden.
pub async fn forbidden(client: &Client, namespaces: &[&str]) -> Result<BTreeSet<String>, Failure> {
    let mut suspects: BTreeSet<String> = namespaces.iter().map(|&name| name.to_owned()).collect();
    for time in 0..FORBIDDEN_TIMES {
        if suspects.is_empty() {
            break;
        }
        if time > 0 {
            task::sleep(FORBIDDEN_PAUSE).await;
        }
        let mut still = BTreeSet::new();
        for namespace in suspects {
            let asked = can_read(client, &namespace).await;
            let what = || format!("reading namespace {namespace}");
            if !asked.map_err(|error| Failure::api(what(), &error))? {
                still.insert(namespace);
            }
        }
        suspects = still;
    }
    Ok(suspects)
}

/// Whether everything that is watched in the namespace may be read.
///
/// # Errors
/// When the API server does not answer, or with another error than that it is forbidden.
pub async fn can_read(client: &Client, namespace: &str) -> Result<bool, kube::Error> {
    Ok(can_list::<DataStreamResource>(client, namespace).await?
        && can_list::<StatefulSet>(client, namespace).await?
        && can_list::<Pod>(client, namespace).await?
        && can_list::<Secret>(client, namespace).await?
        && can_list::<ConfigMap>(client, namespace).await?)
}

async fn can_list<K>(client: &Client, namespace: &str) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    // One is enough to be asked for.
    let params = ListParams::default().limit(1);
    let listed = patiently("reading a namespace", || api.list_metadata(&params)).await;
    match listed {
        Ok(_) => Ok(true),
        Err(error) if code(&error) == Some(403) => Ok(false),
        // The kind is not there yet: its watch waits for it.
        Err(error) if code(&error) == Some(404) => Ok(true),
        Err(error) => Err(error),
    }
}
