//! The operator: the only program of ours that talks to Kubernetes.
//!
//! It turns `DataStream` objects into pools of shard pods, placements and credentials, and serves
//! the control contract to gateways and shard servers. It must not know how a stream is stored or
//! which protocol asks. Start with [`config`] (what an administrator sets), [`pools`] (what is made
//! of it) and [`controllers::data_stream`].

pub mod accounts;
pub mod admin;
pub mod apply;
pub mod call_limit;
pub mod calls;
pub mod cli;
pub mod config;
pub mod context;
pub mod contract;
pub mod controllers;
pub mod events;
pub mod failure;
pub mod lease;
pub mod mended;
pub mod metrics;
pub mod names;
pub mod plan;
pub mod pools;
pub mod pulse;
pub mod random_key;
pub mod reach;
pub mod run;
pub mod steer;
pub mod telemetry;
pub mod watched;
