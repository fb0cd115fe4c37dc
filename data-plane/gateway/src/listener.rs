//! The listeners, plain and TLS: accept connections up to one limit, and drain them at the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use millstream_chassis::drain::drain;
use millstream_chassis::{Drain, Metrics};
use millstream_clock::{Clock, Entropy, task};
use millstream_control::ControlPlane;
use millstream_stream::{ShardLog, Streams};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::auth::Transport;
use crate::connection;
use crate::options::Options;
use crate::service::Service;
use crate::tls::TlsKeys;

/// Pause after a failed accept, such as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time for cut connections to end.
const CUT_TIME: Duration = Duration::from_secs(2);
/// What a connection over the limit gets.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every connection ended by itself.
    All,
    /// This many were cut at the end of the time given.
    Cut(usize),
}

/// Where a gateway listens.
#[derive(Debug)]
pub struct Listeners {
    /// The plain port.
    pub plain: TcpListener,
    /// The TLS port and its certificate.
    pub tls: Option<(TcpListener, TlsKeys)>,
}

impl From<TcpListener> for Listeners {
    fn from(plain: TcpListener) -> Self {
        Self { plain, tls: None }
    }
}

/// The listeners as the loop uses them.
struct Ports {
    plain: TcpListener,
    tls: Option<(TcpListener, TlsAcceptor)>,
}

impl Ports {
    fn new(listeners: Listeners) -> Self {
        let tls = listeners.tls;
        Self {
            plain: listeners.plain,
            tls: tls.map(|(listener, keys)| (listener, keys.acceptor())),
        }
    }

    /// The next connection, and what is to be made of it if it came to the TLS port.
    async fn accept(&self) -> io::Result<(TcpStream, Option<&TlsAcceptor>)> {
        let Some((listener, acceptor)) = &self.tls else {
            return self.plain.accept().await.map(|(stream, _)| (stream, None));
        };
        tokio::select! {
            accepted = self.plain.accept() => accepted.map(|(stream, _)| (stream, None)),
            accepted = listener.accept() => accepted.map(|(stream, _)| (stream, Some(acceptor))),
        }
    }
}

/// The HTTP front of a process.
pub struct Gateway<S, C> {
    service: Arc<Service<S, C>>,
    builder: Arc<auto::Builder<TokioExecutor>>,
}

impl<S: ShardLog, C: ControlPlane> Gateway<S, C> {
    /// A gateway to `streams`, whose changes go to `control`.
    #[must_use]
    pub fn new(
        options: Options,
        streams: Streams<S>,
        control: Arc<C>,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Self {
        metrics.watch_budgets(options.budgets.all());
        let service = Service::new(options, streams, control, metrics, clock, entropy);
        Self {
            service: Arc::new(service),
            builder: Arc::new(connection::builder()),
        }
    }

    /// Serves until `drain` begins, then lets the requests under way end, for `drain_limit` at
    /// most.
    pub async fn run(
        self,
        listeners: impl Into<Listeners>,
        drain_begun: Drain,
        drain_limit: Duration,
    ) -> Drained {
        let connections_max = self.service.options.connections_max;
        let slots = Arc::new(Semaphore::new(connections_max));
        let (cut_signal, cut) = drain();
        let ports = Ports::new(listeners.into());
        loop {
            let accepted = tokio::select! {
                accepted = ports.accept() => accepted,
                () = drain_begun.begun() => break,
            };
            match accepted {
                Ok((stream, tls)) => self.accept(stream, tls, &slots, &drain_begun, &cut),
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    task::sleep(ACCEPT_PAUSE).await;
                },
            }
        }
        drop(ports);
        let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
        if task::timeout(drain_limit, slots.acquire_many(all))
            .await
            .is_ok()
        {
            return Drained::All;
        }
        let left = connections_max - slots.available_permits();
        cut_signal.begin();
        if task::timeout(CUT_TIME, slots.acquire_many(all))
            .await
            .is_err()
        {
            tracing::warn!("connections outlived the drain");
        }
        Drained::Cut(left)
    }

    fn accept(
        &self,
        stream: TcpStream,
        tls: Option<&TlsAcceptor>,
        slots: &Arc<Semaphore>,
        drain: &Drain,
        cut: &Drain,
    ) {
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
            self.service.meters.closed("limit");
            if tls.is_none() {
                refuse(&stream);
            }
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        self.service.meters.connection_opened();
        let (service, builder) = (Arc::clone(&self.service), Arc::clone(&self.builder));
        let (drain, cut, tls) = (drain.clone(), cut.clone(), tls.cloned());
        // The task ends with its connection, at the latest when the drain cuts it.
        drop(task::spawn("connection", async move {
            let open = Open {
                _slot: slot,
                service: Arc::clone(&service),
            };
            match tls {
                None => {
                    let transport = Transport::Plain;
                    connection::serve(stream, transport, &builder, service, drain, cut).await;
                },
                Some(acceptor) => {
                    let shaken = connection::handshake(stream, &acceptor, &service, &drain).await;
                    if let Some(stream) = shaken {
                        let transport = Transport::Tls;
                        connection::serve(stream, transport, &builder, service, drain, cut).await;
                    }
                },
            }
            drop(open);
        }));
    }
}

/// A connection's place; given back also when its task is aborted.
struct Open<S, C> {
    _slot: OwnedSemaphorePermit,
    service: Arc<Service<S, C>>,
}

impl<S, C> Drop for Open<S, C> {
    fn drop(&mut self) {
        self.service.meters.connection_ended();
    }
}

/// Says why, as far as that needs no waiting; the connection closes when it is dropped.
fn refuse(stream: &TcpStream) {
    if let Err(error) = stream.try_write(TOO_MANY) {
        tracing::debug!(%error, "a refused connection was not told why");
    }
}
