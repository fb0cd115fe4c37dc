//! The ServiceAccount of a pool's pods: a name without rights.
//!
//! Pods prove who they are to the operator with a projected token of its own audience; the API
//! server's token is not mounted.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{PoolInput, metadata};

pub(super) fn build(input: &PoolInput<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(input),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
