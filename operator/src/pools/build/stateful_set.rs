//! The StatefulSet of a pool: pods that satisfy the restricted Pod Security Standard, each with
//! its own volume, deleted one at a time by the operator alone (`OnDelete`).

mod container;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, LocalObjectReference, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PodSecurityContext, PodSpec, PodTemplateSpec, ProjectedVolumeSource,
    SeccompProfile, SecretVolumeSource, ServiceAccountTokenProjection, TopologySpreadConstraint,
    Volume, VolumeProjection, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{PoolInput, metadata, some_map};
use crate::config::pool_class::{PoolClass, SpreadRule};
use crate::names::{ANNOTATION_RESTARTED_AT, METRICS_SECRET, RUN_AS};

/// The volume with the records.
const VOLUME_DATA: &str = "data";
/// The volume with the server's token.
const VOLUME_TOKEN: &str = "token";
/// The volume with the authority's certificates.
const VOLUME_CA: &str = "ca";
/// The volume with the token that the metrics ask for.
const VOLUME_METRICS: &str = "metrics";
/// Who may read that token: the user and the group that the container runs as.
const METRICS_MODE: i32 = 0o440;
/// The volume for temporary files, since the root is read-only.
const VOLUME_TMP: &str = "tmp";
/// Most that a pod may write there. The server writes nothing; a person's tool may.
const TMP_SIZE_MAX: &str = "64Mi";
/// How long a token is valid, in seconds; the kubelet renews it at four fifths.
const TOKEN_SECONDS: i64 = 3_600;
/// Old templates that the API server keeps.
const REVISIONS_KEPT: i32 = 3;

pub(super) fn build(input: &PoolInput<'_>) -> StatefulSet {
    let selector = input.key.selector(&input.config.instance);
    let storage = &input.class.storage;
    StatefulSet {
        metadata: metadata(input),
        spec: Some(StatefulSetSpec {
            service_name: Some(input.key.object_name()),
            replicas: Some(i32::try_from(input.replicas).unwrap_or(i32::MAX)),
            // Each pod is a log group of its own: none waits for another.
            pod_management_policy: Some("Parallel".to_owned()),
            revision_history_limit: Some(REVISIONS_KEPT),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(storage.when_deleted.as_str().to_owned()),
                    when_scaled: Some(storage.when_scaled.as_str().to_owned()),
                },
            ),
            volume_claim_templates: Some(vec![claim(input)]),
            template: template(input, &selector),
            selector: LabelSelector {
                match_labels: Some(selector),
                ..LabelSelector::default()
            },
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// The volume of each pod. That of a set that is there cannot change, so it is asked for as it is.
fn claim(input: &PoolInput<'_>) -> PersistentVolumeClaim {
    let existing = kept_claim(input.existing);
    let storage = &input.class.storage;
    let size = existing
        .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"))
        .map_or_else(|| storage.size.clone(), |quantity| quantity.0.clone());
    let class_name = match existing {
        Some(spec) => spec.storage_class_name.clone(),
        None => storage.class_name.clone(),
    };
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(VOLUME_DATA.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: class_name,
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(size))])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn kept_claim(existing: Option<&StatefulSet>) -> Option<&PersistentVolumeClaimSpec> {
    let templates = existing?.spec.as_ref()?.volume_claim_templates.as_ref()?;
    templates
        .iter()
        .find(|claim| claim.metadata.name.as_deref() == Some(VOLUME_DATA))?
        .spec
        .as_ref()
}

/// Whether the class asks for other volumes than the set has; they stay as they are.
#[must_use]
pub fn volumes_differ(class: &PoolClass, existing: &StatefulSet) -> bool {
    let Some(kept) = kept_claim(Some(existing)) else {
        return false;
    };
    let size = kept
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref()?.get("storage"));
    let other_class = class
        .storage
        .class_name
        .as_ref()
        .is_some_and(|name| kept.storage_class_name.as_ref() != Some(name));
    other_class || size.is_some_and(|size| size.0 != class.storage.size)
}

fn template(input: &PoolInput<'_>, selector: &BTreeMap<String, String>) -> PodTemplateSpec {
    let wanted = &input.class.pod_template;
    let mut labels = wanted.labels.clone();
    labels.extend(input.key.labels(&input.config.instance));
    let mut annotations = wanted.annotations.clone();
    if let Some(moment) = input.restarted_at {
        annotations.insert(ANNOTATION_RESTARTED_AT.to_owned(), moment.to_owned());
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: some_map(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(input.key.object_name()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(input.class.termination_grace_period_seconds),
            security_context: Some(pod_security()),
            containers: vec![container::build(input)],
            volumes: Some(volumes(input)),
            topology_spread_constraints: Some(vec![
                spread(
                    "topology.kubernetes.io/zone",
                    input.class.spread.zone,
                    selector,
                ),
                spread("kubernetes.io/hostname", input.class.spread.host, selector),
            ]),
            affinity: wanted.affinity.clone(),
            tolerations: (!wanted.tolerations.is_empty()).then(|| wanted.tolerations.clone()),
            node_selector: some_map(wanted.node_selector.clone()),
            priority_class_name: wanted.priority_class_name.clone(),
            image_pull_secrets: pull_secrets(input),
            ..PodSpec::default()
        }),
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(RUN_AS),
        run_as_group: Some(RUN_AS),
        fs_group: Some(RUN_AS),
        // A volume of many segments is not walked at every start.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

fn spread(
    topology_key: &str,
    rule: SpreadRule,
    selector: &BTreeMap<String, String>,
) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology_key.to_owned(),
        when_unsatisfiable: rule.as_str().to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(selector.clone()),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    }
}

fn pull_secrets(input: &PoolInput<'_>) -> Option<Vec<LocalObjectReference>> {
    let of_image = input.config.image.pull_secrets.iter();
    let names = of_image.chain(&input.class.pod_template.image_pull_secrets);
    let references: Vec<LocalObjectReference> = names
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    (!references.is_empty()).then_some(references)
}

fn volumes(input: &PoolInput<'_>) -> Vec<Volume> {
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: Some(input.config.contract.audience.clone()),
            expiration_seconds: Some(TOKEN_SECONDS),
            path: "token".to_owned(),
        }),
        ..VolumeProjection::default()
    };
    vec![
        Volume {
            name: VOLUME_TOKEN.to_owned(),
            projected: Some(ProjectedVolumeSource {
                sources: Some(vec![token]),
                ..ProjectedVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: VOLUME_CA.to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: input.config.contract.ca_bundle.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: VOLUME_METRICS.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(METRICS_SECRET.to_owned()),
                default_mode: Some(METRICS_MODE),
                // Records are served without it; nobody sees the metrics then.
                optional: Some(true),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: VOLUME_TMP.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(TMP_SIZE_MAX.to_owned())),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        },
    ]
}
