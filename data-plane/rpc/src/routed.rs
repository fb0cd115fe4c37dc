//! A shard log whose shards are on other servers: each call goes to the server of the shard's
//! group.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use millstream_clock::task;
use millstream_stream::ShardLog;
use millstream_stream::{
    Append, AppendError, Appended, Read, ReadError, ReadLimit, ShardStatus, StoreError,
};
use millstream_types::{GroupId, Millis, ShardUid};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::away::{Away, Presence};
use crate::call::{CallError, Caller, Client};
use crate::convert::{self, Malformed};
use crate::lanes::{Lanes, Part, Results, Turn};
use crate::outgoing::{self, Appends};
use crate::verdict::Verdict;
use crate::wire;

/// The budget of bytes on their way is counted in so many.
const BUDGET_UNIT_BYTES: usize = 1024;
/// Bytes that a record takes beside its key and data.
const RECORD_EXTRA_BYTES: usize = 64;
/// Pause of a waiting reader whose shard's server cannot be asked.
const WAIT_FAILED_PAUSE: Duration = Duration::from_millis(100);

/// For how long a read waits for a server that was away to say that it is back.
const BACK_WITHIN: Duration = Duration::from_millis(100);

/// The log. Clones share everything.
#[derive(Clone)]
pub struct Routed {
    caller: Caller,
    in_flight: Arc<Semaphore>,
    lanes: Arc<Lanes>,
    away: Arc<Away>,
}

impl fmt::Debug for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routed")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// The appends of one request that go to one group.
struct ToGroup {
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
            lanes: Arc::default(),
            away: Arc::default(),
        }
    }

    /// What it calls through.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    fn reserve(&self, appends: &[Append]) -> Result<Arc<OwnedSemaphorePermit>, StoreError> {
        let units = u32::try_from(bytes_of(appends).div_ceil(BUDGET_UNIT_BYTES));
        let units = units.unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.in_flight).try_acquire_many_owned(units);
        permit.map(Arc::new).map_err(|_| StoreError::Overloaded)
    }

    /// Sends appends to a group, with those of others that are on their way there.
    async fn append_to(
        &self,
        group: &GroupId,
        appends: Vec<Append>,
        reserved: Arc<OwnedSemaphorePermit>,
    ) -> Results {
        let count = appends.len();
        let (answer, answered) = oneshot::channel();
        let part = Part {
            bytes: bytes_of(&appends),
            appends,
            since: self.caller.now(),
            answer,
            reserved,
        };
        if let Some(turn) = self.lanes.enter(group, part) {
            // A task of its own: whoever asked may go away, and others wait for the same calls.
            drop(task::spawn("appends", self.clone().send(turn)));
        }
        let unknown = || vec![Err(AppendError::Unknown); count];
        answered.await.unwrap_or_else(|_| unknown())
    }

    /// Makes one call after the other while there is something to send.
    async fn send(self, mut turn: Turn) {
        while let Some(parts) = turn.next() {
            let error = self.send_parts(turn.group(), parts).await;
            if error == Some(AppendError::Unreachable) {
                self.give_up_the_old(turn.group());
            }
        }
    }

    /// Those that have waited for as long as a call is repeated are not sent any more: whoever asked
    /// would have gone.
    fn give_up_the_old(&self, group: &GroupId) {
        let since = self
            .caller
            .now()
            .checked_sub(self.caller.options().repeat_for);
        for part in since.map_or_else(Vec::new, |since| self.lanes.give_up(group, since)) {
            part.fail(AppendError::Unreachable);
        }
    }

    /// One call; says how it failed as a whole, if it did.
    async fn send_parts(&self, group: &GroupId, parts: Vec<Part>) -> Option<AppendError> {
        let (mut request, mut waiting) = (Appends::default(), Vec::new());
        let is_alone = parts.len() == 1;
        for part in parts {
            let count = part.appends.len();
            if !is_alone {
                request.parts.push(u32::try_from(count).unwrap_or(u32::MAX));
            }
            request.appends.extend(convert::appends_out(part.appends));
            waiting.push((count, part.answer, part.reserved));
        }
        let count = request.appends.len();
        let request = Arc::new(request);
        let attempt = |client: Client, target| {
            let request = Arc::clone(&request);
            async move { Verdict::of(outgoing::append(&client, target, request).await) }
        };
        let (results, failed) = match self.caller.call("Append", group, attempt).await {
            Ok(reply) => (results(reply, count), None),
            Err(error) => {
                let failed = match &error {
                    CallError::Refused(_) => AppendError::Unreachable,
                    CallError::Overloaded => AppendError::Overloaded,
                    CallError::Unknown(_) => AppendError::Unknown,
                };
                // Each put would say so while a server is away: the watch on its catalogue does once.
                tracing::debug!(%group, %error, "appends failed");
                (vec![Err(failed); count], Some(failed))
            },
        };
        let mut results = results.into_iter();
        for (count, answer, _reserved) in waiting {
            // nobody may wait for it any more
            drop(answer.send(results.by_ref().take(count).collect()));
        }
        failed
    }

    /// Refuses a read of a group that is away; the next reader finds out whether it is back.
    async fn reach(&self, group: &GroupId) -> Result<(), ReadError> {
        let server = self.caller.server_of(group);
        let is_back = match self.away.presence(group, server.as_ref()) {
            Presence::Here => true,
            Presence::Away => false,
            Presence::ToAsk(asking) => {
                let (caller, group) = (self.caller.clone(), group.clone());
                // A task of its own: it comes to its end even when whoever reads goes away.
                let found = task::spawn("is it back", async move {
                    let is_back = caller.life(&group).await.is_ok();
                    asking.found(is_back);
                    is_back
                });
                matches!(task::timeout(BACK_WITHIN, found).await, Ok(Ok(true)))
            },
        };
        if is_back {
            return Ok(());
        }
        Err(ReadError::Unreachable(format!(
            "{group}: its server is away"
        )))
    }

    /// Remembers that a read of the group failed, if its server is away.
    fn note_failed_read(&self, group: &GroupId, error: &CallError) {
        if *error != CallError::Overloaded {
            let server = self.caller.server_of(group);
            let is_known = |group: &GroupId| self.caller.server_of(group).is_some();
            self.away.lost(group, server, is_known);
        }
    }

    async fn group_of(&self, shard: ShardUid) -> Result<GroupId, ReadError> {
        self.caller.group_of(shard).ok_or(ReadError::NoShard)
    }
}

fn bytes_of(appends: &[Append]) -> usize {
    let records = appends.iter().flat_map(|append| &append.records);
    records
        .map(|record| record.key.len() + record.data.len() + RECORD_EXTRA_BYTES)
        .sum()
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
        match error {
            CallError::Overloaded => Self::Overloaded,
            CallError::Refused(_) | CallError::Unknown(_) => Self::Unreachable(error.to_string()),
        }
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
        let reserved = self.reserve(&appends)?;
        let mut answers = vec![Err(AppendError::NoShard); appends.len()];
        let mut parts: Vec<ToGroup> = Vec::new();
        for (place, append) in appends.into_iter().enumerate() {
            let Some(group) = self.caller.group_of(append.shard) else {
                continue;
            };
            let known = parts.iter().position(|part| part.group == group);
            let at = known.unwrap_or_else(|| {
                parts.push(ToGroup {
                    group,
                    appends: Vec::new(),
                    places: Vec::new(),
                });
                parts.len() - 1
            });
            parts[at].appends.push(append);
            parts[at].places.push(place);
        }
        let each = parts.into_iter().map(|part| {
            let reserved = Arc::clone(&reserved);
            async move {
                let results = self.append_to(&part.group, part.appends, reserved).await;
                (part.places, results)
            }
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
        self.reach(&group).await?;
        let attempt = |mut client: Client, target| async move {
            let request = wire::ReadRequest {
                target: Some(target),
                shard: convert::uid_bytes(shard.0),
                from,
                records_max: limit.records as u64,
                bytes_max: limit.bytes as u64,
            };
            Verdict::of(client.read(request).await)
        };
        let called = self.caller.call_idempotent("Read", &group, attempt).await;
        let reply = called.inspect_err(|error| self.note_failed_read(&group, error))?;
        match reply.outcome {
            Some(Outcome::Page(page)) => Ok(convert::page_in(page)?),
            Some(Outcome::Failed(failure)) => Err(convert::read_failure_in(failure)),
            Some(Outcome::Refused(_)) | None => Err(NO_OUTCOME.into()),
        }
    }

    async fn number_at(&self, shard: ShardUid, time: Millis) -> Result<u64, ReadError> {
        use wire::number_at_reply::Outcome;
        let group = self.group_of(shard).await?;
        let attempt = |mut client: Client, target| async move {
            let request = wire::NumberAtRequest {
                target: Some(target),
                shard: convert::uid_bytes(shard.0),
                time_ms: time.0,
            };
            Verdict::of(client.number_at(request).await)
        };
        let called = self.caller.call_idempotent("NumberAt", &group, attempt);
        match called.await?.outcome {
            Some(Outcome::Number(number)) => Ok(number),
            Some(Outcome::Failed(failure)) => Err(convert::read_failure_in(failure)),
            Some(Outcome::Refused(_)) | None => Err(NO_OUTCOME.into()),
        }
    }

    async fn wait_past(&self, shard: ShardUid, number: u64) {
        let Ok(group) = self.group_of(shard).await else {
            return;
        };
        let attempt = |mut client: Client, target| async move {
            let request = wire::WaitPastRequest {
                target: Some(target),
                shard: convert::uid_bytes(shard.0),
                number,
            };
            Verdict::of(client.wait_past(request).await)
        };
        if let Err(error) = self.caller.call("WaitPast", &group, attempt).await {
            tracing::debug!(%group, %error, "waiting for a shard failed");
            task::sleep(WAIT_FAILED_PAUSE).await;
        }
    }

    async fn status(&self, shard: ShardUid) -> Result<ShardStatus, ReadError> {
        use wire::status_reply::Outcome;
        let group = self.group_of(shard).await?;
        let attempt = |mut client: Client, target| async move {
            let request = wire::StatusRequest {
                target: Some(target),
                shard: convert::uid_bytes(shard.0),
            };
            Verdict::of(client.status(request).await)
        };
        let called = self.caller.call_idempotent("Status", &group, attempt);
        match called.await?.outcome {
            Some(Outcome::Status(status)) => Ok(convert::status_in(status)),
            Some(Outcome::Failed(failure)) => Err(convert::read_failure_in(failure)),
            Some(Outcome::Refused(_)) | None => Err(NO_OUTCOME.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use millstream_clock::SystemClock;
    use millstream_link::tcp::TcpConnector;

    use super::*;
    use crate::call::Options;

    #[tokio::test]
    async fn calls_that_are_given_up_leave_the_way_free_and_their_appends_in_doubt() {
        let clock = Arc::new(SystemClock::new());
        let caller = Caller::new(Options::default(), Arc::new(TcpConnector), clock);
        let routed = Routed::new(caller);
        let group = GroupId::new("a", "p", 0).expect("a group");
        // more of them than calls to a group may be under way
        for _ in 0..5 {
            let reserved = routed.reserve(&[]).expect("there is room");
            let (answer, answered) = oneshot::channel();
            let part = Part {
                appends: Vec::new(),
                bytes: 0,
                since: Duration::ZERO,
                answer,
                reserved,
            };
            let turn = routed.lanes.enter(&group, part).expect("the way is free");
            // nobody knows where the group is: it is tried again for a while
            let mut sending = Box::pin(routed.clone().send(turn));
            assert!((&mut sending).now_or_never().is_none(), "it is under way");
            drop(sending);
            assert!(answered.await.is_err(), "what became of it is not known");
        }
    }
}
