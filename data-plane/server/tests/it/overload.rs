//! 512 slow bodies of 14 MiB and 512 readers that do not read: memory stays bounded, and healthy
//! clients are served all the while.

#![expect(
    clippy::panic,
    reason = "helpers of tests, outside of any test function"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use millstream_clock::task;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::program::{Program, head, request};

const MIB: usize = 1 << 20;
const MEMORY_MIB: usize = 256;
/// What the process may use beside `--memory-bytes`.
const BESIDE_MIB: usize = 128;
const SLOW: usize = 512;
const STALLED: usize = 512;
const HEALTHY: usize = 8;
/// Rounds of each healthy client under attack; a round is four requests.
const ROUNDS: usize = 100;
/// Longest wait of a healthy client for one answer. Far above what it takes: only a client that is
/// not served at all reaches it.
const ANSWER_TIME: Duration = Duration::from_secs(20);
const BODY_MIB: usize = 14;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_and_stalled_readers_leave_room_for_healthy_clients() {
    let data = tempfile::tempdir().expect("a folder");
    let memory = format!("{MEMORY_MIB}MiB");
    let server = Arc::new(Program::start(data.path(), &["--memory-bytes", &memory]));
    for stream in ["large", "small"] {
        let body = format!(r#"{{"StreamName":"{stream}","ShardCount":1}}"#);
        assert_eq!(server.call("CreateStream", &body).0, 200);
    }
    for _ in 0..12 {
        let (status, text) = server.call("PutRecord", &put("large", MIB / 3 * 4 - 64));
        assert_eq!(status, 200, "{text}");
    }
    let page = server.call("GetShardIterator", &iterator("large")).1;
    let attack = Arc::new(Attack::default());
    let mut attackers = Vec::new();
    for _ in 0..SLOW {
        attackers.push(task::spawn(
            "slow",
            slow_body(server.addr, Arc::clone(&attack)),
        ));
    }
    for _ in 0..STALLED {
        let stalled = stalled_reader(server.addr, page.clone(), Arc::clone(&attack));
        attackers.push(task::spawn("stalled", stalled));
    }
    attack.under_way().await;
    let clients: Vec<_> = (0..HEALTHY)
        .map(|_| task::spawn("healthy", healthy(server.addr)))
        .collect();
    for client in clients {
        client.await.expect("a healthy client is served");
    }
    attack.ends.store(true, Ordering::Relaxed);
    for attacker in attackers {
        attacker.abort();
    }
    let peak_mib = peak_rss_mib(server.id());
    println!("peak RSS: {peak_mib} MiB");
    let metrics = server.admin_page("/metrics");
    assert!(
        peak_mib < MEMORY_MIB + BESIDE_MIB,
        "peak RSS was {peak_mib} MiB\n{metrics}"
    );
}

/// What the attackers did.
#[derive(Debug, Default)]
struct Attack {
    slow: AtomicUsize,
    stalled: AtomicUsize,
    refused: AtomicUsize,
    ends: AtomicBool,
}

impl Attack {
    /// Waits until every attacker is at work and has met a limit.
    async fn under_way(&self) {
        for _ in 0..2000 {
            let slow = self.slow.load(Ordering::Relaxed);
            let stalled = self.stalled.load(Ordering::Relaxed);
            let refused = self.refused.load(Ordering::Relaxed);
            if slow >= SLOW && stalled >= STALLED && refused >= SLOW / 4 {
                return;
            }
            task::sleep(Duration::from_millis(10)).await;
        }
        panic!("the attackers are not at work after 20 s");
    }
}

/// Sends a body of 14 MiB, some of it at once and then just fast enough; begins anew when refused.
async fn slow_body(addr: SocketAddr, attack: Arc<Attack>) {
    let part = vec![b' '; 64 << 10];
    let mut first = true;
    while !attack.ends.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(addr).await else {
            task::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let length = BODY_MIB * MIB;
        let head = format!("{}content-length: {length}\r\n\r\n", head("PutRecord"));
        let mut going = stream.write_all(head.as_bytes()).await.is_ok();
        going &= stream.write_all(&part).await.is_ok();
        if std::mem::take(&mut first) {
            attack.slow.fetch_add(1, Ordering::Relaxed);
        }
        let mut answer = [0; 12];
        while going && stream.try_read(&mut answer).is_err() {
            task::sleep(Duration::from_millis(200)).await;
            going = stream.write_all(&part[..32 << 10]).await.is_ok();
        }
        attack.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Asks for a page of 10 MiB and does not read it; asks again once it must have been cut.
async fn stalled_reader(addr: SocketAddr, ask: String, attack: Arc<Attack>) {
    let mut first = true;
    while !attack.ends.load(Ordering::Relaxed) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("set");
        let Ok(mut stream) = socket.connect(addr).await else {
            task::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let asked = stream
            .write_all(request("GetRecords", &ask, "").as_bytes())
            .await;
        if std::mem::take(&mut first) {
            attack.stalled.fetch_add(1, Ordering::Relaxed);
        }
        if asked.is_ok() {
            task::sleep(Duration::from_secs(15)).await;
        }
    }
}

/// Puts and gets small and middling requests; each must be answered well.
async fn healthy(addr: SocketAddr) {
    let mut client = Client {
        stream: TcpStream::connect(addr).await.expect("connected"),
        read: Vec::new(),
    };
    let entry = r#"{"PartitionKey":"k","Data":"QUFB"}"#;
    let entries = vec![entry.replace("QUFB", &"QUFB".repeat(341)); 100].join(",");
    let batch = format!(r#"{{"StreamName":"small","Records":[{entries}]}}"#);
    for _ in 0..ROUNDS {
        client.ask("PutRecord", &put("small", 1368)).await;
        client.ask("PutRecords", &batch).await;
        let iterator = client.ask("GetShardIterator", &iterator("small")).await;
        let limited = format!("{},\"Limit\":10}}", iterator.trim_end_matches('}'));
        client.ask("GetRecords", &limited).await;
    }
}

struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn ask(&mut self, operation: &str, body: &str) -> String {
        let asked = async {
            let sent = self
                .stream
                .write_all(request(operation, body, "").as_bytes())
                .await;
            sent.expect("sent");
            self.answer().await
        };
        let answer = task::timeout(ANSWER_TIME, asked).await;
        let (status, text) = answer.unwrap_or_else(|_| panic!("{operation} is not answered"));
        assert_eq!(status, 200, "{operation}: {text}");
        text
    }

    async fn answer(&mut self) -> (u16, String) {
        loop {
            if let Some(answer) = self.complete() {
                return answer;
            }
            let read = self.stream.read_buf(&mut self.read).await.expect("read");
            assert!(read > 0, "a healthy client's connection is closed");
        }
    }

    fn complete(&mut self) -> Option<(u16, String)> {
        let end = self.read.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&self.read[..end]).expect("a head");
        let length = head.to_ascii_lowercase();
        let length = length
            .split("content-length: ")
            .nth(1)?
            .lines()
            .next()?
            .parse::<usize>()
            .ok()?;
        let status = head.get(9..12)?.parse().ok()?;
        let whole = end + 4 + length;
        let body = self.read.get(end + 4..whole)?;
        let body = String::from_utf8_lossy(body).into_owned();
        self.read.drain(..whole);
        Some((status, body))
    }
}

fn put(stream: &str, chars: usize) -> String {
    let data = "A".repeat(chars / 4 * 4);
    format!(r#"{{"StreamName":"{stream}","PartitionKey":"k","Data":"{data}"}}"#)
}

fn iterator(stream: &str) -> String {
    format!(
        r#"{{"StreamName":"{stream}","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}}"#
    )
}

/// The most memory that the process ever had.
fn peak_rss_mib(id: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.expect("its peak") / 1024
}
