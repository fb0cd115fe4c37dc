//! Placements as they are read.

use super::*;

fn pool() -> PoolId {
    "team/default".parse().expect("a pool")
}

fn map(name: &str, text: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("team".to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(DATA.to_owned(), text.to_owned())])),
        ..ConfigMap::default()
    }
}

fn text(pool: &str, term: u64, counter: u64) -> String {
    let mut placement = Placement::empty(pool.parse().expect("a pool"));
    placement.version = PlacementVersion::new(term, counter);
    placement.to_json().expect("small")
}

fn problem(text: &str) -> String {
    parse(&pool(), &map("millstream-placement-default", text), 3).expect_err("refused")
}

#[test]
fn a_placement_is_that_of_the_pool_its_object_is_named_for() {
    let good = map("millstream-placement-default", &text("team/default", 3, 9));
    assert_eq!(pool_of(&good), Some(pool()));
    assert!(parse(&pool(), &good, 3).is_ok());
    for stranger in [
        "placement",
        "millstream-placement-",
        "millstream-placement-A_B",
    ] {
        assert_eq!(pool_of(&map(stranger, "")), None, "{stranger}");
    }
    assert_eq!(
        problem(&text("other/default", 3, 9)),
        "it is of the pool other/default"
    );
    assert_eq!(
        problem(&text("team/small", 3, 9)),
        "it is of the pool team/small"
    );
    assert!(problem("{}").contains("format"));
    assert!(parse(&pool(), &ConfigMap::default(), 3).is_err());
}

#[test]
fn addresses_are_those_of_the_pools_pods_whatever_is_written() {
    let mut placement = Placement::empty(pool());
    let written = |pod: &str| millstream_control::Seat {
        pod: pod.to_owned(),
        address: "internal.elsewhere.example:443"
            .parse()
            .expect("an address"),
        direct: "169.254.169.254:80".parse().ok(),
    };
    let pod = "millstream-shard-default-7";
    placement.groups.insert(7, written(pod));
    readdress(&mut placement, "cluster.local").expect("its own pod");
    let seat = &placement.groups[&7];
    let want = format!("{pod}.millstream-shard-default.team.svc.cluster.local:4569");
    assert_eq!(
        (seat.pod.as_str(), seat.address.as_str()),
        (pod, want.as_str())
    );
    assert_eq!(seat.direct, None, "the pod itself says it");
    for stranger in ["millstream-shard-default-6", "api-0", ""] {
        placement.groups.insert(7, written(stranger));
        let problem = readdress(&mut placement, "cluster.local").expect_err("refused");
        assert!(
            problem.contains("not by millstream-shard-default-7"),
            "{problem}"
        );
    }
}

#[test]
fn a_namespace_has_so_many_placements_and_no_more() {
    let mut counts = Counts::default();
    for _ in 0..PLACEMENTS_MAX {
        counts.take(&pool()).expect("there is room");
    }
    let problem = counts.take(&pool()).expect_err("one too many");
    assert!(problem.contains("more than 64"), "{problem}");
    let elsewhere = "other/default".parse().expect("a pool");
    assert!(counts.take(&elsewhere).is_ok(), "another's are not counted");
}

#[test]
fn the_oldest_placements_of_a_namespace_go_first() {
    let born = |name: &str, second: i64| {
        let mut map = map(name, "");
        let time = Timestamp::from_second(second).expect("a time");
        map.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
        map
    };
    let mut maps = [
        born("millstream-placement-a", 9),
        born("millstream-placement-b", 2),
    ];
    maps.sort_by_cached_key(age);
    let names = maps.map(|map| map.metadata.name.expect("named"));
    assert_eq!(names, ["millstream-placement-b", "millstream-placement-a"]);
}

#[test]
fn a_version_that_no_leader_gave_is_not_believed() {
    assert!(problem(&text("team/default", u64::MAX, 1)).contains("given by no leader"));
    assert!(problem(&text("team/default", 3, u64::MAX)).contains("given by no leader"));
    // a lease that was deleted counts from zero
    let ahead = map("millstream-placement-default", &text("team/default", 40, 1));
    assert!(parse(&pool(), &ahead, 0).is_ok());
}
