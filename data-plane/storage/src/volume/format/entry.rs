//! An entry of a WAL frame's body: a batch, or a change to shards or rows.
//! Described in `docs/formats/wal.md`.

use bytes::Bytes;
use millstream_types::ShardUid;

use super::FormatError;
use super::batch::Batch;
use super::bytes_read::{BytesRead, length_u32};
use crate::store::Change;

const TAG_BATCH: u8 = 1;
const TAG_OPEN_SHARD: u8 = 2;
const TAG_SEAL_SHARD: u8 = 3;
const TAG_TRIM_SHARD: u8 = 4;
const TAG_DROP_SHARD: u8 = 5;
const TAG_KEEP_SHARD: u8 = 6;
const TAG_PUT_ROW: u8 = 7;
const TAG_DELETE_ROW: u8 = 8;
/// Tag and length.
pub(crate) const HEADER_BYTES: usize = 5;

/// What one entry of the log did.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Batch(Batch),
    Change(Change),
}

impl Entry {
    /// Reads all entries of a frame's body.
    pub(crate) fn decode_all(body: &Bytes) -> Result<Vec<Self>, FormatError> {
        let mut entries = Vec::new();
        let mut read = BytesRead::new(body);
        while !read.is_empty() {
            let tag = read.u8()?;
            let len = read.length()?;
            let start = read.position();
            read.take(len)?;
            entries.push(Self::decode(tag, body.slice(start..start + len))?);
        }
        Ok(entries)
    }

    fn decode(tag: u8, payload: Bytes) -> Result<Self, FormatError> {
        let mut read = BytesRead::new(&payload);
        let change = match tag {
            TAG_BATCH => return Batch::decode(payload).map(Self::Batch),
            TAG_OPEN_SHARD => Change::OpenShard(read.shard()?),
            TAG_SEAL_SHARD => Change::SealShard(read.shard()?),
            TAG_TRIM_SHARD => Change::TrimShard {
                shard: read.shard()?,
                before: read.u64()?,
            },
            TAG_DROP_SHARD => Change::DropShard(read.shard()?),
            TAG_KEEP_SHARD => Change::KeepShard {
                shard: read.shard()?,
                keep_ms: read.u64()?,
            },
            TAG_PUT_ROW => {
                let key_len = read.length()?;
                let key_at = read.position();
                read.take(key_len)?;
                Change::PutRow {
                    key: payload.slice(key_at..key_at + key_len),
                    value: payload.slice(key_at + key_len..),
                }
            },
            TAG_DELETE_ROW => Change::DeleteRow {
                key: payload.clone(),
            },
            _ => return Err(FormatError::Field("entry tag")),
        };
        Ok(Self::Change(change))
    }
}

/// Begins a batch entry; the batch follows, then [`finish_batch`].
pub(crate) fn begin_batch(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.push(TAG_BATCH);
    out.extend_from_slice(&[0; 4]);
    start
}

/// Writes the length of the batch entry that began at `start`.
pub(crate) fn finish_batch(out: &mut [u8], start: usize) {
    let len = length_u32(out.len() - start - HEADER_BYTES);
    out[start + 1..start + HEADER_BYTES].copy_from_slice(&len.to_le_bytes());
}

/// Most bytes that `change` takes in a frame.
pub(crate) fn change_len(change: &Change) -> usize {
    let fixed = HEADER_BYTES + 24;
    match change {
        Change::PutRow { key, value } => fixed + key.len() + value.len(),
        Change::DeleteRow { key } => fixed + key.len(),
        _ => fixed,
    }
}

/// Appends the entry of `change`.
pub(crate) fn encode_change(out: &mut Vec<u8>, change: &Change) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let shard = |out: &mut Vec<u8>, shard: ShardUid| out.extend_from_slice(&shard.0.to_le_bytes());
    let tag = match change {
        Change::OpenShard(uid) => {
            shard(out, *uid);
            TAG_OPEN_SHARD
        },
        Change::SealShard(uid) => {
            shard(out, *uid);
            TAG_SEAL_SHARD
        },
        Change::TrimShard { shard: uid, before } => {
            shard(out, *uid);
            out.extend_from_slice(&before.to_le_bytes());
            TAG_TRIM_SHARD
        },
        Change::DropShard(uid) => {
            shard(out, *uid);
            TAG_DROP_SHARD
        },
        Change::KeepShard {
            shard: uid,
            keep_ms,
        } => {
            shard(out, *uid);
            out.extend_from_slice(&keep_ms.to_le_bytes());
            TAG_KEEP_SHARD
        },
        Change::PutRow { key, value } => {
            out.extend_from_slice(&length_u32(key.len()).to_le_bytes());
            out.extend_from_slice(key);
            out.extend_from_slice(value);
            TAG_PUT_ROW
        },
        Change::DeleteRow { key } => {
            out.extend_from_slice(key);
            TAG_DELETE_ROW
        },
    };
    out[start] = tag;
    let len = length_u32(out.len() - start - HEADER_BYTES);
    out[start + 1..start + HEADER_BYTES].copy_from_slice(&len.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change() -> impl Strategy<Value = Change> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..60).prop_map(Bytes::from);
        let uid = || any::<u128>().prop_map(ShardUid);
        prop_oneof![
            uid().prop_map(Change::OpenShard),
            uid().prop_map(Change::SealShard),
            (uid(), any::<u64>()).prop_map(|(shard, before)| Change::TrimShard { shard, before }),
            uid().prop_map(Change::DropShard),
            (uid(), any::<u64>()).prop_map(|(shard, keep_ms)| Change::KeepShard { shard, keep_ms }),
            (bytes(), bytes()).prop_map(|(key, value)| Change::PutRow { key, value }),
            bytes().prop_map(|key| Change::DeleteRow { key }),
        ]
    }

    proptest! {
        #[test]
        fn changes_read_back_as_written(changes in prop::collection::vec(change(), 0..10)) {
            let mut body = Vec::new();
            let mut bound = 0;
            for change in &changes {
                encode_change(&mut body, change);
                bound += change_len(change);
            }
            prop_assert!(body.len() <= bound);
            let read = Entry::decode_all(&Bytes::from(body)).expect("just written");
            let read: Vec<Change> = read
                .into_iter()
                .map(|entry| match entry {
                    Entry::Change(change) => change,
                    Entry::Batch(_) => panic!("no batch was written"),
                })
                .collect();
            prop_assert_eq!(read, changes);
        }

        #[test]
        fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _unused = Entry::decode_all(&Bytes::from(bytes));
        }
    }
}
