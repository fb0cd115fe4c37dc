//! What is known of a pool's pods, from the API server and from the servers themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use millstream_crds::annotations;

use super::roll::PodView;
use crate::config::pool_class::PODS_MAX;
use crate::names::{
    ANNOTATION_RESTARTED_AT, FIELD_MANAGER, LABEL_INSTANCE, LABEL_MANAGED_BY, LABEL_POOL, PoolKey,
};
use crate::plan::pool_id;

/// The sets of the release `instance`, by pool. Tenants may be able to write StatefulSets of their
/// namespace: one that is not named and labelled as the operator does it is nobody's pool.
#[must_use]
pub fn sets(all: Vec<Arc<StatefulSet>>, instance: &str) -> BTreeMap<PoolKey, Arc<StatefulSet>> {
    let keyed = |set: Arc<StatefulSet>| Some((key_of(&set, instance)?, set));
    all.into_iter().filter_map(keyed).collect()
}

/// The pool of the release `instance` whose set that is.
fn key_of(set: &StatefulSet, instance: &str) -> Option<PoolKey> {
    let labels = set.metadata.labels.as_ref()?;
    let is = |label: &str, value: &str| labels.get(label).is_some_and(|v| v == value);
    let (namespace, name) = (&set.metadata.namespace, &set.metadata.name);
    let key = PoolKey::of_object(namespace.as_deref()?, name.as_deref()?)?;
    let is_ours = is(LABEL_MANAGED_BY, FIELD_MANAGER) && is(LABEL_INSTANCE, instance);
    (is_ours && is(LABEL_POOL, &key.pool) && pool_id(&key).is_some()).then_some(key)
}

/// The pods of the pool; `serves` says whether the group of an ordinal is open and acknowledges.
pub fn pods<'a>(
    key: &PoolKey,
    all: impl IntoIterator<Item = &'a Pod>,
    serves: impl Fn(u32) -> bool,
) -> Vec<PodView> {
    let mut views = Vec::new();
    for pod in all {
        let metadata = &pod.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let is_here = metadata.namespace.as_deref() == Some(&key.namespace);
        let Some(ordinal) = key.ordinal_of(name).filter(|_| is_here) else {
            continue;
        };
        let revision = metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(REVISION));
        let is_ready = is_ready(pod);
        views.push(PodView {
            ordinal,
            uid: metadata.uid.clone().unwrap_or_default(),
            revision: revision.cloned().unwrap_or_default(),
            is_terminating: metadata.deletion_timestamp.is_some(),
            is_ready,
            is_serving: is_ready && serves(ordinal),
        });
    }
    views
}

/// Whether there are pods of the pool that belong to a set. Those of a set that was deleted do until
/// they are gone; those that were left to themselves belong to nobody.
pub fn has_owned_pods<'a>(key: &PoolKey, all: impl IntoIterator<Item = &'a Pod>) -> bool {
    all.into_iter().any(|pod| {
        let metadata = &pod.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let mut owners = metadata.owner_references.iter().flatten();
        metadata.namespace.as_deref() == Some(&key.namespace)
            && key.ordinal_of(name).is_some()
            && owners.any(|owner| owner.kind == "StatefulSet")
    })
}

/// The label with the template that a StatefulSet made a pod from.
const REVISION: &str = "controller-revision-hash";

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let mut conditions = status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The newest template of a set, once its controller has seen the newest spec.
#[must_use]
pub fn revision(set: &StatefulSet) -> Option<&str> {
    let status = set.status.as_ref()?;
    let is_current = status.observed_generation == set.metadata.generation;
    status.update_revision.as_deref().filter(|_| is_current)
}

/// How many pods the set has: at most [`PODS_MAX`] count, whatever somebody has scaled it to.
#[must_use]
pub fn replicas(set: &StatefulSet) -> u32 {
    let replicas = set
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or_default();
    u32::try_from(replicas).unwrap_or_default().min(PODS_MAX)
}

/// Whether somebody paused the pool itself.
#[must_use]
pub fn is_paused(set: &StatefulSet) -> bool {
    let all = set.metadata.annotations.as_ref();
    all.is_some_and(|all| annotations::is_on(all, annotations::PAUSE))
}

/// When the last rolling restart was asked for.
#[must_use]
pub fn restarted_at(set: &StatefulSet) -> Option<&str> {
    let template = set.spec.as_ref()?.template.metadata.as_ref()?;
    let annotations = template.annotations.as_ref()?;
    annotations.get(ANNOTATION_RESTARTED_AT).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "team", "uid": "u",
                "labels": {"controller-revision-hash": "r1"},
            },
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .expect("a pod")
    }

    #[test]
    fn a_pod_serves_when_it_is_ready_and_its_group_does() {
        let key = PoolKey::new("team", "default");
        let all = [
            pod("millstream-shard-default-0", "True"),
            pod("millstream-shard-default-1", "True"),
            pod("millstream-shard-default-2", "False"),
            pod("millstream-shard-default-two-0", "True"),
        ];
        let views = pods(&key, &all, |ordinal| ordinal != 1);
        let serving: Vec<(u32, bool)> = views.iter().map(|v| (v.ordinal, v.is_serving)).collect();
        assert_eq!(serving, [(0, true), (1, false), (2, false)]);
        assert_eq!(views[0].revision, "r1");
        let elsewhere = PoolKey::new("other", "default");
        assert_eq!(pods(&elsewhere, &all, |_| true), []);
    }

    #[test]
    fn pods_of_a_set_that_is_gone_are_known_from_those_that_belong_to_nobody() {
        let key = PoolKey::new("team", "default");
        let nobodys = pod("millstream-shard-default-0", "True");
        assert!(!has_owned_pods(&key, [&nobodys]));
        let mut left = nobodys.clone();
        left.metadata.owner_references = serde_json::from_value(json!([{
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": "u",
        }]))
        .expect("owners");
        assert!(has_owned_pods(&key, [&nobodys, &left]));
        assert!(!has_owned_pods(&PoolKey::new("team", "other"), [&left]));
        assert!(!has_owned_pods(&PoolKey::new("other", "default"), [&left]));
    }

    fn set(namespace: &str, name: &str, pool: &str, replicas: i32) -> Arc<StatefulSet> {
        let set = json!({
            "metadata": {"name": name, "namespace": namespace, "labels": {
                "app.kubernetes.io/managed-by": "millstream-operator",
                "app.kubernetes.io/instance": "mine",
                "millstream.dev/pool": pool,
            }},
            "spec": {"replicas": replicas, "selector": {}, "serviceName": "s", "template": {}},
        });
        Arc::new(serde_json::from_value(set).expect("a set"))
    }

    #[test]
    fn a_set_that_is_not_named_as_its_pool_is_nobodys() {
        let all = vec![
            set("team", "millstream-shard-default", "default", 1),
            set("team", "millstream-shard-default", "other", 1),
            set("team", "anything", "default", 1),
            set("team", "millstream-shard-a.b", "a.b", 1),
            set("team", "millstream-shard-UP_er", "UP_er", 1),
            set("team", "millstream-shard--", "-", 1),
            set("team", "millstream-shard-", "", 1),
        ];
        let found = sets(all.clone(), "mine");
        let names: Vec<String> = found.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["team/default"]);
        assert_eq!(sets(all, "another").len(), 0);
    }

    #[test]
    fn a_set_that_was_scaled_out_of_all_bounds_counts_as_the_largest_pool() {
        let at = |replicas| super::replicas(&set("team", "s", "p", replicas));
        assert_eq!(at(2_000_000), PODS_MAX);
        assert_eq!((at(7), at(-7)), (7, 0));
    }

    #[test]
    fn a_template_counts_once_its_controller_has_seen_it() {
        let set = |generation: i64| -> StatefulSet {
            serde_json::from_value(json!({
                "metadata": {"generation": generation},
                "spec": {
                    "replicas": 3, "selector": {}, "serviceName": "s",
                    "template": {"metadata": {"annotations": {"millstream.dev/restarted-at": "t"}}},
                },
                "status": {"observedGeneration": 2, "updateRevision": "r", "replicas": 3},
            }))
            .expect("a set")
        };
        assert_eq!(revision(&set(2)), Some("r"));
        assert_eq!(revision(&set(3)), None);
        assert_eq!(replicas(&set(2)), 3);
        assert_eq!(restarted_at(&set(2)), Some("t"));
    }
}
