//! What gateways are told, and what is waited for from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64_simd::STANDARD;
use millstream_control::{CataloguePoint, DesiredState};
use millstream_types::{Epoch, GroupId};
use serde_json::json;

use super::rig::{HOME, Rig, SECRETS, TEAM, condition};

#[tokio::test]
async fn a_stream_is_ready_once_every_gateway_at_work_knows_it() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    rig.wait_reason("a", "Active").await;
    let mut gateway = rig.attach_gateway("millstream-gateway-x").await;
    let waiting = rig.wait_reason("a", "GatewaysCatchingUp").await;
    let ready = condition(&waiting, "Ready").expect("there");
    assert_eq!(ready["status"], "False");
    let text = ready["message"].as_str().expect("text");
    assert!(text.contains("millstream-gateway-x"), "{text}");
    let reconciling = condition(&waiting, "Reconciling").expect("there");
    assert_eq!(reconciling["status"], "True");
    assert_eq!(waiting["status"]["streamStatus"], "ACTIVE");

    let far = CataloguePoint {
        epoch: Epoch(1),
        changes: 1_000,
    };
    let groups = (0..2).map(|n| GroupId::new(TEAM, "default", n).expect("a group"));
    gateway
        .follows(groups.map(|group| (group, far)).collect())
        .await;
    rig.wait_reason("a", "Active").await;
    // one that goes away is not waited for
    gateway.follows(BTreeMap::new()).await;
    rig.wait_reason("a", "GatewaysCatchingUp").await;
    drop(gateway);
    rig.wait_reason("a", "Active").await;
    drop(servers);
}

#[tokio::test]
async fn keys_go_to_gateways_and_change_without_a_restart() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    rig.wait_reason("a", "Active").await;
    let gateway = rig.attach_gateway("millstream-gateway-x").await;
    let told = gateway.told.clone();
    let keys = || -> Option<Vec<(String, String)>> {
        let state = told.borrow().clone()?;
        let DesiredState::Gateway(state) = &*state else {
            return None;
        };
        let keys = state.access.access_keys.iter();
        Some(
            keys.map(|k| (k.id.clone(), k.secret.reveal().to_owned()))
                .collect(),
        )
    };
    let id = "AKIA0000000000000001";
    let put = |secret: &str| {
        let data = json!({
            "id": STANDARD.encode_to_string(id), "secret": STANDARD.encode_to_string(secret),
        });
        rig.mock.put(
            SECRETS,
            json!({
                "apiVersion": "v1", "kind": "Secret", "data": data,
                "metadata": {
                    "name": "key", "namespace": TEAM,
                    "labels": {"millstream.dev/access-key": "true"},
                },
            }),
        );
    };
    let has = |secret: &str| vec![(id.to_owned(), secret.to_owned())];
    put("first-secret");
    rig.wait_for("the key", || (keys()? == has("first-secret")).then_some(()))
        .await;
    put("second-secret");
    rig.wait_for("the next key", || {
        (keys()? == has("second-secret")).then_some(())
    })
    .await;
    rig.mock.remove(SECRETS, TEAM, "key");
    rig.wait_for("no key", || keys()?.is_empty().then_some(()))
        .await;
    let state = told.borrow().clone().expect("told");
    let DesiredState::Gateway(state) = Arc::unwrap_or_clone(state) else {
        panic!("a gateway's state");
    };
    assert_eq!(state.routes.len(), 1);
    assert_eq!(state.access.accounts["team"].as_str(), "000000000001");
    assert_eq!(state.access.token_key.expect("a key").reveal().len(), 64);
    drop(servers);
}

#[tokio::test]
async fn another_key_of_tokens_reaches_the_gateways_without_a_restart() {
    let mut rig = Rig::new().await;
    rig.apply("a", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    let gateway = rig.attach_gateway("millstream-gateway-x").await;
    let key = || -> Option<String> {
        let state = gateway.told.borrow().clone()?;
        let DesiredState::Gateway(state) = &*state else {
            return None;
        };
        Some(state.access.token_key.as_ref()?.reveal().to_owned())
    };
    let first = rig.wait_for("a key", key).await;
    let ring = &rig.parts.config.contract.ca_secret;
    let keyring = || {
        let mut object = rig.mock.find(SECRETS, HOME, ring).expect("there");
        object["metadata"]["namespace"] = json!(HOME);
        object
    };
    let mut object = keyring();
    object["metadata"]["annotations"]["millstream.dev/rotate-token-key"] = json!("true");
    rig.mock.put(SECRETS, object);
    // what the loop does once a minute, and then beats
    rig.keys.look(true).await.expect("good");
    rig.leader.context.changed.beat();
    let differs = || key().filter(|key| *key != first);
    let second = rig.wait_for("the next key", differs).await;
    // a key that somebody writes into the Secret is followed, too
    let mut object = keyring();
    assert!(object["metadata"]["annotations"]["millstream.dev/rotate-token-key"].is_null());
    assert_eq!(
        object["data"]["token.key"],
        json!(STANDARD.encode_to_string(&second))
    );
    let third = "5a".repeat(32);
    object["data"]["token.key"] = json!(STANDARD.encode_to_string(&third));
    rig.mock.put(SECRETS, object);
    rig.keys.look(true).await.expect("good");
    rig.leader.context.changed.beat();
    rig.wait_for("the written key", || (key()? == third).then_some(()))
        .await;
    drop(servers);
}
