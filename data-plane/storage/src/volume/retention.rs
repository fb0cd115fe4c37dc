//! Whether the wall clock can be trusted for deleting data.
//!
//! A clock that jumps ahead would make young records look old. So retention pauses when the wall
//! clock is more than an hour ahead of the last known time plus the time that has passed since, and
//! goes on after an hour of uptime without another jump.

use std::time::Duration;

use millstream_types::Millis;

const JUMP_MS: u64 = 3_600_000;
const QUIET: Duration = Duration::from_secs(3600);

/// What is known of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockGuard {
    wall: Millis,
    monotonic: Duration,
    jumped_at: Option<Duration>,
    /// The newest time that was trusted.
    trusted: Millis,
}

impl ClockGuard {
    /// `persisted` is the wall clock of the last checkpoint, if there is one.
    pub(crate) fn new(persisted: Option<Millis>, now: Millis, monotonic: Duration) -> Self {
        let wall = persisted.unwrap_or(now);
        let mut guard = Self {
            wall,
            monotonic,
            jumped_at: None,
            trusted: wall,
        };
        guard.look(now, monotonic);
        guard
    }

    /// The time if it can be trusted.
    pub(crate) fn look(&mut self, now: Millis, monotonic: Duration) -> Option<Millis> {
        let passed = monotonic.saturating_sub(self.monotonic);
        let passed_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        if now > self.wall.plus(passed_ms).plus(JUMP_MS) {
            tracing::warn!(
                from_ms = self.wall.0,
                to_ms = now.0,
                "the wall clock jumped ahead: retention pauses for an hour"
            );
            self.jumped_at = Some(monotonic);
        }
        self.wall = now;
        self.monotonic = monotonic;
        if self
            .jumped_at
            .is_some_and(|at| monotonic.saturating_sub(at) >= QUIET)
        {
            self.jumped_at = None;
        }
        if self.jumped_at.is_none() {
            self.trusted = now;
        }
        self.jumped_at.is_none().then_some(now)
    }

    /// The newest time that was trusted: what a checkpoint keeps, so that a restart within the
    /// pause does not end it.
    pub(crate) fn trusted(&self) -> Millis {
        self.trusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn at(hours: u64) -> Duration {
        Duration::from_secs(hours * 3600)
    }

    #[test]
    fn passing_time_is_trusted() {
        let mut guard = ClockGuard::new(Some(Millis(HOUR)), Millis(HOUR + 5), at(0));
        assert_eq!(
            guard.look(Millis(30 * HOUR), at(29)),
            Some(Millis(30 * HOUR))
        );
    }

    #[test]
    fn a_jump_pauses_for_an_hour_and_another_jump_begins_it_anew() {
        let mut guard = ClockGuard::new(None, Millis(HOUR), at(0));
        assert_eq!(guard.look(Millis(100 * HOUR), at(0)), None);
        let half = Duration::from_secs(1800);
        assert_eq!(guard.look(Millis(100 * HOUR + HOUR / 2), half), None);
        assert_eq!(guard.look(Millis(200 * HOUR), half), None);
        assert_eq!(guard.look(Millis(200 * HOUR + HOUR / 2), at(1)), None);
        assert!(guard.look(Millis(201 * HOUR), at(1) + half).is_some());
    }

    #[test]
    fn a_long_time_off_is_a_jump() {
        let mut guard = ClockGuard::new(Some(Millis(HOUR)), Millis(50 * HOUR), at(0));
        assert_eq!(guard.look(Millis(50 * HOUR), at(0)), None);
    }

    #[test]
    fn going_back_is_not_a_jump() {
        let mut guard = ClockGuard::new(None, Millis(50 * HOUR), at(0));
        assert_eq!(guard.look(Millis(HOUR), at(0)), Some(Millis(HOUR)));
    }
}
