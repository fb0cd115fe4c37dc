//! The TLS port: both versions of HTTP with and without ALPN, new certificates, limits.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use millstream_clock::task;
use millstream_gateway::{Drained, TlsKeys};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Connection, body_text, http2_request, put_body};
use crate::fixture::{Fixture, SHORT, Setup};

/// A certificate for `localhost` and its key, as PEM texts.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        Self {
            certificate: cert.pem(),
            key: signing_key.serialize_pem(),
        }
    }

    fn keys(&self) -> TlsKeys {
        TlsKeys::from_pem(self.certificate.as_bytes(), self.key.as_bytes()).expect("a pair")
    }

    /// A connection that trusts this certificate alone.
    async fn connect(&self, addr: SocketAddr, alpn: &[&str]) -> Option<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM");
        roots.add(der).expect("a certificate");
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(addr).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.ok()
    }
}

async fn fixture(pair: &Pair, setup: Setup) -> Fixture {
    Fixture::start(Setup {
        tls: Some(pair.keys()),
        ..setup
    })
    .await
}

/// Puts a record over HTTP/2 or HTTP/1.1; the status and the text.
async fn put(stream: TlsStream<TcpStream>, http2: bool) -> (u16, String) {
    let io = TokioIo::new(stream);
    let request = http2_request("PutRecord", put_body(3000));
    let answer = if http2 {
        let shaken = http2::handshake(TokioExecutor::new(), io).await;
        let (mut sender, connection) = shaken.expect("HTTP/2");
        drop(task::spawn("client", connection));
        sender.send_request(request).await
    } else {
        let shaken = http1::handshake::<_, Full<Bytes>>(io).await;
        let (mut sender, connection) = shaken.expect("HTTP/1");
        drop(task::spawn("client", connection));
        sender.send_request(request).await
    };
    let answer = answer.expect("an answer");
    (answer.status().as_u16(), body_text(answer).await)
}

#[tokio::test]
async fn both_versions_are_served_with_and_without_alpn() {
    let pair = Pair::new();
    let fixture = fixture(&pair, Setup::default()).await;
    for (offered, agreed, http2) in [
        (&["h2", "http/1.1"][..], Some("h2"), true),
        (&["h2"], Some("h2"), true),
        (&["http/1.1"], Some("http/1.1"), false),
        // The Java SDK: HTTP/2 by prior knowledge, with no ALPN.
        (&[], None, true),
        (&[], None, false),
    ] {
        let connected = pair.connect(fixture.tls_addr, offered).await;
        let stream = connected.expect("connected");
        let found = stream.get_ref().1.alpn_protocol();
        assert_eq!(found, agreed.map(str::as_bytes), "{offered:?}");
        let (status, text) = put(stream, http2).await;
        assert_eq!(status, 200, "{offered:?}: {text}");
        assert!(text.contains("shardId-000000000000"), "{text}");
    }
    for (version, count) in [("2", 3), ("1.1", 2)] {
        let line = format!(
            "millstream_http_requests_total{{operation=\"PutRecord\",code=\"200\",error=\"\",\
             version=\"{version}\"}} {count}"
        );
        assert!(fixture.counted(&line), "{}", fixture.metrics.text());
    }
    // The plain port goes on beside it.
    let mut plain = Connection::open(fixture.addr).await;
    assert_eq!(plain.ask("PutRecord", &put_body(30)).await.status, 200);
}

#[tokio::test]
async fn new_connections_get_the_new_certificate_and_old_ones_go_on() {
    let (old, new) = (Pair::new(), Pair::new());
    let keys = old.keys();
    let fixture = Fixture::start(Setup {
        tls: Some(keys.clone()),
        ..Setup::default()
    })
    .await;
    let before = old.connect(fixture.tls_addr, &["h2"]).await;
    let before = before.expect("the old one");
    keys.replace_pem(new.certificate.as_bytes(), new.key.as_bytes())
        .expect("a pair");
    assert!(old.connect(fixture.tls_addr, &[]).await.is_none());
    let after = new.connect(fixture.tls_addr, &[]).await;
    assert_eq!(put(after.expect("the new one"), false).await.0, 200);
    assert_eq!(put(before, true).await.0, 200);
}

#[tokio::test]
async fn a_handshake_has_the_time_of_a_head_and_must_be_one() {
    let setup = Setup {
        timeouts: SHORT,
        ..Setup::default()
    };
    let fixture = fixture(&Pair::new(), setup).await;
    let mut silent = Connection::open(fixture.tls_addr).await;
    assert!(silent.ends().await);
    assert!(fixture.counted("millstream_connections_closed_total{reason=\"no_request\"} 1"));
    let mut plain = Connection::open(fixture.tls_addr).await;
    plain.send("POST / HTTP/1.1\r\n\r\n").await;
    assert!(plain.ends().await);
    let closed = "millstream_connections_closed_total{reason=\"tls\"} 1";
    assert!(fixture.counted(closed), "{}", fixture.metrics.text());
}

#[tokio::test]
async fn a_shaken_connection_that_asks_nothing_is_closed_like_a_plain_one() {
    let pair = Pair::new();
    let setup = Setup {
        timeouts: SHORT,
        ..Setup::default()
    };
    let fixture = fixture(&pair, setup).await;
    let stream = pair.connect(fixture.tls_addr, &[]).await;
    let mut stream = stream.expect("connected");
    stream.write_all(b"POST / HT").await.expect("sent");
    let closed = "millstream_connections_closed_total{reason=\"no_request\"} 1";
    fixture.until("the cut", |it| it.counted(closed)).await;
}

#[tokio::test]
async fn both_ports_share_one_limit_of_connections() {
    let pair = Pair::new();
    let setup = Setup {
        connections_max: 1,
        ..Setup::default()
    };
    let fixture = fixture(&pair, setup).await;
    let mut plain = Connection::open(fixture.addr).await;
    assert_eq!(plain.ask("PutRecord", &put_body(30)).await.status, 200);
    assert!(pair.connect(fixture.tls_addr, &[]).await.is_none());
    assert!(fixture.counted("millstream_connections_closed_total{reason=\"limit\"} 1"));
    drop(plain);
    let gone = "millstream_connections_open 0";
    fixture.until("the end", |it| it.counted(gone)).await;
    let stream = pair.connect(fixture.tls_addr, &[]).await;
    assert_eq!(put(stream.expect("room"), false).await.0, 200);
}

#[tokio::test]
async fn a_drain_waits_for_no_handshake_and_ends_idle_connections() {
    let pair = Pair::new();
    let fixture = fixture(&pair, Setup::default()).await;
    let _silent = Connection::open(fixture.tls_addr).await;
    let idle = pair.connect(fixture.tls_addr, &["h2"]).await;
    let idle = idle.expect("connected");
    let open = "millstream_connections_open 2";
    fixture.until("both", |it| it.counted(open)).await;
    fixture.drain.begin();
    let drained = fixture.gateway.await.expect("no panic");
    assert_eq!(drained, Drained::All);
    drop(idle);
}
