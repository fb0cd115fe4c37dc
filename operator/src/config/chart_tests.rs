//! The kept renderings of the chart, read by the parser that they are for.

use std::collections::BTreeSet;

use serde::Deserialize as _;
use serde_yaml::Value;

use super::OperatorConfig;
use super::pool_class::{SETTINGS, VolumeRetention};

const DEFAULT: &str = include_str!("../../../e2e/charts/golden/default.yaml");
const EVERYTHING: &str = include_str!("../../../e2e/charts/golden/everything.yaml");

const SCHEMA: &str = include_str!("../../../charts/millstream/values.schema.json");

/// The object of this kind and name.
fn object(rendering: &str, kind: &str, name: &str) -> Value {
    serde_yaml::Deserializer::from_str(rendering)
        .map(|document| Value::deserialize(document).expect("helm writes YAML"))
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .expect("it is rendered")
}

fn operator_config(rendering: &str) -> OperatorConfig {
    let map = object(rendering, "ConfigMap", "millstream-operator");
    let text = map["data"]["operator.yaml"].as_str().expect("a text");
    OperatorConfig::parse(text).expect("the operator takes it")
}

#[test]
fn the_operator_reads_the_default_configuration() {
    let config = operator_config(DEFAULT);
    assert_eq!(config.region().as_str(), "us-east-1");
    assert_eq!(
        config.watched("millstream-system"),
        Some(vec!["millstream-system"])
    );
    assert_eq!(config.image.name, "millstream:0.1.0");
    assert_eq!(config.instance, "streams");
    assert_eq!(config.contract.service, "millstream-operator");
    let pool = &config.pool_classes["default"];
    assert_eq!((pool.pods.min, pool.pods.max), (2, 8));
    assert_eq!(pool.storage.class_name, None);
    assert_eq!(pool.storage.when_deleted, VolumeRetention::Retain);
}

#[test]
fn every_value_reaches_the_operator() {
    let config = operator_config(EVERYTHING);
    assert_eq!(config.region().as_str(), "eu-west-1");
    assert_eq!(config.watched("x"), Some(vec!["team-a", "team-b"]));
    let account = config.account_of("team-a").expect("configured");
    assert_eq!(account.as_str(), "000000000001");
    assert_eq!(config.image.pull_policy, "Always");
    assert_eq!(config.image.pull_secrets, ["registry"]);
    assert_eq!(config.cluster_domain, "cluster.test");
    assert_eq!(config.lease.duration_seconds, 30);
    assert_eq!((config.concurrency, config.settle_seconds), (4, 10));
    assert_eq!(config.network_policy.monitoring.len(), 1);
    let pool = &config.pool_classes["fast"];
    assert_eq!((pool.pods.min, pool.pods.max), (3, 9));
    assert_eq!(pool.shards_per_pod, 100);
    assert_eq!(pool.storage.class_name.as_deref(), Some("nvme"));
    assert_eq!(pool.storage.when_scaled, VolumeRetention::Delete);
    assert_eq!(pool.termination_grace_period_seconds, 120);
    assert_eq!(pool.settings["memory-bytes"], "1GiB");
    assert_eq!(pool.log_level, "debug");
    assert_eq!(pool.pod_template.env["MALLOC"], "none");
    assert_eq!(pool.pod_template.tolerations.len(), 1);
    assert!(pool.pod_template.affinity.is_some() && pool.resources.is_some());
}

#[test]
fn the_schema_takes_the_settings_that_the_operator_takes() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("JSON");
    let classes = &schema["properties"]["poolClasses"]["patternProperties"];
    let class = classes.as_object().and_then(|all| all.values().next());
    let settings = &class.expect("one pattern")["properties"]["settings"];
    assert_eq!(settings["additionalProperties"], false);
    let named = settings["properties"].as_object().expect("fields").keys();
    let named: BTreeSet<&str> = named.map(String::as_str).collect();
    assert_eq!(named, BTreeSet::from(SETTINGS));
}

#[test]
fn the_gateways_carry_the_labels_that_the_operator_knows_them_by() {
    for rendering in [DEFAULT, EVERYTHING] {
        let deployment = object(rendering, "Deployment", "millstream-gateway");
        let template = &deployment["spec"]["template"];
        for (key, value) in &operator_config(rendering).gateway.pod_labels {
            assert_eq!(template["metadata"]["labels"][key], value.as_str(), "{key}");
        }
        let account = &template["spec"]["serviceAccountName"];
        assert_eq!(
            *account,
            operator_config(rendering).gateway.service_account.as_str()
        );
    }
}
