//! What one connection did, and when it is to be closed.
//!
//! The I/O wrapper and the requests only count ([`Activity`]); the connection's task looks at the
//! counts at each tick and [`Watchdog::check`] decides. So the hot path reads no clock and sets no
//! timer. Pure: tests move the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::options::Timeouts;

/// Counts of one connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    write_blocked: AtomicBool,
    http2: AtomicBool,
    requests: AtomicU64,
    in_flight: AtomicU32,
    /// Bytes read when the last request ended: more than that is the head of a next one.
    bytes_read_at_end: AtomicU64,
    replies: Mutex<Replies>,
}

/// Answers that are not sent yet.
#[derive(Debug, Default)]
struct Replies {
    next: u64,
    unsent: Vec<Unsent>,
}

#[derive(Debug)]
struct Unsent {
    id: u64,
    bytes: u64,
    /// Set at the first tick that sees it.
    since: Option<Duration>,
}

impl Activity {
    pub(crate) fn read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn wrote(&self, bytes: u64) {
        self.bytes_written.fetch_add(bytes, Ordering::Relaxed);
        if self.write_blocked.load(Ordering::Relaxed) {
            self.write_blocked.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn write_is_blocked(&self) {
        self.write_blocked.store(true, Ordering::Relaxed);
    }

    /// The connection began with HTTP/2's preface.
    pub(crate) fn is_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    /// A request's head is here. The request lasts until the guard is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// An answer of `bytes` is on its way until the guard is dropped.
    pub(crate) fn sending(self: &Arc<Self>, bytes: u64) -> Sending {
        let mut replies = self.replies.lock();
        let id = replies.next;
        replies.next += 1;
        replies.unsent.push(Unsent {
            id,
            bytes,
            since: None,
        });
        Sending {
            activity: Arc::clone(self),
            id,
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let read = self.0.bytes_read.load(Ordering::Relaxed);
        self.0.bytes_read_at_end.store(read, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer under way.
#[derive(Debug)]
pub(crate) struct Sending {
    activity: Arc<Activity>,
    id: u64,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut replies = self.activity.replies.lock();
        replies.unsent.retain(|unsent| unsent.id != self.id);
    }
}

/// What to do with a connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Keep,
    /// Close it; the word says why in the metrics.
    Close(&'static str),
}

/// When things began that must not last.
#[derive(Debug)]
pub(crate) struct Watchdog {
    opened: Duration,
    requests: u64,
    last_request: Duration,
    head_since: Option<Duration>,
    blocked: Option<Blocked>,
}

#[derive(Clone, Copy, Debug)]
struct Blocked {
    since: Duration,
    bytes_written: u64,
}

impl Watchdog {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            opened: now,
            requests: 0,
            last_request: now,
            head_since: None,
            blocked: None,
        }
    }

    /// Looks at the counts at time `now`.
    pub(crate) fn check(
        &mut self,
        now: Duration,
        activity: &Activity,
        timeouts: &Timeouts,
    ) -> Verdict {
        let requests = activity.requests.load(Ordering::Relaxed);
        let http2 = activity.http2.load(Ordering::Relaxed);
        let busy = activity.in_flight.load(Ordering::Relaxed) > 0;
        if busy || requests != self.requests {
            self.requests = requests;
            self.last_request = now;
        }
        if requests == 0 && !http2 && now.saturating_sub(self.opened) >= timeouts.head {
            return Verdict::Close("no_request");
        }
        if !http2 && self.head_is_slow(now, busy, activity, timeouts) {
            return Verdict::Close("no_request");
        }
        if self.reader_is_slow(now, activity, timeouts) {
            return Verdict::Close("slow_reader");
        }
        if !busy && now.saturating_sub(self.last_request) >= timeouts.idle {
            return Verdict::Close("idle");
        }
        Verdict::Keep
    }

    /// HTTP/1: part of a next head came and nothing more for too long.
    fn head_is_slow(
        &mut self,
        now: Duration,
        busy: bool,
        activity: &Activity,
        timeouts: &Timeouts,
    ) -> bool {
        let read = activity.bytes_read.load(Ordering::Relaxed);
        if busy || read == activity.bytes_read_at_end.load(Ordering::Relaxed) {
            self.head_since = None;
            return false;
        }
        let since = *self.head_since.get_or_insert(now);
        now.saturating_sub(since) >= timeouts.head
    }

    fn reader_is_slow(&mut self, now: Duration, activity: &Activity, timeouts: &Timeouts) -> bool {
        if activity.write_blocked.load(Ordering::Relaxed) {
            let bytes_written = activity.bytes_written.load(Ordering::Relaxed);
            let blocked = self.blocked.get_or_insert(Blocked {
                since: now,
                bytes_written,
            });
            if blocked.bytes_written != bytes_written {
                *blocked = Blocked {
                    since: now,
                    bytes_written,
                };
            }
            if now.saturating_sub(blocked.since) >= timeouts.write {
                return true;
            }
        } else {
            self.blocked = None;
        }
        let mut replies = activity.replies.lock();
        replies.unsent.iter_mut().any(|unsent| {
            let since = *unsent.since.get_or_insert(now);
            now.saturating_sub(since) >= timeouts.to_send(unsent.bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(10),
        body_pause: Duration::from_secs(10),
        write: Duration::from_secs(10),
        idle: Duration::from_secs(120),
        ..Timeouts::DEFAULT
    };

    struct Fixture {
        activity: Arc<Activity>,
        dog: Watchdog,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                activity: Arc::default(),
                dog: Watchdog::new(Duration::ZERO),
            }
        }

        fn at(&mut self, seconds: u64) -> Verdict {
            let now = Duration::from_secs(seconds);
            self.dog.check(now, &self.activity, &TIMEOUTS)
        }
    }

    #[test]
    fn silence_and_part_of_a_head_are_closed_after_the_head_time() {
        let mut silent = Fixture::new();
        assert_eq!(silent.at(9), Verdict::Keep);
        assert_eq!(silent.at(10), Verdict::Close("no_request"));
        let mut dripping = Fixture::new();
        for second in 1..10 {
            dripping.activity.read(1);
            assert_eq!(dripping.at(second), Verdict::Keep);
        }
        assert_eq!(dripping.at(10), Verdict::Close("no_request"));
    }

    #[test]
    fn part_of_a_second_head_is_closed_too_but_idling_is_not() {
        let mut fixture = Fixture::new();
        fixture.activity.read(100);
        drop(fixture.activity.request());
        assert_eq!(fixture.at(1), Verdict::Keep);
        assert_eq!(fixture.at(100), Verdict::Keep, "idle, less than the limit");
        fixture.activity.read(5);
        assert_eq!(fixture.at(101), Verdict::Keep);
        assert_eq!(fixture.at(111), Verdict::Close("no_request"));
    }

    #[test]
    fn idle_time_counts_from_the_last_request_and_not_during_one() {
        let mut fixture = Fixture::new();
        let request = fixture.activity.request();
        assert_eq!(fixture.at(500), Verdict::Keep, "under way");
        drop(request);
        assert_eq!(fixture.at(619), Verdict::Keep);
        assert_eq!(fixture.at(620), Verdict::Close("idle"));
    }

    #[test]
    fn an_http2_connection_may_idle_before_its_first_request() {
        let mut fixture = Fixture::new();
        fixture.activity.read(24);
        fixture.activity.is_http2();
        assert_eq!(fixture.at(30), Verdict::Keep);
        assert_eq!(fixture.at(120), Verdict::Close("idle"));
    }

    #[test]
    fn a_blocked_write_without_progress_is_cut() {
        let mut fixture = Fixture::new();
        let _request = fixture.activity.request();
        fixture.activity.write_is_blocked();
        assert_eq!(fixture.at(1), Verdict::Keep);
        assert_eq!(fixture.at(10), Verdict::Keep);
        fixture.activity.wrote(1);
        fixture.activity.write_is_blocked();
        assert_eq!(fixture.at(12), Verdict::Keep, "there was progress");
        assert_eq!(fixture.at(22), Verdict::Close("slow_reader"));
    }

    #[test]
    fn a_large_answer_must_be_taken_at_a_least_rate() {
        let mut fixture = Fixture::new();
        let bytes = 4 * TIMEOUTS.send_bytes_per_second;
        drop(fixture.activity.request());
        let sending = fixture.activity.sending(bytes);
        assert_eq!(fixture.at(1), Verdict::Keep);
        assert_eq!(fixture.at(14), Verdict::Keep, "10 s and 4 s for its size");
        assert_eq!(fixture.at(15), Verdict::Close("slow_reader"));
        drop(sending);
        assert_eq!(fixture.at(16), Verdict::Keep);
    }
}
