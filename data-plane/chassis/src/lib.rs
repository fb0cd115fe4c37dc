//! What every role of the process stands on: configuration, logs, metrics, memory budgets, the
//! admin port, the drain.
//!
//! Nothing here knows a stream, a shard or an AWS operation. Start with [`config::Config`], then
//! [`memory::MemoryPlan`] (how `--memory-bytes` is split) and [`metrics::Metrics`].

pub mod admin;
pub mod allocator;
pub mod budget;
pub mod config;
pub mod drain;
pub mod memory;
pub mod metrics;
pub mod telemetry;
pub mod yaml;

pub use budget::{Budget, Permit};
pub use config::{Config, ConfigError};
pub use drain::{Drain, DrainSignal};
pub use memory::MemoryPlan;
pub use metrics::Metrics;
