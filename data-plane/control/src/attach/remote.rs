//! What a gateway's clients ask for, carried to the operator.

use std::time::Duration;

use millstream_clock::task;
use millstream_link::grpc::{Channel, MESSAGE_BYTES_MAX};
use millstream_types::{Scope, StreamName};
use tokio::sync::watch;
use tonic::Status;

use crate::attach::wire::{self, proto};
use crate::plane::{ControlPlane, CreateStreamError, DeleteStreamError};
use crate::stream::StreamSpec;
use crate::version::CONTRACT;
use proto::contract_client::ContractClient;

/// How long a control operation may take, waiting for an operator included.
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// The control plane behind the attachment. When [`ControlPlane::create_stream`] returns, the
/// operator has accepted the stream; when it exists shows the catalogue of its home.
#[derive(Clone, Debug)]
pub struct RemoteControl {
    leader: watch::Receiver<Option<Channel>>,
}

impl RemoteControl {
    pub(super) const fn new(leader: watch::Receiver<Option<Channel>>) -> Self {
        Self { leader }
    }

    /// A client of the operator that we are attached to, once there is one.
    async fn client(&self) -> Option<ContractClient<Channel>> {
        let mut leader = self.leader.clone();
        let channel = leader.wait_for(Option::is_some).await.ok()?.clone()?;
        Some(
            ContractClient::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
    }

    /// The answer of the operator; none when it cannot be reached. A call is never repeated: the
    /// first may have been carried out.
    async fn call<T, F>(
        &self,
        what: &'static str,
        call: impl FnOnce(ContractClient<Channel>) -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let calling = async {
            let client = self.client().await?;
            match call(client).await {
                Ok(response) => Some(response.into_inner()),
                Err(status) => {
                    tracing::warn!(what, code = ?status.code(), reason = status.message(),
                        "the operator did not answer a control operation");
                    None
                },
            }
        };
        let answer = task::timeout(CONTROL_TIMEOUT, calling).await;
        answer.unwrap_or_else(|_| {
            tracing::warn!(what, "no operator answered a control operation in time");
            None
        })
    }
}

impl ControlPlane for RemoteControl {
    async fn create_stream(
        &self,
        scope: &Scope,
        spec: StreamSpec,
    ) -> Result<(), CreateStreamError> {
        let request = proto::CreateStreamRequest {
            contract: CONTRACT,
            account: scope.account.to_string(),
            region: scope.region.to_string(),
            spec: wire::json(&spec),
        };
        let call = |mut client: ContractClient<Channel>| async move {
            client.create_stream(request).await
        };
        let answer = self.call("CreateStream", call).await;
        wire::read_created(answer.ok_or(CreateStreamError::Internal)?)
    }

    async fn delete_stream(
        &self,
        scope: &Scope,
        name: &StreamName,
    ) -> Result<(), DeleteStreamError> {
        let request = proto::DeleteStreamRequest {
            contract: CONTRACT,
            account: scope.account.to_string(),
            region: scope.region.to_string(),
            name: name.to_string(),
        };
        let call = |mut client: ContractClient<Channel>| async move {
            client.delete_stream(request).await
        };
        let answer = self.call("DeleteStream", call).await;
        wire::read_deleted(answer.ok_or(DeleteStreamError::Internal)?)
    }
}
