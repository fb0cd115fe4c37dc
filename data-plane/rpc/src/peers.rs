//! How the home of a stream asks the other groups of its pool.

use millstream_stream::{Guests, PeerError, PeerGroups};
use millstream_types::{GroupId, StreamUid};

use crate::call::{CallError, Caller, verdict};
use crate::convert;
use crate::wire;

/// The other groups, each on its server. Both calls may be carried out twice.
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

fn failed(error: &CallError) -> PeerError {
    PeerError(error.to_string())
}

fn done(failed: String) -> Result<(), PeerError> {
    if failed.is_empty() {
        Ok(())
    } else {
        Err(PeerError(failed))
    }
}

impl PeerGroups for RemoteGroups {
    async fn open_shards(&self, group: &GroupId, guests: Guests) -> Result<(), PeerError> {
        use wire::open_shards_reply::Outcome;
        let attempt = |mut client: crate::call::Client, target| {
            let request = convert::guests_out(target, &guests);
            async move {
                verdict(client.open_shards(request).await, |reply| {
                    match &reply.outcome {
                        Some(Outcome::Refused(refused)) => Some(refused),
                        _ => None,
                    }
                })
            }
        };
        let reply = self.caller.call_idempotent(group, attempt).await;
        match reply.map_err(|error| failed(&error))?.outcome {
            Some(Outcome::Failed(failed)) => done(failed),
            _ => Err(PeerError("a reply without an outcome".to_owned())),
        }
    }

    async fn drop_shards(&self, group: &GroupId, stream: StreamUid) -> Result<(), PeerError> {
        use wire::drop_shards_reply::Outcome;
        let attempt = |mut client: crate::call::Client, target| {
            let request = wire::DropShardsRequest {
                target: Some(target),
                stream: convert::uid_bytes(stream.0),
            };
            async move {
                verdict(client.drop_shards(request).await, |reply| {
                    match &reply.outcome {
                        Some(Outcome::Refused(refused)) => Some(refused),
                        _ => None,
                    }
                })
            }
        };
        let reply = self.caller.call_idempotent(group, attempt).await;
        match reply.map_err(|error| failed(&error))?.outcome {
            Some(Outcome::Failed(failed)) => done(failed),
            _ => Err(PeerError("a reply without an outcome".to_owned())),
        }
    }
}
