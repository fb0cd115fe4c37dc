//! The engine on the simulated disk: seeded schedules of its lanes, crashes at every disk call,
//! errors, full disks, and syncs that lie; judged by the history checker.
//!
//! `SEEDS=n` runs more seeds, `SEED=n` begins with another one.

mod book;
mod corruption;
mod crashes;
mod faults;
mod sync_points;
mod world;

pub(crate) use self::world::options;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The seeds of a test that runs `default` of them unless told otherwise.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = setting("SEED", 0);
    first..first + setting("SEEDS", default)
}
