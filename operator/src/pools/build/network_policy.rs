//! The NetworkPolicy of a pool's pods.
//!
//! In: the internal port from gateways and from the pool's own pods; the admin port, whose `/metrics`
//! asks for a token, from whom the administrator names for it, or from anywhere. Probes come from
//! the node, which no policy keeps out. Out: names, the operator, and the pool's own pods.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{PoolInput, metadata};
use crate::names::{
    LABEL_COMPONENT, LABEL_NAME, LABEL_NAMESPACE_NAME, PORT_ADMIN, PORT_RPC, labels,
};

/// The port of the cluster's names.
const PORT_DNS: i32 = 53;

pub(super) fn build(input: &PoolInput<'_>) -> NetworkPolicy {
    let own = selector(input.key.selector(&input.config.instance));
    let peers = NetworkPolicyPeer {
        pod_selector: Some(own.clone()),
        ..NetworkPolicyPeer::default()
    };
    let gateways = in_operator_namespace(input, input.config.gateway.pod_labels.clone());
    let operators = in_operator_namespace(
        input,
        labels([(LABEL_NAME, "millstream"), (LABEL_COMPONENT, "operator")]),
    );
    let rpc = || Some(vec![port("TCP", PORT_RPC)]);
    NetworkPolicy {
        metadata: metadata(input),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(own),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule {
                    from: Some(vec![gateways, peers.clone()]),
                    ports: rpc(),
                },
                NetworkPolicyIngressRule {
                    from: monitoring(input),
                    ports: Some(vec![port("TCP", PORT_ADMIN)]),
                },
            ]),
            egress: Some(vec![
                NetworkPolicyEgressRule {
                    to: None,
                    ports: Some(vec![port("UDP", PORT_DNS), port("TCP", PORT_DNS)]),
                },
                NetworkPolicyEgressRule {
                    to: Some(vec![operators]),
                    ports: Some(vec![port("TCP", i32::from(input.config.contract.port))]),
                },
                NetworkPolicyEgressRule {
                    to: Some(vec![peers]),
                    ports: rpc(),
                },
            ]),
        }),
    }
}

/// Who may use the admin port; none stands for everyone. A peer is written for a policy of the
/// operator's namespace: without a namespace it means pods there, and not those of the pool's.
fn monitoring(input: &PoolInput<'_>) -> Option<Vec<NetworkPolicyPeer>> {
    let peers = &input.config.network_policy.monitoring;
    let translated = |peer: &NetworkPolicyPeer| {
        let mut peer = peer.clone();
        if peer.namespace_selector.is_none() && peer.pod_selector.is_some() {
            let namespace = labels([(LABEL_NAMESPACE_NAME, input.operator_namespace)]);
            peer.namespace_selector = Some(selector(namespace));
        }
        peer
    };
    (!peers.is_empty()).then(|| peers.iter().map(translated).collect())
}

fn in_operator_namespace(
    input: &PoolInput<'_>,
    pod_labels: BTreeMap<String, String>,
) -> NetworkPolicyPeer {
    let namespace = labels([(LABEL_NAMESPACE_NAME, input.operator_namespace)]);
    NetworkPolicyPeer {
        namespace_selector: Some(selector(namespace)),
        pod_selector: Some(selector(pod_labels)),
        ..NetworkPolicyPeer::default()
    }
}

fn selector(match_labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(match_labels),
        ..LabelSelector::default()
    }
}

fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number)),
        ..NetworkPolicyPort::default()
    }
}
