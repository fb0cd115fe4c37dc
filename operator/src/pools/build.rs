//! From a pool's inputs to the objects wanted, one file per kind.
//!
//! Pure: the same inputs give the same objects, so that applying them again changes nothing.

mod ca_bundle;
mod disruption_budget;
mod network_policy;
mod service;
mod service_account;
pub mod stateful_set;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::config::{OperatorConfig, PoolClass};
use crate::names::PoolKey;

/// All that the objects of a pool depend on.
#[derive(Clone, Debug)]
pub struct PoolInput<'a> {
    /// The pool.
    pub key: &'a PoolKey,
    /// Its class.
    pub class: &'a PoolClass,
    /// The operator's configuration.
    pub config: &'a OperatorConfig,
    /// The operator's own namespace, where the gateways are too.
    pub operator_namespace: &'a str,
    /// How many pods; [`super::size`] decides.
    pub replicas: u32,
    /// When the last rolling restart was asked for.
    pub restarted_at: Option<&'a str>,
    /// The set that is there, whose volumes cannot change.
    pub existing: Option<&'a StatefulSet>,
    /// The certificates of the operator's authority, as PEM.
    pub ca_bundle: &'a str,
}

/// The objects of one pool, in the order in which they are applied.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolObjects {
    /// The authority's certificates; shared by the pools of a namespace.
    pub ca_bundle: ConfigMap,
    /// Who the pods are. It has no rights.
    pub service_account: ServiceAccount,
    /// Names for the pods.
    pub service: Service,
    /// Who may connect; none where NetworkPolicies are turned off.
    pub network_policy: Option<NetworkPolicy>,
    /// How many may be drained at once.
    pub disruption_budget: PodDisruptionBudget,
    /// The pods.
    pub stateful_set: StatefulSet,
}

/// The objects that the pool should have.
#[must_use]
pub fn objects(input: &PoolInput<'_>) -> PoolObjects {
    let policies = input.config.network_policy.enabled;
    PoolObjects {
        ca_bundle: ca_bundle::build(
            &input.key.namespace,
            &input.config.instance,
            &input.config.contract.ca_bundle,
            input.ca_bundle,
        ),
        service_account: service_account::build(input),
        service: service::build(input),
        network_policy: policies.then(|| network_policy::build(input)),
        disruption_budget: disruption_budget::build(input),
        stateful_set: stateful_set::build(input),
    }
}

pub use ca_bundle::build as ca_bundle;

/// The metadata of every object of the pool.
fn metadata(input: &PoolInput<'_>) -> ObjectMeta {
    ObjectMeta {
        name: Some(input.key.object_name()),
        namespace: Some(input.key.namespace.clone()),
        labels: Some(input.key.labels(&input.config.instance)),
        ..ObjectMeta::default()
    }
}

/// A map, or nothing if it is empty: an applied empty map would own a field that says nothing.
fn some_map(map: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then_some(map)
}
