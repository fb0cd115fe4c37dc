//! Verified signatures over sockets: accounts, errors, new keys while it runs.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Identity;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use millstream_clock::{Clock as _, SystemClock};
use millstream_gateway::{Auth, Budgets, Credentials, Timeouts};
use millstream_protocol::sigv4::{AccessKey, Secret, UNSIGNED_PAYLOAD};
use millstream_stream::{NewStream, Settings};
use millstream_types::{Scope, StreamMode};
use tokio::io::AsyncWriteExt as _;

use crate::client::{Answer, Connection, put_body};
use crate::fixture::{Fixture, STREAM, Setup, home};

const HOME_ACCOUNT: &str = "000000000000";
const OTHER_ACCOUNT: &str = "111122223333";

/// A key `id` whose secret is `<id>-secret`.
fn key(id: &str, account: &str) -> AccessKey {
    AccessKey {
        id: id.to_owned(),
        secret: Secret::new(format!("{id}-secret")),
        account: account.parse().expect("an account"),
        session_token: None,
    }
}

/// How a test signs.
#[derive(Clone, Copy)]
struct Signer<'a> {
    id: &'a str,
    secret: &'a str,
    region: &'a str,
    late: Duration,
    unsigned_body: bool,
}

impl Default for Signer<'_> {
    fn default() -> Self {
        Self {
            id: "ours",
            secret: "ours-secret",
            region: "us-east-1",
            late: Duration::ZERO,
            unsigned_body: false,
        }
    }
}

impl Signer<'_> {
    /// A whole HTTP/1.1 request.
    fn request(self, operation: &str, body: &str) -> String {
        let now = Duration::from_millis(SystemClock::new().now().0);
        let identity = Identity::new(self.id, self.secret, None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name("kinesis")
            .time(SystemTime::UNIX_EPOCH + now - self.late)
            .settings(SigningSettings::default())
            .build()
            .expect("whole")
            .into();
        let target = format!("Kinesis_20131202.{operation}");
        let mut headers = vec![
            ("host", "x".to_owned()),
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", target),
        ];
        let mut signable = SignableBody::Bytes(body.as_bytes());
        if self.unsigned_body {
            headers.push(("x-amz-content-sha256", UNSIGNED_PAYLOAD.to_owned()));
            signable = SignableBody::UnsignedPayload;
        }
        let named = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let request = SignableRequest::new("POST", "http://x/", named, signable);
        let signed = sign(request.expect("a request"), &params).expect("signed");
        let mut text = "POST / HTTP/1.1\r\n".to_owned();
        for (name, value) in &headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in signed.output().headers() {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{text}content-length: {}\r\n\r\n{body}", body.len())
    }

    async fn ask(self, fixture: &Fixture, operation: &str, body: &str) -> Answer {
        let mut connection = Connection::open(fixture.addr).await;
        connection.send(self.request(operation, body)).await;
        connection.answer().await.expect("an answer")
    }
}

async fn fixture(credentials: &Credentials) -> Fixture {
    let auth = Auth::Verify(credentials.clone());
    Fixture::start(Setup {
        auth,
        ..Setup::default()
    })
    .await
}

#[tokio::test]
async fn accounts_never_see_one_anothers_streams() {
    let keys = [key("ours", HOME_ACCOUNT), key("theirs", OTHER_ACCOUNT)];
    let fixture = fixture(&Credentials::new(keys.to_vec())).await;
    let theirs = Scope {
        account: OTHER_ACCOUNT.parse().expect("an account"),
        ..home()
    };
    let stream = NewStream {
        name: "secret-flights".parse().expect("a name"),
        mode: StreamMode::Provisioned,
        shard_count: 1,
        settings: Settings::default(),
    };
    fixture.streams.create(&theirs, stream).await.expect("made");
    let us = Signer::default();
    let them = Signer {
        id: "theirs",
        secret: "theirs-secret",
        ..us
    };
    for (signer, account, own, other, foreign) in [
        (us, HOME_ACCOUNT, STREAM, "secret-flights", OTHER_ACCOUNT),
        (them, OTHER_ACCOUNT, "secret-flights", STREAM, HOME_ACCOUNT),
    ] {
        let listed = signer.ask(&fixture, "ListStreams", "{}").await.text();
        assert!(
            listed.contains(&format!("\"StreamNames\":[\"{own}\"]")),
            "{listed}"
        );
        assert!(
            listed.contains(&format!(":{account}:stream/{own}")),
            "{listed}"
        );
        for body in [
            format!(r#"{{"StreamName":"{other}"}}"#),
            format!(r#"{{"StreamARN":"arn:aws:kinesis:us-east-1:{foreign}:stream/{other}"}}"#),
        ] {
            let described = signer.ask(&fixture, "DescribeStreamSummary", &body).await;
            let text = described.text();
            assert!(text.contains("ResourceNotFoundException"), "{text}");
        }
        let put = format!(r#"{{"StreamName":"{other}","PartitionKey":"k","Data":"QQ=="}}"#);
        let put = signer.ask(&fixture, "PutRecord", &put).await.text();
        assert!(put.contains("ResourceNotFoundException"), "{put}");
    }
    // An iterator is of its account, too.
    let start = format!(
        r#"{{"StreamName":"{STREAM}","ShardId":"shardId-000000000000",
            "ShardIteratorType":"TRIM_HORIZON"}}"#
    );
    let iterator = us.ask(&fixture, "GetShardIterator", &start).await.text();
    assert_eq!(us.ask(&fixture, "GetRecords", &iterator).await.status, 200);
    let refused = them.ask(&fixture, "GetRecords", &iterator).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[tokio::test]
async fn what_is_signed_wrongly_is_refused_and_counted_by_its_error() {
    let fixture = fixture(&Credentials::new(vec![key("ours", HOME_ACCOUNT)])).await;
    let right = Signer::default();
    let late = Duration::from_secs(301);
    let elsewhere = "Credential should be scoped to a valid region, not 'eu-west-3'. ";
    for (signer, error, text) in [
        (
            Signer { id: "x", ..right },
            "UnrecognizedClientException",
            "security token",
        ),
        (
            Signer {
                secret: "x",
                ..right
            },
            "InvalidSignatureException",
            "we calculated",
        ),
        (
            Signer {
                region: "eu-west-3",
                ..right
            },
            "InvalidSignatureException",
            elsewhere,
        ),
        (
            Signer { late, ..right },
            "InvalidSignatureException",
            "Signature expired",
        ),
        (
            Signer {
                unsigned_body: true,
                ..right
            },
            "InvalidSignatureException",
            "over TLS only",
        ),
    ] {
        let answer = signer.ask(&fixture, "PutRecord", &put_body(30)).await;
        assert_eq!(answer.status, 400);
        let body = answer.text();
        assert!(body.contains(error) && body.contains(text), "{body}");
    }
    // A body that is no JSON counts before that, as it does without verification.
    let wrong = Signer { id: "x", ..right };
    let answer = wrong.ask(&fixture, "PutRecord", "hello").await.text();
    assert!(answer.contains("SerializationException"), "{answer}");
    let line = "millstream_http_requests_total{operation=\"PutRecord\",code=\"400\",\
                error=\"InvalidSignatureException\",version=\"1.1\"} 4";
    assert!(fixture.counted(line), "{}", fixture.metrics.text());
    let answer = right.ask(&fixture, "PutRecord", &put_body(30)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn one_changed_byte_of_a_signed_body_is_refused() {
    let fixture = fixture(&Credentials::new(vec![key("ours", HOME_ACCOUNT)])).await;
    let request = Signer::default().request("PutRecord", &put_body(30));
    let changed = request.replace("\"PartitionKey\":\"k\"", "\"PartitionKey\":\"j\"");
    assert_ne!(request, changed);
    for (bytes, status) in [(request, 200), (changed, 400)] {
        let mut connection = Connection::open(fixture.addr).await;
        connection.send(bytes).await;
        assert_eq!(connection.answer().await.expect("an answer").status, status);
    }
}

#[tokio::test]
async fn new_keys_count_from_the_next_request_on() {
    let credentials = Credentials::default();
    let fixture = fixture(&credentials).await;
    let ours = Signer::default();
    let statuses = [
        (vec![], 400),
        (vec![key("ours", HOME_ACCOUNT)], 200),
        (
            vec![key("new", HOME_ACCOUNT), key("ours", HOME_ACCOUNT)],
            200,
        ),
        (vec![key("new", HOME_ACCOUNT)], 400),
    ];
    for (keys, status) in statuses {
        credentials.replace(keys);
        let answer = ours.ask(&fixture, "PutRecord", &put_body(30)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[tokio::test]
async fn large_bodies_of_strangers_are_not_held() {
    let fixture = fixture(&Credentials::new(vec![key("ours", HOME_ACCOUNT)])).await;
    let right = Signer::default();
    let stranger = Signer { id: "x", ..right };
    let large = put_body(300 << 10);
    let whole = stranger.request("PutRecord", &large);
    let (head, body) = whole.split_once("\r\n\r\n").expect("a head");
    let mut connection = Connection::open(fixture.addr).await;
    connection.send(format!("{head}\r\n\r\n")).await;
    let (first, rest) = body.split_at(200 << 10);
    connection.send(first).await;
    // Long enough for the part to arrive; were it kept, it would be by then.
    millstream_clock::task::sleep(Duration::from_millis(200)).await;
    let held = fixture.held_bytes();
    assert!((1..4096).contains(&held), "its head alone: {held}");
    connection.send(rest).await;
    let answer = connection.answer().await.expect("an answer");
    assert!(
        answer.text().contains("UnrecognizedClientException"),
        "{}",
        answer.text()
    );
    // The connection goes on: the rest of the body was taken off it.
    connection.send(right.request("PutRecord", &large)).await;
    let answer = connection.answer().await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn strangers_who_stall_in_their_bodies_keep_nobody_out() {
    let fixture = fixture(&Credentials::new(vec![key("ours", HOME_ACCOUNT)])).await;
    let Budgets {
        bodies, strangers, ..
    } = &fixture.budgets;
    // What is left has room for a few of them.
    let left = [512 << 10, 0, 0];
    let hogs = bodies.iter().zip(left);
    let hogs = hogs.map(|(lane, left)| lane.take(lane.free_bytes() - left));
    let hogs: Vec<_> = hogs.map(|hog| hog.expect("free")).collect();
    let free = || bodies[0].free_bytes();
    let right = Signer::default();
    let stranger = Signer { id: "x", ..right };
    let whole = stranger.request("PutRecord", &put_body(45 << 10));
    let whole = whole.as_bytes();
    let mut stalled = Vec::new();
    for _ in 0..64 {
        let mut connection = Connection::open(fixture.addr).await;
        connection.send(&whole[..whole.len() - 1]).await;
        stalled.push(connection);
    }
    fixture
        .until("they have all that there is for them", |f| {
            f.budgets.strangers.refused() > 0
        })
        .await;
    assert_eq!(free(), left[0], "nothing of what others need");
    let put =
        format!(r#"{{"StreamName":"{STREAM}","Records":[{{"PartitionKey":"k","Data":"QQ=="}}]}}"#);
    let answer = right.ask(&fixture, "PutRecords", &put).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Without room it is not looked whether a body is JSON.
    let rest = strangers.take(strangers.free_bytes());
    let answer = stranger.ask(&fixture, "PutRecord", "hello").await.text();
    assert!(answer.contains("UnrecognizedClientException"), "{answer}");
    drop((stalled, hogs, rest));
    fixture
        .until("all is given back", |f| f.held_bytes() == 0)
        .await;
    let answer = stranger.ask(&fixture, "PutRecord", "hello").await.text();
    assert!(answer.contains("SerializationException"), "{answer}");
}

#[tokio::test]
async fn a_stranger_without_memory_for_its_head_is_not_waited_for() {
    let credentials = Credentials::new(vec![key("ours", HOME_ACCOUNT)]);
    let hour = Duration::from_secs(3600);
    let fixture = Fixture::start(Setup {
        auth: Auth::Verify(credentials),
        timeouts: Timeouts {
            body_pause: hour,
            body_drop: hour,
            ..Timeouts::DEFAULT
        },
        ..Setup::default()
    })
    .await;
    let stranger = Signer {
        id: "x",
        ..Signer::default()
    };
    let strangers = &fixture.budgets.strangers;
    for bytes in [10, 300 << 10] {
        let whole = stranger.request("PutRecord", &put_body(bytes));
        let part = &whole.as_bytes()[..whole.len() - 1];
        let mut waits = Connection::open(fixture.addr).await;
        waits.send(part).await;
        let held = |f: &Fixture| f.budgets.strangers.used_bytes() > 500;
        fixture.until("its head is held", held).await;
        let rest = strangers.take(strangers.free_bytes());
        let mut connection = Connection::open(fixture.addr).await;
        let _cut = connection.stream.write_all(part).await;
        let answer = connection.answer().await.expect("an answer").text();
        assert!(answer.contains("UnrecognizedClientException"), "{answer}");
        drop((rest, waits));
        let nothing = |f: &Fixture| f.held_bytes() == 0;
        fixture.until("all is given back", nothing).await;
    }
}
