//! The parts that every Kubernetes object has, as far as our programs read them.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::text;

/// The first two fields of a manifest: enough to tell whose document it is.
///
/// Every other field is ignored, so that it reads foreign kinds too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TypeMeta {
    /// Group and version, such as `millstream.dev/v1alpha1`.
    pub api_version: String,
    /// The kind, such as `DataStream`.
    pub kind: String,
}

impl TypeMeta {
    /// Whether the object belongs to our API group, in any version.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.api_version.split('/').next() == Some(crate::GROUP)
    }
}

/// The metadata of a manifest.
///
/// Fields that only a server writes are accepted, so that `kubectl get -o yaml` can be read back,
/// and ignored. A field that Kubernetes does not know is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The object's name, a DNS subdomain.
    #[serde(default, deserialize_with = "text::required")]
    pub name: String,
    /// The namespace; absent means the reader's own.
    #[serde(
        default,
        deserialize_with = "text::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub namespace: Option<String>,
    /// Labels.
    #[serde(
        default,
        deserialize_with = "text::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "text::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing)]
    creation_timestamp: IgnoredAny,
    #[serde(default, skip_serializing)]
    deletion_grace_period_seconds: IgnoredAny,
    #[serde(default, skip_serializing)]
    deletion_timestamp: IgnoredAny,
    #[serde(default, skip_serializing)]
    finalizers: IgnoredAny,
    #[serde(default, skip_serializing)]
    generation: IgnoredAny,
    #[serde(default, skip_serializing)]
    managed_fields: IgnoredAny,
    #[serde(default, skip_serializing)]
    owner_references: IgnoredAny,
    #[serde(default, skip_serializing)]
    resource_version: IgnoredAny,
    #[serde(default, skip_serializing)]
    self_link: IgnoredAny,
    #[serde(default, skip_serializing)]
    uid: IgnoredAny,
}

impl Metadata {
    /// Metadata with a name and nothing else.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// One observation about a resource, in the shape of Kubernetes' own conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "k8s", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is observed, such as `Ready`, `Reconciling` or `Stalled`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The generation of the spec that this was observed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the status last changed, in RFC 3339.
    #[cfg_attr(feature = "k8s", schemars(extend("format" = "date-time")))]
    pub last_transition_time: String,
    /// One stable word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}
