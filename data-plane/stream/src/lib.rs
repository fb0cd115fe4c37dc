//! Kinesis Data Streams over shards: streams and their shard maps, puts, iterators, reads,
//! retention. Puts and reads need a [`ShardLog`], here or behind a network; what makes, changes and
//! removes streams needs the [`ShardStore`] of this process.
//!
//! It knows AWS's semantics and messages; it must not know HTTP, JSON, signatures or files. Every
//! operation is a method of [`Streams`], in the file of its concern: `lifecycle`, `append`,
//! `iterator`, `read`, `list`. Over several groups: `home` makes and removes streams, `guests` are
//! their shards elsewhere, `sweep` removes those of a home that has lost its rows, `loss` knows
//! those that a group has lost, `catalogue` tells what there is, `replica` is a copy of it. Start
//! with [`Streams`] and [`Stream`], then `docs/formats/`.

pub mod append;
pub mod catalogue;
pub mod counters;
pub mod error;
pub mod guests;
pub mod home;
pub mod iterator;
pub mod lifecycle;
pub mod list;
pub mod loss;
pub mod read;
pub mod replica;
pub mod retention;
pub mod shard;
pub mod stream;
pub mod streams;
pub mod sweep;
pub mod token;

mod amazon_time;
mod registry;
mod rows;
mod wire;

/// The store beneath, for those who hold a [`Streams`] of any of them or stand in for one.
pub use millstream_storage::{
    Append, AppendError, Appended, NewRecord, Read, ReadError, ReadLimit, Record, ShardLog,
    ShardStatus, ShardStore, StoreError,
};

pub use append::{PutEntry, PutOutput, PutRecordsOutput};
pub use error::Kind;
pub use guests::{Decision, DecisionPoint, Guests};
pub use home::{Home, PeerError, PeerGroups, Spread};
pub use iterator::StartingPosition;
pub use lifecycle::{NewStream, SettingsChange};
pub use list::{Listed, ShardFilter, ShardsFrom, ShardsPage, StreamsFrom, StreamsPage};
pub use read::{GetRecordsOutput, ReadRecord};
pub use replica::{News, Tenants};
pub use shard::{Shard, ShardMap};
pub use stream::{Settings, ShardDescription, Status, Stream};
pub use streams::{Options, Streams};
pub use token::TokenKey;
