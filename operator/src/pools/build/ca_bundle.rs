//! The ConfigMap with the certificates of the operator's authority.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::names::{
    CA_FILE, FIELD_MANAGER, LABEL_INSTANCE, LABEL_MANAGED_BY, LABEL_NAME, LABEL_PART_OF, PROGRAM,
    labels,
};

/// The bundle of `namespace`.
#[must_use]
pub fn build(namespace: &str, instance: &str, name: &str, certificates: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels([
                (LABEL_NAME, PROGRAM),
                (LABEL_INSTANCE, instance),
                (LABEL_MANAGED_BY, FIELD_MANAGER),
                (LABEL_PART_OF, PROGRAM),
            ])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(
            CA_FILE.to_owned(),
            certificates.to_owned(),
        )])),
        ..ConfigMap::default()
    }
}
