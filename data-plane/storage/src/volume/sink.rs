//! From the log into one segment file per shard, and the checkpoint that makes it count.

pub(crate) mod checkpoint;
pub(crate) mod files;
pub(crate) mod lane;
pub(crate) mod segments;
