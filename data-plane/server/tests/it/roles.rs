//! Gateways and shard servers as processes of their own, under an operator, on loopback.

#![expect(
    clippy::panic,
    reason = "helpers of tests, outside of any test function"
)]

mod operator;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use millstream_clock::{Clock as _, SystemClock};
use millstream_control::{Role, StreamPhase};
use millstream_types::Epoch;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::operator::{NAMESPACE, Operator, POOL, pod_of, token_of};
use crate::program::{command, exchange, free_port};

const REGION: &str = "us-east-1";
const SHARDS: u32 = 4;
/// Longest wait for a process to be ready, or for a stream to be there.
const TRIES: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);
const ANSWER_TIME: Duration = Duration::from_secs(30);

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..TRIES {
        if let Some(found) = ask() {
            return found;
        }
        thread::sleep(PAUSE);
    }
    panic!("{what} did not happen in {:?}", PAUSE * TRIES);
}

/// A member of the cluster, started or not.
struct Member {
    role: &'static str,
    pod: String,
    folder: PathBuf,
    /// Of the API or of the port for gateways.
    port: u16,
    admin: u16,
    child: Option<Child>,
}

impl Member {
    fn new(home: &Path, role: &'static str, pod: String) -> Self {
        let folder = home.join(&pod);
        fs::create_dir(&folder).expect("made");
        fs::write(folder.join("token"), token_of(&pod)).expect("written");
        Self {
            role,
            pod,
            folder,
            port: free_port(),
            admin: free_port(),
            child: None,
        }
    }

    fn start(&mut self, operator: &str, bundle: &str) {
        let ca = self.folder.join("ca.pem");
        fs::write(&ca, bundle).expect("written");
        let mut command = command(&self.folder.join("data"), &["--role", self.role]);
        let listen = loopback(self.port).to_string();
        command.args(match self.role {
            "gateway" => ["--auth", "verify", "--listen", &listen],
            _ => ["--pool", POOL, "--rpc-listen", &listen],
        });
        command.args(["--admin-listen", &loopback(self.admin).to_string()]);
        command.args(["--operator", operator]);
        command.arg("--token-file").arg(self.folder.join("token"));
        command.arg("--ca-file").arg(ca);
        // As a pod gives them.
        command
            .env("POD_NAME", &self.pod)
            .env("POD_NAMESPACE", NAMESPACE);
        command.env("MILLSTREAM_LOG", "warn").stdout(Stdio::null());
        self.child = Some(command.spawn().expect("started"));
    }

    /// What the admin port answers; none when it does not.
    fn admin(&self, path: &str) -> Option<(u16, String)> {
        let stream = TcpStream::connect(loopback(self.admin)).ok()?;
        stream.set_read_timeout(Some(ANSWER_TIME)).expect("set");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        exchange(stream, &request)
    }

    fn is_ready(&self) -> bool {
        let answer = self.admin("/readyz");
        answer.is_some_and(|(status, _)| status == 200)
    }

    fn wait_ready(&self) {
        until(&format!("{} ready", self.pod), || {
            self.is_ready().then_some(())
        });
    }

    /// Ends the process without a word, as a lost machine does.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("waited");
        }
    }

    /// Calls an operation at this gateway; none when there is no answer.
    fn call(&self, operation: &str, body: &Value) -> Option<(u16, Value)> {
        let stream = TcpStream::connect(loopback(self.port)).ok()?;
        stream.set_read_timeout(Some(ANSWER_TIME)).expect("set");
        let (status, body) = exchange(stream, &signed(operation, &body.to_string()))?;
        Some((status, serde_json::from_str(&body).unwrap_or_default()))
    }

    fn must(&self, operation: &str, body: &Value) -> Value {
        let (status, answer) = self.call(operation, body).expect("an answer");
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A request signed with the key that the operator gives, closing its connection.
fn signed(operation: &str, body: &str) -> String {
    let now = Duration::from_millis(SystemClock::new().now().0);
    let identity = Credentials::new("ours", "ours-secret", None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("kinesis")
        .time(SystemTime::UNIX_EPOCH + now)
        .settings(SigningSettings::default())
        .build()
        .expect("whole")
        .into();
    let target = format!("Kinesis_20131202.{operation}");
    let headers = [
        ("host", "x"),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", target.as_str()),
    ];
    let signable = SignableBody::Bytes(body.as_bytes());
    let request = SignableRequest::new("POST", "http://x/", headers.into_iter(), signable);
    let signed = sign(request.expect("a request"), &params).expect("signed");
    let mut text = "POST / HTTP/1.1\r\nconnection: close\r\n".to_owned();
    for (name, value) in headers.into_iter().chain(signed.output().headers()) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{text}content-length: {}\r\n\r\n{body}", body.len())
}

/// Two shard servers and two gateways.
struct Cluster {
    operator: Option<Operator>,
    operator_address: String,
    bundle: String,
    shards: Vec<Member>,
    gateways: Vec<Member>,
    _home: TempDir,
}

impl Cluster {
    fn start() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let member = |role, pod| Member::new(home.path(), role, pod);
        let mut shards: Vec<Member> = (0..2).map(|n| member("shard", pod_of(n))).collect();
        let gateways = ["gateway-0", "gateway-1"].map(|pod| member("gateway", pod.to_owned()));
        let addresses = shards.iter().map(|shard| loopback(shard.port).into());
        let operator = Operator::start(addresses.collect());
        let (address, bundle) = (operator.address.to_string(), operator.bundle.clone());
        let mut gateways = Vec::from(gateways);
        for member in shards.iter_mut().chain(&mut gateways) {
            member.start(&address, &bundle);
        }
        let cluster = Self {
            operator: Some(operator),
            operator_address: address,
            bundle,
            shards,
            gateways,
            _home: home,
        };
        for member in cluster.shards.iter().chain(&cluster.gateways) {
            member.wait_ready();
        }
        cluster
    }

    fn create(&self, name: &str) {
        let body = json!({"StreamName": name, "ShardCount": SHARDS});
        self.gateways[0].must("CreateStream", &body);
        for gateway in &self.gateways {
            until("the stream active", || {
                let body = json!({"StreamName": name});
                let (status, answer) = gateway.call("DescribeStreamSummary", &body)?;
                let active = &answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE";
                (status == 200 && active).then_some(())
            });
        }
    }
}

/// Puts records with growing numbers, and keeps what was acknowledged where.
#[derive(Default)]
struct Writer {
    next: u64,
    /// By shard: sequence number and payload, in the order of the acknowledgements.
    acked: BTreeMap<String, Vec<(String, u64)>>,
    failed: u64,
}

impl Writer {
    /// One PutRecords with a record for each shard.
    fn put(&mut self, gateway: &Member, stream: &str) {
        let first = self.next;
        self.next += u64::from(SHARDS);
        let records: Vec<Value> = (0..u128::from(SHARDS))
            .zip(first..)
            .map(|(shard, number)| {
                let key = u128::MAX / u128::from(SHARDS) * shard + 1_000;
                json!({
                    "PartitionKey": "k",
                    "ExplicitHashKey": key.to_string(),
                    "Data": base64_simd::STANDARD.encode_to_string(number.to_string()),
                })
            })
            .collect();
        let body = json!({"StreamName": stream, "Records": records});
        let Some((200, answer)) = gateway.call("PutRecords", &body) else {
            self.failed += u64::from(SHARDS);
            return;
        };
        for (result, number) in answer["Records"]
            .as_array()
            .into_iter()
            .flatten()
            .zip(first..)
        {
            match (
                result["ShardId"].as_str(),
                result["SequenceNumber"].as_str(),
            ) {
                (Some(shard), Some(sequence)) => {
                    let acked = self.acked.entry(shard.to_owned()).or_default();
                    acked.push((sequence.to_owned(), number));
                },
                _ => self.failed += 1,
            }
        }
    }

    fn rounds(&mut self, count: usize, gateways: &[&Member], stream: &str) {
        for gateway in gateways.iter().cycle().take(count) {
            self.put(gateway, stream);
        }
    }

    fn acked(&self) -> usize {
        self.acked.values().map(Vec::len).sum()
    }

    /// Every acknowledged record is read back at its number, in order, and no payload twice.
    fn check(&self, gateway: &Member, stream: &str) {
        let mut payloads = BTreeSet::new();
        for shard in 0..SHARDS {
            let shard = format!("shardId-{shard:012}");
            let read = read(gateway, stream, &shard);
            for (_, payload) in &read {
                assert!(payloads.insert(*payload), "{payload} is there twice");
            }
            let acked = self.acked.get(&shard).map_or(&[][..], Vec::as_slice);
            let mut read = read.iter();
            for wanted in acked {
                let found = read.any(|record| record == wanted);
                assert!(found, "{wanted:?} of {shard} is missing or out of order");
            }
        }
    }
}

/// All records of a shard: sequence number and payload.
fn read(gateway: &Member, stream: &str, shard: &str) -> Vec<(String, u64)> {
    let body = json!({
        "StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON",
    });
    let given = gateway.must("GetShardIterator", &body);
    let mut iterator = given["ShardIterator"].clone();
    let mut all = Vec::new();
    loop {
        let page = gateway.must(
            "GetRecords",
            &json!({"ShardIterator": iterator, "Limit": 50}),
        );
        for record in page["Records"].as_array().into_iter().flatten() {
            let data = record["Data"].as_str().unwrap_or_default();
            let data = base64_simd::STANDARD.decode_to_vec(data).expect("base64");
            let payload = std::str::from_utf8(&data).expect("a number").parse();
            let sequence = record["SequenceNumber"].as_str().unwrap_or_default();
            all.push((sequence.to_owned(), payload.expect("a number")));
        }
        if page["MillisBehindLatest"] == 0 {
            return all;
        }
        iterator = page["NextShardIterator"].clone();
    }
}

#[test]
fn acknowledged_records_outlive_every_process() {
    let mut cluster = Cluster::start();
    cluster.create("flights");
    let mut writer = Writer::default();
    let both: Vec<&Member> = cluster.gateways.iter().collect();
    writer.rounds(20, &both, "flights");
    assert_eq!(
        (writer.acked(), writer.failed),
        (80, 0),
        "nothing is wrong yet"
    );

    // A shard server is lost: its shards fail, those of the other one do not.
    cluster.shards[1].kill();
    let both: Vec<&Member> = cluster.gateways.iter().collect();
    writer.rounds(2, &both, "flights");
    assert_eq!((writer.acked(), writer.failed), (84, 4));
    cluster.shards[1].start(&cluster.operator_address, &cluster.bundle);
    cluster.shards[1].wait_ready();
    let both: Vec<&Member> = cluster.gateways.iter().collect();
    writer.rounds(10, &both, "flights");
    assert_eq!(
        (writer.acked(), writer.failed),
        (124, 4),
        "it is back in its next life"
    );
    writer.check(&cluster.gateways[0], "flights");

    // A gateway is lost: the other one knows everything.
    cluster.gateways[0].kill();
    writer.rounds(5, &[&cluster.gateways[1]], "flights");
    writer.check(&cluster.gateways[1], "flights");

    // The operator is lost, and everything else begins again without it.
    drop(cluster.operator.take());
    writer.rounds(5, &[&cluster.gateways[1]], "flights");
    cluster.gateways[1].kill();
    for shard in &mut cluster.shards {
        shard.kill();
    }
    for member in cluster.shards.iter_mut().chain(&mut cluster.gateways) {
        member.start(&cluster.operator_address, &cluster.bundle);
    }
    for member in cluster.shards.iter().chain(&cluster.gateways) {
        member.wait_ready();
    }
    let both: Vec<&Member> = cluster.gateways.iter().collect();
    writer.rounds(10, &both, "flights");
    assert_eq!((writer.acked(), writer.failed), (204, 4));
    for gateway in &cluster.gateways {
        writer.check(gateway, "flights");
    }
    // What needs the operator says so.
    let body = json!({"StreamName": "more", "ShardCount": 1});
    let refused = cluster.gateways[0].call("CreateStream", &body);
    assert_eq!(refused.expect("an answer").0, 500);
}

#[test]
fn a_home_reports_how_far_its_streams_are() {
    let cluster = Cluster::start();
    cluster.create("flights");
    let operator = cluster.operator.as_ref().expect("it runs");
    let reported = |phase: StreamPhase| {
        until(&format!("{phase:?}"), || {
            let state = operator.observed(Role::Shard, &pod_of(0))?;
            let all_well = state.health.ready && state.epoch > Epoch(0);
            let stream = state.streams.into_iter().next()?;
            (all_well && stream.phase == phase).then_some(stream)
        })
    };
    let stream = reported(StreamPhase::Active);
    assert_eq!((stream.shard_count, stream.groups.len()), (SHARDS, 2));
    assert_eq!(stream.message, None);
    cluster.gateways[0].must("DeleteStream", &json!({"StreamName": "flights"}));
    reported(StreamPhase::Gone);
    // It has asked the other server, and counts that as a client.
    let (_, metrics) = cluster.shards[0].admin("/metrics").expect("metrics");
    for call in ["OpenShards", "DropShards"] {
        let counted =
            format!(r#"millstream_rpc_calls_total{{side="client",call="{call}",outcome="done"}} "#);
        assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
    }
}

#[test]
fn a_deleted_stream_is_gone_at_every_gateway_and_its_name_is_free() {
    let cluster = Cluster::start();
    cluster.create("short");
    let mut writer = Writer::default();
    writer.rounds(2, &[&cluster.gateways[0]], "short");
    cluster.gateways[0].must("DeleteStream", &json!({"StreamName": "short"}));
    for gateway in &cluster.gateways {
        until("the stream gone", || {
            let (status, _) =
                gateway.call("DescribeStreamSummary", &json!({"StreamName": "short"}))?;
            (status == 400).then_some(())
        });
    }
    cluster.create("short");
    let empty = read(&cluster.gateways[1], "short", "shardId-000000000000");
    assert!(empty.is_empty(), "it never meets old data");
}
