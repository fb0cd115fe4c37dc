//! A checkpoint: everything that the log said up to one LSN, folded into one file.
//! Described in `docs/formats/checkpoint.md`.

use bytes::Bytes;
use millstream_types::{Millis, ShardUid};

use super::FormatError;
use super::bytes_read::{BytesRead, length_u32};

const MAGIC: u32 = u32::from_le_bytes(*b"MSC1");
const VERSION: u8 = 1;
const SHARD_SEALED: u8 = 1;
const SEGMENT_SEALED: u8 = 1;

/// A place in the log, with what is needed to find and check the file that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPosition {
    pub(crate) epoch: u64,
    pub(crate) lsn: u64,
    /// First LSN of the file; its name.
    pub(crate) file_first: u64,
    pub(crate) generation: u64,
}

/// One segment of a shard. Its file is named by the shard and `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    pub(crate) first: u64,
    /// Number of the last record.
    pub(crate) last: u64,
    /// When the segment was begun.
    pub(crate) created: Millis,
    pub(crate) first_arrival: Millis,
    pub(crate) last_arrival: Millis,
    /// Bytes of header and batches, without index and footer.
    pub(crate) len: u64,
    /// Whether the segment has its index and footer and takes no more batches.
    pub(crate) sealed: bool,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardState {
    pub(crate) uid: ShardUid,
    /// The trim point.
    pub(crate) first: u64,
    pub(crate) next: u64,
    pub(crate) last_arrival: Millis,
    pub(crate) sealed: bool,
    pub(crate) keep_ms: u64,
    /// Oldest first, without gaps in their numbers.
    pub(crate) segments: Vec<SegmentMeta>,
}

/// The content of a checkpoint file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Everything below this is in the checkpoint, nothing above.
    pub(crate) position: LogPosition,
    /// The wall clock, for retention's guard.
    pub(crate) wall: Millis,
    pub(crate) shards: Vec<ShardState>,
    /// Ordered by key.
    pub(crate) rows: Vec<(Bytes, Bytes)>,
}

impl Checkpoint {
    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let u64_to = |out: &mut Vec<u8>, value: u64| out.extend_from_slice(&value.to_le_bytes());
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&[VERSION, 0, 0, 0]);
        for value in [
            self.position.epoch,
            self.position.lsn,
            self.position.file_first,
            self.position.generation,
            self.wall.0,
        ] {
            u64_to(&mut out, value);
        }
        out.extend_from_slice(&length_u32(self.shards.len()).to_le_bytes());
        for shard in &self.shards {
            out.extend_from_slice(&shard.uid.0.to_le_bytes());
            for value in [shard.first, shard.next, shard.last_arrival.0, shard.keep_ms] {
                u64_to(&mut out, value);
            }
            out.push(if shard.sealed { SHARD_SEALED } else { 0 });
            out.extend_from_slice(&length_u32(shard.segments.len()).to_le_bytes());
            for segment in &shard.segments {
                for value in [
                    segment.first,
                    segment.last,
                    segment.created.0,
                    segment.first_arrival.0,
                    segment.last_arrival.0,
                    segment.len,
                ] {
                    u64_to(&mut out, value);
                }
                out.push(if segment.sealed { SEGMENT_SEALED } else { 0 });
            }
        }
        out.extend_from_slice(&length_u32(self.rows.len()).to_le_bytes());
        for (key, value) in &self.rows {
            out.extend_from_slice(&length_u32(key.len()).to_le_bytes());
            out.extend_from_slice(&length_u32(value.len()).to_le_bytes());
            out.extend_from_slice(key);
            out.extend_from_slice(value);
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads and checks the file.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, FormatError> {
        let covered = bytes.len().checked_sub(4).ok_or(FormatError::Short)?;
        let mut read = BytesRead::new(&bytes[..covered]);
        read.format(MAGIC, VERSION)?;
        if crc32c::crc32c(&bytes[..covered]).to_le_bytes() != bytes[covered..] {
            return Err(FormatError::Checksum);
        }
        let _reserved = read.take(3)?;
        let position = LogPosition {
            epoch: read.u64()?,
            lsn: read.u64()?,
            file_first: read.u64()?,
            generation: read.u64()?,
        };
        let wall = Millis(read.u64()?);
        let shards = (0..read.length()?)
            .map(|_| decode_shard(&mut read))
            .collect::<Result<_, _>>()?;
        let count = read.length()?;
        let mut rows = Vec::new();
        for _ in 0..count {
            let (key_len, value_len) = (read.length()?, read.length()?);
            let key_at = read.position();
            read.take(key_len)?;
            read.take(value_len)?;
            let value_at = key_at + key_len;
            rows.push((
                bytes.slice(key_at..value_at),
                bytes.slice(value_at..value_at + value_len),
            ));
        }
        if read.is_empty() {
            Ok(Self {
                position,
                wall,
                shards,
                rows,
            })
        } else {
            Err(FormatError::Field("length"))
        }
    }
}

fn decode_shard(read: &mut BytesRead<'_>) -> Result<ShardState, FormatError> {
    let uid = read.shard()?;
    let (first, next) = (read.u64()?, read.u64()?);
    let (last_arrival, keep_ms) = (Millis(read.u64()?), read.u64()?);
    let sealed = read.u8()? == SHARD_SEALED;
    let segments = (0..read.length()?)
        .map(|_| {
            Ok(SegmentMeta {
                first: read.u64()?,
                last: read.u64()?,
                created: Millis(read.u64()?),
                first_arrival: Millis(read.u64()?),
                last_arrival: Millis(read.u64()?),
                len: read.u64()?,
                sealed: read.u8()? == SEGMENT_SEALED,
            })
        })
        .collect::<Result<_, FormatError>>()?;
    Ok(ShardState {
        uid,
        first,
        next,
        last_arrival,
        sealed,
        keep_ms,
        segments,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment() -> impl Strategy<Value = SegmentMeta> {
        (any::<[u64; 6]>(), any::<bool>()).prop_map(|(n, sealed)| SegmentMeta {
            first: n[0],
            last: n[1],
            created: Millis(n[2]),
            first_arrival: Millis(n[3]),
            last_arrival: Millis(n[4]),
            len: n[5],
            sealed,
        })
    }

    fn shard() -> impl Strategy<Value = ShardState> {
        let segments = prop::collection::vec(segment(), 0..4);
        (any::<u128>(), any::<[u64; 4]>(), any::<bool>(), segments).prop_map(
            |(uid, n, sealed, segments)| ShardState {
                uid: ShardUid(uid),
                first: n[0],
                next: n[1],
                last_arrival: Millis(n[2]),
                sealed,
                keep_ms: n[3],
                segments,
            },
        )
    }

    fn checkpoint() -> impl Strategy<Value = Checkpoint> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..30).prop_map(Bytes::from);
        let rows = prop::collection::vec((bytes(), bytes()), 0..5);
        (
            any::<[u64; 5]>(),
            prop::collection::vec(shard(), 0..4),
            rows,
        )
            .prop_map(|(n, shards, rows)| Checkpoint {
                position: LogPosition {
                    epoch: n[0],
                    lsn: n[1],
                    file_first: n[2],
                    generation: n[3],
                },
                wall: Millis(n[4]),
                shards,
                rows,
            })
    }

    proptest! {
        #[test]
        fn reads_back_as_written(checkpoint in checkpoint()) {
            prop_assert_eq!(Checkpoint::decode(&Bytes::from(checkpoint.encode())), Ok(checkpoint));
        }

        #[test]
        fn any_changed_byte_is_noticed(
            checkpoint in checkpoint(), at: prop::sample::Index, bit in 0..8u32,
        ) {
            let mut bytes = checkpoint.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Checkpoint::decode(&Bytes::from(bytes)).is_err());
        }
    }
}
