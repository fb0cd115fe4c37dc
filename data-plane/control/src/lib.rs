//! The contract between a control plane and the data plane: what it wants to exist and where, what
//! the servers report, and the calls that change it.
//!
//! Three layers. Plain data: [`DesiredState`], [`ObservedState`], [`Placement`]. Pure decisions:
//! [`coordinator`] says what each server should do, [`keeper`] what a server does with it. And
//! [`attach`], the gRPC between the two. It must not know how a stream is stored, which protocol
//! asks, or whether a Kubernetes stands behind it. Start with [`ControlPlane`] and
//! [`DesiredState`].

pub mod attach;
pub mod coordinator;
pub mod desired;
pub mod keeper;
pub mod observed;
pub mod placement;
pub mod plane;
pub mod secret;
pub mod stream;
pub mod version;

pub use coordinator::{Coordinator, Effect, Input, PoolSpec, WantedStream};
pub use desired::{
    Access, AccessKey, DesiredState, GatewayDesired, HomedStream, Peer, ShardDesired, Wanted,
};
pub use keeper::{FileStore, KeepError, Keeper, MemoryStore, StateStore};
pub use millstream_link::{Address, Identity, Role};
pub use observed::{CataloguePoint, Counters, Health, ObservedState, ObservedStream, StreamPhase};
pub use placement::{Home, Placement, PoolId, Routes, Seat, ServedStreams};
pub use plane::{ControlPlane, CreateStreamError, DeleteStreamError};
pub use secret::Secret;
pub use stream::{DesiredStream, StreamSpec, Version};
pub use version::{CONTRACT, PlacementVersion};
