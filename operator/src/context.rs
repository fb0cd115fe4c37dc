//! What the loops of a leading operator share.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::Client;
use millstream_clock::{Clock, Entropy, task};
use millstream_crds::data_stream::DataStreamResource;
use parking_lot::Mutex;

use crate::config::OperatorConfig;
use crate::contract::station::Station;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::pulse::Pulse;
use crate::reach::Reach;
use crate::watched::Watched;

/// Longest wait for the first plan.
const PLAN_WAIT_MAX: Duration = Duration::from_secs(5);

/// What the loops of a leading operator share.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The configuration.
    pub config: Arc<OperatorConfig>,
    /// The operator's own namespace.
    pub namespace: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Counters.
    pub metrics: Metrics,
    /// The namespaces that are read.
    pub reach: Reach,
    /// Where Events go.
    pub events: Events,
    /// Where servers attach.
    pub station: Station,
    /// The streams' objects.
    pub streams: Watched<DataStreamResource>,
    /// The pools' sets.
    pub sets: Watched<StatefulSet>,
    /// The pools' pods.
    pub pods: Watched<Pod>,
    /// The access keys.
    pub secrets: Watched<Secret>,
    /// The namespaces.
    pub namespaces: Watched<Namespace>,
    /// The certificates that everybody trusts, PEM.
    pub bundle: Mutex<String>,
    /// Something that is watched or reported has changed.
    pub changed: Pulse,
    /// There is a new plan, or news of a stream.
    pub planned: Pulse,
    /// What is wanted.
    pub plan: Mutex<Arc<Plan>>,
}

impl Context {
    /// What is wanted, as of now.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.lock())
    }

    /// Whether the namespace is being deleted.
    #[must_use]
    pub fn is_ending(&self, namespace: &str) -> bool {
        let found = self.namespaces.get_cluster_wide(namespace);
        found.is_some_and(|found| found.metadata.deletion_timestamp.is_some())
    }

    /// What is wanted, once there is a plan: a leader that has just begun has none.
    pub async fn made_plan(&self) -> Arc<Plan> {
        let mut planned = self.planned.listen();
        let wait = async { while !self.plan().is_made && planned.heard().await {} };
        if task::timeout(PLAN_WAIT_MAX, wait).await.is_err() {
            tracing::warn!("there is no plan yet");
        }
        self.plan()
    }
}
