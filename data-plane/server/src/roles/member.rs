//! What every process under an operator does: it gets a certificate, attaches, and reports.
//!
//! Certificate and last desired state are kept in `<data-dir>/node/`: a process that starts again
//! goes on with them when no operator can be reached. A new one waits for an operator.

use std::path::Path;
use std::sync::Arc;

use millstream_chassis::config::Member;
use millstream_chassis::metrics::names;
use millstream_clock::task;
use millstream_control::attach::certify::{CertifyError, FileText};
use millstream_control::attach::{
    AttachHandle, AttachOptions, AttachService, Certifier, CertifyOptions, RemoteControl,
};
use millstream_control::keeper::{FileStore, KeepError, Keeper};
use millstream_control::{Address, DesiredState, Identity, ObservedState, Role};
use millstream_link::direct::DirectFirst;
use millstream_link::tcp::TcpConnector;
use millstream_link::tls::{Keys, TlsConnector};
use millstream_link::{Connector, Expected};
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
pub struct Membership {
    connector: Arc<dyn Connector>,
    handle: AttachHandle,
    observed: watch::Sender<ObservedState>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Membership {
    /// Gets a certificate, which may take until there is an operator, and attaches. The keys are
    /// what connections are made with.
    pub(crate) async fn join(
        member: &Member,
        role: Role,
        data_dir: &Path,
        shared: &Shared,
    ) -> Result<(Self, Keys), MemberError> {
        let identity = Identity::new(&member.namespace, role, &member.pod)
            .map_err(|error| MemberError::Identity(error.to_string()))?;
        let operator: Address = member.operator.parse().map_err(
            |error: millstream_link::address::ParseAddressError| {
                MemberError::Operator(error.to_string())
            },
        )?;
        let expected = operators(&operator, member);
        let folder = data_dir.join(FOLDER);
        let state = FileStore::new(&folder, STATE_FILE);
        let keeper = Keeper::open(identity.clone(), Box::new(state))?;
        let certify = CertifyOptions {
            identity: identity.clone(),
            operator: operator.clone(),
            expected: expected.clone(),
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
        let shown = keys.clone();
        shared.metrics.watch_polled(move || {
            let ends = shown.certificate().map(|facts| facts.not_after);
            ends.map(|at| (&names::CERTIFICATE_ENDS, at.0 / 1000))
                .into_iter()
                .collect()
        });
        let attach = AttachOptions {
            expected,
            operator,
            resolver: Arc::new(TcpConnector),
            connector: connector(&keys),
            entropy: Arc::clone(&shared.entropy),
        };
        let mut membership = Self::attach(identity, keeper, attach);
        let certifying = certifier.run(membership.stop.subscribe());
        let certifying = task::spawn("certificate", certifying);
        membership.tasks.push(certifying);
        Ok((membership, keys))
    }

    /// Attaches, by whatever connections `options` opens: all others are opened that way, too.
    #[must_use]
    pub fn attach(identity: Identity, keeper: Keeper, options: AttachOptions) -> Self {
        let connector = Arc::clone(&options.connector);
        let (observed, reports) = watch::channel(ObservedState::starting(identity));
        let (service, handle) = AttachService::new(options, keeper, reports);
        let stop = watch::Sender::new(false);
        let attaching = task::spawn("attach", service.run(stop.subscribe()));
        Self {
            connector,
            handle,
            observed,
            stop,
            tasks: vec![attaching],
        }
    }

    /// Opens connections to other processes.
    pub(crate) fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector)
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
    pub fn report(&self, change: impl FnOnce(&mut ObservedState)) {
        self.observed.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }

    /// Lets go of the operator.
    pub async fn leave(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the membership failed");
            }
        }
    }
}

fn connector(keys: &Keys) -> Arc<dyn Connector> {
    let tls = TlsConnector::new(Arc::new(TcpConnector), keys.clone());
    Arc::new(DirectFirst::new(Arc::new(tls)))
}

/// Who may answer as the operator: any of its pods in the namespace that is set. Where none is, in
/// that of its Service's name, `<service>.<namespace>.svc...`; a name without one is looked up in
/// our own namespace, and an IP address tells none: there it is ours, too.
fn operators(address: &Address, member: &Member) -> Expected {
    let host = address.host();
    let named = match host.parse::<std::net::IpAddr>() {
        Ok(_) => None,
        Err(_) => host.split('.').nth(1),
    };
    let set = member.operator_namespace.as_deref();
    Expected::AnyOf {
        namespace: set.or(named).unwrap_or(&member.namespace).to_owned(),
        role: Role::Operator,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_expected_in_the_namespace_that_is_set_or_that_of_its_service() {
        for (address, set, namespace) in [
            (
                "millstream-operator.millstream.svc:4570",
                None,
                "millstream",
            ),
            ("operator.system.svc.cluster.local:4570", None, "system"),
            ("operator.system:4570", None, "system"),
            ("operator:4570", None, "team-a"),
            ("10.0.0.7:4570", None, "team-a"),
            ("[fd00::7]:4570", None, "team-a"),
            ("10.0.0.7:4570", Some("system"), "system"),
            ("[fd00::7]:4570", Some("system"), "system"),
            ("streams.example.com:4570", Some("system"), "system"),
        ] {
            let member = Member {
                namespace: "team-a".to_owned(),
                pod: "gateway-x".to_owned(),
                operator: address.to_owned(),
                operator_namespace: set.map(str::to_owned),
                token_file: "/t".into(),
                ca_file: "/c".into(),
            };
            let expected = Expected::AnyOf {
                namespace: namespace.to_owned(),
                role: Role::Operator,
            };
            let at = address.parse().expect("an address");
            assert_eq!(operators(&at, &member), expected, "{address}");
        }
    }
}
