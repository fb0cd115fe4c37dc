//! A segment file: a header, packed batches, and once it is sealed an index and a footer.
//! Described in `docs/formats/segment.md`.

use millstream_types::{Millis, ShardUid};

use super::FormatError;
use super::bytes_read::{BytesRead, length_u32};

const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"MSS1");
const FOOTER_MAGIC: u32 = u32::from_le_bytes(*b"MSSF");
const VERSION: u8 = 1;
/// Bytes before the first batch.
pub(crate) const HEADER_BYTES: usize = 64;
/// Bytes of the footer, the last ones of a sealed segment.
pub(crate) const FOOTER_BYTES: usize = 64;
/// Bytes of one index entry.
pub(crate) const INDEX_ENTRY_BYTES: usize = 24;
/// At least this many bytes of batches lie between two entries of an index.
pub(crate) const INDEX_STEP_BYTES: u64 = 64 * 1024;

/// The header of a segment file of `shard` that begins with record `first`.
pub(crate) fn encode_header(shard: ShardUid, first: u64) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[0..4].copy_from_slice(&HEADER_MAGIC.to_le_bytes());
    out[4] = VERSION;
    out[8..24].copy_from_slice(&shard.0.to_le_bytes());
    out[24..32].copy_from_slice(&first.to_le_bytes());
    let crc = crc32c::crc32c(&out[..60]);
    out[60..64].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Checks that a file is the segment that its name says.
pub(crate) fn check_header(bytes: &[u8], shard: ShardUid, first: u64) -> Result<(), FormatError> {
    let mut read = BytesRead::new(bytes);
    read.format(HEADER_MAGIC, VERSION)?;
    if bytes.len() < HEADER_BYTES {
        return Err(FormatError::Short);
    }
    if bytes[..HEADER_BYTES] != encode_header(shard, first) {
        return Err(FormatError::Checksum);
    }
    Ok(())
}

/// Where a batch begins: enough to find a number or a time without reading from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// First number of the batch.
    pub(crate) number: u64,
    /// Byte offset of the batch in the file.
    pub(crate) offset: u64,
    /// Arrival time of the batch.
    pub(crate) arrival: Millis,
}

/// Index and footer of a segment whose batches end at `data_len`.
pub(crate) fn encode_tail(index: &[IndexEntry], data_len: u64, last: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(index.len() * INDEX_ENTRY_BYTES + FOOTER_BYTES);
    for entry in index {
        out.extend_from_slice(&entry.number.to_le_bytes());
        out.extend_from_slice(&entry.offset.to_le_bytes());
        out.extend_from_slice(&entry.arrival.0.to_le_bytes());
    }
    let mut footer = [0; FOOTER_BYTES];
    footer[0..4].copy_from_slice(&FOOTER_MAGIC.to_le_bytes());
    footer[4] = VERSION;
    footer[8..16].copy_from_slice(&data_len.to_le_bytes());
    footer[16..24].copy_from_slice(&last.to_le_bytes());
    footer[24..28].copy_from_slice(&length_u32(index.len()).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), &footer[..60]);
    footer[60..64].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&footer);
    out
}

/// Reads what stands behind the batches of a sealed segment.
pub(crate) fn decode_tail(
    bytes: &[u8],
    data_len: u64,
    last: u64,
) -> Result<Vec<IndexEntry>, FormatError> {
    let index_len = bytes
        .len()
        .checked_sub(FOOTER_BYTES)
        .ok_or(FormatError::Short)?;
    let (index, footer) = bytes.split_at(index_len);
    let mut read = BytesRead::new(footer);
    read.format(FOOTER_MAGIC, VERSION)?;
    let _reserved = read.take(3)?;
    let (found_len, found_last, count) = (read.u64()?, read.u64()?, read.length()?);
    let crc = crc32c::crc32c_append(crc32c::crc32c(index), &footer[..60]);
    if crc.to_le_bytes() != footer[60..64] {
        return Err(FormatError::Checksum);
    }
    if (found_len, found_last) != (data_len, last) || count * INDEX_ENTRY_BYTES != index_len {
        return Err(FormatError::Field("footer"));
    }
    let mut read = BytesRead::new(index);
    (0..count)
        .map(|_| {
            Ok(IndexEntry {
                number: read.u64()?,
                offset: read.u64()?,
                arrival: Millis(read.u64()?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_of_one_shard_and_number() {
        let header = encode_header(ShardUid(5), 9);
        assert_eq!(check_header(&header, ShardUid(5), 9), Ok(()));
        assert_eq!(
            check_header(&header, ShardUid(5), 8),
            Err(FormatError::Checksum)
        );
        assert_eq!(
            check_header(&header, ShardUid(6), 9),
            Err(FormatError::Checksum)
        );
        assert_eq!(
            check_header(&header[..10], ShardUid(5), 9),
            Err(FormatError::Short)
        );
    }

    #[test]
    fn index_and_footer_read_back_and_any_changed_byte_is_noticed() {
        let entry = |n| IndexEntry {
            number: n,
            offset: n * 64,
            arrival: Millis(n + 7),
        };
        let index = vec![entry(1), entry(50)];
        let bytes = encode_tail(&index, 4_000, 60);
        assert_eq!(decode_tail(&bytes, 4_000, 60), Ok(index));
        assert_eq!(
            decode_tail(&bytes, 4_001, 60),
            Err(FormatError::Field("footer"))
        );
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert!(decode_tail(&changed, 4_000, 60).is_err(), "byte {at}");
        }
    }
}
