//! `ds/shards/<stream uid>/<part>`: up to 4,096 shards of a stream's map, by id.

use std::sync::Arc;

use bytes::Bytes;
use millstream_types::{HashKey, HashKeyRange, ShardId, ShardUid, StreamUid, sequence};

use super::RowError;
use crate::counters::ShardCounters;
use crate::shard::Shard;
use crate::wire::{Reader, Writer};

pub(crate) const PREFIX: &[u8] = b"ds/shards/";
const VERSION: u8 = 1;

/// Shards in one row, all rows but the last are full. Persisted: keep stable. 60 bytes each, so
/// that a row is a quarter of what the store allows.
pub(crate) const SHARDS_PER_ROW: usize = 4096;

pub(crate) fn key(uid: StreamUid, part: u16) -> Bytes {
    Bytes::from(format!("ds/shards/{uid}/{part:04x}"))
}

pub(crate) fn decode_key(key: &[u8]) -> Result<(StreamUid, u16), RowError> {
    let decoded = std::str::from_utf8(key).ok().and_then(|text| {
        let (uid, part) = text.strip_prefix("ds/shards/")?.split_once('/')?;
        let uid = uid.parse().ok()?;
        Some((uid, u16::from_str_radix(part, 16).ok()?))
    });
    match decoded {
        Some((uid, part)) if self::key(uid, part) == key => Ok((uid, part)),
        _ => Err(RowError::Malformed("its key is not of the format")),
    }
}

pub(crate) fn encode(shards: &[Shard]) -> Vec<u8> {
    assert!(shards.len() <= SHARDS_PER_ROW, "the caller splits the map");
    let count = u32::try_from(shards.len()).expect("at most 4,096");
    let mut row = Writer::with_capacity(5 + 60 * shards.len());
    row.u8(VERSION).u32(count);
    for shard in shards {
        row.u128(shard.uid.0)
            .u32(shard.id.0)
            .u64(shard.created_s)
            .u128(shard.range.start.0)
            .u128(shard.range.end.0);
    }
    row.finish()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Shard>, RowError> {
    let mut row = Reader::new(bytes);
    match row.u8()? {
        VERSION => {},
        0 => return Err(RowError::Malformed("its version is 0")),
        newer => return Err(RowError::Newer(newer)),
    }
    let count = row.u32()?;
    let mut shards = Vec::new();
    for _ in 0..count {
        shards.push(Shard {
            uid: ShardUid(row.u128()?),
            id: ShardId(row.u32()?),
            created_s: row.u64()?,
            range: HashKeyRange {
                start: HashKey(row.u128()?),
                end: HashKey(row.u128()?),
            },
            counters: Arc::new(ShardCounters::default()),
        });
    }
    row.end()?;
    if shards.iter().any(|s| s.created_s > sequence::SECONDS_MAX) {
        return Err(RowError::Malformed(
            "a shard's creation second is too large",
        ));
    }
    Ok(shards)
}
