//! Brings a server up, and down again: engine, streams, manifests, gateway, admin port.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_chassis::admin::guard::Guard;
use millstream_chassis::admin::{self, Phase, Readiness};
use millstream_chassis::drain::drain;
use millstream_chassis::{Config, DrainSignal, Metrics};
use millstream_clock::{Clock, Entropy, SystemClock, SystemEntropy, task};
use millstream_gateway::{Drained, Gateway, Listeners, cloudwatch};
use millstream_storage::volume::{self, Engine};
use millstream_stream::{Streams, retention};
use millstream_types::Scope;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::front::Front;
use crate::local_control::{self, LocalControl, node};
use crate::{Failure, engine_metrics};

/// A server that is ready.
pub struct Running {
    /// Where the API listens.
    pub addr: SocketAddr,
    /// Where it listens for TLS.
    pub tls_addr: Option<SocketAddr>,
    /// The file of the CA that clients of the TLS port have to trust, if it is the server's own.
    pub ca: Option<PathBuf>,
    /// Where the admin port listens.
    pub admin_addr: SocketAddr,
    config: Config,
    engine: Engine,
    control: LocalControl<Engine>,
    metrics: Metrics,
    readiness: Readiness,
    drain: DrainSignal,
    gateway: JoinHandle<Drained>,
    admin: JoinHandle<()>,
}

/// A bound address and what serves or will serve it.
pub(crate) type Bound<T> = Result<(SocketAddr, T), Failure>;

/// The ports for clients, bound.
pub(crate) struct ApiPorts {
    pub(crate) addr: SocketAddr,
    pub(crate) plain: TcpListener,
    pub(crate) tls: Option<(SocketAddr, TcpListener)>,
}

/// What all parts of a server share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
}

/// Brings a server up; returns when it is ready.
///
/// # Errors
/// With the reason that decides the exit code. A locked data directory counts before an address in
/// use: whoever starts a server twice is told about the first one.
pub async fn start(config: Config) -> Result<Running, Failure> {
    let metrics = Metrics::new();
    let shared = Shared {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy),
        readiness: Readiness::new(metrics.clone()),
        metrics,
    };
    let admin = bind("admin-listen", config.admin_listen).await;
    let admin = admin.map(|(addr, listener)| {
        let guard = Guard::new(config.metrics_token_file.clone());
        let serving = admin::serve(listener, shared.readiness.clone(), guard);
        (addr, task::spawn("admin", serving))
    });
    let api = bind_api(&config).await;
    let engine = open_engine(&config, &shared).await?;
    match bring_up(config, shared, engine.clone(), admin, api).await {
        Ok(running) => Ok(running),
        Err(failure) => {
            engine.close().await;
            Err(failure)
        },
    }
}

pub(crate) async fn bind(setting: &'static str, address: SocketAddr) -> Bound<TcpListener> {
    let refused = |source| Failure::Listen {
        setting,
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((bound, listener))
}

/// The plain port, and the TLS port if there is to be one.
pub(crate) async fn bind_api(config: &Config) -> Result<ApiPorts, Failure> {
    let (addr, plain) = bind("listen", config.listen).await?;
    let tls = match &config.tls {
        Some(tls) => Some(bind("tls-listen", tls.listen).await?),
        None => None,
    };
    Ok(ApiPorts { addr, plain, tls })
}

pub(crate) async fn open_engine(config: &Config, shared: &Shared) -> Result<Engine, Failure> {
    let mut options = volume::Options::new(config.data_dir.clone());
    options.wal_file_bytes = config.wal_file_bytes;
    options.checkpoint_bytes = config.checkpoint_bytes;
    options.segment_bytes = config.segment_bytes;
    options.tail_bytes = config.memory.tail_bytes();
    options.unwritten_bytes = config.memory.unwritten_bytes();
    options.read_ahead_bytes = config.memory.read_ahead_bytes();
    let (clock, entropy) = (Arc::clone(&shared.clock), Arc::clone(&shared.entropy));
    let opening = tokio::task::spawn_blocking(move || Engine::open(options, clock, entropy));
    match opening.await {
        Ok(opened) => Ok(opened?),
        Err(error) => Err(Failure::Store(error.to_string())),
    }
}

async fn bring_up(
    config: Config,
    shared: Shared,
    engine: Engine,
    admin: Bound<JoinHandle<()>>,
    api: Result<ApiPorts, Failure>,
) -> Result<Running, Failure> {
    let (admin_addr, admin) = admin?;
    let api = api?;
    let (addr, tls_addr) = (api.addr, api.tls.as_ref().map(|(addr, _)| *addr));
    let front = Front::open(&config, &*shared.clock)?;
    let ca = front.ca.clone();
    let key = node::iterator_key(&config.data_dir, &*shared.entropy)?;
    let streams = Streams::open(
        Arc::new(engine.clone()),
        millstream_stream::Options {
            account_shards_max: config.limits.account_shards,
        },
        Arc::clone(&shared.clock),
        Arc::clone(&shared.entropy),
        &key,
    )?;
    let home = Scope {
        account: config.account.clone(),
        region: config.region.clone(),
    };
    let control_options = local_control::Options {
        data_dir: config.data_dir.clone(),
        scope: home.clone(),
    };
    let control = LocalControl::new(control_options, streams.clone());
    if let Some(path) = &config.manifests {
        let applied = control.apply_manifests(path).await?;
        tracing::info!(?applied, "manifests are applied");
    }
    let (signal, drain) = drain();
    watch(&shared, &engine, &streams, &home, &drain);
    let mut options = millstream_gateway::Options::new(home, config.memory);
    options.auth = front.auth.clone();
    let tls = api.tls.zip(front.tls.clone());
    let listeners = Listeners {
        plain: api.plain,
        tls: tls.map(|((_, listener), keys)| (listener, keys)),
    };
    front.watch(Arc::clone(&shared.clock), &shared.metrics, &drain);
    let gateway = Gateway::new(
        options,
        streams,
        Arc::new(control.clone()),
        shared.metrics.clone(),
        shared.clock,
        &*shared.entropy,
    );
    let gateway = task::spawn("gateway", gateway.run(listeners, drain, config.drain));
    shared.readiness.set(Phase::Ready);
    tracing::info!(%addr, ?tls_addr, %admin_addr, "ready");
    Ok(Running {
        addr,
        tls_addr,
        ca,
        admin_addr,
        config,
        engine,
        control,
        metrics: shared.metrics,
        readiness: shared.readiness,
        drain: signal,
        gateway,
        admin,
    })
}

/// Starts what looks after the streams beside the requests, until the drain.
fn watch(
    shared: &Shared,
    engine: &Engine,
    streams: &Streams<Engine>,
    home: &Scope,
    drain: &millstream_chassis::Drain,
) {
    let counted = engine.clone();
    let poll = move || engine_metrics::named(&counted.counters());
    shared.metrics.watch_polled(poll);
    let sampling = cloudwatch::run(
        streams.clone(),
        Arc::clone(&shared.metrics.cloudwatch),
        home.clone(),
        Arc::clone(&shared.clock),
        drain.clone(),
    );
    // Both end with the drain.
    drop(task::spawn("cloudwatch", sampling));
    let trimming = retention::Service::new(retention::Options::default(), streams.clone());
    let drain = drain.clone();
    let trimming = trimming.run(async move { drain.begun().await });
    drop(task::spawn("retention", trimming));
}

impl Running {
    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Waits for the disk to fail; the process must end then.
    pub async fn failed(&self) -> Failure {
        Failure::Store(self.engine.failed().await)
    }

    /// Reads the manifests again. What is refused is a warning; the streams stay as they are.
    pub async fn reload(&self) {
        let Some(path) = &self.config.manifests else {
            tracing::info!("there are no manifests to read again: -f is not set");
            return;
        };
        match self.control.apply_manifests(path).await {
            Ok(applied) => tracing::info!(?applied, "manifests are applied"),
            Err(error) => {
                self.metrics.manifest_reloads_failed.inc();
                tracing::warn!(%error, "the manifests are refused, the old state goes on");
            },
        }
    }

    /// Finishes the requests under way, seals the log, and ends.
    pub async fn shutdown(self) {
        self.readiness.set(Phase::Draining);
        self.drain.begin();
        match self.gateway.await {
            Ok(drained) => tracing::info!(?drained, "requests are finished"),
            Err(error) => tracing::error!(%error, "the gateway failed"),
        }
        self.engine.close().await;
        self.admin.abort();
        tracing::info!("the log is sealed");
    }
}
