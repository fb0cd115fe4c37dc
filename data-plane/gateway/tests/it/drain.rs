//! The drain: what is under way ends, what idles is closed, what hangs is cut.

use std::time::Duration;

use millstream_gateway::Drained;
use tokio::net::TcpStream;

use crate::client::{Connection, http2, http2_request, put_body, request};
use crate::fixture::{Fixture, Setup};

#[tokio::test]
async fn a_request_under_way_is_answered_and_then_the_connection_closed() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut busy = Connection::open(fixture.addr).await;
    let whole = request("PutRecord", &put_body(3000));
    let (first, second) = whole.split_at(whole.len() - 100);
    busy.send(first).await;
    fixture
        .until("the request began", |f| f.held_bytes() > 0)
        .await;
    let mut idle = Connection::open(fixture.addr).await;
    assert_eq!(idle.ask("ListStreams", "{}").await.status, 200);

    fixture.drain.begin();
    assert!(idle.ends().await, "an idle connection is closed");
    busy.send(second).await;
    assert_eq!(busy.answer().await.expect("an answer").status, 200);
    assert!(busy.ends().await);
    assert_eq!(fixture.gateway.await.expect("ended"), Drained::All);
    assert!(
        TcpStream::connect(fixture.addr).await.is_err(),
        "nothing listens any more"
    );
}

#[tokio::test]
async fn an_http2_connection_is_told_to_go_away() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut sender = http2(fixture.addr).await;
    let answer = sender
        .send_request(http2_request("ListStreams", "{}".to_owned()))
        .await;
    assert_eq!(answer.expect("an answer").status(), 200);
    fixture.drain.begin();
    assert_eq!(fixture.gateway.await.expect("ended"), Drained::All);
    let late = sender
        .send_request(http2_request("ListStreams", "{}".to_owned()))
        .await;
    assert!(late.is_err());
}

#[tokio::test]
async fn a_request_that_hangs_is_cut_at_the_end_of_the_time() {
    let fixture = Fixture::start(Setup {
        drain_limit: Duration::from_millis(300),
        ..Setup::default()
    })
    .await;
    let mut hanging = Connection::open(fixture.addr).await;
    let whole = request("PutRecord", &put_body(3000));
    hanging.send(&whole[..whole.len() - 100]).await;
    fixture
        .until("the request began", |f| f.held_bytes() > 0)
        .await;
    fixture.drain.begin();
    assert_eq!(fixture.gateway.await.expect("ended"), Drained::Cut(1));
    assert!(hanging.ends().await);
}
