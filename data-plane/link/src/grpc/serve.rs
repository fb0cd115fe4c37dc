//! The server's side: connections of a listener, each with the identity of its peer, given to one
//! gRPC service.
//!
//! Who has not proved who it is, or not yet, is a stranger. Strangers have places, calls, buffers and
//! time of their own, all few: however many come, they take nothing from those who are known.

mod room;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use millstream_clock::task;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tonic::body::Body;
use tower_service::Service;

use crate::grpc::peer::Ending;
use crate::grpc::{
    CONNECTION_WINDOW_BYTES, KEEPALIVE, KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES, Tasks,
};
use crate::transport::{BoxIo, Connection, Handshake, Listener};
use crate::{Lifetime, PeerIdentity, Role};
use room::{Place, Room};

/// Wait after a failed accept: most often the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most calls at a time on a stranger's connection: it asks for one thing.
const STRANGER_CALLS_MAX: u32 = 2;
/// Bytes in flight on a stranger's connection, and on each call of it, before the server must take
/// some.
const STRANGER_WINDOW_BYTES: u32 = 64 * 1024;

/// Limits of a server.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Most open connections of peers that are known; a further one waits as long as a handshake may
    /// take.
    pub connections_max: usize,
    /// Most open connections of strangers: those that show no certificate, and those whose handshake
    /// is not done. When a further one comes, the oldest is cut.
    pub strangers_max: usize,
    /// How long a connection without a certificate may be used, whatever it does.
    pub stranger_timeout: Duration,
    /// Most calls at a time on one connection of a known peer.
    pub calls_max: u32,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How long calls may run on once the server should end, or their connection.
    pub drain_timeout: Duration,
    /// Who may connect; empty: everybody whom the listener lets in.
    pub roles: Vec<Role>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            strangers_max: 256,
            stranger_timeout: Duration::from_secs(30),
            calls_max: 1024,
            handshake_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
            roles: Vec::new(),
        }
    }
}

/// Serves `service` on the connections of `listener` until `stop` says so or its sender is gone;
/// then lets running calls end, within a limit. The same goes for one connection at the end of its
/// [`Lifetime`]. Calls that would run on hear of it by [`ending`](crate::grpc::ending).
pub async fn serve<L, S>(
    mut listener: L,
    service: S,
    options: ServeOptions,
    mut stop: watch::Receiver<bool>,
) where
    L: Listener,
    S: Service<http::Request<Incoming>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let rooms = Rooms {
        known: Arc::new(Semaphore::new(options.connections_max)),
        strangers: Arc::new(Room::new(options.strangers_max)),
    };
    // every connection holds one end
    let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            biased;
            () = told(&mut stop) => break,
            accepted = listener.accept() => accepted,
        };
        let handshake = match accepted {
            Ok(handshake) => handshake,
            Err(error) => {
                tracing::warn!(address = %listener.address(), %error, "cannot accept a connection");
                task::sleep(ACCEPT_PAUSE).await;
                continue;
            },
        };
        let place = rooms.strangers.enter();
        let (service, options, stop) = (service.clone(), options.clone(), stop.clone());
        let (rooms, open) = (rooms.clone(), open.clone());
        drop(task::spawn("link server connection", async move {
            if let Some(admitted) = admit(handshake, place, &rooms, &options).await {
                connection(admitted, service, &options, stop).await;
            }
            drop(open);
        }));
    }
    drop(open);
    if task::timeout(options.drain_timeout, all_closed.recv())
        .await
        .is_err()
    {
        tracing::warn!(address = %listener.address(), "connections were cut, their calls ran on");
    }
}

/// Where connections have their places.
#[derive(Clone)]
struct Rooms {
    known: Arc<Semaphore>,
    strangers: Arc<Room>,
}

/// A connection that may be served.
struct Admitted {
    connection: Connection,
    stay: Stay,
}

/// By what right a connection is open.
enum Stay {
    /// Its peer is known.
    Known(#[expect(dead_code, reason = "held until the connection ends")] OwnedSemaphorePermit),
    /// It is not.
    Stranger(Place),
}

/// Lets a connection in, if it may. Until its peer is known it has a stranger's place.
async fn admit(
    handshake: Handshake,
    mut place: Place,
    rooms: &Rooms,
    options: &ServeOptions,
) -> Option<Admitted> {
    let entering = task::timeout(options.handshake_timeout, enter(handshake, rooms, options));
    let (connection, slot) = tokio::select! {
        biased;
        () = place.lost() => {
            tracing::debug!("a connection was cut: too many others did not say who they are");
            return None;
        },
        entered = entering => match entered {
            Ok(entered) => entered?,
            Err(_) => {
                tracing::info!("a connection was refused: its handshake took too long");
                return None;
            },
        },
    };
    let stay = slot.map_or(Stay::Stranger(place), Stay::Known);
    Some(Admitted { connection, stay })
}

/// The connection, and the place of a known peer.
async fn enter(
    handshake: Handshake,
    rooms: &Rooms,
    options: &ServeOptions,
) -> Option<(Connection, Option<OwnedSemaphorePermit>)> {
    let connection = match handshake.await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::info!(%error, "a connection was refused");
            return None;
        },
    };
    let peer = &connection.peer;
    if !allowed(peer, &options.roles) {
        tracing::info!(
            ?peer,
            "a connection was refused: its role may not connect here"
        );
        return None;
    }
    let slot = match peer {
        PeerIdentity::Anonymous => None,
        PeerIdentity::Known(_) => Some(Arc::clone(&rooms.known).acquire_owned().await.ok()?),
    };
    Some((connection, slot))
}

async fn connection<S>(
    admitted: Admitted,
    service: S,
    options: &ServeOptions,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<http::Request<Incoming>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let Connection { io, peer, lifetime } = admitted.connection;
    let mut stay = admitted.stay;
    let (ending, when) = watch::channel(false);
    let service = WithPeer {
        peer,
        ending: Ending::new(when),
        service,
    };
    let serving = http2(options, &stay).serve_connection(TokioIo::<BoxIo>::new(io), service);
    let mut serving = std::pin::pin!(serving);
    let limit = match &stay {
        Stay::Known(_) => None,
        Stay::Stranger(_) => Some(options.stranger_timeout),
    };
    let served = async {
        tokio::select! {
            biased;
            ended = serving.as_mut() => ended,
            () = told_or_over(&mut stop, lifetime.as_ref(), limit) => {
                ending.send_replace(true);
                serving.as_mut().graceful_shutdown();
                task::timeout(options.drain_timeout, serving).await.unwrap_or(Ok(()))
            },
        }
    };
    let ended = tokio::select! {
        biased;
        () = stay.lost() => {
            tracing::debug!("a stranger's connection was cut: others have come");
            return;
        },
        ended = served => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

impl Stay {
    /// Waits until the right is lost.
    async fn lost(&mut self) {
        match self {
            Self::Known(_) => std::future::pending().await,
            Self::Stranger(place) => place.lost().await,
        }
    }
}

/// Returns when the server should end.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Returns when the server should end, or the connection.
async fn told_or_over(
    stop: &mut watch::Receiver<bool>,
    lifetime: Option<&Lifetime>,
    limit: Option<Duration>,
) {
    let outlived = async {
        match lifetime {
            Some(lifetime) => lifetime.ended().await,
            None => std::future::pending().await,
        }
    };
    let too_long = async {
        match limit {
            Some(limit) => task::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = told(stop) => {},
        () = outlived => {},
        () = too_long => {},
    }
}

fn allowed(peer: &PeerIdentity, roles: &[Role]) -> bool {
    roles.is_empty()
        || peer
            .known()
            .is_some_and(|known| roles.contains(&known.role()))
}

fn http2(options: &ServeOptions, stay: &Stay) -> Builder<Tasks> {
    let (calls_max, call_bytes, connection_bytes) = match stay {
        Stay::Known(_) => (
            options.calls_max,
            STREAM_WINDOW_BYTES,
            CONNECTION_WINDOW_BYTES,
        ),
        Stay::Stranger(_) => (
            STRANGER_CALLS_MAX,
            STRANGER_WINDOW_BYTES,
            STRANGER_WINDOW_BYTES,
        ),
    };
    let mut builder = Builder::new(Tasks);
    builder
        .timer(TokioTimer::new())
        // gRPC does not ask for it, and it would be the machine's clock in a simulation
        .auto_date_header(false)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(calls_max)
        .initial_stream_window_size(call_bytes)
        .initial_connection_window_size(connection_bytes);
    builder
}

/// Puts the peer's identity into each request, and when it should come to an end.
struct WithPeer<S> {
    peer: PeerIdentity,
    ending: Ending,
    service: S,
}

impl<S> hyper::service::Service<http::Request<Incoming>> for WithPeer<S>
where
    S: Service<http::Request<Incoming>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    /// Generated gRPC servers are ready at any time.
    fn call(&self, mut request: http::Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.peer.clone());
        request.extensions_mut().insert(self.ending.clone());
        self.service.clone().call(request)
    }
}
