//! What a server should do: the whole of it, with a version. Replays are harmless.

use std::collections::{BTreeMap, BTreeSet};

use millstream_link::{Address, Endpoint, Identity, Role};
use millstream_types::{AccountId, GroupId, Scope, StreamName, StreamUid};
use serde::{Deserialize, Serialize};

use crate::placement::{PoolId, Routes};
use crate::secret::Secret;
use crate::stream::{StreamSpec, Version};
use crate::version::PlacementVersion;

/// What should become of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// It exists and is served.
    Serve,
    /// Nobody wants it any more: it is kept with its records, and not served.
    Retain,
    /// It goes, with its records.
    Delete,
}

/// A stream whose home is the server's group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomedStream {
    /// The stream, over its whole life.
    pub uid: StreamUid,
    /// Account and region.
    pub scope: Scope,
    /// Its name.
    pub name: StreamName,
    /// What should become of it.
    pub wanted: Wanted,
    /// Which of two specifications of the stream is newer.
    pub version: Version,
    /// What is wanted of it. Absent where it is retained, and where it is served as it is: nothing
    /// of it is changed then, and it is not made if it is not there.
    pub spec: Option<StreamSpec>,
    /// It was made before. A server that does not have it has lost it, and does not make it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made: bool,
}

/// A group of the pool and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The group.
    pub group: GroupId,
    /// Its server.
    pub server: Identity,
    /// Where the server's internal port listens.
    pub address: Address,
    /// Where it listened when it was seen last: tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<Address>,
}

/// What a shard server should do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardDesired {
    /// Which of two states is newer.
    pub version: PlacementVersion,
    /// The version of the pool's placement.
    pub placement: PlacementVersion,
    /// The group that it holds.
    pub group: GroupId,
    /// All groups of its pool by ordinal, its own too.
    pub peers: Vec<Peer>,
    /// The streams that are at home in its group. A stream of its rows that is not listed is left
    /// as it is, and reported.
    pub streams: Vec<HomedStream>,
}

impl ShardDesired {
    /// Where the servers of the pool are called, and who has to answer.
    #[must_use]
    pub fn endpoints(&self) -> BTreeMap<GroupId, Endpoint> {
        let endpoint = |peer: &Peer| {
            let endpoint = Endpoint::of(peer.address.clone(), peer.server.clone());
            (peer.group.clone(), endpoint.directly(peer.direct.clone()))
        };
        self.peers.iter().map(endpoint).collect()
    }
}

/// A key that clients sign with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Its id, `AKIA...`.
    pub id: String,
    /// What is signed with.
    pub secret: Secret,
    /// The account whose streams it sees.
    pub account: AccountId,
}

/// What all gateways are told beside the routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The keys that clients may sign with.
    pub access_keys: Vec<AccessKey>,
    /// Namespace to account.
    pub accounts: BTreeMap<String, AccountId>,
    /// Seals iterators and page tokens, the same for all gateways: 64 hexadecimal digits.
    pub token_key: Option<Secret>,
}

/// What a gateway should do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayDesired {
    /// Which of two states is newer.
    pub version: PlacementVersion,
    /// Where the groups are, by pool.
    pub routes: Vec<Routes>,
    /// All pools that there are: one without a route is kept as it is known, any other is no more.
    /// Absent from a program that does not say it: every pool is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pools: Option<BTreeSet<PoolId>>,
    /// Keys and accounts.
    pub access: Access,
    /// Gateways that are attached: each serves its part of the quotas per account.
    pub gateways: u32,
}

/// What a server should do, by its role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum DesiredState {
    /// For a shard server.
    Shard(ShardDesired),
    /// For a gateway.
    Gateway(GatewayDesired),
}

impl DesiredState {
    /// Which of two states is newer.
    #[must_use]
    pub const fn version(&self) -> PlacementVersion {
        match self {
            Self::Shard(state) => state.version,
            Self::Gateway(state) => state.version,
        }
    }

    /// The role that it is for.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::Shard(_) => Role::Shard,
            Self::Gateway(_) => Role::Gateway,
        }
    }

    /// The same state with another version.
    #[must_use]
    pub(crate) fn with_version(mut self, version: PlacementVersion) -> Self {
        match &mut self {
            Self::Shard(state) => state.version = version,
            Self::Gateway(state) => state.version = version,
        }
        self
    }
}
