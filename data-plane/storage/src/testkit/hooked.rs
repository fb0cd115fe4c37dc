//! The store in memory, with hooks where a test makes it fail, wait, or end.

use bytes::Bytes;
use millstream_types::{Millis, ShardUid};

use crate::memory::MemoryStore;
use crate::store::{
    Append, AppendError, Appended, ApplyError, Change, Read, ReadError, ReadLimit, ShardLog,
    ShardStatus, ShardStore, StoreError,
};

/// What an append answers.
pub type Answers = Result<Vec<Result<Appended, AppendError>>, StoreError>;

/// What a test does to a store. An effect that is not awaited does not happen.
pub trait Hooks: Send + Sync + 'static {
    /// Around every append.
    fn append(
        &self,
        effect: impl Future<Output = Answers> + Send,
    ) -> impl Future<Output = Answers> + Send {
        effect
    }

    /// Around every change.
    fn apply(
        &self,
        effect: impl Future<Output = Result<(), ApplyError>> + Send,
    ) -> impl Future<Output = Result<(), ApplyError>> + Send {
        effect
    }

    /// Before every read of records, and search for a time.
    ///
    /// # Errors
    /// The read's.
    fn read(&self) -> Result<(), ReadError> {
        Ok(())
    }
}

/// A store with hooks.
pub struct Hooked<H> {
    /// What it is in truth.
    pub store: MemoryStore,
    /// The test's.
    pub hooks: H,
}

impl<H: Hooks> ShardLog for Hooked<H> {
    async fn append(&self, appends: Vec<Append>) -> Answers {
        self.hooks.append(self.store.append(appends)).await
    }

    async fn read(&self, shard: ShardUid, from: u64, limit: ReadLimit) -> Result<Read, ReadError> {
        self.hooks.read()?;
        self.store.read(shard, from, limit).await
    }

    async fn number_at(&self, shard: ShardUid, time: Millis) -> Result<u64, ReadError> {
        self.hooks.read()?;
        self.store.number_at(shard, time).await
    }

    async fn wait_past(&self, shard: ShardUid, number: u64) {
        self.store.wait_past(shard, number).await;
    }

    async fn status(&self, shard: ShardUid) -> Result<ShardStatus, ReadError> {
        self.store.status(shard).await
    }
}

impl<H: Hooks> ShardStore for Hooked<H> {
    async fn apply(&self, changes: Vec<Change>) -> Result<(), ApplyError> {
        self.hooks.apply(self.store.apply(changes)).await
    }

    fn status_now(&self, shard: ShardUid) -> Option<ShardStatus> {
        self.store.status_now(shard)
    }

    fn rows(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        self.store.rows(prefix)
    }

    fn retention_now(&self) -> Option<Millis> {
        self.store.retention_now()
    }
}
