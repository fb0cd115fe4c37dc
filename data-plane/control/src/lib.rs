//! The contract between a control plane and the data plane: what it wants to exist, and the calls
//! that change it.
//!
//! Plain data and one trait. It must not know how a stream is stored, which protocol asks, or
//! whether a Kubernetes stands behind it. Start with [`ControlPlane`].

pub mod plane;
pub mod stream;

pub use plane::{ControlPlane, CreateStreamError, DeleteStreamError};
pub use stream::{DesiredStream, StreamSpec, Version};
