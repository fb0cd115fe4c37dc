//! Slow clients are cut, and give back what they held.

use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use millstream_clock::task;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::client::{Connection, head, http2_request, put_body, request};
use crate::fixture::{Fixture, SHORT, STREAM, Setup};

fn closed(fixture: &Fixture, reason: &str) -> bool {
    fixture.counted(&format!(
        "millstream_connections_closed_total{{reason=\"{reason}\"}} 1"
    ))
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let fixture = Fixture::with_timeouts(SHORT).await;
    let mut connection = Connection::open(fixture.addr).await;
    assert!(connection.ends().await);
    assert!(closed(&fixture, "no_request"));
}

#[tokio::test]
async fn part_of_a_head_or_of_a_preface_is_not_waited_for() {
    for start in [
        "POST / HTT",
        "PRI * HTTP/2.0\r\n\r\nSM",
        "POST / HTTP/1.1\r\nhost: x\r\n",
    ] {
        let fixture = Fixture::with_timeouts(SHORT).await;
        let mut connection = Connection::open(fixture.addr).await;
        connection.send(start).await;
        assert!(connection.ends().await, "{start:?}");
        assert!(closed(&fixture, "no_request"), "{start:?}");
    }
}

#[tokio::test]
async fn a_second_head_is_not_waited_for_either() {
    let fixture = Fixture::with_timeouts(SHORT).await;
    let mut connection = Connection::open(fixture.addr).await;
    assert_eq!(connection.ask("PutRecord", &put_body(30)).await.status, 200);
    connection.send("POST / HT").await;
    assert!(connection.ends().await);
    assert!(closed(&fixture, "no_request"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let fixture = Fixture::with_timeouts(SHORT).await;
    let mut connection = Connection::open(fixture.addr).await;
    assert_eq!(connection.ask("PutRecord", &put_body(30)).await.status, 200);
    assert!(connection.ends().await);
    assert!(closed(&fixture, "idle"));
}

#[tokio::test]
async fn a_body_that_stops_is_408_and_its_memory_comes_back() {
    let fixture = Fixture::with_timeouts(SHORT).await;
    let mut connection = Connection::open(fixture.addr).await;
    connection
        .send(format!(
            "{}content-length: 100\r\n\r\n{{",
            head("PutRecord")
        ))
        .await;
    fixture
        .until("memory is held", |f| f.held_bytes() > 0)
        .await;
    let answer = connection.answer().await.expect("an answer");
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(connection.ends().await);
    assert_eq!(fixture.held_bytes(), 0);
}

#[tokio::test]
async fn a_body_below_the_least_rate_is_408() {
    let fixture = Fixture::with_timeouts(SHORT).await;
    let mut connection = Connection::open(fixture.addr).await;
    connection
        .send(format!(
            "{}content-length: 100000\r\n\r\n",
            head("PutRecord")
        ))
        .await;
    for _ in 0..100 {
        connection.send("x").await;
        task::sleep(Duration::from_millis(20)).await;
        let mut first = [0; 12];
        if let Ok(12) = connection.stream.try_read(&mut first) {
            assert_eq!(&first, b"HTTP/1.1 408");
            return;
        }
    }
    panic!("a byte every 20 ms was taken for 2 s");
}

#[tokio::test]
async fn a_reader_that_stops_is_cut_and_its_page_given_back() {
    // A page larger than what the kernel takes off the server's hands.
    let fixture = Fixture::start(Setup {
        timeouts: SHORT,
        memory_bytes: 512 << 20,
        ..Setup::default()
    })
    .await;
    let mut writer = Connection::open(fixture.addr).await;
    for _ in 0..8 {
        assert_eq!(
            writer.ask("PutRecord", &put_body(1_000_000)).await.status,
            200
        );
    }
    let iterator = iterator(&mut writer).await;
    let mut reader = Connection::open(fixture.addr).await;
    let body = format!(r#"{{"ShardIterator":"{iterator}"}}"#);
    reader.send(request("GetRecords", &body)).await;
    fixture
        .until("a page is held", |f| {
            f.budgets.responses[1].used_bytes() > 1 << 20
        })
        .await;
    fixture
        .until("the reader is cut", |f| closed(f, "slow_reader"))
        .await;
    fixture
        .until("the page is given back", |f| f.held_bytes() == 0)
        .await;
    let mut rest = Vec::new();
    assert!(reader.stream.read_to_end(&mut rest).await.is_err() || rest.len() < 8 << 20);
}

#[tokio::test]
async fn an_http2_client_without_a_window_is_cut_whatever_it_asked() {
    let fixture = Fixture::with_timeouts(SHORT).await;
    let stream = TcpStream::connect(fixture.addr).await.expect("connected");
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    drop(task::spawn("http2-client", connection));
    let asked = http2_request("ListStreams", "{}".to_owned());
    let answer = sender.send_request(asked).await.expect("a head");
    fixture
        .until("the reader is cut", |f| closed(f, "slow_reader"))
        .await;
    drop(answer);
}

/// The first iterator of the fixture's shard.
pub(crate) async fn iterator(connection: &mut Connection) -> String {
    let body = format!(
        r#"{{"StreamName":"{STREAM}","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}}"#
    );
    let answer = connection.ask("GetShardIterator", &body).await.text();
    let start = answer.find(":\"").expect("an iterator") + 2;
    let end = answer.len() - 2;
    answer.get(start..end).expect("ASCII").to_owned()
}

#[tokio::test]
async fn a_connection_over_the_limit_is_told_so() {
    let fixture = Fixture::start(Setup {
        connections_max: 2,
        ..Setup::default()
    })
    .await;
    let mut first = Connection::open(fixture.addr).await;
    let mut second = Connection::open(fixture.addr).await;
    assert_eq!(first.ask("ListStreams", "{}").await.status, 200);
    assert_eq!(second.ask("ListStreams", "{}").await.status, 200);
    let mut third = Connection::open(fixture.addr).await;
    let answer = third.answer().await.expect("an answer without a request");
    assert_eq!(answer.status, 503);
    assert!(closed(&fixture, "limit"));
    drop(first);
    fixture
        .until("a place is free", |f| {
            f.counted("millstream_connections_open 1")
        })
        .await;
    let mut fourth = Connection::open(fixture.addr).await;
    assert_eq!(fourth.ask("ListStreams", "{}").await.status, 200);
}
