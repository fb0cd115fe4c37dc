//! The operator's end: calls are authenticated here, then given to a [`Contract`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{self, BoxStream, StreamExt as _};
use millstream_clock::task;
use millstream_link::grpc::{self, MESSAGE_BYTES_MAX};
use millstream_link::{Identity, Role};
use tokio::sync::{mpsc, watch};
use tonic::{Request, Response, Status, Streaming};

use crate::attach::contract::{
    Authenticator, Contract, OBSERVED_QUEUE_MAX, ReviewError, Session, SignError,
};
use crate::attach::wire::{self, proto};
use crate::desired::DesiredState;
use crate::observed::ObservedState;
use crate::secret::Secret;
use proto::contract_server;

/// Longest service-account token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The gRPC service; give [`service`](Self::service) to [`grpc::serve`] with a listener that lets
/// in the anonymous too.
pub struct ContractServer {
    contract: Arc<dyn Contract>,
    authenticator: Arc<dyn Authenticator>,
    sessions: AtomicU64,
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
            sessions: AtomicU64::new(0),
        }
    }

    /// The service for [`grpc::serve`].
    #[must_use]
    pub fn service(self) -> contract_server::ContractServer<Self> {
        contract_server::ContractServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
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
        let (reports, observed) = mpsc::channel(OBSERVED_QUEUE_MAX);
        let (desired, states) = watch::channel(None);
        let session = Session {
            id: self.sessions.fetch_add(1, Ordering::Relaxed) + 1,
            server: server.clone(),
            observed,
            desired,
        };
        self.contract.attach(session).await.map_err(|_| standby())?;
        drop(task::spawn(
            "contract session",
            report(server, request.into_inner(), reports),
        ));
        Ok(Response::new(send(states)))
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

/// Gives the operator what the server reports, until either lets go.
async fn report(
    server: Identity,
    mut messages: Streaming<proto::Observed>,
    reports: mpsc::Sender<ObservedState>,
) {
    loop {
        let message = tokio::select! {
            biased;
            () = reports.closed() => return,
            message = messages.message() => message,
        };
        let state = match message {
            Ok(Some(message)) => wire::read_observed(&message),
            Ok(None) => return,
            Err(status) => Err(status),
        };
        match state {
            Ok(state) if state.server == server => {
                if reports.send(state).await.is_err() {
                    return;
                }
            },
            Ok(state) => {
                tracing::warn!(%server, claimed = %state.server, "a server reports for another one; its session ends");
                return;
            },
            Err(status) => {
                tracing::info!(%server, reason = status.message(), "a session ended");
                return;
            },
        }
    }
}

/// Sends each newest desired state; ends when the operator lets go of the session.
fn send(
    states: watch::Receiver<Option<Arc<DesiredState>>>,
) -> BoxStream<'static, Result<proto::Desired, Status>> {
    stream::unfold(Some(states), |states| async move {
        let mut states = states?;
        loop {
            if states.changed().await.is_err() {
                let ended = Status::unavailable("the operator ended the session");
                return Some((Err(ended), None));
            }
            let newest = states.borrow_and_update().clone();
            if let Some(state) = newest {
                return Some((Ok(wire::desired(&state)), Some(states)));
            }
        }
    })
    .boxed()
}
