//! The table of malformed requests (`data-plane/protocol/tests/malformed`), every row over HTTP
//! against a gateway with streams and a control plane behind it.

#[path = "../../../protocol/tests/it/malformed/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream_chassis::drain::drain;
use millstream_chassis::{MemoryPlan, Metrics};
use millstream_clock::{Entropy, SeededEntropy, SystemClock, task};
use millstream_gateway::{Drained, Gateway, Options};
use millstream_server::local_control::{self, LocalControl};
use millstream_storage::memory::MemoryStore;
use millstream_stream::{Streams, TokenKey};
use millstream_types::Scope;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use table::Row;

/// Longest time for one answer; a test that waits longer has failed.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// A signature as loopback mode takes it.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
     Credential=key/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00";

#[tokio::test]
async fn malformed_requests_are_answered_over_http_as_on_aws() {
    let data_dir = tempfile::tempdir().expect("a folder");
    let gateway = gateway(data_dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = drain();
    let server = task::spawn("gateway", gateway.run(listener, stopped, ANSWER_TIME));
    create_the_table_stream(address).await;

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/malformed");
    let rows = table::read(&folder);
    let mut wrong = Vec::new();
    for row in &rows {
        let wanted = (
            row.status,
            row.answer_type.map(str::to_owned),
            row.answer.clone(),
        );
        let (target, content_type) = (row.target.as_deref(), row.content_type.as_deref());
        let found = send(address, target, content_type, &row.body).await;
        if found != wanted {
            let (wanted, found) = (show(&wanted), show(&found));
            wrong.push(format!(
                "{}\n  wanted {wanted}\n  found  {found}",
                name(row)
            ));
        }
    }
    stop.begin();
    assert_eq!(server.await.expect("the gateway ends"), Drained::All);
    assert!(
        rows.iter().any(|row| row.needs_server),
        "the table has rows for a server"
    );
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

/// A gateway over an empty store in memory, with the account and region of the table.
fn gateway(data_dir: &Path) -> Gateway<MemoryStore, LocalControl<MemoryStore>> {
    let scope = Scope {
        account: "000000000000".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    };
    let clock = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
    let streams = Streams::open(
        Arc::new(MemoryStore::new(clock.clone())),
        millstream_stream::Options::default(),
        clock.clone(),
        Arc::clone(&entropy),
        &TokenKey::new([7; TokenKey::BYTES]),
    );
    let streams = streams.expect("an empty store opens");
    let options = local_control::Options {
        data_dir: data_dir.to_owned(),
        scope: scope.clone(),
    };
    let control = Arc::new(LocalControl::new(options, streams.clone()));
    let plan = MemoryPlan::new(512 * 1024 * 1024).expect("enough");
    Gateway::new(
        Options::new(scope, plan),
        streams,
        control,
        Metrics::new(),
        clock,
        &*entropy,
    )
}

/// The stream that the rows are about: three shards, active.
async fn create_the_table_stream(address: SocketAddr) {
    let target = "Kinesis_20131202.CreateStream";
    let body = r#"{"StreamName":"table","ShardCount":3}"#;
    let created = send(
        address,
        Some(target),
        Some("application/x-amz-json-1.1"),
        body,
    )
    .await;
    assert_eq!(created.0, 200, "{}", show(&created));
}

fn name(row: &Row) -> String {
    let guess = if row.is_guess() { " (guessed)" } else { "" };
    format!(
        "{} [{}]{guess}, from {}",
        row.title(),
        row.class,
        row.source
    )
}

type Answer = (u16, Option<String>, Vec<u8>);

fn show((status, content_type, body): &Answer) -> String {
    let body = String::from_utf8_lossy(body);
    let body: String = body.chars().take(600).collect();
    format!("{status} {content_type:?} {body}")
}

/// One request on a connection of its own, and its answer.
async fn send(
    address: SocketAddr,
    target: Option<&str>,
    content_type: Option<&str>,
    body: &str,
) -> Answer {
    let exchange = async {
        let mut connection = TcpStream::connect(address)
            .await
            .expect("the gateway listens");
        let header = |name: &str, value: Option<&str>| {
            value.map_or_else(String::new, |value| format!("{name}: {value}\r\n"))
        };
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             x-amz-date: 20260101T000000Z\r\nauthorization: {AUTHORIZATION}\r\n{}{}\
             content-length: {}\r\n\r\n",
            header("x-amz-target", target),
            header("content-type", content_type),
            body.len(),
        );
        connection.write_all(head.as_bytes()).await.expect("sent");
        connection.write_all(body.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        connection
            .read_to_end(&mut answer)
            .await
            .expect("an answer");
        answer
    };
    let answer = task::timeout(ANSWER_TIME, exchange)
        .await
        .expect("an answer in time");
    parse(&answer)
}

/// Status, content type and body of an answer, which must have a request id and a true length.
fn parse(answer: &[u8]) -> Answer {
    let end = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head");
    let head = std::str::from_utf8(&answer[..end]).expect("text");
    let body = answer[end + 4..].to_vec();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers: BTreeMap<_, _> = lines.filter_map(|line| line.split_once(": ")).collect();
    assert!(headers.contains_key("x-amzn-requestid"), "{head}");
    assert_eq!(
        headers.get("content-length"),
        Some(&&*body.len().to_string()),
        "{head}"
    );
    let content_type = headers.get("content-type").map(|value| (*value).to_owned());
    let status = status.and_then(|status| status.parse().ok());
    (status.expect("a status"), content_type, body)
}
