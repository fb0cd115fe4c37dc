//! The order of the measurements: in each round every target gets its turn.

use std::path::Path;
use std::sync::Arc;

use millstream_clock::SystemClock;

use super::hop::Hop;
use super::http::child::ChildServer;
use super::http::load::{self, Served};
use super::http::read::Filled;
use super::http::restart;
use super::in_process::{Target, sync_file_system};
use super::machine::{self, Machine};
use super::payload::Payload;
use super::raw::{RawFile, RawSample};
use super::report::{Findings, Report};
use super::scenario::{
    BATCHES, IN_FLIGHT_1, IN_FLIGHT_64, IN_FLIGHT_512, IN_PROCESS, ONE_SHARD_512, OVER_HTTP,
};
use super::{Against, BenchError, Options, paced, tail};

/// What the report calls a server that it loads.
const HTTP: &str = "http";

/// Measures what `options` ask for, in `dir`.
pub(crate) async fn run(options: &Options, dir: &Path) -> Result<Report, BenchError> {
    let clock = Arc::new(SystemClock::new());
    let seconds = options.seconds.as_secs_f64();
    let mut machine = Machine::look(clock.as_ref(), dir, options.rounds, seconds);
    let mut findings = Findings::default();
    let mut targets = Targets::prepare(options, dir, Arc::clone(&clock)).await?;
    let rounds = if options.against == Against::Paced {
        0
    } else {
        options.rounds
    };
    for round in 0..rounds {
        targets.round(options, &mut findings, round).await?;
    }
    targets.last(options, &mut findings).await?;
    targets.end().await?;
    machine.load_ended = machine::load();
    Ok(findings.report(machine))
}

/// Everything that is measured, ready for it.
struct Targets {
    clock: Arc<SystemClock>,
    payload: Payload,
    dir: std::path::PathBuf,
    raw: Option<RawFile>,
    bare_log: Option<Target>,
    engine: Option<Engine>,
    hop: Option<Hop>,
    server: Option<Server>,
}

struct Engine {
    target: Target,
    scanned: Vec<millstream_types::ShardUid>,
}

struct Server {
    served: Served,
    filled: Filled,
    /// None where it runs already.
    child: Option<ChildServer>,
}

impl Targets {
    async fn prepare(
        options: &Options,
        dir: &Path,
        clock: Arc<SystemClock>,
    ) -> Result<Self, BenchError> {
        let wants = |targets: &[Against]| {
            options.against == Against::All || targets.contains(&options.against)
        };
        let payload = Payload::new();
        let raw = if wants(&[Against::Raw, Against::Wal, Against::Engine]) {
            Some(RawFile::create(dir)?)
        } else {
            None
        };
        let bare_log = if wants(&[Against::Wal, Against::Engine]) {
            Some(Target::bare_log(dir).await?)
        } else {
            None
        };
        let engine = if wants(&[Against::Engine, Against::Paced]) {
            let target = Target::engine(dir).await?;
            let scanned = target.prepare_scan().await?;
            tail::prepare(&target).await?;
            Some(Engine { target, scanned })
        } else {
            None
        };
        let hop = if wants(&[Against::Hop]) {
            let target = Target::before_hop(dir).await?;
            Some(Box::pin(Hop::open(target)).await?)
        } else {
            None
        };
        let server = match options.against {
            Against::All | Against::OwnServer => {
                let child = ChildServer::start(&dir.join("server")).await?;
                let served = child.served();
                Some((served, Some(child)))
            },
            Against::Server(endpoint) => {
                let pid = options.server_pid;
                Some((
                    Served {
                        endpoint,
                        pid,
                        metrics: None,
                    },
                    None,
                ))
            },
            _ => None,
        };
        let server = match server {
            Some((served, child)) => Some(Server {
                filled: Filled::new(served.endpoint, &payload, &clock).await?,
                served,
                child,
            }),
            None => None,
        };
        Ok(Self {
            clock,
            payload,
            dir: dir.to_owned(),
            raw,
            bare_log,
            engine,
            hop,
            server,
        })
    }

    async fn round(
        &mut self,
        options: &Options,
        findings: &mut Findings,
        round: usize,
    ) -> Result<(), BenchError> {
        sync_file_system(&self.dir).await?;
        if let Some(mut raw) = self.raw.take() {
            let (clock, each) = (Arc::clone(&self.clock), options.seconds / 2);
            let measured = tokio::task::spawn_blocking(move || {
                let sample: Result<RawSample, std::io::Error> = raw.round(clock.as_ref(), each);
                (raw, sample)
            });
            let (raw, sample) = measured
                .await
                .map_err(|error| BenchError::Ended(error.to_string()))?;
            findings.raw.push(sample?);
            self.raw = Some(raw);
        }
        self.in_process(options, findings).await?;
        self.readers(options, findings).await?;
        if let Some(hop) = &self.hop {
            hop.round(options.seconds, findings).await?;
        }
        self.over_http(options, findings, round).await
    }

    /// Each scenario on the bare log and at once on the engine.
    async fn in_process(
        &self,
        options: &Options,
        findings: &mut Findings,
    ) -> Result<(), BenchError> {
        for scenario in IN_PROCESS {
            let engine = self.engine.as_ref().map(|engine| &engine.target);
            for target in [self.bare_log.as_ref(), engine].into_iter().flatten() {
                let sample = target.measure(scenario, options.seconds).await?;
                findings.note(target.name, scenario, sample);
            }
        }
        let raw = findings.raw.last().copied();
        let newest = |target: &str, scenario| findings.newest(target, scenario);
        let rate = |target: &str, scenario| newest(target, scenario).map(|s| s.mb_per_s);
        let against = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a / b);
        let ack = newest("engine", IN_FLIGHT_1).map(|s| s.ack_us.p50);
        let ack = against(ack, raw.map(|raw| raw.w4k_sync_p50_us));
        let inflight512 = against(rate("engine", IN_FLIGHT_512), rate("wal", IN_FLIGHT_512));
        let batch = against(rate("engine", BATCHES), rate("wal", BATCHES));
        let shards = against(rate("engine", IN_FLIGHT_512), rate("engine", ONE_SHARD_512));
        findings.ratios.ack_p50_vs_raw.extend(ack);
        findings.ratios.inflight512_vs_wal.extend(inflight512);
        findings.ratios.batch_vs_wal.extend(batch);
        findings.ratios.shards64_vs_1.extend(shards);
        Ok(())
    }

    async fn readers(&self, options: &Options, findings: &mut Findings) -> Result<(), BenchError> {
        let Some(Engine { target, scanned }) = &self.engine else {
            return Ok(());
        };
        let (per_core, _per_second) = target.scan(scanned, options.seconds).await?;
        findings.ratios.scan_gb_s.push(per_core);
        let delay_ms = tail::measure(target, options.seconds).await?;
        findings.ratios.tail_p99_ms.push(delay_ms);
        Ok(())
    }

    async fn over_http(
        &self,
        options: &Options,
        findings: &mut Findings,
        round: usize,
    ) -> Result<(), BenchError> {
        let Some(server) = &self.server else {
            return Ok(());
        };
        for scenario in OVER_HTTP {
            let clock = Arc::clone(&self.clock);
            let seconds = options.seconds;
            let sample = load::measure(server.served, scenario, seconds, &self.payload, clock);
            findings.note(HTTP, scenario, sample.await?);
            sync_file_system(&self.dir).await?;
        }
        let newest = |scenario| findings.newest(HTTP, scenario);
        let put_us = newest(IN_FLIGHT_64).and_then(|s| s.cpu_us_per_record());
        let batch_cpu = newest(BATCHES).and_then(|s| s.cpu_s_per_gb);
        findings.ratios.http_put_us.extend(put_us);
        findings.ratios.http_batch_cpu_s_per_gb.extend(batch_cpu);
        let read = server.filled.read(&self.clock, options.seconds).await?;
        findings.ratios.getrecords_mb_s.push(read);
        if server.child.is_some() {
            let data_dir = self.dir.join(format!("restart-{round}"));
            let restart_ms = restart::measure(&data_dir, &self.payload, &self.clock).await?;
            findings.ratios.restart_ms.push(restart_ms);
            std::fs::remove_dir_all(&data_dir)?;
        }
        Ok(())
    }

    /// What is measured once.
    async fn last(&self, options: &Options, findings: &mut Findings) -> Result<(), BenchError> {
        if let Some(engine) = &self.engine {
            let device_bytes = paced::measure(&engine.target, options.paced).await?;
            findings.ratios.device_bytes.push(device_bytes);
        }
        Ok(())
    }

    async fn end(self) -> Result<(), BenchError> {
        if let Some(server) = self.server {
            server.filled.delete().await?;
            if let Some(child) = server.child {
                child.kill().await?;
            }
        }
        Ok(())
    }
}
