//! One request from its head to its answer: body, route, credentials, decode, handle, encode.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, header};
use hyper::body::Incoming;
use millstream_chassis::{Metrics, Permit};
use millstream_clock::{Clock, Entropy};
use millstream_control::ControlPlane;
use millstream_protocol::kinesis::{self, Operation};
use millstream_protocol::route::{Head, Routed, rejected, route};
use millstream_protocol::{Codec, Reply, ServiceError};
use millstream_stream::{ShardLog, Streams};

use crate::auth::{Authenticator, Transport};
use crate::body::{BodyReader, Held, Refused};
use crate::errors;
use crate::handlers::{Answer, Handlers};
use crate::meters::{Meters, Outcome};
use crate::options::{Budgets, Options};
use crate::reply::{self, ReplyBody};
use crate::request_id::RequestIds;
use crate::watch::{Activity, Sending};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Answers up to this are not charged: the time to take them bounds them.
const UNCHARGED_BYTES: u64 = 4 * 1024;
/// Memory of a header beside its name and value.
const HEADER_BYTES: usize = 128;
/// Answers up to this are for the small lane.
const SMALL_ANSWER_BYTES: u64 = 64 * 1024;

/// Everything that requests share.
pub(crate) struct Service<S, C> {
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) meters: Meters,
    ids: RequestIds,
    handlers: Handlers<S, C>,
}

/// An answer before it is HTTP.
struct Answered {
    reply: Reply,
    outcome: Outcome,
    /// The memory of a larger answer.
    permit: Option<Permit>,
    body_bytes: usize,
}

impl<S: ShardLog, C: ControlPlane> Service<S, C> {
    pub(crate) fn new(
        options: Options,
        streams: Streams<S>,
        control: Arc<C>,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Self {
        let handlers = Handlers::new(streams, control, &options);
        Self {
            options,
            clock,
            meters: Meters::new(metrics),
            ids: RequestIds::new(entropy),
            handlers,
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        transport: Transport,
        activity: &Arc<Activity>,
        closing: bool,
    ) -> Response<ReplyBody> {
        let started = self.clock.monotonic();
        let _in_flight = activity.request();
        let (parts, body) = request.into_parts();
        let id = self.ids.next();
        let cross_origin = parts.headers.contains_key(header::ORIGIN);
        if cross_origin && parts.method == Method::OPTIONS {
            return reply::preflight(&parts.headers, id);
        }
        let mut answered = self.answered(&parts, body, transport).await;
        let took = self.clock.monotonic().saturating_sub(started);
        self.meters.request(answered.outcome, parts.version, took);
        self.meters
            .bytes(answered.body_bytes, answered.reply.body.len());
        if !answered.reply.body.is_empty() {
            let (permit, sending) = (
                answered.permit.take(),
                activity.sending(answered.reply.body.len() as u64),
            );
            answered.reply.body = held_until_sent(answered.reply.body, permit, sending);
        }
        let cut = matches!(answered.reply.status, 408 | 413);
        let mut response = reply::response(answered.reply, id, cross_origin);
        if (closing || cut) && parts.version < http::Version::HTTP_2 {
            let close = http::HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }

    async fn answered(&self, parts: &Parts, body: Incoming, transport: Transport) -> Answered {
        let reader = BodyReader {
            budgets: &self.options.budgets,
            timeouts: &self.options.timeouts,
            clock: &*self.clock,
            codec: codec_of(parts),
        };
        let authenticator = Authenticator {
            auth: &self.options.auth,
            home: &self.options.home,
            clock: &*self.clock,
        };
        if let Err(error) = authenticator.check_head(parts, transport) {
            return refused_by_head(parts, body, reader, &error).await;
        }
        let held = match reader.read(body).await {
            Ok(held) => held,
            Err(refused) => return body_refused(refused, parts),
        };
        let Routed { operation, codec } = match route(head(parts), &held.bytes) {
            Ok(routed) => routed,
            Err(reply) => return Answered::unrouted(reply, &held.bytes),
        };
        let body_bytes = held.bytes.len();
        let scope = match authenticator.scope(parts, &held.bytes, transport) {
            Ok(scope) => scope,
            Err(error) => return Answered::rejected(operation, codec, &error, &held.bytes),
        };
        let Held { bytes, permit } = held;
        let decoded = kinesis::decode(codec, operation, &bytes);
        drop(bytes);
        let answer = match decoded {
            Ok(request) => self.handlers.call(&scope, request).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => {
                let answered = Answered::ok(operation, codec, answer, body_bytes);
                answered.charged(operation, codec, &self.options.budgets, permit)
            },
            Err(error) => {
                let outcome = Outcome::of_error(Some(operation), &error);
                Answered::bare(Reply::error(codec, &error), outcome, body_bytes)
            },
        }
    }
}

impl Answered {
    fn bare(reply: Reply, outcome: Outcome, body_bytes: usize) -> Self {
        Self {
            reply,
            outcome,
            permit: None,
            body_bytes,
        }
    }

    fn unrouted(reply: Reply, body: &[u8]) -> Self {
        let outcome = Outcome::bare(reply.status);
        Self::bare(reply, outcome, body.len())
    }

    /// The credentials of a request that was routed fail with `error`.
    fn rejected(operation: Operation, codec: Codec, error: &ServiceError, body: &[u8]) -> Self {
        let outcome = Outcome::of_error(Some(operation), error);
        Self::bare(rejected(codec, error, body), outcome, body.len())
    }

    fn ok(operation: Operation, codec: Codec, answer: Answer, body_bytes: usize) -> Self {
        let reply = kinesis::encode(codec, &answer.response);
        let outcome = Outcome {
            operation: Some(operation),
            status: reply.status,
            error: None,
        };
        drop(answer.response);
        let sent_bytes = reply.body.len() as u64;
        Self {
            permit: answer.memory.map(|memory| memory.encoded(sent_bytes)),
            reply,
            outcome,
            body_bytes,
        }
    }

    /// Gives a larger answer memory until it is sent, or throttles it. What was put stays put: its
    /// answer keeps memory of its own request, `body`.
    fn charged(
        mut self,
        operation: Operation,
        codec: Codec,
        budgets: &Budgets,
        mut body: Permit,
    ) -> Self {
        let bytes = self.reply.body.len() as u64;
        if self.permit.is_some() || bytes <= UNCHARGED_BYTES {
            return self;
        }
        if operation == Operation::PutRecords {
            body.shrink_to(bytes);
            self.permit = Some(body);
            return self;
        }
        self.permit = memory_for(budgets, bytes);
        if self.permit.is_some() {
            return self;
        }
        let error = errors::overloaded();
        let outcome = Outcome::of_error(Some(operation), &error);
        Self::bare(Reply::error(codec, &error), outcome, self.body_bytes)
    }
}

/// Memory for an answer of `bytes`, in the lane of its size or the other one.
fn memory_for(budgets: &Budgets, bytes: u64) -> Option<Permit> {
    let [small, large] = &budgets.responses;
    let lanes = if bytes <= SMALL_ANSWER_BYTES {
        [small, large]
    } else {
        [large, small]
    };
    lanes.into_iter().find_map(|lane| lane.take(bytes))
}

/// What a request is answered in if it does not come as far as to be routed.
fn codec_of(parts: &Parts) -> Codec {
    Codec::of_content_type(head(parts).content_type)
}

fn head(parts: &Parts) -> Head<'_> {
    let text = |name: &HeaderName| parts.headers.get(name).and_then(|v| v.to_str().ok());
    Head {
        method: parts.method.as_str(),
        content_type: text(&header::CONTENT_TYPE),
        target: text(&TARGET),
        content_encoding: text(&header::CONTENT_ENCODING),
        content_sha256: text(&CONTENT_SHA256),
    }
}

/// Memory of a head.
fn head_bytes(parts: &Parts) -> u64 {
    let path = parts
        .uri
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES);
    (path + headers.sum::<usize>()) as u64
}

/// The operation that the head names, for the metrics of a request that was not routed.
fn named_operation(parts: &Parts) -> Option<Operation> {
    let (_, name) = head(parts).target?.split_once('.')?;
    Operation::parse(name)
}

/// The answer to a request whose head fails with `error`. AWS looks at the body first: that is done
/// where there is memory for it that nobody else needs. Without memory for its head, which lasts as
/// long as the request, it is answered at once, whatever of its body is still to come.
async fn refused_by_head(
    parts: &Parts,
    body: Incoming,
    reader: BodyReader<'_>,
    error: &ServiceError,
) -> Answered {
    let unread = || {
        let outcome = Outcome::of_error(named_operation(parts), error);
        Answered::bare(Reply::error(codec_of(parts), error), outcome, 0)
    };
    let Some(_head) = reader.budgets.strangers.take(head_bytes(parts)) else {
        return unread();
    };
    let (bytes, _memory) = match reader.read_of_stranger(body).await {
        Ok(read) => read,
        Err(Refused::TooLarge | Refused::NoMemory) => return unread(),
        Err(refused) => return body_refused(refused, parts),
    };
    match route(head(parts), &bytes) {
        Ok(Routed { operation, codec }) => Answered::rejected(operation, codec, error, &bytes),
        Err(reply) => Answered::unrouted(reply, &bytes),
    }
}

/// The answer to a body that was not read.
fn body_refused(refused: Refused, parts: &Parts) -> Answered {
    let (operation, codec) = (named_operation(parts), codec_of(parts));
    match refused {
        Refused::NoMemory => {
            let error = errors::overloaded();
            let outcome = Outcome::of_error(operation, &error);
            Answered::bare(Reply::error(codec, &error), outcome, 0)
        },
        Refused::TooLarge => refused_with(codec, 413, "RequestEntityTooLargeException"),
        Refused::TooSlow | Refused::Broken => refused_with(codec, 408, "RequestTimeoutException"),
    }
}

fn refused_with(codec: Codec, status: u16, name: &str) -> Answered {
    let reply = Reply::bare(codec, status, name);
    Answered::bare(reply, Outcome::bare(status), 0)
}

/// The bytes of an answer, holding on to their memory until the last of them is sent.
fn held_until_sent(bytes: Bytes, permit: Option<Permit>, sending: Sending) -> Bytes {
    struct HeldBytes {
        bytes: Bytes,
        _permit: Option<Permit>,
        _sending: Sending,
    }

    impl AsRef<[u8]> for HeldBytes {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }

    Bytes::from_owner(HeldBytes {
        bytes,
        _permit: permit,
        _sending: sending,
    })
}
