//! An API server that takes a call and never answers it.

use millstream_clock::task;
use millstream_control::StreamSpec;
use millstream_control::attach::Contract as _;
use millstream_types::Scope;
use serde_json::json;

use super::mock::{Fault, SILENCE};
use super::rig::{HOME, MAPS, Rig, SETS, STREAMS, TEAM};

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

#[tokio::test]
async fn a_namespace_whose_call_hangs_keeps_no_other_from_creating() {
    let rig = Rig::new().await;
    let plan = rig.leader.context.made_plan().await;
    let account = |namespace: &str| plan.accounts[namespace].own().expect("its own").clone();
    let create = |namespace: &str| {
        let scope = Scope {
            account: account(namespace),
            region: "eu-west-1".parse().expect("a region"),
        };
        let spec = StreamSpec::new("orders".parse().expect("a name"));
        let operator = rig.operator.clone();
        async move { operator.create_stream(&scope, spec).await }
    };
    silence(&rig, "PATCH", STREAMS);
    let hangs = task::spawn("hangs", create(TEAM));
    let asked = || (rig.mock.calls("PATCH", STREAMS) > 0).then_some(());
    rig.wait_for("the call that hangs", asked).await;
    assert_eq!(create(HOME).await, Ok(()));
    assert!(!hangs.is_finished());
    hangs.abort();
}
