//! The ConfigMaps of the API server behind the operator's own client of Kubernetes: HTTP and JSON, as
//! far as placements need them. A call that gets no answer ends in an error of the transport.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt as _};
use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use serde_json::{Value, json};
use tower_service::Service;

use super::{CallError, Client, Objects};
use crate::layout;

/// The transport of a client of Kubernetes whose every call ends here.
#[derive(Clone)]
pub(crate) struct ConfigMaps(Arc<Client>);

/// The API server did not answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
pub(crate) struct NoAnswer;

impl ConfigMaps {
    /// The client of Kubernetes that calls as `client` does.
    pub(crate) fn client(client: Arc<Client>) -> kube::Client {
        kube::Client::new(Self(client), layout::NAMESPACE)
    }
}

impl Service<Request<Body>> for ConfigMaps {
    type Response = Response<Body>;
    type Error = NoAnswer;
    type Future = BoxFuture<'static, Result<Response<Body>, NoAnswer>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAnswer>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = Arc::clone(&self.0);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.map_err(|_| NoAnswer)?;
            let name = name_in(head.uri.path());
            let given = object_in(&body);
            let called = client.call(|objects| match (head.method, given) {
                (Method::GET, None) => objects.read(name.as_deref()),
                (Method::POST, Some(object)) => objects.write(None, object),
                (Method::PUT, Some(object)) => objects.write(name.as_deref(), object),
                (method, _) => unreachable!("the operator does not {method} a placement so"),
            });
            match called.await {
                Ok(value) => Ok(response(StatusCode::OK, &value)),
                Err(CallError::Conflict) => Ok(refused(StatusCode::CONFLICT, "Conflict")),
                Err(CallError::NotFound) => Ok(refused(StatusCode::NOT_FOUND, "NotFound")),
                Err(CallError::Unavailable) => Err(NoAnswer),
            }
        }
        .boxed()
    }
}

/// The name of the object that a path leads to; none for the list.
fn name_in(path: &str) -> Option<String> {
    let (_, name) = path.split_once("/configmaps/")?;
    Some(name.to_owned())
}

/// The object in a body, if there is any.
fn object_in(body: &[u8]) -> Option<ConfigMap> {
    (!body.is_empty()).then(|| serde_json::from_slice(body).expect("the operator writes one"))
}

fn response(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string().into_bytes()));
    *response.status_mut() = status;
    response
}

fn refused(status: StatusCode, reason: &str) -> Response<Body> {
    let value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": status.as_u16(), "reason": reason, "message": reason,
    });
    response(status, &value)
}

impl Objects {
    fn read(&self, name: Option<&str>) -> Result<Value, CallError> {
        let Some(name) = name else {
            let items: Vec<_> = self.config_maps.values().collect();
            return Ok(json!({
                "kind": "ConfigMapList", "apiVersion": "v1",
                "metadata": { "resourceVersion": self.revision.to_string() },
                "items": items,
            }));
        };
        let object = self.config_maps.get(name).ok_or(CallError::NotFound)?;
        Ok(json!(object))
    }

    /// Writes over the object of this name, or makes it where none is named.
    fn write(&mut self, over: Option<&str>, mut object: ConfigMap) -> Result<Value, CallError> {
        let name = object.metadata.name.clone().unwrap_or_default();
        let there = self.config_maps.get(&name);
        let there = there.and_then(|there| there.metadata.resource_version.clone());
        if over.is_some() && there.is_none() {
            return Err(CallError::NotFound);
        }
        // Who makes one names no version.
        if object.metadata.resource_version != there {
            return Err(CallError::Conflict);
        }
        self.revision += 1;
        object.metadata.resource_version = Some(self.revision.to_string());
        let value = json!(object);
        self.config_maps.insert(name, object);
        Ok(value)
    }
}
