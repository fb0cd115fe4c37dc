//! The shard-level metrics of CloudWatch, and sets of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One metric that a stream can show per shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShardMetric {
    /// Bytes put.
    IncomingBytes,
    /// Records put.
    IncomingRecords,
    /// Bytes read.
    OutgoingBytes,
    /// Records read.
    OutgoingRecords,
    /// Puts that were throttled.
    WriteProvisionedThroughputExceeded,
    /// Reads that were throttled.
    ReadProvisionedThroughputExceeded,
    /// Age of the newest record that a read returned.
    IteratorAgeMilliseconds,
}

/// A text that names no shard-level metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a shard-level metric is one of the seven names of CloudWatch, or ALL")]
pub struct ParseMetricError;

impl ShardMetric {
    /// All of them, in the order of the service model.
    pub const ALL: [Self; 7] = [
        Self::IncomingBytes,
        Self::IncomingRecords,
        Self::OutgoingBytes,
        Self::OutgoingRecords,
        Self::WriteProvisionedThroughputExceeded,
        Self::ReadProvisionedThroughputExceeded,
        Self::IteratorAgeMilliseconds,
    ];

    /// AWS's word for the metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IncomingBytes => "IncomingBytes",
            Self::IncomingRecords => "IncomingRecords",
            Self::OutgoingBytes => "OutgoingBytes",
            Self::OutgoingRecords => "OutgoingRecords",
            Self::WriteProvisionedThroughputExceeded => "WriteProvisionedThroughputExceeded",
            Self::ReadProvisionedThroughputExceeded => "ReadProvisionedThroughputExceeded",
            Self::IteratorAgeMilliseconds => "IteratorAgeMilliseconds",
        }
    }
}

impl FromStr for ShardMetric {
    type Err = ParseMetricError;

    fn from_str(text: &str) -> Result<Self, ParseMetricError> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.as_str() == text)
            .ok_or(ParseMetricError)
    }
}

/// A set of shard-level metrics.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ShardMetrics(u8);

impl ShardMetrics {
    /// Every metric.
    pub const ALL: Self = Self(0x7f);

    /// The set of these names; `ALL` stands for every metric.
    ///
    /// # Errors
    /// [`ParseMetricError`] at the first name that is no metric.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, ParseMetricError> {
        let mut set = Self::default();
        for name in names {
            if name == "ALL" {
                set = Self::ALL;
            } else {
                set.insert(name.parse()?);
            }
        }
        Ok(set)
    }

    /// Adds a metric.
    pub fn insert(&mut self, metric: ShardMetric) {
        self.0 |= 1 << metric as u8;
    }

    /// Whether the metric is in the set.
    #[must_use]
    pub const fn contains(self, metric: ShardMetric) -> bool {
        self.0 & (1 << metric as u8) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in the order of the service model.
    pub fn iter(self) -> impl Iterator<Item = ShardMetric> {
        ShardMetric::ALL
            .into_iter()
            .filter(move |metric| self.contains(*metric))
    }

    /// One bit for each member, by its place in [`ShardMetric::ALL`]. Persisted: keep stable.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these bits; none when a bit stands for no metric.
    #[must_use]
    pub const fn of_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }
}

impl fmt::Debug for ShardMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(ShardMetric::as_str))
            .finish()
    }
}

impl Serialize for ShardMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(ShardMetric::as_str))
    }
}

impl<'de> Deserialize<'de> for ShardMetrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Self::parse(names.iter().map(String::as_str)).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reads_back_by_names_and_by_bits() {
        let set = ShardMetrics::parse(["OutgoingBytes", "IncomingBytes"]).expect("two metrics");
        assert_eq!(
            set.iter().map(ShardMetric::as_str).collect::<Vec<_>>(),
            ["IncomingBytes", "OutgoingBytes"]
        );
        assert_eq!(ShardMetrics::of_bits(set.bits()), Some(set));
        assert_eq!(ShardMetrics::parse(["ALL"]), Ok(ShardMetrics::ALL));
        assert_eq!(ShardMetrics::ALL.iter().count(), 7);
    }

    #[test]
    fn unknown_names_and_bits_are_refused() {
        assert_eq!(ShardMetrics::parse(["all"]), Err(ParseMetricError));
        assert_eq!(ShardMetrics::of_bits(0x80), None);
    }
}
