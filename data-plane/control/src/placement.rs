//! Where everything is: which server holds a log group, and which group is a stream's home.
//!
//! One [`Placement`] per pool. It is kept as JSON in a ConfigMap before anybody hears of it; the
//! format is in `docs/formats/placement.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use millstream_link::{Address, Endpoint, Identity, Role};
use millstream_types::{GroupId, Scope, StreamName, StreamUid};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::version::PlacementVersion;

/// The version of the JSON below. A reader refuses any other.
pub const PLACEMENT_FORMAT: u32 = 1;
/// Largest placement, in bytes of JSON: a ConfigMap holds 1 MiB, names and labels included.
pub const PLACEMENT_BYTES_MAX: usize = 1_000_000;
/// Most streams in one pool: with the longest names they fit into a ConfigMap.
pub const HOMES_MAX: usize = 3_000;
/// Most groups of one pool; their ordinals are below it.
pub const GROUPS_MAX: u32 = 1_000;

/// A text that names no pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pool is '<namespace>/<pool>', two DNS labels")]
pub struct ParsePoolError;

/// A pool: the shard servers of one class in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId {
    namespace: String,
    name: String,
}

impl PoolId {
    /// The pool of a name in a namespace.
    ///
    /// # Errors
    /// When either is no DNS label.
    pub fn new(namespace: &str, name: &str) -> Result<Self, ParsePoolError> {
        GroupId::new(namespace, name, 0).map_err(|_| ParsePoolError)?;
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The pool of a group.
    #[must_use]
    pub fn of(group: &GroupId) -> Self {
        Self {
            namespace: group.namespace().to_owned(),
            name: group.pool().to_owned(),
        }
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name in the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its group with this ordinal.
    #[must_use]
    pub fn group(&self, ordinal: u32) -> GroupId {
        GroupId::new(&self.namespace, &self.name, ordinal).expect("both were checked by new()")
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for PoolId {
    type Err = ParsePoolError;

    fn from_str(text: &str) -> Result<Self, ParsePoolError> {
        let (namespace, name) = text.split_once('/').ok_or(ParsePoolError)?;
        Self::new(namespace, name)
    }
}

impl Serialize for PoolId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PoolId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The server that holds a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Its pod.
    pub pod: String,
    /// Where its internal port listens: a name that leads to the pod, whichever node it is on.
    pub address: Address,
    /// The pod's own IP address with that port, as it was seen last. It saves the wait for the name
    /// after the pod has come anew; an old one leads nowhere, or to somebody who is not let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<Address>,
}

impl Seat {
    /// Who sits there, in the namespace of the pool.
    #[must_use]
    pub fn identity(&self, pool: &PoolId) -> Option<Identity> {
        Identity::new(pool.namespace(), Role::Shard, &self.pod).ok()
    }
}

/// Where a stream keeps its metadata, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// The group's ordinal in the pool.
    pub group: u32,
    /// Account and region of the stream.
    pub scope: Scope,
    /// Its name: kept here so that an orphan is known by name while its home is away.
    pub name: StreamName,
    /// Its home has reported it made. From then on a home without it has lost it, and must not make
    /// it again: it would be empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made: bool,
}

/// The groups of one pool, and the homes of its streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The pool.
    pub pool: PoolId,
    /// Which of two placements of the pool is newer.
    pub version: PlacementVersion,
    /// Group (by ordinal) to server.
    pub groups: BTreeMap<u32, Seat>,
    /// Stream to home group.
    pub homes: BTreeMap<StreamUid, Home>,
}

/// Why a kept placement cannot be used. Its object is named by whoever read it.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// It was written by a later program.
    #[error(
        "the placement has format {0}, this program reads {PLACEMENT_FORMAT}; run the newer program"
    )]
    Format(u32),
    /// No JSON of this shape.
    #[error("the placement is not of the format: {0}")]
    Shape(#[from] serde_json::Error),
    /// A home stands in a group that the pool does not have.
    #[error(
        "the placement names group {group} as the home of stream {stream}, and has no such group"
    )]
    NoSuchGroup {
        /// The stream.
        stream: StreamUid,
        /// The group's ordinal.
        group: u32,
    },
    /// No leader has so many streams at home in one pool.
    #[error("the placement names {0} streams, a pool takes at most {HOMES_MAX}")]
    TooManyHomes(usize),
    /// No pool has such a group.
    #[error("the placement names group {0}, a pool's groups are below {GROUPS_MAX}")]
    GroupOutOfRange(u32),
    /// It would not fit into a ConfigMap.
    #[error(
        "the placement has {0} bytes, at most {PLACEMENT_BYTES_MAX} fit into a ConfigMap; use a further pool"
    )]
    TooLarge(usize),
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    #[serde(flatten)]
    placement: &'a Placement,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Placement {
    /// A pool without groups and streams.
    #[must_use]
    pub const fn empty(pool: PoolId) -> Self {
        Self {
            pool,
            version: PlacementVersion::new(0, 0),
            groups: BTreeMap::new(),
            homes: BTreeMap::new(),
        }
    }

    /// The home group of a stream.
    #[must_use]
    pub fn home(&self, stream: StreamUid) -> Option<GroupId> {
        let home = self.homes.get(&stream)?;
        Some(self.pool.group(home.group))
    }

    /// The ordinal of the group that this server holds.
    #[must_use]
    pub fn ordinal_of(&self, server: &Identity) -> Option<u32> {
        if server.role() != Role::Shard || server.namespace() != self.pool.namespace() {
            return None;
        }
        let mut seats = self.groups.iter();
        seats
            .find(|(_, seat)| seat.pod == server.name())
            .map(|(ordinal, _)| *ordinal)
    }

    /// What is written to the ConfigMap.
    ///
    /// # Errors
    /// When it would not fit.
    pub fn to_json(&self) -> Result<String, PlacementError> {
        let written = Written {
            format: PLACEMENT_FORMAT,
            placement: self,
        };
        let text = serde_json::to_string(&written)?;
        if text.len() > PLACEMENT_BYTES_MAX {
            return Err(PlacementError::TooLarge(text.len()));
        }
        Ok(text)
    }

    /// Reads what [`to_json`](Self::to_json) has written.
    ///
    /// # Errors
    /// When it is of another format, or contradicts itself.
    pub fn from_json(text: &str) -> Result<Self, PlacementError> {
        let FormatOnly { format } = serde_json::from_str(text)?;
        if format != PLACEMENT_FORMAT {
            return Err(PlacementError::Format(format));
        }
        let placement: Self = serde_json::from_str(text)?;
        if placement.homes.len() > HOMES_MAX {
            return Err(PlacementError::TooManyHomes(placement.homes.len()));
        }
        if let Some((group, _)) = placement.groups.range(GROUPS_MAX..).next() {
            return Err(PlacementError::GroupOutOfRange(*group));
        }
        let homeless = placement
            .homes
            .iter()
            .find(|(_, home)| !placement.groups.contains_key(&home.group));
        if let Some((stream, home)) = homeless {
            return Err(PlacementError::NoSuchGroup {
                stream: *stream,
                group: home.group,
            });
        }
        Ok(placement)
    }
}

/// Where the groups of a pool are: what a gateway needs of its placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// The pool.
    pub pool: PoolId,
    /// The version of the placement.
    pub version: PlacementVersion,
    /// Group to server.
    pub groups: BTreeMap<GroupId, Seat>,
    /// The streams that were made in the pool and are to be served. A gateway that no home has told
    /// of one must not take it for absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<ServedStreams>,
}

/// The streams of one account and region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedStreams {
    /// Account and region.
    pub scope: Scope,
    /// Their names.
    pub names: BTreeSet<StreamName>,
}

impl Routes {
    /// The routes of a placement, with those streams that are to be `served`.
    #[must_use]
    pub fn serving(placement: &Placement, served: impl Fn(StreamUid) -> bool) -> Self {
        let mut streams: BTreeMap<Scope, BTreeSet<StreamName>> = BTreeMap::new();
        for (uid, home) in &placement.homes {
            if home.made && served(*uid) {
                let names = streams.entry(home.scope.clone()).or_default();
                names.insert(home.name.clone());
            }
        }
        let streams = streams.into_iter();
        Self {
            streams: streams
                .map(|(scope, names)| ServedStreams { scope, names })
                .collect(),
            ..Self::from(placement)
        }
    }

    /// Where each server is called, and who has to answer. A group whose pod's name is none is left
    /// out: nobody could prove to be it.
    #[must_use]
    pub fn endpoints(&self) -> BTreeMap<GroupId, Endpoint> {
        let groups = self.groups.iter();
        let endpoint = |(group, seat): (&GroupId, &Seat)| {
            let identity = seat.identity(&self.pool)?;
            let endpoint = Endpoint::of(seat.address.clone(), identity);
            let endpoint = endpoint.directly(seat.direct.clone());
            Some((group.clone(), endpoint))
        };
        groups.filter_map(endpoint).collect()
    }
}

impl From<&Placement> for Routes {
    fn from(placement: &Placement) -> Self {
        let groups = placement.groups.iter();
        Self {
            pool: placement.pool.clone(),
            version: placement.version,
            groups: groups
                .map(|(ordinal, seat)| (placement.pool.group(*ordinal), seat.clone()))
                .collect(),
            streams: Vec::new(),
        }
    }
}
