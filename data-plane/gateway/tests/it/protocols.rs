//! HTTP/1.1 and HTTP/2 on one port; forms of bodies.

use crate::client::{Connection, body_text, head, http2, http2_request, put_body, request};
use crate::fixture::{Fixture, Setup};

#[tokio::test]
async fn both_versions_are_served_on_one_port_and_counted_apart() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut one = Connection::open(fixture.addr).await;
    for _ in 0..2 {
        let answer = one.ask("PutRecord", &put_body(30)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("\"SequenceNumber\""));
    }
    let mut two = http2(fixture.addr).await;
    for _ in 0..3 {
        let sent = two
            .send_request(http2_request("PutRecord", put_body(300)))
            .await;
        let answer = sent.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("x-amzn-requestid"));
        assert!(body_text(answer).await.contains("shardId-000000000000"));
    }
    for (version, count) in [("1.1", 2), ("2", 3)] {
        let line = format!(
            "millstream_http_requests_total{{operation=\"PutRecord\",code=\"200\",error=\"\",\
             version=\"{version}\"}} {count}"
        );
        assert!(fixture.counted(&line), "{}", fixture.metrics.text());
    }
}

#[tokio::test]
async fn many_http2_requests_share_a_connection() {
    let fixture = Fixture::start(Setup::default()).await;
    let sender = http2(fixture.addr).await;
    let asked: Vec<_> = (0..300)
        .map(|_| {
            let mut sender = sender.clone();
            async move {
                sender
                    .send_request(http2_request("PutRecord", put_body(3000)))
                    .await
            }
        })
        .map(|asking| millstream_clock::task::spawn("request", asking))
        .collect();
    for answer in asked {
        let answer = answer.await.expect("asked").expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    assert!(fixture.counted("millstream_connections_total 1"));
}

#[tokio::test]
async fn a_body_may_be_chunked_or_wait_for_the_word_to_go_on() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut connection = Connection::open(fixture.addr).await;
    let body = put_body(90);
    let (first, second) = body.split_at(50);
    let chunked = format!(
        "{}transfer-encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        head("PutRecord"),
        first.len(),
        second.len()
    );
    connection.send(chunked).await;
    assert_eq!(connection.answer().await.expect("an answer").status, 200);

    let length = body.len();
    let waiting = format!(
        "{}expect: 100-continue\r\ncontent-length: {length}\r\n\r\n",
        head("PutRecord")
    );
    connection.send(waiting).await;
    assert_eq!(connection.answer().await.expect("go on").status, 100);
    connection.send(body).await;
    assert_eq!(connection.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut connection = Connection::open(fixture.addr).await;
    let mut ahead = request("PutRecord", &put_body(30));
    ahead.extend(request("DescribeStream", r#"{"StreamName":"nope"}"#));
    ahead.extend(request("ListStreams", "{}"));
    connection.send(ahead).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(connection.answer().await.expect("an answer").status);
    }
    assert_eq!(statuses, [200, 400, 200]);
}

#[tokio::test]
async fn a_body_over_16_mib_is_413_announced_or_not() {
    let fixture = Fixture::start(Setup::default()).await;
    let over = 16 * 1024 * 1024 + 1;
    let mut announced = Connection::open(fixture.addr).await;
    announced
        .send(format!(
            "{}content-length: {over}\r\n\r\n",
            head("PutRecord")
        ))
        .await;
    announced.send(vec![b'a'; over]).await;
    let answer = announced
        .answer()
        .await
        .expect("an answer, for the body was read to its end");
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("connection"), Some("close"));

    let mut chunked = Connection::open(fixture.addr).await;
    chunked
        .send(format!(
            "{}transfer-encoding: chunked\r\n\r\n{over:x}\r\n",
            head("PutRecord")
        ))
        .await;
    chunked.send(vec![b'a'; over]).await;
    chunked.send("\r\n0\r\n\r\n").await;
    assert_eq!(chunked.answer().await.expect("an answer").status, 413);
    assert_eq!(fixture.held_bytes(), 0);
}

#[tokio::test]
async fn a_body_of_just_16_mib_is_read() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut connection = Connection::open(fixture.addr).await;
    let mut body = put_body(30);
    body.push_str(&" ".repeat(16 * 1024 * 1024 - body.len()));
    let answer = connection.ask("PutRecord", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(fixture.held_bytes(), 0);
}
