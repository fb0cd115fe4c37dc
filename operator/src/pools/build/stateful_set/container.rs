//! The one container of a shard pod: `millstream server --role shard`.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
    ObjectFieldSelector, Probe, SecurityContext, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{VOLUME_CA, VOLUME_DATA, VOLUME_METRICS, VOLUME_TMP, VOLUME_TOKEN};
use crate::names::{
    CA_DIR, CA_FILE, DATA_DIR, METRICS_DIR, METRICS_TOKEN_KEY, PORT_ADMIN, PORT_RPC, TOKEN_DIR,
};
use crate::pools::build::PoolInput;

/// Probes that may fail before a starting container is given up: recovery reads the whole log.
const STARTUP_FAILURES: i32 = 180;

pub(super) fn build(input: &PoolInput<'_>) -> Container {
    Container {
        name: "millstream".to_owned(),
        image: Some(input.config.image.name.clone()),
        image_pull_policy: Some(input.config.image.pull_policy.clone()),
        args: Some(["server", "--role", "shard"].map(str::to_owned).to_vec()),
        env: Some(environment(input)),
        ports: Some(vec![port("rpc", PORT_RPC), port("admin", PORT_ADMIN)]),
        resources: input.class.resources.clone(),
        startup_probe: Some(probe("/healthz", 2, STARTUP_FAILURES)),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            mount(VOLUME_DATA, DATA_DIR, false),
            mount(VOLUME_TOKEN, TOKEN_DIR, true),
            mount(VOLUME_CA, CA_DIR, true),
            mount(VOLUME_METRICS, METRICS_DIR, true),
            mount(VOLUME_TMP, "/tmp", false),
        ]),
        ..Container::default()
    }
}

/// The settings, as the variables that `millstream server` reads. Those of the class come after ours
/// and cannot replace one; how the server logs comes last, and gives way to its variables.
fn environment(input: &PoolInput<'_>) -> Vec<EnvVar> {
    let config = input.config;
    let operator = format!(
        "{}.{}.svc.{}:{}",
        config.contract.service,
        input.operator_namespace,
        config.cluster_domain,
        config.contract.port
    );
    let mut variables = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_UID", "metadata.uid"),
        value("MILLSTREAM_DATA_DIR", DATA_DIR),
        value("MILLSTREAM_ADMIN_LISTEN", &format!("0.0.0.0:{PORT_ADMIN}")),
        value(
            "MILLSTREAM_METRICS_TOKEN_FILE",
            &format!("{METRICS_DIR}/{METRICS_TOKEN_KEY}"),
        ),
        value("MILLSTREAM_RPC_LISTEN", &format!("0.0.0.0:{PORT_RPC}")),
        value("MILLSTREAM_OPERATOR", &operator),
        value("MILLSTREAM_TOKEN_FILE", &format!("{TOKEN_DIR}/token")),
        value("MILLSTREAM_CA_FILE", &format!("{CA_DIR}/{CA_FILE}")),
        value("MILLSTREAM_POOL", &input.key.pool),
        value("MILLSTREAM_REGION", &config.region),
    ];
    let json = "json".to_owned();
    let settings = input.class.settings.iter().map(|(name, text)| {
        let name = name.to_ascii_uppercase().replace('-', "_");
        (format!("MILLSTREAM_{name}"), text)
    });
    let given = input.class.pod_template.env.iter();
    let given = given.map(|(name, text)| (name.clone(), text));
    let logs = [("LOG", &input.class.log_level), ("LOG_FORMAT", &json)];
    let logs = logs.map(|(name, text)| (format!("MILLSTREAM_{name}"), text));
    for (name, text) in settings.chain(given).chain(logs) {
        if variables.iter().all(|variable| variable.name != name) {
            variables.push(value(&name, text));
        }
    }
    variables
}

fn value(name: &str, text: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(text.to_owned()),
        ..EnvVar::default()
    }
}

fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failures),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    }
}
