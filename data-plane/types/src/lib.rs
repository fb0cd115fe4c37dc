//! The words of Kinesis as types: names, ARNs, hash keys, shard ids, sequence numbers, limits.
//!
//! Everything here is parsed once, at the edge, and is then valid by construction: past the edge
//! nothing sees a `String` that has a grammar. No I/O, no clock, no randomness, none of our other
//! crates. Start with [`StreamName`] and [`SequenceNumber`].

pub mod arn;
pub mod caps;
pub mod group;
pub mod hash_key;
pub mod metric;
pub mod name;
pub mod sequence;
pub mod shard;
pub mod time;
pub mod uid;

pub use arn::StreamArn;
pub use group::{Epoch, GroupId};
pub use hash_key::{HashKey, HashKeyRange};
pub use metric::{ShardMetric, ShardMetrics};
pub use name::{AccountId, PartitionKey, Region, Scope, StreamMode, StreamName};
pub use sequence::SequenceNumber;
pub use shard::ShardId;
pub use time::Millis;
pub use uid::{ShardUid, StreamUid};
