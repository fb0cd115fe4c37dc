//! A server's end: stays attached to whichever replica of the operator leads.
//!
//! It tries each address of the operator in turn, waits a little longer after each round that
//! failed, and goes on with what is held meanwhile.

mod backoff;
mod reports;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use millstream_clock::{Entropy, task};
use millstream_link::grpc::{Channel, MESSAGE_BYTES_MAX};
use millstream_link::{Address, Connector, Endpoint, Expected, Resolver};
use tokio::sync::{oneshot, watch};
use tonic::{Status, Streaming};

use crate::attach::remote::RemoteControl;
use crate::attach::told;
use crate::attach::wire::{self, proto};
use crate::desired::DesiredState;
use crate::keeper::{Keeper, Offer};
use crate::observed::ObservedState;
use proto::contract_client::ContractClient;

pub(super) use backoff::Backoff;

/// How long the operator may take to accept a session.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long looking up the operator's addresses may take.
pub(super) const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom to attach to, and by what.
#[derive(Clone)]
pub struct AttachOptions {
    /// The operator's headless Service.
    pub operator: Address,
    /// Who has to answer there: its replicas have names that nobody knows before.
    pub expected: Expected,
    /// Finds the replicas behind it.
    pub resolver: Arc<dyn Resolver>,
    /// Opens connections to an operator, showing our certificate.
    pub connector: Arc<dyn Connector>,
    /// For the jitter of waits.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for AttachOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachOptions")
            .field("operator", &self.operator)
            .finish_non_exhaustive()
    }
}

/// Keeps a server attached while [`run`](Self::run) runs.
#[derive(Debug)]
pub struct AttachService {
    options: AttachOptions,
    keeper: Keeper,
    observed: watch::Receiver<ObservedState>,
    desired: watch::Sender<Option<Arc<DesiredState>>>,
    leader: watch::Sender<Option<Channel>>,
}

/// What a server sees of its attachment. Clones share it.
#[derive(Clone, Debug)]
pub struct AttachHandle {
    desired: watch::Receiver<Option<Arc<DesiredState>>>,
    leader: watch::Receiver<Option<Channel>>,
}

impl AttachHandle {
    /// What the server should do: what was kept at first, then whatever is newer.
    #[must_use]
    pub fn desired(&self) -> watch::Receiver<Option<Arc<DesiredState>>> {
        self.desired.clone()
    }

    /// Whether an operator has accepted the session.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.leader.borrow().is_some()
    }

    /// The calls that change resources: for gateways.
    #[must_use]
    pub fn control(&self) -> RemoteControl {
        RemoteControl::new(self.leader.clone())
    }
}

impl AttachService {
    /// A server that holds what `keeper` has kept and reports what `observed` shows. The reports'
    /// field `desired` is filled in here.
    #[must_use]
    pub fn new(
        options: AttachOptions,
        keeper: Keeper,
        observed: watch::Receiver<ObservedState>,
    ) -> (Self, AttachHandle) {
        let desired = watch::Sender::new(keeper.held().cloned());
        let leader = watch::Sender::new(None);
        let handle = AttachHandle {
            desired: desired.subscribe(),
            leader: leader.subscribe(),
        };
        let service = Self {
            options,
            keeper,
            observed,
            desired,
            leader,
        };
        (service, handle)
    }

    /// Attaches, and attaches again, until `stop` says so or its sender is gone.
    pub async fn run(mut self, stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            () = told(stop) => {},
            () = self.attach_for_ever() => {},
        }
        self.leader.send_replace(None);
    }

    async fn attach_for_ever(&mut self) {
        let mut backoff = Backoff::new(Arc::clone(&self.options.entropy));
        loop {
            for address in self.addresses().await {
                match self.session(&address).await {
                    Ended::NotAttached(reason) => {
                        tracing::debug!(%address, reason, "not attached here");
                    },
                    Ended::Attached(reason) => {
                        tracing::info!(%address, reason, "the attachment ended");
                        backoff.reset();
                    },
                }
                self.leader.send_replace(None);
            }
            task::sleep(backoff.next()).await;
        }
    }

    /// The operator's replicas, in an order of their own for each try.
    async fn addresses(&self) -> Vec<Address> {
        let options = &self.options;
        let (resolver, entropy) = (Arc::clone(&options.resolver), Arc::clone(&options.entropy));
        find(resolver, options.operator.clone(), entropy).await
    }

    /// One session with one replica, to its end.
    async fn session(&mut self, address: &Address) -> Ended {
        let replica = Endpoint::new(address.clone(), self.options.expected.clone());
        let channel = Channel::new(Arc::clone(&self.options.connector), replica);
        let mut client = ContractClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        // ends the reports with the session: a stream that is still being sent stays open
        let (_while_in_session, over) = oneshot::channel::<()>();
        let reports = reports::stream(self.observed.clone(), self.desired.subscribe());
        let reports = reports.take_until(over);
        // boxed: the compiler cannot see through the generated future that it may change threads
        let accepted = task::timeout(ATTACH_TIMEOUT, client.attach(reports).boxed()).await;
        let mut states = match accepted {
            Err(_) => return Ended::NotAttached("no answer in time".to_owned()),
            Ok(Err(status)) => return Ended::NotAttached(status.message().to_owned()),
            Ok(Ok(response)) => response.into_inner(),
        };
        tracing::info!(%address, "attached to the operator");
        self.leader.send_replace(Some(channel));
        loop {
            if let Err(reason) = self.take_next(&mut states).await {
                return Ended::Attached(reason);
            }
        }
    }

    async fn take_next(&mut self, states: &mut Streaming<proto::Desired>) -> Result<(), String> {
        let explain = |status: Status| status.message().to_owned();
        let message = states.message().await.map_err(explain)?;
        let message = message.ok_or_else(|| "the operator ended the session".to_owned())?;
        let state = wire::read_desired(&message).map_err(explain)?;
        let version = state.version();
        match self.keeper.offer(state) {
            Ok(Offer::Known) => {},
            Ok(Offer::Taken) => {
                tracing::debug!(%version, "took a desired state");
                self.desired.send_replace(self.keeper.held().cloned());
            },
            Err(error) => {
                tracing::warn!(%error, "refused a desired state");
                return Err(error.to_string());
            },
        }
        Ok(())
    }
}

/// How a session ended.
enum Ended {
    /// It was not accepted.
    NotAttached(String),
    /// It was, and is over.
    Attached(String),
}

/// All addresses behind a name, starting anywhere.
pub(super) async fn find(
    resolver: Arc<dyn Resolver>,
    name: Address,
    entropy: Arc<dyn Entropy>,
) -> Vec<Address> {
    let mut found = match task::timeout(RESOLVE_TIMEOUT, resolver.resolve(&name)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::debug!(%name, %error, "cannot look up the operator");
            Vec::new()
        },
        Err(_) => {
            tracing::debug!(%name, "looking up the operator took too long");
            Vec::new()
        },
    };
    if let Ok(count) = u64::try_from(found.len())
        && count > 0
    {
        let first = usize::try_from(entropy.u64() % count).unwrap_or_default();
        found.rotate_left(first);
    }
    found
}
