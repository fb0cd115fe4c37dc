//! An API server in memory, behind the real client: create, replace, server-side apply, merge and
//! JSON patches, deletion with finalizers, lists and watches; and faults on demand.
//!
//! It knows no kind: objects are JSON. What it leaves out of the real one: schemas, defaults,
//! admission, and merging lists by key (a list belongs to one manager as a whole).

mod fields;
mod store;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};

use store::{Answer, Target};
pub(crate) use store::{Fault, Mock, SILENCE};

type Reply = UnsyncBoxBody<Bytes, Infallible>;

impl Mock {
    /// The transport of a client whose every call ends here.
    pub(crate) fn service(self: &Arc<Self>) -> Service {
        Service(Arc::clone(self))
    }
}

/// Stands where the network would be.
#[derive(Clone)]
pub(crate) struct Service(Arc<Mock>);

impl tower_service::Service<Request<Body>> for Service {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = futures::future::BoxFuture<'static, Result<Response<Reply>, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mock = Arc::clone(&self.0);
        Box::pin(async move { Ok(answer(&mock, request).await) })
    }
}

async fn answer(mock: &Arc<Mock>, request: Request<Body>) -> Response<Reply> {
    let (head, body) = request.into_parts();
    let bytes = read(body).await;
    let Some(target) = Target::parse(&head.uri) else {
        return reply(404, &status(404, "NotFound", "no such path"));
    };
    mock.note_call(head.method.as_str(), &target);
    if mock.forbids(&target) {
        return reply(403, &status(403, "Forbidden", "no role says so"));
    }
    if let Some(code) = mock.take_fault(head.method.as_str(), &target) {
        if code == SILENCE {
            std::future::pending::<()>().await;
        }
        let reason = match code {
            409 => "Conflict",
            410 => "Expired",
            429 => "TooManyRequests",
            _ => "InternalError",
        };
        return reply(code, &status(code, reason, "injected"));
    }
    let kind = head
        .headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let given: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let method = head.method.as_str();
    if method == "GET" && target.is_watch() {
        return watch(mock, &target);
    }
    let outcome = match method {
        "GET" if target.name.is_some() => mock.get(&target),
        "GET" => mock.list(&target),
        "POST" => mock.create(&target, given),
        "PUT" => mock.replace(&target, given),
        "PATCH" => mock.patch(&target, &kind, given),
        "DELETE" => mock.delete(&target, &given),
        _ => Err((405, "MethodNotAllowed", method.to_owned())),
    };
    match outcome {
        Ok(Answer { code, body }) => reply(code, &body),
        Err((code, reason, message)) => reply(code, &status(code, reason, &message)),
    }
}

#[expect(clippy::disallowed_methods, reason = "bodies of the tests' own client")]
async fn read(body: Body) -> Bytes {
    body.collect().await.expect("a body in memory").to_bytes()
}

fn reply(code: u16, body: &Value) -> Response<Reply> {
    let bytes = serde_json::to_vec(body).expect("JSON");
    let mut response = Response::new(Full::new(Bytes::from(bytes)).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).expect("a status");
    response
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

/// The events after the asked version, one JSON document per line, until the watch is dropped.
fn watch(mock: &Arc<Mock>, target: &Target) -> Response<Reply> {
    let events = mock.watch(target);
    let lines = stream::unfold(events, |mut events| async move {
        let event = events.recv().await?;
        let mut line = serde_json::to_vec(&event).expect("JSON");
        line.push(b'\n');
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(line))), events))
    });
    Response::new(StreamBody::new(lines.boxed()).boxed_unsync())
}
