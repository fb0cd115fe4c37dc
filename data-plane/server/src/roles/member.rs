//! What every process under an operator does: it gets a certificate, attaches, and reports.
//!
//! Certificate and last desired state are kept in `<data-dir>/node/`: a process that starts again
//! goes on with them when no operator can be reached. A new one waits for an operator.

use std::path::Path;
use std::sync::Arc;

use millstream_chassis::config::Member;
use millstream_clock::task;
use millstream_control::attach::certify::{CertifyError, FileText};
use millstream_control::attach::{
    AttachHandle, AttachOptions, AttachService, Certifier, CertifyOptions, RemoteControl,
};
use millstream_control::keeper::{FileStore, KeepError, Keeper};
use millstream_control::{Address, DesiredState, Identity, ObservedState, Role};
use millstream_link::Connector;
use millstream_link::tcp::TcpConnector;
use millstream_link::tls::{Keys, TlsConnector};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::start::Shared;

const FOLDER: &str = "node";
const CERTIFICATE_FILE: &str = "certificate";
const STATE_FILE: &str = "attached-state";

/// Why a process cannot be a member.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// Its name is none.
    #[error("settings 'pod-namespace' and 'pod-name': {0}")]
    Identity(String),
    /// The operator's address is none.
    #[error("setting 'operator': {0}")]
    Operator(String),
    /// There is no bundle of authorities.
    #[error("setting 'ca-file': {0}")]
    Certify(#[from] CertifyError),
    /// The state that was kept cannot be used.
    #[error("data directory: {0}")]
    Keep(#[from] KeepError),
}

/// A process that has a certificate and is, or tries to be, attached.
pub(crate) struct Membership {
    keys: Keys,
    handle: AttachHandle,
    observed: watch::Sender<ObservedState>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Membership {
    /// Gets a certificate, which may take until there is an operator, and attaches.
    pub(crate) async fn join(
        member: &Member,
        role: Role,
        data_dir: &Path,
        shared: &Shared,
    ) -> Result<Self, MemberError> {
        let identity = Identity::new(&member.namespace, role, &member.pod)
            .map_err(|error| MemberError::Identity(error.to_string()))?;
        let operator: Address = member.operator.parse().map_err(
            |error: millstream_link::address::ParseAddressError| {
                MemberError::Operator(error.to_string())
            },
        )?;
        let folder = data_dir.join(FOLDER);
        let state = FileStore::new(&folder, STATE_FILE);
        let keeper = Keeper::open(identity.clone(), Box::new(state))?;
        let certify = CertifyOptions {
            identity: identity.clone(),
            operator: operator.clone(),
            resolver: Arc::new(TcpConnector),
            connector: Arc::new(TcpConnector),
            entropy: Arc::clone(&shared.entropy),
            token: Box::new(FileText(member.token_file.clone())),
            bundle: Box::new(FileText(member.ca_file.clone())),
            store: Box::new(FileStore::new(&folder, CERTIFICATE_FILE)),
        };
        let mut certifier = Certifier::new(certify, Arc::clone(&shared.clock))?;
        let keys = certifier.keys();
        certifier.first().await;
        let (stop, stopped) = watch::channel(false);
        let certifying = task::spawn("certificate", certifier.run(stopped.clone()));
        let attach = AttachOptions {
            operator,
            resolver: Arc::new(TcpConnector),
            connector: connector_to(&keys, Role::Operator),
            entropy: Arc::clone(&shared.entropy),
        };
        let (observed, reports) = watch::channel(ObservedState::starting(identity));
        let (service, handle) = AttachService::new(attach, keeper, reports);
        let attaching = task::spawn("attach", service.run(stopped));
        Ok(Self {
            keys,
            handle,
            observed,
            stop,
            tasks: vec![certifying, attaching],
        })
    }

    /// What connections are made with.
    pub(crate) const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Opens connections to processes of a role.
    pub(crate) fn connector(&self, role: Role) -> Arc<dyn Connector> {
        connector_to(&self.keys, role)
    }

    /// What this process should do; none before the first.
    pub(crate) fn desired(&self) -> watch::Receiver<Option<Arc<DesiredState>>> {
        self.handle.desired()
    }

    /// The calls that change resources.
    pub(crate) fn control(&self) -> RemoteControl {
        self.handle.control()
    }

    /// Reports; the operator hears of it when it is there.
    pub(crate) fn report(&self, change: impl FnOnce(&mut ObservedState)) {
        self.observed.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }

    /// Lets go of the operator.
    pub(crate) async fn leave(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the membership failed");
            }
        }
    }
}

fn connector_to(keys: &Keys, role: Role) -> Arc<dyn Connector> {
    Arc::new(TlsConnector::new(
        Arc::new(TcpConnector),
        keys.clone(),
        role,
    ))
}
