//! Pools whose sets are deleted, by their administrator or by mistake.

use millstream_control::Wanted;
use millstream_types::StreamUid;
use serde_json::json;

use super::rig::{Attached, MAPS, PODS, POLICIES, Rig, SET_NAME, SETS, STREAMS, TEAM, id_of};

const DELETE_POOL: &str = "millstream.dev/delete-pool";
const PAUSE: &str = "millstream.dev/pause";
const MAP: &str = "millstream-placement-default";

/// Waits until a plan was made of all that has happened so far: the way of another stream shows it.
async fn plan_made(rig: &Rig, name: &str) {
    rig.apply(name, json!({"pool": "absent"}));
    rig.wait_reason(name, "PoolUnknown").await;
}

/// Deletes an object whose records stay.
async fn retire_stream(rig: &Rig, name: &str) {
    rig.delete(name).await;
    rig.wait_for("the object's end", || {
        rig.mock.find(STREAMS, TEAM, name).is_none().then_some(())
    })
    .await;
}

async fn wait_told(rig: &Rig, uid: StreamUid, wanted: Wanted) {
    rig.wait_for("the home to be told", || {
        (rig.shards.told(uid)?.wanted == wanted).then_some(())
    })
    .await;
}

/// The pool of a stream that is gone with its records, and its servers.
async fn pool_that_is_empty_again() -> (Rig, Vec<Attached>) {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default", "deletionPolicy": "Delete"}));
    let servers = rig.run_pool().await;
    rig.wait_reason("a", "Active").await;
    retire_stream(&rig, "a").await;
    plan_made(&rig, "barrier").await;
    (rig, servers)
}

#[tokio::test]
async fn a_pool_that_is_named_or_paused_gives_up_no_records() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    rig.apply("b", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    let first = id_of(&rig.wait_reason("a", "Active").await);
    let second = id_of(&rig.wait_reason("b", "Active").await);
    rig.annotate(SETS, SET_NAME, DELETE_POOL, "with-retained-records");
    retire_stream(&rig, "a").await;
    wait_told(&rig, first, Wanted::Retain).await;
    plan_made(&rig, "once").await;
    assert_eq!(rig.shards.told(first).expect("told").wanted, Wanted::Retain);

    rig.annotate(SETS, SET_NAME, PAUSE, "true");
    retire_stream(&rig, "b").await;
    wait_told(&rig, second, Wanted::Retain).await;
    plan_made(&rig, "twice").await;
    for uid in [first, second] {
        assert_eq!(rig.shards.told(uid).expect("told").wanted, Wanted::Retain);
    }

    rig.annotate(SETS, SET_NAME, PAUSE, "false");
    rig.wait_for("the pool's end", || {
        rig.mock.find(SETS, TEAM, SET_NAME).is_none().then_some(())
    })
    .await;
    for uid in [first, second] {
        assert_eq!(rig.shards.told(uid).expect("told").wanted, Wanted::Delete);
    }
    drop(servers);
}

#[tokio::test]
async fn a_set_that_is_made_again_has_every_pod_of_its_placement() {
    let mut rig = Rig::new().await;
    rig.apply("wide", json!({"shardCount": 30, "pool": "default"}));
    let servers = rig.run_pool().await;
    assert_eq!(servers.len(), 3);
    rig.wait_reason("wide", "Active").await;
    retire_stream(&rig, "wide").await;
    rig.mock.remove(SETS, TEAM, SET_NAME);
    rig.apply("narrow", json!({"pool": "default"}));
    let set = rig.wait_for("the set", || rig.mock.find(SETS, TEAM, SET_NAME));
    assert_eq!(set.await["spec"]["replicas"], 3);
    drop(servers);
}

#[tokio::test]
async fn a_stream_that_is_made_as_its_pool_goes_keeps_the_pool() {
    let (rig, servers) = pool_that_is_empty_again().await;
    // the watches hang: the plan does not know of the next one
    rig.mock.hold_events_of(STREAMS);
    rig.apply("b", json!({"pool": "default"}));
    let looks = rig.mock.calls("GET", STREAMS);
    rig.annotate(SETS, SET_NAME, DELETE_POOL, "true");
    rig.wait_for("the last look", || {
        (rig.mock.calls("GET", STREAMS) > looks).then_some(())
    })
    .await;
    // one that it does know of shows when it has gone on to the next pool
    rig.mock.let_events_through();
    rig.wait_reason("b", "Active").await;
    assert!(rig.mock.find(SETS, TEAM, SET_NAME).is_some());
    assert!(rig.mock.find(MAPS, TEAM, MAP).is_some());
    drop(servers);
}

#[tokio::test]
async fn a_pool_whose_placement_was_broken_meanwhile_stays_and_says_so() {
    let (rig, servers) = pool_that_is_empty_again().await;
    let mut map = rig.mock.find(MAPS, TEAM, MAP).expect("there");
    let good = std::mem::replace(&mut map["data"]["placement.json"], json!("{"));
    rig.mock.put(MAPS, map.clone());
    rig.annotate(SETS, SET_NAME, DELETE_POOL, "true");
    rig.wait_for("the warning", || {
        rig.events().contains(&"PoolInUse".to_owned()).then_some(())
    })
    .await;
    assert!(rig.mock.find(SETS, TEAM, SET_NAME).is_some());
    map["data"]["placement.json"] = good;
    rig.mock.put(MAPS, map);
    rig.wait_for("the pool's end", || {
        rig.mock.find(SETS, TEAM, SET_NAME).is_none().then_some(())
    })
    .await;
    drop(servers);
}

#[tokio::test]
async fn a_pool_that_begins_anew_waits_until_the_pods_of_the_former_one_are_gone() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default", "deletionPolicy": "Delete"}));
    let servers = rig.run_pool().await;
    rig.wait_reason("a", "Active").await;
    let left = format!("{SET_NAME}-0");
    let mut pod = rig.mock.find(PODS, TEAM, &left).expect("there");
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": SET_NAME, "uid": "former",
    }]);
    rig.mock.put(PODS, pod);
    retire_stream(&rig, "a").await;
    rig.annotate(SETS, SET_NAME, DELETE_POOL, "true");
    rig.wait_for("the pool's end", || {
        rig.mock.find(SETS, TEAM, SET_NAME).is_none().then_some(())
    })
    .await;
    drop(servers);
    rig.apply("b", json!({"pool": "default"}));
    rig.wait_reason("b", "PoolStarting").await;
    // another pool that is made after it shows that the keeper has looked at this one
    rig.apply("c", json!({"pool": "small"}));
    let small = "millstream-shard-small";
    rig.wait_for("the other pool", || rig.mock.find(SETS, TEAM, small))
        .await;
    assert!(rig.mock.find(SETS, TEAM, SET_NAME).is_none());
    rig.mock.remove(PODS, TEAM, &left);
    rig.wait_for("the set", || rig.mock.find(SETS, TEAM, SET_NAME))
        .await;
}

#[tokio::test]
async fn network_policies_that_are_turned_off_go_once_and_come_back() {
    let rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    let policy = |rig: &Rig| rig.mock.find(POLICIES, TEAM, SET_NAME);
    rig.wait_for("the policy", || policy(&rig)).await;
    let rig = rig.succeed_with("networkPolicy: {enabled: false}").await;
    rig.wait_for("the policy's end", || policy(&rig).is_none().then_some(()))
        .await;
    // each further pool is a round over the first one
    rig.apply("b", json!({"pool": "small"}));
    let small = "millstream-shard-small";
    rig.wait_for("the other pool", || rig.mock.find(SETS, TEAM, small))
        .await;
    rig.apply("c", json!({"pool": "third"}));
    rig.wait_for("the third pool", || {
        rig.mock.find(SETS, TEAM, "millstream-shard-third")
    })
    .await;
    assert!(rig.mock.find(POLICIES, TEAM, small).is_none());
    assert_eq!(rig.mock.calls("DELETE", POLICIES), 3, "once for each pool");
    let rig = rig.succeed().await;
    rig.wait_for("the policy", || policy(&rig)).await;
}

#[tokio::test]
async fn sets_that_a_tenant_made_up_end_no_leader() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    rig.wait_reason("a", "Active").await;
    for (name, pool) in [("made-up", "UP.per"), ("millstream-shard-a.b", "a.b")] {
        let mut set = rig.mock.find(SETS, TEAM, SET_NAME).expect("there");
        let labels = set["metadata"]["labels"].clone();
        set["metadata"] = json!({"name": name, "namespace": TEAM, "labels": labels});
        set["metadata"]["labels"]["millstream.dev/pool"] = json!(pool);
        set["spec"]["replicas"] = json!(2_000_000);
        rig.mock.put(SETS, set);
    }
    let mut rig = rig.succeed().await;
    let again = rig.run_pool().await;
    rig.apply("b", json!({"pool": "default"}));
    rig.wait_reason("b", "Active").await;
    drop((servers, again));
}
