//! Callers that mean ill: without a certificate, and with that of a tenant's server.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use millstream_control::observed::STREAMS_OBSERVED_MAX;
use millstream_control::{MemoryStore, ObservedState, ObservedStream, StreamPhase};
use millstream_link::grpc::{Channel, ServeOptions};
use millstream_link::testkit::{Claim, Pipes};
use millstream_link::{Endpoint, Identity, Role};
use millstream_types::{Scope, StreamUid};
use tonic::body::Body;
use tonic::{Code, Status};
use tower_service::Service as _;

use crate::bed::{Operator, Server, address, identity, in_time, network};

const SIGN: &str = "SignCertificate";

fn shard_0() -> Identity {
    identity(Role::Shard, "shard-0")
}

/// Calls on a connection of its own.
fn channel(pipes: &Pipes, who: Option<Identity>) -> Channel {
    let operator = Endpoint::of(address("op-0:4570"), identity(Role::Operator, "op-0"));
    Channel::new(Arc::new(Claim::new(pipes.clone(), who)), operator)
}

/// A request that says how long its message is, sends so much of it, and never ends.
fn stalled(announced: u32, sent: usize) -> Body {
    let mut start = vec![0];
    start.extend(announced.to_be_bytes());
    start.resize(start.len() + sent, 0);
    let start = Frame::data(Bytes::from(start));
    let frames = stream::once(async move { Ok::<_, Infallible>(start) });
    Body::new(StreamBody::new(frames.chain(stream::pending())))
}

/// What the operator says to it.
async fn call(channel: &Channel, name: &str, body: Body) -> Status {
    let request = http::Request::post(format!("/millstream.control.v1.Contract/{name}"))
        .header("content-type", "application/grpc")
        .body(body)
        .expect("a request");
    let answer = in_time(channel.clone().call(request)).await;
    let answer = answer.expect("an answer");
    Status::from_header_map(answer.headers()).expect("it is refused")
}

#[tokio::test(start_paused = true)]
async fn an_anonymous_message_that_is_too_long_is_refused_by_its_first_bytes() {
    let pipes = network(&["op-0:4570"]);
    let _operator = Operator::claiming(&pipes, "op-0:4570");
    let anonymous = channel(&pipes, None);
    let announced = 65 * 1024;
    let refused = call(&anonymous, SIGN, stalled(announced, 0)).await;
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    let refused = call(&anonymous, SIGN, stalled(announced, 1024)).await;
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_anonymous_request_that_never_ends_is_ended() {
    let pipes = network(&["op-0:4570"]);
    let _operator = Operator::claiming(&pipes, "op-0:4570");
    let refused = call(&channel(&pipes, None), SIGN, stalled(1024, 100)).await;
    assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_of_a_call_that_its_caller_may_not_make() {
    let pipes = network(&["op-0:4570"]);
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let gateway = identity(Role::Gateway, "gateway-x");
    for (who, name, code) in [
        (None, "Attach", Code::Unauthenticated),
        (None, "CreateStream", Code::Unauthenticated),
        (None, "DeleteStream", Code::Unauthenticated),
        (Some(shard_0()), "CreateStream", Code::PermissionDenied),
        (Some(shard_0()), SIGN, Code::PermissionDenied),
        (Some(gateway), SIGN, Code::PermissionDenied),
    ] {
        let caller = channel(&pipes, who.clone());
        let refused = call(&caller, name, stalled(31 * 1024 * 1024, 1024)).await;
        assert_eq!(refused.code(), code, "{name} as {who:?}: {refused:?}");
    }
    assert!(operator.sessions.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn many_who_stall_do_not_keep_a_server_from_attaching() {
    let pipes = network(&["op-0:4570"]);
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let mut stalling = Vec::new();
    for _ in 0..ServeOptions::default().connections_max + 8 {
        let anonymous = channel(&pipes, None);
        stalling.push(millstream_clock::task::spawn("stalling", async move {
            call(&anonymous, SIGN, stalled(1024, 100)).await
        }));
        tokio::task::yield_now().await;
    }
    let _server = Server::claiming(&pipes, &shard_0(), &MemoryStore::default());
    assert_eq!(operator.session().await.server, shard_0());
    // at once, not after those have had their time
    assert!(stalling.iter().any(|call| !call.is_finished()));
}

fn streams(count: usize) -> Vec<ObservedStream> {
    let scope = Scope {
        account: "000000000001".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
    };
    let uids = (1_u128..).take(count);
    uids.map(|uid| ObservedStream {
        uid: StreamUid(uid),
        scope: scope.clone(),
        name: "orders".parse().expect("a name"),
        phase: StreamPhase::Active,
        version: millstream_control::stream::Version(1),
        shard_count: 1,
        groups: Vec::new(),
        message: None,
    })
    .collect()
}

#[tokio::test(start_paused = true)]
async fn a_report_of_more_streams_than_a_home_can_have_ends_its_session() {
    let pipes = network(&["op-0:4570"]);
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let server = Server::claiming(&pipes, &shard_0(), &MemoryStore::default());
    let mut session = operator.session().await;
    in_time(session.observed.recv()).await.expect("a report");
    let report = |count: usize| {
        let mut state = ObservedState::starting(shard_0());
        state.streams = streams(count);
        server.observed.send_replace(state);
    };
    report(STREAMS_OBSERVED_MAX);
    let most = in_time(session.observed.recv()).await.expect("a report");
    assert_eq!(most.streams.len(), STREAMS_OBSERVED_MAX);
    report(STREAMS_OBSERVED_MAX + 1);
    assert_eq!(in_time(session.observed.recv()).await, None);

    // it comes back with a report that can be true
    report(1);
    let mut session = operator.session().await;
    let good = loop {
        match in_time(session.observed.recv()).await {
            Some(report) => break report,
            None => session = operator.session().await,
        }
    };
    assert_eq!(good.streams.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_has_one_session() {
    let pipes = network(&["op-0:4570"]);
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let _first = Server::claiming(&pipes, &shard_0(), &MemoryStore::default());
    let mut earlier = operator.session().await;
    in_time(earlier.observed.recv()).await.expect("a report");
    let _second = Server::claiming(&pipes, &shard_0(), &MemoryStore::default());
    let later = operator.session().await;
    assert!(later.id > earlier.id);
    assert_eq!(in_time(earlier.observed.recv()).await, None);
}
