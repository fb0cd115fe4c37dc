//! The loop itself: start, check, write, kill; the same choices for the same seed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_clock::{Clock as _, SystemClock, task};
use millstream_storage::testkit::Dice;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Client;
use super::options::Options;
use super::process::{Program, Server, Start, log_end};
use super::reader::{Place, follow, read_to_end};
use super::result::CrashResult;
use super::writer::{Stream, write};
use super::{Error, machine};

/// Cycles after which a stream is read whole, deleted and replaced: bounds the disk and memory
/// that a long run takes.
const CYCLES_PER_STREAM: u32 = 25;
/// Acknowledged records before a kill, at most; half of it in the mean.
const ACKED_MAX: u64 = 4_000;
/// Milliseconds from the last of these to the kill.
const KILL_MS: (u64, u64) = (20, 1_500);
/// Longest wait for the records of a cycle.
const LOAD_DEADLINE: Duration = Duration::from_secs(60);
/// One start in this many is killed before it is ready.
const KILL_IN_RECOVERY: u64 = 4;
/// Starts in a row that may be killed before they are ready.
const RECOVERY_KILLS_MAX: u32 = 5;
/// Tries to see a new stream active.
const ACTIVE_TRIES_MAX: u32 = 200;

struct Loop<'a> {
    options: &'a Options,
    program: Program,
    dice: Dice,
    result: CrashResult,
    faults: Vec<String>,
    stream: Arc<Stream>,
    places: Vec<Place>,
    /// How long the newest start took.
    recovery: Duration,
    /// Starts that were killed before they were ready.
    kills_in_recovery: u32,
}

/// Runs the loop.
///
/// # Errors
/// When it cannot be run to its end for a reason other than data that is wrong.
pub async fn run(options: &Options) -> Result<CrashResult, Error> {
    let parent = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = TempDir::with_prefix_in("millstream-crash-", parent)?;
    let program = Program {
        bin: options.server(),
        data_dir: dir.path().join("data"),
        log: dir.path().join("server.log"),
    };
    let mut this = Loop {
        options,
        program,
        dice: Dice::new(options.seed),
        result: CrashResult::default(),
        faults: Vec::new(),
        stream: Arc::new(Stream::new("crash-0".to_owned(), options.shards)),
        places: vec![Place::default(); options.shards as usize],
        recovery: Duration::from_millis(100),
        kills_in_recovery: 0,
    };
    let outcome = this.cycles().await;
    if outcome.is_err() || !this.result.is_good() {
        let kept: PathBuf = dir.keep();
        eprint_lines(&[
            format!("data and server log are kept in {}", kept.display()),
            format!(
                "the server's last words:\n{}",
                log_end(&kept.join("server.log"))
            ),
        ]);
        eprint_lines(&this.faults);
    }
    outcome?;
    if let Some(out) = &options.out {
        std::fs::write(out, this.page())?;
    }
    Ok(this.result)
}

fn eprint_lines(lines: &[String]) {
    use std::io::Write as _;
    for line in lines {
        if writeln!(std::io::stderr(), "{line}").is_err() {
            return;
        }
    }
}

impl Loop<'_> {
    async fn cycles(&mut self) -> Result<(), Error> {
        for cycle in 0..self.options.cycles {
            let Some(server) = self.start().await? else {
                return Ok(());
            };
            if cycle.is_multiple_of(CYCLES_PER_STREAM) {
                self.next_stream(&server, cycle).await?;
            } else {
                self.check(&server).await?;
            }
            self.write_and_kill(server).await?;
            self.result.cycles += 1;
            let so_far = self.stream.history.lock().so_far().clone();
            let (acked, recovery) = (so_far.acked, self.recovery.as_millis());
            eprint_lines(&[format!(
                "cycle {}: {acked} acknowledged in this stream, recovered in {recovery} ms, clean: {}",
                cycle + 1,
                so_far.is_clean()
            )]);
            if !so_far.is_clean() {
                break;
            }
        }
        if let Some(server) = self.start().await? {
            self.check(&server).await?;
            self.check_whole(&server).await?;
            self.close_history();
            server.kill().await?;
        }
        Ok(())
    }

    /// Starts the server, and in some cases kills it during its recovery first. None when it
    /// refused to open: everything is lost then.
    async fn start(&mut self) -> Result<Option<Server>, Error> {
        let mut kills = 0;
        loop {
            let kill = kills < RECOVERY_KILLS_MAX && self.dice.chance(1, KILL_IN_RECOVERY);
            let longest = u64::try_from(self.recovery.as_micros()).unwrap_or(u64::MAX);
            let delay = Duration::from_micros(self.dice.below(longest + 5_000));
            kills += 1;
            match self.program.start(kill.then_some(delay)).await? {
                Start::Ready(server) => {
                    self.recovery = server.recovery;
                    let ms = u64::try_from(server.recovery.as_millis()).unwrap_or(u64::MAX);
                    self.result.max_recovery_ms = self.result.max_recovery_ms.max(ms);
                    return Ok(Some(*server));
                },
                Start::Killed => self.kills_in_recovery += 1,
                Start::Refused(why) => {
                    self.faults.push(why);
                    self.stream.history.lock().saw_no_store();
                    self.close_history();
                    return Ok(None);
                },
            }
        }
    }

    /// Reads what is new in every shard, to its end.
    async fn check(&mut self, server: &Server) -> Result<(), Error> {
        let mut client = Client::connect(server.address).await?;
        for (shard, place) in (0..).zip(&mut self.places) {
            *place = read_to_end(&mut client, &self.stream, shard, place.clone()).await?;
        }
        Ok(())
    }

    /// Reads every shard from its beginning.
    async fn check_whole(&self, server: &Server) -> Result<(), Error> {
        let mut client = Client::connect(server.address).await?;
        for shard in 0..self.options.shards {
            read_to_end(&mut client, &self.stream, shard, Place::default()).await?;
        }
        Ok(())
    }

    /// The verdict over the stream so far.
    fn close_history(&mut self) {
        let history = std::mem::take(&mut *self.stream.history.lock());
        let report = history.finish();
        self.result.add(&report);
        self.faults
            .extend(report.faults.iter().map(ToString::to_string));
    }

    /// Checks the stream for the last time, deletes it, and makes the next one.
    async fn next_stream(&mut self, server: &Server, cycle: u32) -> Result<(), Error> {
        let mut client = Client::connect(server.address).await?;
        if cycle > 0 {
            self.check(server).await?;
            self.check_whole(server).await?;
            self.close_history();
            let old = json!({ "StreamName": self.stream.name });
            client.call::<_, Value>("DeleteStream", &old).await?;
        }
        let name = format!("crash-{cycle}");
        let new = json!({ "StreamName": name, "ShardCount": self.options.shards });
        client.call::<_, Value>("CreateStream", &new).await?;
        let which = json!({ "StreamName": name });
        for _ in 0..ACTIVE_TRIES_MAX {
            let answer: Value = client.call("DescribeStreamSummary", &which).await?;
            if answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE" {
                self.stream = Arc::new(Stream::new(name, self.options.shards));
                self.places.fill(Place::default());
                return Ok(());
            }
            task::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("stream {name} does not become active").into())
    }

    /// Lets clients write and read, and kills the server among them.
    async fn write_and_kill(&mut self, server: Server) -> Result<(), Error> {
        let target = self.dice.below(ACKED_MAX + 1);
        let delay = Duration::from_millis(self.dice.between(KILL_MS.0, KILL_MS.1));
        self.stream.acked.store(0, Ordering::Relaxed);
        self.stream.slow.store(false, Ordering::Relaxed);
        let mut clients = Vec::new();
        for _ in 0..self.options.writers {
            let seed = self.dice.bits();
            let writer = write(Arc::clone(&self.stream), server.address, seed);
            clients.push(task::spawn("crash-writer", writer));
        }
        let reader = follow(
            Arc::clone(&self.stream),
            server.address,
            self.places.clone(),
        );
        clients.push(task::spawn("crash-reader", reader));
        let clock = SystemClock::new();
        while self.stream.acked.load(Ordering::Relaxed) < target
            && clock.monotonic() < LOAD_DEADLINE
            && self.stream.wrong().is_none()
        {
            task::sleep(Duration::from_millis(2)).await;
        }
        // some more, but not so many that the mean of a cycle is far above what was asked for
        self.stream.slow.store(true, Ordering::Relaxed);
        task::sleep(delay).await;
        let metrics = Client::connect(server.admin).await?.get("/metrics").await?;
        server.kill().await?;
        for client in clients {
            client.await?;
        }
        self.result.rolls += counter(&metrics, "millstream_wal_rolls_total")?;
        self.result.checkpoints += counter(&metrics, "millstream_checkpoints_total")?;
        match self.stream.wrong() {
            Some(wrong) => Err(wrong.into()),
            None => Ok(()),
        }
    }

    /// The result with everything that is needed to judge and repeat it.
    fn page(&self) -> String {
        let page = json!({
            "command": format!("crash --cycles {} --seed {}", self.options.cycles, self.options.seed),
            "seed": self.options.seed,
            "shards": self.options.shards,
            "writers": self.options.writers,
            "kills_in_recovery": self.kills_in_recovery,
            "source": machine::commit(self.options.out.as_deref()),
            "machine": machine::machine(),
            "result": self.result,
        });
        format!("{page:#}\n")
    }
}

/// The value of a counter without labels on a page of metrics.
fn counter(page: &str, name: &str) -> Result<u64, Error> {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.ok_or_else(|| format!("the server has no metric {name}"))?;
    Ok(value.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let page = "# TYPE a_total counter\na_total_x 1\na_total 42\n";
        assert_eq!(counter(page, "a_total").unwrap(), 42);
        assert!(counter(page, "b_total").is_err());
    }
}
