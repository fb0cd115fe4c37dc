//! The client's side: one HTTP/2 connection to one address, opened when it is needed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use millstream_clock::task;
use tokio::sync::Mutex;
use tonic::Status;
use tonic::body::Body;

use crate::grpc::{
    CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, KEEPALIVE, KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
    Tasks,
};
use crate::{Address, BoxIo, ConnectError, Connector, Endpoint, Lifetime};

/// Why a call has no answer from the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// Nothing of the call left this process: repeating it is safe.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The connection broke afterwards: the call may have been carried out.
    #[error("the connection to {to} broke: {reason}")]
    Broken {
        /// Who was called.
        to: Address,
        /// What happened.
        reason: String,
    },
}

impl From<ConnectError> for ChannelError {
    fn from(error: ConnectError) -> Self {
        Self::NotSent(error.to_string())
    }
}

impl From<ChannelError> for Status {
    fn from(error: ChannelError) -> Self {
        let mut status = Self::unavailable(error.to_string());
        status.set_source(Arc::new(error));
        status
    }
}

/// Whether a failed call certainly never left this process, so that repeating it cannot do it twice.
#[must_use]
pub fn was_not_sent(status: &Status) -> bool {
    status
        .source()
        .and_then(|source| source.downcast_ref::<ChannelError>())
        .is_some_and(|error| matches!(error, ChannelError::NotSent(_)))
}

/// Calls to one process at one address. Clones share the connection; it is opened when a call needs it, and again
/// after it broke. Generated gRPC clients take it as their inner service.
#[derive(Clone)]
pub struct Channel(Arc<Shared>);

struct Shared {
    connector: Arc<dyn Connector>,
    to: Endpoint,
    connect_timeout: Duration,
    /// Counts the connections that could not be opened.
    failures: AtomicU64,
    last: Mutex<Last>,
}

/// What the last attempt to open a connection brought.
#[derive(Default)]
enum Last {
    /// None was made, or the connection was retired.
    #[default]
    Nothing,
    /// A connection.
    Open(Open),
    /// None. Whoever has waited for it is told, instead of waiting as long again.
    Failed(ChannelError),
}

/// A connection that is open.
#[derive(Clone)]
struct Open {
    sender: SendRequest<Body>,
    lifetime: Option<Lifetime>,
}

impl Open {
    /// Whether it takes further calls.
    fn is_good(&self) -> bool {
        let retired = self.lifetime.as_ref().is_some_and(Lifetime::is_retired);
        !retired && !self.sender.is_closed()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("to", &self.0.to)
            .finish_non_exhaustive()
    }
}

impl Channel {
    /// Calls to `to`. Nothing is opened yet.
    #[must_use]
    pub fn new(connector: Arc<dyn Connector>, to: Endpoint) -> Self {
        Self(Arc::new(Shared {
            connector,
            to,
            connect_timeout: CONNECT_TIMEOUT,
            failures: AtomicU64::new(0),
            last: Mutex::default(),
        }))
    }

    /// Who is called.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.to
    }
}

impl Shared {
    /// The open connection, or a new one. Callers that come meanwhile wait for the same one, and
    /// share its failure.
    async fn connection(&self) -> Result<SendRequest<Body>, ChannelError> {
        let failures = self.failures.load(Ordering::Acquire);
        let mut last = self.last.lock().await;
        match &*last {
            Last::Open(open) if open.is_good() => return Ok(open.sender.clone()),
            Last::Failed(error) if self.failures.load(Ordering::Acquire) != failures => {
                return Err(error.clone());
            },
            _ => {},
        }
        // calls that run over a retired one keep it open until they are answered
        *last = Last::Nothing;
        match self.connect_in_time().await {
            Ok(fresh) => {
                *last = Last::Open(fresh.clone());
                Ok(fresh.sender)
            },
            Err(error) => {
                *last = Last::Failed(error.clone());
                self.failures.fetch_add(1, Ordering::AcqRel);
                Err(error)
            },
        }
    }

    async fn connect_in_time(&self) -> Result<Open, ChannelError> {
        task::timeout(self.connect_timeout, self.connect())
            .await
            .map_err(|_| ConnectError::TimedOut {
                to: self.to.address.clone(),
                limit_ms: u64::try_from(self.connect_timeout.as_millis()).unwrap_or(u64::MAX),
            })?
    }

    async fn connect(&self) -> Result<Open, ChannelError> {
        let opened = self.connector.connect(&self.to).await?;
        let lifetime = opened.lifetime;
        let io: BoxIo = match &lifetime {
            Some(lifetime) => Box::new(lifetime.clone().bound(opened.io)),
            None => opened.io,
        };
        let (sender, connection) = Builder::new(Tasks)
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| ChannelError::NotSent(error.to_string()))?;
        let to = self.to.address.clone();
        drop(task::spawn("link connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%to, %error, "a connection ended");
            }
        }));
        Ok(Open { sender, lifetime })
    }

    async fn call(
        &self,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<Incoming>, ChannelError> {
        *request.uri_mut() = self.absolute(request.uri())?;
        let mut connection = self.connection().await?;
        let answer = connection.try_send_request(request).await;
        answer.map_err(|mut failure| {
            let reason = describe(failure.error());
            match failure.take_message() {
                Some(_) => ChannelError::NotSent(reason),
                None => ChannelError::Broken {
                    to: self.to.address.clone(),
                    reason,
                },
            }
        })
    }

    /// HTTP/2 asks for scheme and authority; generated clients know the path only.
    fn absolute(&self, uri: &http::Uri) -> Result<http::Uri, ChannelError> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        http::Uri::builder()
            .scheme("http")
            .authority(self.to.address.as_str())
            .path_and_query(path)
            .build()
            .map_err(|error| ChannelError::NotSent(error.to_string()))
    }
}

/// An error with what caused it.
fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

impl tower_service::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        async move { shared.call(request).await.map_err(Status::from) }.boxed()
    }
}
