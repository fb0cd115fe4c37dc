//! What a run found: as JSON for programs, as a table with bars for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::floors::{RatioRounds, RatioSpread, Ratios, figure};
use super::machine::Machine;
use super::raw::RawSample;
use super::sample::{Middle, Percentiles, Sample};
use super::scenario::Scenario;

/// The whole run, with the keys that other programs rely on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    raw: Raw,
    runs: Vec<Run>,
    ratios: Ratios,
    /// Least and greatest of the rounds, for each figure above.
    spread: RatioSpread,
}

/// The disk alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Raw {
    w4k_sync_p50_us: Option<f64>,
    w512k_mb_s: Option<f64>,
}

/// One scenario on one target: medians of the rounds.
#[derive(Clone, Debug, Serialize)]
struct Run {
    name: &'static str,
    target: String,
    in_flight: usize,
    batch: usize,
    shards: usize,
    records_per_s: f64,
    /// Least and greatest of the rounds.
    records_per_s_spread: [f64; 2],
    mb_per_s: f64,
    ack_us: Percentiles,
    server_cpu_s_per_gb: Option<f64>,
    device_ratio: Option<f64>,
    syncs_per_s: Option<f64>,
}

/// What the rounds found so far.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) raw: Vec<RawSample>,
    runs: Vec<(String, Scenario, Vec<Sample>)>,
    pub(crate) ratios: RatioRounds,
}

impl Findings {
    /// Notes a measurement.
    pub(crate) fn note(&mut self, target: &str, scenario: Scenario, sample: Sample) {
        let known = self
            .runs
            .iter_mut()
            .find(|(name, of, _)| name == target && *of == scenario);
        match known {
            Some((_, _, samples)) => samples.push(sample),
            None => self.runs.push((target.to_owned(), scenario, vec![sample])),
        }
    }

    /// The newest measurement of `scenario` on `target`.
    pub(crate) fn newest(&self, target: &str, scenario: Scenario) -> Option<Sample> {
        let mut runs = self.runs.iter();
        let run = runs.find(|(name, of, _)| name == target && *of == scenario);
        run.and_then(|(_, _, samples)| samples.last().copied())
    }

    /// Medians and spreads.
    pub(crate) fn report(&self, machine: Machine) -> Report {
        let median = |of: fn(&RawSample) -> f64| Middle::of(self.raw.iter().map(of));
        Report {
            machine,
            raw: Raw {
                w4k_sync_p50_us: median(|raw| raw.w4k_sync_p50_us).map(|m| m.median),
                w512k_mb_s: median(|raw| raw.w512k_mb_s).map(|m| m.median),
            },
            runs: self.runs.iter().map(run).collect(),
            ratios: self.ratios.medians(),
            spread: self.ratios.spread(),
        }
    }
}

fn run((target, scenario, samples): &(String, Scenario, Vec<Sample>)) -> Run {
    let of = |value: fn(&Sample) -> f64| Middle::of(samples.iter().map(value));
    let median = |value: fn(&Sample) -> f64| of(value).map_or(0.0, |m| m.median);
    let optional = |value: fn(&Sample) -> Option<f64>| {
        Middle::of(samples.iter().filter_map(value)).map(|m| m.median)
    };
    Run {
        name: scenario.name,
        target: target.clone(),
        in_flight: scenario.in_flight,
        batch: scenario.batch,
        shards: scenario.shards,
        records_per_s: median(|s| s.records_per_s),
        records_per_s_spread: of(|s| s.records_per_s).map_or([0.0; 2], |m| [m.least, m.greatest]),
        mb_per_s: median(|s| s.mb_per_s),
        ack_us: Percentiles {
            p50: median(|s| s.ack_us.p50),
            p99: median(|s| s.ack_us.p99),
            p999: median(|s| s.ack_us.p999),
        },
        server_cpu_s_per_gb: optional(|s| s.cpu_s_per_gb),
        device_ratio: optional(|s| s.device_ratio),
        syncs_per_s: optional(|s| s.syncs_per_s),
    }
}

impl Report {
    /// For a person.
    pub(crate) fn table(&self) -> String {
        let mut text = self.machine.line();
        text.push_str("\n\n");
        let mut line = |line: String| {
            text.push_str(line.trim_end());
            text.push('\n');
        };
        if let (Some(small), Some(large)) = (self.raw.w4k_sync_p50_us, self.raw.w512k_mb_s) {
            line(format!(
                "raw disk: 4 KiB write and sync {} us at p50; 512 KiB {} MB/s\n",
                figure(small),
                figure(large)
            ));
        }
        line(format!(
            "{:<22} {:<8} {:>10} {:>19} {:>8} {:>9} {:>9} {:>9} {:>8} {:>7} {:>8}",
            "run",
            "target",
            "records/s",
            "least..greatest",
            "MB/s",
            "p50 us",
            "p99 us",
            "p999 us",
            "CPUs/GB",
            "device",
            "syncs/s"
        ));
        for run in &self.runs {
            line(run.line());
        }
        line(String::new());
        for (floor, value) in self.ratios.rows() {
            line(floor.line(value));
        }
        text
    }
}

impl Run {
    fn line(&self) -> String {
        let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), figure);
        let mut line = String::new();
        let [least, greatest] = self.records_per_s_spread;
        let written = write!(
            line,
            "{:<22} {:<8} {:>10} {:>19} {:>8} {:>9} {:>9} {:>9} {:>8} {:>7} {:>8}",
            self.name,
            self.target,
            figure(self.records_per_s),
            format!("{}..{}", figure(least), figure(greatest)),
            figure(self.mb_per_s),
            figure(self.ack_us.p50),
            figure(self.ack_us.p99),
            figure(self.ack_us.p999),
            optional(self.server_cpu_s_per_gb),
            optional(self.device_ratio),
            optional(self.syncs_per_s),
        );
        written.expect("a string takes what is written to it");
        line
    }
}
