//! The admin port: `/healthz`, `/readyz` and `/metrics` over HTTP/1.1.
//!
//! It answers while the API port is still closed or already draining, and never waits for it. The
//! probes have no content and are for anybody; [`guard`] decides about the metrics.

pub mod guard;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use millstream_clock::{Crowd, task};
use tokio::net::{TcpListener, TcpStream};

use crate::metrics::Metrics;
use guard::Guard;

/// Most admin connections at once; a further one closes the oldest. Who opens many must not keep
/// the kubelet's probe waiting: it would end the pod.
const CONNECTIONS_MAX: usize = 64;
/// Largest head of a request, in bytes: a bearer token fits.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest time to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest life of an admin connection: one request and its answer.
const CONNECTION_LIFE: Duration = Duration::from_secs(15);
/// Pause after a failed accept, such as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What readyz answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The data directory is being opened.
    Starting,
    /// Requests are served.
    Ready,
    /// It serves, and cannot take what it should: its disk is full, or does not answer.
    Unwell,
    /// The process is finishing what it has.
    Draining,
}

/// The phase of the process, shared between those who set it and the admin port.
#[derive(Clone, Debug)]
pub struct Readiness {
    phase: Arc<AtomicU8>,
    metrics: Metrics,
}

impl Readiness {
    /// A process that is starting.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        let phase = Arc::new(AtomicU8::new(Phase::Starting as u8));
        Self { phase, metrics }
    }

    /// Moves to `phase`.
    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        self.metrics.ready.set(i64::from(phase == Phase::Ready));
    }

    /// Whether requests are served.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase.load(Ordering::Acquire) == Phase::Ready as u8
    }
}

/// Serves the admin port until the process ends; `guard` says who may see the metrics.
pub async fn serve(listener: TcpListener, readiness: Readiness, guard: Guard) {
    let mut connections = Crowd::new("admin-connection", CONNECTIONS_MAX, CONNECTION_LIFE);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                connections.spawn(connection(stream, peer, readiness.clone(), guard.clone()));
            },
            Err(error) => {
                tracing::warn!(%error, "accepting an admin connection failed");
                task::sleep(ACCEPT_PAUSE).await;
            },
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, readiness: Readiness, guard: Guard) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (readiness, guard) = (readiness.clone(), guard.clone());
        async move {
            let (head, _) = request.into_parts();
            Ok::<_, Infallible>(answer(&head, &readiness, peer, &guard).await)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "an admin connection ended early");
    }
}

async fn answer(
    head: &Parts,
    readiness: &Readiness,
    peer: SocketAddr,
    guard: &Guard,
) -> Response<Full<Bytes>> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
    }
    match head.uri.path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if readiness.is_ready() => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        // They say much about what goes on.
        "/metrics" if guard.admits(peer.ip(), &head.headers).await => {
            let mut response = text(StatusCode::OK, readiness.metrics.text());
            let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(form));
            response
        },
        "/metrics" if guard.asks() => {
            let mut response = text(StatusCode::UNAUTHORIZED, "send the bearer token\n");
            let scheme = header::HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
            response
        },
        "/metrics" => text(
            StatusCode::FORBIDDEN,
            "without --metrics-token-file the metrics are shown on loopback only\n",
        ),
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /healthz, /readyz and /metrics\n",
        ),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    async fn get(address: SocketAddr, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    async fn served(readiness: &Readiness, guard: Guard) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(task::spawn(
            "admin",
            serve(listener, readiness.clone(), guard),
        ));
        address
    }

    #[tokio::test]
    async fn readyz_follows_the_phase_and_healthz_does_not() {
        let readiness = Readiness::new(Metrics::new());
        let address = served(&readiness, Guard::new(None)).await;
        for (phase, ready) in [
            (Phase::Starting, "503"),
            (Phase::Ready, "200"),
            (Phase::Unwell, "503"),
            (Phase::Draining, "503"),
        ] {
            readiness.set(phase);
            let answer = get(address, "/readyz", "").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {ready}")), "{answer}");
            let alive = get(address, "/healthz", "").await;
            assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
        }
        let metrics = get(address, "/metrics", "").await;
        assert!(metrics.contains("millstream_ready 0\n"), "{metrics}");
        let nothing = get(address, "/nothing", "").await;
        assert!(nothing.starts_with("HTTP/1.1 404"), "{nothing}");
    }

    #[tokio::test]
    async fn a_probe_is_answered_while_others_hold_connections() {
        let address = served(&Readiness::new(Metrics::new()), Guard::new(None)).await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            held.push(TcpStream::connect(address).await.expect("connected"));
        }
        let alive = get(address, "/healthz", "").await;
        assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
        let mut newest = held.pop().expect("some");
        let rest = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        newest.write_all(rest.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        newest.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "still open: {answer}");
        let mut nothing = String::new();
        let oldest = held[0].read_to_string(&mut nothing).await;
        assert!(oldest.is_err() || nothing.is_empty(), "closed: {nothing}");
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let address = served(&Readiness::new(Metrics::new()), Guard::new(None)).await;
        for (bytes, status) in [(HEAD_BYTES_MAX / 2, "200"), (HEAD_BYTES_MAX, "431")] {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            let request = format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(bytes));
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.expect("answered");
            let answer = String::from_utf8_lossy(&answer);
            assert_eq!(answer, format!("HTTP/1.1 {status}"));
        }
    }

    #[tokio::test]
    async fn a_connection_is_for_one_request() {
        let address = served(&Readiness::new(Metrics::new()), Guard::new(None)).await;
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let twice = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2);
        stream.write_all(twice.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        // what was not read may break the connection after the answer
        drop(stream.read_to_end(&mut answer).await);
        let answer = String::from_utf8(answer).expect("text");
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn metrics_ask_for_the_token_and_probes_do_not() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), TOKEN).expect("written");
        let readiness = Readiness::new(Metrics::new());
        readiness.set(Phase::Ready);
        let address = served(&readiness, Guard::new(Some(file.path().to_owned()))).await;
        for probe in ["/healthz", "/readyz"] {
            let answer = get(address, probe, "").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        for wrong in ["", "authorization: Bearer 0123456789abcdeF\r\n"] {
            let answer = get(address, "/metrics", wrong).await;
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
            assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
            assert!(!answer.contains("millstream_"), "{answer}");
        }
        let right = format!("authorization: Bearer {TOKEN}\r\n");
        let answer = get(address, "/metrics", &right).await;
        assert!(answer.contains("millstream_ready 1\n"), "{answer}");
    }
}
