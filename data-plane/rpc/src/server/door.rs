//! What stands before the service: it lets in whoever may call at all, before anything of a request
//! is read; requests are counted in bytes as they come in, and what does not fit is refused before
//! anything of it is decoded.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream;
use http::{Extensions, HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Body as HttpBody, Frame};
use millstream_clock::{Clock, task};
use millstream_link::grpc::MESSAGE_BYTES_MAX;
use millstream_link::{PeerIdentity, Role};
use prost::Message as _;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use crate::meter::{Called, Meter, Outcome, Side};
use crate::wire;
use crate::wire::refusal::Reason;

/// Most bytes of requests that a server holds at a time.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// So many parts of them are kept from appends: reads, and what homes ask, go on beside them.
const KEPT_PARTS: usize = 8;
/// Most parts of a request: the largest one has an eighth of that in frames of the usual size.
const PARTS_MAX: usize = 16 * 1024;
/// Longest time for a request to come in. No client waits longer for its answer.
const TAKE_WITHIN: Duration = Duration::from_secs(15);
/// Bytes before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
const STATUS_HEADER: &str = "grpc-status";

/// A response's extension: the service has refused the call in its reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct WasRefused;

/// A service of one namespace with a bound on the bytes of its requests, and counts of its calls.
/// Clones share both.
#[derive(Clone)]
pub struct Door<S> {
    service: S,
    namespace: Arc<str>,
    room: Arc<Room>,
    meter: Option<(Arc<dyn Clock>, Arc<dyn Meter>)>,
}

impl<S> fmt::Debug for Door<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

impl<S> Door<S> {
    pub(super) fn new(service: S, namespace: &str) -> Self {
        Self {
            service,
            namespace: namespace.into(),
            room: Arc::new(Room::new(REQUEST_BYTES_MAX)),
            meter: None,
        }
    }

    /// Holds at most so many bytes of requests at a time.
    #[must_use]
    pub fn within(mut self, bytes: usize) -> Self {
        self.room = Arc::new(Room::new(bytes));
        self
    }

    /// Counts its calls.
    #[must_use]
    pub fn metered(mut self, clock: Arc<dyn Clock>, meter: Arc<dyn Meter>) -> Self {
        self.meter = Some((clock, meter));
        self
    }

    /// A gateway, which serves all accounts, or a shard server of the same account: pods of one
    /// namespace never see the records of another, nor take the room for its requests.
    fn admit(&self, caller: &Extensions) -> Result<(), Status> {
        let caller = caller.get::<PeerIdentity>().and_then(PeerIdentity::known);
        let Some(caller) = caller else {
            return Err(Status::unauthenticated(
                "this call asks for a certificate of a process",
            ));
        };
        match caller.role() {
            Role::Gateway => Ok(()),
            Role::Shard if caller.namespace() == &*self.namespace => Ok(()),
            Role::Shard => Err(Status::permission_denied(
                "a shard server calls in its own namespace only",
            )),
            role => Err(Status::permission_denied(format!(
                "the role {role} may not call this"
            ))),
        }
    }

    fn count(&self, call: &'static str, outcome: Outcome, began: Duration, bytes: usize) {
        if let Some((clock, meter)) = &self.meter {
            meter.called(&Called {
                side: Side::Server,
                call,
                outcome,
                elapsed: clock.monotonic().saturating_sub(began),
                bytes,
            });
        }
    }

    fn now(&self) -> Duration {
        let clock = self.meter.as_ref().map(|(clock, _)| clock);
        clock.map_or(Duration::ZERO, |clock| clock.monotonic())
    }
}

/// The bytes that are held.
#[derive(Debug)]
struct Room {
    held: AtomicUsize,
    most: usize,
}

/// Some of them, given back when it is dropped.
struct Held {
    room: Arc<Room>,
    bytes: usize,
    most: usize,
}

impl Room {
    const fn new(most: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            most,
        }
    }

    fn hold(self: &Arc<Self>, call: &str) -> Held {
        let kept = match call {
            "Append" => self.most / KEPT_PARTS,
            _ => 0,
        };
        Held {
            room: Arc::clone(self),
            bytes: 0,
            most: self.most - kept,
        }
    }
}

impl Held {
    /// Holds so many more, if there is room.
    fn more(&mut self, bytes: usize) -> bool {
        let added = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.most);
        let order = Ordering::Relaxed;
        let fits = self.room.held.fetch_update(order, order, added).is_ok();
        if fits {
            self.bytes += bytes;
        }
        fits
    }

    fn give_back(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A request's bytes.
enum Taken {
    /// All of them.
    Whole(Vec<Bytes>),
    /// There was no room; they are gone.
    NoRoom,
}

/// Takes the bytes of a request. Those that do not fit are read on and let go: a caller that is
/// answered while it still sends might take its connection for broken.
async fn take<B>(body: B, held: &mut Held) -> Result<(Taken, usize), Status>
where
    B: HttpBody<Data = Bytes> + Send,
{
    let mut body = std::pin::pin!(body);
    let (mut parts, mut bytes, mut fits) = (Vec::new(), 0, true);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Status::cancelled("the request broke off"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        bytes += data.len();
        if bytes > MESSAGE_BYTES_MAX + PREFIX_BYTES {
            return Err(Status::out_of_range("the request is too large"));
        }
        if data.is_empty() {
            continue;
        }
        fits = fits && held.more(data.len());
        if parts.len() == PARTS_MAX {
            return Err(Status::out_of_range("the request has too many parts"));
        }
        if fits {
            parts.push(data);
        } else {
            parts.clear();
            held.give_back();
        }
    }
    let taken = if fits {
        Taken::Whole(parts)
    } else {
        Taken::NoRoom
    };
    Ok((taken, bytes))
}

async fn within_time<T>(taking: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let taken = task::timeout(TAKE_WITHIN, taking).await;
    taken.unwrap_or_else(|_| Err(Status::deadline_exceeded("the request came too slowly")))
}

/// The reply of every call that says that there was no room: in all of them a refusal is at the same
/// place, but in the updates of a catalogue.
fn no_room(call: &str) -> Response<Body> {
    let refused = wire::Refusal {
        reason: Some(Reason::Overloaded(wire::Overloaded {})),
    };
    let message = if call == "WatchCatalogue" {
        let update = wire::CatalogueUpdate {
            what: Some(wire::catalogue_update::What::Refused(refused)),
            ..wire::CatalogueUpdate::default()
        };
        update.encode_to_vec()
    } else {
        let outcome = Some(wire::append_reply::Outcome::Refused(refused));
        wire::AppendReply { outcome }.encode_to_vec()
    };
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or_default());
    framed.put_slice(&message);
    let trailers = async {
        let mut trailers = HeaderMap::new();
        trailers.insert(STATUS_HEADER, HeaderValue::from_static("0"));
        Some(Ok(trailers))
    };
    let body = Full::new(framed.freeze()).with_trailers(trailers);
    let mut response = Response::new(Body::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, grpc);
    response
}

/// The call that a path names.
fn call_of(path: &str) -> &'static str {
    let last = path.rsplit('/').next().unwrap_or_default();
    let known = [
        "Append",
        "Read",
        "NumberAt",
        "Status",
        "WaitPast",
        "OpenShards",
        "DropShards",
        "WatchCatalogue",
    ];
    known.into_iter().find(|call| *call == last).unwrap_or("")
}

fn outcome_of(response: &Response<Body>) -> Outcome {
    // a failure comes without a message, and its status in the head
    match response.headers().get(STATUS_HEADER) {
        Some(status) if status != "0" => Outcome::Failed,
        _ if response.extensions().get::<WasRefused>().is_some() => Outcome::Refused,
        _ => Outcome::Done,
    }
}

impl<S, B> Service<Request<B>> for Door<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    /// Generated services are ready at any time.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut door = self.clone();
        async move {
            let (began, call) = (door.now(), call_of(request.uri().path()));
            let (head, body) = request.into_parts();
            let mut held = door.room.hold(call);
            let taken = match door.admit(&head.extensions) {
                Ok(()) => within_time(take(body, &mut held)).await,
                Err(status) => Err(status),
            };
            let (taken, bytes) = match taken {
                Ok(taken) => taken,
                Err(status) => {
                    door.count(call, Outcome::Failed, began, 0);
                    return Ok(status.into_http());
                },
            };
            let Taken::Whole(parts) = taken else {
                door.count(call, Outcome::Overloaded, began, bytes);
                return Ok(no_room(call));
            };
            let parts = parts
                .into_iter()
                .map(|part| Ok::<_, Status>(Frame::data(part)));
            let body = Body::new(StreamBody::new(stream::iter(parts)));
            let Ok(response) = door.service.call(Request::from_parts(head, body)).await;
            drop(held);
            door.count(call, outcome_of(&response), began, bytes);
            Ok(response)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
