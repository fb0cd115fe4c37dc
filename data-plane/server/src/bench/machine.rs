//! Where and of what a measurement was made: a figure without this says little.

use std::path::Path;
use std::process::Command;

use millstream_clock::Clock;
use serde::Serialize;

/// The machine, the moment and the code.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Machine {
    /// Model of the processor.
    cpu: String,
    /// Processors that this process may use.
    cores: usize,
    /// Release of the kernel.
    kernel: String,
    /// Type of the file system that was measured.
    file_system: String,
    /// Milliseconds since the epoch when the run began.
    begun_ms: u64,
    /// Version of the program.
    version: &'static str,
    /// Whether the program was built with optimizations.
    optimized: bool,
    /// Commit that the working directory stands at; empty outside a repository.
    commit: String,
    /// Whether the working directory held nothing else than that commit.
    clean_tree: bool,
    /// Rounds, and seconds of each measurement.
    rounds: usize,
    seconds: f64,
    /// Others' load on the processors when the run began and when it ended, as the kernel's
    /// average over one minute.
    load_begun: f64,
    pub(crate) load_ended: f64,
}

impl Machine {
    /// Looks around.
    pub(crate) fn look(clock: &dyn Clock, dir: &Path, rounds: usize, seconds: f64) -> Self {
        let commit = git(&["rev-parse", "HEAD"]).unwrap_or_default();
        let clean_tree = git(&["status", "--porcelain"]).is_some_and(|text| text.is_empty());
        Self {
            cpu: cpu_model().unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease"),
            file_system: file_system(dir).unwrap_or_default(),
            begun_ms: clock.now().0,
            version: env!("CARGO_PKG_VERSION"),
            optimized: !cfg!(debug_assertions),
            clean_tree: clean_tree && !commit.is_empty(),
            commit,
            rounds,
            seconds,
            load_begun: load(),
            load_ended: 0.0,
        }
    }

    /// One line for a person.
    pub(crate) fn line(&self) -> String {
        let Self {
            cpu, cores, kernel, ..
        } = self;
        let commit: String = self.commit.chars().take(12).collect();
        let clean = if self.clean_tree {
            ""
        } else {
            " (with changes)"
        };
        format!(
            "{cores} x {cpu}, Linux {kernel}, {}; millstream {} at {commit}{clean}; {} rounds of {} s; load {} to {}",
            self.file_system,
            self.version,
            self.rounds,
            self.seconds,
            self.load_begun,
            self.load_ended,
        )
    }
}

/// The kernel's average of the last minute.
pub(crate) fn load() -> f64 {
    let text = read("/proc/loadavg");
    let first = text.split(' ').next();
    first.and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

fn cpu_model() -> Option<String> {
    let text = read("/proc/cpuinfo");
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Type of the file system with the longest mount point that `dir` lies in.
fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = read("/proc/self/mounts");
    let mut best: Option<(usize, String)> = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let (Some(point), Some(kind)) = (fields.nth(1), fields.next()) else {
            continue;
        };
        let longer = best.as_ref().is_none_or(|(len, _)| point.len() >= *len);
        if longer && dir.starts_with(point) {
            best = Some((point.len(), kind.to_owned()));
        }
    }
    best.map(|(_, kind)| kind)
}

fn read(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use millstream_clock::SystemClock;

    use super::*;

    #[test]
    fn the_machine_is_described() {
        let machine = Machine::look(&SystemClock::new(), Path::new("."), 5, 3.0);
        assert!(machine.cores > 0 && !machine.kernel.is_empty() && machine.begun_ms > 0);
        assert!(!machine.file_system.is_empty());
        assert!(machine.line().contains("5 rounds of 3 s"));
    }
}
