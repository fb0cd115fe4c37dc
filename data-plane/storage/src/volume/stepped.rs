//! The engine without threads: every lane is stepped by the caller. For simulations, which choose
//! the order of the steps from a seed and crash the disk between any two calls.

use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::{Clock, Entropy};
use millstream_types::{Millis, ShardUid};

use super::counters::Counters;
use super::error::{Fatal, OpenError, StepError};
use super::open::{self, Opened};
use super::options::Options;
use super::read;
use super::reserve::{enter_full, regain};
use super::sink::checkpoint::CheckpointJob;
use super::window::{Reply, Request};
use crate::disk::Disk;
use crate::store::{
    Append, AppendError, Appended, ApplyError, Change, Read, ReadError, ReadLimit, ShardStatus,
    StoreError,
};

/// One caller's request.
#[derive(Clone, Debug)]
pub enum Step {
    /// See [`ShardLog::append`](crate::ShardLog::append).
    Append(Vec<Append>),
    /// See [`ShardStore::apply`](crate::ShardStore::apply).
    Apply(Vec<Change>),
}

/// The answer to a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepReply {
    /// Answer to [`Step::Append`].
    Append(Result<Vec<Result<Appended, AppendError>>, StoreError>),
    /// Answer to [`Step::Apply`].
    Apply(Result<(), ApplyError>),
}

/// What a step of the sink or of a checkpoint came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There was nothing to do.
    Idle,
    /// Something was done; there may be more.
    Worked,
    /// A checkpoint was finished.
    Finished,
    /// The disk is full; it can be tried again.
    NoSpace,
}

/// The engine on any [`Disk`], single-threaded.
pub struct SteppedEngine<D: Disk> {
    opened: Opened<D>,
    job: Option<(CheckpointJob<D>, u64)>,
}

impl<D: Disk> SteppedEngine<D> {
    /// Opens the log group on `disk`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        disk: Arc<D>,
        options: Options,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            opened: open::open(disk, options, clock, entropy)?,
            job: None,
        })
    }

    /// Makes `steps` durable as one commit window; the replies are in their order.
    ///
    /// # Errors
    /// [`Fatal`]: nothing is known; drop the engine and open anew.
    pub fn commit(&mut self, steps: Vec<Step>) -> Result<Vec<StepReply>, Fatal> {
        let requests: Vec<Request> = steps
            .into_iter()
            .map(|step| match step {
                Step::Append(appends) => Request::Append(appends),
                Step::Apply(changes) => Request::Apply(changes),
            })
            .collect();
        let committed = self.opened.log.commit(&requests, 0)?;
        if let Some(window) = committed.window {
            self.opened.sink.push(window);
        }
        let reply = |reply| match reply {
            Reply::Append(result) => StepReply::Append(result),
            Reply::Apply(result) => StepReply::Apply(result),
        };
        Ok(committed.replies.into_iter().map(reply).collect())
    }

    /// Writes a plain seal if the newest frame is a window.
    ///
    /// # Errors
    /// [`Fatal`], as [`Self::commit`].
    pub fn idle_seal(&mut self) -> Result<(), Fatal> {
        self.opened.log.idle_seal()
    }

    /// One round of the sink.
    ///
    /// # Errors
    /// [`Fatal`], as [`Self::commit`].
    pub fn sink_round(&mut self) -> Result<Progress, Fatal> {
        if self.opened.sink.is_idle() {
            return Ok(Progress::Idle);
        }
        if !self.opened.reserved {
            self.opened.sink.hold();
            return Ok(if self.opened.sink.is_idle() {
                Progress::Worked
            } else {
                Progress::NoSpace
            });
        }
        let now = self.opened.shared.clock.now();
        match self.opened.sink.round(now) {
            Ok(_) => Ok(Progress::Worked),
            Err(StepError::NoSpace) => Ok(Progress::NoSpace),
            Err(StepError::Fatal(fatal)) => Err(fatal),
        }
    }

    /// Begins a checkpoint, or does the next step of the one under way.
    ///
    /// # Errors
    /// [`Fatal`], as [`Self::commit`].
    pub fn checkpoint_step(&mut self) -> Result<Progress, Fatal> {
        let Some((job, covered)) = &mut self.job else {
            let covered = self.opened.sink.covered_lsn();
            let job = self
                .opened
                .sink
                .begin_checkpoint(self.opened.shared.clock.now());
            let begun = job.is_some();
            self.job = job.map(|job| (job, covered));
            return Ok(if begun {
                Progress::Worked
            } else {
                Progress::Idle
            });
        };
        let covered = *covered;
        match job.step() {
            Ok(false) => Ok(Progress::Worked),
            Ok(true) => {
                self.job = None;
                Ok(Progress::Finished)
            },
            Err(StepError::NoSpace) => {
                if let Some((job, _)) = self.job.take() {
                    self.opened.sink.abandon_checkpoint(job, covered);
                }
                Ok(Progress::NoSpace)
            },
            Err(StepError::Fatal(fatal)) => Err(fatal),
        }
    }

    /// Makes the next WAL file ready if one is wanted.
    ///
    /// # Errors
    /// [`Fatal`], as [`Self::commit`].
    pub fn prepare_file(&mut self) -> Result<Progress, Fatal> {
        let made = self.opened.stock.prepare()?;
        Ok(if made {
            Progress::Worked
        } else {
            Progress::Idle
        })
    }

    /// Frees what can be freed at once, after something was refused because the disk is full.
    ///
    /// # Errors
    /// [`OpenError::Io`] when a file cannot be removed or made.
    pub fn meet_full_disk(&mut self) -> Result<(), OpenError> {
        self.opened.reserved = false;
        enter_full(&self.opened.shared, &self.opened.stock)
    }

    /// Sets space aside again and writes what had to wait; true if there was enough space, and
    /// everything goes on as before.
    ///
    /// # Errors
    /// [`OpenError::Io`] when the disk answers another error than that it is full.
    pub fn leave_full_disk(&mut self) -> Result<bool, OpenError> {
        if self.job.is_some() {
            // it needs the space
            return Ok(false);
        }
        self.opened.reserved = regain(&self.opened.shared, &self.opened.stock)?;
        if !self.opened.reserved {
            return Ok(false);
        }
        loop {
            match self.sink_round()? {
                Progress::Worked => {},
                Progress::NoSpace => {
                    self.meet_full_disk()?;
                    return Ok(false);
                },
                Progress::Idle | Progress::Finished => break,
            }
        }
        self.opened.shared.set_full(false);
        Ok(true)
    }

    /// Writes everything to segments and ends the epoch cleanly.
    ///
    /// # Errors
    /// [`Fatal`], as [`Self::commit`].
    pub fn close(mut self) -> Result<(), Fatal> {
        self.opened.log.clean_seal()
    }

    /// See [`ShardLog::read`](crate::ShardLog::read).
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, shard: ShardUid, from: u64, limit: ReadLimit) -> Result<Read, ReadError> {
        read::read(&self.opened.shared, shard, from, limit)
    }

    /// See [`ShardLog::number_at`](crate::ShardLog::number_at).
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn number_at(&self, shard: ShardUid, time: Millis) -> Result<u64, ReadError> {
        read::number_at(&self.opened.shared, shard, time)
    }

    /// See [`ShardStore::status_now`](crate::ShardStore::status_now).
    #[must_use]
    pub fn status(&self, shard: ShardUid) -> Option<ShardStatus> {
        self.opened
            .shared
            .shard(shard)
            .map(|shard| shard.view.lock().status)
    }

    /// See [`ShardStore::rows`](crate::ShardStore::rows).
    #[must_use]
    pub fn rows(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        self.opened.shared.rows(prefix)
    }

    /// What was done since the open.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.opened.shared.counters.read()
    }
}
