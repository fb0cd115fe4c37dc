//! The metrics of the process: typed here, named in [`names`], shown by the admin port.
//!
//! A hot path takes its counter out of a family once and keeps it. What another crate counts for
//! itself (the engine's counters, a budget's use) is polled when somebody looks.

pub mod cloudwatch;
pub mod names;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Metric, Registry, Unit};

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;

use crate::budget::Budget;
use cloudwatch::CloudWatch;
use names::Name;

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS_SECONDS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Labels of a finished request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The operation, or `unknown`.
    pub operation: &'static str,
    /// The HTTP status.
    pub code: u16,
    /// AWS's error code; empty when there was none.
    pub error: &'static str,
    /// The HTTP version: `1.0`, `1.1` or `2`.
    pub version: &'static str,
}

/// A label of its own for each operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OperationLabel {
    /// The operation, or `unknown`.
    pub operation: &'static str,
}

/// Labels of a call between processes that is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RpcLabels {
    /// Who counts it: `client` or `server`.
    pub side: &'static str,
    /// The call.
    pub call: &'static str,
    /// What became of it, one of a fixed few words.
    pub outcome: &'static str,
}

/// Labels of a call's time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RpcCallLabels {
    /// Who counts it: `client` or `server`.
    pub side: &'static str,
    /// The call.
    pub call: &'static str,
}

/// Why a connection was closed or refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// One of a fixed few words.
    pub reason: &'static str,
}

/// Which file was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FileLabel {
    /// `credentials` or `certificate`.
    pub file: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BudgetLabel {
    budget: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// Makes latency histograms.
#[derive(Clone, Debug)]
pub struct LatencyBuckets;

impl MetricConstructor<Histogram> for LatencyBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(LATENCY_BUCKETS_SECONDS)
    }
}

/// Latency of requests by operation.
pub type LatencyFamily = Family<OperationLabel, Histogram, LatencyBuckets>;

/// All metrics of the process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    /// Requests by operation, status, error and HTTP version.
    pub http_requests: Family<RequestLabels, Counter>,
    /// Time from the request's head to its answer, by operation.
    pub http_request_seconds: LatencyFamily,
    /// Bytes of request bodies read.
    pub http_request_bytes: Counter,
    /// Bytes of response bodies made.
    pub http_response_bytes: Counter,
    /// Requests answered with the throttling error, by operation.
    pub throttled: Family<OperationLabel, Counter>,
    /// Connections open now.
    pub connections_open: Gauge,
    /// Connections accepted.
    pub connections: Counter,
    /// Connections that the server closed or refused, by reason.
    pub connections_closed: Family<ReasonLabel, Counter>,
    /// Manifests read again on SIGHUP that were refused.
    pub manifest_reloads_failed: Counter,
    /// Files that changed and were refused.
    pub file_reloads_failed: Family<FileLabel, Counter>,
    /// Calls between processes, by side, call and outcome.
    pub rpc_calls: Family<RpcLabels, Counter>,
    /// Time that they took.
    pub rpc_call_seconds: Family<RpcCallLabels, Histogram, LatencyBuckets>,
    /// Bytes of their requests, counted by the server.
    pub rpc_request_bytes: Counter,
    /// 1 while readyz answers 200.
    pub ready: Gauge,
    /// Per-stream series under CloudWatch's names.
    pub cloudwatch: Arc<CloudWatch>,
    registry: Arc<Mutex<Registry>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Fresh metrics, all zero.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            http_requests: Family::default(),
            http_request_seconds: Family::new_with_constructor(LatencyBuckets),
            http_request_bytes: Counter::default(),
            http_response_bytes: Counter::default(),
            throttled: Family::default(),
            connections_open: Gauge::default(),
            connections: Counter::default(),
            connections_closed: Family::default(),
            manifest_reloads_failed: Counter::default(),
            file_reloads_failed: Family::default(),
            rpc_calls: Family::default(),
            rpc_call_seconds: Family::new_with_constructor(LatencyBuckets),
            rpc_request_bytes: Counter::default(),
            ready: Gauge::default(),
            cloudwatch: Arc::default(),
            registry: Arc::new(Mutex::new(Registry::default())),
        };
        metrics.register_all();
        metrics
    }

    fn register_all(&self) {
        self.register(&names::HTTP_REQUESTS, self.http_requests.clone());
        self.register(
            &names::HTTP_REQUEST_SECONDS,
            self.http_request_seconds.clone(),
        );
        self.register(&names::HTTP_REQUEST_BYTES, self.http_request_bytes.clone());
        self.register(
            &names::HTTP_RESPONSE_BYTES,
            self.http_response_bytes.clone(),
        );
        self.register(&names::THROTTLED, self.throttled.clone());
        self.register(&names::CONNECTIONS_OPEN, self.connections_open.clone());
        self.register(&names::CONNECTIONS, self.connections.clone());
        self.register(&names::CONNECTIONS_CLOSED, self.connections_closed.clone());
        self.register(
            &names::MANIFEST_RELOADS_FAILED,
            self.manifest_reloads_failed.clone(),
        );
        self.register(
            &names::FILE_RELOADS_FAILED,
            self.file_reloads_failed.clone(),
        );
        self.register(&names::RPC_CALLS, self.rpc_calls.clone());
        self.register(&names::RPC_CALL_SECONDS, self.rpc_call_seconds.clone());
        self.register(&names::RPC_REQUEST_BYTES, self.rpc_request_bytes.clone());
        self.register(&names::READY, self.ready.clone());
        let build = Family::<BuildLabels, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&BuildLabels { version }).set(1);
        self.register(&names::BUILD, build);
        let cloudwatch = Box::new(Arc::clone(&self.cloudwatch));
        self.registry.lock().register_collector(cloudwatch);
    }

    fn register(&self, name: &Name, metric: impl Metric) {
        let mut registry = self.registry.lock();
        match name.unit {
            Some(unit) => {
                registry.register_with_unit(name.base, name.help, as_unit(unit).clone(), metric);
            },
            None => registry.register(name.base, name.help, metric),
        }
    }

    /// Shows use, cap and refusals of `budgets` from now on. To be called once.
    pub fn watch_budgets(&self, budgets: Vec<Budget>) {
        let collector = Box::new(BudgetCollector(budgets));
        self.registry.lock().register_collector(collector);
    }

    /// Shows numbers that `poll` gives whenever somebody looks.
    pub fn watch_polled(
        &self,
        poll: impl Fn() -> Vec<(&'static Name, u64)> + Send + Sync + 'static,
    ) {
        let collector = Box::new(PolledCollector(Box::new(poll)));
        self.registry.lock().register_collector(collector);
    }

    /// All metrics in the OpenMetrics text form.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let encoded = encode(&mut text, &self.registry.lock());
        if encoded.is_err() {
            tracing::error!("a metric could not be written as text");
        }
        text
    }
}

static BYTES: Unit = Unit::Bytes;
static SECONDS: Unit = Unit::Seconds;

const fn as_unit(unit: names::Unit) -> &'static Unit {
    match unit {
        names::Unit::Bytes => &BYTES,
        names::Unit::Seconds => &SECONDS,
    }
}

fn head<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &Name,
) -> Result<prometheus_client::encoding::MetricEncoder<'e>, fmt::Error> {
    let kind = match name.kind {
        names::Kind::Counter => MetricType::Counter,
        names::Kind::Gauge => MetricType::Gauge,
        names::Kind::Histogram => MetricType::Histogram,
    };
    let unit = name.unit.map(as_unit);
    encoder.encode_descriptor(name.base, name.help, unit, kind)
}

struct PolledCollector(Box<dyn Fn() -> Vec<(&'static Name, u64)> + Send + Sync>);

impl fmt::Debug for PolledCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PolledCollector")
    }
}

impl Collector for PolledCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, value) in (self.0)() {
            let metric = head(&mut encoder, name)?;
            match name.kind {
                names::Kind::Counter => ConstCounter::new(value).encode(metric)?,
                _ => ConstGauge::<u64>::new(value).encode(metric)?,
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct BudgetCollector(Vec<Budget>);

impl Collector for BudgetCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        type Read = fn(&Budget) -> u64;
        let rows: [(&Name, Read); 3] = [
            (&names::BUDGET_USED, Budget::used_bytes),
            (&names::BUDGET_CAP, Budget::cap_bytes),
            (&names::BUDGET_REFUSED, Budget::refused),
        ];
        for (name, read) in rows {
            let mut family = head(&mut encoder, name)?;
            for budget in &self.0 {
                let labels = BudgetLabel {
                    budget: budget.name(),
                };
                let metric = family.encode_family(&labels)?;
                match name.kind {
                    names::Kind::Counter => ConstCounter::new(read(budget)).encode(metric)?,
                    _ => ConstGauge::<u64>::new(read(budget)).encode(metric)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
