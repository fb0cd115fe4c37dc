//! The admin port: `/healthz` and `/readyz` for anyone, `/metrics` for the bearer token of a user
//! who may get `/metrics`, as the API server knows users and judges rights.
//!
//! Both replicas are ready, the leader and the one that waits: readiness says that the process
//! talks to the API server.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use millstream_clock::{Crowd, task};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::metrics::Metrics;

/// Most admin connections at once; a further one closes the oldest. Who opens many must not keep
/// the kubelet's probe waiting: it would end the pod.
const CONNECTIONS_MAX: usize = 64;
/// Largest head of a request, in bytes: a bearer token fits.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Longest time to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest life of an admin connection: one request and its answer.
const CONNECTION_LIFE: Duration = Duration::from_secs(15);
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most scrapers that the API server is asked about at once: it must not suffer from a flood.
const REVIEWS_MAX: usize = 4;
/// Longest time to ask the API server about a scraper, the wait for a turn with it.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest bearer token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// What the admin port shows.
#[derive(Clone)]
pub struct Admin {
    metrics: Metrics,
    client: Client,
    is_ready: Arc<AtomicBool>,
    reviews: Arc<Semaphore>,
}

/// What is known of somebody who asks for the metrics.
enum Scraper {
    /// A user who may get them.
    Allowed,
    /// A user who may not.
    Forbidden,
    /// No user of the cluster, or none that could be asked about.
    Unknown,
}

impl Admin {
    /// An admin port of a process that is not ready yet.
    #[must_use]
    pub fn new(metrics: Metrics, client: Client) -> Self {
        Self {
            metrics,
            client,
            is_ready: Arc::default(),
            reviews: Arc::new(Semaphore::new(REVIEWS_MAX)),
        }
    }

    /// Sets what `/readyz` says.
    pub fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Release);
    }

    /// Serves until the process ends.
    pub async fn serve(self, listener: TcpListener) {
        let mut connections = Crowd::new("admin-connection", CONNECTIONS_MAX, CONNECTION_LIFE);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => connections.spawn(self.clone().connection(stream)),
                Err(error) => {
                    tracing::warn!(%error, "accepting an admin connection failed");
                    task::sleep(ACCEPT_PAUSE).await;
                },
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        let service = service_fn(move |request: Request<Incoming>| {
            let admin = self.clone();
            async move {
                let (head, _) = request.into_parts();
                let answer = admin.answer(&head.method, head.uri.path(), &head.headers);
                Ok::<_, Infallible>(answer.await)
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "an admin connection ended early");
        }
    }

    async fn answer(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.is_ready.load(Ordering::Acquire) => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            "/metrics" => match self.judge(headers).await {
                Scraper::Allowed => {
                    let mut response = text(StatusCode::OK, self.metrics.text());
                    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                    let form = header::HeaderValue::from_static(form);
                    response.headers_mut().insert(header::CONTENT_TYPE, form);
                    response
                },
                Scraper::Forbidden => text(
                    StatusCode::FORBIDDEN,
                    "bind this user a ClusterRole with nonResourceURLs: [/metrics] and verbs: [get]\n",
                ),
                Scraper::Unknown => text(StatusCode::UNAUTHORIZED, "send a bearer token\n"),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz and /metrics\n",
            ),
        }
    }

    /// Whether the bearer token is of a user who may get the metrics.
    async fn judge(&self, headers: &HeaderMap) -> Scraper {
        let value = headers.get(header::AUTHORIZATION);
        let token = value
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.strip_prefix("Bearer "))
            .filter(|token| token.len() <= TOKEN_BYTES_MAX);
        let Some(token) = token else {
            return Scraper::Unknown;
        };
        match task::timeout(REVIEW_TIMEOUT, self.ask_about(token)).await {
            Ok(Ok(scraper)) => scraper,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a scraper could not be asked about");
                Scraper::Unknown
            },
            Err(_) => Scraper::Unknown,
        }
    }

    async fn ask_about(&self, token: &str) -> Result<Scraper, kube::Error> {
        let Ok(_turn) = self.reviews.acquire().await else {
            return Ok(Scraper::Unknown);
        };
        let Some(user) = self.user_of(token).await? else {
            return Ok(Scraper::Unknown);
        };
        if self.may_get(user).await? {
            return Ok(Scraper::Allowed);
        }
        Ok(Scraper::Forbidden)
    }

    /// The user whose token it is.
    async fn user_of(&self, token: &str) -> Result<Option<UserInfo>, kube::Error> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                ..TokenReviewSpec::default()
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let review = reviews.create(&PostParams::default(), &review).await?;
        let status = review.status.unwrap_or_default();
        let is_known = status.authenticated == Some(true);
        Ok(status.user.filter(|_| is_known))
    }

    /// Whether somebody gave this user the right to `/metrics`.
    async fn may_get(&self, user: UserInfo) -> Result<bool, kube::Error> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username,
                groups: user.groups,
                uid: user.uid,
                extra: user.extra,
                non_resource_attributes: Some(NonResourceAttributes {
                    path: Some("/metrics".to_owned()),
                    verb: Some("get".to_owned()),
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let review = reviews.create(&PostParams::default(), &review).await?;
        Ok(review.status.is_some_and(|status| status.allowed))
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
