//! The rows that keep streams: one file per row type, with its key, its bytes and their tests.
//!
//! The formats are in `docs/formats/stream-rows.md`. The store below keeps rows durable and
//! checks their bytes; what is checked here is that they mean something.

pub(crate) mod guests_row;
pub(crate) mod shards_row;
pub(crate) mod stream_row;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millstream_storage::{Change, ShardStore};
use millstream_types::{StreamUid, caps};

use crate::error::OpenError;
use crate::shard::{Shard, ShardMap};
use crate::stream::Stream;
use crate::wire::Malformed;

/// Why a row was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowError {
    Newer(u8),
    Malformed(&'static str),
}

impl From<Malformed> for RowError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error.0)
    }
}

impl RowError {
    pub(crate) fn at(self, key: &[u8]) -> OpenError {
        let key = String::from_utf8_lossy(key).into_owned();
        match self {
            Self::Newer(version) => OpenError::Newer { key, version },
            Self::Malformed(reason) => OpenError::Corrupt { key, reason },
        }
    }
}

/// All streams whose rows are in the store.
pub(crate) fn load<S: ShardStore>(store: &S) -> Result<Vec<Stream>, OpenError> {
    let mut shards: BTreeMap<StreamUid, Vec<Shard>> = BTreeMap::new();
    for (key, value) in store.rows(shards_row::PREFIX) {
        let (uid, part) = shards_row::decode_key(&key).map_err(|e| e.at(&key))?;
        let part_shards = shards_row::decode(&value).map_err(|e| e.at(&key))?;
        let all = shards.entry(uid).or_default();
        if usize::from(part) * shards_row::SHARDS_PER_ROW != all.len() {
            return Err(RowError::Malformed("the row before it is missing or short").at(&key));
        }
        all.extend(part_shards);
    }
    let mut streams = Vec::new();
    for (key, value) in store.rows(stream_row::PREFIX) {
        let row = stream_row::decode(&value).map_err(|e| e.at(&key))?;
        if stream_row::key(row.uid) != key {
            return Err(RowError::Malformed("its key is of another stream").at(&key));
        }
        let own = shards.remove(&row.uid).unwrap_or_default();
        let is_lost = |shard: &Shard| shard.is_at_home() && store.status_now(shard.uid).is_none();
        if own.iter().any(is_lost) {
            return Err(RowError::Malformed("a shard of the stream has no log").at(&key));
        }
        let map = ShardMap::new(own)
            .map_err(|_| RowError::Malformed("its shards do not cover the hash keys").at(&key))?;
        streams.push(row.into_stream(Arc::new(map)));
    }
    if let Some(uid) = shards.keys().next() {
        let key = shards_row::key(*uid, 0);
        return Err(RowError::Malformed("it has no stream row").at(&key));
    }
    Ok(streams)
}

/// The changes that make a stream durable: its rows, and the logs of the shards that live beside
/// them.
pub(crate) fn create_changes(stream: &Stream) -> Vec<Change> {
    let shards = stream.map.shards();
    let at_home = shards.iter().filter(|shard| shard.is_at_home());
    let mut changes: Vec<Change> = at_home.map(|s| Change::OpenShard(s.uid)).collect();
    if stream.settings.retention_hours != caps::RETENTION_HOURS_MIN {
        changes.extend(keep_shards(stream));
    }
    for (part, row) in (0u16..).zip(shards.chunks(shards_row::SHARDS_PER_ROW)) {
        changes.push(Change::PutRow {
            key: shards_row::key(stream.uid, part),
            value: shards_row::encode(row).into(),
        });
    }
    changes.push(put_stream(stream));
    changes
}

/// The changes that make a stream's new settings durable.
pub(crate) fn update_changes(before: &Stream, after: &Stream) -> Vec<Change> {
    let mut changes = vec![put_stream(after)];
    if before.settings.retention_hours != after.settings.retention_hours {
        changes.extend(keep_shards(after));
    }
    changes
}

/// How long the store's segments are to last; a new shard has the shortest retention.
fn keep_shards(stream: &Stream) -> impl Iterator<Item = Change> {
    let keep_ms = stream.retention_ms();
    let shards = stream.map.shards().iter();
    let at_home = shards.filter(|shard| shard.is_at_home());
    at_home.map(move |shard| Change::KeepShard {
        shard: shard.uid,
        keep_ms,
    })
}

/// The change that makes a stream's status and settings durable.
pub(crate) fn put_stream(stream: &Stream) -> Change {
    Change::PutRow {
        key: stream_row::key(stream.uid),
        value: Bytes::from(stream_row::encode(stream)),
    }
}

/// The changes that remove a stream, with the logs of the shards that live beside its rows.
pub(crate) fn delete_changes(stream: &Stream) -> Vec<Change> {
    let shards = stream.map.shards();
    let mut changes = vec![Change::DeleteRow {
        key: stream_row::key(stream.uid),
    }];
    for (part, _) in (0u16..).zip(shards.chunks(shards_row::SHARDS_PER_ROW)) {
        changes.push(Change::DeleteRow {
            key: shards_row::key(stream.uid, part),
        });
    }
    let at_home = shards.iter().filter(|shard| shard.is_at_home());
    changes.extend(at_home.map(|shard| Change::DropShard(shard.uid)));
    changes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millstream_types::{HashKeyRange, ShardId, ShardUid};

    use super::*;

    pub(crate) fn one_shard_map() -> ShardMap {
        let shard = Shard {
            uid: ShardUid(1),
            id: ShardId(0),
            created_s: 1_700_000_000,
            range: HashKeyRange::ALL,
            group: None,
            counters: Arc::default(),
        };
        ShardMap::new(vec![shard]).expect("one shard covers the space")
    }
}
