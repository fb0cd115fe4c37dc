//! Keys and certificates of the built program: verified signatures, TLS, changed files.

#![expect(
    clippy::panic,
    reason = "helpers of tests, outside of any test function"
)]

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use millstream_clock::{Clock as _, SystemClock};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::program::{Program, exchange, free_port, head};

/// Longest wait for the server to see a changed file.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Writes a file of keys by (id, account); the secret of `id` is `<id>-secret`.
fn write_keys(path: &Path, keys: &[(&str, &str)]) {
    let entry = |(id, account): &(&str, &str)| {
        format!("- {{id: {id}, secret: {id}-secret, account: \"{account}\"}}\n")
    };
    let entries: String = keys.iter().map(entry).collect();
    fs::write(path, format!("accessKeys:\n{entries}")).expect("written");
}

/// ListStreams, signed with the key `id`, closing its connection.
fn signed(id: &str) -> String {
    let now = Duration::from_millis(SystemClock::new().now().0);
    let identity = Credentials::new(id, format!("{id}-secret"), None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("kinesis")
        .time(SystemTime::UNIX_EPOCH + now)
        .settings(SigningSettings::default())
        .build()
        .expect("whole")
        .into();
    let headers = [
        ("host", "x"),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "Kinesis_20131202.ListStreams"),
    ];
    let body = SignableBody::Bytes(b"{}");
    let request = SignableRequest::new("POST", "http://x/", headers.into_iter(), body);
    let signed = sign(request.expect("a request"), &params).expect("signed");
    let mut text = "POST / HTTP/1.1\r\nconnection: close\r\n".to_owned();
    for (name, value) in headers.into_iter().chain(signed.output().headers()) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{text}content-length: 2\r\n\r\n{{}}")
}

/// Asks until `done`, for the server looks at its files every second.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..TRIES {
        if let Some(found) = ask() {
            return found;
        }
        thread::sleep(PAUSE);
    }
    panic!("{what} did not happen in {:?}", PAUSE * TRIES);
}

#[test]
fn keys_are_verified_apart_and_read_again_and_never_shown() {
    let data = folder();
    let keys = data.path().join("keys.yaml");
    write_keys(&keys, &[("one", "000000000000"), ("two", "111122223333")]);
    let keys_text = keys.to_str().expect("UTF-8");
    let flags = ["--auth", "verify", "--credentials", keys_text];
    let server = Program::start(&data.path().join("data"), &flags);
    let exports = server.exports.join("\n");
    assert!(
        !exports.contains("KEY") && !exports.contains("secret"),
        "{exports}"
    );
    let status = |id: &str| server.try_send(&signed(id)).expect("an answer");
    for id in ["one", "two"] {
        assert_eq!(status(id).0, 200, "{}", status(id).1);
    }
    assert!(status("three").1.contains("UnrecognizedClientException"));
    assert_eq!(
        server.call("ListStreams", "{}").0,
        400,
        "any signature will not do"
    );
    write_keys(&keys, &[("one", "000000000000"), ("three", "000000000000")]);
    until("the new key", || (status("three").0 == 200).then_some(()));
    assert_eq!(status("two").0, 400, "its key is gone");
    fs::write(&keys, "accessKeys: [{id: one}]").expect("written");
    let refused = "millstream_file_reloads_failed_total{file=\"credentials\"} 1";
    until("the refusal", || {
        let metrics = server.admin_page("/metrics");
        metrics.contains(refused).then_some(())
    });
    assert_eq!(status("three").0, 200, "the old keys go on");
}

#[test]
fn beyond_loopback_a_server_starts_with_verified_signatures_alone() {
    let data = folder();
    let keys = data.path().join("keys.yaml");
    write_keys(&keys, &[("one", "000000000000")]);
    let keys_text = keys.to_str().expect("UTF-8");
    let address = format!("0.0.0.0:{}", free_port());
    for (flags, code) in [
        (&[][..], 2),
        (&["--auth", "verify"], 2),
        (&["--auth", "verify", "--credentials", keys_text], 5),
    ] {
        // What stops the good one is that its data directory is no folder.
        let flags = [
            flags,
            &["--listen", &address, "--admin-listen", "127.0.0.1:0"],
        ]
        .concat();
        let (found, said) = crate::program::refused(&keys, &flags);
        assert_eq!(found, Some(code), "{flags:?}: {said}");
    }
}

/// A TLS connection to `port` of loopback that trusts this certificate alone; none if the server has
/// another.
fn connect(
    port: u16,
    trusted: &[u8],
    name: &str,
) -> Option<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(trusted).expect("PEM");
    roots.add(der).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    session.complete_io(&mut stream).ok()?;
    Some(StreamOwned::new(session, stream))
}

fn loopback_request() -> String {
    let head = head("ListStreams");
    format!("{head}connection: close\r\ncontent-length: 2\r\n\r\n{{}}")
}

#[test]
fn a_self_signed_server_exports_a_ca_that_stays() {
    let data = folder();
    let flags = [
        "--tls",
        "self-signed",
        "--tls-names",
        "streams.example",
        "--tls-listen",
    ];
    let flags = [&flags[..], &["127.0.0.1:0"]].concat();
    let export = "export AWS_CA_BUNDLE='";
    let mut trusted = None;
    for _ in 0..2 {
        let server = Program::start(data.path(), &flags);
        assert!(server.exports[0].starts_with("export AWS_ENDPOINT_URL=https://127.0.0.1:"));
        let mut lines = server.exports.iter();
        let path = lines.find_map(|line| line.strip_prefix(export)?.strip_suffix('\''));
        let path = Path::new(path.expect("a line about the CA"));
        assert!(path.is_absolute(), "{}", path.display());
        let read = fs::read(path).expect("there");
        let ca = trusted.get_or_insert(read);
        for name in ["localhost", "127.0.0.1", "::1", "streams.example"] {
            let stream = connect(server.addr.port(), ca, name);
            let stream = stream.unwrap_or_else(|| panic!("{name} is not certified"));
            let (status, body) = exchange(stream, &loopback_request()).expect("an answer");
            assert_eq!(status, 200, "{body}");
        }
        assert!(connect(server.addr.port(), ca, "other.example").is_none());
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn a_new_pair_of_files_is_served_and_a_bad_one_is_not() {
    let data = folder();
    let (cert, key) = (data.path().join("cert.pem"), data.path().join("key.pem"));
    let write = || {
        let CertifiedKey {
            cert: made,
            signing_key,
        } = generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        fs::write(&key, signing_key.serialize_pem()).expect("written");
        fs::write(&cert, made.pem()).expect("written");
        made.pem().into_bytes()
    };
    let old = write();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let [cert_text, key_text] = [&cert, &key].map(|path| path.to_str().expect("UTF-8"));
    let flags = [
        "--tls-cert",
        cert_text,
        "--tls-key",
        key_text,
        "--tls-listen",
        &listen,
    ];
    let server = Program::start(&data.path().join("data"), &flags);
    assert!(server.exports[0].starts_with("export AWS_ENDPOINT_URL=http://"));
    let stream = connect(port, &old, "localhost").expect("the old one");
    assert_eq!(
        exchange(stream, &loopback_request()).expect("an answer").0,
        200
    );
    let new = write();
    until("the new pair", || connect(port, &new, "localhost"));
    fs::write(&key, "no key").expect("written");
    let refused = "millstream_file_reloads_failed_total{file=\"certificate\"}";
    until("the refusal", || {
        let metrics = server.admin_page("/metrics");
        metrics.contains(refused).then_some(())
    });
    assert!(
        connect(port, &new, "localhost").is_some(),
        "the old pair goes on"
    );
}
