//! Wiring: the admin port and the contract at once, everything else once this replica leads.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::client::ClientBuilder;
use kube::runtime::watcher;
use kube::{Api, Client};
use millstream_clock::{Clock, Entropy, SystemClock, SystemEntropy, task};
use millstream_control::Address;
use millstream_control::attach::ContractServer;
use millstream_crds::data_stream::DataStreamResource;
use millstream_link::grpc::{self, ServeOptions};
use millstream_link::tcp;
use millstream_link::tls::{Keys, TlsListener};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::call_limit::{CALL_MAX, LimitCalls};
use crate::calls::CountCalls;
use crate::cli::Start;
use crate::config::OperatorConfig;
use crate::context::Context;
use crate::contract::keys::KeyKeeper;
use crate::contract::placements::Placements;
use crate::contract::review::TokenReviewer;
use crate::contract::service::Operator;
use crate::contract::station::{Station, Writes};
use crate::controllers::data_stream::controller;
use crate::events::Events;
use crate::failure::Failure;
use crate::lease::{self, KubernetesLease};
use crate::mended;
use crate::metrics::Metrics;
use crate::names::{FIELD_MANAGER, LABEL_ACCESS_KEY, LABEL_COMPONENT, LABEL_MANAGED_BY};
use crate::plan::Plan;
use crate::pools::keeper::Keeper;
use crate::pools::seats::Seats;
use crate::pulse::Pulse;
use crate::reach::Reach;
use crate::steer::Steer;
use crate::watched::{Watched, apis};

/// Longest wait for the first lists of all that is watched.
const READY_MAX: Duration = Duration::from_secs(120);

/// What a replica is made of, leading or not.
#[derive(Clone)]
pub struct Parts {
    /// The API server.
    pub client: Client,
    /// The configuration.
    pub config: Arc<OperatorConfig>,
    /// The operator's own namespace.
    pub namespace: String,
    /// The name of its pod.
    pub pod: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Counters.
    pub metrics: Metrics,
}

/// Runs until a signal, a lost lease or a failure.
///
/// # Errors
/// Whatever ends the process before it is told to.
pub async fn run(start: Start) -> Result<(), Failure> {
    let signals = Signals::new()?;
    let config = Arc::new(OperatorConfig::read(&start.config)?);
    // An error says that there is one already: in tests.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let metrics = Metrics::new();
    let parts = Parts {
        client: client(&metrics).await?,
        config,
        namespace: start.namespace,
        pod: start.pod,
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy),
        metrics,
    };
    run_replica(parts, signals).await
}

async fn client(metrics: &Metrics) -> Result<Client, Failure> {
    let config = kube::Config::infer()
        .await
        .map_err(|error| Failure::ApiServer {
            what: "finding the API server".to_owned(),
            reason: error.to_string(),
        })?;
    let builder = ClientBuilder::try_from(config);
    let builder = builder.map_err(|error| Failure::api("connecting to the API server", &error))?;
    let builder = builder.with_layer(&LimitCalls(CALL_MAX));
    Ok(builder.with_layer(&CountCalls(metrics.clone())).build())
}

async fn run_replica(parts: Parts, mut signals: Signals) -> Result<(), Failure> {
    let admin = Admin::new(parts.metrics.clone(), parts.client.clone());
    let listener = bind(parts.config.admin_listen).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(admin.clone().serve(listener));
    let keys = KeyKeeper::open(
        parts.client.clone(),
        Arc::clone(&parts.config),
        parts.namespace.clone(),
        &parts.pod,
        Arc::clone(&parts.clock),
        Arc::clone(&parts.entropy),
    )
    .await?;
    let operator = Operator::new(
        parts.client.clone(),
        Arc::clone(&parts.config),
        parts.namespace.clone(),
        keys.clone(),
    );
    let own_keys = keys.own_keys()?;
    parts.metrics.watch_certificate(own_keys.clone());
    let (stop, stopped) = watch::channel(false);
    serve_contract(&parts, &operator, own_keys.clone(), stopped, &mut tasks).await?;
    admin.set_ready(true);
    let outcome = lead(&parts, &operator, &keys, own_keys, &mut signals).await;
    admin.set_ready(false);
    stop.send_replace(true);
    outcome
}

async fn serve_contract(
    parts: &Parts,
    operator: &Operator,
    keys: Keys,
    stopped: watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<(), Failure> {
    let address = parts.config.contract.listen;
    let listener = tcp::TcpListener::bind(&Address::from(address)).await;
    let listener = listener.map_err(|source| Failure::Listen { address, source })?;
    let reviewer = TokenReviewer::new(parts.client.clone(), parts.config.contract.audience.clone());
    let server = ContractServer::new(Arc::new(operator.clone()), Arc::new(reviewer));
    tasks.spawn(grpc::serve(
        TlsListener::anonymous_too(listener, keys),
        server.service(),
        ServeOptions::default(),
        stopped,
    ));
    Ok(())
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| Failure::Listen { address, source })
}

/// Waits for the lease, then leads until it is lost or the process is told to end.
async fn lead(
    parts: &Parts,
    operator: &Operator,
    keys: &KeyKeeper,
    own_keys: Keys,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let store = KubernetesLease::new(
        parts.client.clone(),
        &parts.namespace,
        &parts.config.lease.name,
    );
    // A process that starts again is another candidate: it remembers nothing.
    let identity = format!("{}_{:08x}", parts.pod, parts.entropy.u64() >> 32);
    let duration = Duration::from_secs(u64::from(parts.config.lease.duration_seconds));
    let mut standby = JoinSet::new();
    let (standby_keys, standby_own) = (keys.clone(), own_keys.clone());
    standby.spawn(async move {
        standby_keys.keep(standby_own, || false, |_| {}).await;
    });
    let campaign = lease::campaign(
        Arc::new(store),
        Arc::clone(&parts.clock),
        identity,
        duration,
    );
    let mut leadership = tokio::select! {
        () = signals.told() => return Ok(()),
        leadership = campaign => leadership,
    };
    standby.shutdown().await;
    let term = leadership.term();
    let started = tokio::select! {
        () = signals.told() => None,
        () = leadership.lost() => return Err(Failure::LeaseLost),
        started = Leader::start(parts, term, keys, own_keys) => Some(started),
    };
    let mut leader = match started {
        Some(Ok(leader)) => leader,
        Some(Err(failure)) => {
            leadership.release().await;
            return Err(failure);
        },
        None => {
            leadership.release().await;
            return Ok(());
        },
    };
    operator.lead(Arc::clone(&leader.context));
    parts.metrics.leader.set(1);
    let told = tokio::select! {
        () = signals.told() => true,
        () = leadership.lost() => false,
        () = mended::mended(&leader.context) => true,
        ended = leader.tasks.join_next() => {
            tracing::error!(?ended, "a part of the operator ended");
            false
        },
    };
    // Nothing may be written after the lease is given up.
    leader.tasks.shutdown().await;
    if told {
        leadership.release().await;
        return Ok(());
    }
    Err(Failure::LeaseLost)
}

/// Everything that only a leader does.
pub struct Leader {
    /// What its loops share.
    pub context: Arc<Context>,
    /// Its loops.
    pub tasks: JoinSet<()>,
}

impl Leader {
    /// Starts to lead in `term`: reads what is kept, watches, plans, keeps.
    ///
    /// # Errors
    /// When the placements cannot be listed, or something that is watched cannot.
    pub async fn start(
        parts: &Parts,
        term: u64,
        keys: &KeyKeeper,
        own_keys: Keys,
    ) -> Result<Self, Failure> {
        let mut tasks = JoinSet::new();
        let watched = parts.config.watched(&parts.namespace);
        if watched.is_none() {
            tracing::warn!("watchNamespaces is [\"*\"]: this operator can read every Secret");
        }
        let reach = Reach::find(&parts.client, watched).await?;
        let left_out = i64::try_from(reach.left_out().len()).unwrap_or(i64::MAX);
        parts.metrics.left_out.set(left_out);
        let namespaces = reach.namespaces();
        let namespaces = namespaces.as_deref();
        let instance = &parts.config.instance;
        let found = Placements::read(parts.client.clone(), instance, namespaces, term).await?;
        let mut found = found.in_domain(&parts.config.cluster_domain);
        found.is_whole = reach.left_out().is_empty();
        let changed = Pulse::default();
        let clock = Arc::clone(&parts.clock);
        let metrics = parts.metrics.clone();
        let settle = Duration::from_secs(parts.config.settle_seconds);
        let (station, writes) = Station::new(term, settle, found, clock, metrics, changed.clone());
        let context = context(parts, reach, station, changed, keys, &mut tasks);
        // What could be read a moment ago may be forbidden now. The next start leaves it out; this
        // leader would hold the lease and serve nobody.
        let ready = task::timeout(READY_MAX, ready(&context)).await;
        ready.map_err(|_| Failure::ApiServer {
            what: "listing what is watched".to_owned(),
            reason: format!("it was not there within {} s", READY_MAX.as_secs()),
        })?;
        start_loops(parts, &context, writes, keys, own_keys, &mut tasks);
        Ok(Self { context, tasks })
    }
}

/// Waits until everything that is watched is there.
async fn ready(context: &Context) {
    context.streams.ready().await;
    context.sets.ready().await;
    context.pods.ready().await;
    context.secrets.ready().await;
    context.namespaces.ready().await;
}

fn context(
    parts: &Parts,
    reach: Reach,
    station: Station,
    changed: Pulse,
    keys: &KeyKeeper,
    tasks: &mut JoinSet<()>,
) -> Arc<Context> {
    let namespaces = reach.namespaces();
    let namespaces = namespaces.as_deref();
    let client = &parts.client;
    let plain = watcher::Config::default();
    let ours = plain
        .clone()
        .labels(&format!("{LABEL_MANAGED_BY}={FIELD_MANAGER}"));
    let shards = ours.clone().labels(&format!(
        "{LABEL_MANAGED_BY}={FIELD_MANAGER},{LABEL_COMPONENT}=shard"
    ));
    let keys_of_clients = plain.clone().labels(&format!("{LABEL_ACCESS_KEY}=true"));
    let streams = apis::<DataStreamResource>(client, namespaces);
    let sets = apis::<StatefulSet>(client, namespaces);
    let pods = apis::<Pod>(client, namespaces);
    let secrets = apis::<Secret>(client, namespaces);
    let all = vec![Api::<Namespace>::all(client.clone())];
    let (clock, entropy) = (Arc::clone(&parts.clock), Arc::clone(&parts.entropy));
    Arc::new(Context {
        client: client.clone(),
        config: Arc::clone(&parts.config),
        namespace: parts.namespace.clone(),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        metrics: parts.metrics.clone(),
        events: Events::new(client.clone(), clock, entropy, parts.pod.clone()),
        reach: reach.clone(),
        station,
        streams: Watched::start(streams, &plain, &changed, tasks),
        sets: Watched::start(sets, &ours, &changed, tasks),
        pods: Watched::start(pods, &shards, &changed, tasks),
        secrets: Watched::start(secrets, &keys_of_clients, &changed, tasks),
        namespaces: Watched::start(all, &plain, &changed, tasks),
        bundle: parking_lot::Mutex::new(keys.keyring().bundle()),
        changed,
        planned: Pulse::default(),
        plan: parking_lot::Mutex::new(Arc::new(Plan::default())),
    })
}

fn start_loops(
    parts: &Parts,
    context: &Arc<Context>,
    writes: Writes,
    keys: &KeyKeeper,
    own_keys: Keys,
    tasks: &mut JoinSet<()>,
) {
    let station = context.station.clone();
    tasks.spawn(async move { station.write(writes).await });
    tasks.spawn(context.events.clone().run());
    tasks.spawn(Steer::new(Arc::clone(context), keys.clone()).run());
    tasks.spawn(Seats::new(Arc::clone(context)).run());
    tasks.spawn(Keeper::new(Arc::clone(context)).run());
    let namespaces = context.reach.namespaces();
    let slots = Arc::new(Semaphore::new(usize::from(parts.config.concurrency)));
    for api in apis::<DataStreamResource>(&parts.client, namespaces.as_deref()) {
        let run = controller::run(Arc::clone(context), api, Arc::clone(&slots));
        tasks.spawn(run);
    }
    let (keys, told) = (keys.clone(), Arc::clone(context));
    tasks.spawn(async move {
        let spread = |bundle: String| {
            *told.bundle.lock() = bundle;
            told.changed.beat();
        };
        keys.keep(own_keys, || true, spread).await;
    });
}

/// The signals that end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|source| Failure::System {
                what: "listening to signals",
                source,
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for one.
    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {},
            _ = self.interrupt.recv() => {},
        }
    }
}
