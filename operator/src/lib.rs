//! The operator: the only program of ours that talks to Kubernetes.
//!
//! It turns `DataStream` objects into pools of shard pods, placements and credentials, and serves
//! the control contract to gateways and shard servers. It must not know how a stream is stored or
//! which protocol asks. Start with [`config`] (what an administrator sets) and [`pools`] (what is
//! made of it).

pub mod config;
pub mod names;
pub mod pools;
