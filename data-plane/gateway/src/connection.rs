//! One connection: its TLS handshake if it has one, then HTTP/1.1 or HTTP/2 by its first bytes, under a watchdog.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use millstream_chassis::Drain;
use millstream_clock::task;
use millstream_control::ControlPlane;
use millstream_stream::ShardLog;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::auth::Transport;
use crate::io::CountedIo;
use crate::options;
use crate::service::Service;
use crate::watch::{Activity, Verdict, Watchdog};

/// The protocol settings of all connections.
pub(crate) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // The watchdog has a time for heads that does not count a connection's idle time.
        .header_read_timeout(None)
        .max_buf_size(options::HTTP1_BUFFER_BYTES)
        .max_headers(options::HTTP1_HEADERS_MAX)
        .timer(TokioTimer::new());
    builder
        .http2()
        .initial_stream_window_size(options::HTTP2_WINDOW_BYTES)
        .initial_connection_window_size(options::HTTP2_WINDOW_BYTES)
        .max_frame_size(options::HTTP2_FRAME_BYTES)
        .max_header_list_size(options::HTTP2_HEADERS_BYTES)
        .max_concurrent_streams(options::HTTP2_STREAMS_MAX)
        .max_send_buf_size(options::HTTP2_SEND_BYTES)
        .timer(TokioTimer::new());
    builder
}

/// Makes TLS of `stream`, in the time that a head may take; none when it fails, or the drain begins.
pub(crate) async fn handshake<S, C>(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    service: &Service<S, C>,
    drain: &Drain,
) -> Option<Box<TlsStream<TcpStream>>> {
    let shaking = task::timeout(service.options.timeouts.head, acceptor.accept(stream));
    let shaken = tokio::select! {
        shaken = shaking => shaken,
        () = drain.begun() => return None,
    };
    match shaken {
        Ok(Ok(stream)) => return Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            service.meters.closed("tls");
        },
        Err(task::Elapsed) => service.meters.closed("no_request"),
    }
    None
}

/// Serves `stream` until it ends, is cut by the watchdog, or `cut` begins. Once `drain` has begun
/// it ends after the requests that are under way.
pub(crate) async fn serve<S: ShardLog, C: ControlPlane>(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    transport: Transport,
    builder: &auto::Builder<TokioExecutor>,
    service: Arc<Service<S, C>>,
    drain: Drain,
    cut: Drain,
) {
    let activity: Arc<Activity> = Arc::default();
    let io = CountedIo::new(stream, Arc::clone(&activity));
    let answers = {
        let (service, activity, drain) =
            (Arc::clone(&service), Arc::clone(&activity), drain.clone());
        service_fn(move |request| {
            let (service, activity) = (Arc::clone(&service), Arc::clone(&activity));
            let closing = drain.has_begun();
            async move {
                Ok::<_, Infallible>(service.answer(request, transport, &activity, closing).await)
            }
        })
    };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), answers));
    let timeouts = &service.options.timeouts;
    let mut watchdog = Watchdog::new(service.clock.monotonic());
    let mut draining = false;
    loop {
        let tick = tokio::select! {
            biased;
            ended = connection.as_mut() => Err(ended),
            () = task::sleep(timeouts.tick) => Ok(()),
        };
        if let Err(ended) = tick {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
                service.meters.closed("error");
            }
            return;
        }
        if cut.has_begun() {
            return;
        }
        if drain.has_begun() && !draining {
            draining = true;
            connection.as_mut().graceful_shutdown();
        }
        match watchdog.check(service.clock.monotonic(), &activity, timeouts) {
            Verdict::Keep => {},
            Verdict::Close("idle") if !draining => {
                draining = true;
                service.meters.closed("idle");
                connection.as_mut().graceful_shutdown();
            },
            Verdict::Close(reason) => {
                tracing::debug!(reason, "a connection is cut");
                service.meters.closed(reason);
                return;
            },
        }
    }
}
