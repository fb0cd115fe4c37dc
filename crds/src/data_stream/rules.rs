//! The CEL rules of the `DataStream` definition: what the API server checks beyond the schema.
//!
//! Each has its twin in `validate.rs`; the table in `tests/manifests/` holds them together.

/// Without `streamName` the object's name stands for it and must fit.
pub(super) const NAME_FITS: &str = "has(self.spec.streamName) || size(self.metadata.name) <= 128";

/// The name that clients use never changes, however it is written.
pub(super) const NAME_STAYS: &str = "(has(self.spec.streamName) ? self.spec.streamName : \
     self.metadata.name) == (has(oldSelf.spec.streamName) ? oldSelf.spec.streamName : \
     oldSelf.metadata.name)";

/// The load counts the shards, or `shardCount` does.
pub(super) const COUNT_OR_ON_DEMAND: &str =
    "self.streamMode != 'ON_DEMAND' || !has(self.shardCount)";

/// AWS's length of a tag key.
pub(super) const TAG_KEY_LENGTH: &str = "self.all(key, size(key) >= 1 && size(key) <= 128)";

/// AWS's own prefix.
pub(super) const TAG_KEY_FREE: &str = "self.all(key, !key.startsWith('aws:'))";
