//! What the pods of a pool look like: how many, how much, on which disks, on which nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Most pods of one pool.
pub const PODS_MAX: u32 = 1_000;
/// Most shards that one pod is asked to hold.
const SHARDS_PER_POD_MAX: u32 = 100_000;

/// What `settings` may name: the settings of the server that act in a shard pod and are not the
/// operator's to decide. The chart's schema has the same.
pub(super) const SETTINGS: [&str; 4] = [
    "memory-bytes",
    "wal-file-bytes",
    "checkpoint-bytes",
    "segment-bytes",
];

/// One class of pools; a pool of it is made in each namespace that needs one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PoolClass {
    /// How many pods.
    pub pods: Pods,
    /// Shards that one pod holds; more make the pool grow, up to `pods.max`.
    pub shards_per_pod: u32,
    /// The volume of each pod.
    pub storage: Storage,
    /// CPU and memory of the server's container.
    pub resources: Option<ResourceRequirements>,
    /// What else the pods carry.
    pub pod_template: PodTemplate,
    /// Settings of the server, of [`SETTINGS`], in the file form of `millstream server --config`.
    pub settings: BTreeMap<String, String>,
    /// The level of the server's log, or directives.
    pub log_level: String,
    /// How the pods are spread over nodes and zones.
    pub spread: Spread,
    /// How long a pod may take to end, in seconds.
    pub termination_grace_period_seconds: i64,
}

impl Default for PoolClass {
    fn default() -> Self {
        Self {
            pods: Pods::default(),
            shards_per_pod: 500,
            storage: Storage::default(),
            resources: None,
            pod_template: PodTemplate::default(),
            settings: BTreeMap::new(),
            log_level: "info".to_owned(),
            spread: Spread::default(),
            termination_grace_period_seconds: 60,
        }
    }
}

/// How many pods a pool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pods {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
}

impl Default for Pods {
    fn default() -> Self {
        Self { min: 1, max: 8 }
    }
}

/// The volume of each pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Storage {
    /// The storage class; absent means the cluster's default.
    pub class_name: Option<String>,
    /// The size, such as `20Gi`.
    pub size: String,
    /// What happens to the volumes when the pool is deleted.
    pub when_deleted: VolumeRetention,
    /// What happens to the volumes of pods that are no longer wanted.
    pub when_scaled: VolumeRetention,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            class_name: None,
            size: "10Gi".to_owned(),
            when_deleted: VolumeRetention::Retain,
            when_scaled: VolumeRetention::Retain,
        }
    }
}

/// What happens to a volume that nothing uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeRetention {
    /// It stays, with its records.
    Retain,
    /// It goes, with its records.
    Delete,
}

impl VolumeRetention {
    /// Kubernetes' word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }
}

/// What the pods carry beyond what the operator decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodTemplate {
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Labels; the operator's own win.
    pub labels: BTreeMap<String, String>,
    /// Affinity.
    pub affinity: Option<Affinity>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Labels of the nodes that may run the pods.
    pub node_selector: BTreeMap<String, String>,
    /// The priority class.
    pub priority_class_name: Option<String>,
    /// Pull secrets beyond those of the image.
    pub image_pull_secrets: Vec<String>,
    /// Environment variables of the server.
    pub env: BTreeMap<String, String>,
}

/// How strictly pods are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spread {
    /// Over zones.
    pub zone: SpreadRule,
    /// Over nodes.
    pub host: SpreadRule,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            zone: SpreadRule::ScheduleAnyway,
            host: SpreadRule::ScheduleAnyway,
        }
    }
}

/// What the scheduler does with a pod that would make the spread uneven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpreadRule {
    /// It runs the pod all the same.
    ScheduleAnyway,
    /// It leaves the pod pending.
    DoNotSchedule,
}

impl SpreadRule {
    /// Kubernetes' word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScheduleAnyway => "ScheduleAnyway",
            Self::DoNotSchedule => "DoNotSchedule",
        }
    }
}

impl PoolClass {
    /// Checks what the types cannot say.
    pub(super) fn check(&self, name: &str) -> Result<(), ConfigError> {
        let field = |rest: &str| format!("poolClasses.{name}.{rest}");
        let Pods { min, max } = self.pods;
        if min == 0 || min > max || max > PODS_MAX {
            let problem = format!("write 1 <= min <= max <= {PODS_MAX}");
            return Err(ConfigError::value(field("pods"), problem));
        }
        if self.shards_per_pod == 0 || self.shards_per_pod > SHARDS_PER_POD_MAX {
            let problem = format!("write 1 to {SHARDS_PER_POD_MAX}");
            return Err(ConfigError::value(field("shardsPerPod"), problem));
        }
        if !is_quantity(&self.storage.size) {
            let problem = "write a size such as 20Gi";
            return Err(ConfigError::value(field("storage.size"), problem));
        }
        let known = |setting: &str| SETTINGS.contains(&setting);
        if let Some(setting) = self.settings.keys().find(|setting| !known(setting)) {
            let problem = format!("is no setting of a pool; write {}", SETTINGS.join(", "));
            return Err(ConfigError::value(
                field(&format!("settings.{setting}")),
                problem,
            ));
        }
        if self.termination_grace_period_seconds < 1 {
            let problem = "write at least 1";
            return Err(ConfigError::value(
                field("terminationGracePeriodSeconds"),
                problem,
            ));
        }
        Ok(())
    }
}

/// Digits and one of Kubernetes' suffixes: enough to catch a slip before the API server does.
fn is_quantity(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = text.strip_prefix(digits).unwrap_or_default();
    let number = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    number
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && ["", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"].contains(&suffix)
}
