//! The operator's own metrics. Every name starts with `millstream_operator_`.
//! What each means is told in `operator/README.md`.

use std::fmt;
use std::sync::Arc;

use millstream_link::tls::Keys;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the reconcile buckets, in seconds.
const RECONCILE_BUCKETS_SECONDS: [f64; 11] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// What is reconciled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// `DataStream` or `Pool`.
    pub kind: &'static str,
}

/// What failed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    /// `DataStream` or `Pool`.
    pub kind: &'static str,
    /// The error's stable word.
    pub reason: &'static str,
}

/// A call to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// The HTTP method.
    pub method: String,
    /// The HTTP status; 0 when there was no answer.
    pub code: u16,
}

/// A server's role.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RoleLabel {
    /// `gateway` or `shard`.
    pub role: &'static str,
}

fn reconcile_histogram() -> Histogram {
    Histogram::new(RECONCILE_BUCKETS_SECONDS)
}

/// All of them. Clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Reconciles.
    pub reconciles: Family<KindLabel, Histogram, fn() -> Histogram>,
    /// Reconciles that failed.
    pub errors: Family<ErrorLabels, Counter>,
    /// Reconciles under way or waiting.
    pub queue: Family<KindLabel, Gauge>,
    /// Calls to the API server.
    pub calls: Family<CallLabels, Counter>,
    /// Pods that were rolled.
    pub restarts: Counter,
    /// Access keys in use.
    pub access_keys: Gauge,
    /// Attached servers.
    pub servers: Family<RoleLabel, Gauge>,
    /// Wanted streams.
    pub streams: Gauge,
    /// Watched namespaces that cannot be read.
    pub left_out: Gauge,
    /// Whether this replica leads.
    pub leader: Gauge,
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that count from zero.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            reconciles: Family::new_with_constructor(reconcile_histogram),
            errors: Family::default(),
            queue: Family::default(),
            calls: Family::default(),
            restarts: Counter::default(),
            access_keys: Gauge::default(),
            servers: Family::default(),
            streams: Gauge::default(),
            left_out: Gauge::default(),
            leader: Gauge::default(),
            registry: Arc::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut all = self.registry.lock();
        let all = all.sub_registry_with_prefix("millstream_operator");
        all.register(
            "reconcile_seconds",
            "One reconcile",
            self.reconciles.clone(),
        );
        all.register("reconcile_errors", "Failed reconciles", self.errors.clone());
        all.register(
            "queue",
            "Reconciles under way or waiting",
            self.queue.clone(),
        );
        all.register(
            "api_requests",
            "Calls to the API server",
            self.calls.clone(),
        );
        all.register("pool_restarts", "Pods rolled", self.restarts.clone());
        all.register(
            "access_keys",
            "Access keys in use",
            self.access_keys.clone(),
        );
        all.register("servers", "Attached servers", self.servers.clone());
        all.register("streams", "Wanted streams", self.streams.clone());
        all.register(
            "namespaces_left_out",
            "Watched namespaces that cannot be read",
            self.left_out.clone(),
        );
        all.register("leader", "Whether this replica leads", self.leader.clone());
    }

    /// Shows when the certificate of `keys` ends, from now on. To be called once.
    pub fn watch_certificate(&self, keys: Keys) {
        let collector = Box::new(CertificateCollector(keys));
        let mut all = self.registry.lock();
        all.register_collector(collector);
    }

    /// What a scraper reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock()).expect("a String takes everything");
        text
    }
}

#[derive(Debug)]
struct CertificateCollector(Keys);

impl Collector for CertificateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(facts) = self.0.certificate() else {
            return Ok(());
        };
        let metric = encoder.encode_descriptor(
            "millstream_operator_certificate_ends",
            "When the own certificate ends, since 1970",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        ConstGauge::<u64>::new(facts.not_after.0 / 1000).encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use millstream_clock::{Clock as _, SystemClock, SystemEntropy};
    use millstream_link::authority::Authority;
    use millstream_link::{Identity, Role};

    use super::*;

    /// With a certificate.
    fn keys() -> Keys {
        let now = SystemClock::default().now();
        let authority = Authority::generate(now, &SystemEntropy).expect("an authority");
        let identity = Identity::new("millstream-system", Role::Operator, "operator-0");
        let pair = authority.issue(&identity.expect("a name"), now, &SystemEntropy);
        let pair = pair.expect("a certificate");
        let keys = Keys::new(
            Arc::new(SystemClock::default()),
            authority.certificate_pem(),
        )
        .expect("trust");
        let installed = keys.install(&pair.certificate_pem, &pair.key_pem);
        installed.expect("it is of this authority");
        keys
    }

    #[test]
    fn every_metric_of_the_table_is_shown_and_every_shown_one_is_in_the_table() {
        let metrics = Metrics::new();
        let kind = KindLabel { kind: "Pool" };
        metrics.reconciles.get_or_create(&kind).observe(0.2);
        metrics.queue.get_or_create(&kind).inc();
        let error = ErrorLabels {
            kind: "Pool",
            reason: "Conflict",
        };
        metrics.errors.get_or_create(&error).inc();
        let call = CallLabels {
            method: "GET".to_owned(),
            code: 200,
        };
        metrics.calls.get_or_create(&call).inc();
        metrics
            .servers
            .get_or_create(&RoleLabel { role: "shard" })
            .inc();
        metrics.watch_certificate(keys());
        let text = metrics.text();
        let table = include_str!("../README.md")
            .split_once("## Metrics")
            .and_then(|(_, rest)| rest.split_once("\n## "))
            .map(|(table, _)| table);
        let listed: Vec<&str> = table
            .expect("the chapter")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        assert_eq!(listed.len(), 11);
        for name in &listed {
            let shown = format!("millstream_operator_{name}");
            assert!(text.contains(&shown), "{shown} in {text}");
        }
        assert_eq!(text.matches("# TYPE").count(), listed.len());
    }
}
