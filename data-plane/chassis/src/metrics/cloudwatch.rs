//! Per-stream metrics under the names that `cloudwatch_exporter` gives CloudWatch's: gauges over
//! the last whole minute, such as `aws_kinesis_incoming_bytes_sum{stream_name="s"}`.
//!
//! Who counts publishes one [`Row`] per stream (or shard) and metric at the end of each minute.
//! Streams outside the server's own account or region carry an `account` or `region` label too.

use std::fmt::{self, Write as _};

use millstream_types::{AccountId, Region, ShardId, StreamName};
use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel as _, EncodeLabelSet, EncodeMetric as _, LabelSetEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Most rows shown; what a minute has beyond them is left out.
const ROWS_MAX: usize = 200_000;

macro_rules! measures {
    ($($measure:ident: $statistic:ident, $aws:literal;)*) => {
        /// What is shown: a CloudWatch metric and a statistic.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Measure {
            $(
                #[doc = concat!("`", $aws, "`, ", stringify!($statistic))]
                $measure,
            )*
        }

        impl Measure {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$measure),*];

            /// CloudWatch's name of the metric.
            #[must_use]
            pub const fn aws_name(self) -> &'static str {
                match self {
                    $(Self::$measure => $aws,)*
                }
            }

            /// The statistic over the minute, as the end of the shown name.
            #[must_use]
            pub const fn statistic(self) -> &'static str {
                match self {
                    $(Self::$measure => stringify!($statistic),)*
                }
            }
        }
    };
}

measures! {
    IncomingBytes: sum, "IncomingBytes";
    IncomingRecords: sum, "IncomingRecords";
    OutgoingBytes: sum, "OutgoingBytes";
    OutgoingRecords: sum, "OutgoingRecords";
    PutRecordBytes: sum, "PutRecord.Bytes";
    PutRecordLatency: average, "PutRecord.Latency";
    PutRecordSuccess: sum, "PutRecord.Success";
    PutRecordsBytes: sum, "PutRecords.Bytes";
    PutRecordsLatency: average, "PutRecords.Latency";
    PutRecordsSuccess: sum, "PutRecords.Success";
    PutRecordsTotalRecords: sum, "PutRecords.TotalRecords";
    PutRecordsSuccessfulRecords: sum, "PutRecords.SuccessfulRecords";
    PutRecordsFailedRecords: sum, "PutRecords.FailedRecords";
    PutRecordsThrottledRecords: sum, "PutRecords.ThrottledRecords";
    GetRecordsBytes: sum, "GetRecords.Bytes";
    GetRecordsRecords: sum, "GetRecords.Records";
    GetRecordsLatency: average, "GetRecords.Latency";
    GetRecordsSuccess: sum, "GetRecords.Success";
    GetRecordsIteratorAge: average, "GetRecords.IteratorAgeMilliseconds";
    IteratorAge: average, "IteratorAgeMilliseconds";
    ReadThrottled: sum, "ReadProvisionedThroughputExceeded";
    WriteThrottled: sum, "WriteProvisionedThroughputExceeded";
}

impl Measure {
    /// The name as `cloudwatch_exporter` writes it.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = String::from("aws_kinesis_");
        let mut before = '_';
        for c in self.aws_name().chars() {
            if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
                name.push('_');
            }
            name.push(if c == '.' {
                '_'
            } else {
                c.to_ascii_lowercase()
            });
            before = c;
        }
        name.push('_');
        name.push_str(self.statistic());
        name
    }
}

/// One number of the last whole minute.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is.
    pub measure: Measure,
    /// The stream.
    pub stream: StreamName,
    /// The shard, for metrics per shard.
    pub shard: Option<ShardId>,
    /// The stream's account, if it is not the server's.
    pub account: Option<AccountId>,
    /// The stream's region, if it is not the server's.
    pub region: Option<Region>,
    /// The number.
    pub value: f64,
}

/// The rows shown until the next minute ends.
#[derive(Debug, Default)]
pub struct CloudWatch(RwLock<Vec<Row>>);

impl CloudWatch {
    /// Shows `rows` instead of those before.
    pub fn publish(&self, mut rows: Vec<Row>) {
        rows.truncate(ROWS_MAX);
        rows.sort_by_key(|row| row.measure);
        *self.0.write() = rows;
    }
}

impl Collector for CloudWatch {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let rows = self.0.read();
        let mut help = String::new();
        for group in rows.chunk_by(|a, b| a.measure == b.measure) {
            let measure = group[0].measure;
            help.clear();
            write!(help, "{} of the last whole minute", measure.aws_name())?;
            let name = measure.name();
            let mut family = encoder.encode_descriptor(&name, &help, None, MetricType::Gauge)?;
            for row in group {
                ConstGauge::new(row.value).encode(family.encode_family(&Labels(row))?)?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Labels<'a>(&'a Row);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        ("stream_name", self.0.stream.as_str()).encode(encoder.encode_label())?;
        if let Some(shard) = self.0.shard {
            ("shard_id", shard.to_string().as_str()).encode(encoder.encode_label())?;
        }
        if let Some(account) = &self.0.account {
            ("account", account.as_str()).encode(encoder.encode_label())?;
        }
        if let Some(region) = &self.0.region {
            ("region", region.as_str()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}
