//! A gRPC service that says who called, and clients of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt as _};
use hyper::body::Incoming;
use millstream_clock::{SeededEntropy, task};
use millstream_link::authority::Authority;
use millstream_link::grpc::{Channel, Ending, ServeOptions, serve};
use millstream_link::{Address, Connector, Endpoint, Identity, Listener, PeerIdentity, Role};
use millstream_types::Millis;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

/// 2026-11-22.
pub(crate) const NOW: Millis = Millis(1_795_305_600_000);

pub(crate) fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

pub(crate) fn identity(role: Role, name: &str) -> Identity {
    Identity::new("team-a", role, name).expect("an identity")
}

pub(crate) fn authority(seed: u64) -> Authority {
    Authority::generate(NOW, &SeededEntropy::new(seed)).expect("a key")
}

/// Answers every call with the caller's identity as a header: `/wait` once it should end, `/hang`
/// never.
#[derive(Clone)]
pub(crate) struct WhoCalls;

impl Service<http::Request<Incoming>> for WhoCalls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        let peer = request.extensions().get::<PeerIdentity>().cloned();
        let mut ending = request.extensions().get::<Ending>().cloned();
        let path = request.uri().path().to_owned();
        async move {
            match (path.as_str(), &mut ending) {
                ("/hang", _) => std::future::pending().await,
                ("/wait", Some(ending)) => ending.wait().await,
                _ => {},
            }
            let name = match peer {
                Some(PeerIdentity::Known(identity)) => identity.to_string(),
                Some(PeerIdentity::Anonymous) => "anonymous".to_owned(),
                None => "nobody said".to_owned(),
            };
            let answer = http::Response::builder().header("caller", name);
            Ok(answer.body(Body::empty()).expect("a response"))
        }
        .boxed()
    }
}

/// Serves [`WhoCalls`] until the sender is dropped or says so.
pub(crate) fn serving(listener: impl Listener, options: ServeOptions) -> watch::Sender<bool> {
    let (stop, stopped) = watch::channel(false);
    drop(task::spawn(
        "test server",
        serve(listener, WhoCalls, options, stopped),
    ));
    stop
}

/// Who the server says we are.
pub(crate) async fn ask(channel: &Channel) -> Result<String, Status> {
    call(channel, "/who").await
}

pub(crate) async fn call(channel: &Channel, path: &str) -> Result<String, Status> {
    let request = http::Request::post(path).body(Body::empty());
    let answer = channel.clone().call(request.expect("a request")).await?;
    let caller = answer.headers().get("caller").expect("the header is set");
    Ok(caller.to_str().expect("text").to_owned())
}

/// Calls `shard-0`, wherever it is.
pub(crate) fn channel(connector: impl Connector, to: &Address) -> Channel {
    let shard = identity(Role::Shard, "shard-0");
    Channel::new(Arc::new(connector), Endpoint::of(to.clone(), shard))
}
