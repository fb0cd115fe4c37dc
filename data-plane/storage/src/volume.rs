//! The volume backing: one log group on local files.
//!
//! A commit window goes through three lanes. The **log lane** numbers the requests, writes one WAL
//! frame, syncs it, and answers (`wal::lane`). The **sink lane** moves durable batches into one
//! segment file per shard (`sink::lane`). The **checkpoint** makes the segments durable and lets
//! the WAL go (`sink::checkpoint`). Each lane is a plain struct over a [`Disk`](crate::disk::Disk)
//! and is stepped from outside: by threads in [`Engine`], by a seeded scheduler in the simulation.
//! `open` is what happens before: scan, replay, copy, fence.

pub(crate) mod buffer;
pub mod counters;
pub mod engine;
pub(crate) mod error;
pub(crate) mod format;
pub(crate) mod layout;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod read;
pub(crate) mod reserve;
pub(crate) mod retention;
pub(crate) mod shared;
pub(crate) mod sink;
#[cfg(feature = "testkit")]
pub mod stepped;
pub(crate) mod sync;
pub mod tools;
pub(crate) mod wal;
pub(crate) mod window;

pub use counters::Counters;

pub use engine::Engine;
pub use error::{Fatal, OpenError};
pub use options::Options;
