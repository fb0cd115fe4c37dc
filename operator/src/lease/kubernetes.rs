//! The lease as a `coordination.k8s.io` Lease object.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use millstream_types::Millis;

use super::election::{Record, Versioned};
use super::{LeaseError, LeaseStore};
use crate::names::{FIELD_MANAGER, managed_labels};

/// The Lease object of this name.
#[derive(Clone, Debug)]
pub struct KubernetesLease {
    api: Api<Lease>,
    name: String,
    namespace: String,
}

impl KubernetesLease {
    /// The lease `name` in `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        }
    }

    fn object(&self, record: &Record, version: Option<&str>) -> Lease {
        let seconds = i32::try_from(record.duration.as_secs()).unwrap_or(i32::MAX);
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                labels: Some(managed_labels(FIELD_MANAGER)),
                resource_version: version.map(str::to_owned),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(record.holder.clone()),
                lease_duration_seconds: Some(seconds),
                acquire_time: Some(moment(record.acquired)),
                renew_time: Some(moment(record.renewed)),
                lease_transitions: Some(i32::try_from(record.transitions).unwrap_or(i32::MAX)),
                ..LeaseSpec::default()
            }),
        }
    }
}

impl LeaseStore for KubernetesLease {
    async fn read(&self) -> Result<Option<Versioned>, LeaseError> {
        Ok(self
            .api
            .get_opt(&self.name)
            .await
            .map_err(failed)?
            .map(versioned))
    }

    async fn create(&self, record: &Record) -> Result<Versioned, LeaseError> {
        let created = self
            .api
            .create(&PostParams::default(), &self.object(record, None))
            .await;
        created.map(versioned).map_err(failed)
    }

    async fn replace(&self, record: &Record, version: &str) -> Result<Versioned, LeaseError> {
        let object = self.object(record, Some(version));
        let replaced = self
            .api
            .replace(&self.name, &PostParams::default(), &object)
            .await;
        replaced.map(versioned).map_err(failed)
    }
}

fn failed(error: kube::Error) -> LeaseError {
    match error {
        kube::Error::Api(status) if status.code == 409 => LeaseError::Conflict,
        other => LeaseError::Unavailable(other.to_string()),
    }
}

/// What the object says. One that somebody emptied counts as given up.
fn versioned(lease: Lease) -> Versioned {
    let spec = lease.spec.unwrap_or_default();
    let number = |value: Option<i32>| {
        value
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or_default()
    };
    let at = |time: Option<MicroTime>| {
        let ms = time.map_or(0, |time| time.0.as_millisecond());
        Millis(u64::try_from(ms).unwrap_or_default())
    };
    Versioned {
        record: Record {
            holder: spec.holder_identity.unwrap_or_default(),
            duration: Duration::from_secs(number(spec.lease_duration_seconds)),
            acquired: at(spec.acquire_time),
            renewed: at(spec.renew_time),
            transitions: number(spec.lease_transitions),
        },
        version: lease.metadata.resource_version.unwrap_or_default(),
    }
}

fn moment(at: Millis) -> MicroTime {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    MicroTime(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_to_the_object_is_read_back() {
        let uri = "http://127.0.0.1:1".parse().expect("an address");
        let client = Client::try_from(kube::Config::new(uri)).expect("a client");
        let lease = KubernetesLease::new(client, "ns", "name");
        let record = Record {
            holder: "me".to_owned(),
            duration: Duration::from_secs(15),
            acquired: Millis(1_700_000_000_123),
            renewed: Millis(1_700_000_001_456),
            transitions: 7,
        };
        let object = lease.object(&record, Some("12"));
        let read = versioned(object);
        assert_eq!((read.record, read.version.as_str()), (record, "12"));
    }
}
