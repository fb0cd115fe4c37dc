//! The parts of the `millstream` program, as a library, so that they can be tested; `main.rs`
//! only calls them.
//!
//! `server_command` is `millstream server` from flags to exit code; [`start()`] brings a server up
//! inside any process. `bench` is `millstream bench`.

pub mod bench;
pub mod engine_metrics;
pub mod failure;
pub mod front;
pub mod local_control;
pub mod roles;
pub mod rpc_metrics;
pub mod server_command;
pub mod start;
pub mod storage_tool;

pub use failure::Failure;
pub use start::{Running, start};
