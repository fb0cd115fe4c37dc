use super::cloudwatch::{Measure, Row};
use super::*;

fn lines(metrics: &Metrics, start: &str) -> Vec<String> {
    let text = metrics.text();
    let found = text.lines().filter(|line| line.starts_with(start));
    found.map(str::to_owned).collect()
}

fn row(measure: Measure, value: f64) -> Row {
    Row {
        measure,
        stream: "flights".parse().expect("a name"),
        shard: None,
        account: None,
        region: None,
        value,
    }
}

#[test]
fn published_rows_are_gauges_by_stream_shard_account_and_region() {
    let metrics = Metrics::new();
    metrics.cloudwatch.publish(vec![
        row(Measure::PutRecordLatency, 1.5),
        row(Measure::IncomingBytes, 15.0),
        Row {
            shard: Some(millstream_types::ShardId(3)),
            ..row(Measure::IncomingBytes, 9.0)
        },
        Row {
            region: Some("eu-west-1".parse().expect("a region")),
            ..row(Measure::IncomingBytes, 6.0)
        },
        Row {
            account: Some("111122223333".parse().expect("an account")),
            ..row(Measure::IncomingBytes, 5.0)
        },
    ]);
    assert_eq!(
        lines(&metrics, "aws_"),
        [
            "aws_kinesis_incoming_bytes_sum{stream_name=\"flights\"} 15.0",
            "aws_kinesis_incoming_bytes_sum{stream_name=\"flights\",shard_id=\"shardId-000000000003\"} 9.0",
            "aws_kinesis_incoming_bytes_sum{stream_name=\"flights\",region=\"eu-west-1\"} 6.0",
            "aws_kinesis_incoming_bytes_sum{stream_name=\"flights\",account=\"111122223333\"} 5.0",
            "aws_kinesis_put_record_latency_average{stream_name=\"flights\"} 1.5",
        ]
    );
    metrics.cloudwatch.publish(Vec::new());
    assert!(lines(&metrics, "aws_").is_empty());
}

#[test]
fn names_are_those_of_cloudwatch_exporter() {
    let names: Vec<String> = Measure::ALL.iter().map(|measure| measure.name()).collect();
    for expected in [
        "aws_kinesis_incoming_bytes_sum",
        "aws_kinesis_put_records_total_records_sum",
        "aws_kinesis_get_records_iterator_age_milliseconds_average",
        "aws_kinesis_write_provisioned_throughput_exceeded_sum",
    ] {
        assert!(names.iter().any(|name| name == expected), "{expected}");
    }
}

#[test]
fn every_metric_is_shown_under_its_listed_name() {
    let metrics = Metrics::new();
    let labels = RequestLabels {
        operation: "PutRecord",
        code: 200,
        error: "",
        version: "2",
    };
    metrics.http_requests.get_or_create(&labels).inc();
    let operation = OperationLabel {
        operation: "PutRecord",
    };
    metrics.throttled.get_or_create(&operation).inc();
    metrics
        .http_request_seconds
        .get_or_create(&operation)
        .observe(0.1);
    let reason = ReasonLabel { reason: "idle" };
    metrics.connections_closed.get_or_create(&reason).inc();
    let file = FileLabel {
        file: "credentials",
    };
    metrics.file_reloads_failed.get_or_create(&file).inc();
    let (side, call) = ("server", "Append");
    let labels = RpcLabels {
        side,
        call,
        outcome: "done",
    };
    metrics.rpc_calls.get_or_create(&labels).inc();
    let labels = RpcCallLabels { side, call };
    metrics.rpc_call_seconds.get_or_create(&labels).observe(0.1);
    metrics.watch_budgets(vec![Budget::new("bodies_small", 7)]);
    static POLLED: Name = Name {
        base: "millstream_polled",
        kind: names::Kind::Counter,
        unit: Some(names::Unit::Bytes),
        labels: &[],
        help: "a test",
    };
    // A certificate and an engine are polled by whoever has one; all others are the process's own.
    let polled = names::ALL
        .iter()
        .position(|name| name.base == names::CERTIFICATE_ENDS.base)
        .expect("the polled names are listed last");
    metrics.watch_polled(move || {
        let polled = names::ALL[polled..].iter().map(|name| (*name, 1));
        polled.chain([(&POLLED, 5)]).collect()
    });
    let text = metrics.text();
    assert!(text.contains("millstream_polled_bytes_total 5\n"), "{text}");
    assert!(text.contains("millstream_memory_budget_cap_bytes{budget=\"bodies_small\"} 7\n"));
    assert!(text.contains(
        "millstream_http_requests_total{operation=\"PutRecord\",code=\"200\",error=\"\",version=\"2\"} 1\n"
    ));
    for name in names::ALL {
        assert!(
            text.contains(&name.shown()),
            "{} is not in {text}",
            name.shown()
        );
    }
    assert!(text.ends_with("# EOF\n"));
}
