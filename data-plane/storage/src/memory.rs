//! An honest [`ShardStore`] in memory: the model that the engine is held against, and the store
//! of the tests of the layers above.
//!
//! It must not know any code of the engine (no batches, frames or indexes): what both would get
//! wrong together, no test would see. It holds plain vectors and keeps nothing on a disk.
//! Start with [`MemoryStore`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::Clock;
use millstream_types::{Millis, ShardUid};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::store::{
    Append, AppendError, Appended, ApplyError, Change, Read, ReadError, ReadLimit, Record,
    ShardLog, ShardStatus, ShardStore, StoreError,
};

/// Most bytes of a row's key.
const ROW_KEY_BYTES_MAX: usize = 1_024;
/// Most bytes of a row's value.
const ROW_VALUE_BYTES_MAX: usize = 1 << 20;

/// One shard of the model.
#[derive(Clone, Debug)]
struct Shard {
    /// Every record since 1, trimmed ones too.
    records: Vec<Record>,
    /// The trim point.
    first: u64,
    sealed: bool,
}

impl Shard {
    fn new() -> Self {
        Self {
            records: Vec::new(),
            first: 1,
            sealed: false,
        }
    }

    fn next(&self) -> u64 {
        self.records.len() as u64 + 1
    }

    fn status(&self) -> ShardStatus {
        ShardStatus {
            first: self.first,
            next: self.next(),
            last_arrival: self.records.last().map_or(Millis(0), |r| r.arrival),
            sealed: self.sealed,
        }
    }

    /// Records that can be read, from `from` on.
    fn readable(&self, from: u64) -> &[Record] {
        let skipped = usize::try_from(from.max(self.first) - 1).unwrap_or(usize::MAX);
        self.records.get(skipped..).unwrap_or_default()
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    shards: HashMap<ShardUid, Shard>,
    rows: BTreeMap<Bytes, Bytes>,
    /// What appends and changes are answered with while a test wants them refused.
    refusal: Option<StoreError>,
    retention_paused: bool,
}

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Woken after every change to any shard.
    changed: Notify,
}

/// The store. A clone is another handle to the same shards.
#[derive(Clone)]
pub struct MemoryStore(Arc<Shared>);

impl MemoryStore {
    /// An empty store that takes arrival times from `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            clock,
            state: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// A store of its own with what this one holds now, as a copy of a disk.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self(Arc::new(Shared {
            clock: Arc::clone(&self.0.clock),
            state: Mutex::new(self.0.state.lock().clone()),
            changed: Notify::new(),
        }))
    }

    /// From now on appends and changes are refused with `refusal` and leave nothing behind; none
    /// takes them again. Reads go on.
    pub fn refuse(&self, refusal: Option<StoreError>) {
        self.0.state.lock().refusal = refusal;
    }

    /// Whether [`ShardStore::retention_now`] answers none, as after a jump of the wall clock.
    pub fn pause_retention(&self, paused: bool) {
        self.0.state.lock().retention_paused = paused;
    }

    /// Uids of all shards, in order.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardUid> {
        let mut uids: Vec<_> = self.0.state.lock().shards.keys().copied().collect();
        uids.sort_unstable();
        uids
    }
}

impl State {
    fn append(&mut self, append: Append, now: Millis) -> Result<Appended, AppendError> {
        let shard = self.shards.get_mut(&append.shard);
        let shard = shard.ok_or(AppendError::NoShard)?;
        if shard.sealed {
            return Err(AppendError::Sealed);
        }
        let first = shard.next();
        let arrival = now.max(shard.status().last_arrival);
        for record in append.records {
            shard.records.push(Record {
                number: shard.next(),
                arrival,
                key: record.key,
                data: record.data,
            });
        }
        Ok(Appended { first, arrival })
    }

    /// Whether all of `changes` can be applied in their order; touches nothing.
    fn check(&self, changes: &[Change]) -> Result<(), ApplyError> {
        let mut made_or_dropped: HashMap<ShardUid, bool> = HashMap::new();
        for change in changes {
            let exists = |uid: &ShardUid| {
                let here = || self.shards.contains_key(uid);
                made_or_dropped.get(uid).copied().unwrap_or_else(here)
            };
            match change {
                Change::OpenShard(uid) if exists(uid) => return Err(ApplyError::ShardExists),
                Change::SealShard(uid)
                | Change::TrimShard { shard: uid, .. }
                | Change::KeepShard { shard: uid, .. }
                    if !exists(uid) =>
                {
                    return Err(ApplyError::NoShard);
                },
                Change::PutRow { key, value }
                    if key.len() > ROW_KEY_BYTES_MAX || value.len() > ROW_VALUE_BYTES_MAX =>
                {
                    return Err(ApplyError::RowTooLarge);
                },
                Change::OpenShard(uid) => {
                    made_or_dropped.insert(*uid, true);
                },
                Change::DropShard(uid) => {
                    made_or_dropped.insert(*uid, false);
                },
                _ => {},
            }
        }
        Ok(())
    }

    /// Applies one change of a list that [`State::check`] found good.
    fn apply(&mut self, change: Change) {
        match change {
            Change::OpenShard(uid) => {
                self.shards.insert(uid, Shard::new());
            },
            Change::SealShard(uid) => {
                if let Some(shard) = self.shards.get_mut(&uid) {
                    shard.sealed = true;
                }
            },
            Change::TrimShard { shard: uid, before } => {
                if let Some(shard) = self.shards.get_mut(&uid) {
                    shard.first = shard.first.max(before.min(shard.next()));
                }
            },
            // When segments are rolled is the engine's affair.
            Change::KeepShard { .. } => {},
            Change::DropShard(uid) => {
                self.shards.remove(&uid);
            },
            Change::PutRow { key, value } => {
                self.rows.insert(key, value);
            },
            Change::DeleteRow { key } => {
                self.rows.remove(&key);
            },
        }
    }

    fn read(&self, uid: ShardUid, from: u64, limit: ReadLimit) -> Result<Read, ReadError> {
        let shard = self.shards.get(&uid).ok_or(ReadError::NoShard)?;
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0usize;
        for record in shard.readable(from) {
            bytes += record.key.len() + record.data.len();
            let full = records.len() >= limit.records || bytes > limit.bytes;
            if full && !records.is_empty() {
                break;
            }
            records.push(record.clone());
        }
        let next = from.max(shard.first) + records.len() as u64;
        let status = shard.status();
        Ok(Read {
            records,
            next,
            status,
        })
    }

    fn number_at(&self, uid: ShardUid, time: Millis) -> Result<u64, ReadError> {
        let shard = self.shards.get(&uid).ok_or(ReadError::NoShard)?;
        let found = shard.readable(1).iter().find(|r| r.arrival >= time);
        Ok(found.map_or_else(|| shard.next(), |record| record.number))
    }
}

impl ShardLog for MemoryStore {
    async fn append(
        &self,
        appends: Vec<Append>,
    ) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        let now = self.0.clock.now();
        let answers = {
            let mut state = self.0.state.lock();
            if let Some(refusal) = state.refusal {
                return Err(refusal);
            }
            let each = appends.into_iter();
            each.map(|append| state.append(append, now)).collect()
        };
        self.0.changed.notify_waiters();
        Ok(answers)
    }

    async fn read(&self, shard: ShardUid, from: u64, limit: ReadLimit) -> Result<Read, ReadError> {
        self.0.state.lock().read(shard, from, limit)
    }

    async fn number_at(&self, shard: ShardUid, time: Millis) -> Result<u64, ReadError> {
        self.0.state.lock().number_at(shard, time)
    }

    async fn wait_past(&self, shard: ShardUid, number: u64) {
        loop {
            // Made before the look, so that no change between the two is missed.
            let changed = self.0.changed.notified();
            match self.status_now(shard) {
                Some(status) if !status.sealed && status.next <= number => changed.await,
                _ => return,
            }
        }
    }

    async fn status(&self, shard: ShardUid) -> Result<ShardStatus, ReadError> {
        self.status_now(shard).ok_or(ReadError::NoShard)
    }
}

impl ShardStore for MemoryStore {
    async fn apply(&self, changes: Vec<Change>) -> Result<(), ApplyError> {
        {
            let mut state = self.0.state.lock();
            if let Some(refusal) = state.refusal {
                return Err(refusal.into());
            }
            state.check(&changes)?;
            for change in changes {
                state.apply(change);
            }
        }
        self.0.changed.notify_waiters();
        Ok(())
    }

    fn status_now(&self, shard: ShardUid) -> Option<ShardStatus> {
        self.0.state.lock().shards.get(&shard).map(Shard::status)
    }

    fn rows(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let state = self.0.state.lock();
        let from_prefix = state.rows.range(Bytes::copy_from_slice(prefix)..);
        from_prefix
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn retention_now(&self) -> Option<Millis> {
        let paused = self.0.state.lock().retention_paused;
        (!paused).then(|| self.0.clock.now())
    }
}

#[cfg(test)]
mod tests;
