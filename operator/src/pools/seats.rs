//! Where the groups of every pool are: the pods of its set, by name and, once they have one, by IP
//! address. A loop of its own, since gateways write to nobody until they have heard of a pod that
//! came anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use millstream_clock::task;
use millstream_control::coordinator::{Input, PoolSpec};
use millstream_control::{Address, Seat};

use super::view;
use crate::context::Context;
use crate::names::{PORT_RPC, PoolKey};
use crate::plan::pool_id;

/// Least time between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// A look without any news.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Tells the coordinator which groups there are.
pub struct Seats {
    context: Arc<Context>,
    told: Option<Vec<PoolSpec>>,
}

impl Seats {
    /// Has told nothing yet.
    #[must_use]
    pub const fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            told: None,
        }
    }

    /// Tells of each change until the process ends.
    pub async fn run(mut self) {
        let mut changed = self.context.changed.listen();
        loop {
            self.look();
            task::sleep(PAUSE).await;
            if task::timeout(LOOK_MAX, changed.heard()).await == Ok(false) {
                return;
            }
        }
    }

    fn look(&mut self) {
        let context = &self.context;
        let mut sets = view::sets(context.sets.all(), &context.config.instance);
        // One that the coordinator took for a new pool would be placed anew.
        let refused = context.station.refused();
        sets.retain(|key, _| pool_id(key).is_some_and(|pool| !refused.contains_key(&pool)));
        let pod = |key: &PoolKey, name: &str| context.pods.get(&key.namespace, name);
        let specs = specs(&sets, &context.config.cluster_domain, pod);
        if self.told.as_ref() != Some(&specs) {
            context.station.handle(Input::Pools(specs.clone()));
            self.told = Some(specs);
            self.context.changed.beat();
        }
    }
}

/// The groups of every set: one for each of its pods, whether that is there or not.
fn specs(
    sets: &BTreeMap<PoolKey, Arc<StatefulSet>>,
    cluster_domain: &str,
    pod: impl Fn(&PoolKey, &str) -> Option<Arc<Pod>>,
) -> Vec<PoolSpec> {
    let spec = |(key, set): (&PoolKey, &Arc<StatefulSet>)| {
        let seat = |ordinal| {
            let name = key.pod_name(ordinal);
            let direct = pod(key, &name).and_then(|pod| direct(&pod));
            seat(key, name, cluster_domain, direct)
        };
        Some(PoolSpec {
            id: pool_id(key)?,
            seats: (0..view::replicas(set)).filter_map(seat).collect(),
        })
    };
    sets.iter().filter_map(spec).collect()
}

/// Where a pod of the pool listens, in the cluster's `domain`.
pub(crate) fn seat(
    key: &PoolKey,
    pod: String,
    domain: &str,
    direct: Option<Address>,
) -> Option<Seat> {
    let (service, namespace) = (key.object_name(), &key.namespace);
    let address = format!("{pod}.{service}.{namespace}.svc.{domain}:{PORT_RPC}");
    Some(Seat {
        pod,
        address: address.parse().ok()?,
        direct,
    })
}

/// Where the pod itself listens. That of one that has ended may be another's by now.
fn direct(pod: &Pod) -> Option<Address> {
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let ip: std::net::IpAddr = status.pod_ip.as_deref()?.parse().ok()?;
    let port = u16::try_from(PORT_RPC).ok()?;
    Some(std::net::SocketAddr::from((ip, port)).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(ip: &str, phase: &str) -> Option<Arc<Pod>> {
        let pod = json!({"status": {"podIP": ip, "phase": phase}});
        Some(Arc::new(serde_json::from_value(pod).expect("a pod")))
    }

    #[test]
    fn every_pod_of_a_set_has_a_seat_and_its_ip_address_once_it_has_one() {
        let set =
            json!({"spec": {"replicas": 5, "selector": {}, "serviceName": "s", "template": {}}});
        let set = serde_json::from_value(set).expect("a set");
        let key = PoolKey::new("team", "default");
        let sets = BTreeMap::from([(key, Arc::new(set))]);
        let specs = specs(&sets, "cluster.local", |_, name| {
            match name.rsplit_once('-').expect("an ordinal").1 {
                "0" => pod("10.0.0.7", "Running"),
                "1" => pod("fd00::7", "Pending"),
                "2" => pod("10.0.0.8", "Failed"),
                "3" => Some(Arc::default()),
                _ => None,
            }
        });
        let [spec] = &specs[..] else {
            panic!("{specs:?}");
        };
        assert_eq!(spec.id.to_string(), "team/default");
        let name =
            "millstream-shard-default-0.millstream-shard-default.team.svc.cluster.local:4569";
        assert_eq!(spec.seats[0].address.as_str(), name);
        let direct = spec.seats.iter().map(|seat| seat.direct.as_ref());
        let direct: Vec<Option<&str>> = direct.map(|at| at.map(Address::as_str)).collect();
        let known = [
            Some("10.0.0.7:4569"),
            Some("[fd00::7]:4569"),
            None,
            None,
            None,
        ];
        assert_eq!(direct, known);
    }
}
