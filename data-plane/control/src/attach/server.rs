//! The operator's end: calls are authenticated here, then given to a [`Contract`].
//!
//! Start with [`door`]: who may call what, before anything is read.

pub mod door;
mod sessions;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use millstream_clock::task;
use millstream_link::grpc;
use millstream_link::{Identity, Role};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tonic::{Request, Response, Status, Streaming};

use crate::attach::contract::{
    Authenticator, Contract, OBSERVED_QUEUE_MAX, ReviewError, Session, SignError,
};
use crate::attach::wire::{self, proto};
use crate::desired::DesiredState;
use crate::observed::ObservedState;
use crate::secret::Secret;
use door::Door;
use proto::contract_server;
use sessions::{Open, Sessions};

/// Longest service-account token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Most requests for a certificate that are being looked into at a time; further ones wait.
pub const SIGNING_MAX: usize = 16;
/// How long one waits for that.
const SIGNING_WAIT_MAX: Duration = Duration::from_secs(5);
/// Shortest time between two reports of a session that are read. Servers leave twice as much.
const REPORTS_APART_MIN: Duration = Duration::from_millis(100);
/// How long a server may not attach again after a report that was refused.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// The gRPC service; give [`service`](Self::service) to [`grpc::serve`] with a listener that lets
/// in the anonymous too, and few of them: each may have a request in memory.
pub struct ContractServer {
    contract: Arc<dyn Contract>,
    authenticator: Arc<dyn Authenticator>,
    sessions: Arc<Sessions>,
    signing: Semaphore,
}

impl fmt::Debug for ContractServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContractServer")
    }
}

impl ContractServer {
    /// Serves `contract`; tokens are checked by `authenticator`.
    #[must_use]
    pub fn new(contract: Arc<dyn Contract>, authenticator: Arc<dyn Authenticator>) -> Self {
        Self {
            contract,
            authenticator,
            sessions: Arc::default(),
            signing: Semaphore::new(SIGNING_MAX),
        }
    }

    /// The service for [`grpc::serve`].
    #[must_use]
    pub fn service(self) -> Door {
        Door::new(self)
    }

    /// A standby answers nothing: the caller goes on to the next replica.
    fn leading(&self) -> Result<(), Status> {
        if self.contract.leads() {
            Ok(())
        } else {
            Err(standby())
        }
    }
}

fn standby() -> Status {
    Status::unavailable("this replica is a standby")
}

#[tonic::async_trait]
impl contract_server::Contract for ContractServer {
    type AttachStream = BoxStream<'static, Result<proto::Desired, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<proto::Observed>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let server = grpc::require(&request, &[Role::Gateway, Role::Shard])?.clone();
        self.leading()?;
        let open = self.sessions.open(&server)?;
        let (reports, observed) = mpsc::channel(OBSERVED_QUEUE_MAX);
        let (desired, states) = watch::channel(None);
        let session = Session {
            id: open.id,
            server: server.clone(),
            observed,
            desired,
        };
        self.contract.attach(session).await.map_err(|_| standby())?;
        let (refuse, refused) = oneshot::channel();
        let reporting = Reporting {
            server,
            open,
            reports,
            refuse,
        };
        let messages = request.into_inner();
        drop(task::spawn("contract session", reporting.run(messages)));
        Ok(Response::new(send(states, refused)))
    }

    async fn sign_certificate(
        &self,
        request: Request<proto::SignCertificateRequest>,
    ) -> Result<Response<proto::SignCertificateResponse>, Status> {
        self.leading()?;
        let request = request.into_inner();
        wire::check(request.contract)?;
        let identity: Identity = request
            .identity
            .parse()
            .map_err(|error| Status::invalid_argument(format!("the identity: {error}")))?;
        if request.token.len() > TOKEN_BYTES_MAX {
            return Err(Status::invalid_argument("the token is too long"));
        }
        let turn = task::timeout(SIGNING_WAIT_MAX, self.signing.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or_else(|| {
            Status::resource_exhausted("too many certificates are asked for, ask again")
        })?;
        let token = Secret::new(request.token);
        let pod = self
            .authenticator
            .review(&token)
            .await
            .map_err(|error| match error {
                ReviewError::Rejected(_) => Status::unauthenticated(error.to_string()),
                ReviewError::Unavailable(_) => Status::unavailable(error.to_string()),
            })?;
        if pod.namespace != identity.namespace() || pod.pod != identity.name() {
            return Err(Status::permission_denied(format!(
                "the token is that of pod {}/{}, not of {identity}",
                pod.namespace, pod.pod
            )));
        }
        let certificate_pem = self
            .contract
            .sign(&pod, &identity, &request.request_pem)
            .await
            .map_err(|error| match error {
                SignError::Refused(text) => Status::permission_denied(text),
                SignError::Unavailable(text) => Status::unavailable(text),
            })?;
        Ok(Response::new(proto::SignCertificateResponse {
            certificate_pem,
        }))
    }

    async fn create_stream(
        &self,
        request: Request<proto::CreateStreamRequest>,
    ) -> Result<Response<proto::ControlResponse>, Status> {
        grpc::require(&request, &[Role::Gateway])?;
        self.leading()?;
        let request = request.into_inner();
        wire::check(request.contract)?;
        let scope = wire::scope(&request.account, &request.region)?;
        let spec = wire::parse("the specification", &request.spec)?;
        let outcome = self.contract.create_stream(&scope, spec).await;
        Ok(Response::new(wire::created(outcome)))
    }

    async fn delete_stream(
        &self,
        request: Request<proto::DeleteStreamRequest>,
    ) -> Result<Response<proto::ControlResponse>, Status> {
        grpc::require(&request, &[Role::Gateway])?;
        self.leading()?;
        let request = request.into_inner();
        wire::check(request.contract)?;
        let scope = wire::scope(&request.account, &request.region)?;
        let name = request
            .name
            .parse()
            .map_err(|error| Status::invalid_argument(format!("the stream: {error}")))?;
        let outcome = self.contract.delete_stream(&scope, &name).await;
        Ok(Response::new(wire::deleted(outcome)))
    }
}

/// What takes the reports of one session.
struct Reporting {
    server: Identity,
    open: Open,
    reports: mpsc::Sender<ObservedState>,
    /// Tells the server why its session ends.
    refuse: oneshot::Sender<Status>,
}

impl Reporting {
    /// Gives the operator what the server reports, until either lets go or a report is refused.
    async fn run(mut self, mut messages: Streaming<proto::Observed>) {
        let Some(refusal) = self.take_reports(&mut messages).await else {
            return;
        };
        drop(messages);
        let (server, reason) = (&self.server, refusal.message());
        tracing::warn!(%server, reason, "a report was refused; the session ends");
        self.open.bar();
        // nobody listens any more where the server has gone
        drop(self.refuse.send(refusal));
        drop(self.reports);
        task::sleep(REFUSED_FOR).await;
        drop(self.open);
    }

    /// Why a report is refused, if the session ends by that.
    async fn take_reports(&mut self, messages: &mut Streaming<proto::Observed>) -> Option<Status> {
        loop {
            let message = tokio::select! {
                biased;
                () = self.reports.closed() => return None,
                () = self.open.replaced() => return None,
                message = messages.message() => message,
            };
            let message = match message {
                Ok(message) => message?,
                Err(status) => {
                    let (server, reason) = (&self.server, status.message());
                    tracing::info!(%server, reason, "a session ended");
                    return None;
                },
            };
            let state = match self.read(&message) {
                Ok(state) => state,
                Err(refusal) => return Some(refusal),
            };
            drop(message);
            tokio::select! {
                biased;
                () = self.open.replaced() => return None,
                sent = self.reports.send(state) => sent.ok()?,
            }
            task::sleep(REPORTS_APART_MIN).await;
        }
    }

    /// A report of this server that can be true.
    fn read(&self, message: &proto::Observed) -> Result<ObservedState, Status> {
        let state = wire::read_observed(message)?;
        if state.server == self.server {
            Ok(state)
        } else {
            let text = format!(
                "the report is that of {}, not of {}",
                state.server, self.server
            );
            Err(Status::permission_denied(text))
        }
    }
}

/// Sends each newest desired state; ends when the operator lets go of the session, or a report was
/// refused.
fn send(
    states: watch::Receiver<Option<Arc<DesiredState>>>,
    refused: oneshot::Receiver<Status>,
) -> BoxStream<'static, Result<proto::Desired, Status>> {
    stream::unfold(Some((states, refused)), |session| async move {
        let (mut states, mut refused) = session?;
        loop {
            let changed = tokio::select! {
                biased;
                Ok(refusal) = &mut refused, if !refused.is_terminated() => {
                    return Some((Err(refusal), None));
                },
                changed = states.changed() => changed,
            };
            if changed.is_err() {
                let ended = Status::unavailable("the operator ended the session");
                return Some((Err(ended), None));
            }
            let newest = states.borrow_and_update().clone();
            if let Some(state) = newest {
                return Some((Ok(wire::desired(&state)), Some((states, refused))));
            }
        }
    })
    .boxed()
}
