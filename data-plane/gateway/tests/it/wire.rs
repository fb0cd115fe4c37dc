//! Heads, credentials and their errors, as AWS has them (kinesalite's `test/connection.js`).

use crate::client::{AUTHORIZATION, Answer, Connection, head};
use crate::fixture::{Fixture, Setup};
use crate::slow::iterator;

const JSON: &str = "application/x-amz-json-1.1";
const CBOR: &str = "application/x-amz-cbor-1.1";
const LIST: &str = "Kinesis_20131202.ListStreams";

async fn ask(fixture: &Fixture, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut connection = Connection::open(fixture.addr).await;
    let mut text = format!(
        "{line} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    connection.send(format!("{text}\r\n{body}")).await;
    connection.answer().await.expect("an answer")
}

#[tokio::test]
async fn every_answer_has_its_ids() {
    let fixture = Fixture::start(Setup::default()).await;
    let signed = [
        ("authorization", AUTHORIZATION),
        ("x-amz-date", "d"),
        ("content-type", JSON),
        ("x-amz-target", LIST),
    ];
    let good = ask(&fixture, "POST /", &signed, "{}").await;
    assert_eq!(good.status, 200);
    assert_eq!(good.header("content-type"), Some(JSON));
    let bad = ask(&fixture, "GET /", &[], "").await;
    assert_eq!(bad.status, 403);
    for answer in [good, bad] {
        let id = answer.header("x-amzn-requestid").expect("an id");
        assert_eq!(
            id.split('-').map(str::len).collect::<Vec<_>>(),
            [8, 4, 4, 4, 12]
        );
        assert_eq!(answer.header("x-amz-id-2").expect("a second id").len(), 96);
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn a_preflight_is_allowed_what_it_asks_for() {
    let fixture = Fixture::start(Setup::default()).await;
    let headers = [
        ("origin", "whatever"),
        ("access-control-request-headers", "a, b, c"),
        ("access-control-request-method", "d"),
    ];
    let answer = ask(&fixture, "OPTIONS /", &headers, "").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-headers", "a, b, c"),
        ("access-control-allow-methods", "d"),
        ("access-control-max-age", "172800"),
        ("content-length", "0"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(
        (answer.header("x-amz-id-2"), answer.header("content-type")),
        (None, None)
    );

    let other = ask(&fixture, "OPTIONS /", &[], "").await;
    assert_eq!(other.status, 403, "no origin, no preflight");
    let posted = ask(&fixture, "POST /", &[("origin", "whatever")], "").await;
    assert_eq!(posted.header("access-control-allow-origin"), Some("*"));
    let exposed = posted
        .header("access-control-expose-headers")
        .expect("exposed");
    assert!(
        exposed.starts_with("x-amzn-RequestId,x-amzn-ErrorType"),
        "{exposed}"
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of requests")]
async fn the_order_of_the_checks_is_that_of_aws() {
    let fixture = Fixture::start(Setup::default()).await;
    let auth: &[_] = &[("authorization", AUTHORIZATION), ("x-amz-date", "d")];
    let json: &[_] = &[("content-type", JSON)];
    let list: &[_] = &[("x-amz-target", LIST)];
    let x: &[_] = &[("authorization", "X")];
    let unknown: &[_] = &[("x-amz-target", "Kinesis_20131202.Whatever")];
    type Headers<'a> = [&'a [(&'static str, &'static str)]];
    let rows: [(&str, &Headers<'_>, &str, u16, &str); 11] = [
        ("GET /", &[auth], "", 403, "<AccessDeniedException>"),
        ("POST /", &[auth], "{}", 403, "<AccessDeniedException>"),
        ("POST /", &[list], "{}", 404, "<UnknownOperationException/>"),
        (
            "POST /",
            &[json, list],
            "hello",
            400,
            "SerializationException",
        ),
        ("POST /", &[json, list], "", 400, "SerializationException"),
        (
            "POST /",
            &[json, unknown],
            "{}",
            400,
            "UnknownOperationException",
        ),
        (
            "POST /",
            &[json, list],
            "{}",
            400,
            "\"message\":\"Missing Authentication Token\"",
        ),
        (
            "POST /",
            &[json, list, x],
            "{}",
            400,
            "Date' header. Authorization=X\"",
        ),
        (
            "POST /?X-Amz-Algorithm",
            &[json, list, x],
            "{}",
            400,
            "Found both 'X-Amz-Algorithm'",
        ),
        (
            "POST /?X-Amz-Algorithm",
            &[json, list],
            "{}",
            400,
            "include 'X-Amz-Date'. Re-examine",
        ),
        (
            "POST /any/path",
            &[json, list, auth],
            "{}",
            200,
            "\"StreamNames\"",
        ),
    ];
    for (line, headers, body, status, text) in rows {
        let answer = ask(&fixture, line, &headers.concat(), body).await;
        assert_eq!(answer.status, status, "{line} {headers:?} {body}");
        assert!(
            answer.text().contains(text),
            "{line} {headers:?} {body}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn streams_of_another_region_are_apart() {
    let fixture = Fixture::start(Setup::default()).await;
    let elsewhere = AUTHORIZATION.replace("us-east-1", "eu-west-3");
    for (authorization, found) in [(AUTHORIZATION, true), (&elsewhere, false)] {
        let headers = [
            ("authorization", authorization),
            ("date", "d"),
            ("content-type", JSON),
            ("x-amz-target", LIST),
        ];
        let answer = ask(&fixture, "POST /", &headers, "{}").await;
        assert_eq!(
            answer.text().contains("flights"),
            found,
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_body_in_signed_chunks_is_refused_in_words() {
    let fixture = Fixture::start(Setup::default()).await;
    let headers = [
        ("authorization", AUTHORIZATION),
        ("date", "d"),
        ("content-type", JSON),
        ("x-amz-target", LIST),
        ("content-encoding", "aws-chunked"),
    ];
    let answer = ask(
        &fixture,
        "POST /",
        &headers,
        "2;chunk-signature=0\r\n{}\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(answer.status, 400);
    assert!(
        answer
            .text()
            .contains("\"Message\":\"A body in signed chunks"),
        "{}",
        answer.text()
    );
}

/// A signed request in CBOR, as the SDK for Java sends it.
fn in_cbor(operation: &str, body: &[u8]) -> Vec<u8> {
    let head = head(operation).replace(JSON, CBOR);
    let head = format!("{head}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A CBOR map without a length before it.
fn map(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = vec![0xbf];
    for (name, value) in members {
        text(name, &mut out);
        out.extend_from_slice(value);
    }
    out.push(0xff);
    out
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend([0x78, u8::try_from(text.len()).expect("short")]);
    out.extend(text.as_bytes());
}

fn texts(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    text(value, &mut out);
    out
}

#[tokio::test]
async fn records_are_put_in_cbor_and_read_in_either_encoding() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut connection = Connection::open(fixture.addr).await;
    let stream = texts("flights");
    let data = b"\x44\x00\xff\xfe\x01";
    let put = map(&[
        ("StreamName", &stream),
        ("PartitionKey", b"\x61k"),
        ("Data", data),
    ]);
    connection.send(in_cbor("PutRecord", &put)).await;
    let answer = connection.answer().await.expect("an answer");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some(CBOR))
    );
    assert!(
        answer.text().contains("shardId-000000000000"),
        "{}",
        answer.text()
    );

    let iterator = texts(&iterator(&mut connection).await);
    let read = map(&[("ShardIterator", &iterator)]);
    connection.send(in_cbor("GetRecords", &read)).await;
    let answer = connection.answer().await.expect("an answer");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some(CBOR))
    );
    let found = answer
        .body
        .windows(10)
        .any(|at| at == b"Data\x44\x00\xff\xfe\x01l");
    assert!(found, "{}", answer.text());

    let iterator = self::iterator(&mut connection).await;
    let body = format!(r#"{{"ShardIterator":"{iterator}"}}"#);
    let answer = connection.ask("GetRecords", &body).await;
    assert!(
        answer.text().contains("\"Data\":\"AP/+AQ==\""),
        "{}",
        answer.text()
    );
    assert_eq!(fixture.held_bytes(), 0);
}

#[tokio::test]
async fn what_is_refused_in_cbor_is_answered_in_cbor() {
    let fixture = Fixture::start(Setup::default()).await;
    let over = vec![0; (16 << 20) + 1];
    let large = &fixture.budgets.bodies[2];
    let rows: [(&[u8], u16, &str); 5] = [
        (b"\xa1", 400, "SerializationException"),
        (b"{}", 400, "SerializationException"),
        (b"\xa0", 400, "ValidationException"),
        (&[0x81; 70_000], 400, "SerializationException"),
        (&over, 413, "RequestEntityTooLargeException"),
    ];
    let refused = async |body: &[u8], status, name: &str| {
        let mut connection = Connection::open(fixture.addr).await;
        connection.send(in_cbor("PutRecord", body)).await;
        let answer = connection.answer().await.expect("an answer");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some(CBOR)),
            "{name}"
        );
        assert!(
            answer.body.starts_with(b"\xa1\x66__type")
                || answer.body.starts_with(b"\xa2\x66__type")
        );
        assert!(answer.text().contains(name), "{}", answer.text());
    };
    for (body, status, name) in rows {
        refused(body, status, name).await;
    }
    let hog = large.take(large.free_bytes() - 1000).expect("free");
    refused(
        &over[..2 << 20],
        400,
        "ProvisionedThroughputExceededException",
    )
    .await;
    drop(hog);

    let unsigned = format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: {CBOR}\r\nx-amz-target: {LIST}\r\ncontent-length: 1\r\n\r\n"
    );
    let mut connection = Connection::open(fixture.addr).await;
    connection
        .send([unsigned.as_bytes(), b"\xa0"].concat())
        .await;
    let answer = connection.answer().await.expect("an answer");
    assert_eq!(answer.header("content-type"), Some(CBOR));
    assert!(
        answer.text().contains("MissingAuthenticationToken"),
        "{}",
        answer.text()
    );
    assert_eq!(fixture.held_bytes(), 0);
}
