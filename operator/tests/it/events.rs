//! What people read of an object with `kubectl describe`.

use serde_json::{Value, json};

use super::mock::Fault;
use super::rig::{EVENTS, Rig, TEAM};

/// The Events of this reason about a stream.
fn about(rig: &Rig, name: &str, reason: &str) -> Vec<Value> {
    let mut events = rig.mock.all(EVENTS);
    events.retain(|event| event["regarding"]["name"] == name && event["reason"] == reason);
    events
}

/// The one Event whose note holds `words`, once it is there.
async fn wait_words(rig: &Rig, name: &str, reason: &str, words: &str) -> Value {
    let what = format!("an event of {name}: {words}");
    rig.wait_for(&what, || {
        let says = |event: &Value| event["note"].as_str().expect("a note").contains(words);
        let mut found: Vec<Value> = about(rig, name, reason).into_iter().filter(says).collect();
        assert!(found.len() <= 1, "{found:?}");
        found.pop()
    })
    .await
}

#[tokio::test]
async fn other_words_are_another_event_and_the_same_words_count_up_theirs() {
    let rig = Rig::new().await;
    rig.apply("a", json!({"pool": "absent"}));
    let first = wait_words(&rig, "a", "PoolUnknown", "absent").await;
    assert_eq!(first["type"], "Warning");
    assert_eq!(first["regarding"]["kind"], "DataStream");
    assert_eq!(first["metadata"]["namespace"], TEAM);
    assert_eq!(first["reportingInstance"], "millstream-operator-0");
    assert!(first["series"].is_null());
    rig.apply("a", json!({"pool": "missing"}));
    let second = wait_words(&rig, "a", "PoolUnknown", "missing").await;
    assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
    rig.apply("a", json!({"pool": "absent"}));
    let again = wait_twice(&rig, "absent").await;
    assert_eq!(again["metadata"]["name"], first["metadata"]["name"]);
    assert_eq!(again["note"], first["note"]);
    assert!(again["series"]["lastObservedTime"].is_string());
    // the API server forgets Events after an hour
    let name = first["metadata"]["name"].as_str().expect("a name");
    rig.mock.remove(EVENTS, TEAM, name);
    rig.apply("a", json!({"pool": "missing"}));
    wait_twice(&rig, "missing").await;
    rig.apply("a", json!({"pool": "absent"}));
    let anew = wait_words(&rig, "a", "PoolUnknown", "absent").await;
    assert_ne!(anew["metadata"]["name"], name);
}

/// The Event that counts two of these words, once it is there.
async fn wait_twice(rig: &Rig, words: &str) -> Value {
    rig.wait_for(&format!("an event that counts two: {words}"), || {
        let is = |event: &Value| {
            event["series"]["count"] == 2 && event["note"].to_string().contains(words)
        };
        about(rig, "a", "PoolUnknown").into_iter().find(is)
    })
    .await
}

#[tokio::test]
async fn an_event_gets_there_through_errors_and_a_stream_that_flaps_writes_few() {
    let rig = Rig::new().await;
    rig.mock.fail(Fault {
        method: "POST",
        resource: EVENTS,
        code: 500,
        times: 2,
    });
    rig.apply("a", json!({"pool": "absent"}));
    let object = rig.wait_reason("a", "PoolUnknown").await;
    wait_words(&rig, "a", "PoolUnknown", "absent").await;

    let object = serde_json::from_value(object).expect("a DataStream");
    let events = &rig.leader.context.events;
    let tell = |note: &str| {
        let stream: &millstream_crds::data_stream::DataStreamResource = &object;
        events.tell(stream, true, "PodsAway", note);
    };
    for number in 0..50 {
        tell(&format!("no server for pod {number}"));
        wait_written(&rig, number).await;
    }
    tell("the last words");
    // somebody else is not kept waiting by it
    rig.apply("b", json!({"pool": "absent"}));
    wait_words(&rig, "b", "PoolUnknown", "absent").await;
    let told = about(&rig, "a", "PodsAway").len();
    // a burst of ten, of which three went for the first words, and one more each twenty seconds
    assert!((7..12).contains(&told), "{told}");
}

/// Gives the loop the time to write what it may still write of a burst.
async fn wait_written(rig: &Rig, number: usize) {
    if number < 7 {
        wait_words(rig, "a", "PodsAway", &format!("pod {number}")).await;
    }
}
