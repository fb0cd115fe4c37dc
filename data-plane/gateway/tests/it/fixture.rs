//! A gateway on a free port, over streams in memory.

#![expect(
    clippy::panic,
    reason = "helpers of tests, outside of any test function"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millstream_chassis::drain::drain;
use millstream_chassis::{DrainSignal, MemoryPlan, Metrics};
use millstream_clock::{Clock, SeededEntropy, SystemClock, task};
use millstream_control::{ControlPlane, CreateStreamError, DeleteStreamError, StreamSpec};
use millstream_gateway::{Auth, Budgets, Drained, Gateway, Listeners, Options, Timeouts, TlsKeys};
use millstream_storage::memory::MemoryStore;
use millstream_stream::{NewStream, Settings, Streams, TokenKey};
use millstream_types::{Scope, StreamMode, StreamName};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Times that a test can wait for.
pub(crate) const SHORT: Timeouts = Timeouts {
    head: Duration::from_millis(300),
    body_pause: Duration::from_millis(300),
    body_grace: Duration::from_millis(300),
    body_drop: Duration::from_millis(500),
    write: Duration::from_millis(300),
    idle: Duration::from_millis(900),
    tick: Duration::from_millis(20),
    ..Timeouts::DEFAULT
};

/// The stream that every fixture has.
pub(crate) const STREAM: &str = "flights";

/// No control plane: the fixtures make their streams themselves.
struct NoControl;

impl ControlPlane for NoControl {
    async fn create_stream(&self, _: &Scope, _: StreamSpec) -> Result<(), CreateStreamError> {
        Err(CreateStreamError::Internal)
    }

    async fn delete_stream(&self, _: &Scope, _: &StreamName) -> Result<(), DeleteStreamError> {
        Err(DeleteStreamError::Internal)
    }
}

/// A running gateway.
pub(crate) struct Fixture {
    pub(crate) addr: SocketAddr,
    /// The TLS port, or the plain one where there is none.
    pub(crate) tls_addr: SocketAddr,
    pub(crate) streams: Streams<MemoryStore>,
    pub(crate) metrics: Metrics,
    pub(crate) budgets: Budgets,
    pub(crate) drain: DrainSignal,
    pub(crate) gateway: JoinHandle<Drained>,
}

/// What a test changes.
pub(crate) struct Setup {
    pub(crate) timeouts: Timeouts,
    pub(crate) memory_bytes: u64,
    pub(crate) connections_max: usize,
    pub(crate) drain_limit: Duration,
    pub(crate) auth: Auth,
    pub(crate) tls: Option<TlsKeys>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::DEFAULT,
            memory_bytes: 128 << 20,
            connections_max: 100,
            drain_limit: Duration::from_secs(20),
            auth: Auth::Loopback,
            tls: None,
        }
    }
}

impl Fixture {
    pub(crate) async fn start(setup: Setup) -> Self {
        let home = home();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let streams = streams(&home, Arc::clone(&clock)).await;
        let plan = MemoryPlan::new(setup.memory_bytes).expect("enough");
        let mut options = Options::new(home, plan);
        options.timeouts = setup.timeouts;
        options.auth = setup.auth;
        options.connections_max = setup.connections_max;
        let budgets = options.budgets.clone();
        let metrics = Metrics::new();
        let gateway = Gateway::new(
            options,
            streams.clone(),
            Arc::new(NoControl),
            metrics.clone(),
            clock,
            &SeededEntropy::new(1),
        );
        let (addr, plain) = free_port().await;
        let mut listeners = Listeners::from(plain);
        let mut tls_addr = addr;
        if let Some(keys) = setup.tls {
            let (bound, listener) = free_port().await;
            tls_addr = bound;
            listeners.tls = Some((listener, keys));
        }
        let (signal, drain) = drain();
        let running = gateway.run(listeners, drain, setup.drain_limit);
        Self {
            addr,
            tls_addr,
            streams,
            metrics,
            budgets,
            drain: signal,
            gateway: task::spawn("gateway", running),
        }
    }

    pub(crate) async fn with_timeouts(timeouts: Timeouts) -> Self {
        Self::start(Setup {
            timeouts,
            ..Setup::default()
        })
        .await
    }

    /// Whether the metrics hold this line.
    pub(crate) fn counted(&self, line: &str) -> bool {
        self.metrics.text().lines().any(|found| found == line)
    }

    /// Bytes that requests hold of all budgets.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.budgets
            .all()
            .iter()
            .map(|budget| budget.used_bytes())
            .sum()
    }

    /// Waits until `done` says so.
    pub(crate) async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if done(self) {
                return;
            }
            task::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} did not happen in 10 s");
    }
}

async fn free_port() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    (listener.local_addr().expect("bound"), listener)
}

/// The account and region of the gateway.
pub(crate) fn home() -> Scope {
    Scope {
        account: "000000000000".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    }
}

/// Streams in memory, with the one that every test has.
pub(crate) async fn streams(home: &Scope, clock: Arc<dyn Clock>) -> Streams<MemoryStore> {
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock)));
    let key = TokenKey::new([7; TokenKey::BYTES]);
    let entropy = Arc::new(SeededEntropy::new(2));
    let streams = Streams::open(
        store,
        millstream_stream::Options::default(),
        clock,
        entropy,
        &key,
    );
    let streams = streams.expect("an empty store opens");
    let stream = NewStream {
        name: STREAM.parse().expect("a name"),
        mode: StreamMode::Provisioned,
        shard_count: 1,
        settings: Settings::default(),
    };
    streams.create(home, stream).await.expect("created");
    streams
}
