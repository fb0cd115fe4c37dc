//! Names that stand in objects: labels, annotations, field managers, finalizers, ports, paths.
//!
//! Anything that another program or an administrator can see and rely on is here, once.

use std::collections::BTreeMap;

/// The field manager of every object that the operator makes.
pub const FIELD_MANAGER: &str = "millstream-operator";
/// The field manager of `status`, apart so that a status never owns a field of a spec.
pub const STATUS_MANAGER: &str = "millstream-operator-status";
/// The field manager of what SDK clients change.
pub const API_MANAGER: &str = "millstream-api";
/// Keeps a `DataStream` until its records are dealt with.
pub const FINALIZER: &str = "millstream.dev/stream";

/// Label: the program that an object belongs to.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Label: the chart's release.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// Label: `operator`, `gateway` or `shard`.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Label: who makes the object.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: what the object is a part of.
pub const LABEL_PART_OF: &str = "app.kubernetes.io/part-of";
/// Label: the pool.
pub const LABEL_POOL: &str = "millstream.dev/pool";
/// Label of Secrets that hold an access key.
pub const LABEL_ACCESS_KEY: &str = "millstream.dev/access-key";
/// Label of the ConfigMaps that hold a placement.
pub const LABEL_PLACEMENT: &str = "millstream.dev/placement";
/// Label that Kubernetes itself puts on every namespace.
pub const LABEL_NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Annotation of a pool's pods: when the last rolling restart was asked for.
pub const ANNOTATION_RESTARTED_AT: &str = "millstream.dev/restarted-at";
/// Annotation of a pool's StatefulSet: delete the pool. See [`crate::pools::retire`].
pub const ANNOTATION_DELETE_POOL: &str = "millstream.dev/delete-pool";

/// The value of [`LABEL_NAME`] and [`LABEL_PART_OF`].
pub const PROGRAM: &str = "millstream";
/// The value of [`LABEL_COMPONENT`] of shard pods.
pub const COMPONENT_SHARD: &str = "shard";

/// Port of the health probes and metrics.
pub const PORT_ADMIN: i32 = 4568;
/// Port of the calls between gateways and shard servers.
pub const PORT_RPC: i32 = 4569;

/// The user that everything of ours runs as.
pub const RUN_AS: i64 = 65_532;

/// Where a shard server keeps its records.
pub const DATA_DIR: &str = "/var/lib/millstream";
/// Where a server finds its service-account token.
pub const TOKEN_DIR: &str = "/var/run/secrets/millstream";
/// Where a server finds the certificates of the operator's authority.
pub const CA_DIR: &str = "/etc/millstream/ca";
/// The key of the certificates in the bundle's ConfigMap, and their file.
pub const CA_FILE: &str = "ca.crt";
/// The Secret, in each namespace with servers, whose token they ask for before they show metrics.
pub const METRICS_SECRET: &str = "millstream-metrics";
/// The key of the token in [`METRICS_SECRET`], and its file.
pub const METRICS_TOKEN_KEY: &str = "token";
/// Where a server finds [`METRICS_SECRET`].
pub const METRICS_DIR: &str = "/var/run/secrets/millstream-metrics";

/// One namespace's pool of shard pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey {
    /// The namespace.
    pub namespace: String,
    /// The pool, named as its class.
    pub pool: String,
}

impl PoolKey {
    /// The pool `pool` of `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<String>, pool: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            pool: pool.into(),
        }
    }

    /// The pool of `namespace` whose objects are named so.
    #[must_use]
    pub fn of_object(namespace: &str, name: &str) -> Option<Self> {
        let prefix = Self::new(namespace, "").object_name();
        let pool = name.strip_prefix(&prefix)?;
        (!pool.is_empty()).then(|| Self::new(namespace, pool))
    }

    /// The name of every object of the pool that there is one of.
    #[must_use]
    pub fn object_name(&self) -> String {
        format!("millstream-shard-{}", self.pool)
    }

    /// The name of the ConfigMap with the pool's placement.
    #[must_use]
    pub fn placement_name(&self) -> String {
        format!("millstream-placement-{}", self.pool)
    }

    /// The name of the pod with this ordinal.
    #[must_use]
    pub fn pod_name(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.object_name())
    }

    /// The ordinal of the pod with this name, if it is one of the pool's.
    #[must_use]
    pub fn ordinal_of(&self, pod_name: &str) -> Option<u32> {
        let digits = pod_name
            .strip_prefix(&self.object_name())?
            .strip_prefix('-')?;
        let ordinal: u32 = digits.parse().ok()?;
        (ordinal.to_string() == digits).then_some(ordinal)
    }

    /// The labels that select the pool's pods and no others.
    #[must_use]
    pub fn selector(&self, instance: &str) -> BTreeMap<String, String> {
        labels([
            (LABEL_NAME, PROGRAM),
            (LABEL_INSTANCE, instance),
            (LABEL_COMPONENT, COMPONENT_SHARD),
            (LABEL_POOL, &self.pool),
        ])
    }

    /// The labels of every object of the pool.
    #[must_use]
    pub fn labels(&self, instance: &str) -> BTreeMap<String, String> {
        let mut all = self.selector(instance);
        all.extend(managed_labels(FIELD_MANAGER));
        all
    }
}

impl std::fmt::Display for PoolKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.pool)
    }
}

/// A map of labels.
#[must_use]
pub fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    pairs.into_iter().map(owned).collect()
}

/// The labels of every object that is written by `manager`.
#[must_use]
pub fn managed_labels(manager: &str) -> BTreeMap<String, String> {
    labels([(LABEL_MANAGED_BY, manager), (LABEL_PART_OF, PROGRAM)])
}

/// The labels of what the operator makes for a release, beside its pools.
#[must_use]
pub fn release_labels(instance: &str) -> BTreeMap<String, String> {
    let mut all = managed_labels(FIELD_MANAGER);
    all.extend(labels([(LABEL_NAME, PROGRAM), (LABEL_INSTANCE, instance)]));
    all
}

/// A label selector as text, as in `status.selector`.
#[must_use]
pub fn selector_text(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_known_by_its_ordinal_and_a_stranger_is_not() {
        let key = PoolKey::new("team", "fast");
        assert_eq!(key.ordinal_of(&key.pod_name(12)), Some(12));
        assert_eq!(
            PoolKey::of_object("team", &key.object_name()),
            Some(key.clone())
        );
        assert_eq!(PoolKey::of_object("team", "millstream-shard-"), None);
        assert_eq!(PoolKey::of_object("team", "default"), None);
        for stranger in [
            "millstream-shard-fast-two-0",
            "millstream-shard-fast",
            "millstream-shard-fast-01",
            "millstream-shard-fast--1",
            "other-0",
        ] {
            assert_eq!(key.ordinal_of(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn the_longest_names_still_fit_a_label() {
        let key = PoolKey::new("n", "p".repeat(32));
        // a pod's controller-revision-hash label is the set's name and a hash of ten characters
        assert!(key.object_name().len() + 11 <= 63);
        assert!(key.pod_name(9_999).len() <= 63);
        assert!(key.placement_name().len() <= 63);
    }

    #[test]
    fn a_selector_is_written_as_kubectl_takes_it() {
        let text = selector_text(&PoolKey::new("n", "p").selector("r"));
        assert_eq!(
            text,
            "app.kubernetes.io/component=shard,app.kubernetes.io/instance=r,\
             app.kubernetes.io/name=millstream,millstream.dev/pool=p"
        );
    }
}
