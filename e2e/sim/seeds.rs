//! Many seeds, two at a time, and what they came to. Each runs in a process of its own: this very
//! program, told by its environment which one.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millstream_clock::{Clock as _, SystemClock};
use millstream_e2e::crash::machine;
use parking_lot::Mutex;

use crate::history::Counts;
use crate::planted::Planted;
use crate::run::{Outcome, run};

/// Seeds of a test run.
const SEEDS: u64 = 100;
/// What every seed must at least come to.
const ACKED_MIN: u64 = 1_000;
const FAULTS_MIN: u64 = 3;
const SIMULATED_MIN: Duration = Duration::from_secs(60);
/// Seeds within which a planted fault must be found.
const FOUND_WITHIN: u64 = 200;
/// Seeds at a time.
const AT_A_TIME: usize = 2;
/// Tells a process which seed it runs, and what is planted.
const ONE_SEED: &str = "MILLSTREAM_SIM_SEED";
const ONE_PLANTED: &str = "MILLSTREAM_SIM_PLANTED";
/// Stands before the outcome in what such a process prints.
const OUTCOME: &str = "outcome: ";

/// Writes past the capture of test output: people and CI want to see it.
fn say(text: &str) {
    let mut out = std::io::stderr().lock();
    drop(writeln!(out, "{text}"));
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// What a process of one seed runs. As a test of its own: the first seed, in this process.
#[test]
fn one_seed() {
    let seed = setting(ONE_SEED).unwrap_or(1);
    let planted: Planted = match std::env::var(ONE_PLANTED) {
        Ok(text) => serde_json::from_str(&text).expect("the name of a planted fault"),
        Err(_) => Planted::Nothing,
    };
    if std::env::var("RUST_LOG").is_ok() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let log = tracing_subscriber::fmt().with_env_filter(filter);
        log.without_time()
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .init();
    }
    // A thread of its own draws its own random bytes (`random.rs`): a log above draws too.
    let simulation = std::thread::spawn(move || run(seed, planted));
    let outcome = simulation.join().expect("a simulation ends");
    if std::env::var_os(ONE_SEED).is_none() {
        assert_eq!(faults_of(&outcome), Vec::<String>::new());
        return;
    }
    let outcome = serde_json::to_string(&outcome).expect("plain data");
    println!("{OUTCOME}{outcome}");
}

/// Runs one seed in a process of its own.
fn outcome_of(seed: u64, planted: Planted) -> Outcome {
    let program = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new(program);
    command
        .args(["--exact", "seeds::one_seed", "--nocapture"])
        .env(ONE_SEED, seed.to_string())
        .env(
            ONE_PLANTED,
            serde_json::to_string(&planted).expect("plain data"),
        );
    let output = command.output().expect("this program can be started again");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once(OUTCOME));
    match line.map(|(_, outcome)| serde_json::from_str(outcome)) {
        Some(Ok(outcome)) => outcome,
        _ => Outcome::broken(seed, format!("the simulation broke: {text}{errors}")),
    }
}

/// Runs seeds from `first` on, until one is as `enough` says; the outcomes by seed.
fn run_seeds(
    first: u64,
    count: u64,
    planted: Planted,
    enough: impl Fn(&Outcome) -> bool + Sync,
) -> Vec<Outcome> {
    let (next, end) = (AtomicU64::new(first), AtomicU64::new(first + count));
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = outcome_of(seed, planted);
                    if enough(&outcome) {
                        end.store(0, Ordering::Relaxed);
                    }
                    outcomes.lock().push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner();
    outcomes.sort_by_key(|outcome| outcome.seed);
    outcomes
}

/// What a seed has done wrong.
fn faults_of(outcome: &Outcome) -> Vec<String> {
    let mut faults = outcome.failures.clone();
    let Counts {
        acked,
        faults: made,
        ..
    } = outcome.counts;
    let simulated = Duration::from_millis(outcome.simulated_ms);
    if acked < ACKED_MIN || made < FAULTS_MIN || simulated < SIMULATED_MIN {
        faults.push(format!(
            "too little: {acked} acked, {made} faults, {simulated:?}"
        ));
    }
    let words = faults.into_iter();
    words
        .map(|words| format!("seed {}: {words}", outcome.seed))
        .collect()
}

#[test]
fn acknowledged_records_outlast_whatever_goes_wrong() {
    let (first, count) = match setting("SEED") {
        Some(seed) => (seed, 1),
        None => (1, setting("SEEDS").unwrap_or(SEEDS)),
    };
    let (clock, path) = (
        SystemClock::new(),
        std::env::var_os("OUT").map(PathBuf::from),
    );
    let commit = machine::commit(path.as_deref());
    let outcomes = run_seeds(first, count, Planted::Nothing, |_| false);
    let (mut total, mut simulated_ms, mut wrong) = (Counts::default(), 0, Vec::new());
    for outcome in &outcomes {
        total.add(&outcome.counts);
        simulated_ms += outcome.simulated_ms;
        wrong.extend(faults_of(outcome));
    }
    let summary = format!(
        "{} seeds from {first} on, {} s simulated in {} s, {} records acknowledged, {} refused, {} \
         without an answer, {} read, {} streams made or deleted, {} faults, {} failures",
        outcomes.len(),
        simulated_ms / 1_000,
        clock.monotonic().as_secs(),
        total.acked,
        total.refused,
        total.unknown,
        total.read,
        total.streams,
        total.faults,
        wrong.len(),
    );
    say(&format!("sim: {summary}"));
    if let Some(path) = path {
        let machine = machine::machine();
        let text = format!("{summary}\n{commit}\n{machine}\n");
        std::fs::write(&path, text).expect("the result can be written");
    }
    assert!(
        wrong.is_empty(),
        "{}\nrun one with SEED=<n>",
        wrong.join("\n")
    );
}

#[test]
fn one_seed_gives_one_history() {
    let seed = setting("SEED").unwrap_or(7);
    let outcomes = [(); 2].map(|()| outcome_of(seed, Planted::Nothing));
    assert_eq!(outcomes[0], outcomes[1]);
    assert_ne!(
        outcomes[0].digest,
        outcome_of(seed + 1, Planted::Nothing).digest
    );
}

/// Runs seeds until the planted fault shows.
fn is_found(planted: Planted) {
    let is_wrong = |outcome: &Outcome| !outcome.failures.is_empty();
    let outcomes = run_seeds(1, FOUND_WITHIN, planted, is_wrong);
    let found = outcomes.iter().find(|outcome| is_wrong(outcome));
    assert!(
        found.is_some(),
        "{planted:?} is not found in {FOUND_WITHIN} seeds"
    );
    let Some(found) = found else {
        return;
    };
    say(&format!(
        "sim: {planted:?} is found by seed {}: {}",
        found.seed, found.failures[0]
    ));
}

#[test]
fn a_missing_epoch_check_is_found() {
    is_found(Planted::NoEpochCheck);
}

#[test]
fn a_repeated_append_is_found() {
    is_found(Planted::AppendRepeated);
}

#[test]
fn an_answer_before_the_commit_is_found() {
    is_found(Planted::AckBeforeCommit);
}

#[test]
fn an_accepted_stale_placement_is_found() {
    is_found(Planted::StaleAccepted);
}
