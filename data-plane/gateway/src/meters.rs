//! Counters of requests, taken out of their families once, so that a request looks no label up.

use std::time::Duration;

use http::Version;
use millstream_chassis::Metrics;
use millstream_chassis::metrics::{Counter, Histogram, OperationLabel, ReasonLabel, RequestLabels};
use millstream_protocol::kinesis::Operation;
use millstream_protocol::{ErrorCode, ServiceError};

/// The label of what is no operation.
const UNKNOWN: &str = "unknown";
/// The HTTP versions, as labels.
const VERSIONS: [&str; 3] = ["1.0", "1.1", "2"];

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) operation: Option<Operation>,
    pub(crate) status: u16,
    pub(crate) error: Option<ErrorCode>,
}

impl Outcome {
    /// An answer below the operations: no error code that is known here.
    pub(crate) const fn bare(status: u16) -> Self {
        Self {
            operation: None,
            status,
            error: None,
        }
    }

    pub(crate) fn of_error(operation: Option<Operation>, error: &ServiceError) -> Self {
        Self {
            operation,
            status: error.status(),
            error: Some(error.code),
        }
    }
}

/// The counters of one operation.
#[derive(Debug)]
struct OperationMeters {
    ok: [Counter; VERSIONS.len()],
    seconds: Histogram,
}

/// The gateway's counters.
#[derive(Debug)]
pub(crate) struct Meters {
    metrics: Metrics,
    operations: [OperationMeters; Operation::ALL.len()],
}

impl Meters {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let operations = Operation::ALL.map(|operation| {
            let label = OperationLabel {
                operation: operation.name(),
            };
            OperationMeters {
                ok: VERSIONS.map(|version| {
                    let labels = RequestLabels {
                        operation: operation.name(),
                        code: 200,
                        error: "",
                        version,
                    };
                    metrics.http_requests.get_or_create_owned(&labels)
                }),
                seconds: metrics.http_request_seconds.get_or_create_owned(&label),
            }
        });
        Self {
            metrics,
            operations,
        }
    }

    pub(crate) fn request(&self, outcome: Outcome, version: Version, took: Duration) {
        let version = version_index(version);
        let meters = outcome.operation.map(|op| &self.operations[op as usize]);
        if let Some(meters) = meters {
            meters.seconds.observe(took.as_secs_f64());
            if outcome.status == 200 {
                meters.ok[version].inc();
                return;
            }
        }
        let operation = outcome.operation.map_or(UNKNOWN, Operation::name);
        let labels = RequestLabels {
            operation,
            code: outcome.status,
            error: outcome.error.map_or("", ErrorCode::as_str),
            version: VERSIONS[version],
        };
        self.metrics.http_requests.get_or_create(&labels).inc();
        if outcome.error == Some(ErrorCode::ProvisionedThroughputExceeded) {
            let label = OperationLabel { operation };
            self.metrics.throttled.get_or_create(&label).inc();
        }
    }

    pub(crate) fn bytes(&self, read: usize, made: usize) {
        self.metrics.http_request_bytes.inc_by(read as u64);
        self.metrics.http_response_bytes.inc_by(made as u64);
    }

    pub(crate) fn connection_opened(&self) {
        self.metrics.connections.inc();
        self.metrics.connections_open.inc();
    }

    pub(crate) fn connection_ended(&self) {
        self.metrics.connections_open.dec();
    }

    pub(crate) fn closed(&self, reason: &'static str) {
        let label = ReasonLabel { reason };
        self.metrics.connections_closed.get_or_create(&label).inc();
    }
}

fn version_index(version: Version) -> usize {
    if version == Version::HTTP_2 {
        2
    } else if version == Version::HTTP_11 {
        1
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_operation_code_error_and_version() {
        let metrics = Metrics::new();
        let meters = Meters::new(metrics.clone());
        let put = Outcome {
            operation: Some(Operation::PutRecord),
            status: 200,
            error: None,
        };
        meters.request(put, Version::HTTP_2, Duration::from_millis(1));
        let throttled = ServiceError::bare(ErrorCode::ProvisionedThroughputExceeded);
        let throttled = Outcome::of_error(Some(Operation::PutRecord), &throttled);
        meters.request(throttled, Version::HTTP_11, Duration::ZERO);
        meters.request(Outcome::bare(413), Version::HTTP_10, Duration::ZERO);
        let text = metrics.text();
        for line in [
            "millstream_http_requests_total{operation=\"PutRecord\",code=\"200\",error=\"\",version=\"2\"} 1",
            "millstream_http_requests_total{operation=\"PutRecord\",code=\"400\",error=\"ProvisionedThroughputExceededException\",version=\"1.1\"} 1",
            "millstream_http_requests_total{operation=\"unknown\",code=\"413\",error=\"\",version=\"1.0\"} 1",
            "millstream_throttled_requests_total{operation=\"PutRecord\"} 1",
            "millstream_http_request_seconds_count{operation=\"PutRecord\"} 2",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn an_operation_is_its_own_index() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
    }
}
