//! What a server is and does, as it reports it: the whole of it, every time.

use std::collections::BTreeMap;

use millstream_link::Identity;
use millstream_types::{Epoch, GroupId, Scope, StreamName, StreamUid};
use serde::{Deserialize, Serialize};

use crate::placement::HOMES_MAX;
use crate::stream::Version;
use crate::version::PlacementVersion;

/// Most streams in a report. A home has those of its pool at most, retained and leaving ones among
/// them; whenever a pool's placement is lost, as many new ones may join those that stand on its disk.
/// So many losses, each of a full pool, no home sees.
pub const STREAMS_OBSERVED_MAX: usize = 4 * HOMES_MAX;

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamPhase {
    /// Its row is written, its shards are being opened.
    Creating,
    /// It serves.
    Active,
    /// It is kept and not served.
    Retained,
    /// Its shards are being dropped.
    Deleting,
    /// It should be deleted, and nothing of it is left.
    Gone,
    /// It should be served, was made before, and is not there any more.
    Lost,
    /// It serves, but for shards that another group had and has lost.
    Damaged,
    /// A later program says something that this one does not know.
    #[serde(other)]
    Unknown,
}

/// A stream whose home is the server's group: every row, and every one that should be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedStream {
    /// The stream.
    pub uid: StreamUid,
    /// Account and region.
    pub scope: Scope,
    /// Its name.
    pub name: StreamName,
    /// How far it is.
    pub phase: StreamPhase,
    /// The version of the specification that it follows.
    pub version: Version,
    /// Its open shards.
    pub shard_count: u32,
    /// The groups that hold shards of it.
    pub groups: Vec<GroupId>,
    /// What keeps it from being what is wanted, for people.
    #[serde(default)]
    pub message: Option<String>,
}

/// Whether a server does its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its group is open and acknowledges appends; a gateway: it serves.
    pub ready: bool,
    /// Why not, for people.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What went through a server since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Records acknowledged.
    pub records_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Records read.
    pub records_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Shards open now.
    pub open_shards: u64,
    /// Bytes of disk in use now.
    pub disk_bytes: u64,
}

/// How far a group's catalogue has come: what a home has told of its streams up to there, or what a
/// gateway has taken over. The later one is greater.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct CataloguePoint {
    /// The life of the group's writer.
    pub epoch: Epoch,
    /// Changes of its streams in that life.
    pub changes: u64,
}

/// What a server is and does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedState {
    /// Who it is.
    pub server: Identity,
    /// The version of the desired state that it goes by.
    #[serde(default)]
    pub desired: Option<PlacementVersion>,
    /// The group that it holds.
    #[serde(default)]
    pub group: Option<GroupId>,
    /// The life of the group's writer.
    #[serde(default)]
    pub epoch: Epoch,
    /// Whether it does its work.
    pub health: Health,
    /// The streams at home in its group.
    #[serde(default)]
    pub streams: Vec<ObservedStream>,
    /// A home: how far its catalogue has come. Whoever has taken it over up to there knows `streams`
    /// as they are said here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<CataloguePoint>,
    /// A gateway: how far it has taken over the catalogue of each group. One short entry for each
    /// group, however many streams there are. Absent from a program that does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogues: Option<BTreeMap<GroupId, CataloguePoint>>,
    /// What went through it.
    #[serde(default)]
    pub counters: Counters,
}

impl ObservedState {
    /// A server that has just started and holds nothing yet.
    #[must_use]
    pub fn starting(server: Identity) -> Self {
        Self {
            server,
            desired: None,
            group: None,
            epoch: Epoch(0),
            health: Health::default(),
            streams: Vec::new(),
            catalogue: None,
            catalogues: None,
            counters: Counters::default(),
        }
    }
}
