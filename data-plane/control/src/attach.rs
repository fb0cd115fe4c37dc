//! The contract over gRPC: a server attaches to the operator.
//!
//! [`contract`] is what the operator implements, [`server`] puts it on a listener. [`client`] keeps
//! a server attached, [`certify`] its certificate fresh, and [`remote`] carries what a gateway's
//! clients ask for.

pub mod certify;
pub mod client;
pub mod contract;
pub mod remote;
pub mod server;
mod wire;

use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

pub use certify::{Certifier, CertifyOptions};
pub use client::{AttachHandle, AttachOptions, AttachService};
pub use contract::{
    Authenticator, Contract, PodIdentity, ReviewError, Session, SignError, Standby,
};
pub use remote::RemoteControl;
pub use server::ContractServer;

/// Returns when a service should end: it was told so, or nobody is left to tell it.
fn told(mut stop: watch::Receiver<bool>) -> BoxFuture<'static, ()> {
    async move { drop(stop.wait_for(|stop| *stop).await) }.boxed()
}
