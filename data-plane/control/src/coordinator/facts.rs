//! What is known: of a stream, of a server, of what nobody wants any more. For conditions and
//! metrics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_link::Identity;
use millstream_types::{GroupId, Scope, StreamName, StreamUid};

use crate::coordinator::sessions::Server;
use crate::coordinator::{Coordinator, UNAVAILABLE_AFTER, wanted_in};
use crate::observed::{ObservedState, ObservedStream, StreamPhase};
use crate::placement::{HOMES_MAX, PoolId};
use crate::stream::Version;

/// Why nothing happens yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The leader is new and has not heard from every server.
    Settling,
    /// The stream's pool has no group yet.
    NoGroup,
    /// The stream's pool has [`HOMES_MAX`] streams: it takes no more.
    PoolFull,
    /// Its home is being written down.
    Persisting,
    /// Its home has not reported it yet, or is away.
    Home,
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been reported.
    Waiting(Wait),
    /// Its shards are being opened.
    Creating,
    /// It serves.
    Active,
    /// It is kept, and not served.
    Retained,
    /// Its home does not have it any more, or another group its shards: the volume was lost or
    /// replaced. What is left serves on.
    Lost,
    /// Its shards are being dropped.
    Deleting,
    /// It should be deleted, and nothing is left: also its home is forgotten, durably.
    Gone,
}

/// What is known of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// Its home group, once that is durable.
    pub home: Option<GroupId>,
    /// How far it is.
    pub phase: Phase,
    /// The version of the specification that its home follows.
    pub version: Option<Version>,
    /// Its open shards, as last reported. None of one that was lost: nobody knows how many it had.
    pub shard_count: Option<u32>,
    /// Gateways at work that do not know it as it is yet: they do not serve it, or by its former
    /// settings. A gateway that is away or not ready is not waited for: it says that it is ready
    /// once it knows what there is.
    pub gateways_behind: Vec<Identity>,
    /// Groups with shards of it that have been away for [`UNAVAILABLE_AFTER`].
    pub unavailable: Vec<GroupId>,
    /// What keeps it from being what is wanted, as its home says.
    pub message: Option<String>,
}

/// A stream that exists and that nobody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The stream.
    pub uid: StreamUid,
    /// Account and region.
    pub scope: Scope,
    /// Its name.
    pub name: StreamName,
    /// The group that it is at home in.
    pub home: GroupId,
}

/// What is known of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Whether it is attached and has reported since.
    pub attached: bool,
    /// Whether it is attached and does its work.
    pub ready: bool,
    /// Whether it goes by what it was told last.
    pub up_to_date: bool,
    /// Its last report.
    pub observed: Option<Arc<ObservedState>>,
}

impl Coordinator {
    /// Whether the leader has heard from every server, or has waited long enough.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled
    }

    /// What is known of a stream that is wanted, or wanted gone.
    #[must_use]
    pub fn stream(&self, uid: StreamUid, now: Duration) -> StreamFacts {
        let held = self.pools_of(uid).filter_map(|pool| pool.held());
        let home = held.map(|held| held.placement()).find_map(|p| p.home(uid));
        let at_home = home.as_ref().and_then(|home| self.holder_of(home));
        let reported = at_home.and_then(|server| server.stream(uid));
        let since = at_home.and_then(|server| server.stream_since(uid));
        let mut groups: BTreeSet<GroupId> = home.iter().cloned().collect();
        groups.extend(reported.iter().flat_map(|stream| stream.groups.clone()));
        StreamFacts {
            phase: self.phase(uid, home.as_ref(), reported),
            version: reported.map(|stream| stream.version),
            shard_count: reported
                .map(|stream| stream.shard_count)
                .filter(|count| *count > 0),
            gateways_behind: match (&home, since) {
                (Some(home), Some(since)) => self.servers.behind(home, since),
                _ => Vec::new(),
            },
            unavailable: groups
                .into_iter()
                .filter(|group| self.is_unavailable(group, now))
                .collect(),
            message: reported.and_then(|stream| stream.message.clone()),
            home,
        }
    }

    fn phase(
        &self,
        uid: StreamUid,
        home: Option<&GroupId>,
        reported: Option<&ObservedStream>,
    ) -> Phase {
        if home.is_none() {
            return self.phase_without_home(uid);
        }
        match reported.map(|stream| stream.phase) {
            None | Some(StreamPhase::Unknown) => Phase::Waiting(Wait::Home),
            Some(StreamPhase::Creating) => Phase::Creating,
            Some(StreamPhase::Active) => Phase::Active,
            Some(StreamPhase::Retained) => Phase::Retained,
            Some(StreamPhase::Lost | StreamPhase::Damaged) => Phase::Lost,
            // gone for good once the home is forgotten too
            Some(StreamPhase::Deleting | StreamPhase::Gone) => Phase::Deleting,
        }
    }

    fn phase_without_home(&self, uid: StreamUid) -> Phase {
        let stream = self.streams.get(&uid);
        let drafted = |pool: &super::pool::Pool| pool.draft().homes.contains_key(&uid);
        if self.pools_of(uid).any(drafted) {
            return Phase::Waiting(Wait::Persisting);
        }
        if !self.settled {
            return Phase::Waiting(Wait::Settling);
        }
        match stream {
            Some(stream) if stream.delete && !self.is_reported(uid) => Phase::Gone,
            Some(stream) if !stream.delete => {
                let pool = self.pools.get(&stream.pool).map(super::pool::Pool::draft);
                Phase::Waiting(match pool {
                    Some(pool) if pool.homes.len() >= HOMES_MAX => Wait::PoolFull,
                    Some(pool) if !pool.groups.is_empty() => Wait::Persisting,
                    _ => Wait::NoGroup,
                })
            },
            _ => Phase::Waiting(Wait::Home),
        }
    }

    /// The streams that exist and that nobody wants.
    #[must_use]
    pub fn orphans(&self) -> Vec<Orphan> {
        let mut orphans = Vec::new();
        if !self.streams_known {
            return orphans;
        }
        for placement in self.pools.values().map(super::pool::Pool::draft) {
            for (uid, home) in &placement.homes {
                if wanted_in(&self.streams, placement.pool.namespace(), *uid).is_none() {
                    orphans.push(Orphan {
                        uid: *uid,
                        scope: home.scope.clone(),
                        name: home.name.clone(),
                        home: placement.pool.group(home.group),
                    });
                }
            }
        }
        orphans
    }

    /// What is known of a server.
    #[must_use]
    pub fn server(&self, server: &Identity) -> Option<ServerFacts> {
        let entry = self.servers.get(server)?;
        let observed = entry.observed.clone();
        let goes_by = observed.as_ref().and_then(|state| state.desired);
        let told = entry.told.as_ref().map(|state| state.version());
        let ready = observed.as_ref().is_some_and(|state| state.health.ready);
        Some(ServerFacts {
            attached: entry.reported,
            ready: entry.reported && ready,
            up_to_date: told.is_some() && goes_by == told && !entry.look_again,
            observed,
        })
    }

    /// All servers that were ever attached in this term, gateways only while they are.
    pub fn servers(&self) -> impl Iterator<Item = &Identity> {
        self.servers.iter().map(|(id, _)| id)
    }

    /// The server that should hold a group.
    #[must_use]
    pub fn server_of(&self, group: &GroupId) -> Option<Identity> {
        let id = PoolId::of(group);
        let seat = self.pools.get(&id)?.draft().groups.get(&group.ordinal())?;
        seat.identity(&id)
    }

    /// The server that should hold a group, as far as it is known.
    fn holder_of(&self, group: &GroupId) -> Option<&Server> {
        self.servers.get(&self.server_of(group)?)
    }

    /// Whether the group's server has not done its work for a while.
    fn is_unavailable(&self, group: &GroupId, now: Duration) -> bool {
        let away_since = match self.holder_of(group) {
            None => Some(self.started),
            Some(server) => server.away_since,
        };
        away_since.is_some_and(|since| now.saturating_sub(since) >= UNAVAILABLE_AFTER)
    }
}
