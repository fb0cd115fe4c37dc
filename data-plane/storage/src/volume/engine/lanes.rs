//! The threads: each steps one lane, and says so when the disk fails.

mod checkpointer;
#[cfg(all(test, feature = "shuttle"))]
mod threads;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::super::error::{Fatal, OpenError, StepError};
use super::super::reserve::{enter_full, regain};
use super::super::shared::Shared;
use super::super::sink::lane::SinkLane;
use super::super::sync::{Condvar, Mutex};
use super::super::wal::lane::LogLane;
use super::super::wal::stock::WalStock;
use super::super::window::{Reply, Window};
use super::admission::Admission;
use super::queue::{CommitQueue, Taken};
use crate::disk::Disk;
use checkpointer::{Checkpointer, Finished};

/// An idle log is sealed after this long.
const IDLE: Duration = Duration::from_secs(1);
/// The sink gathers windows for this long, so that each shard is written in larger pieces.
const GATHER: Duration = Duration::from_millis(50);
/// The sink stops gathering at this many bytes.
const GATHER_BYTES: usize = 8 * 1024 * 1024;
/// A full disk is tried again after this long.
const RETRY: Duration = Duration::from_millis(200);
/// A checkpoint is taken at least this often while there is something new.
const CHECKPOINT_AGE: Duration = Duration::from_secs(60);

/// Tells everyone that the disk failed.
#[derive(Clone)]
pub(super) struct Failure {
    what: Arc<watch::Sender<Option<String>>>,
}

impl Failure {
    pub(super) fn new() -> (Self, watch::Receiver<Option<String>>) {
        let (what, failed) = watch::channel(None);
        (
            Self {
                what: Arc::new(what),
            },
            failed,
        )
    }

    pub(super) fn report(&self, error: &dyn std::error::Error) {
        tracing::error!(%error, "the store failed and ends; the next open decides what is durable");
        self.what.send_if_modified(|what| {
            let first = what.is_none();
            if first {
                *what = Some(error.to_string());
            }
            first
        });
    }
}

/// Durable windows on their way to the sink. Bounded by admission.
#[derive(Default)]
pub(super) struct SinkInbox {
    state: Mutex<InboxState>,
    changed: Condvar,
}

#[derive(Default)]
struct InboxState {
    windows: Vec<Arc<Window>>,
    bytes: usize,
    /// Whether the log found no space for its next file.
    log_is_full: bool,
    end: Option<End>,
}

/// What came to the sink.
struct Came {
    windows: Vec<Arc<Window>>,
    log_is_full: bool,
    end: Option<End>,
}

/// How the lanes are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Move everything into segments and take a checkpoint.
    Clean,
    /// Stop.
    Now,
}

impl SinkInbox {
    fn push(&self, window: Arc<Window>) {
        let mut state = self.state.lock();
        state.bytes += window.memory;
        let wake = state.windows.is_empty() || state.bytes >= GATHER_BYTES;
        state.windows.push(window);
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    /// The log has no space for its next file: what can be freed is to be freed.
    fn log_is_full(&self) {
        self.state.lock().log_is_full = true;
        self.changed.notify_all();
    }

    pub(super) fn close(&self, clean: bool) {
        self.state.lock().end = Some(if clean { End::Clean } else { End::Now });
        self.changed.notify_all();
    }

    fn end(&self) -> Option<End> {
        self.state.lock().end
    }

    /// Waits until there are windows, `idle` has passed, the log has no space or the end has come;
    /// gathers a little. With
    /// an end comes every window that was pushed before it: looked at later, the end could hide
    /// windows that came in between.
    fn take(&self, idle: Duration) -> Came {
        let mut state = self.state.lock();
        if state.windows.is_empty() && state.end.is_none() && !state.log_is_full {
            self.changed.wait_for(&mut state, idle);
        }
        if !state.windows.is_empty() && state.bytes < GATHER_BYTES && state.end.is_none() {
            self.changed.wait_for(&mut state, GATHER);
        }
        state.bytes = 0;
        Came {
            windows: std::mem::take(&mut state.windows),
            log_is_full: std::mem::take(&mut state.log_is_full),
            end: state.end,
        }
    }
}

/// Steps the log lane.
pub(super) struct LogThread<D: Disk> {
    pub(super) shared: Arc<Shared<D>>,
    pub(super) stock: Arc<WalStock<D>>,
    pub(super) lane: LogLane<D>,
    pub(super) queue: Arc<CommitQueue>,
    pub(super) inbox: Arc<SinkInbox>,
    pub(super) admission: Arc<Admission>,
    pub(super) failure: Failure,
}

impl<D: Disk> LogThread<D> {
    /// The lane is given back for its clean seal, unless the disk failed.
    pub(super) fn run(mut self) -> Option<LogLane<D>> {
        loop {
            let stepped = match self.queue.take(IDLE) {
                Taken::Closed => return Some(self.lane),
                Taken::Idle => self.lane.idle_seal(),
                Taken::Requests(queued) => {
                    let charge = queued.iter().map(|queued| queued.charge).sum();
                    let mut requests = Vec::with_capacity(queued.len());
                    let mut senders = Vec::with_capacity(queued.len());
                    for one in queued {
                        requests.push(one.request);
                        senders.push(one.reply);
                    }
                    self.lane.commit(&requests, charge).and_then(|committed| {
                        if committed.no_space {
                            self.inbox.log_is_full();
                        }
                        let passed = match committed.window {
                            Some(window) => self.pass_on(window),
                            None => {
                                self.admission.release(charge);
                                Ok(())
                            },
                        };
                        answer(senders, committed.replies);
                        passed
                    })
                },
            };
            if let Err(fatal) = stepped {
                self.failure.report(&fatal);
                self.queue.abort();
                return None;
            }
        }
    }

    /// Hands a durable window to the sink; the bare log lets go of it, and of the files before it.
    fn pass_on(&self, window: Arc<Window>) -> Result<(), Fatal> {
        if self.shared.options.log_only {
            self.shared.set_sunk(window.end.lsn);
            self.admission.release(window.charge);
            self.stock.release_before(window.end.file_first)
        } else {
            self.inbox.push(window);
            Ok(())
        }
    }
}

fn answer(senders: Vec<oneshot::Sender<Reply>>, replies: Vec<Reply>) {
    for (sender, reply) in senders.into_iter().zip(replies) {
        // a caller that went away does not want its answer
        drop(sender.send(reply));
    }
}

/// Keeps the next WAL file ready until the end.
pub(super) fn prepare_files<D: Disk>(stock: &WalStock<D>, inbox: &SinkInbox, failure: &Failure) {
    while inbox.end().is_none() {
        match stock.prepare() {
            Ok(true) => {},
            Ok(false) => stock.wait_wanted(IDLE),
            Err(fatal) => return failure.report(&fatal),
        }
    }
}

/// Steps the sink lane and hands checkpoints to a thread of their own.
pub(super) struct SinkThread<D: Disk> {
    pub(super) shared: Arc<Shared<D>>,
    pub(super) stock: Arc<WalStock<D>>,
    pub(super) lane: SinkLane<D>,
    pub(super) inbox: Arc<SinkInbox>,
    pub(super) queue: Arc<CommitQueue>,
    pub(super) admission: Arc<Admission>,
    pub(super) failure: Failure,
    /// Whether the reserve file is there.
    pub(super) reserved: bool,
    /// When the reserve was last tried for.
    pub(super) reserve_tried: Duration,
}

impl<D: Disk> SinkThread<D> {
    pub(super) fn run(mut self) {
        let worked = match Checkpointer::start(self.now()) {
            Ok(mut checkpointer) => {
                let worked = self.work(&mut checkpointer);
                checkpointer.end();
                worked
            },
            Err(fatal) => Err(fatal.into()),
        };
        if let Err(error) = worked {
            self.failure.report(&error);
            self.queue.abort();
        }
    }

    fn work(&mut self, checkpointer: &mut Checkpointer<D>) -> Result<(), OpenError> {
        loop {
            let Came {
                windows,
                log_is_full,
                end,
            } = self.inbox.take(IDLE);
            for window in windows {
                self.lane.push(window);
            }
            if end == Some(End::Now) {
                return Ok(());
            }
            let wrote = self.round()?;
            if let Some(finished) = checkpointer.poll()? {
                self.finish(checkpointer, finished)?;
            }
            if !wrote || log_is_full {
                self.meet_full_disk(checkpointer)?;
            } else if self.shared.is_full() && checkpointer.is_idle() {
                self.leave_full_disk()?;
            }
            if end == Some(End::Clean) && self.lane.is_idle() {
                return self.last_checkpoint(checkpointer);
            }
            if end == Some(End::Clean) {
                // the log holds everything, and the next open writes it
                tracing::warn!("the disk is full: the store ends without its last checkpoint");
                return Ok(());
            }
            if self.checkpoint_is_due(checkpointer) {
                self.begin(checkpointer)?;
            }
        }
    }

    /// Rounds until nothing is queued; false where the disk turns out to be full. What was given up
    /// for checkpoints is left to them.
    fn round(&mut self) -> Result<bool, OpenError> {
        if !self.reserved {
            self.admission.release(self.lane.hold());
            return Ok(true);
        }
        while !self.lane.is_idle() {
            match self.lane.round(self.shared.clock.now()) {
                Ok(charge) => self.admission.release(charge),
                Err(StepError::NoSpace) => return Ok(false),
                Err(StepError::Fatal(fatal)) => return Err(fatal.into()),
            }
        }
        Ok(true)
    }

    fn now(&self) -> Duration {
        self.shared.clock.monotonic()
    }

    fn checkpoint_is_due(&self, checkpointer: &Checkpointer<D>) -> bool {
        // on a full disk what was trimmed gives its space back soon
        let age_max = if self.reserved { CHECKPOINT_AGE } else { IDLE };
        checkpointer.is_idle()
            && (self.lane.uncovered() >= self.shared.options.checkpoint_bytes
                || self.lane.has_news() && checkpointer.age(self.now()) >= age_max)
    }

    fn begin(&mut self, checkpointer: &mut Checkpointer<D>) -> Result<(), OpenError> {
        let covered = self.lane.covered_lsn();
        match self.lane.begin_checkpoint(self.shared.trusted_wall()) {
            Some(job) => checkpointer.begin(job, covered, self.now()),
            None => Ok(()),
        }
    }

    fn finish(
        &mut self,
        checkpointer: &mut Checkpointer<D>,
        finished: Finished<D>,
    ) -> Result<(), OpenError> {
        match finished.result {
            Ok(()) => Ok(()),
            Err(StepError::NoSpace) => {
                self.lane
                    .abandon_checkpoint(finished.job, finished.covered_before);
                self.meet_full_disk(checkpointer)
            },
            Err(StepError::Fatal(fatal)) => Err(fatal.into()),
        }
    }

    fn last_checkpoint(&mut self, checkpointer: &mut Checkpointer<D>) -> Result<(), OpenError> {
        for _ in 0..2 {
            self.wait(checkpointer)?;
            self.begin(checkpointer)?;
        }
        self.wait(checkpointer)
    }

    /// Waits for the checkpoint under way.
    fn wait(&mut self, checkpointer: &mut Checkpointer<D>) -> Result<(), OpenError> {
        match checkpointer.wait()? {
            Some(finished) => self.finish(checkpointer, finished),
            None => Ok(()),
        }
    }

    /// Refuses appends, frees what can be freed, and waits a little before the next try.
    fn meet_full_disk(&mut self, checkpointer: &mut Checkpointer<D>) -> Result<(), OpenError> {
        enter_full(&self.shared, &self.stock)?;
        if self.reserved {
            self.reserved = false;
            self.reserve_tried = self.now();
        } else {
            std::thread::sleep(RETRY);
        }
        if checkpointer.is_idle() {
            self.begin(checkpointer)
        } else {
            Ok(())
        }
    }

    /// Writes again once the reserve and the log's next file are there, which is tried now and then;
    /// takes appends again once everything is written.
    fn leave_full_disk(&mut self) -> Result<(), OpenError> {
        let now = self.now();
        if !self.reserved && now.saturating_sub(self.reserve_tried) >= IDLE {
            self.reserve_tried = now;
            self.reserved = regain(&self.shared, &self.stock)?;
        }
        if self.reserved && self.lane.is_idle() {
            self.shared.set_full(false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
