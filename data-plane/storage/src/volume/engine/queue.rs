//! The commit queue: callers push, the log thread takes a window's worth. Self-clocked: while one
//! window is being synced the next one gathers. Its bytes are bounded by admission.

#[cfg(all(test, feature = "shuttle"))]
mod threads;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::sync::{Condvar, Mutex};
use super::super::window::{Reply, Request};

/// A request and where its answer goes.
pub(super) struct Queued {
    pub(super) request: Request,
    /// What admission charged for it.
    pub(super) charge: usize,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// What the log thread finds.
pub(super) enum Taken {
    Requests(Vec<Queued>),
    /// Nothing came for a while.
    Idle,
    /// Nothing will come.
    Closed,
}

pub(super) struct CommitQueue {
    state: Mutex<State>,
    pushed: Condvar,
    window_bytes: usize,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Queued>,
    closed: bool,
    waiting: bool,
}

impl CommitQueue {
    /// Takes up to about `window_bytes` at a time.
    pub(super) fn new(window_bytes: u64) -> Self {
        let window_bytes = usize::try_from(window_bytes).unwrap_or(usize::MAX);
        Self {
            state: Mutex::default(),
            pushed: Condvar::new(),
            window_bytes,
        }
    }

    /// Queues a request; drops it, and so answers that the store is closed, if it is.
    pub(super) fn push(&self, queued: Queued) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.requests.push_back(queued);
        let wake = state.waiting;
        drop(state);
        if wake {
            self.pushed.notify_one();
        }
    }

    /// Waits for requests, at most `idle` long.
    pub(super) fn take(&self, idle: Duration) -> Taken {
        let mut state = self.state.lock();
        while state.requests.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            state.waiting = true;
            let timed_out = self.pushed.wait_for(&mut state, idle).timed_out();
            state.waiting = false;
            if timed_out && state.requests.is_empty() && !state.closed {
                return Taken::Idle;
            }
        }
        let mut bytes = 0;
        let mut count = 0;
        for queued in &state.requests {
            if count > 0 && bytes + queued.charge > self.window_bytes {
                break;
            }
            bytes += queued.charge;
            count += 1;
        }
        Taken::Requests(state.requests.drain(..count).collect())
    }

    /// Refuses new requests; those queued are still taken.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.pushed.notify_all();
    }

    /// Refuses new requests and drops those queued.
    pub(super) fn abort(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.requests.clear();
        drop(state);
        self.pushed.notify_all();
    }
}
