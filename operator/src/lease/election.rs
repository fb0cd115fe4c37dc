//! Who leads: pure decisions over what the lease says and how long it has said so.
//!
//! A lease has run out when it did not change for its whole duration on **this** replica's
//! monotonic clock; the times written in it are for people. So clocks that differ do no harm.

use std::time::Duration;

use millstream_types::Millis;

/// What a Lease object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty when it was given up.
    pub holder: String,
    /// How long it holds without renewal.
    pub duration: Duration,
    /// When the holder took it.
    pub acquired: Millis,
    /// When the holder last renewed it.
    pub renewed: Millis,
    /// How often it changed hands.
    pub transitions: u64,
}

/// A record and the version of the object that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// What it says.
    pub record: Record,
    /// The object's version.
    pub version: String,
}

/// What to do with the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: somebody else holds it.
    Wait,
    /// Make it.
    Create(Record),
    /// Write over this version of it.
    Replace(Record, String),
}

/// One replica's view.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    duration: Duration,
    /// The lease as last seen, and since when it has looked like that.
    seen: Option<(Versioned, Duration)>,
    /// When this replica last wrote it.
    renewed: Option<Duration>,
}

impl Election {
    /// A replica that has seen nothing yet. `identity` must be of this process alone: one that
    /// restarts is another candidate.
    #[must_use]
    pub const fn new(identity: String, duration: Duration) -> Self {
        Self {
            identity,
            duration,
            seen: None,
            renewed: None,
        }
    }

    /// How long to wait between two turns.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.duration / 4
    }

    /// The term of this replica, if it was the last to write the lease.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        let (seen, _) = self.seen.as_ref()?;
        (seen.record.holder == self.identity).then_some(seen.record.transitions)
    }

    /// Whether this replica still leads in `term` at the moment `now`.
    ///
    /// It stops a quarter of the duration before others may take over.
    #[must_use]
    pub fn holds(&self, now: Duration, term: u64) -> bool {
        self.term() == Some(term) && !self.time_left(now).is_zero()
    }

    /// How long this replica may go on without a renewal.
    #[must_use]
    pub fn time_left(&self, now: Duration) -> Duration {
        let Some(renewed) = self.renewed else {
            return Duration::ZERO;
        };
        (renewed + self.duration * 3 / 4).saturating_sub(now)
    }

    /// What to do, having read the lease at the moment `now` (`wall` on the wall clock).
    pub fn decide(&mut self, now: Duration, wall: Millis, read: Option<Versioned>) -> Action {
        let Some(read) = read else {
            self.seen = None;
            return Action::Create(self.record(wall, wall, 1));
        };
        match &self.seen {
            Some((seen, _)) if *seen == read => {},
            Some(_) | None => self.seen = Some((read.clone(), now)),
        }
        let record = &read.record;
        if record.holder == self.identity {
            let renewed = self.record(record.acquired, wall, record.transitions);
            return Action::Replace(renewed, read.version);
        }
        let since = self.seen.as_ref().map_or(now, |(_, since)| *since);
        let ran_out = now.saturating_sub(since) >= record.duration.max(self.duration);
        if record.holder.is_empty() || ran_out {
            let taken = self.record(wall, wall, record.transitions + 1);
            return Action::Replace(taken, read.version);
        }
        Action::Wait
    }

    /// The write that was asked for at the moment `asked` went through.
    pub fn written(&mut self, asked: Duration, written: Versioned) {
        self.seen = Some((written, asked));
        self.renewed = Some(asked);
    }

    /// The record that gives the lease up, if this replica holds it.
    #[must_use]
    pub fn release(&mut self, wall: Millis) -> Option<(Record, String)> {
        let (seen, _) = self.seen.take()?;
        if seen.record.holder != self.identity {
            return None;
        }
        let record = Record {
            holder: String::new(),
            renewed: wall,
            ..seen.record
        };
        Some((record, seen.version))
    }

    fn record(&self, acquired: Millis, renewed: Millis, transitions: u64) -> Record {
        Record {
            holder: self.identity.clone(),
            duration: self.duration,
            acquired,
            renewed,
            transitions,
        }
    }
}
