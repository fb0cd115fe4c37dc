//! Shards behind a network: the server's half over the shards of a process, the client's half as a
//! [`ShardLog`](millstream_stream::ShardLog) that finds the server of each shard.
//!
//! [`ShardService`] serves, [`Routed`] puts and reads, [`RemoteGroups`] is how a home asks other
//! groups, [`Follower`] keeps a gateway's copy of what streams there are. All calls of a client go
//! through [`Caller`], which holds the one rule about repeating a call.
//!
//! It must not know HTTP requests of clients, accounts, placement or Kubernetes: it is told which
//! server holds which group.

mod away;
mod call;
mod convert;
mod follow;
mod lanes;
pub mod meter;
mod outgoing;
mod peers;
mod routed;
mod routes;
mod server;
mod verdict;
mod wanted;

#[expect(
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    unused_qualifications,
    reason = "generated from proto/shards.proto"
)]
mod wire {
    tonic::include_proto!("millstream.shards.v1");
}

pub use call::{Caller, Options};
pub use follow::{Follower, Seen};
pub use peers::RemoteGroups;
pub use routed::Routed;
pub use server::door::{Door, REQUEST_BYTES_MAX};
pub use server::{ShardServer, ShardService};
