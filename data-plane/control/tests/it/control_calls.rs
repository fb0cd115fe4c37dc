//! What a gateway's clients ask for.

use millstream_control::{
    ControlPlane as _, CreateStreamError, DeleteStreamError, MemoryStore, StreamSpec,
};
use millstream_link::Role;
use millstream_types::Scope;

use crate::bed::{Operator, Server, identity, network};

fn scope() -> Scope {
    Scope {
        account: "000000000001".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
    }
}

fn spec() -> StreamSpec {
    let mut spec = StreamSpec::new("orders".parse().expect("a name"));
    spec.shard_count = Some(4);
    spec
}

#[tokio::test(start_paused = true)]
async fn a_gateway_asks_the_leader_and_hears_its_words() {
    let pipes = network(&["op-0:4570"]);
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let gateway = identity(Role::Gateway, "gateway-x");
    let server = Server::claiming(&pipes, &gateway, &MemoryStore::default());
    let _session = operator.session().await;
    let control = server.handle.control();
    assert_eq!(control.create_stream(&scope(), spec()).await, Ok(()));
    assert_eq!(operator.replica.asked.lock().pop(), Some((scope(), spec())));

    let text = || "the field spec.shardCount belongs to flux".to_owned();
    for refusal in [
        CreateStreamError::Exists(text()),
        CreateStreamError::InUse(text()),
        CreateStreamError::LimitExceeded(text()),
        CreateStreamError::Invalid(text()),
        CreateStreamError::Throttled(text()),
        CreateStreamError::Internal,
    ] {
        *operator.replica.answer.lock() = Err(refusal.clone());
        assert_eq!(control.create_stream(&scope(), spec()).await, Err(refusal));
    }
    let name = spec().name;
    assert_eq!(control.delete_stream(&scope(), &name).await, Ok(()));
    for refusal in [
        DeleteStreamError::NotFound(text()),
        DeleteStreamError::InUse(text()),
        DeleteStreamError::Throttled(text()),
        DeleteStreamError::Internal,
    ] {
        *operator.replica.delete_answer.lock() = Err(refusal.clone());
        assert_eq!(control.delete_stream(&scope(), &name).await, Err(refusal));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_server_may_not_ask() {
    let pipes = network(&["op-0:4570"]);
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let shard = identity(Role::Shard, "shard-0");
    let server = Server::claiming(&pipes, &shard, &MemoryStore::default());
    let _session = operator.session().await;
    let answer = server
        .handle
        .control()
        .create_stream(&scope(), spec())
        .await;
    assert_eq!(answer, Err(CreateStreamError::Internal));
    assert!(operator.replica.asked.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_an_operator_a_control_operation_fails_in_bounded_time() {
    let pipes = network(&[]);
    let gateway = identity(Role::Gateway, "gateway-x");
    let server = Server::claiming(&pipes, &gateway, &MemoryStore::default());
    let answer = server
        .handle
        .control()
        .create_stream(&scope(), spec())
        .await;
    assert_eq!(answer, Err(CreateStreamError::Internal));
}
