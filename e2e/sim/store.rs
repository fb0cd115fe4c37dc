//! The durable storage of one log group, shared by all lives of its writer: what a volume is.
//!
//! Opening it begins a new life with the next epoch and fences the one before: what that one
//! commits from now on is refused, and its reads come from what was durable when it was fenced.
//! A commit takes time. What was accepted and not committed when the process ends is lost; what
//! was committed and not yet answered stays.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_clock::{Clock, task};
use millstream_server::roles::shard::serve::{GroupStore, Taken};
use millstream_storage::memory::MemoryStore;
use millstream_storage::testkit::dice::Dice;
use millstream_storage::{
    Append, AppendError, Appended, ApplyError, Change, Read, ReadError, ReadLimit, ShardLog,
    ShardStatus, ShardStore, StoreError,
};
use millstream_types::{Epoch, Millis, ShardUid};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::SimClock;
use crate::planted::Planted;

/// Requests that wait for a commit; further ones are refused as by a full memory budget.
const QUEUE_MAX: usize = 64;
/// Most requests of one commit.
const COMMIT_MAX: usize = 16;
/// Longest a commit takes, in milliseconds, when the disk is well.
const COMMIT_MS_MAX: u64 = 12;
/// One commit in so many is slow.
const SLOW_ONE_IN: u64 = 150;
/// Longest a slow commit takes, in milliseconds.
const SLOW_MS_MAX: u64 = 800;

/// Shortest and longest time, in milliseconds, in which a writer that was replaced hears of it.
const HANG_MS: (u64, u64) = (500, 8_000);

/// What outlives every process of the group.
pub(crate) struct Volume(Mutex<Held>);

struct Held {
    epoch: Epoch,
    durable: MemoryStore,
}

impl Volume {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Held {
            epoch: Epoch(0),
            durable: MemoryStore::new(Arc::new(SimClock::new(0))),
        })))
    }

    /// The epoch of the newest life.
    pub(crate) fn epoch(&self) -> Epoch {
        self.0.lock().epoch
    }

    /// The shards that are there now.
    pub(crate) fn shards(&self) -> Vec<ShardUid> {
        self.0.lock().durable.shards()
    }

    /// Begins a new life of the group. Called inside the process that holds it.
    pub(crate) fn open(self: &Arc<Self>, seed: u64, planted: Planted) -> SimStore {
        let (epoch, view) = {
            let mut held = self.0.lock();
            held.epoch.0 += 1;
            held.durable = held.durable.copied();
            (held.epoch, held.durable.clone())
        };
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let (fenced, is_fenced) = watch::channel(false);
        let committer = Committer {
            volume: Arc::clone(self),
            epoch,
            view: view.clone(),
            dice: Dice::new(seed),
            planted,
            fenced,
        };
        drop(task::spawn("sim commits", committer.run(requests)));
        SimStore {
            epoch,
            view,
            queue,
            is_fenced,
        }
    }
}

/// A request, with where its answer goes.
enum Request {
    Append(Vec<Append>, oneshot::Sender<AppendAnswer>),
    Apply(Vec<Change>, oneshot::Sender<Result<(), ApplyError>>),
}

type AppendAnswer = Result<Vec<Result<Appended, AppendError>>, StoreError>;

/// Whoever asked may be gone; what was made durable stays.
fn forget<T>(sent: Result<(), T>) {
    let (Ok(()) | Err(_)) = sent;
}

/// Makes requests durable, one commit after the other.
struct Committer {
    volume: Arc<Volume>,
    epoch: Epoch,
    view: MemoryStore,
    dice: Dice,
    planted: Planted,
    fenced: watch::Sender<bool>,
}

impl Committer {
    async fn run(self, mut requests: mpsc::Receiver<Request>) {
        let mut batch = Vec::new();
        while requests.recv_many(&mut batch, COMMIT_MAX).await > 0 {
            if self.planted == Planted::AckBeforeCommit {
                self.promise(&mut batch);
            }
            task::sleep(self.duration()).await;
            if self.volume.epoch() != self.epoch {
                // A machine that has lost its volume hears of it when its requests time out.
                let hangs = self.dice.between(HANG_MS.0, HANG_MS.1);
                task::sleep(Duration::from_millis(hangs)).await;
                tracing::info!(epoch = %self.epoch, "the store is fenced");
                self.fenced.send_replace(true);
                return;
            }
            let answers = self.commit(&mut batch).await;
            // The answer takes a moment of its own: a process can end in between.
            task::sleep(Duration::from_millis(self.dice.below(3))).await;
            for answer in answers {
                answer();
            }
        }
    }

    fn duration(&self) -> Duration {
        let slow = self.dice.chance(1, SLOW_ONE_IN);
        let most = if slow { SLOW_MS_MAX } else { COMMIT_MS_MAX };
        Duration::from_millis(self.dice.between(1, most))
    }

    /// Makes all of the batch durable; the answers are given later. No other task runs meanwhile:
    /// the store in memory never waits.
    async fn commit(&self, batch: &mut Vec<Request>) -> Vec<Box<dyn FnOnce() + Send>> {
        let mut answers: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        for request in batch.drain(..) {
            match request {
                Request::Append(appends, to) => {
                    let answer = self.view.append(appends).await;
                    answers.push(Box::new(move || forget(to.send(answer))));
                },
                Request::Apply(changes, to) => {
                    let answer = self.view.apply(changes).await;
                    answers.push(Box::new(move || forget(to.send(answer))));
                },
            }
        }
        answers
    }

    /// The planted fault: answers appends with the numbers that they would get.
    fn promise(&self, batch: &mut [Request]) {
        let mut next = std::collections::BTreeMap::new();
        for request in batch {
            let Request::Append(appends, to) = request else {
                continue;
            };
            let answer = appends.iter().map(|append| {
                let status = self
                    .view
                    .status_now(append.shard)
                    .ok_or(AppendError::NoShard)?;
                let first = next.entry(append.shard).or_insert(status.next);
                let appended = Appended {
                    first: *first,
                    arrival: status.last_arrival.max(SimClock::new(0).now()),
                };
                *first += append.records.len() as u64;
                Ok(appended)
            });
            let answer = answer.collect();
            let (unheard, _) = oneshot::channel();
            forget(std::mem::replace(to, unheard).send(Ok(answer)));
        }
    }
}

/// One life of the group.
#[derive(Clone)]
pub(crate) struct SimStore {
    epoch: Epoch,
    view: MemoryStore,
    queue: mpsc::Sender<Request>,
    is_fenced: watch::Receiver<bool>,
}

impl SimStore {
    fn enqueue(&self, request: Request) -> Result<(), StoreError> {
        self.queue.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })
    }
}

impl ShardLog for SimStore {
    async fn append(&self, appends: Vec<Append>) -> AppendAnswer {
        let (to, answer) = oneshot::channel();
        self.enqueue(Request::Append(appends, to))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn read(&self, shard: ShardUid, from: u64, limit: ReadLimit) -> Result<Read, ReadError> {
        self.view.read(shard, from, limit).await
    }

    async fn number_at(&self, shard: ShardUid, time: Millis) -> Result<u64, ReadError> {
        self.view.number_at(shard, time).await
    }

    async fn wait_past(&self, shard: ShardUid, number: u64) {
        self.view.wait_past(shard, number).await;
    }

    async fn status(&self, shard: ShardUid) -> Result<ShardStatus, ReadError> {
        self.view.status(shard).await
    }
}

impl GroupStore for SimStore {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn failed(&self) -> String {
        let mut is_fenced = self.is_fenced.clone();
        if is_fenced.wait_for(|is_fenced| *is_fenced).await.is_err() {
            return std::future::pending().await;
        }
        "the store is fenced".to_owned()
    }

    fn taken(&self) -> Taken {
        Taken::default()
    }
}

impl ShardStore for SimStore {
    async fn apply(&self, changes: Vec<Change>) -> Result<(), ApplyError> {
        let (to, answer) = oneshot::channel();
        self.enqueue(Request::Apply(changes, to))?;
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    fn status_now(&self, shard: ShardUid) -> Option<ShardStatus> {
        self.view.status_now(shard)
    }

    fn rows(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        self.view.rows(prefix)
    }

    fn retention_now(&self) -> Option<Millis> {
        self.view.retention_now()
    }
}
