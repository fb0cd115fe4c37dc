//! What a channel says about a call that failed, and that it finds its way back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{BoxFuture, FutureExt as _, join_all};
use millstream_link::grpc::{Channel, ServeOptions, was_not_sent};
use millstream_link::tcp::{TcpConnector, TcpListener};
use millstream_link::testkit::{Claim, Claims, Pipes};
use millstream_link::{ConnectError, Connection, Connector, Endpoint, Listener as _, Role};

use crate::bed::{address, ask, call, channel, identity, serving};

#[tokio::test]
async fn a_call_over_sockets_is_answered() {
    let listener = TcpListener::bind(&address("127.0.0.1:0"))
        .await
        .expect("a port");
    let at = listener.address();
    let stop = serving(listener, ServeOptions::default());
    let channel = channel(TcpConnector, &at);
    assert_eq!(ask(&channel).await.expect("an answer"), "anonymous");
    assert_eq!(ask(&channel).await.expect("an answer"), "anonymous");
    stop.send_replace(true);
}

#[tokio::test]
async fn a_refused_connection_was_not_sent_and_is_opened_later() {
    let (pipes, at) = (Pipes::default(), address("late:1"));
    let channel = channel(pipes.clone(), &at);
    let status = ask(&channel).await.expect_err("nobody listens");
    assert!(was_not_sent(&status), "{status:?}");
    let _stop = serving(pipes.listen(&at), ServeOptions::default());
    ask(&channel).await.expect("somebody does");
}

/// Nobody answers; counts who asks.
#[derive(Clone, Default)]
struct Silent(Arc<AtomicUsize>);

impl Connector for Silent {
    fn connect<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_connection_share_its_failure() {
    let silent = Silent::default();
    let channel = channel(silent.clone(), &address("silent:1"));
    for status in join_all((0..20).map(|_| ask(&channel))).await {
        let status = status.expect_err("nobody answers");
        assert!(was_not_sent(&status), "{status:?}");
    }
    assert_eq!(silent.0.load(Ordering::SeqCst), 1, "one attempt for all");
    ask(&channel).await.expect_err("nobody answers");
    assert_eq!(
        silent.0.load(Ordering::SeqCst),
        2,
        "a later call tries anew"
    );
}

#[tokio::test]
async fn a_call_that_was_cut_may_have_been_carried_out() {
    let (pipes, at) = (Pipes::default(), address("cut:1"));
    let options = ServeOptions {
        drain_timeout: std::time::Duration::from_millis(50),
        ..ServeOptions::default()
    };
    let stop = serving(pipes.listen(&at), options);
    let channel = channel(pipes.clone(), &at);
    ask(&channel).await.expect("an answer");
    let (status, ()) = tokio::join!(call(&channel, "/hang"), async {
        // the call is on its way once this one has been answered after it
        ask(&channel).await.expect("an answer");
        stop.send_replace(true);
    });
    let status = status.expect_err("the server has gone");
    assert!(!was_not_sent(&status), "{status:?}");

    let _stop = serving(pipes.listen(&at), ServeOptions::default());
    ask(&channel).await.expect("a new connection");
}

#[tokio::test]
async fn claims_are_believed_in_tests() {
    let (pipes, at) = (Pipes::default(), address("shard-0:1"));
    let listener = Claims::new(pipes.listen(&at), identity(Role::Shard, "shard-0"));
    let _stop = serving(listener, ServeOptions::default());
    let gateway = identity(Role::Gateway, "gateway-x");
    let claim = || Claim::new(pipes.clone(), Some(gateway.clone()));
    assert_eq!(
        ask(&channel(claim(), &at)).await.expect("an answer"),
        gateway.to_string()
    );
    let other = Endpoint::of(at.clone(), identity(Role::Shard, "shard-1"));
    let status = ask(&Channel::new(Arc::new(claim()), other)).await;
    assert!(was_not_sent(&status.expect_err("it claims to be shard-0")));
    let nobody = Claim::new(pipes.clone(), None);
    assert_eq!(
        ask(&channel(nobody, &at)).await.expect("an answer"),
        "anonymous"
    );
}
