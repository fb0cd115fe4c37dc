//! The home of streams whose shards are spread over groups: it makes and removes them, step by
//! step.
//!
//! The row comes first: `CREATING` with the whole shard map (and the shards that live beside it, in
//! the same change), then the shards on every other group, then `ACTIVE`. Removal goes the same
//! way: `DELETING`, every other group, then row and own shards in one change. Each step can be
//! done twice; after a crash at any point the rows say where to go on. [`next_step`] decides,
//! [`Home`] does; what it makes durable itself is in `status`. A home that has lost its rows: [`sweep`](crate::sweep).
//!
//! A shard that was open once may hold records: it is never made a second time. A group that does
//! not have it any more has lost it: [`loss`](crate::loss). To see that, the home asks each group
//! again in every life of its server.

mod progress;
mod status;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use millstream_clock::task;
use millstream_storage::ShardStore;
use millstream_types::{Epoch, GroupId, ShardUid, StreamUid};

use crate::guests::{Decision, DecisionPoint, Guests};
use crate::stream::{Status, Stream};
use crate::streams::Streams;
use progress::Progress;

/// Pause before what could not be done is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How often the other groups are asked which life they are in.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The groups over which a stream is spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The group that keeps the stream's rows.
    pub home: GroupId,
    /// All groups that take shards, the home among them.
    pub groups: BTreeSet<GroupId>,
}

impl Spread {
    /// The group of each of `count` shards, in turns from the home on; none is the home itself.
    fn places(&self, count: usize) -> Vec<Option<GroupId>> {
        let above = self.groups.iter().filter(|group| **group > self.home);
        let below = self.groups.iter().filter(|group| **group < self.home);
        let turns: Vec<Option<GroupId>> = std::iter::once(None)
            .chain(above.chain(below).cloned().map(Some))
            .collect();
        turns.into_iter().cycle().take(count).collect()
    }
}

/// Why another group did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It was not reached, or failed; it is asked again.
    #[error("the group did not do as asked: {0}")]
    Failed(String),
    /// It knows decisions of a later life of this home: it is asked for nothing more.
    #[error("the group knows a later life of this home")]
    Outlived,
}

/// The other groups, as a home sees them. Every call may come more than once.
pub trait PeerGroups: Send + Sync + 'static {
    /// Opens the shards that are not there, and keeps all of them for the retention. Those that
    /// were opened before are not made again: answers which of them are lost.
    fn open_shards(
        &self,
        group: &GroupId,
        guests: Guests,
        opened_before: Vec<ShardUid>,
        decision: Option<Decision>,
    ) -> impl Future<Output = Result<Vec<ShardUid>, PeerError>> + Send;

    /// The life of the group's writer.
    fn life(&self, group: &GroupId) -> impl Future<Output = Result<Epoch, PeerError>> + Send;

    /// Removes every shard of the stream.
    fn drop_shards(
        &self,
        group: &GroupId,
        stream: StreamUid,
        decision: Option<Decision>,
    ) -> impl Future<Output = Result<(), PeerError>> + Send;
}

/// What a stream needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its shards on this group are to be open and kept for its retention.
    Open(GroupId),
    /// Its shards are open: it takes records.
    Activate,
    /// Its shards on this group are to be removed.
    Drop(GroupId),
    /// Nothing is left but the rows and the shards beside them.
    Remove,
}

/// What `stream` needs next, when the groups in `done` have done as its state asks.
#[must_use]
pub fn next_step(stream: &Stream, done: &BTreeSet<GroupId>) -> Option<Step> {
    let shards = stream.map().shards().iter();
    let open = shards
        .filter_map(|shard| shard.group.as_ref())
        .find(|group| !done.contains(group))
        .cloned();
    match (stream.status(), open) {
        (Status::Creating | Status::Active | Status::Retained, Some(group)) => {
            Some(Step::Open(group))
        },
        (Status::Creating, None) => Some(Step::Activate),
        (Status::Active | Status::Retained, None) => None,
        (Status::Deleting, Some(group)) => Some(Step::Drop(group)),
        (Status::Deleting, None) => Some(Step::Remove),
    }
}

/// What a pass left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Streams that need something that could not be done.
    pub waiting: usize,
    /// A later life of this home decides: this one asks for nothing more.
    pub outlived: bool,
}

/// Brings the streams that are at home here to what their rows say.
pub struct Home<S, P> {
    streams: Streams<S>,
    group: GroupId,
    /// The life of the group's writer. None: nobody is told when something was decided.
    epoch: Option<Epoch>,
    peers: Arc<P>,
    progress: Progress,
    outlived: bool,
}

impl<S: ShardStore, P: PeerGroups> Home<S, P> {
    /// The home of `streams`, in the group `group`.
    #[must_use]
    pub fn new(streams: Streams<S>, group: GroupId, peers: Arc<P>) -> Self {
        Self {
            streams,
            group,
            epoch: None,
            peers,
            progress: Progress::default(),
            outlived: false,
        }
    }

    /// The same in this life of the group's writer: other groups refuse what an earlier one asks
    /// for from then on.
    #[must_use]
    pub fn in_life(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Works until `drain` is ready: at once when a stream changes, again after a pause while
    /// something could not be done, and when another group has a new life.
    pub async fn run(mut self, drain: impl Future<Output = ()> + Send) {
        let mut drain = pin!(drain);
        let mut watcher = self.streams.watch();
        watcher.next().await;
        let mut next_look = pin!(task::sleep(LOOK_EVERY));
        loop {
            let pass = tokio::select! {
                biased;
                () = &mut drain => return,
                pass = self.pass() => pass,
            };
            if pass.outlived {
                drain.await;
                return;
            }
            // What changed during the pass is an update already.
            tokio::select! {
                biased;
                () = &mut drain => return,
                () = &mut next_look => {
                    self.look().await;
                    next_look.set(task::sleep(LOOK_EVERY));
                },
                _ = watcher.next() => {}
                () = task::sleep(RETRY_PAUSE), if pass.waiting > 0 => {}
            }
        }
    }

    /// Asks the groups that have shards of our streams, all at once, which life they are in. The
    /// next pass asks those for their shards again that are in another one than before.
    pub async fn look(&mut self) {
        let mut looks = Vec::new();
        for group in self.progress.groups() {
            let (peers, asked) = (Arc::clone(&self.peers), group.clone());
            let look = task::spawn("look", async move { peers.life(&asked).await });
            looks.push((group, look));
        }
        for (group, look) in looks {
            // One that is away is asked the next time: whatever life it comes back in.
            if let Ok(Ok(life)) = look.await
                && self.progress.note_life(&group, life)
            {
                tracing::info!(%group, %life, "a group has a new life: its shards are looked for");
            }
        }
    }

    /// Takes every stream as far as it goes now; nothing at all once it was outlived.
    pub async fn pass(&mut self) -> Pass {
        let mut pass = Pass::default();
        if !self.outlived {
            pass.waiting = self.take_all().await;
        }
        pass.outlived = self.outlived;
        pass
    }

    /// Takes every stream as far as it goes now; how many need something that could not be done.
    async fn take_all(&mut self) -> usize {
        let streams = self.streams.everything();
        let there: BTreeSet<StreamUid> = streams.iter().map(|stream| stream.uid()).collect();
        self.progress.keep_only(&there);
        self.streams.forget_losses(|uid| there.contains(&uid));
        let mut waiting = 0;
        // Asked once in a pass: one group that is away must not hold up all streams.
        let mut away = BTreeSet::new();
        for uid in there {
            if !Box::pin(self.take(uid, &mut away)).await {
                waiting += 1;
            }
        }
        for (uid, group) in self.streams.to_sweep() {
            let decision = self.decision(self.streams.changes());
            if self.drop_shards(&group, uid, decision, &mut away).await {
                self.streams.note_swept(uid, &group);
            } else {
                waiting += 1;
            }
        }
        waiting
    }

    /// What was decided when the streams had changed so often.
    fn decision(&self, changes: u64) -> Option<Decision> {
        self.epoch.map(|epoch| Decision {
            home: self.group.clone(),
            point: DecisionPoint { epoch, changes },
        })
    }

    /// The stream as it is now, and when that was decided.
    fn decided(&self, uid: StreamUid) -> Option<(Arc<Stream>, Option<Decision>)> {
        // Changes are counted while the registry is locked.
        let registry = self.streams.inner.registry.read();
        let stream = registry.by_uid(uid)?;
        Some((stream, self.decision(self.streams.changes())))
    }

    /// Takes one stream as far as it goes; false when something could not be done.
    async fn take(&mut self, uid: StreamUid, away: &mut BTreeSet<GroupId>) -> bool {
        loop {
            if self.outlived {
                return false;
            }
            let Some((stream, decision)) = self.decided(uid) else {
                return true;
            };
            let done = self.progress.of(&stream);
            let Some(step) = next_step(&stream, done) else {
                return true;
            };
            let done = match step {
                Step::Open(group) => self.open(&stream, &group, decision, away).await,
                Step::Drop(group) => {
                    let dropped = self.drop_shards(&group, uid, decision, away).await;
                    if dropped {
                        self.progress.of(&stream).insert(group);
                    }
                    dropped
                },
                Step::Activate => {
                    let activated = self.streams.become_status(uid, Status::Active).await;
                    activated.is_ok()
                },
                Step::Remove => self.streams.finish_delete(uid).await.is_ok(),
            };
            if !done {
                return false;
            }
        }
    }

    /// Has the stream's shards opened in a group; notes which it has lost. False when it is away.
    async fn open(
        &mut self,
        stream: &Stream,
        group: &GroupId,
        decision: Option<Decision>,
        away: &mut BTreeSet<GroupId>,
    ) -> bool {
        if self.outlived || away.contains(group) {
            return false;
        }
        let guests = guests(stream, &self.group, group);
        // A stream becomes active once all its shards are open, and takes no record before.
        let opened_before = match stream.status() {
            Status::Creating => Vec::new(),
            Status::Active | Status::Deleting | Status::Retained => guests.shards.clone(),
        };
        let asked = async {
            // Before the shards: what is done then is of this life or a later one.
            let life = if self.progress.knows(group) {
                None
            } else {
                Some(self.peers.life(group).await?)
            };
            let opened = self
                .peers
                .open_shards(group, guests, opened_before, decision);
            let lost = opened.await?;
            Ok((life, lost))
        };
        match asked.await {
            Ok((life, lost)) => {
                if let Some(life) = life {
                    self.progress.note_life(group, life);
                }
                self.streams.note_lost(stream, group, &lost);
                self.progress.of(stream).insert(group.clone());
                true
            },
            Err(error) => {
                self.note_failed(group, &error, away);
                false
            },
        }
    }

    /// Has the stream's shards removed from a group. False when it is away.
    async fn drop_shards(
        &mut self,
        group: &GroupId,
        stream: StreamUid,
        decision: Option<Decision>,
        away: &mut BTreeSet<GroupId>,
    ) -> bool {
        if self.outlived || away.contains(group) {
            return false;
        }
        let dropped = self.peers.drop_shards(group, stream, decision).await;
        if let Err(error) = &dropped {
            self.note_failed(group, error, away);
        }
        dropped.is_ok()
    }

    fn note_failed(&mut self, group: &GroupId, error: &PeerError, away: &mut BTreeSet<GroupId>) {
        match error {
            PeerError::Outlived => {
                tracing::error!(home = %self.group, %group, epoch = ?self.epoch,
                    "a later life of this home decides: this one asks for nothing more");
                self.outlived = true;
            },
            PeerError::Failed(_) => {
                tracing::warn!(%group, %error,
                    "a group does not take part yet; it is asked again");
                away.insert(group.clone());
            },
        }
    }
}

/// The shards of the stream in `group`.
fn guests(stream: &Stream, home: &GroupId, group: &GroupId) -> Guests {
    let shards = stream.map().shards().iter();
    let there = shards.filter(|shard| shard.group.as_ref() == Some(group));
    Guests {
        stream: stream.uid(),
        home: home.clone(),
        created: stream.created(),
        retention_hours: match stream.status() {
            Status::Retained => None,
            _ => Some(stream.settings().retention_hours),
        },
        shards: there.map(|shard| shard.uid).collect(),
    }
}
