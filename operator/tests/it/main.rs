//! The operator against an API server: one in memory with faults on demand, and the real one where
//! it was built.

mod api;
mod events;
mod gateways;
mod left_out;
mod metrics_token;
mod mock;
mod pools;
mod rig;
mod silence;
mod streams;
