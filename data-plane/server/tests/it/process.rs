//! The process: its lines on stdout, its signals, its exit codes.

#![expect(
    clippy::panic,
    reason = "helpers of tests, outside of any test function"
)]

use std::fs;
use std::path::Path;

use crate::program::{Program, free_port, refused};

const MANIFEST: &str = "apiVersion: millstream.dev/v1alpha1\nkind: DataStream\nmetadata:\n  \
                        name: flights\nspec:\n  shardCount: 2\n";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Creates the stream `s` with one shard.
fn create_stream(server: &Program) {
    let body = r#"{"StreamName":"s","ShardCount":1}"#;
    assert_eq!(server.call("CreateStream", body).0, 200);
}

/// Puts a record with this data, which is base64, into the stream `s`.
fn put(server: &Program, data: &str) -> (u16, String) {
    server.call("PutRecord", &put_body(data))
}

fn put_body(data: &str) -> String {
    format!(r#"{{"StreamName":"s","PartitionKey":"k","Data":"{data}"}}"#)
}

/// The first page of the stream `s`.
fn read_all(server: &Program) -> String {
    let ask =
        r#"{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}"#;
    let iterator = server.call("GetShardIterator", ask).1;
    let (status, page) = server.call("GetRecords", &iterator);
    assert_eq!(status, 200, "{page}");
    page
}

#[test]
fn a_ready_server_exports_what_clients_need_and_drains_with_0() {
    let data = folder();
    let server = Program::start(data.path(), &["--region", "eu-west-3"]);
    assert_eq!(
        server.exports[0],
        format!("export AWS_ENDPOINT_URL=http://{}", server.addr)
    );
    assert_eq!(server.exports[1], "export AWS_REGION=eu-west-3");
    assert!(server.exports[2].starts_with("export AWS_ACCESS_KEY_ID="));
    assert!(server.exports[3].starts_with("export AWS_SECRET_ACCESS_KEY="));
    assert!(server.admin_page("/readyz").starts_with("HTTP/1.1 200"));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn records_are_there_after_a_drain_and_after_a_kill() {
    let data = folder();
    let server = Program::start(data.path(), &[]);
    create_stream(&server);
    assert_eq!(put(&server, "AAAA").0, 200);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let server = Program::start(data.path(), &[]);
    assert_eq!(put(&server, "AAAA").0, 200);
    server.signal("KILL");
    assert_eq!(server.wait().code(), None);
    let server = Program::start(data.path(), &[]);
    let page = read_all(&server);
    assert_eq!(page.matches("\"PartitionKey\"").count(), 2, "{page}");
    assert!(
        server
            .admin_page("/metrics")
            .contains("millstream_shards 1\n")
    );
}

#[test]
fn a_second_server_on_the_directory_ends_with_3() {
    let data = folder();
    let first = Program::start(data.path(), &[]);
    // The addresses are in use as well: the directory is what counts.
    let (api, admin) = (first.addr.to_string(), first.admin.to_string());
    let (code, text) = refused(data.path(), &["--listen", &api, "--admin-listen", &admin]);
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("locked") && text.contains("--data-dir"),
        "{text}"
    );
    assert_eq!(first.call("ListStreams", "{}").0, 200);
}

#[test]
fn settings_that_cannot_be_used_end_with_2_and_name_the_fix() {
    let data = folder();
    for (flags, text) in [
        (vec!["--wal-file-bytes", "64MB"], "such as 64MiB"),
        (vec!["--auth", "verify"], "set --credentials"),
        (
            vec!["--auth", "verify", "--credentials", "/does/not/exist"],
            "setting 'credentials': /does/not/exist",
        ),
        (
            vec!["--tls-cert", "/dev/null", "--tls-key", "/dev/null"],
            "setting 'tls-cert': /dev/null: there is no certificate",
        ),
        (vec!["--tls", "on"], "use 'self-signed'"),
        (vec!["--limits", "aws"], "setting 'limits'"),
        (
            vec!["--limits", "/does/not/exist"],
            "file of account limits",
        ),
        (vec!["--listen", "0.0.0.0:0"], "beyond loopback"),
        (vec!["--memory-bytes", "1MiB"], "at least 128MiB"),
        (
            vec!["--wal-file-bytes", "64MiB", "--checkpoint-bytes", "8MiB"],
            "checkpoint",
        ),
        (vec!["--config", "/does/not/exist"], "/does/not/exist"),
        (vec!["--no-such-flag"], "--no-such-flag"),
    ] {
        let free = ["--admin-listen", "127.0.0.1:0"];
        let (code, said) = refused(data.path(), &[flags.as_slice(), &free].concat());
        assert_eq!(code, Some(2), "{flags:?}: {said}");
        assert!(said.contains(text), "{flags:?}: {said}");
    }
}

#[test]
fn an_account_has_no_more_shards_than_the_file_of_limits_says() {
    let data = folder();
    let limits = data.path().join("limits.yaml");
    fs::write(&limits, "accountShards: 3\n").expect("written");
    let flags = ["--limits", limits.to_str().expect("UTF-8")];
    let server = Program::start(&data.path().join("data"), &flags);
    let create = |name, shards| {
        let body = format!(r#"{{"StreamName":"{name}","ShardCount":{shards}}}"#);
        server.call("CreateStream", &body)
    };
    assert_eq!(create("two", 2).0, 200);
    let (status, refusal) = create("more", 2);
    assert_eq!(status, 400, "{refusal}");
    for part in [
        "\"LimitExceededException\"",
        "Current shard count for the account: 2. Limit: 3.",
        "additional shards that would have resulted from this request: 2.",
    ] {
        assert!(refusal.contains(part), "{refusal}");
    }
    assert_eq!(create("one", 1).0, 200, "up to the limit");
}

#[test]
fn an_address_in_use_ends_with_2() {
    let (data, other) = (folder(), folder());
    let first = Program::start(data.path(), &[]);
    let address = first.addr.to_string();
    let admin = format!("127.0.0.1:{}", free_port());
    let (code, text) = refused(
        other.path(),
        &["--listen", &address, "--admin-listen", &admin],
    );
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("setting 'listen'"), "{text}");
}

#[test]
fn damage_in_front_of_acknowledged_records_ends_with_4_and_says_where() {
    let data = folder();
    let server = Program::start(data.path(), &[]);
    create_stream(&server);
    for _ in 0..3 {
        assert_eq!(put(&server, "AAAA").0, 200);
    }
    server.signal("KILL");
    assert_eq!(server.wait().code(), None);
    damage(&data.path().join("wal"));
    let (code, text) = refused(
        data.path(),
        &["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
    );
    assert_eq!(code, Some(4), "{text}");
    assert!(
        text.contains(".wal") && text.contains("byte") && text.contains("LSN"),
        "{text}"
    );
}

/// Overwrites the start of the first frame of the oldest log file that has one.
fn damage(wal: &Path) {
    let files = fs::read_dir(wal).expect("a folder");
    let mut files: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "wal"));
    files.sort();
    let path = files.first().expect("a log file");
    let mut bytes = fs::read(path).expect("read");
    let at = bytes.iter().position(|byte| *byte != 0).expect("a frame");
    for byte in &mut bytes[at..at + 64] {
        *byte ^= 0x5a;
    }
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_write_that_fails_ends_with_5_and_what_was_acknowledged_is_there_after_it() {
    let data = folder();
    let server = Program::start_with_stderr(data.path());
    create_stream(&server);
    let acknowledged = put(&server, "AAAA");
    assert_eq!(acknowledged.0, 200);
    server.forbid_file_writes();
    // The answer is a race with the end of the process; an acknowledgement it is not.
    if let Some((status, answer)) = server.try_call("PutRecord", &put_body("BBBB")) {
        assert_eq!(status, 500, "{answer}");
    }
    let (code, text) = server.wait_with_stderr();
    assert_eq!(code, Some(5), "{text}");
    assert!(
        text.contains("the store failed") && text.contains("File too large"),
        "{text}"
    );

    let server = Program::start(data.path(), &[]);
    let page = read_all(&server);
    assert_eq!(page.matches("\"PartitionKey\"").count(), 1, "{page}");
    let number = acknowledged.1.split("\"SequenceNumber\":").nth(1);
    let number = number.and_then(|rest| rest.split('"').nth(1));
    assert!(page.contains(number.expect("a number")), "{page}");
    assert_eq!(put(&server, "CCCC").0, 200, "and writes are taken again");
}

#[test]
fn manifests_make_streams_at_the_start_and_on_sighup() {
    let (data, manifests) = (folder(), folder());
    let path = manifests.path().join("flights.yaml");
    fs::write(&path, MANIFEST).expect("written");
    let flags = ["-f", manifests.path().to_str().expect("UTF-8")];
    let server = Program::start(data.path(), &flags);
    assert!(server.call("ListStreams", "{}").1.contains("\"flights\""));

    // Refused: the old state goes on, and somebody can see it.
    fs::write(&path, MANIFEST.replace("shardCount: 2", "shardCount: 3")).expect("written");
    server.signal("HUP");
    wait_for(&server, "millstream_manifest_reloads_failed_total 1");
    fs::write(&path, MANIFEST).expect("written");
    let second = MANIFEST.replace("flights", "weather");
    fs::write(manifests.path().join("weather.yaml"), second).expect("written");
    server.signal("HUP");
    wait_for(&server, "millstream_shards 4");
    assert!(server.call("ListStreams", "{}").1.contains("\"weather\""));

    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    fs::write(&path, MANIFEST.replace("shardCount: 2", "shardCount: 3")).expect("written");
    let free = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let (code, text) = refused(data.path(), &[&flags[..], &free].concat());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("shardCount"), "{text}");
}

fn wait_for(server: &Program, line: &str) {
    for _ in 0..500 {
        if server
            .admin_page("/metrics")
            .lines()
            .any(|found| found == line)
        {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{line} did not appear in 10 s");
}

#[test]
fn a_request_under_way_is_answered_during_the_drain() {
    use std::io::{Read as _, Write as _};

    let data = folder();
    let server = Program::start(data.path(), &[]);
    create_stream(&server);
    let whole = crate::program::request("PutRecord", &put_body("AAAA"), "");
    let (first, second) = whole.split_at(whole.len() - 10);
    let mut stream = std::net::TcpStream::connect(server.addr).expect("connected");
    stream.write_all(first.as_bytes()).expect("sent");
    wait_for(
        &server,
        "millstream_memory_budget_used_bytes{budget=\"bodies_small\"} 4096",
    );
    server.signal("TERM");
    while server.admin_page("/readyz").starts_with("HTTP/1.1 200") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    stream.write_all(second.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("answered, then closed");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.wait().code(), Some(0));
}
