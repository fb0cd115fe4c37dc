//! What a new leader cannot use: it leaves that out, and nothing else.

use base64_simd::STANDARD;
use millstream_control::DesiredState;
use millstream_operator::mended;
use millstream_operator::run::Leader;
use serde_json::{Value, json};

use super::rig::{HOME, MAPS, Rig, SECRETS, SET_NAME, SETS, TEAM, condition, id_of};

const SMALL_MAP: &str = "millstream-placement-small";
const SMALL_POD: &str = "millstream-shard-small-0";

/// A stream in the pool `default` and one in `small`, both served.
async fn two_pools() -> Rig {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    rig.apply("b", json!({"pool": "small", "retentionPeriodHours": 168}));
    let servers = rig.run_pool().await;
    rig.run_pods("millstream-shard-small").await;
    let small = rig.attach(SMALL_POD).await;
    rig.wait_reason("a", "Active").await;
    rig.wait_reason("b", "Active").await;
    drop((servers, small));
    rig
}

fn write_map(rig: &Rig, text: &str) -> Value {
    let mut map = rig.mock.find(MAPS, TEAM, SMALL_MAP).expect("there");
    let before = map["data"]["placement.json"].take();
    map["data"]["placement.json"] = json!(text);
    rig.mock.put(MAPS, map);
    before
}

#[tokio::test]
async fn a_stream_whose_place_is_lost_waits_for_its_home_and_gets_no_empty_one() {
    let rig = two_pools().await;
    rig.mock.remove(MAPS, TEAM, "millstream-placement-default");
    let mut rig = rig.succeed().await;
    let lost = rig.wait_reason("a", "PlacementLost").await;
    let uid = id_of(&lost);
    // the other pod of the pool is there, and has room
    let home = rig.shards.home_of(uid);
    let other = if home.ends_with("-0") { "1" } else { "0" };
    let mut servers = vec![rig.attach(&format!("{SET_NAME}-{other}")).await];
    // once streams are placed, one that is new waits for its pod
    rig.apply("c", json!({"pool": "default"}));
    rig.wait_reason("c", "PoolStarting").await;
    rig.wait_reason("a", "PlacementLost").await;
    assert_eq!(rig.shards.home_of(uid), home);
    servers.push(rig.attach(&home).await);
    assert_eq!(id_of(&rig.wait_reason("a", "Active").await), uid);
    drop(servers);
}

#[tokio::test]
async fn a_namespace_that_may_not_be_read_is_left_out_until_it_may() {
    let rig = two_pools().await;
    rig.mock.forbid(TEAM, true);
    let rig = rig.succeed().await;
    let context = &rig.leader.context;
    assert_eq!(context.reach.namespaces(), Some(vec![HOME]));
    let metrics = rig.parts.metrics.text();
    let gauge = "millstream_operator_namespaces_left_out 1";
    assert!(metrics.contains(gauge), "{metrics}");
    assert!(!mended::has_gained(context).await);
    rig.mock.forbid(TEAM, false);
    assert!(mended::has_gained(context).await);
    let mut rig = rig.succeed().await;
    let servers = rig.run_pool().await;
    rig.apply("c", json!({"pool": "default"}));
    rig.wait_reason("c", "Active").await;
    drop(servers);
}

#[tokio::test]
async fn a_placement_that_cannot_be_used_stops_no_other_pool_and_leaves_its_own_alone() {
    let rig = two_pools().await;
    let good = write_map(&rig, "{\"homes\": 7");
    let mut rig = rig.succeed().await;
    let stalled = rig.wait_reason("b", "PlacementUnreadable").await;
    let message = condition(&stalled, "Stalled").expect("there")["message"].to_string();
    assert!(message.contains(SMALL_MAP), "{message}");
    let uid = id_of(&stalled);
    let told = rig.shards.told(uid);

    let mut servers = rig.run_pool().await;
    servers.push(rig.attach(SMALL_POD).await);
    rig.apply("c", json!({"pool": "default"}));
    rig.wait_reason("c", "Active").await;
    assert_eq!(rig.shards.told(uid), told, "its home is told nothing");
    let gateway = rig.attach_gateway("millstream-gateway-x").await;
    let pools = rig.wait_for("the gateway's state", || {
        match gateway.told.borrow().clone().as_deref()? {
            DesiredState::Gateway(state) => Some(state.pools.clone()),
            DesiredState::Shard(_) => None,
        }
    });
    assert_eq!(pools.await, None, "gateways keep what they know of a pool");
    let map = rig.mock.find(MAPS, TEAM, SMALL_MAP).expect("there");
    assert_eq!(map["data"]["placement.json"], "{\"homes\": 7");
    assert!(rig.mock.find(SETS, TEAM, SET_NAME).is_some());

    let context = &rig.leader.context;
    assert!(!mended::has_gained(context).await);
    write_map(&rig, good.as_str().expect("text"));
    assert!(mended::has_gained(context).await);
    let mut rig = rig.succeed().await;
    servers.push(rig.attach(SMALL_POD).await);
    rig.wait_reason("b", "Active").await;
    assert_eq!(id_of(&rig.wait_reason("b", "Active").await), uid);
    drop(servers);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_namespace_is_forbidden_as_it_begins_ends() {
    let mut rig = Rig::new().await;
    rig.leader.tasks.shutdown().await;
    // the five kinds that it asks for, the placements, and then the watches
    rig.mock.forbid_after(TEAM, 6);
    let own = rig.keys.own_keys().expect("a certificate");
    let started = Leader::start(&rig.parts, 2, &rig.keys, own).await;
    let failure = started.err().expect("it does not go on").to_string();
    assert!(failure.contains("listing what is watched"), "{failure}");
}

/// Forbids the namespace, and waits until its watches know it.
async fn refuse_watches(rig: &Rig) {
    rig.mock.forbid(TEAM, true);
    let before = rig.mock.calls("GET", SECRETS);
    rig.mock.drop_watches();
    // one for the operator's own namespace, and a second try for this one
    let looked = || (rig.mock.calls("GET", SECRETS) >= before + 3).then_some(());
    rig.wait_for("a refused watch", looked).await;
}

/// The ids of the keys that a gateway is told.
async fn keys_of(rig: &mut Rig) -> Vec<String> {
    let gateway = rig.attach_gateway("millstream-gateway-x").await;
    let told = rig.wait_for("the gateway's state", || {
        match gateway.told.borrow().clone().as_deref()? {
            DesiredState::Gateway(state) => Some(state.access.access_keys.clone()),
            DesiredState::Shard(_) => None,
        }
    });
    told.await.into_iter().map(|key| key.id).collect()
}

#[tokio::test]
async fn a_namespace_that_cannot_be_read_any_more_is_left_out_and_its_keys_are_not_used() {
    let mut rig = Rig::new().await;
    let id = "AKIA0000000000000001";
    let data = json!({
        "id": STANDARD.encode_to_string(id), "secret": STANDARD.encode_to_string("correct-horse"),
    });
    rig.mock.put(
        SECRETS,
        json!({
            "apiVersion": "v1", "kind": "Secret", "data": data,
            "metadata": {
                "name": "key", "namespace": TEAM, "labels": {"millstream.dev/access-key": "true"},
            },
        }),
    );
    let seen = || rig.leader.context.secrets.get(TEAM, "key");
    rig.wait_for("the key", seen).await;
    // an API server that only begins forbids, too
    refuse_watches(&rig).await;
    rig.mock.forbid(TEAM, false);
    assert!(!mended::has_lost(&rig.leader.context).await);
    rig = rig.succeed().await;
    assert_eq!(keys_of(&mut rig).await, [id]);

    refuse_watches(&rig).await;
    assert!(mended::has_lost(&rig.leader.context).await);
    rig = rig.succeed().await;
    assert_eq!(rig.leader.context.reach.namespaces(), Some(vec![HOME]));
    assert_eq!(keys_of(&mut rig).await, [""; 0]);

    rig.mock.forbid(TEAM, false);
    assert!(mended::has_gained(&rig.leader.context).await);
    rig = rig.succeed().await;
    assert_eq!(keys_of(&mut rig).await, [id]);
}
