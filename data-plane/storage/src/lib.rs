//! Durable, ordered shards on local files.
//!
//! An append is answered when it is on stable storage, not before. One log group (one write-ahead
//! log with one writer) holds many shards; behind it every shard has segments of its own.
//! This crate knows bytes and numbers; it must not know AWS, HTTP or streams.
//! Start with [`ShardStore`], then `docs/formats/`.

pub mod disk;
#[cfg(feature = "testkit")]
pub mod history;
#[cfg(feature = "testkit")]
pub mod memory;
pub mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod volume;

pub use store::{
    Append, AppendError, Appended, ApplyError, Change, NewRecord, Read, ReadError, ReadLimit,
    Record, ShardLog, ShardStatus, ShardStore, StoreError,
};
