//! The ratios that the design promises, and how a person sees whether they are reached.

use serde::Serialize;

use super::sample::Middle;

macro_rules! ratios {
    ($($(#[$doc:meta])* $name:ident: $better:ident $floor:literal $unit:literal $what:literal,)*) => {
        /// The figures that the floors are about; none where this run did not measure one.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
        pub(crate) struct Ratios {
            $($(#[$doc])* pub(crate) $name: Option<f64>,)*
        }

        /// The same figures as they came, one for each round.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct RatioRounds {
            $(pub(crate) $name: Vec<f64>,)*
        }

        /// Least and greatest of each figure.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
        pub(crate) struct RatioSpread {
            $(pub(crate) $name: Option<[f64; 2]>,)*
        }

        impl RatioRounds {
            /// The middle of each figure.
            pub(crate) fn medians(&self) -> Ratios {
                let median = |values: &[f64]| Middle::of(values.iter().copied()).map(|m| m.median);
                Ratios { $($name: median(&self.$name),)* }
            }

            /// How far the rounds lie apart.
            pub(crate) fn spread(&self) -> RatioSpread {
                let spread = |values: &[f64]| {
                    Middle::of(values.iter().copied()).map(|m| [m.least, m.greatest])
                };
                RatioSpread { $($name: spread(&self.$name),)* }
            }
        }

        impl Ratios {
            /// Each figure with its floor.
            pub(crate) fn rows(&self) -> Vec<(Floor, Option<f64>)> {
                vec![$((
                    Floor {
                        #[cfg(test)]
                        name: stringify!($name),
                        better: Better::$better,
                        floor: $floor,
                        unit: $unit,
                        what: $what,
                    },
                    self.$name,
                ),)*]
            }
        }
    };
}

ratios! {
    /// Acknowledgement of the engine with one request in flight, against the disk.
    ack_p50_vs_raw: Lower 2.2 "x" "ack p50 against a raw 4 KiB write and sync",
    /// Engine against the bare log, 512 requests in flight.
    inflight512_vs_wal: Higher 0.30 "x" "512 in flight against the bare log",
    /// Engine against the bare log, 16 requests of 100 records in flight.
    batch_vs_wal: Higher 0.40 "x" "16 x 100 records against the bare log",
    /// 64 shards against one.
    shards64_vs_1: Higher 0.9 "x" "64 shards against 1",
    /// Processor time of the server for one PutRecord.
    http_put_us: Lower 30.0 "us" "server CPU for a PutRecord",
    /// Processor time of the server for 10^9 bytes by PutRecords.
    http_batch_cpu_s_per_gb: Lower 6.0 "s/GB" "server CPU for PutRecords x 100",
    /// Engine's catch-up scan for each processor.
    scan_gb_s: Higher 2.0 "GB/s" "catch-up scan, per core",
    /// GetRecords, one consumer.
    getrecords_mb_s: Higher 150.0 "MB/s" "GetRecords, one consumer",
    /// From acknowledgement to a reader at the tip.
    tail_p99_ms: Lower 5.0 "ms" "tail delivery after ack, p99",
    /// From the start of a killed server to its first acknowledgement.
    restart_ms: Lower 1000.0 "ms" "restart with 64 MiB of log",
    /// Acknowledgement of one client over a hop, against the same engine without.
    hop_ack_p50: Lower 3.5 "x" "ack p50 over a hop, 1 client, against none",
    /// The same against the engine and a call that nothing gathers, one after the other.
    hop_ack_vs_bare_call: Lower 1.5 "x" "ack p50 over a hop against engine + bare call",
    /// Records of 16 clients over a hop, against the same engine without.
    hop_16_clients: Higher 0.3 "x" "records/s over a hop, 16 clients",
    /// Records of 128 clients over a hop, against the same engine without.
    hop_128_clients: Higher 0.3 "x" "records/s over a hop, 128 clients",
    /// Bytes to the disk for each byte put, at a steady pace.
    device_bytes: Lower 2.2 "x" "device bytes for each byte put",
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    #[cfg(test)]
    name: &'static str,
    better: Better,
    floor: f64,
    unit: &'static str,
    what: &'static str,
}

/// Cells of a bar.
const BAR: usize = 24;
/// Where in the bar the floor stands.
const FLOOR_AT: usize = 12;

impl Floor {
    /// Whether `value` is good enough.
    pub(crate) fn is_reached(&self, value: f64) -> bool {
        match self.better {
            Better::Lower => value <= self.floor,
            Better::Higher => value >= self.floor,
        }
    }

    /// A line with a bar: longer is better, and the mark stands where the floor is.
    pub(crate) fn line(&self, value: Option<f64>) -> String {
        let Self { what, unit, .. } = self;
        let sign = match self.better {
            Better::Lower => "<=",
            Better::Higher => ">=",
        };
        let floor = format!("{sign} {} {unit}", figure(self.floor));
        let Some(value) = value else {
            return format!("{what:<44} {:>12}  {:BAR$}  floor {floor}", "not run", "");
        };
        let verdict = if self.is_reached(value) {
            "reached"
        } else {
            "MISSED"
        };
        let shown = format!("{} {unit}", figure(value));
        let bar = self.bar(value);
        format!("{what:<44} {shown:>12}  {bar}  floor {floor:<14} {verdict}")
    }

    fn bar(&self, value: f64) -> String {
        // 1 at the floor; a quarter of the bar is half as good, all of it twice as good
        let goodness = match self.better {
            Better::Lower => self.floor / value.max(f64::MIN_POSITIVE),
            Better::Higher => value / self.floor,
        };
        let filled = (1..=BAR)
            .filter(|cell| {
                goodness * super::usage::as_f64(FLOOR_AT as u64)
                    >= super::usage::as_f64(*cell as u64)
            })
            .count();
        (1..=BAR)
            .map(|cell| match (cell <= filled, cell == FLOOR_AT) {
                (_, true) => '|',
                (true, false) => '#',
                (false, false) => '.',
            })
            .collect()
    }
}

/// A figure with three digits that count.
pub(crate) fn figure(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ratios: Ratios, name: &str) -> (Floor, Option<f64>) {
        let mut rows = ratios.rows().into_iter();
        rows.find(|(floor, _)| floor.name == name)
            .expect("a figure of this name")
    }

    #[test]
    fn a_floor_is_reached_from_its_own_side() {
        let ratios = Ratios {
            ack_p50_vs_raw: Some(2.3),
            batch_vs_wal: Some(0.41),
            ..Ratios::default()
        };
        let (ack, value) = row(ratios, "ack_p50_vs_raw");
        assert!(ack.line(value).ends_with("MISSED"), "{}", ack.line(value));
        let (batch, value) = row(ratios, "batch_vs_wal");
        assert!(batch.line(value).ends_with("reached"));
        let (scan, value) = row(ratios, "scan_gb_s");
        assert!(scan.line(value).contains("not run"));
    }

    #[test]
    fn a_bar_reaches_its_mark_exactly_at_the_floor() {
        let (floor, _) = row(Ratios::default(), "scan_gb_s");
        assert_eq!(floor.bar(1.99).matches('#').count(), FLOOR_AT - 1);
        assert_eq!(floor.bar(1.0), "######.....|............");
        assert_eq!(floor.bar(9.0).matches('#').count(), BAR - 1);
    }

    #[test]
    fn rounds_give_a_median_and_a_spread() {
        let rounds = RatioRounds {
            scan_gb_s: vec![3.0, 1.0, 2.0],
            ..RatioRounds::default()
        };
        assert_eq!(rounds.medians().scan_gb_s, Some(2.0));
        assert_eq!(rounds.spread().scan_gb_s, Some([1.0, 3.0]));
        assert_eq!(rounds.medians().tail_p99_ms, None);
    }
}
