//! Requests that no good client sends: each has a bounded end, and the next good one is served.

use std::time::Duration;

use millstream_clock::task;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{Connection, head, put_body, request};
use crate::fixture::{Fixture, Setup};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const LIMIT: Duration = Duration::from_secs(10);

/// HTTP/2's code for a peer that does too much.
const ENHANCE_YOUR_CALM: u8 = 11;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// POST, http, /, an authority of one byte: all from HPACK's static table.
const HEAD: &[u8] = b"\x83\x86\x84\x41\x01x";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short");
    let mut out = length.to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Sends what the server may refuse in the middle, and gives what it said until it closed.
async fn until_closed(fixture: &Fixture, bytes: &[u8]) -> Vec<u8> {
    let connection = Connection::open(fixture.addr).await;
    let (mut from, mut to) = connection.stream.into_split();
    let bytes = bytes.to_vec();
    let sending = task::spawn("sender", async move {
        let _refused = to.write_all(&bytes).await;
        to
    });
    let mut said = Vec::new();
    let mut part = [0; 4096];
    let reading = async {
        while let Ok(length @ 1..) = from.read(&mut part).await {
            said.extend_from_slice(&part[..length]);
            assert!(said.len() < 1 << 20, "it talks without end");
        }
    };
    task::timeout(LIMIT, reading).await.expect("it is closed");
    drop(sending.await);
    said
}

/// The error codes of the GOAWAY frames.
fn goaways(mut said: &[u8]) -> Vec<u8> {
    let mut codes = Vec::new();
    while let Some((head, rest)) = said.split_at_checked(9) {
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            break;
        };
        if head[3] == GOAWAY {
            codes.push(payload[7]);
        }
        said = rest;
    }
    codes
}

async fn serves_on(fixture: &Fixture) {
    let mut connection = Connection::open(fixture.addr).await;
    assert_eq!(connection.ask("PutRecord", &put_body(30)).await.status, 200);
    let nothing = |fixture: &Fixture| fixture.held_bytes() == 0;
    fixture.until("all memory is given back", nothing).await;
}

#[tokio::test]
async fn bodies_of_rubbish_are_answered_one_by_one_on_one_connection() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut connection = Connection::open(fixture.addr).await;
    let deep = "[".repeat(1 << 20);
    let wide = format!("[{}0]", "0,".repeat(1 << 19));
    let key = r#"{"StreamName":"flights","Data":"","PartitionKey":""#;
    let bodies: [(&str, Vec<u8>); 7] = [
        ("deep", deep.into()),
        ("wide", wide.into()),
        ("no UTF-8", [key.as_bytes(), b"\xff\xfe\"}"].concat()),
        ("half a surrogate", format!("{key}\\ud800\"}}").into()),
        ("a zero byte", [key.as_bytes(), b"\0\"}"].concat()),
        ("cut off", key.into()),
        ("two", b"{}{}".to_vec()),
    ];
    for (what, body) in bodies {
        let head = format!(
            "{}content-length: {}\r\n\r\n",
            head("PutRecord"),
            body.len()
        );
        connection.send([head.as_bytes(), &body].concat()).await;
        let answer = connection.answer().await.expect("an answer");
        assert_eq!(answer.status, 400, "{what}");
        let text = answer.text();
        assert!(text.contains("SerializationException"), "{what}: {text}");
    }
    assert_eq!(connection.ask("PutRecord", &put_body(30)).await.status, 200);
    assert_eq!(fixture.held_bytes(), 0);
}

#[tokio::test]
async fn heads_that_are_too_large_or_contradict_themselves_end_the_connection() {
    let fixture = Fixture::start(Setup::default()).await;
    let start = head("PutRecord");
    let body = r#"{"StreamName":"flights"}"#;
    let rows = [
        (
            "a large header",
            format!("x: {}\r\n", "a".repeat(1 << 20)),
            "431",
        ),
        ("many headers", "x: y\r\n".repeat(1000), "431"),
        (
            "two lengths",
            "content-length: 2\r\ncontent-length: 3\r\n".to_owned(),
            "400",
        ),
        (
            "a length below zero",
            "content-length: -1\r\n".to_owned(),
            "400",
        ),
        (
            "an endless length",
            format!("content-length: {}\r\n", "9".repeat(30)),
            "400",
        ),
        (
            "a name with a blank",
            "content length: 2\r\n".to_owned(),
            "400",
        ),
        (
            "chunks of no size",
            "transfer-encoding: chunked\r\n\r\nxyz\r\n".to_owned(),
            "408",
        ),
    ];
    for (what, more, status) in rows {
        let said = until_closed(&fixture, format!("{start}{more}\r\n{body}").as_bytes()).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        let wanted = format!("HTTP/1.1 {status}");
        assert!(said.starts_with(&wanted), "{what}: {said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{what}: {said}");
    }
    serves_on(&fixture).await;
}

#[tokio::test]
async fn a_request_hidden_behind_two_lengths_is_not_carried_out() {
    let fixture = Fixture::start(Setup::default()).await;
    let hidden = String::from_utf8(request("ListStreams", "{}")).expect("text");
    let both = format!(
        "{}content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        head("ListStreams"),
        5 + hidden.len()
    );
    let said = until_closed(&fixture, both.as_bytes()).await;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.matches("HTTP/1.1").count() <= 1, "{said}");
    assert!(!said.contains("StreamNames"), "{said}");
    serves_on(&fixture).await;
}

#[tokio::test]
async fn streams_of_http2_that_are_reset_at_once_are_stopped() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for number in 0..10_000 {
        let stream = 2 * number + 1;
        bytes.extend(frame(HEADERS, END_HEADERS, stream, HEAD));
        bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    let said = until_closed(&fixture, &bytes).await;
    assert_eq!(goaways(&said), [ENHANCE_YOUR_CALM]);
    serves_on(&fixture).await;
}

#[tokio::test]
async fn headers_of_http2_that_do_not_end_are_stopped() {
    let fixture = Fixture::start(Setup::default()).await;
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    bytes.extend(frame(HEADERS, 0, 1, HEAD));
    // A header that is not kept, of a name and a value of 500 bytes each.
    let mut more = vec![0x10, 0x7f, 0xf5, 0x02];
    more.extend([b'a'; 500]);
    more.extend([0x7f, 0xf5, 0x02]);
    more.extend([b'b'; 500]);
    for _ in 0..10_000 {
        bytes.extend(frame(CONTINUATION, 0, 1, &more));
    }
    let said = until_closed(&fixture, &bytes).await;
    assert_eq!(goaways(&said), [ENHANCE_YOUR_CALM]);
    serves_on(&fixture).await;
}
