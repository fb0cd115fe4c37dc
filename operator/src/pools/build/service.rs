//! The headless Service that gives each pod a name, ready or not: gateways decide for themselves
//! whom to ask.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{PoolInput, metadata};
use crate::names::{PORT_ADMIN, PORT_RPC};

pub(super) fn build(input: &PoolInput<'_>) -> Service {
    let port = |name: &str, number: i32| ServicePort {
        name: Some(name.to_owned()),
        port: number,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    Service {
        metadata: metadata(input),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(input.key.selector(&input.config.instance)),
            ports: Some(vec![port("rpc", PORT_RPC), port("admin", PORT_ADMIN)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
