use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::build::stateful_set::volumes_differ;
use super::build::{PoolInput, PoolObjects, objects};
use crate::config::OperatorConfig;
use crate::names::PoolKey;

const CONFIG: &str = "
region: eu-west-1
image: {name: 'e2e.local/millstream:1', pullSecrets: [registry]}
poolClasses:
  default:
    pods: {min: 2, max: 4}
    storage: {className: fast, size: 20Gi, whenScaled: Delete}
    resources: {requests: {cpu: 500m, memory: 1Gi}}
    settings: {memory-bytes: 768MiB}
    spread: {zone: DoNotSchedule}
    podTemplate:
      env: {MILLSTREAM_DATA_DIR: /elsewhere, MILLSTREAM_MEMORY_BYTES: 1GiB}
      annotations: {team: streams}
      labels: {tier: gold, app.kubernetes.io/name: mine}
      tolerations: [{key: disk, operator: Exists}]
      affinity: {nodeAffinity: {}}
      priorityClassName: high
      nodeSelector: {disk: nvme}
      imagePullSecrets: [other]
";

fn config() -> OperatorConfig {
    OperatorConfig::parse(CONFIG).expect("valid")
}

fn made(config: &OperatorConfig, key: &PoolKey, replicas: u32) -> PoolObjects {
    made_over(config, key, replicas, None)
}

fn made_over(
    config: &OperatorConfig,
    key: &PoolKey,
    replicas: u32,
    existing: Option<&StatefulSet>,
) -> PoolObjects {
    objects(&PoolInput {
        key,
        class: &config.pool_classes["default"],
        config,
        operator_namespace: "millstream-system",
        replicas,
        restarted_at: Some("2026-11-22T12:00:00Z"),
        existing,
        ca_bundle: "-----BEGIN CERTIFICATE-----",
    })
}

fn json_of(objects: &PoolObjects) -> Value {
    json!({
        "ca": objects.ca_bundle,
        "account": objects.service_account,
        "service": objects.service,
        "policy": objects.network_policy,
        "budget": objects.disruption_budget,
        "set": objects.stateful_set,
    })
}

fn key() -> PoolKey {
    PoolKey::new("team", "default")
}

#[test]
fn the_set_says_what_the_class_and_the_operator_want() {
    let config = config();
    let all = json_of(&made(&config, &key(), 3));
    let set = &all["set"];
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    for (path, found, want) in [
        (
            "name",
            &set["metadata"]["name"],
            json!("millstream-shard-default"),
        ),
        ("replicas", &set["spec"]["replicas"], json!(3)),
        (
            "update",
            &set["spec"]["updateStrategy"]["type"],
            json!("OnDelete"),
        ),
        (
            "service",
            &set["spec"]["serviceName"],
            json!("millstream-shard-default"),
        ),
        (
            "retention",
            &set["spec"]["persistentVolumeClaimRetentionPolicy"],
            json!({"whenDeleted": "Retain", "whenScaled": "Delete"}),
        ),
        (
            "claim",
            &set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"],
            json!("20Gi"),
        ),
        (
            "args",
            &container["args"],
            json!(["server", "--role", "shard"]),
        ),
    ] {
        assert_eq!(*found, want, "{path}");
    }
}

#[test]
fn the_pods_carry_what_the_class_overrides() {
    let config = config();
    let all = json_of(&made(&config, &key(), 3));
    let set = &all["set"];
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    for (path, found, want) in [
        (
            "zones",
            &pod["topologySpreadConstraints"][0]["whenUnsatisfiable"],
            json!("DoNotSchedule"),
        ),
        (
            "hosts",
            &pod["topologySpreadConstraints"][1]["whenUnsatisfiable"],
            json!("ScheduleAnyway"),
        ),
        (
            "pull secrets",
            &pod["imagePullSecrets"],
            json!([{"name": "registry"}, {"name": "other"}]),
        ),
        ("priority", &pod["priorityClassName"], json!("high")),
        ("affinity", &pod["affinity"], json!({"nodeAffinity": {}})),
        ("selector", &pod["nodeSelector"], json!({"disk": "nvme"})),
        (
            "tolerations",
            &pod["tolerations"],
            json!([{"key": "disk", "operator": "Exists"}]),
        ),
        (
            "resources",
            &container["resources"]["requests"]["cpu"],
            json!("500m"),
        ),
        (
            "ready",
            &container["readinessProbe"]["httpGet"]["path"],
            json!("/readyz"),
        ),
        (
            "restart",
            &set["spec"]["template"]["metadata"]["annotations"],
            json!({"team": "streams", "millstream.dev/restarted-at": "2026-11-22T12:00:00Z"}),
        ),
        (
            "own label",
            &set["spec"]["template"]["metadata"]["labels"]["tier"],
            json!("gold"),
        ),
        (
            "our label wins",
            &set["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"],
            json!("millstream"),
        ),
    ] {
        assert_eq!(*found, want, "{path}");
    }
}

#[test]
fn what_a_class_sets_reaches_the_server_and_cannot_replace_ours() {
    let config = config();
    let all = json_of(&made(&config, &key(), 1));
    let variables = &all["set"]["spec"]["template"]["spec"]["containers"][0]["env"];
    let find = |name: &str| -> Vec<&Value> {
        let variables = variables.as_array().expect("a list").iter();
        variables
            .filter(|v| v["name"] == name)
            .map(|v| &v["value"])
            .collect()
    };
    assert_eq!(find("MILLSTREAM_MEMORY_BYTES"), [&json!("768MiB")]);
    assert_eq!(find("MILLSTREAM_DATA_DIR"), [&json!("/var/lib/millstream")]);
    assert_eq!(
        find("MILLSTREAM_OPERATOR"),
        [&json!(
            "millstream-operator.millstream-system.svc.cluster.local:4570"
        )]
    );
}

#[test]
fn a_server_logs_as_gateways_do_unless_its_class_says_otherwise() {
    let mut config = config();
    let logs = |config: &OperatorConfig| -> Vec<String> {
        let all = json_of(&made(config, &key(), 1));
        let variables = &all["set"]["spec"]["template"]["spec"]["containers"][0]["env"];
        let variables = variables.as_array().expect("a list").iter();
        let texts = variables.filter_map(|v| Some((v["name"].as_str()?, v["value"].as_str()?)));
        let logs = texts.filter(|(name, _)| name.starts_with("MILLSTREAM_LOG"));
        logs.map(|(name, text)| format!("{name}={text}")).collect()
    };
    assert_eq!(
        logs(&config),
        ["MILLSTREAM_LOG=info", "MILLSTREAM_LOG_FORMAT=json"]
    );
    let class = config.pool_classes.get_mut("default").expect("there");
    class.log_level = "warn".to_owned();
    let env = &mut class.pod_template.env;
    env.insert("MILLSTREAM_LOG_FORMAT".to_owned(), "text".to_owned());
    assert_eq!(
        logs(&config),
        ["MILLSTREAM_LOG_FORMAT=text", "MILLSTREAM_LOG=warn"]
    );
}

#[test]
fn the_pods_satisfy_the_restricted_standard() {
    let config = config();
    let all = json_of(&made(&config, &key(), 1));
    let pod = &all["set"]["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], json!(true));
    assert_eq!(pod["securityContext"]["runAsUser"], json!(65_532));
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        json!("RuntimeDefault")
    );
    assert_eq!(pod["automountServiceAccountToken"], json!(false));
    assert!(pod.get("hostNetwork").is_none() && pod.get("hostPID").is_none());
    for container in pod["containers"].as_array().expect("a list") {
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], json!(false));
        assert_eq!(security["readOnlyRootFilesystem"], json!(true));
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
        assert!(security.get("privileged").is_none());
        let ports = container["ports"].as_array().expect("a list");
        assert!(ports.iter().all(|port| port.get("hostPort").is_none()));
    }
    let kinds = ["configMap", "emptyDir", "projected", "secret"];
    for volume in pod["volumes"].as_array().expect("a list") {
        assert!(
            kinds.iter().any(|kind| volume.get(kind).is_some()),
            "{volume}"
        );
    }
    assert_eq!(all["account"]["automountServiceAccountToken"], json!(false));
}

#[test]
fn metrics_ask_for_the_token_of_the_namespace_and_records_do_not_wait_for_it() {
    let config = config();
    let all = json_of(&made(&config, &key(), 1));
    let pod = &all["set"]["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().expect("a list");
    let volume = volumes.iter().find(|volume| volume["name"] == "metrics");
    assert_eq!(
        volume.expect("there")["secret"],
        json!({"secretName": "millstream-metrics", "defaultMode": 0o440, "optional": true})
    );
    let container = &pod["containers"][0];
    let mounts = container["volumeMounts"].as_array().expect("a list");
    let mount = mounts.iter().find(|mount| mount["name"] == "metrics");
    let variables = container["env"].as_array().expect("a list");
    let variable = variables
        .iter()
        .find(|variable| variable["name"] == "MILLSTREAM_METRICS_TOKEN_FILE");
    assert_eq!(
        variable.expect("there")["value"],
        json!("/var/run/secrets/millstream-metrics/token")
    );
    let mount = mount.expect("there");
    assert_eq!(
        mount["mountPath"],
        json!("/var/run/secrets/millstream-metrics")
    );
    assert_eq!(mount["readOnly"], json!(true));
}

#[test]
fn the_network_policy_lets_in_gateways_and_peers_only() {
    let config = config();
    let all = json_of(&made(&config, &key(), 1));
    let rules = all["policy"]["spec"]["ingress"].as_array().expect("a list");
    let rpc = &rules[0];
    assert_eq!(rpc["ports"], json!([{"port": 4569, "protocol": "TCP"}]));
    assert_eq!(
        rpc["from"][0],
        json!({
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "millstream-system"}},
            "podSelector": {"matchLabels": {
                "app.kubernetes.io/name": "millstream",
                "app.kubernetes.io/component": "gateway",
            }},
        })
    );
    assert_eq!(
        rpc["from"][1]["podSelector"],
        all["policy"]["spec"]["podSelector"]
    );
    assert_eq!(
        rules[1],
        json!({"ports": [{"port": 4568, "protocol": "TCP"}]})
    );
    assert_eq!(
        all["policy"]["spec"]["policyTypes"],
        json!(["Ingress", "Egress"])
    );
}

#[test]
fn the_admin_port_is_for_those_who_are_named_for_it_and_nothing_else_is_new() {
    let everyone = json_of(&made(&config(), &key(), 1))["policy"].clone();
    let mut config = config();
    let peers = json!([
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
        {"podSelector": {"matchLabels": {"app": "prometheus"}}},
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
    ]);
    config.network_policy.monitoring = serde_json::from_value(peers.clone()).expect("peers");
    let mut policy = json_of(&made(&config, &key(), 1))["policy"].clone();
    let from = policy["spec"]["ingress"][1]["from"].take();
    assert_eq!(from[0], peers[0]);
    // in a policy of the pool's namespace, which is another one, it would mean other pods
    let home = json!({"matchLabels": {"kubernetes.io/metadata.name": "millstream-system"}});
    let prometheus = json!({"namespaceSelector": home, "podSelector": peers[1]["podSelector"]});
    assert_eq!(from[1], prometheus);
    assert_eq!(from[2], peers[2]);
    assert_eq!(from.as_array().expect("a list").len(), 3);
    let rule = policy["spec"]["ingress"][1]
        .as_object_mut()
        .expect("a rule");
    rule.remove("from");
    assert_eq!(policy, everyone);
}

#[test]
fn volumes_that_are_there_are_asked_for_as_they_are() {
    let config = config();
    let first = made(&config, &key(), 1).stateful_set;
    let mut changed = config.clone();
    let class = changed.pool_classes.get_mut("default").expect("there");
    class.storage.size = "99Gi".to_owned();
    class.storage.class_name = Some("slow".to_owned());
    let second = made_over(&changed, &key(), 1, Some(&first)).stateful_set;
    let claims = |set: &StatefulSet| {
        set.spec
            .clone()
            .and_then(|spec| spec.volume_claim_templates)
    };
    assert_eq!(claims(&first), claims(&second));
    assert!(volumes_differ(&changed.pool_classes["default"], &first));
    assert!(!volumes_differ(&config.pool_classes["default"], &first));
}

#[test]
fn a_pool_has_no_network_policy_where_they_are_turned_off_and_all_else() {
    let mut on = json_of(&made(&config(), &key(), 1));
    let mut config = config();
    config.network_policy.enabled = false;
    let off = json_of(&made(&config, &key(), 1));
    assert_eq!(off["policy"], Value::Null);
    on["policy"].take();
    assert_eq!(off, on);
}

/// Whether a selector's labels are all on a pod.
fn selects(selector: &Value, pod_labels: &BTreeMap<String, String>) -> bool {
    let selector = selector.as_object().expect("labels");
    selector
        .iter()
        .all(|(key, value)| pod_labels.get(key).map(String::as_str) == value.as_str())
}

fn pool_name() -> impl Strategy<Value = String> {
    "[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?"
}

proptest! {
    #[test]
    fn the_same_inputs_give_the_same_objects_and_names_are_stable(
        pool in pool_name(), replicas in 1_u32..50,
    ) {
        let config = config();
        let key = PoolKey::new("team", pool);
        let first = made(&config, &key, replicas);
        prop_assert_eq!(json_of(&first), json_of(&made(&config, &key, replicas)));
        // applied over itself it asks for no change
        let again = made_over(&config, &key, replicas, Some(&first.stateful_set));
        prop_assert_eq!(json_of(&first), json_of(&again));
        let more = made(&config, &key, replicas + 1);
        prop_assert_eq!(&first.service, &more.service);
        prop_assert_eq!(&first.disruption_budget, &more.disruption_budget);
        prop_assert_eq!(first.stateful_set.metadata, more.stateful_set.metadata);
    }

    #[test]
    fn selectors_select_exactly_the_pools_own_pods(one in pool_name(), other in pool_name()) {
        let config = config();
        let mine = json_of(&made(&config, &PoolKey::new("team", one.clone()), 1));
        let theirs = made(&config, &PoolKey::new("team", other.clone()), 1);
        let labels_of = |set: &StatefulSet| {
            let template = set.spec.clone().expect("a spec").template;
            template.metadata.expect("metadata").labels.expect("labels")
        };
        let own: StatefulSet = serde_json::from_value(mine["set"].clone()).expect("a set");
        for selector in [
            &mine["set"]["spec"]["selector"]["matchLabels"],
            &mine["service"]["spec"]["selector"],
            &mine["budget"]["spec"]["selector"]["matchLabels"],
            &mine["policy"]["spec"]["podSelector"]["matchLabels"],
        ] {
            prop_assert!(selects(selector, &labels_of(&own)));
            prop_assert_eq!(selects(selector, &labels_of(&theirs.stateful_set)), one == other);
        }
    }
}
