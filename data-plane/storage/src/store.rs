//! The interface to shards, in two halves: [`ShardLog`] is what puts and reads need, wherever the
//! shard lives; [`ShardStore`] adds what only the process that holds the shards can do. The volume
//! engine implements both, and so does the in-memory model that the tests hold against the engine.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use millstream_types::{Millis, ShardUid};

/// A record to append. The store gives it its number and its arrival time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// Partition key, at most 65,535 bytes.
    pub key: Bytes,
    /// The payload, opaque.
    pub data: Bytes,
}

/// A durable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Place in the shard: dense, from 1.
    pub number: u64,
    /// When the store took it; never goes back in a shard.
    pub arrival: Millis,
    /// Partition key.
    pub key: Bytes,
    /// The payload.
    pub data: Bytes,
}

/// Records for one shard; they get adjacent numbers in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The shard.
    pub shard: ShardUid,
    /// At least one record.
    pub records: Vec<NewRecord>,
}

/// Where the records of one [`Append`] are now durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Number of the first record; the others follow without a gap.
    pub first: u64,
    /// Arrival time of all of them.
    pub arrival: Millis,
}

/// A change to shards or rows. Rows are small metadata of the layers above (streams, shard maps,
/// consumers): the store keeps them durable and opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes an empty shard. It must not exist.
    OpenShard(ShardUid),
    /// Ends a shard: later appends are refused, reads go on. Sealing twice is nothing.
    SealShard(ShardUid),
    /// Hides every record below `before`, and frees their space in whole segments. Never moves
    /// back; a `before` above the next number means the next number.
    TrimShard {
        /// The shard.
        shard: ShardUid,
        /// First number that stays readable.
        before: u64,
    },
    /// Says for how long records of a shard are to be kept. It decides only how old a segment grows
    /// before the next begins (a 24th of it, at least an hour), so that space comes free in time;
    /// trimming is `TrimShard`. A new shard has 24 hours.
    KeepShard {
        /// The shard.
        shard: ShardUid,
        /// Milliseconds.
        keep_ms: u64,
    },
    /// Removes a shard with its records. Removing an absent shard is nothing.
    DropShard(ShardUid),
    /// Sets a row.
    PutRow {
        /// At most 1,024 bytes.
        key: Bytes,
        /// At most 1 MiB.
        value: Bytes,
    },
    /// Removes a row; an absent one is nothing.
    DeleteRow {
        /// Key of the row.
        key: Bytes,
    },
}

/// How much a read may return. At least one record is returned if there is one, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Most records.
    pub records: usize,
    /// Most bytes of keys and data.
    pub bytes: usize,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Adjacent records; empty when there is nothing durable at or after the number asked for.
    pub records: Vec<Record>,
    /// Number to go on from. It is above the number asked for when trimmed records were skipped.
    pub next: u64,
    /// The shard's state when the read was made.
    pub status: ShardStatus,
}

/// A shard as readers see it: durable records only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardStatus {
    /// Oldest number that can be read (the trim point); equals `next` when there is none.
    pub first: u64,
    /// Number that the next record to become durable will have; 1 in a new shard.
    pub next: u64,
    /// Arrival time of the newest durable record; 0 in a new shard.
    pub last_arrival: Millis,
    /// Whether the shard takes no more records.
    pub sealed: bool,
}

/// Why one [`Append`] of a request failed. Nothing of it is or will be durable, unless it says
/// [`AppendError::Unknown`]. A store in this process answers the first two only: what it refuses
/// else, it refuses as a whole ([`StoreError`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No such shard (it may have been dropped).
    #[error("the shard does not exist")]
    NoShard,
    /// The shard was sealed.
    #[error("the shard is sealed")]
    Sealed,
    /// A memory budget of the shard's server, or of the way there, is used up; try again.
    #[error("a memory budget on the way to the shard is used up")]
    Overloaded,
    /// The disk of the shard's server is full; try again once there is space.
    #[error("the disk of the shard's server is full")]
    NoSpace,
    /// The shard's server could not be reached, or does not serve the shard: nothing was sent or
    /// everything was refused.
    #[error("the shard's server cannot be reached")]
    Unreachable,
    /// The answer was lost, or the server closed in between: whether the records are durable is not
    /// known. They must not be sent again.
    #[error("whether the records are durable is not known")]
    Unknown,
}

/// Why a whole request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A memory budget is used up. Nothing is durable; try again.
    #[error("a memory budget of the store is used up")]
    Overloaded,
    /// The disk is full. Nothing is durable; try again once there is space.
    #[error("the data directory's disk is full")]
    NoSpace,
    /// The store is shutting down or failed while the request was under way: whether it is durable
    /// is not known until the next open.
    #[error("the store is closed")]
    Closed,
}

/// Why changes were refused; none of them was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The store refused the request as a whole.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `OpenShard` of a shard that exists.
    #[error("the shard exists already")]
    ShardExists,
    /// A change to a shard that does not exist.
    #[error("the shard does not exist")]
    NoShard,
    /// A row's key or value is over its limit.
    #[error("a row is over its size limit")]
    RowTooLarge,
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No such shard.
    #[error("the shard does not exist")]
    NoShard,
    /// The read-ahead budget is used up; try again.
    #[error("the read budget of the store is used up")]
    Overloaded,
    /// Stored bytes fail their checksum.
    #[error("a stored batch is corrupt: {file} at {offset}")]
    Corrupt {
        /// File below the data directory.
        file: String,
        /// Byte offset in the file.
        offset: u64,
    },
    /// The disk answered an error.
    #[error("reading a segment failed: {0}")]
    Io(String),
    /// The shard's server could not be reached, or did not answer.
    #[error("the shard's server cannot be reached: {0}")]
    Unreachable(String),
}

/// Ordered, durable shards, in this process or behind a network.
///
/// A request that returned `Ok` is on stable storage. Requests of one caller that wait for one
/// another take effect in that order; readers see durable records only.
pub trait ShardLog: Send + Sync + 'static {
    /// Appends to one or several shards. Each [`Append`] succeeds or fails alone; the answers stand
    /// in the order of the request. An outer error says that none of them was made durable
    /// (except [`StoreError::Closed`]: not known).
    fn append(
        &self,
        appends: Vec<Append>,
    ) -> impl Future<Output = Result<Vec<Result<Appended, AppendError>>, StoreError>> + Send;

    /// Durable records from `from` on (from the trim point if that is higher). At or above the next
    /// number there are none, and the read goes on at `from`.
    fn read(
        &self,
        shard: ShardUid,
        from: u64,
        limit: ReadLimit,
    ) -> impl Future<Output = Result<Read, ReadError>> + Send;

    /// Number of the oldest readable record that arrived at or after `time`; the next number when
    /// there is none.
    fn number_at(
        &self,
        shard: ShardUid,
        time: Millis,
    ) -> impl Future<Output = Result<u64, ReadError>> + Send;

    /// Waits until the shard's next number is above `number`, or the shard is sealed or dropped.
    /// May return early: who needs to know looks.
    fn wait_past(&self, shard: ShardUid, number: u64) -> impl Future<Output = ()> + Send;

    /// The shard's state.
    fn status(
        &self,
        shard: ShardUid,
    ) -> impl Future<Output = Result<ShardStatus, ReadError>> + Send;
}

/// The shards of this process, with small metadata rows: what makes and removes shards.
pub trait ShardStore: ShardLog {
    /// Applies all of `changes`, in order and atomically, or none.
    fn apply(&self, changes: Vec<Change>) -> impl Future<Output = Result<(), ApplyError>> + Send;

    /// The shard's state, or none when there is no such shard.
    fn status_now(&self, shard: ShardUid) -> Option<ShardStatus>;

    /// Durable rows whose key starts with `prefix`, ordered by key.
    fn rows(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)>;

    /// The wall clock where it can be trusted for retention; none while a jump of the clock is
    /// being waited out.
    fn retention_now(&self) -> Option<Millis>;
}

/// A shared log is a log.
impl<S: ShardLog> ShardLog for Arc<S> {
    fn append(
        &self,
        appends: Vec<Append>,
    ) -> impl Future<Output = Result<Vec<Result<Appended, AppendError>>, StoreError>> + Send {
        S::append(self, appends)
    }

    fn read(
        &self,
        shard: ShardUid,
        from: u64,
        limit: ReadLimit,
    ) -> impl Future<Output = Result<Read, ReadError>> + Send {
        S::read(self, shard, from, limit)
    }

    fn number_at(
        &self,
        shard: ShardUid,
        time: Millis,
    ) -> impl Future<Output = Result<u64, ReadError>> + Send {
        S::number_at(self, shard, time)
    }

    fn wait_past(&self, shard: ShardUid, number: u64) -> impl Future<Output = ()> + Send {
        S::wait_past(self, shard, number)
    }

    fn status(
        &self,
        shard: ShardUid,
    ) -> impl Future<Output = Result<ShardStatus, ReadError>> + Send {
        S::status(self, shard)
    }
}

/// A shared store is a store.
impl<S: ShardStore> ShardStore for Arc<S> {
    fn apply(&self, changes: Vec<Change>) -> impl Future<Output = Result<(), ApplyError>> + Send {
        S::apply(self, changes)
    }

    fn status_now(&self, shard: ShardUid) -> Option<ShardStatus> {
        S::status_now(self, shard)
    }

    fn rows(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        S::rows(self, prefix)
    }

    fn retention_now(&self) -> Option<Millis> {
        S::retention_now(self)
    }
}
