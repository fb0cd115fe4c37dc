//! The server's half: the shards and rows of this process, for whoever names its group and epoch.

mod calls;
pub(crate) mod door;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream as Updates;
use futures::future::join_all;
use futures::stream;
use millstream_clock::task;
use millstream_link::Role;
use millstream_link::grpc::{self, Ending, MESSAGE_BYTES_MAX, require};
use millstream_stream::catalogue::{self, Change, Update, Watcher};
use millstream_stream::error::HostError;
use millstream_stream::{Append, AppendError, Appended, ReadLimit, StoreError};
use millstream_stream::{ShardStore, Stream, Streams};
use millstream_types::{Epoch, GroupId, Millis, caps};
use tonic::{Request, Response, Status};

use crate::convert::{self, Malformed};
use crate::server::calls::Call;
use crate::server::door::{Door, WasRefused};
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
pub type ShardServer<S> = Door<ShardsServer<ShardService<S>>>;

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
        let group = self.group.clone();
        let service = ShardsServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Door::new(service, group.namespace())
    }

    async fn append_part(&self, appends: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        let count = appends.len();
        self.store.append(appends).await.unwrap_or_else(|error| {
            let each = match error {
                StoreError::Overloaded => AppendError::Overloaded,
                StoreError::NoSpace => AppendError::NoSpace,
                StoreError::Closed => AppendError::Unknown,
            };
            vec![Err(each); count]
        })
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

    /// One call of somebody whom the door lets in: whether it may make this one, whether it is for this server, and then what is to be done.
    async fn answer<Q, F>(
        &self,
        callers: Callers,
        request: Request<Q>,
        act: impl FnOnce(Q) -> F,
    ) -> Result<Response<Q::Reply>, Status>
    where
        Q: Call,
        F: Future<Output = Result<Q::Reply, Malformed>>,
    {
        if callers == Callers::Homes {
            require(&request, &[Role::Shard])?;
        }
        let request = request.into_inner();
        if let Some(refusal) = self.refusal(request.target()) {
            let mut response = Response::new(Q::refused(refusal));
            response.extensions_mut().insert(WasRefused);
            return Ok(response);
        }
        let reply = act(request).await;
        reply.map(Response::new).map_err(invalid)
    }
}

/// Who may make a call, of those whom the door lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callers {
    /// Whoever puts and reads.
    Clients,
    /// The homes of this group's pool.
    Homes,
}

fn invalid(error: Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Updates of a catalogue, one message at a time.
struct Telling<S> {
    watcher: Watcher<S>,
    epoch: Epoch,
    /// A stream is encoded when it is its turn: a watcher that is slow holds no copies.
    queue: VecDeque<ToTell>,
    /// How many changes are told once the queue is empty.
    changes: Option<u64>,
    ending: Ending,
}

impl<S: ShardStore> Telling<S> {
    /// The next message; none when the call should come to its end.
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
                    let (begin, end) = (wire::AllBegin {}, wire::AllEnd {});
                    self.queue.push_back(ToTell::Said(What::AllBegin(begin)));
                    self.queue.extend(streams.into_iter().map(ToTell::Put));
                    self.queue.push_back(ToTell::Said(What::AllEnd(end)));
                },
                Update::Changes(changes) => {
                    self.queue
                        .extend(changes.into_iter().map(|change| match change {
                            Change::Put(stream) => ToTell::Put(stream),
                            Change::Removed(uid) => {
                                ToTell::Said(What::Removed(convert::uid_bytes(uid.0)))
                            },
                        }));
                },
            }
        }
        let what = self.queue.pop_front().map(ToTell::what);
        let is_last = self.queue.is_empty();
        Some(wire::CatalogueUpdate {
            epoch: self.epoch.0,
            what,
            changes: self.changes.filter(|_| is_last),
        })
    }
}

/// One message to be.
enum ToTell {
    Put(Arc<Stream>),
    Said(What),
}

impl ToTell {
    fn what(self) -> What {
        match self {
            Self::Put(stream) => What::Put(convert::stream_out(catalogue::encode(&stream))),
            Self::Said(what) => what,
        }
    }
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
        let append = |request: wire::AppendRequest| async move {
            let appends = convert::appends_in(request.appends)?;
            let parts = convert::parts_in(appends, &request.parts)?;
            // Each is taken or refused as if it had come alone. They are begun in their order.
            let parts = join_all(parts.into_iter().map(|part| self.append_part(part))).await;
            let results = parts.into_iter().flatten().map(convert::result_out);
            let results = results.collect();
            let outcome = Some(Outcome::Done(wire::AppendResults { results }));
            Ok(wire::AppendReply { outcome })
        };
        self.answer(Callers::Clients, request, append).await
    }

    async fn read(
        &self,
        request: Request<wire::ReadRequest>,
    ) -> Result<Response<wire::ReadReply>, Status> {
        use wire::read_reply::Outcome;
        let read = |request: wire::ReadRequest| async move {
            let clipped = |asked: u64, most: usize| {
                usize::try_from(asked).map_or(most, |asked| asked.min(most))
            };
            let limit = ReadLimit {
                records: clipped(request.records_max, caps::GET_RECORDS_RECORDS_MAX),
                bytes: clipped(request.bytes_max, caps::GET_RECORDS_BYTES_MAX),
            };
            let shard = convert::shard_uid(&request.shard)?;
            let outcome = Some(match self.store.read(shard, request.from, limit).await {
                Ok(read) => Outcome::Page(convert::page_out(read)),
                Err(error) => Outcome::Failed(convert::read_failure_out(&error)),
            });
            Ok(wire::ReadReply { outcome })
        };
        self.answer(Callers::Clients, request, read).await
    }

    async fn number_at(
        &self,
        request: Request<wire::NumberAtRequest>,
    ) -> Result<Response<wire::NumberAtReply>, Status> {
        use wire::number_at_reply::Outcome;
        let number_at = |request: wire::NumberAtRequest| async move {
            let shard = convert::shard_uid(&request.shard)?;
            let found = self.store.number_at(shard, Millis(request.time_ms)).await;
            let outcome = Some(match found {
                Ok(number) => Outcome::Number(number),
                Err(error) => Outcome::Failed(convert::read_failure_out(&error)),
            });
            Ok(wire::NumberAtReply { outcome })
        };
        self.answer(Callers::Clients, request, number_at).await
    }

    async fn status(
        &self,
        request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusReply>, Status> {
        use wire::status_reply::Outcome;
        let status = |request: wire::StatusRequest| async move {
            let shard = convert::shard_uid(&request.shard)?;
            let outcome = Some(match self.store.status(shard).await {
                Ok(status) => Outcome::Status(convert::status_out(status)),
                Err(error) => Outcome::Failed(convert::read_failure_out(&error)),
            });
            Ok(wire::StatusReply { outcome })
        };
        self.answer(Callers::Clients, request, status).await
    }

    async fn wait_past(
        &self,
        request: Request<wire::WaitPastRequest>,
    ) -> Result<Response<wire::WaitPastReply>, Status> {
        let mut ending = grpc::ending(&request);
        let wait_past = |request: wire::WaitPastRequest| async move {
            let shard = convert::shard_uid(&request.shard)?;
            let wait = self.store.wait_past(shard, request.number);
            tokio::select! {
                biased;
                // a connection that ends need not wait for those that only wait
                () = ending.wait() => {},
                Ok(()) | Err(task::Elapsed) = task::timeout(WAIT_MAX, wait) => {},
            }
            Ok(wire::WaitPastReply { refused: None })
        };
        self.answer(Callers::Clients, request, wait_past).await
    }

    async fn open_shards(
        &self,
        request: Request<wire::OpenShardsRequest>,
    ) -> Result<Response<wire::OpenShardsReply>, Status> {
        use wire::open_shards_reply::Outcome;
        let open_shards = |request: wire::OpenShardsRequest| async move {
            let guests = convert::guests_in(&request)?;
            let before = convert::shards_in(&request.opened_before)?;
            let decision = convert::decision_in(&request.home, request.decided)?;
            let (outcome, lost) = match self.streams.host(guests, before, decision).await {
                Ok(missing) => {
                    let lost = convert::shards_out(&missing);
                    (Outcome::Failed(String::new()), lost)
                },
                Err(HostError::Outlived) => (Outcome::Outlived(wire::Outlived {}), Vec::new()),
                Err(error) => (Outcome::Failed(error.to_string()), Vec::new()),
            };
            let outcome = Some(outcome);
            Ok(wire::OpenShardsReply { outcome, lost })
        };
        self.answer(Callers::Homes, request, open_shards).await
    }

    async fn drop_shards(
        &self,
        request: Request<wire::DropShardsRequest>,
    ) -> Result<Response<wire::DropShardsReply>, Status> {
        use wire::drop_shards_reply::Outcome;
        let drop_shards = |request: wire::DropShardsRequest| async move {
            let stream = convert::stream_uid(&request.stream)?;
            let decision = convert::decision_in(&request.home, request.decided)?;
            let outcome = Some(match self.streams.evict(stream, decision).await {
                Ok(()) => Outcome::Failed(String::new()),
                Err(HostError::Outlived) => Outcome::Outlived(wire::Outlived {}),
                Err(error) => Outcome::Failed(error.to_string()),
            });
            Ok(wire::DropShardsReply { outcome })
        };
        self.answer(Callers::Homes, request, drop_shards).await
    }

    async fn watch_catalogue(
        &self,
        request: Request<wire::WatchCatalogueRequest>,
    ) -> Result<Response<CatalogueUpdates>, Status> {
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
            let refused = What::Refused(wire::Refusal { reason });
            telling.queue.push_back(ToTell::Said(refused));
        }
        let updates = stream::unfold(telling, |mut telling| async move {
            let update = telling.next().await?;
            Some((Ok(update), telling))
        });
        Ok(Response::new(Box::pin(updates)))
    }
}

#[cfg(test)]
mod tests;
