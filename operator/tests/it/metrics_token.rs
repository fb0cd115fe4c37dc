//! The Secrets whose token servers ask for before they show their metrics.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::mock::Fault;
use super::rig::{HOME, Rig, SECRETS, SET_NAME, SETS, TEAM};

const NAME: &str = "millstream-metrics";

/// The token in the namespace, if there is one.
fn token(rig: &Rig, namespace: &str) -> Option<String> {
    let secret = rig.mock.find(SECRETS, namespace, NAME)?;
    let ByteString(token) = serde_json::from_value(secret["data"]["token"].clone()).ok()?;
    Some(String::from_utf8(token).expect("text"))
}

fn secret(namespace: &str, data: &[(&str, &str)]) -> Value {
    let pairs = data.iter().map(|(key, text)| {
        let bytes = ByteString(text.as_bytes().to_vec());
        ((*key).to_owned(), json!(bytes))
    });
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": NAME, "namespace": namespace},
        "data": serde_json::Map::from_iter(pairs),
    })
}

#[tokio::test]
async fn a_pool_and_the_gateways_find_tokens_of_their_own_and_a_new_leader_keeps_them() {
    let rig = Rig::new().await;
    let gateways = rig.wait_for("a token", || token(&rig, HOME)).await;
    assert_eq!(token(&rig, TEAM), None, "no pool, no token");
    rig.apply("flights", json!({"pool": "default"}));
    let shards = rig.wait_for("the pool's token", || token(&rig, TEAM)).await;
    assert_eq!((gateways.len(), shards.len()), (64, 64));
    assert_ne!(gateways, shards);
    let rig = rig.succeed().await;
    let look = rig.mock.calls("GET", SECRETS);
    rig.wait_for("the new leader's look", || {
        (rig.mock.calls("GET", SECRETS) > look + 1).then_some(())
    })
    .await;
    assert_eq!(token(&rig, HOME), Some(gateways));
    assert_eq!(token(&rig, TEAM), Some(shards.clone()));
    // to replace one is to delete it
    rig.mock.remove(SECRETS, TEAM, NAME);
    let rig = rig.succeed().await;
    let renewed = rig.wait_for("a new token", || token(&rig, TEAM)).await;
    assert_ne!(renewed, shards);
}

#[tokio::test]
async fn a_token_that_was_brought_is_kept_and_one_that_is_none_is_mended() {
    let mut rig = Rig::new().await;
    rig.wait_for("a token", || token(&rig, HOME)).await;
    let brought = "brought-by-an-administrator";
    rig.mock.put(SECRETS, secret(TEAM, &[("token", brought)]));
    rig.mock.put(
        SECRETS,
        secret(HOME, &[("token", "short"), ("more", "stays")]),
    );
    rig = rig.succeed().await;
    rig.apply("flights", json!({"pool": "default"}));
    rig.wait_for("the pool", || rig.mock.find(SETS, TEAM, SET_NAME))
        .await;
    let mended = rig.wait_for("a mended token", || {
        token(&rig, HOME).filter(|token| token != "short")
    });
    assert_eq!(mended.await.len(), 64);
    let own = rig.mock.find(SECRETS, HOME, NAME).expect("there");
    assert_eq!(own["data"]["more"], json!(ByteString(b"stays".to_vec())));
    assert_eq!(token(&rig, TEAM).as_deref(), Some(brought));
}

#[tokio::test]
async fn a_pool_does_not_wait_for_a_token_that_cannot_be_made() {
    let mut rig = Rig::new().await;
    rig.wait_for("a token", || token(&rig, HOME)).await;
    rig.mock.fail(Fault {
        method: "POST",
        resource: SECRETS,
        code: 403,
        times: 2,
    });
    rig.apply("flights", json!({"pool": "default"}));
    rig.wait_for("the set", || rig.mock.find(SETS, TEAM, SET_NAME))
        .await;
    assert_eq!(token(&rig, TEAM), None);
    let servers = rig.run_pool().await;
    rig.wait_reason("flights", "Active").await;
    rig.wait_for("the token in the end", || token(&rig, TEAM))
        .await;
    let metrics = rig.parts.metrics.text();
    let counted = "reconcile_errors_total{kind=\"MetricsToken\",reason=\"Forbidden\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    drop(servers);
}
