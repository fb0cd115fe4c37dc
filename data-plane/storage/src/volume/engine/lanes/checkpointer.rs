//! The thread that makes checkpoints durable, as the sink thread sees it: one at a time.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::disk::Disk;
use crate::volume::error::{Fatal, OpenError, StepError};
use crate::volume::sink::checkpoint::CheckpointJob;

/// Takes a job, works on it, gives it back.
pub(super) struct Checkpointer<D: Disk> {
    jobs: SyncSender<CheckpointJob<D>>,
    results: Receiver<(CheckpointJob<D>, Result<(), StepError>)>,
    /// What was covered before the checkpoint under way.
    under_way: Option<u64>,
    begun: Duration,
    thread: JoinHandle<()>,
}

/// A job that came back.
pub(super) struct Finished<D: Disk> {
    pub(super) job: CheckpointJob<D>,
    pub(super) result: Result<(), StepError>,
    /// What was covered before it.
    pub(super) covered_before: u64,
}

impl<D: Disk> Checkpointer<D> {
    /// Starts the thread at the time `now`.
    pub(super) fn start(now: Duration) -> Result<Self, Fatal> {
        let (jobs, inbox) = sync_channel::<CheckpointJob<D>>(1);
        let (outbox, results) = sync_channel(1);
        let builder = std::thread::Builder::new().name("checkpoint".to_owned());
        let thread = builder.spawn(move || {
            for mut job in inbox {
                let result = job.run();
                if outbox.send((job, result)).is_err() {
                    return;
                }
            }
        });
        let thread = thread.map_err(|source| Fatal {
            what: "starting the checkpoint thread".to_owned(),
            source,
        })?;
        Ok(Self {
            jobs,
            results,
            under_way: None,
            begun: now,
            thread,
        })
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }

    /// Since the last checkpoint was begun, or the thread.
    pub(super) const fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.begun)
    }

    /// Hands the thread, which must be idle, a job.
    pub(super) fn begin(
        &mut self,
        job: CheckpointJob<D>,
        covered_before: u64,
        now: Duration,
    ) -> Result<(), OpenError> {
        self.begun = now;
        self.under_way = Some(covered_before);
        self.jobs.send(job).map_err(|_| ended())
    }

    /// The job under way, if it is done.
    pub(super) fn poll(&mut self) -> Result<Option<Finished<D>>, OpenError> {
        match self.results.try_recv() {
            Ok(back) => Ok(Some(self.finished(back))),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(ended()),
        }
    }

    /// Waits for the job under way, if there is one.
    pub(super) fn wait(&mut self) -> Result<Option<Finished<D>>, OpenError> {
        if self.is_idle() {
            return Ok(None);
        }
        let back = self.results.recv().map_err(|_| ended())?;
        Ok(Some(self.finished(back)))
    }

    fn finished(
        &mut self,
        (job, result): (CheckpointJob<D>, Result<(), StepError>),
    ) -> Finished<D> {
        Finished {
            job,
            result,
            covered_before: self.under_way.take().unwrap_or_default(),
        }
    }

    /// Waits for the thread, and so for a checkpoint under way.
    pub(super) fn end(self) {
        drop((self.jobs, self.results));
        if self.thread.join().is_err() {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

fn ended() -> OpenError {
    let source = std::io::Error::other("the checkpoint thread ended");
    Fatal {
        what: "taking a checkpoint".to_owned(),
        source,
    }
    .into()
}
