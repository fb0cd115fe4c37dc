//! What a coordinator hears, and what it asks for.

use std::sync::Arc;

use millstream_link::Identity;
use millstream_types::{Scope, StreamUid};

use crate::desired::{Access, DesiredState};
use crate::observed::ObservedState;
use crate::placement::{Placement, PoolId, Seat};
use crate::stream::{StreamSpec, Version};
use crate::version::PlacementVersion;

/// A pool that should exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// The pool.
    pub id: PoolId,
    /// Its servers; the place in the list is the group's ordinal.
    pub seats: Vec<Seat>,
}

/// A stream that somebody wants, or wants gone. One that is wanted no more and should be retained
/// is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedStream {
    /// The stream, over its whole life.
    pub uid: StreamUid,
    /// Account and region.
    pub scope: Scope,
    /// The pool that holds it.
    pub pool: PoolId,
    /// What is wanted of it. None leaves it as its home has it: nothing is changed, and what is not
    /// there is not made.
    pub spec: Option<StreamSpec>,
    /// Grows with each change of the specification, such as the object's generation.
    pub version: Version,
    /// It should go, with its records. There is no way back.
    pub delete: bool,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// All pools, whenever one of them changes.
    Pools(Vec<PoolSpec>),
    /// All streams, whenever one of them changes.
    Streams(Vec<WantedStream>),
    /// What gateways are told beside the routes.
    Access(Access),
    /// A server has attached. A later session takes the place of an earlier one.
    Attached {
        /// Who.
        server: Identity,
        /// The session's number; the later one is higher.
        session: u64,
    },
    /// A session has ended.
    Detached {
        /// Whose.
        server: Identity,
        /// The session's number.
        session: u64,
    },
    /// A server has reported.
    Observed {
        /// In which session.
        session: u64,
        /// What.
        state: Arc<ObservedState>,
    },
    /// A placement is durable: it was written, and the write was acknowledged.
    PlacementPersisted {
        /// Whose.
        pool: PoolId,
        /// Which.
        version: PlacementVersion,
    },
    /// A placement was not written; it is asked for again.
    PersistFailed {
        /// Whose.
        pool: PoolId,
        /// Which.
        version: PlacementVersion,
    },
    /// Time has passed. At least once a second.
    Tick,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write this placement over the pool's former one, if that is still the one last read or
    /// written. Then [`Input::PlacementPersisted`] or [`Input::PersistFailed`].
    PersistPlacement(Placement),
    /// Tell a server what to do.
    Send {
        /// Whom.
        to: Identity,
        /// In which session.
        session: u64,
        /// What.
        state: Arc<DesiredState>,
    },
    /// End a session: the server goes by what this leader cannot have given. It may attach to another
    /// replica, where a later leader may be.
    EndSession {
        /// Whose.
        server: Identity,
        /// The session's number.
        session: u64,
        /// What the server goes by.
        seen: PlacementVersion,
    },
}
