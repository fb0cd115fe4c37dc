//! Counts of what a stream and its shards took and gave, for CloudWatch-like metrics.
//!
//! Totals since the process started; whoever shows a minute takes the difference of two
//! readings. Plain relaxed atomics: a count is exact, the moment at which it is seen is not.

use std::sync::atomic::{AtomicU64, Ordering};

/// A total that only grows.
#[derive(Debug, Default)]
pub struct Total(AtomicU64);

impl Total {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The total so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Calls of one operation: how many, how many succeeded, and the time they took together.
#[derive(Debug, Default)]
pub struct Calls {
    /// Calls that reached the stream.
    pub calls: Total,
    /// Calls that succeeded (a PutRecords with one durable record succeeded).
    pub successes: Total,
    /// Microseconds of all calls together.
    pub latency_us: Total,
}

impl Calls {
    pub(crate) fn note(&self, success: bool, latency_us: u64) {
        self.calls.add(1);
        self.successes.add(u64::from(success));
        self.latency_us.add(latency_us);
    }
}

/// The counts of one stream.
#[derive(Debug, Default)]
pub struct StreamCounters {
    /// `IncomingBytes`: bytes of data made durable.
    pub incoming_bytes: Total,
    /// `IncomingRecords`: records made durable.
    pub incoming_records: Total,
    /// `GetRecords.Bytes`: bytes of data read.
    pub outgoing_bytes: Total,
    /// `GetRecords.Records`: records read.
    pub outgoing_records: Total,
    /// `PutRecord.*`.
    pub put_record: Calls,
    /// `PutRecord.Bytes`: bytes of data made durable by PutRecord.
    pub put_record_bytes: Total,
    /// `PutRecords.*`.
    pub put_records: Calls,
    /// `PutRecords.Bytes`: bytes of data made durable by PutRecords.
    pub put_records_bytes: Total,
    /// `PutRecords.TotalRecords`.
    pub put_records_total: Total,
    /// `PutRecords.SuccessfulRecords`.
    pub put_records_successful: Total,
    /// `PutRecords.FailedRecords`: failed inside the server.
    pub put_records_failed: Total,
    /// `PutRecords.ThrottledRecords`.
    pub put_records_throttled: Total,
    /// `GetRecords.*`.
    pub get_records: Calls,
    /// Sum of `MillisBehindLatest` over successful GetRecords: with `get_records.successes` the
    /// mean of `GetRecords.IteratorAgeMilliseconds`.
    pub iterator_age_ms: Total,
    /// `WriteProvisionedThroughputExceeded`: records throttled.
    pub write_throttled: Total,
    /// `ReadProvisionedThroughputExceeded`: GetRecords calls throttled.
    pub read_throttled: Total,
}

/// The counts of one shard.
#[derive(Debug, Default)]
pub struct ShardCounters {
    /// `IncomingBytes`.
    pub incoming_bytes: Total,
    /// `IncomingRecords`.
    pub incoming_records: Total,
    /// `OutgoingBytes`.
    pub outgoing_bytes: Total,
    /// `OutgoingRecords`.
    pub outgoing_records: Total,
    /// `WriteProvisionedThroughputExceeded`.
    pub write_throttled: Total,
    /// `ReadProvisionedThroughputExceeded`.
    pub read_throttled: Total,
    /// Successful reads.
    pub reads: Total,
    /// Sum of `MillisBehindLatest` over the successful reads.
    pub iterator_age_ms: Total,
}
