//! Keeps a gateway's copy of what streams there are: one watch on the catalogue of each group.
//!
//! While a group cannot be reached, its streams stay as they were last seen.

mod told;

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use millstream_clock::task;
use millstream_link::Endpoint;
use millstream_stream::catalogue;
use millstream_stream::{News, Stream, Streams};
use millstream_types::{Epoch, GroupId, StreamUid};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::call::Caller;
use crate::convert;
use crate::follow::told::{Told, TooMuch};
use crate::routed::Routed;
use crate::wire;
use crate::wire::catalogue_update::What;

/// Pause before a broken watch is begun again; it doubles up to the last one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Follows the catalogues of all groups.
pub struct Follower {
    streams: Streams<Routed>,
    caller: Caller,
    seen: watch::Sender<BTreeMap<GroupId, Seen>>,
}

/// How far the catalogue of a group was followed; the later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The life of the group's writer.
    pub epoch: Epoch,
    /// Its changes in that life.
    pub changes: u64,
}

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("{0}")]
    Status(#[from] Status),
    #[error("the server does not hold the group")]
    NotOwner,
    #[error("an update breaks the protocol: {0}")]
    Malformed(String),
    #[error("{0}")]
    TooMuch(#[from] TooMuch),
    #[error("it told of an earlier life of the group's writer")]
    Stale,
    #[error("the server ended it")]
    Ended,
}

impl Follower {
    /// Follows the groups of `caller` into `streams`, a replica over a [`Routed`] of the same
    /// caller.
    #[must_use]
    pub fn new(streams: Streams<Routed>, caller: Caller) -> Self {
        Self {
            streams,
            caller,
            seen: watch::Sender::new(BTreeMap::new()),
        }
    }

    /// The groups whose whole catalogue was seen at least once, and how far it was followed.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<BTreeMap<GroupId, Seen>> {
        self.seen.subscribe()
    }

    /// Follows until `drain` is ready.
    pub async fn run(self, drain: impl Future<Output = ()> + Send) {
        let mut drain = pin!(drain);
        let mut placed = self.caller.placed();
        let mut watches: BTreeMap<GroupId, (Endpoint, JoinHandle<()>)> = BTreeMap::new();
        loop {
            placed.mark_unchanged();
            self.adjust(&mut watches);
            tokio::select! {
                biased;
                () = &mut drain => break,
                _ = placed.changed() => {}
            }
        }
        for (_, watch) in watches.into_values() {
            watch.abort();
        }
    }

    /// One watch for each group, on the server that holds it now.
    fn adjust(&self, watches: &mut BTreeMap<GroupId, (Endpoint, JoinHandle<()>)>) {
        let groups = self.caller.groups();
        watches.retain(|group, (server, watch)| {
            let stays = groups.get(group) == Some(server);
            if !stays {
                watch.abort();
            }
            if !groups.contains_key(group) {
                tracing::info!(%group, "a group is no more");
                self.forget(group);
            }
            stays
        });
        for (group, server) in groups {
            watches.entry(group.clone()).or_insert_with(|| {
                let follow = Follow {
                    streams: self.streams.clone(),
                    caller: self.caller.clone(),
                    group,
                    server: server.clone(),
                    seen: self.seen.clone(),
                };
                (server, task::spawn("catalogue", follow.run()))
            });
        }
    }

    fn forget(&self, group: &GroupId) {
        for stream in self.streams.at_home(group) {
            self.caller.remove_stream(group, stream);
        }
        self.streams.forget(group);
        self.seen.send_modify(|seen| {
            seen.remove(group);
        });
    }
}

/// Follows one group on one server.
struct Follow {
    streams: Streams<Routed>,
    caller: Caller,
    group: GroupId,
    server: Endpoint,
    seen: watch::Sender<BTreeMap<GroupId, Seen>>,
}

impl Follow {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut told = false;
            let error = match self.watch(&mut told).await {
                Ok(()) => WatchError::Ended,
                Err(error) => error,
            };
            let (group, server) = (&self.group, &self.server);
            if told && matches!(error, WatchError::Ended) {
                tracing::debug!(%group, %server, "a watch has ended, and is begun again");
                pause = FIRST_PAUSE;
            } else if told {
                tracing::warn!(%group, %server, %error,
                    "the server of a group is lost; its streams stay as they are");
                pause = FIRST_PAUSE;
            } else {
                tracing::debug!(%group, %server, %error, "the server of a group is still away");
                pause = LAST_PAUSE.min(pause * 2);
            }
            task::sleep(pause).await;
        }
    }

    async fn watch(&self, told: &mut bool) -> Result<(), WatchError> {
        let request = wire::WatchCatalogueRequest {
            target: Some(convert::target(&self.group, Epoch(0))),
        };
        let mut client = self.caller.client(&self.server);
        let mut updates = client.watch_catalogue(request).await?.into_inner();
        // The whole state while it comes in.
        let mut all: Option<Vec<Stream>> = None;
        // What this watch told. None before the whole state has begun, which comes first.
        let mut so_far: Option<Told> = None;
        while let Some(update) = updates.message().await? {
            let epoch = Epoch(update.epoch);
            let is_end = matches!(update.what, Some(What::AllEnd(_)));
            match update.what {
                Some(What::Refused(_)) => return Err(WatchError::NotOwner),
                Some(What::AllBegin(_)) => {
                    all = Some(Vec::new());
                    so_far = Some(Told::default());
                },
                Some(What::AllEnd(_)) => {
                    let streams = all.take().ok_or_else(|| malformed("an end first"))?;
                    self.learn_all(epoch, streams)?;
                    *told = true;
                },
                Some(What::Put(stream)) => {
                    let encoded = convert::stream_in(stream);
                    let bytes = told::bytes(&encoded);
                    let decoded = catalogue::decode(&self.group, &encoded);
                    let stream = decoded.map_err(|error| malformed(&error.to_string()))?;
                    let so_far = so_far.as_mut().ok_or_else(|| malformed("a change first"))?;
                    so_far.put(stream.uid(), bytes)?;
                    match &mut all {
                        Some(all) => all.push(stream),
                        None => {
                            self.caller.put_stream(&self.group, &stream);
                            self.learn(epoch, News::Put(Box::new(stream)))?;
                        },
                    }
                },
                Some(What::Removed(uid)) => {
                    let uid = convert::stream_uid(&uid);
                    let uid = uid.map_err(|error| malformed(&error.to_string()))?;
                    let so_far = so_far.as_mut().ok_or_else(|| malformed("a change first"))?;
                    so_far.removed(uid);
                    self.learn(epoch, News::Removed(uid))?;
                    self.caller.remove_stream(&self.group, uid);
                },
                // A later program tells something that this one does not know.
                None => {},
            }
            // An earlier program counts no changes: its whole state is all that it can say.
            if is_end || (update.changes.is_some() && all.is_none()) {
                let changes = update.changes.unwrap_or_default();
                self.note(Seen { epoch, changes });
            }
        }
        Ok(())
    }

    fn learn_all(&self, epoch: Epoch, streams: Vec<Stream>) -> Result<(), WatchError> {
        let before = self.streams.at_home(&self.group);
        let after: Vec<StreamUid> = streams.iter().map(Stream::uid).collect();
        tracing::info!(group = %self.group, server = %self.server, %epoch,
            streams = after.len(), "the server of a group has told of its streams");
        // Before they are shown: a put may come at once.
        for stream in &streams {
            self.caller.put_stream(&self.group, stream);
        }
        self.learn(epoch, News::All(streams))?;
        for stream in before {
            if !after.contains(&stream) {
                self.caller.remove_stream(&self.group, stream);
            }
        }
        Ok(())
    }

    /// The catalogue was taken over up to here.
    fn note(&self, seen: Seen) {
        self.seen.send_if_modified(|all| {
            let before = all.insert(self.group.clone(), seen);
            before != Some(seen)
        });
    }

    fn learn(&self, epoch: Epoch, news: News) -> Result<(), WatchError> {
        if !self.streams.learn(&self.group, epoch, news) {
            return Err(WatchError::Stale);
        }
        self.caller.learn_epoch(&self.group, epoch);
        Ok(())
    }
}

fn malformed(reason: &str) -> WatchError {
    WatchError::Malformed(reason.to_owned())
}
