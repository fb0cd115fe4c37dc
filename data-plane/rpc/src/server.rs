//! The server's half: the shards and rows of this process, for whoever names its group and epoch.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream as Updates;
use futures::stream;
use millstream_clock::task;
use millstream_link::Role;
use millstream_link::grpc::{self, Ending, MESSAGE_BYTES_MAX, require};
use millstream_stream::catalogue::{self, Change, Update, Watcher};
use millstream_stream::{AppendError, ReadLimit, StoreError};
use millstream_stream::{ShardStore, Streams};
use millstream_types::{Epoch, GroupId, Millis, caps};
use tonic::{Request, Response, Status};

use crate::convert::{self, Malformed};
use crate::wire;
use crate::wire::catalogue_update::What;
use crate::wire::refusal::Reason;
use crate::wire::shards_server::{Shards, ShardsServer};

/// Longest wait of one WaitPast; below the time for which a client waits for an answer.
const WAIT_MAX: Duration = Duration::from_secs(8);

/// Serves the shards of one group. Clones share everything.
pub struct ShardService<S> {
    store: Arc<S>,
    streams: Streams<S>,
    group: GroupId,
    epoch: Epoch,
}

/// The service as a server takes it.
pub type ShardServer<S> = ShardsServer<ShardService<S>>;

impl<S> Clone for ShardService<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            streams: self.streams.clone(),
            group: self.group.clone(),
            epoch: self.epoch,
        }
    }
}

impl<S: ShardStore> ShardService<S> {
    /// Serves `store` and its `streams` as `group`, in this life of its writer.
    #[must_use]
    pub const fn new(store: Arc<S>, streams: Streams<S>, group: GroupId, epoch: Epoch) -> Self {
        Self {
            store,
            streams,
            group,
            epoch,
        }
    }

    /// As a server takes it.
    #[must_use]
    pub fn into_server(self) -> ShardServer<S> {
        ShardsServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Why the call is not for this server, if so.
    fn refusal(&self, target: Option<&wire::Target>) -> Option<wire::Refusal> {
        let reason = match target {
            Some(target) if target.group != self.group.as_str() => {
                Reason::NotOwner(wire::NotOwner {})
            },
            Some(target) if target.epoch == self.epoch.0 => return None,
            Some(_) => Reason::WrongEpoch(wire::WrongEpoch {
                current: self.epoch.0,
            }),
            None => Reason::NotOwner(wire::NotOwner {}),
        };
        Some(wire::Refusal {
            reason: Some(reason),
        })
    }

    /// A home of this group's pool.
    fn require_home<T>(&self, request: &Request<T>) -> Result<(), Status> {
        require(request, &[Role::Shard])?;
        self.require_client(request)
    }

    /// A gateway, which serves all accounts, or a shard server of the same account: pods of one
    /// namespace never see the records of another.
    fn require_client<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let caller = require(request, &[Role::Gateway, Role::Shard])?;
        if caller.role() == Role::Shard && caller.namespace() != self.group.namespace() {
            return Err(Status::permission_denied(
                "a shard server calls in its own namespace only",
            ));
        }
        Ok(())
    }
}

fn invalid(error: Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Updates of a catalogue, one message at a time.
struct Telling<S> {
    watcher: Watcher<S>,
    epoch: Epoch,
    queue: VecDeque<What>,
    /// How many changes are told once the queue is empty.
    changes: Option<u64>,
    ending: Ending,
}

impl<S: ShardStore> Telling<S> {
    /// The next message; none when the server ends.
    async fn next(&mut self) -> Option<wire::CatalogueUpdate> {
        while self.queue.is_empty() {
            let update = tokio::select! {
                biased;
                () = self.ending.wait() => return None,
                update = self.watcher.next() => update,
            };
            self.changes = self.watcher.changes();
            match update {
                Update::All(streams) => {
                    let put = |stream: &Arc<millstream_stream::Stream>| put(stream);
                    self.queue.push_back(What::AllBegin(wire::AllBegin {}));
                    self.queue.extend(streams.iter().map(put));
                    self.queue.push_back(What::AllEnd(wire::AllEnd {}));
                },
                Update::Changes(changes) => {
                    self.queue.extend(changes.iter().map(|change| match change {
                        Change::Put(stream) => put(stream),
                        Change::Removed(uid) => What::Removed(convert::uid_bytes(uid.0)),
                    }));
                },
            }
        }
        let what = self.queue.pop_front();
        let is_last = self.queue.is_empty();
        Some(wire::CatalogueUpdate {
            epoch: self.epoch.0,
            what,
            changes: self.changes.filter(|_| is_last),
        })
    }
}

fn put(stream: &millstream_stream::Stream) -> What {
    What::Put(convert::stream_out(catalogue::encode(stream)))
}

type CatalogueUpdates =
    Pin<Box<dyn Updates<Item = Result<wire::CatalogueUpdate, Status>> + Send + 'static>>;

#[tonic::async_trait]
impl<S: ShardStore> Shards for ShardService<S> {
    type WatchCatalogueStream = CatalogueUpdates;

    async fn append(
        &self,
        request: Request<wire::AppendRequest>,
    ) -> Result<Response<wire::AppendReply>, Status> {
        use wire::append_reply::Outcome;
        self.require_client(&request)?;
        let request = request.into_inner();
        if let Some(refused) = self.refusal(request.target.as_ref()) {
            let outcome = Some(Outcome::Refused(refused));
            return Ok(Response::new(wire::AppendReply { outcome }));
        }
        let appends = convert::appends_in(request.appends).map_err(invalid)?;
        let count = appends.len();
        let results = match self.store.append(appends).await {
            Ok(results) => results,
            Err(error) => {
                let each = match error {
                    StoreError::Overloaded => AppendError::Overloaded,
                    StoreError::NoSpace => AppendError::NoSpace,
                    StoreError::Closed => AppendError::Unknown,
                };
                vec![Err(each); count]
            },
        };
        let results = results.into_iter().map(convert::result_out).collect();
        let outcome = Some(Outcome::Done(wire::AppendResults { results }));
        Ok(Response::new(wire::AppendReply { outcome }))
    }

    async fn read(
        &self,
        request: Request<wire::ReadRequest>,
    ) -> Result<Response<wire::ReadReply>, Status> {
        use wire::read_reply::Outcome;
        self.require_client(&request)?;
        let request = request.into_inner();
        let outcome = match self.refusal(request.target.as_ref()) {
            Some(refused) => Outcome::Refused(refused),
            None => {
                let clipped = |asked: u64, most: usize| {
                    usize::try_from(asked).map_or(most, |asked| asked.min(most))
                };
                let limit = ReadLimit {
                    records: clipped(request.records_max, caps::GET_RECORDS_RECORDS_MAX),
                    bytes: clipped(request.bytes_max, caps::GET_RECORDS_BYTES_MAX),
                };
                let shard = convert::shard_uid(&request.shard).map_err(invalid)?;
                match self.store.read(shard, request.from, limit).await {
                    Ok(read) => Outcome::Page(convert::page_out(read)),
                    Err(error) => Outcome::Failed(convert::read_failure_out(&error)),
                }
            },
        };
        let outcome = Some(outcome);
        Ok(Response::new(wire::ReadReply { outcome }))
    }

    async fn number_at(
        &self,
        request: Request<wire::NumberAtRequest>,
    ) -> Result<Response<wire::NumberAtReply>, Status> {
        use wire::number_at_reply::Outcome;
        self.require_client(&request)?;
        let request = request.into_inner();
        let outcome = match self.refusal(request.target.as_ref()) {
            Some(refused) => Outcome::Refused(refused),
            None => {
                let shard = convert::shard_uid(&request.shard).map_err(invalid)?;
                match self.store.number_at(shard, Millis(request.time_ms)).await {
                    Ok(number) => Outcome::Number(number),
                    Err(error) => Outcome::Failed(convert::read_failure_out(&error)),
                }
            },
        };
        let outcome = Some(outcome);
        Ok(Response::new(wire::NumberAtReply { outcome }))
    }

    async fn status(
        &self,
        request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusReply>, Status> {
        use wire::status_reply::Outcome;
        self.require_client(&request)?;
        let request = request.into_inner();
        let outcome = match self.refusal(request.target.as_ref()) {
            Some(refused) => Outcome::Refused(refused),
            None => {
                let shard = convert::shard_uid(&request.shard).map_err(invalid)?;
                match self.store.status(shard).await {
                    Ok(status) => Outcome::Status(convert::status_out(status)),
                    Err(error) => Outcome::Failed(convert::read_failure_out(&error)),
                }
            },
        };
        let outcome = Some(outcome);
        Ok(Response::new(wire::StatusReply { outcome }))
    }

    async fn wait_past(
        &self,
        request: Request<wire::WaitPastRequest>,
    ) -> Result<Response<wire::WaitPastReply>, Status> {
        self.require_client(&request)?;
        let mut ending = grpc::ending(&request);
        let request = request.into_inner();
        let refused = self.refusal(request.target.as_ref());
        if refused.is_none() {
            let shard = convert::shard_uid(&request.shard).map_err(invalid)?;
            let wait = self.store.wait_past(shard, request.number);
            tokio::select! {
                biased;
                // a connection that ends need not wait for those that only wait
                () = ending.wait() => {},
                Ok(()) | Err(task::Elapsed) = task::timeout(WAIT_MAX, wait) => {},
            }
        }
        Ok(Response::new(wire::WaitPastReply { refused }))
    }

    async fn open_shards(
        &self,
        request: Request<wire::OpenShardsRequest>,
    ) -> Result<Response<wire::OpenShardsReply>, Status> {
        use wire::open_shards_reply::Outcome;
        self.require_home(&request)?;
        let request = request.into_inner();
        let mut lost = Vec::new();
        let outcome = match self.refusal(request.target.as_ref()) {
            Some(refused) => Outcome::Refused(refused),
            None => {
                let guests = convert::guests_in(&request).map_err(invalid)?;
                let before = convert::shards_in(&request.opened_before).map_err(invalid)?;
                Outcome::Failed(match self.streams.host(guests, before).await {
                    Ok(missing) => {
                        lost = convert::shards_out(&missing);
                        String::new()
                    },
                    Err(error) => error.to_string(),
                })
            },
        };
        let outcome = Some(outcome);
        Ok(Response::new(wire::OpenShardsReply { outcome, lost }))
    }

    async fn drop_shards(
        &self,
        request: Request<wire::DropShardsRequest>,
    ) -> Result<Response<wire::DropShardsReply>, Status> {
        use wire::drop_shards_reply::Outcome;
        self.require_home(&request)?;
        let request = request.into_inner();
        let outcome = match self.refusal(request.target.as_ref()) {
            Some(refused) => Outcome::Refused(refused),
            None => {
                let stream = convert::stream_uid(&request.stream).map_err(invalid)?;
                let evicted = self.streams.evict(stream).await;
                Outcome::Failed(evicted.map_or_else(|error| error.to_string(), |()| String::new()))
            },
        };
        let outcome = Some(outcome);
        Ok(Response::new(wire::DropShardsReply { outcome }))
    }

    async fn watch_catalogue(
        &self,
        request: Request<wire::WatchCatalogueRequest>,
    ) -> Result<Response<CatalogueUpdates>, Status> {
        self.require_client(&request)?;
        let ending = grpc::ending(&request);
        let target = request.into_inner().target;
        let mut telling = Telling {
            watcher: self.streams.watch(),
            epoch: self.epoch,
            queue: VecDeque::new(),
            changes: None,
            ending,
        };
        if target.is_none_or(|target| target.group != self.group.as_str()) {
            let reason = Some(Reason::NotOwner(wire::NotOwner {}));
            telling
                .queue
                .push_back(What::Refused(wire::Refusal { reason }));
        }
        let updates = stream::unfold(telling, |mut telling| async move {
            let update = telling.next().await?;
            Some((Ok(update), telling))
        });
        Ok(Response::new(Box::pin(updates)))
    }
}

#[cfg(test)]
mod tests {
    use millstream_clock::{Clock, SystemClock, SystemEntropy};
    use millstream_link::{Identity, PeerIdentity};
    use millstream_storage::memory::MemoryStore;
    use millstream_stream::{Options, TokenKey};
    use tonic::Code;

    use super::*;

    fn service() -> ShardService<MemoryStore> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock)));
        let key = TokenKey::new([7; 32]);
        let entropy = Arc::new(SystemEntropy);
        let streams = Streams::open(Arc::clone(&store), Options::default(), clock, entropy, &key);
        let group = GroupId::new("team-a", "default", 0).expect("a group");
        ShardService::new(store, streams.expect("no rows yet"), group, Epoch(1))
    }

    fn from<T>(caller: (&str, Role), message: T) -> Request<T> {
        let mut request = Request::new(message);
        let identity = Identity::new(caller.0, caller.1, "p-0").expect("an identity");
        request
            .extensions_mut()
            .insert(PeerIdentity::Known(identity));
        request
    }

    #[tokio::test]
    async fn a_shard_server_of_another_namespace_may_nothing() {
        let service = service();
        for (caller, may) in [
            (("millstream", Role::Gateway), true),
            (("team-a", Role::Shard), true),
            (("team-b", Role::Shard), false),
        ] {
            let code = |result: Result<(), Status>| match result {
                Ok(()) => true,
                Err(status) => status.code() != Code::PermissionDenied,
            };
            let appended = service.append(from(caller, wire::AppendRequest::default()));
            let read = service.read(from(caller, wire::ReadRequest::default()));
            let watch =
                service.watch_catalogue(from(caller, wire::WatchCatalogueRequest::default()));
            let allowed = [
                code(appended.await.map(drop)),
                code(read.await.map(drop)),
                code(watch.await.map(drop)),
            ];
            assert_eq!(allowed, [may; 3], "{caller:?}");
        }
    }
}
