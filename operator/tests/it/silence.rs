//! An API server that takes a call and never answers it.

use millstream_control::StreamSpec;
use millstream_control::attach::Contract as _;
use millstream_types::Scope;
use serde_json::json;

use super::mock::{Fault, SILENCE};
use super::rig::{MAPS, Rig, SETS, STREAMS};

fn silence(rig: &Rig, method: &'static str, resource: &'static str) {
    rig.mock.fail(Fault {
        method,
        resource,
        code: SILENCE,
        times: 1,
    });
}

#[tokio::test]
async fn calls_that_are_never_answered_are_given_up_and_made_again() {
    let mut rig = Rig::impatient().await;
    // the keeper's, the writer's of placements, and those of the stream's own loop
    silence(&rig, "PATCH", SETS);
    silence(&rig, "POST", MAPS);
    silence(&rig, "PATCH", STREAMS);
    rig.apply("a", json!({"pool": "default"}));
    let servers = rig.run_pool().await;
    rig.wait_reason("a", "Active").await;
    drop(servers);
}

#[tokio::test]
async fn a_client_whose_call_was_never_answered_keeps_no_other_from_creating() {
    let rig = Rig::impatient().await;
    let scope = Scope {
        account: "000000000001".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
    };
    let create = |name: &str| {
        let spec = StreamSpec::new(name.parse().expect("a name"));
        rig.operator.create_stream(&scope, spec)
    };
    silence(&rig, "PATCH", STREAMS);
    assert!(create("first").await.is_err());
    assert_eq!(create("second").await, Ok(()));
}
