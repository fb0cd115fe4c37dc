//! A packed batch: the records of one shard from one commit window. The same bytes stand in the
//! WAL frame, in memory at the tail, and in the segment. Described in `docs/formats/batch.md`.

use bytes::Bytes;
use millstream_types::{Millis, ShardUid};

use super::FormatError;
use super::bytes_read::{BytesRead, length_u32};
use crate::store::{NewRecord, Record};

const MAGIC: u32 = u32::from_le_bytes(*b"MSB1");
const VERSION: u8 = 1;
/// Records as they are; the only codec so far.
const CODEC_PLAIN: u8 = 0;
/// Bytes before the records.
pub(crate) const HEADER_BYTES: usize = 72;
const CRC_AT: usize = 64;
/// Bytes before the key of each record.
pub(crate) const RECORD_HEADER_BYTES: usize = 6;
/// Longest key that a record can have here.
pub(crate) const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// What a batch says of itself before its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) shard: ShardUid,
    /// Number of the first record; the others follow without a gap.
    pub(crate) first: u64,
    /// Records in the batch, at least one.
    pub(crate) count: u32,
    /// Arrival time of every record.
    pub(crate) arrival: Millis,
    /// Bytes after the header.
    pub(crate) body_len: u32,
    crc: u32,
}

impl BatchHeader {
    /// Reads the first [`HEADER_BYTES`] of a batch; does not check the checksum.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut read = BytesRead::new(bytes);
        read.format(MAGIC, VERSION)?;
        if read.u8()? != CODEC_PLAIN {
            return Err(FormatError::Field("codec"));
        }
        let _reserved = read.u16()?;
        let _key_id = read.u32()?;
        let _nonce = read.take(12)?;
        let first = read.u64()?;
        let arrival = Millis(read.u64()?);
        let count = read.u32()?;
        let body_len = read.u32()?;
        let shard = read.shard()?;
        let crc = read.u32()?;
        if count == 0 || first == 0 || first.checked_add(u64::from(count)).is_none() {
            return Err(FormatError::Field("number"));
        }
        Ok(Self {
            shard,
            first,
            count,
            arrival,
            body_len,
            crc,
        })
    }

    /// Number of the last record.
    pub(crate) fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }

    /// Bytes of the whole batch.
    pub(crate) fn total_len(&self) -> usize {
        HEADER_BYTES + self.body_len as usize
    }
}

/// A batch whose checksum was right.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) header: BatchHeader,
    /// Header and records.
    pub(crate) bytes: Bytes,
}

impl Batch {
    /// Reads and checks the batch that `bytes` starts with; what follows it is left out.
    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, FormatError> {
        let header = BatchHeader::decode(&bytes)?;
        if bytes.len() < header.total_len() {
            return Err(FormatError::Short);
        }
        bytes.truncate(header.total_len());
        if checksum(&bytes) != header.crc {
            return Err(FormatError::Checksum);
        }
        Ok(Self { header, bytes })
    }

    /// The records from number `from` on.
    pub(crate) fn records(&self, from: u64) -> Records<'_> {
        let mut records = Records {
            batch: self,
            position: HEADER_BYTES,
            number: self.header.first,
        };
        while records.number < from && records.step() {}
        records
    }
}

/// The records of a [`Batch`], in order. Ends early where lengths run over the batch, which a
/// right checksum rules out.
pub(crate) struct Records<'a> {
    batch: &'a Batch,
    position: usize,
    number: u64,
}

impl Records<'_> {
    /// (key length, data length) of the record at the position.
    fn lengths(&self) -> Option<(usize, usize)> {
        if self.number > self.batch.header.last() {
            return None;
        }
        let mut read = BytesRead::new(self.batch.bytes.get(self.position..)?);
        let key = usize::from(read.u16().ok()?);
        let data = read.length().ok()?;
        let end = self.position + RECORD_HEADER_BYTES + key + data;
        (end <= self.batch.bytes.len()).then_some((key, data))
    }

    fn step(&mut self) -> bool {
        let Some((key, data)) = self.lengths() else {
            return false;
        };
        self.position += RECORD_HEADER_BYTES + key + data;
        self.number += 1;
        true
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let (key, data) = self.lengths()?;
        let key_at = self.position + RECORD_HEADER_BYTES;
        let record = Record {
            number: self.number,
            arrival: self.batch.header.arrival,
            key: self.batch.bytes.slice(key_at..key_at + key),
            data: self.batch.bytes.slice(key_at + key..key_at + key + data),
        };
        self.step();
        Some(record)
    }
}

/// Bytes that `records` take in a batch, without its header.
pub(crate) fn body_len(records: &[NewRecord]) -> usize {
    records
        .iter()
        .map(|r| RECORD_HEADER_BYTES + r.key.len() + r.data.len())
        .sum()
}

/// Appends the batch of `records` to `out` and says what it holds.
pub(crate) fn encode<'a>(
    out: &mut Vec<u8>,
    shard: ShardUid,
    first: u64,
    arrival: Millis,
    records: impl Iterator<Item = &'a NewRecord>,
) -> BatchHeader {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let mut count = 0u32;
    for record in records {
        let key_len = u16::try_from(record.key.len()).expect("keys are checked at admission");
        out.extend_from_slice(&key_len.to_le_bytes());
        out.extend_from_slice(&length_u32(record.data.len()).to_le_bytes());
        out.extend_from_slice(&record.key);
        out.extend_from_slice(&record.data);
        count += 1;
    }
    assert!(count > 0, "a batch holds at least one record");
    let body_len = length_u32(out.len() - start - HEADER_BYTES);
    let mut header = [0; HEADER_BYTES];
    header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4] = VERSION;
    header[5] = CODEC_PLAIN;
    header[24..32].copy_from_slice(&first.to_le_bytes());
    header[32..40].copy_from_slice(&arrival.0.to_le_bytes());
    header[40..44].copy_from_slice(&count.to_le_bytes());
    header[44..48].copy_from_slice(&body_len.to_le_bytes());
    header[48..64].copy_from_slice(&shard.0.to_le_bytes());
    out[start..start + HEADER_BYTES].copy_from_slice(&header);
    let crc = checksum(&out[start..]);
    out[start + CRC_AT..start + CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    BatchHeader {
        shard,
        first,
        count,
        arrival,
        body_len,
        crc,
    }
}

/// CRC-32C of a batch, its own field taken as absent.
fn checksum(batch: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&batch[..CRC_AT]);
    crc32c::crc32c_append(crc, &batch[CRC_AT + 4..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new_records() -> impl Strategy<Value = Vec<NewRecord>> {
        let bytes = |max| prop::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from);
        prop::collection::vec(
            (bytes(40), bytes(300)).prop_map(|(key, data)| NewRecord { key, data }),
            1..20,
        )
    }

    proptest! {
        #[test]
        fn reads_back_as_written(
            records in new_records(), shard: u128, first in 1..u64::MAX / 2, arrival: u64,
        ) {
            let mut out = b"before".to_vec();
            let header = encode(&mut out, ShardUid(shard), first, Millis(arrival), records.iter());
            prop_assert_eq!(header.body_len as usize, body_len(&records));
            out.extend_from_slice(b"after");
            let batch = Batch::decode(Bytes::from(out).slice(6..)).expect("just written");
            prop_assert_eq!(batch.header, header);
            let read: Vec<Record> = batch.records(0).collect();
            prop_assert_eq!(read.len(), records.len());
            for (i, (read, new)) in read.iter().zip(&records).enumerate() {
                prop_assert_eq!(read.number, first + i as u64);
                prop_assert_eq!((&read.key, &read.data), (&new.key, &new.data));
            }
            let later: Vec<Record> = batch.records(first + 1).collect();
            prop_assert_eq!(&later[..], &read[1..]);
        }

        #[test]
        fn any_changed_byte_is_noticed(records in new_records(), at: prop::sample::Index, bit in 0..8u32) {
            let mut out = Vec::new();
            encode(&mut out, ShardUid(1), 1, Millis(1), records.iter());
            let at = at.index(out.len());
            out[at] ^= 1 << bit;
            prop_assert!(Batch::decode(Bytes::from(out)).is_err());
        }

        #[test]
        fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            if bytes.len() > 5 { bytes[0..6].copy_from_slice(b"MSB1\x01\x00"); }
            let _unused = Batch::decode(Bytes::from(bytes));
        }
    }
}
