//! The listener: accepts connections up to a limit, and drains them at the end.

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

use crate::connection;
use crate::options::Options;
use crate::service::Service;

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
        listener: TcpListener,
        drain_begun: Drain,
        drain_limit: Duration,
    ) -> Drained {
        let connections_max = self.service.options.connections_max;
        let slots = Arc::new(Semaphore::new(connections_max));
        let (cut_signal, cut) = drain();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = drain_begun.begun() => break,
            };
            match accepted {
                Ok((stream, _)) => self.accept(stream, &slots, &drain_begun, &cut),
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    task::sleep(ACCEPT_PAUSE).await;
                },
            }
        }
        drop(listener);
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

    fn accept(&self, stream: TcpStream, slots: &Arc<Semaphore>, drain: &Drain, cut: &Drain) {
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
            self.service.meters.closed("limit");
            refuse(&stream);
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        self.service.meters.connection_opened();
        let (service, builder) = (Arc::clone(&self.service), Arc::clone(&self.builder));
        let (drain, cut) = (drain.clone(), cut.clone());
        // The task ends with its connection, at the latest when the drain cuts it.
        drop(task::spawn("connection", async move {
            let open = Open {
                _slot: slot,
                service: Arc::clone(&service),
            };
            connection::serve(stream, &builder, service, drain, cut).await;
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
