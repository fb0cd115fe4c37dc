//! A shard log whose shards are on other servers: each call goes to the server of the shard's
//! group.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use millstream_clock::task;
use millstream_stream::ShardLog;
use millstream_stream::{
    Append, AppendError, Appended, Read, ReadError, ReadLimit, ShardStatus, StoreError,
};
use millstream_types::{GroupId, Millis, ShardUid};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::call::{CallError, Caller, verdict};
use crate::convert::{self, Malformed};
use crate::wire;

/// The budget of bytes on their way is counted in so many.
const BUDGET_UNIT_BYTES: usize = 1024;
/// Bytes that a record takes beside its key and data.
const RECORD_EXTRA_BYTES: usize = 64;
/// Pause of a waiting reader whose shard's server cannot be asked.
const WAIT_FAILED_PAUSE: Duration = Duration::from_millis(100);

/// The log. Clones share everything.
#[derive(Clone, Debug)]
pub struct Routed {
    caller: Caller,
    in_flight: Arc<Semaphore>,
}

/// The appends of one request that go to one group.
struct Part {
    group: GroupId,
    appends: Vec<Append>,
    /// Their places in the request.
    places: Vec<usize>,
}

impl Routed {
    /// A log that calls through `caller`.
    #[must_use]
    pub fn new(caller: Caller) -> Self {
        let units = caller.options().in_flight_bytes / BUDGET_UNIT_BYTES;
        Self {
            caller,
            in_flight: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// What it calls through.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    fn reserve(&self, appends: &[Append]) -> Result<OwnedSemaphorePermit, StoreError> {
        let records = appends.iter().flat_map(|append| &append.records);
        let bytes: usize = records
            .map(|record| record.key.len() + record.data.len() + RECORD_EXTRA_BYTES)
            .sum();
        let units = u32::try_from(bytes.div_ceil(BUDGET_UNIT_BYTES)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.in_flight).try_acquire_many_owned(units);
        permit.map_err(|_| StoreError::Overloaded)
    }

    async fn append_part(
        &self,
        group: &GroupId,
        appends: Vec<Append>,
    ) -> Vec<Result<Appended, AppendError>> {
        let count = appends.len();
        let appends = convert::appends_out(appends);
        let attempt = |mut client: crate::call::Client, target| {
            let request = wire::AppendRequest {
                target: Some(target),
                // the records themselves are shared
                appends: appends.clone(),
            };
            async move {
                use wire::append_reply::Outcome;
                verdict(client.append(request).await, |reply| match &reply.outcome {
                    Some(Outcome::Refused(refused)) => Some(refused),
                    Some(Outcome::Done(_)) | None => None,
                })
            }
        };
        match self.caller.call(group, attempt).await {
            Ok(reply) => results(reply, count),
            Err(error) => {
                let failed = match &error {
                    CallError::Refused(_) => AppendError::Unreachable,
                    CallError::Unknown(_) => AppendError::Unknown,
                };
                // Each put would say so while a server is away: the watch on its catalogue does once.
                tracing::debug!(%group, %error, "an append failed");
                vec![Err(failed); count]
            },
        }
    }

    async fn group_of(&self, shard: ShardUid) -> Result<GroupId, ReadError> {
        self.caller.group_of(shard).ok_or(ReadError::NoShard)
    }
}

fn results(reply: wire::AppendReply, count: usize) -> Vec<Result<Appended, AppendError>> {
    match reply.outcome {
        Some(wire::append_reply::Outcome::Done(done)) if done.results.len() == count => {
            done.results.iter().map(convert::result_in).collect()
        },
        // Not of this protocol: what it did cannot be known.
        _ => vec![Err(AppendError::Unknown); count],
    }
}

impl From<CallError> for ReadError {
    fn from(error: CallError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl From<Malformed> for ReadError {
    fn from(error: Malformed) -> Self {
        Self::Unreachable(error.to_string())
    }
}

const NO_OUTCOME: Malformed = Malformed("a reply without an outcome");

impl ShardLog for Routed {
    async fn append(
        &self,
        appends: Vec<Append>,
    ) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        let _reserved = self.reserve(&appends)?;
        let mut answers = vec![Err(AppendError::NoShard); appends.len()];
        let mut parts: Vec<Part> = Vec::new();
        for (place, append) in appends.into_iter().enumerate() {
            let Some(group) = self.caller.group_of(append.shard) else {
                continue;
            };
            let known = parts.iter().position(|part| part.group == group);
            let at = known.unwrap_or_else(|| {
                parts.push(Part {
                    group,
                    appends: Vec::new(),
                    places: Vec::new(),
                });
                parts.len() - 1
            });
            parts[at].appends.push(append);
            parts[at].places.push(place);
        }
        let each = parts.into_iter().map(|part| async move {
            let results = self.append_part(&part.group, part.appends).await;
            (part.places, results)
        });
        for (places, results) in join_all(each).await {
            for (place, result) in places.into_iter().zip(results) {
                answers[place] = result;
            }
        }
        Ok(answers)
    }

    async fn read(&self, shard: ShardUid, from: u64, limit: ReadLimit) -> Result<Read, ReadError> {
        use wire::read_reply::Outcome;
        let group = self.group_of(shard).await?;
        let attempt = |mut client: crate::call::Client, target| async move {
            let request = wire::ReadRequest {
                target: Some(target),
                shard: convert::uid_bytes(shard.0),
                from,
                records_max: limit.records as u64,
                bytes_max: limit.bytes as u64,
            };
            verdict(client.read(request).await, |reply| match &reply.outcome {
                Some(Outcome::Refused(refused)) => Some(refused),
                _ => None,
            })
        };
        match self.caller.call_idempotent(&group, attempt).await?.outcome {
            Some(Outcome::Page(page)) => Ok(convert::page_in(page)?),
            Some(Outcome::Failed(failure)) => Err(convert::read_failure_in(failure)),
            Some(Outcome::Refused(_)) | None => Err(NO_OUTCOME.into()),
        }
    }

    async fn number_at(&self, shard: ShardUid, time: Millis) -> Result<u64, ReadError> {
        use wire::number_at_reply::Outcome;
        let group = self.group_of(shard).await?;
        let attempt = |mut client: crate::call::Client, target| async move {
            let request = wire::NumberAtRequest {
                target: Some(target),
                shard: convert::uid_bytes(shard.0),
                time_ms: time.0,
            };
            verdict(client.number_at(request).await, |reply| {
                match &reply.outcome {
                    Some(Outcome::Refused(refused)) => Some(refused),
                    _ => None,
                }
            })
        };
        match self.caller.call_idempotent(&group, attempt).await?.outcome {
            Some(Outcome::Number(number)) => Ok(number),
            Some(Outcome::Failed(failure)) => Err(convert::read_failure_in(failure)),
            Some(Outcome::Refused(_)) | None => Err(NO_OUTCOME.into()),
        }
    }

    async fn wait_past(&self, shard: ShardUid, number: u64) {
        let Ok(group) = self.group_of(shard).await else {
            return;
        };
        let attempt = |mut client: crate::call::Client, target| async move {
            let request = wire::WaitPastRequest {
                target: Some(target),
                shard: convert::uid_bytes(shard.0),
                number,
            };
            verdict(client.wait_past(request).await, |reply| {
                reply.refused.as_ref()
            })
        };
        if let Err(error) = self.caller.call(&group, attempt).await {
            tracing::debug!(%group, %error, "waiting for a shard failed");
            task::sleep(WAIT_FAILED_PAUSE).await;
        }
    }

    async fn status(&self, shard: ShardUid) -> Result<ShardStatus, ReadError> {
        use wire::status_reply::Outcome;
        let group = self.group_of(shard).await?;
        let attempt = |mut client: crate::call::Client, target| async move {
            let request = wire::StatusRequest {
                target: Some(target),
                shard: convert::uid_bytes(shard.0),
            };
            verdict(client.status(request).await, |reply| match &reply.outcome {
                Some(Outcome::Refused(refused)) => Some(refused),
                _ => None,
            })
        };
        match self.caller.call_idempotent(&group, attempt).await?.outcome {
            Some(Outcome::Status(status)) => Ok(convert::status_in(status)),
            Some(Outcome::Failed(failure)) => Err(convert::read_failure_in(failure)),
            Some(Outcome::Refused(_)) | None => Err(NO_OUTCOME.into()),
        }
    }
}
