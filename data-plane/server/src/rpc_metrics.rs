//! Calls between processes, in the metrics of this one.

use millstream_chassis::metrics::{Metrics, RpcCallLabels, RpcLabels};
use millstream_rpc::meter::{Called, Meter, Side};

/// Counts calls.
#[derive(Clone, Debug)]
pub struct RpcMetrics(pub Metrics);

impl Meter for RpcMetrics {
    fn called(&self, called: &Called) {
        let side = match called.side {
            Side::Client => "client",
            Side::Server => "server",
        };
        let (metrics, call) = (&self.0, called.call);
        let labels = RpcLabels {
            side,
            call,
            outcome: called.outcome.as_str(),
        };
        metrics.rpc_calls.get_or_create(&labels).inc();
        let time = metrics
            .rpc_call_seconds
            .get_or_create_owned(&RpcCallLabels { side, call });
        time.observe(called.elapsed.as_secs_f64());
        let bytes = u64::try_from(called.bytes).unwrap_or(u64::MAX);
        metrics.rpc_request_bytes.inc_by(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millstream_rpc::meter::Outcome;

    use super::*;

    #[test]
    fn calls_are_counted_by_side_call_and_outcome() {
        let metrics = Metrics::new();
        let meter = RpcMetrics(metrics.clone());
        for (side, outcome) in [
            (Side::Server, Outcome::Done),
            (Side::Server, Outcome::Overloaded),
            (Side::Client, Outcome::Unknown),
        ] {
            meter.called(&Called {
                side,
                call: "Append",
                outcome,
                elapsed: Duration::from_millis(3),
                bytes: 70,
            });
        }
        let text = metrics.text();
        for line in [
            "millstream_rpc_calls_total{side=\"server\",call=\"Append\",outcome=\"overloaded\"} 1\n",
            "millstream_rpc_calls_total{side=\"client\",call=\"Append\",outcome=\"unknown\"} 1\n",
            "millstream_rpc_call_seconds_count{side=\"server\",call=\"Append\"} 2\n",
            "millstream_rpc_request_bytes_total 210\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
