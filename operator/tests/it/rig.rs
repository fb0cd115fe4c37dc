//! A leading operator over the API server in memory, with shard servers that are played by the
//! test: they attach, do as they are told, and report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::client::ClientBuilder;
use millstream_clock::{SeededEntropy, SystemClock, task};
use millstream_control::attach::{Contract as _, Session};
use millstream_control::{
    CataloguePoint, DesiredState, Health, HomedStream, Identity, ObservedState, ObservedStream,
    Role, StreamPhase, Wanted,
};
use millstream_operator::call_limit::{CALL_MAX, LimitCalls};
use millstream_operator::calls::CountCalls;
use millstream_operator::config::OperatorConfig;
use millstream_operator::contract::keys::KeyKeeper;
use millstream_operator::contract::service::Operator;
use millstream_operator::metrics::Metrics;
use millstream_operator::run::{Leader, Parts};
use millstream_types::{Epoch, GroupId, StreamUid};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::mock::Mock;

pub(crate) const STREAMS: &str = "millstream.dev/v1alpha1/datastreams";
pub(crate) const SETS: &str = "apps/v1/statefulsets";
pub(crate) const PODS: &str = "v1/pods";
pub(crate) const MAPS: &str = "v1/configmaps";
pub(crate) const SECRETS: &str = "v1/secrets";
pub(crate) const EVENTS: &str = "events.k8s.io/v1/events";
pub(crate) const POLICIES: &str = "networking.k8s.io/v1/networkpolicies";
pub(crate) const SET_NAME: &str = "millstream-shard-default";

/// The operator's own namespace.
pub(crate) const HOME: &str = "millstream-system";
/// A namespace with streams.
pub(crate) const TEAM: &str = "team";

/// Longest wait for what must come.
const DEADLINE: Duration = Duration::from_secs(60);
/// Wait between two looks.
const LOOK: Duration = Duration::from_millis(50);

const CONFIG: &str = "
region: eu-west-1
watchNamespaces: [team, millstream-system]
accounts: {team: '000000000001'}
image: {name: 'e2e.local/millstream:1'}
settleSeconds: 1
poolClasses:
  default: {pods: {min: 2, max: 4}, shardsPerPod: 10}
  small: {pods: {min: 1, max: 1}, shardsPerPod: 2}
  third: {}
";

/// A leading operator and what is around it.
pub(crate) struct Rig {
    pub(crate) mock: Arc<Mock>,
    pub(crate) operator: Operator,
    pub(crate) parts: Parts,
    pub(crate) leader: Leader,
    pub(crate) shards: Arc<Shards>,
    pub(crate) keys: KeyKeeper,
    sessions: u64,
}

/// What the played shard servers hold: by pod, each stream and how far it is.
#[derive(Default)]
pub(crate) struct Shards {
    rows: Mutex<BTreeMap<String, BTreeMap<StreamUid, ObservedStream>>>,
    specs: Mutex<BTreeMap<StreamUid, HomedStream>>,
}

impl Shards {
    /// The stream as its home was last told.
    pub(crate) fn told(&self, uid: StreamUid) -> Option<HomedStream> {
        self.specs.lock().get(&uid).cloned()
    }

    /// The one pod that holds the stream.
    pub(crate) fn home_of(&self, uid: StreamUid) -> String {
        let rows = self.rows.lock();
        let mut holders = rows.iter().filter(|(_, rows)| rows.contains_key(&uid));
        let home = holders.next().expect("somebody has it").0.clone();
        assert_eq!(holders.next(), None, "two have it");
        home
    }

    /// Does what a home server does, at once.
    fn obey(&self, pod: &str, group: &GroupId, streams: &[HomedStream]) -> Vec<ObservedStream> {
        let mut rows = self.rows.lock();
        let rows = rows.entry(pod.to_owned()).or_default();
        for stream in streams {
            self.specs.lock().insert(stream.uid, stream.clone());
            let before = rows.get(&stream.uid);
            let phase = match stream.wanted {
                Wanted::Serve => StreamPhase::Active,
                Wanted::Retain => StreamPhase::Retained,
                Wanted::Delete => StreamPhase::Gone,
            };
            let count = stream.spec.as_ref().and_then(|spec| spec.shard_count);
            let had = before.map_or(1, |row| row.shard_count);
            let row = ObservedStream {
                uid: stream.uid,
                scope: stream.scope.clone(),
                name: stream.name.clone(),
                phase,
                version: stream.version,
                shard_count: count.map_or(had, |count| u32::try_from(count).expect("few")),
                groups: vec![group.clone()],
                message: None,
            };
            rows.insert(stream.uid, row);
        }
        rows.values().cloned().collect()
    }
}

/// What a server is told.
type Told = watch::Receiver<Option<Arc<DesiredState>>>;

/// A gateway that reports what the test says; dropping it ends its session.
pub(crate) struct PlayedGateway {
    state: ObservedState,
    reports: mpsc::Sender<ObservedState>,
    pub(crate) told: Told,
}

impl PlayedGateway {
    /// Reports how far it has followed each group.
    pub(crate) async fn follows(&mut self, catalogues: BTreeMap<GroupId, CataloguePoint>) {
        self.state.catalogues = Some(catalogues);
        let state = self.state.clone();
        self.reports.send(state).await.expect("it listens");
    }
}

/// One attached server; dropping it ends its session.
pub(crate) struct Attached(tokio::task::JoinHandle<()>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Rig {
    /// A leader of the first term over an empty cluster.
    pub(crate) async fn new() -> Self {
        Self::over(empty_cluster(), 1, Arc::default()).await
    }

    /// The same, whose calls to the API server take a second at most.
    pub(crate) async fn impatient() -> Self {
        let limit = Duration::from_secs(1);
        Self::over_by(CONFIG, limit, empty_cluster(), 1, Arc::default()).await
    }

    /// A leader over what another one has left.
    pub(crate) async fn over(mock: Arc<Mock>, term: u64, shards: Arc<Shards>) -> Self {
        Self::over_by(CONFIG, CALL_MAX, mock, term, shards).await
    }

    /// The same with another configuration, and another limit for calls to the API server.
    async fn over_by(
        config: &str,
        limit: Duration,
        mock: Arc<Mock>,
        term: u64,
        shards: Arc<Shards>,
    ) -> Self {
        let metrics = Metrics::new();
        let client = counted(mock.service(), &metrics, limit);
        let parts = Parts {
            client,
            config: Arc::new(OperatorConfig::parse(config).expect("valid")),
            namespace: HOME.to_owned(),
            pod: "millstream-operator-0".to_owned(),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SeededEntropy::new(term)),
            metrics,
        };
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let keys = KeyKeeper::open(
            parts.client.clone(),
            Arc::clone(&parts.config),
            parts.namespace.clone(),
            &parts.pod,
            Arc::clone(&parts.clock),
            Arc::clone(&parts.entropy),
        )
        .await
        .expect("a keyring");
        let operator = Operator::new(
            parts.client.clone(),
            Arc::clone(&parts.config),
            parts.namespace.clone(),
            keys.clone(),
        );
        let own = keys.own_keys().expect("a certificate");
        let leader = Leader::start(&parts, term, &keys, own)
            .await
            .expect("a leader");
        operator.lead(Arc::clone(&leader.context));
        Self {
            mock,
            operator,
            parts,
            leader,
            shards,
            keys,
            sessions: 0,
        }
    }

    /// This leader goes, and the next one begins over the same cluster.
    pub(crate) async fn succeed(self) -> Self {
        self.succeed_by(CONFIG).await
    }

    /// The next leader takes a long time before it stops waiting for servers.
    pub(crate) async fn succeed_patiently(self) -> Self {
        let config = CONFIG.replace("settleSeconds: 1", "settleSeconds: 600");
        self.succeed_by(&config).await
    }

    /// The next leader has these lines in its configuration, too.
    pub(crate) async fn succeed_with(self, lines: &str) -> Self {
        self.succeed_by(&format!("{CONFIG}{lines}\n")).await
    }

    async fn succeed_by(mut self, config: &str) -> Self {
        let term = self.leader.context.station.term() + 1;
        self.leader.tasks.shutdown().await;
        let (mock, shards) = (Arc::clone(&self.mock), Arc::clone(&self.shards));
        drop(self);
        Self::over_by(config, CALL_MAX, mock, term, shards).await
    }

    /// Puts a `DataStream` there, as `kubectl apply` does.
    pub(crate) fn apply(&self, name: &str, spec: Value) -> Value {
        let old = self.mock.find(STREAMS, TEAM, name);
        let mut object = old.unwrap_or_else(|| {
            json!({
                "apiVersion": "millstream.dev/v1alpha1", "kind": "DataStream",
                "metadata": {"name": name, "namespace": TEAM},
            })
        });
        object["spec"] = spec;
        self.mock.put(STREAMS, object)
    }

    /// Sets an annotation of a `DataStream`.
    pub(crate) fn annotate(&self, resource: &str, name: &str, key: &str, value: &str) {
        let mut object = self.mock.find(resource, TEAM, name).expect("there");
        object["metadata"]["annotations"][key] = json!(value);
        self.mock.put(resource, object);
    }

    /// Deletes a `DataStream`, as `kubectl delete` does.
    pub(crate) async fn delete(&self, name: &str) {
        let api: kube::Api<millstream_crds::data_stream::DataStreamResource> =
            kube::Api::namespaced(self.parts.client.clone(), TEAM);
        api.delete(name, &kube::api::DeleteParams::default())
            .await
            .expect("deleted");
    }

    /// Plays the StatefulSet controller and the kubelet: the set's pods, of its newest template.
    pub(crate) async fn run_pods(&self, set_name: &str) -> usize {
        let set = self
            .wait_for("the set", || self.mock.find(SETS, TEAM, set_name))
            .await;
        let replicas = set["spec"]["replicas"].as_u64().expect("a number");
        let template = &set["spec"]["template"];
        let revision = revision(template);
        for ordinal in 0..replicas {
            let name = format!("{set_name}-{ordinal}");
            if self.mock.find(PODS, TEAM, &name).is_some() {
                continue;
            }
            let mut labels = template["metadata"]["labels"].clone();
            labels["controller-revision-hash"] = json!(revision);
            self.mock.put(
                PODS,
                json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": {"name": name, "namespace": TEAM, "labels": labels},
                    "spec": {"serviceAccountName": set_name, "containers": []},
                    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
                }),
            );
        }
        let mut set = self.mock.find(SETS, TEAM, set_name).expect("there");
        set["status"] = json!({
            "replicas": replicas, "updateRevision": revision,
            "observedGeneration": set["metadata"]["generation"],
        });
        self.mock.put(SETS, set);
        usize::try_from(replicas).expect("few")
    }

    /// Attaches a shard server that does at once what it is told.
    pub(crate) async fn attach(&mut self, pod: &str) -> Attached {
        let server = Identity::new(TEAM, Role::Shard, pod).expect("an identity");
        let (reports, told) = self.open_session(&server).await;
        let shards = Arc::clone(&self.shards);
        let playing = play(server, shards, reports, told);
        Attached(task::spawn("played shard", playing))
    }

    /// One session of a server: where it reports, and what it is told.
    async fn open_session(&mut self, server: &Identity) -> (mpsc::Sender<ObservedState>, Told) {
        self.sessions += 1;
        let (reports, observed) = mpsc::channel(4);
        let desired = watch::Sender::new(None);
        let told = desired.subscribe();
        let session = Session {
            id: self.sessions,
            server: server.clone(),
            observed,
            desired,
        };
        self.operator.attach(session).await.expect("it leads");
        (reports, told)
    }

    /// Attaches a gateway that is ready and knows of no stream yet.
    pub(crate) async fn attach_gateway(&mut self, pod: &str) -> PlayedGateway {
        let server = Identity::new(HOME, Role::Gateway, pod).expect("an identity");
        let (reports, told) = self.open_session(&server).await;
        let mut gateway = PlayedGateway {
            state: ObservedState::starting(server),
            reports,
            told,
        };
        gateway.state.health.ready = true;
        gateway.follows(BTreeMap::new()).await;
        gateway
    }

    /// Makes the pods of the default pool run and attaches their servers.
    pub(crate) async fn run_pool(&mut self) -> Vec<Attached> {
        let count = self.run_pods(SET_NAME).await;
        let mut attached = Vec::new();
        for ordinal in 0..count {
            attached.push(self.attach(&format!("{SET_NAME}-{ordinal}")).await);
        }
        attached
    }

    /// Waits until `look` finds something.
    #[expect(clippy::panic, reason = "it fails the test that waits")]
    pub(crate) async fn wait_for<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let waited = task::timeout(DEADLINE, async {
            loop {
                if let Some(found) = look() {
                    return found;
                }
                task::sleep(LOOK).await;
            }
        });
        waited.await.unwrap_or_else(|_| {
            let streams = serde_json::to_string_pretty(&self.mock.all(STREAMS));
            panic!("{what} did not come; streams: {}", streams.expect("JSON"))
        })
    }

    /// Waits until the condition `Ready` of a stream has this reason, and returns the object.
    pub(crate) async fn wait_reason(&self, name: &str, reason: &str) -> Value {
        let what = format!("reason {reason} of {name}");
        self.wait_for(&what, || {
            let object = self.mock.find(STREAMS, TEAM, name)?;
            let ready = condition(&object, "Ready")?;
            (ready["reason"] == reason).then_some(object)
        })
        .await
    }

    /// The reasons of all Events so far.
    pub(crate) fn events(&self) -> Vec<String> {
        let reason = |event: Value| event["reason"].as_str().unwrap_or_default().to_owned();
        self.mock.all(EVENTS).into_iter().map(reason).collect()
    }
}

/// The id of the stream of an object that has one.
pub(crate) fn id_of(object: &Value) -> StreamUid {
    let id = object["status"]["streamId"].as_str().expect("an id");
    id.parse().expect("an id")
}

/// A condition of an object.
pub(crate) fn condition(object: &Value, kind: &str) -> Option<Value> {
    let all = object["status"]["conditions"].as_array()?;
    all.iter()
        .find(|condition| condition["type"] == kind)
        .cloned()
}

/// A stand-in for the hash that a StatefulSet controller gives a template.
fn revision(template: &Value) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// An API server with nothing but the two namespaces.
fn empty_cluster() -> Arc<Mock> {
    let mock = Arc::new(Mock::default());
    for name in [HOME, TEAM] {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
        });
        mock.put("v1/namespaces", namespace);
    }
    mock
}

fn counted(service: super::mock::Service, metrics: &Metrics, limit: Duration) -> Client {
    ClientBuilder::new(service, HOME)
        .with_layer(&LimitCalls(limit))
        .with_layer(&CountCalls(metrics.clone()))
        .build()
}

async fn play(
    server: Identity,
    shards: Arc<Shards>,
    reports: mpsc::Sender<ObservedState>,
    mut told: watch::Receiver<Option<Arc<DesiredState>>>,
) {
    let mut state = ObservedState::starting(server.clone());
    let mut changes = 0;
    loop {
        if reports.send(state.clone()).await.is_err() || told.changed().await.is_err() {
            return;
        }
        let desired = told.borrow_and_update().clone();
        if let Some(DesiredState::Shard(desired)) = desired.as_deref() {
            state.desired = Some(desired.version);
            state.group = Some(desired.group.clone());
            state.epoch = Epoch(1);
            state.health = Health {
                ready: true,
                reason: None,
            };
            let streams = shards.obey(server.name(), &desired.group, &desired.streams);
            changes += u64::from(streams != state.streams);
            state.streams = streams;
            state.catalogue = Some(CataloguePoint {
                epoch: state.epoch,
                changes,
            });
        }
    }
}
