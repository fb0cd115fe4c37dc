//! The engine and the bare log under load, in this process: the processor time of the load itself
//! counts as theirs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millstream_clock::{Clock, SystemClock, SystemEntropy, task};
use millstream_storage::store::{
    AppendError, Appended, Change, ReadLimit, ShardLog, ShardStore as _, StoreError,
};
use millstream_storage::volume::{Engine, Options};
use millstream_types::ShardUid;

use super::BenchError;
use super::payload::{Payload, shard, shards};
use super::sample::{Counted, Sample};
use super::scenario::{BATCHES, IN_PROCESS, Scenario};
use super::usage::{DiskUse, Usage, WAL_FILE_BYTES, as_f64};

/// What is put before the first measurement, so that the log uses its files again.
const WARM_BYTES: usize = 768 * 1024 * 1024;
/// What a scan reads: more than the tail holds in memory.
const SCAN_BYTES: usize = 768 * 1024 * 1024;
/// A scan reads at most this at a time.
const SCAN_LIMIT: ReadLimit = ReadLimit {
    records: 10_000,
    bytes: 4 * 1024 * 1024,
};
/// How long an idle target may take to write everything.
const SETTLE: Duration = Duration::from_secs(30);

/// An engine that is being measured.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) payload: Payload,
    dir: std::path::PathBuf,
}

impl Target {
    /// The engine as a server runs it.
    pub(crate) async fn engine(dir: &Path) -> Result<Self, BenchError> {
        Self::open("engine", Options::new(dir.join("engine"))).await
    }

    /// The engine that is also served over a hop: one of its own, for its epoch is a server's.
    pub(crate) async fn before_hop(dir: &Path) -> Result<Self, BenchError> {
        Self::open("engine", Options::new(dir.join("hop"))).await
    }

    /// The log alone: the same frames, no segments.
    pub(crate) async fn bare_log(dir: &Path) -> Result<Self, BenchError> {
        let options = Options {
            log_only: true,
            tail_bytes: 0,
            ..Options::new(dir.join("wal"))
        };
        Self::open("wal", options).await
    }

    /// An engine that was never put to.
    #[cfg(test)]
    pub(crate) async fn cold(dir: &Path) -> Result<Self, BenchError> {
        Self::start("engine", Options::new(dir.join("engine"))).await
    }

    async fn open(name: &'static str, options: Options) -> Result<Self, BenchError> {
        let target = Self::start(name, options).await?;
        let requests = WARM_BYTES / (super::scenario::RECORD_BYTES * BATCHES.batch);
        target.put_requests(BATCHES, requests).await?;
        target.settle(&[BATCHES]).await?;
        Ok(target)
    }

    async fn start(name: &'static str, options: Options) -> Result<Self, BenchError> {
        assert_eq!(
            options.wal_file_bytes, WAL_FILE_BYTES,
            "the zeros of log files are counted by this size"
        );
        let clock = Arc::new(SystemClock::new());
        let dir = options.dir.clone();
        let shared_clock: Arc<dyn Clock> = clock.clone();
        let opening = move || Engine::open(options, shared_clock, Arc::new(SystemEntropy));
        let engine = tokio::task::spawn_blocking(opening)
            .await
            .map_err(|error| BenchError::Ended(error.to_string()))??;
        let target = Self {
            name,
            engine,
            clock,
            payload: Payload::new(),
            dir,
        };
        let mut widths: Vec<usize> = IN_PROCESS.iter().map(|s| s.shards).collect();
        widths.sort_unstable();
        widths.dedup();
        for width in widths {
            let shards = (0..width).map(|at| Change::OpenShard(shard(at, width)));
            target.engine.apply(shards.collect()).await?;
        }
        Ok(target)
    }

    /// Loads the target for a while, then lets it come to rest.
    pub(crate) async fn measure(
        &self,
        scenario: Scenario,
        how_long: Duration,
    ) -> Result<Sample, BenchError> {
        let to = shards(scenario);
        self.measure_over(&self.engine, &to, scenario, how_long)
            .await
    }

    /// The same over any log that leads to the target, into `shards`.
    pub(crate) async fn measure_over<L: ShardLog + Clone>(
        &self,
        log: &L,
        shards: &[ShardUid],
        scenario: Scenario,
        how_long: Duration,
    ) -> Result<Sample, BenchError> {
        let (usage, disk) = (Usage::own(), DiskUse::of(&self.engine.counters()));
        let begun = self.clock.monotonic();
        let end = begun + how_long;
        let next = Arc::new(AtomicUsize::new(0));
        let to: Arc<[ShardUid]> = shards.into();
        let tasks: Vec<_> = (0..scenario.in_flight)
            .map(|_| {
                let (log, clock) = (log.clone(), Arc::clone(&self.clock));
                let (payload, next) = (self.payload.clone(), Arc::clone(&next));
                let to = Arc::clone(&to);
                task::spawn("load", async move {
                    let mut nanos: Vec<u64> = Vec::with_capacity(4096);
                    let mut now = clock.monotonic();
                    while now < end {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let request = payload.appends(&to, scenario.batch, number);
                        let sent = clock.monotonic();
                        let acked = is_acked(log.append(request).await)?;
                        now = clock.monotonic();
                        if acked {
                            nanos.push(nanos_between(sent, now));
                        }
                    }
                    Ok(nanos)
                })
            })
            .collect();
        let mut ack_nanos = Vec::new();
        for task in tasks {
            let put: Result<Vec<u64>, BenchError> =
                task.await.map_err(|e| BenchError::Ended(e.to_string()))?;
            ack_nanos.extend(put?);
        }
        let seconds = self.clock.monotonic().saturating_sub(begun).as_secs_f64();
        // what the load left to be written belongs to it
        self.drained().await?;
        let counted = Counted {
            records: (ack_nanos.len() * scenario.batch) as u64,
            seconds,
            ack_nanos,
            usage: Some(Usage::own().since(usage)),
            disk: Some(DiskUse::of(&self.engine.counters()).since(disk)),
        };
        self.settle_shards(shards).await?;
        Ok(Sample::of(counted))
    }

    /// Puts a number of requests as fast as the target takes them.
    pub(crate) async fn put_requests(
        &self,
        scenario: Scenario,
        requests: usize,
    ) -> Result<(), BenchError> {
        let next = Arc::new(AtomicUsize::new(0));
        let to: Arc<[ShardUid]> = shards(scenario).into();
        let tasks: Vec<_> = (0..scenario.in_flight)
            .map(|_| {
                let (engine, payload) = (self.engine.clone(), self.payload.clone());
                let (next, to) = (Arc::clone(&next), Arc::clone(&to));
                task::spawn("fill", async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= requests {
                            return Ok(());
                        }
                        let request = payload.appends(&to, scenario.batch, number);
                        engine.append(request).await?;
                    }
                })
            })
            .collect();
        for task in tasks {
            let filled: Result<(), BenchError> =
                task.await.map_err(|e| BenchError::Ended(e.to_string()))?;
            filled?;
        }
        Ok(())
    }

    /// Waits until everything is in segments.
    pub(crate) async fn drained(&self) -> Result<(), BenchError> {
        let begun = self.clock.monotonic();
        while self.engine.counters().unwritten_bytes > 0 {
            if self.clock.monotonic().saturating_sub(begun) > SETTLE {
                return Err(BenchError::Ended(
                    "the sink does not come to rest".to_owned(),
                ));
            }
            task::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Trims what was put, and waits until the disk is quiet: the next measurement is not to pay
    /// for this one.
    pub(crate) async fn settle(&self, scenarios: &[Scenario]) -> Result<(), BenchError> {
        let all: Vec<_> = scenarios.iter().copied().flat_map(shards).collect();
        self.settle_shards(&all).await
    }

    async fn settle_shards(&self, shards: &[ShardUid]) -> Result<(), BenchError> {
        self.trim(shards.iter().copied()).await?;
        self.drained().await?;
        sync_file_system(&self.dir).await
    }

    async fn trim(&self, shards: impl Iterator<Item = ShardUid>) -> Result<(), BenchError> {
        let all = |shard| Change::TrimShard {
            shard,
            before: u64::MAX,
        };
        Ok(self.engine.apply(shards.map(all).collect()).await?)
    }

    /// Fills 64 shards of their own for [`Self::scan`].
    pub(crate) async fn prepare_scan(&self) -> Result<Vec<ShardUid>, BenchError> {
        let wide = Scenario {
            shards: SCAN_SHARDS,
            ..BATCHES
        };
        let shards: Vec<ShardUid> = (0..SCAN_SHARDS).map(|at| shard(at, SCAN_SHARDS)).collect();
        let open = shards.iter().map(|shard| Change::OpenShard(*shard));
        self.engine.apply(open.collect()).await?;
        let requests = SCAN_BYTES / (super::scenario::RECORD_BYTES * wide.batch);
        self.put_requests(wide, requests).await?;
        self.drained().await?;
        sync_file_system(&self.dir).await?;
        Ok(shards)
    }

    /// Reads shard after shard from its first record on, one reader. Answers with 10^9 bytes for
    /// each second of processor time, and for each second.
    pub(crate) async fn scan(
        &self,
        shards: &[ShardUid],
        how_long: Duration,
    ) -> Result<(f64, f64), BenchError> {
        let usage = Usage::own();
        let begun = self.clock.monotonic();
        let end = begun + how_long;
        let mut bytes = 0u64;
        'scan: for shard in shards.iter().cycle() {
            let mut from = 1;
            loop {
                let read = self.engine.read(*shard, from, SCAN_LIMIT).await?;
                if read.records.is_empty() {
                    break;
                }
                from = read.next;
                let len = |r: &millstream_storage::store::Record| r.data.len() as u64;
                bytes += read.records.iter().map(len).sum::<u64>();
                if self.clock.monotonic() >= end {
                    break 'scan;
                }
            }
        }
        let seconds = self.clock.monotonic().saturating_sub(begun).as_secs_f64();
        let cpu_s = Usage::own().since(usage).cpu_s;
        let gb = as_f64(bytes) / 1e9;
        Ok((gb / cpu_s.max(1e-9), gb / seconds))
    }
}

/// Whether all of a request is durable. What was throttled is not, and counts as nothing.
fn is_acked(answer: Answer) -> Result<bool, BenchError> {
    let results = match answer {
        Err(StoreError::Overloaded | StoreError::NoSpace) => return Ok(false),
        answer => answer?,
    };
    for result in results {
        match result {
            Ok(_) => {},
            Err(AppendError::Overloaded | AppendError::NoSpace) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

type Answer = Result<Vec<Result<Appended, AppendError>>, StoreError>;

/// Shards that a scan reads; a width of its own, so that no other scenario writes to them.
const SCAN_SHARDS: usize = 65;

/// Makes everything on the file system of `dir` durable, so that nothing is left to be written.
pub(crate) async fn sync_file_system(dir: &Path) -> Result<(), BenchError> {
    let dir = std::fs::File::open(dir)?;
    let synced = tokio::task::spawn_blocking(move || rustix::fs::syncfs(&dir)).await;
    Ok(synced
        .map_err(|e| BenchError::Ended(e.to_string()))?
        .map_err(std::io::Error::from)?)
}

/// Nanoseconds from `earlier` to `later`.
pub(crate) fn nanos_between(earlier: Duration, later: Duration) -> u64 {
    u64::try_from(later.saturating_sub(earlier).as_nanos()).unwrap_or(u64::MAX)
}
