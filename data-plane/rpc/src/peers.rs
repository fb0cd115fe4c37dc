//! How the home of a stream asks the other groups of its pool.

use millstream_stream::{Decision, Guests, PeerError, PeerGroups};
use millstream_types::{Epoch, GroupId, ShardUid, StreamUid};

use crate::call::{CallError, Caller, Client};
use crate::convert;
use crate::verdict::Verdict;
use crate::wire;

/// The other groups, each on its server. Every call may be carried out twice.
#[derive(Clone, Debug)]
pub struct RemoteGroups {
    caller: Caller,
}

impl RemoteGroups {
    /// Calls through `caller`.
    #[must_use]
    pub const fn new(caller: Caller) -> Self {
        Self { caller }
    }
}

impl From<CallError> for PeerError {
    fn from(error: CallError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What a group says of what it was asked to do: why it failed, or nothing.
fn done(said: Option<String>) -> Result<(), PeerError> {
    match said {
        Some(failed) if failed.is_empty() => Ok(()),
        Some(failed) => Err(PeerError::Failed(failed)),
        None => Err(PeerError::Failed("a reply without an outcome".to_owned())),
    }
}

impl PeerGroups for RemoteGroups {
    async fn open_shards(
        &self,
        group: &GroupId,
        guests: Guests,
        opened_before: Vec<ShardUid>,
        decision: Option<Decision>,
    ) -> Result<Vec<ShardUid>, PeerError> {
        use wire::open_shards_reply::Outcome;
        let attempt = |mut client: Client, target| {
            let request = convert::guests_out(target, &guests, &opened_before, decision.as_ref());
            async move { Verdict::of(client.open_shards(request).await) }
        };
        let called = self.caller.call_idempotent("OpenShards", group, attempt);
        let reply = called.await?;
        done(match reply.outcome {
            Some(Outcome::Failed(failed)) => Some(failed),
            Some(Outcome::Outlived(_)) => return Err(PeerError::Outlived),
            _ => None,
        })?;
        let lost = convert::shards_in(&reply.lost);
        lost.map_err(|error| PeerError::Failed(error.to_string()))
    }

    async fn life(&self, group: &GroupId) -> Result<Epoch, PeerError> {
        Ok(self.caller.life(group).await?)
    }

    async fn drop_shards(
        &self,
        group: &GroupId,
        stream: StreamUid,
        decision: Option<Decision>,
    ) -> Result<(), PeerError> {
        use wire::drop_shards_reply::Outcome;
        let attempt = |mut client: Client, target| {
            let request = convert::drop_out(target, stream, decision.as_ref());
            async move { Verdict::of(client.drop_shards(request).await) }
        };
        let called = self.caller.call_idempotent("DropShards", group, attempt);
        done(match called.await?.outcome {
            Some(Outcome::Failed(failed)) => Some(failed),
            Some(Outcome::Outlived(_)) => return Err(PeerError::Outlived),
            _ => None,
        })
    }
}
