use super::pool_class::VolumeRetention;
use super::*;

const SMALL: &str = "
region: eu-west-1
image: {name: 'e2e.local/millstream:dev'}
poolClasses: {default: {}}
";

fn with(more: &str) -> String {
    let parsed = OperatorConfig::parse(&format!("{SMALL}{more}"));
    parsed.map_or_else(|error| error.to_string(), |_| "fine".to_owned())
}

#[test]
fn a_small_file_gets_every_default() {
    let config = OperatorConfig::parse(SMALL).expect("it is enough");
    assert_eq!(config.cluster_domain, "cluster.local");
    assert_eq!(config.contract.port, 4570);
    assert_eq!(config.watched("own"), Some(vec!["own"]));
    let class = &config.pool_classes["default"];
    assert_eq!((class.pods.min, class.pods.max), (1, 8));
    assert_eq!(class.storage.when_deleted, VolumeRetention::Retain);
}

#[test]
fn namespaces_are_distinct_and_a_star_means_all() {
    let config = OperatorConfig::parse(&format!("{SMALL}watchNamespaces: [b, a, b]")).expect("ok");
    assert_eq!(config.watched("own"), Some(vec!["a", "b"]));
    let all = OperatorConfig::parse(&format!("{SMALL}watchNamespaces: ['*']")).expect("ok");
    assert_eq!(all.watched("own"), None);
}

#[test]
fn a_refusal_names_the_field_and_the_fix() {
    for (more, want) in [
        ("nonsense: 1", "unknown field `nonsense`"),
        ("accounts: {a: '12'}", "accounts.a"),
        (
            "accounts: {a: '000000000001', b: '000000000001'}",
            "accounts.b: 000000000001 is the account of a too",
        ),
        ("concurrency: 0", "concurrency: is 0"),
        ("lease: {durationSeconds: 1}", "lease.durationSeconds"),
        (
            "networkPolicy: {monitoring: [{podSelector: {}}, {}]}",
            "networkPolicy.monitoring: a peer needs",
        ),
    ] {
        let said = with(more);
        assert!(said.contains(want), "{more}: {said}");
    }
    for (class, want) in [
        ("{pods: {min: 3, max: 2}}", "poolClasses.p.pods"),
        ("{shardsPerPod: 0}", "poolClasses.p.shardsPerPod"),
        ("{storage: {size: big}}", "poolClasses.p.storage.size"),
        ("{podTemplate: {tolerance: []}}", "tolerance"),
        (
            "{settings: {memory-byte: 1GiB}}",
            "poolClasses.p.settings.memory-byte: is no setting of a pool; write memory-bytes,",
        ),
    ] {
        let text = SMALL.replace("{default: {}}", &format!("{{p: {class}}}"));
        let error = OperatorConfig::parse(&text).expect_err("refused");
        assert!(error.to_string().contains(want), "{class}: {error}");
    }
    let upper = SMALL.replace("default: {}", "Upper: {}");
    assert!(OperatorConfig::parse(&upper).is_err());
}

#[test]
fn a_file_that_is_absent_is_named() {
    let error = OperatorConfig::read(Path::new("/nowhere/operator.yaml")).expect_err("absent");
    assert!(error.to_string().contains("/nowhere/operator.yaml"));
}

#[test]
fn what_is_written_is_read_back() {
    let config = OperatorConfig::parse(SMALL).expect("ok");
    let text = serde_yaml::to_string(&config).expect("written");
    assert_eq!(OperatorConfig::parse(&text), Ok(config));
}
