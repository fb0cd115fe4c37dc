//! The ConfigMap with the certificates of the operator's authority.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::names::{CA_FILE, release_labels};

/// The bundle of `namespace`.
#[must_use]
pub fn build(namespace: &str, instance: &str, name: &str, certificates: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(release_labels(instance)),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(
            CA_FILE.to_owned(),
            certificates.to_owned(),
        )])),
        ..ConfigMap::default()
    }
}
