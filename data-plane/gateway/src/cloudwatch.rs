//! Publishes each stream's last whole minute under CloudWatch's names.
//!
//! Streams and shards count totals; at the end of each minute [`Sampler::sample`] takes the
//! difference to the minute before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_chassis::Drain;
use millstream_chassis::metrics::cloudwatch::{CloudWatch, Measure, Row};
use millstream_clock::{Clock, task};
use millstream_stream::counters::{Calls, ShardCounters, StreamCounters};
use millstream_stream::{ShardLog, Stream, Streams};
use millstream_types::{AccountId, Region, Scope, ShardId, ShardMetric, StreamUid};

const MINUTE_MS: u64 = 60_000;

/// The account and region whose streams carry no label about them.
#[derive(Clone, Debug)]
pub struct Home {
    /// None where there is no account before others.
    account: Option<AccountId>,
    region: Region,
}

impl From<Region> for Home {
    fn from(region: Region) -> Self {
        Self {
            account: None,
            region,
        }
    }
}

impl From<Scope> for Home {
    fn from(scope: Scope) -> Self {
        Self {
            account: Some(scope.account),
            region: scope.region,
        }
    }
}

/// Publishes at the end of each minute, until the drain begins.
pub async fn run<S: ShardLog>(
    streams: Streams<S>,
    shown: Arc<CloudWatch>,
    home: impl Into<Home>,
    clock: Arc<dyn Clock>,
    drain: Drain,
) {
    let mut sampler = Sampler::new(home);
    drop(sampler.sample(&streams.all()));
    loop {
        let into_minute = clock.now().0 % MINUTE_MS;
        let rest = Duration::from_millis(MINUTE_MS - into_minute);
        tokio::select! {
            () = task::sleep(rest) => shown.publish(sampler.sample(&streams.all())),
            () = drain.begun() => return,
        }
    }
}

type Key = (StreamUid, Option<ShardId>);
/// A total as it is measured, and what it is divided by for an average.
type Totals = Vec<(Measure, u64, Option<u64>)>;

/// The totals at the end of the last minute.
#[derive(Debug)]
pub struct Sampler {
    home: Home,
    before: HashMap<Key, Totals>,
}

impl Sampler {
    /// Nothing was seen yet: the first sample shows the totals themselves.
    #[must_use]
    pub fn new(home: impl Into<Home>) -> Self {
        Self {
            home: home.into(),
            before: HashMap::new(),
        }
    }

    /// What `streams` did since the last sample. Series in which nothing happened are left out.
    pub fn sample(&mut self, streams: &[Arc<Stream>]) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut now = HashMap::new();
        for stream in streams {
            let totals = stream_totals(stream.counters());
            self.rows(stream, None, &totals, &mut rows);
            now.insert((stream.uid(), None), totals);
            let asked = stream.settings().shard_level_metrics;
            if asked.is_empty() {
                continue;
            }
            for shard in stream.map().shards() {
                let totals = shard_totals(&shard.counters, &|metric| asked.contains(metric));
                self.rows(stream, Some(shard.id), &totals, &mut rows);
                now.insert((stream.uid(), Some(shard.id)), totals);
            }
        }
        self.before = now;
        rows
    }

    fn rows(&self, stream: &Stream, shard: Option<ShardId>, totals: &Totals, rows: &mut Vec<Row>) {
        let before = self.before.get(&(stream.uid(), shard));
        for (measure, total, count) in totals {
            let old = before.and_then(|old| old.iter().find(|old| old.0 == *measure));
            let (old_total, old_count) = old.map_or((0, 0), |old| (old.1, old.2.unwrap_or(0)));
            let sum = total.saturating_sub(old_total);
            let value = match count.map(|count| count.saturating_sub(old_count)) {
                None if sum == 0 => continue,
                Some(0) => continue,
                None => as_gauge(sum),
                Some(count) => as_gauge(sum) / as_gauge(count),
            };
            let Scope { account, region } = stream.scope();
            rows.push(Row {
                measure: *measure,
                stream: stream.name().clone(),
                shard,
                account: (Some(account) != self.home.account.as_ref()).then(|| account.clone()),
                region: (*region != self.home.region).then(|| region.clone()),
                value,
            });
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floats; above 2^53 the last digits do not matter"
)]
fn as_gauge(total: u64) -> f64 {
    total as f64
}

fn stream_totals(counters: &StreamCounters) -> Totals {
    let c = counters;
    let mut totals: Totals = [
        (Measure::IncomingBytes, &c.incoming_bytes),
        (Measure::IncomingRecords, &c.incoming_records),
        (Measure::GetRecordsBytes, &c.outgoing_bytes),
        (Measure::GetRecordsRecords, &c.outgoing_records),
        (Measure::PutRecordBytes, &c.put_record_bytes),
        (Measure::PutRecordsBytes, &c.put_records_bytes),
        (Measure::PutRecordsTotalRecords, &c.put_records_total),
        (
            Measure::PutRecordsSuccessfulRecords,
            &c.put_records_successful,
        ),
        (Measure::PutRecordsFailedRecords, &c.put_records_failed),
        (
            Measure::PutRecordsThrottledRecords,
            &c.put_records_throttled,
        ),
        (Measure::WriteThrottled, &c.write_throttled),
        (Measure::ReadThrottled, &c.read_throttled),
    ]
    .map(|(measure, total)| (measure, total.get(), None))
    .into();
    let reads = c.get_records.successes.get();
    totals.push((
        Measure::GetRecordsIteratorAge,
        c.iterator_age_ms.get(),
        Some(reads),
    ));
    let calls = [
        (
            &c.put_record,
            Measure::PutRecordSuccess,
            Measure::PutRecordLatency,
        ),
        (
            &c.put_records,
            Measure::PutRecordsSuccess,
            Measure::PutRecordsLatency,
        ),
        (
            &c.get_records,
            Measure::GetRecordsSuccess,
            Measure::GetRecordsLatency,
        ),
    ];
    for (calls, success, latency) in calls {
        call_totals(calls, success, latency, &mut totals);
    }
    totals
}

/// CloudWatch's latencies are in milliseconds.
fn call_totals(calls: &Calls, success: Measure, latency: Measure, totals: &mut Totals) {
    totals.push((success, calls.successes.get(), None));
    let latency_ms = calls.latency_us.get() / 1000;
    totals.push((latency, latency_ms, Some(calls.calls.get())));
}

fn shard_totals(counters: &ShardCounters, asked: &dyn Fn(ShardMetric) -> bool) -> Totals {
    let all = [
        (
            ShardMetric::IncomingBytes,
            Measure::IncomingBytes,
            &counters.incoming_bytes,
            None,
        ),
        (
            ShardMetric::IncomingRecords,
            Measure::IncomingRecords,
            &counters.incoming_records,
            None,
        ),
        (
            ShardMetric::OutgoingBytes,
            Measure::OutgoingBytes,
            &counters.outgoing_bytes,
            None,
        ),
        (
            ShardMetric::OutgoingRecords,
            Measure::OutgoingRecords,
            &counters.outgoing_records,
            None,
        ),
        (
            ShardMetric::WriteProvisionedThroughputExceeded,
            Measure::WriteThrottled,
            &counters.write_throttled,
            None,
        ),
        (
            ShardMetric::ReadProvisionedThroughputExceeded,
            Measure::ReadThrottled,
            &counters.read_throttled,
            None,
        ),
        (
            ShardMetric::IteratorAgeMilliseconds,
            Measure::IteratorAge,
            &counters.iterator_age_ms,
            Some(counters.reads.get()),
        ),
    ];
    let asked_for = all.into_iter().filter(|(metric, ..)| asked(*metric));
    asked_for
        .map(|(_, measure, total, count)| (measure, total.get(), count))
        .collect()
}
