//! From a `DataStream` to a running stream and back, with an API server that fails in between.

use std::sync::Arc;

use millstream_control::Wanted;
use serde_json::{Value, json};

use super::mock::{Fault, Mock};
use super::rig::{
    EVENTS, MAPS, PODS, Rig, SECRETS, SET_NAME, SETS, STREAMS, TEAM, condition, id_of,
};

#[tokio::test]
async fn a_stream_gets_a_pool_a_place_and_a_status() {
    let mut rig = Rig::new().await;
    rig.apply("flights", json!({"shardCount": 4, "pool": "default"}));
    let waiting = rig.wait_reason("flights", "PoolStarting").await;
    assert_eq!(
        condition(&waiting, "Reconciling").expect("there")["status"],
        "True"
    );
    let servers = rig.run_pool().await;
    assert_eq!(servers.len(), 2, "the class's least number of pods");
    let active = rig.wait_reason("flights", "Active").await;
    let status = &active["status"];
    assert_eq!(
        condition(&active, "Ready").expect("there")["status"],
        "True"
    );
    assert_eq!(status["streamStatus"], "ACTIVE");
    assert_eq!(status["shardCount"], 4);
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(
        status["streamArn"],
        "arn:aws:kinesis:eu-west-1:000000000001:stream/flights"
    );
    assert!(
        status["selector"]
            .as_str()
            .expect("text")
            .contains("millstream.dev/pool=default")
    );
    assert_eq!(
        active["metadata"]["finalizers"],
        json!(["millstream.dev/stream"])
    );
    for (resource, name) in [
        (SETS, SET_NAME),
        ("v1/services", SET_NAME),
        ("v1/serviceaccounts", SET_NAME),
        ("policy/v1/poddisruptionbudgets", SET_NAME),
        ("networking.k8s.io/v1/networkpolicies", SET_NAME),
        (MAPS, "millstream-ca-bundle"),
        (MAPS, "millstream-placement-default"),
    ] {
        assert!(
            rig.mock.find(resource, TEAM, name).is_some(),
            "{resource}/{name}"
        );
    }
    let map = rig
        .mock
        .find(MAPS, TEAM, "millstream-placement-default")
        .expect("there");
    let placement = map["data"]["placement.json"].as_str().expect("text");
    assert!(
        placement.contains(&id_of(&active).to_string()),
        "written before it was sent"
    );
    drop(servers);
}

#[tokio::test]
async fn events_and_metrics_tell_what_was_done() {
    let mut rig = Rig::new().await;
    rig.apply("flights", json!({"pool": "default"}));
    rig.wait_reason("flights", "PoolStarting").await;
    let servers = rig.run_pool().await;
    rig.wait_reason("flights", "Active").await;
    rig.wait_for("the events", || {
        let events = rig.events();
        ["PoolStarting", "Active"]
            .iter()
            .all(|r| events.iter().any(|e| e == r))
            .then_some(())
    })
    .await;
    let metrics = rig.parts.metrics.text();
    assert!(
        metrics.contains("millstream_operator_streams 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("api_requests_total{method=\"PATCH\",code=\"200\"}"),
        "{metrics}"
    );
    drop(servers);
}

#[tokio::test]
async fn it_gets_there_through_conflicts_errors_and_lost_watches() {
    let mut rig = Rig::new().await;
    for (method, resource, code) in [
        ("PATCH", STREAMS, 409),
        ("PATCH", STREAMS, 500),
        ("PATCH", SETS, 409),
        ("PATCH", SETS, 500),
        ("PATCH", "v1/services", 429),
        ("POST", MAPS, 500),
        ("PUT", MAPS, 409),
        ("GET", PODS, 500),
        ("GET", STREAMS, 500),
        ("POST", EVENTS, 500),
    ] {
        let times = 2;
        rig.mock.fail(Fault {
            method,
            resource,
            code,
            times,
        });
    }
    rig.apply("a", json!({"shardCount": 2, "pool": "default"}));
    rig.mock.drop_watches();
    let servers = rig.run_pool().await;
    rig.mock.expire_history();
    rig.wait_reason("a", "Active").await;
    rig.mock.drop_watches();
    rig.apply("b", json!({"shardCount": 1, "pool": "default"}));
    rig.mock.expire_history();
    rig.wait_reason("b", "Active").await;
    drop(servers);
}

#[tokio::test]
async fn a_start_waits_for_the_api_server() {
    let mock: Arc<Mock> = Arc::default();
    for (resource, code, times) in [(SECRETS, 500, 2), (MAPS, 500, 2), (MAPS, 429, 1)] {
        mock.fail(Fault {
            method: "GET",
            resource,
            code,
            times,
        });
    }
    let rig = Rig::over(mock, 1, Arc::default()).await;
    assert!(rig.mock.calls("GET", MAPS) >= 4);
}

#[tokio::test]
async fn a_status_is_written_once_and_not_again_and_again() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"shardCount": 2, "pool": "default"}));
    let servers = rig.run_pool().await;
    rig.wait_reason("a", "Active").await;
    let before = rig.mock.calls("PATCH", STREAMS);
    let sets = rig.mock.calls("PATCH", SETS);
    // many rounds over all streams, each for another object's news
    for number in 0..5 {
        let name = format!("refused-{number}");
        rig.apply(&name, json!({"pool": "absent"}));
        rig.wait_reason(&name, "PoolUnknown").await;
    }
    // each of the five has its finalizer and its status, and nothing else was written
    assert_eq!(rig.mock.calls("PATCH", STREAMS) - before, 10);
    assert_eq!(rig.mock.calls("PATCH", SETS), sets);
    drop(servers);
}

#[tokio::test]
async fn deleted_records_are_gone_before_the_object_is() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"deletionPolicy": "Delete", "pool": "default"}));
    let servers = rig.run_pool().await;
    let uid = id_of(&rig.wait_reason("a", "Active").await);
    rig.delete("a").await;
    rig.wait_for("the end of the object", || {
        rig.mock.find(STREAMS, TEAM, "a").is_none().then_some(())
    })
    .await;
    assert_eq!(rig.shards.told(uid).expect("told").wanted, Wanted::Delete);
    let map = rig
        .mock
        .find(MAPS, TEAM, "millstream-placement-default")
        .expect("there");
    assert!(
        !map["data"]["placement.json"]
            .to_string()
            .contains(&uid.to_string())
    );
    assert!(
        rig.mock.find(SETS, TEAM, SET_NAME).is_some(),
        "the pool outlives its streams"
    );
    drop(servers);
}

#[tokio::test]
async fn a_namespace_that_is_deleted_is_not_held_up() {
    let mut rig = Rig::new().await;
    for name in ["a", "b"] {
        rig.apply(name, json!({"deletionPolicy": "Delete", "pool": "default"}));
    }
    let servers = rig.run_pool().await;
    rig.wait_reason("a", "Active").await;
    rig.wait_reason("b", "Active").await;
    // the pods go with everything else: nobody can say that the records are removed
    drop(servers);
    rig.delete("a").await;
    rig.mock.put(
        "v1/namespaces",
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": TEAM, "deletionTimestamp": "2026-01-01T00:00:00Z",
                "finalizers": ["kubernetes"]},
        }),
    );
    rig.wait_for("the end of a", || {
        rig.mock.find(STREAMS, TEAM, "a").is_none().then_some(())
    })
    .await;
    // one that is not being deleted yet is let go while that can still be written
    rig.wait_for("b let go", || {
        let object = rig.mock.find(STREAMS, TEAM, "b")?;
        let finalizers = object["metadata"]["finalizers"].as_array();
        finalizers.is_none_or(Vec::is_empty).then_some(())
    })
    .await;
}

#[tokio::test]
async fn retained_records_are_never_passed_over_in_silence() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    let uid = id_of(&rig.wait_reason("a", "Active").await);
    rig.delete("a").await;
    rig.wait_for("the retained stream", || {
        let is_gone = rig.mock.find(STREAMS, TEAM, "a").is_none();
        (is_gone && rig.shards.told(uid)?.wanted == Wanted::Retain).then_some(())
    })
    .await;
    rig.apply("a", json!({"pool": "default"}));
    let stalled = rig.wait_reason("a", "OrphanExists").await;
    assert_eq!(
        condition(&stalled, "Stalled").expect("there")["status"],
        "True"
    );
    rig.apply(
        "a",
        json!({"pool": "default", "adoptStreamId": uid.to_string()}),
    );
    let adopted = rig.wait_reason("a", "Active").await;
    assert_eq!(id_of(&adopted), uid);
    assert_eq!(rig.shards.told(uid).expect("told").wanted, Wanted::Serve);
    rig.delete("a").await;
    rig.wait_for("the object's end", || {
        rig.mock.find(STREAMS, TEAM, "a").is_none().then_some(())
    })
    .await;
    rig.apply("a", json!({"pool": "default"}));
    rig.wait_reason("a", "OrphanExists").await;
    rig.annotate(STREAMS, "a", "millstream.dev/start-empty", &uid.to_string());
    let empty = rig.wait_reason("a", "Active").await;
    assert_ne!(id_of(&empty), uid);
    drop(servers);
}

#[tokio::test]
async fn a_bad_edit_says_the_field_and_leaves_the_stream_alone() {
    let mut rig = Rig::new().await;
    rig.apply(
        "a",
        json!({"shardCount": 2, "retentionPeriodHours": 48, "pool": "default"}),
    );
    let servers = rig.run_pool().await;
    let uid = id_of(&rig.wait_reason("a", "Active").await);
    rig.apply(
        "a",
        json!({"shardCount": 3, "retentionPeriodHours": 24, "pool": "default"}),
    );
    let refused = rig.wait_reason("a", "NotServed").await;
    let message = condition(&refused, "Stalled").expect("there")["message"].to_string();
    assert!(
        message.contains("spec.shardCount") && message.contains("set it to 2"),
        "{message}"
    );
    let told = rig.shards.told(uid).expect("told");
    assert_eq!(told.wanted, Wanted::Serve);
    assert_eq!(told.spec.expect("a spec").retention_hours, 48);
    // the next leader knows only what is written down
    let rig = rig.succeed().await;
    rig.wait_reason("a", "NotServed").await;
    assert_eq!(rig.shards.told(uid).expect("told").wanted, Wanted::Serve);
    rig.apply(
        "a",
        json!({"shardCount": 2, "retentionPeriodHours": 72, "pool": "default"}),
    );
    let mut rig = rig;
    let again = rig.run_pool().await;
    rig.wait_reason("a", "Active").await;
    assert_eq!(
        rig.shards
            .told(uid)
            .expect("told")
            .spec
            .expect("a spec")
            .retention_hours,
        72
    );
    drop((servers, again));
}

#[tokio::test]
async fn a_pause_holds_everything_and_its_end_goes_on() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"retentionPeriodHours": 24, "pool": "default"}));
    let servers = rig.run_pool().await;
    let uid = id_of(&rig.wait_reason("a", "Active").await);
    rig.annotate(STREAMS, "a", "millstream.dev/pause", "true");
    let paused = rig.wait_reason("a", "Paused").await;
    assert_eq!(
        condition(&paused, "Ready").expect("there")["status"],
        "True"
    );
    rig.apply("a", json!({"retentionPeriodHours": 48, "pool": "default"}));
    // another stream's way shows that plans were made meanwhile
    rig.apply("b", json!({"pool": "absent"}));
    rig.wait_reason("b", "PoolUnknown").await;
    let hours = |rig: &Rig| {
        rig.shards
            .told(uid)
            .and_then(|told| Some(told.spec?.retention_hours))
    };
    assert_eq!(hours(&rig), Some(24));
    rig.annotate(STREAMS, "a", "millstream.dev/pause", "false");
    rig.wait_for("the change", || (hours(&rig) == Some(48)).then_some(()))
        .await;
    rig.wait_reason("a", "Active").await;
    drop(servers);
}

#[tokio::test]
async fn a_rolling_restart_takes_one_pod_and_waits_for_it() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"shardCount": 2, "pool": "default"}));
    let mut servers = rig.run_pool().await;
    rig.wait_reason("a", "Active").await;
    rig.annotate(STREAMS, "a", "millstream.dev/rolling-restart", "true");
    rig.wait_for("the annotation's end", || {
        let object = rig.mock.find(STREAMS, TEAM, "a")?;
        let annotations = &object["metadata"]["annotations"];
        annotations["millstream.dev/rolling-restart"]
            .is_null()
            .then_some(())
    })
    .await;
    // the StatefulSet controller sees the new template; both pods are of the old one
    rig.run_pods(SET_NAME).await;
    for ordinal in [1_usize, 0] {
        let name = format!("{SET_NAME}-{ordinal}");
        let other = format!("{SET_NAME}-{}", 1 - ordinal);
        rig.wait_for("the pod's end", || {
            rig.mock.find(PODS, TEAM, &name).is_none().then_some(())
        })
        .await;
        drop(servers.remove(ordinal.min(servers.len() - 1)));
        let barrier = format!("barrier-{ordinal}");
        rig.apply(&barrier, json!({"pool": "absent"}));
        rig.wait_reason(&barrier, "PoolUnknown").await;
        assert!(
            rig.mock.find(PODS, TEAM, &other).is_some(),
            "the other one waits"
        );
        rig.run_pods(SET_NAME).await;
        let barrier = format!("pod-without-server-{ordinal}");
        rig.apply(&barrier, json!({"pool": "absent"}));
        rig.wait_reason(&barrier, "PoolUnknown").await;
        assert!(
            rig.mock.find(PODS, TEAM, &other).is_some(),
            "its group does not serve yet"
        );
        servers.insert(ordinal.min(servers.len()), rig.attach(&name).await);
    }
    rig.wait_reason("a", "Active").await;
    let restarted = |rig: &Rig| rig.events().iter().filter(|e| *e == "PodRestarted").count();
    rig.wait_for("the events", || (restarted(&rig) >= 1).then_some(()))
        .await;
    assert!(
        rig.parts
            .metrics
            .text()
            .contains("millstream_operator_pool_restarts_total 2")
    );
}

#[tokio::test]
async fn of_two_objects_with_one_stream_name_the_older_serves() {
    let mut rig = Rig::new().await;
    rig.apply("first", json!({"streamName": "S", "pool": "default"}));
    rig.apply("second", json!({"streamName": "S", "pool": "default"}));
    let servers = rig.run_pool().await;
    rig.wait_reason("first", "Active").await;
    let taken = rig.wait_reason("second", "StreamNameTaken").await;
    assert!(taken["status"]["streamId"].is_null());
    rig.delete("first").await;
    rig.wait_reason("second", "OrphanExists").await;
    drop(servers);
}

#[tokio::test]
async fn a_pool_goes_only_when_it_is_asked_and_with_its_records_only_by_word() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    let uid = id_of(&rig.wait_reason("a", "Active").await);
    rig.annotate(SETS, SET_NAME, "millstream.dev/delete-pool", "true");
    rig.wait_for("the warning", || {
        rig.events().contains(&"PoolInUse".to_owned()).then_some(())
    })
    .await;
    rig.delete("a").await;
    rig.wait_for("the retained stream", || {
        (rig.shards.told(uid)?.wanted == Wanted::Retain).then_some(())
    })
    .await;
    assert!(rig.mock.find(SETS, TEAM, SET_NAME).is_some());
    rig.annotate(
        SETS,
        SET_NAME,
        "millstream.dev/delete-pool",
        "with-retained-records",
    );
    rig.wait_for("the pool's end", || {
        rig.mock.find(SETS, TEAM, SET_NAME).is_none().then_some(())
    })
    .await;
    assert_eq!(rig.shards.told(uid).expect("told").wanted, Wanted::Delete);
    for (resource, name) in [
        ("v1/services", SET_NAME),
        ("v1/serviceaccounts", SET_NAME),
        ("policy/v1/poddisruptionbudgets", SET_NAME),
        (MAPS, "millstream-placement-default"),
    ] {
        assert!(rig.mock.find(resource, TEAM, name).is_none(), "{resource}");
    }
    drop(servers);
}

#[tokio::test]
async fn a_new_leader_finds_every_stream_where_it_was() {
    let mut rig = Rig::new().await;
    for name in ["a", "b", "c"] {
        rig.apply(name, json!({"pool": "default"}));
    }
    let servers = rig.run_pool().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(id_of(&rig.wait_reason(name, "Active").await));
    }
    let homes = |rig: &Rig| -> Value {
        let map = rig
            .mock
            .find(MAPS, TEAM, "millstream-placement-default")
            .expect("there");
        let text = map["data"]["placement.json"].as_str().expect("text");
        serde_json::from_str(text).expect("JSON")
    };
    let before = homes(&rig);
    let mut rig = rig.succeed().await;
    let again = rig.run_pool().await;
    rig.wait_for("the new term", || {
        (homes(&rig)["version"]["term"] == json!(2)).then_some(())
    })
    .await;
    assert_eq!(homes(&rig)["homes"], before["homes"]);
    for (name, id) in ["a", "b", "c"].iter().zip(ids) {
        assert_eq!(id_of(&rig.wait_reason(name, "Active").await), id);
    }
    drop((servers, again));
}

#[tokio::test]
async fn a_new_leader_calls_nothing_unready_before_it_can_know() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    let before = rig.wait_reason("a", "Active").await;
    drop(servers);
    let rig = rig.succeed_patiently().await;
    // the way of two others shows that plans were made and statuses written
    for name in ["b", "c"] {
        rig.apply(name, json!({"pool": "absent"}));
        rig.wait_reason(name, "PoolUnknown").await;
    }
    let after = rig.mock.find(STREAMS, TEAM, "a").expect("there");
    assert_eq!(after["status"], before["status"]);
    assert!(!rig.events().contains(&"Placing".to_owned()));
}

#[tokio::test]
async fn a_later_placement_is_never_written_over_and_stops_its_pool_alone() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    rig.wait_reason("a", "Active").await;
    // a later leader writes the placement behind its back
    let mut map = rig
        .mock
        .find(MAPS, TEAM, "millstream-placement-default")
        .expect("there");
    let text = map["data"]["placement.json"]
        .as_str()
        .expect("text")
        .to_owned();
    let mut placement: Value = serde_json::from_str(&text).expect("JSON");
    placement["version"]["counter"] = json!(99);
    let forged = placement.to_string();
    map["data"]["placement.json"] = json!(forged);
    rig.mock.put(MAPS, map);
    rig.apply("b", json!({"pool": "default"}));
    let stalled = rig.wait_reason("b", "PlacementUnreadable").await;
    let message = condition(&stalled, "Stalled").expect("there")["message"].to_string();
    assert!(message.contains("1.99"), "{message}");
    let there = |rig: &Rig| {
        let map = rig.mock.find(MAPS, TEAM, "millstream-placement-default");
        let text = map.expect("there")["data"]["placement.json"].clone();
        text.as_str().expect("text").to_owned()
    };
    assert_eq!(there(&rig), forged);
    // what is served is served on
    let uid = id_of(&rig.mock.find(STREAMS, TEAM, "a").expect("there"));
    assert_eq!(rig.shards.told(uid).expect("told").wanted, Wanted::Serve);
    // put back as it was, the pool goes on under the same leader
    let mut map = rig
        .mock
        .find(MAPS, TEAM, "millstream-placement-default")
        .expect("there");
    map["data"]["placement.json"] = json!(text);
    rig.mock.put(MAPS, map);
    rig.wait_reason("b", "Active").await;
    rig.wait_reason("a", "Active").await;
    drop(servers);
}
