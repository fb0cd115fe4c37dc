//! The CEL rules of the `DataStream` definition: what the API server checks beyond the schema.
//!
//! Each has its twin in `validate.rs`; the table in `tests/manifests/` holds them together.

/// Without `streamName` the object's name stands for it and must fit.
pub(super) const NAME_FITS: &str = "has(self.spec.streamName) || size(self.metadata.name) <= 128";

/// The name that clients use never changes, however it is written.
pub(super) const NAME_STAYS: &str = "(has(self.spec.streamName) ? self.spec.streamName : \
     self.metadata.name) == (has(oldSelf.spec.streamName) ? oldSelf.spec.streamName : \
     oldSelf.metadata.name)";

/// What a stream holds was decided when it was made: taking over other records afterwards would
/// hide those it has. Only a change is judged, so that a status can always be written.
pub(super) const ADOPTED_ONCE: &str = "!has(self.spec.adoptStreamId) || \
     (has(oldSelf.spec.adoptStreamId) && \
     self.spec.adoptStreamId == oldSelf.spec.adoptStreamId) || \
     !has(oldSelf.status) || !has(oldSelf.status.streamId) || \
     self.spec.adoptStreamId == oldSelf.status.streamId";

/// A stream lies in the pool that it was made in.
pub(super) const POOL_STAYS: &str = "self == oldSelf";

/// The load counts the shards, or `shardCount` does.
pub(super) const COUNT_OR_ON_DEMAND: &str =
    "self.streamMode != 'ON_DEMAND' || !has(self.shardCount)";

/// AWS's length of a tag key.
pub(super) const TAG_KEY_LENGTH: &str = "self.all(key, size(key) >= 1 && size(key) <= 128)";

/// AWS's own prefix.
pub(super) const TAG_KEY_FREE: &str = "self.all(key, !key.startsWith('aws:'))";
