//! Faults that are built in on purpose, to see that the simulation finds them. They are put around
//! the real parts, which stay as they are.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt as _};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use millstream_clock::{Clock, task};
use millstream_control::attach::Session;
use millstream_control::{DesiredState, PlacementVersion};
use millstream_link::grpc::MESSAGE_BYTES_MAX;
use millstream_types::{Epoch, GroupId};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tonic::body::Body;
use tower_service::Service;

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Planted {
    /// Nothing.
    #[default]
    Nothing,
    /// Shard servers answer whatever epoch they are called by.
    NoEpochCheck,
    /// An append without an answer after a while is sent once more.
    AppendRepeated,
    /// Appends are answered before they are committed.
    AckBeforeCommit,
    /// Servers take desired states and placements whatever their version.
    StaleAccepted,
}

/// When an append is sent once more.
const REPEAT_AFTER: Duration = Duration::from_millis(300);
/// The term of every version, where versions say nothing.
const TERM: u64 = 1_000_000;
/// Reports that wait to be passed on.
const REPORTS_MAX: usize = 16;

/// A session whose server compares no versions: every state comes to it as newer than the one
/// before, and what it reports names none, since no leader has given those out.
pub(crate) fn credulous(session: Session, clock: Arc<dyn Clock>) -> Session {
    let Session {
        id,
        server,
        mut observed,
        desired,
    } = session;
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    drop(task::spawn("planted reports", async move {
        while let Some(mut state) = observed.recv().await {
            state.desired = None;
            if reports.send(state).await.is_err() {
                return;
            }
        }
    }));
    let (wants, mut wanted) = watch::channel(None::<Arc<DesiredState>>);
    drop(task::spawn("planted states", async move {
        let mut count = 0;
        while wanted.changed().await.is_ok() {
            let state = wanted.borrow_and_update().clone();
            count += 1;
            let newer = |state: Arc<_>| newer_than_true(&state, clock.monotonic(), count);
            desired.send_replace(state.map(newer).map(Arc::new));
        }
    }));
    Session {
        id,
        server,
        observed: reported,
        desired: wants,
    }
}

/// A state with versions that count up with time, whoever sends it: to a server that compares them,
/// each looks newer than the one before, as if it did not compare.
fn newer_than_true(state: &DesiredState, now: Duration, count: u64) -> DesiredState {
    let time = u64::try_from(now.as_millis()).unwrap_or(u64::MAX / 2);
    let version = PlacementVersion::new(TERM, time.saturating_mul(1_000) + count % 1_000);
    let mut state = state.clone();
    match &mut state {
        DesiredState::Shard(shard) => {
            shard.version = version;
            shard.placement = version;
        },
        DesiredState::Gateway(gateway) => {
            gateway.version = version;
            for routes in &mut gateway.routes {
                routes.version = version;
            }
        },
    }
    state
}

/// A service of shards with what is planted before it.
#[derive(Clone)]
pub(crate) struct Meddling<S> {
    service: S,
    group: GroupId,
    epoch: Epoch,
    planted: Planted,
}

impl<S> Meddling<S> {
    pub(crate) const fn new(service: S, group: GroupId, epoch: Epoch, planted: Planted) -> Self {
        Self {
            service,
            group,
            epoch,
            planted,
        }
    }

    /// The message with the server's own epoch in its target.
    fn retargeted(&self, message: Bytes) -> Bytes {
        let Some((others, is_for_us)) = without_target(message.clone(), &self.group) else {
            return message;
        };
        if !is_for_us {
            return message;
        }
        let mut target = BytesMut::new();
        target.put_u8(0x0a);
        put_varint(&mut target, self.group.as_str().len() as u64);
        target.put_slice(self.group.as_str().as_bytes());
        target.put_u8(0x10);
        put_varint(&mut target, self.epoch.0);
        let mut all = BytesMut::new();
        all.put_u8(0x0a);
        put_varint(&mut all, target.len() as u64);
        all.put_slice(&target);
        all.put_slice(&others);
        all.freeze()
    }
}

/// The message without its first field, and whether that names `group`: the target stands first in
/// every request.
fn without_target(mut message: Bytes, group: &GroupId) -> Option<(Bytes, bool)> {
    if message.first() != Some(&0x0a) {
        return None;
    }
    message.advance(1);
    let length = usize::try_from(take_varint(&mut message)?).ok()?;
    if length > message.len() {
        return None;
    }
    let target = message.split_to(length);
    let name = group.as_str().as_bytes();
    let is_for_us = target.windows(name.len()).any(|window| window == name);
    Some((message, is_for_us))
}

fn take_varint(bytes: &mut Bytes) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        if bytes.is_empty() {
            return None;
        }
        let byte = bytes.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_varint(bytes: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        bytes.put_u8(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    bytes.put_u8(u8::try_from(value).expect("seven bits"));
}

/// A request's body: all requests are single messages.
async fn whole(body: Incoming) -> Option<Bytes> {
    #[expect(clippy::disallowed_methods, reason = "there is a limit around it")]
    let body = Limited::new(body, MESSAGE_BYTES_MAX).collect().await;
    Some(body.ok()?.to_bytes())
}

/// The message in a gRPC frame, and the frame of a message.
fn unframed(mut body: Bytes) -> Bytes {
    body.advance(body.len().min(5));
    body
}

fn framed(message: &Bytes) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a message has a limit"));
    frame.put_slice(message);
    frame.freeze()
}

impl<S> Service<http::Request<Incoming>> for Meddling<S>
where
    S: Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        let mut service = self.service.clone();
        if !matches!(
            self.planted,
            Planted::NoEpochCheck | Planted::AppendRepeated
        ) {
            return service.call(request.map(Body::new)).boxed();
        }
        let this = self.clone();
        async move {
            let (head, body) = request.into_parts();
            // A client that goes away ends the call.
            let Some(mut body) = whole(body).await else {
                return std::future::pending().await;
            };
            if this.planted == Planted::NoEpochCheck {
                body = framed(&this.retargeted(unframed(body)));
            }
            let again = http::Request::from_parts(head, body);
            let send = |request: &http::Request<Bytes>| {
                let request = request.clone().map(|body| Body::new(Full::new(body)));
                service.clone().call(request)
            };
            let first = send(&again);
            if this.planted != Planted::AppendRepeated || !again.uri().path().ends_with("/Append") {
                return first.await;
            }
            let first = task::spawn("planted", first);
            match task::timeout(REPEAT_AFTER, first).await {
                Ok(answer) => answer.unwrap_or_else(|_| Ok(http::Response::default())),
                Err(_) => send(&again).await,
            }
        }
        .boxed()
    }
}
