//! A seeded simulation of gateways, shard servers and the operator: the real code over a simulated
//! network, storage and clock, with faults, under the history checker.
//!
//! `docs/guides/simulation.md` says how to run it and what is checked. Start with [`run::run`].

mod api_server;
mod clock;
mod faults;
mod gateway;
mod history;
mod layout;
mod member;
mod mischief;
mod net;
mod operator;
mod planted;
mod random;
mod run;
mod seeds;
mod shard_server;
mod store;
mod workload;
