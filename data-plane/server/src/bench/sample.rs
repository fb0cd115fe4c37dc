//! What one measurement found, and the middle of several.

use serde::Serialize;

use super::scenario::RECORD_BYTES;
use super::usage::{DiskUse, Usage, as_f64};

/// Acknowledgement times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    /// Half were faster.
    pub(crate) p50: f64,
    /// One of a hundred was slower.
    pub(crate) p99: f64,
    /// One of a thousand was slower.
    pub(crate) p999: f64,
}

impl Percentiles {
    /// Of times in nanoseconds, in any order.
    pub(crate) fn of(nanos: &mut [u64]) -> Self {
        nanos.sort_unstable();
        let at = |per_mille: usize| {
            let index = (nanos.len() * per_mille / 1000).min(nanos.len().saturating_sub(1));
            nanos.get(index).map_or(0.0, |ns| as_f64(*ns) / 1e3)
        };
        Self {
            p50: at(500),
            p99: at(990),
            p999: at(999),
        }
    }
}

/// One measurement of one scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) records_per_s: f64,
    pub(crate) mb_per_s: f64,
    pub(crate) ack_us: Percentiles,
    /// Processor time of the process under test for each 10^9 bytes of data.
    pub(crate) cpu_s_per_gb: Option<f64>,
    /// Bytes to the disk for each byte of data.
    pub(crate) device_ratio: Option<f64>,
    pub(crate) syncs_per_s: Option<f64>,
}

/// What was counted while a scenario ran.
pub(crate) struct Counted {
    pub(crate) records: u64,
    pub(crate) seconds: f64,
    /// One time for each acknowledged request.
    pub(crate) ack_nanos: Vec<u64>,
    pub(crate) usage: Option<Usage>,
    pub(crate) disk: Option<DiskUse>,
}

impl Sample {
    pub(crate) fn of(mut counted: Counted) -> Self {
        let bytes = as_f64(counted.records) * as_f64(RECORD_BYTES as u64);
        let per_byte = |amount: f64| amount / bytes.max(1.0);
        Self {
            records_per_s: as_f64(counted.records) / counted.seconds,
            mb_per_s: bytes / counted.seconds / 1e6,
            ack_us: Percentiles::of(&mut counted.ack_nanos),
            cpu_s_per_gb: counted.usage.map(|usage| per_byte(usage.cpu_s) * 1e9),
            device_ratio: counted.disk.map(|disk| per_byte(as_f64(disk.bytes))),
            syncs_per_s: counted
                .disk
                .map(|disk| as_f64(disk.syncs) / counted.seconds),
        }
    }

    /// Processor time of the process under test for each record, in microseconds.
    pub(crate) fn cpu_us_per_record(&self) -> Option<f64> {
        let bytes = as_f64(RECORD_BYTES as u64);
        self.cpu_s_per_gb.map(|cpu| cpu * bytes / 1e9 * 1e6)
    }
}

/// The middle of several values, with the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Middle {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Middle {
    /// None of no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self {
            median: f64::midpoint(below, above),
            least,
            greatest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_odd_and_an_even_number_of_values() {
        let middle = |values: &[f64]| Middle::of(values.iter().copied());
        let three = middle(&[3.0, 1.0, 2.0]).expect("there are values");
        assert_eq!((three.median, three.least, three.greatest), (2.0, 1.0, 3.0));
        assert_eq!(middle(&[1.0, 2.0]).map(|m| m.median), Some(1.5));
        assert_eq!(middle(&[f64::NAN]), None);
    }

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let mut nanos: Vec<u64> = (0..1000).rev().map(|n| n * 1000).collect();
        let found = Percentiles::of(&mut nanos);
        assert_eq!((found.p50, found.p99, found.p999), (500.0, 990.0, 999.0));
        assert_eq!(Percentiles::of(&mut []).p50, 0.0);
    }

    #[test]
    fn rates_and_costs_are_for_the_bytes_of_data() {
        let sample = Sample::of(Counted {
            records: 2_000_000,
            seconds: 2.0,
            ack_nanos: vec![1000],
            usage: Some(Usage { cpu_s: 4.096 }),
            disk: Some(DiskUse {
                syncs: 10,
                bytes: 4_096_000_000,
            }),
        });
        assert_eq!((sample.records_per_s, sample.mb_per_s), (1e6, 1024.0));
        assert_eq!(
            (sample.cpu_s_per_gb, sample.device_ratio),
            (Some(2.0), Some(2.0))
        );
        assert_eq!(sample.syncs_per_s, Some(5.0));
        assert!((sample.cpu_us_per_record().unwrap_or_default() - 2.048).abs() < 1e-9);
    }
}
