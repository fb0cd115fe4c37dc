//! The server's side: connections of a listener, each with the identity of its peer, given to one
//! gRPC service.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use millstream_clock::task;
use tokio::sync::{Semaphore, watch};
use tonic::body::Body;
use tower_service::Service;

use crate::grpc::peer::Ending;
use crate::grpc::{
    CONNECTION_WINDOW_BYTES, KEEPALIVE, KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES, Tasks,
};
use crate::transport::{BoxIo, Connection, Handshake, Listener};
use crate::{Lifetime, PeerIdentity, Role};

/// Wait after a failed accept: most often the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of a server.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Most open connections; further ones wait to be accepted.
    pub connections_max: usize,
    /// Most calls at a time on one connection.
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
    let slots = Arc::new(Semaphore::new(options.connections_max));
    loop {
        let accepted = tokio::select! {
            biased;
            () = told(&mut stop) => break,
            accepted = accept(&mut listener, &slots) => accepted,
        };
        let Some((handshake, slot)) = accepted else {
            task::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (service, options, stop) = (service.clone(), options.clone(), stop.clone());
        drop(task::spawn("link server connection", async move {
            connection(handshake, service, &options, stop).await;
            drop(slot);
        }));
    }
    let all = u32::try_from(options.connections_max).unwrap_or(u32::MAX);
    if task::timeout(options.drain_timeout, slots.acquire_many(all))
        .await
        .is_err()
    {
        tracing::warn!(address = %listener.address(), "connections were cut, their calls ran on");
    }
}

async fn accept(
    listener: &mut impl Listener,
    slots: &Arc<Semaphore>,
) -> Option<(Handshake, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok(handshake) => Some((handshake, slot)),
        Err(error) => {
            tracing::warn!(address = %listener.address(), %error, "cannot accept a connection");
            None
        },
    }
}

async fn connection<S>(
    handshake: Handshake,
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
    let Connection { io, peer, lifetime } =
        match task::timeout(options.handshake_timeout, handshake).await {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(error)) => {
                tracing::info!(%error, "a connection was refused");
                return;
            },
            Err(_) => {
                tracing::info!("a connection was refused: its handshake took too long");
                return;
            },
        };
    if !allowed(&peer, &options.roles) {
        tracing::info!(
            ?peer,
            "a connection was refused: its role may not connect here"
        );
        return;
    }
    let (ending, when) = watch::channel(false);
    let service = WithPeer {
        peer,
        ending: Ending::new(when),
        service,
    };
    let serving = http2(options).serve_connection(TokioIo::<BoxIo>::new(io), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        biased;
        ended = serving.as_mut() => ended,
        () = told_or_over(&mut stop, lifetime.as_ref()) => {
            ending.send_replace(true);
            serving.as_mut().graceful_shutdown();
            task::timeout(options.drain_timeout, serving).await.unwrap_or(Ok(()))
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Returns when the server should end.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Returns when the server should end, or the connection.
async fn told_or_over(stop: &mut watch::Receiver<bool>, lifetime: Option<&Lifetime>) {
    let Some(lifetime) = lifetime else {
        return told(stop).await;
    };
    tokio::select! {
        biased;
        () = told(stop) => {},
        () = lifetime.ended() => {},
    }
}

fn allowed(peer: &PeerIdentity, roles: &[Role]) -> bool {
    roles.is_empty()
        || peer
            .known()
            .is_some_and(|known| roles.contains(&known.role()))
}

fn http2(options: &ServeOptions) -> Builder<Tasks> {
    let mut builder = Builder::new(Tasks);
    builder
        .timer(TokioTimer::new())
        // gRPC does not ask for it, and it would be the machine's clock in a simulation
        .auto_date_header(false)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(options.calls_max)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
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
