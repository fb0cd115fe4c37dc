//! A WAL frame: one commit window, or a mark in the log. Described in `docs/formats/wal.md`.

use bytes::Bytes;

use super::FormatError;
use super::bytes_read::{BytesRead, length_u32};

const MAGIC: u32 = u32::from_le_bytes(*b"MSF1");
const VERSION: u8 = 1;
/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 64;
/// Frames start at multiples of this, in a file and in the log.
pub(crate) const ALIGNMENT: u64 = 4096;
/// [`ALIGNMENT`] as a length in memory.
pub(crate) const ALIGNMENT_BYTES: usize = 4096;
const CRC_AT: usize = 52;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// The entries of one commit window.
    Window,
    /// A window copied from the end of the epoch before, while opening.
    Copy,
    /// The end of a file; names the next one.
    Roll,
    /// Nothing but `synced_lsn`.
    Seal,
    /// A seal that ends its epoch: nothing may follow.
    CleanSeal,
}

impl FrameKind {
    const fn code(self) -> u8 {
        match self {
            Self::Window => 1,
            Self::Copy => 2,
            Self::Roll => 3,
            Self::Seal => 4,
            Self::CleanSeal => 5,
        }
    }

    fn of_code(code: u8) -> Result<Self, FormatError> {
        Ok(match code {
            1 => Self::Window,
            2 => Self::Copy,
            3 => Self::Roll,
            4 => Self::Seal,
            5 => Self::CleanSeal,
            _ => return Err(FormatError::Field("frame kind")),
        })
    }
}

/// What stands before the body of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    /// The log that the frame belongs to.
    pub(crate) log_id: u64,
    /// The use of the file that the frame was written in.
    pub(crate) generation: u64,
    pub(crate) epoch: u64,
    /// Byte offset of the frame in the log; never used twice.
    pub(crate) lsn: u64,
    /// Everything below this was durable when the frame was written.
    pub(crate) synced_lsn: u64,
    pub(crate) body_len: u32,
}

impl FrameHeader {
    /// Bytes that the frame takes, padding included.
    pub(crate) fn total_len(&self) -> u64 {
        padded(HEADER_BYTES + self.body_len as usize)
    }

    /// LSN behind the frame.
    pub(crate) fn end_lsn(&self) -> u64 {
        self.lsn + self.total_len()
    }

    /// Reads a header and its checksum; the body is not looked at.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u32), FormatError> {
        let mut read = BytesRead::new(bytes);
        read.format(MAGIC, VERSION)?;
        let kind = FrameKind::of_code(read.u8()?)?;
        let _reserved = read.u16()?;
        let header = Self {
            kind,
            log_id: read.u64()?,
            generation: read.u64()?,
            epoch: read.u64()?,
            lsn: read.u64()?,
            synced_lsn: read.u64()?,
            body_len: read.u32()?,
        };
        let crc = read.u32()?;
        if !header.lsn.is_multiple_of(ALIGNMENT) || header.synced_lsn > header.lsn {
            return Err(FormatError::Field("lsn"));
        }
        Ok((header, crc))
    }
}

/// A frame whose checksum was right.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    pub(crate) body: Bytes,
}

impl Frame {
    /// Reads and checks the frame that `bytes` starts with.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, FormatError> {
        let (header, crc) = FrameHeader::decode(bytes)?;
        let end = HEADER_BYTES + header.body_len as usize;
        if bytes.len() < end {
            return Err(FormatError::Short);
        }
        if checksum(&bytes[..end]) != crc {
            return Err(FormatError::Checksum);
        }
        Ok(Self {
            header,
            body: bytes.slice(HEADER_BYTES..end),
        })
    }
}

/// The body of a roll frame: where the log goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Roll {
    pub(crate) next_first: u64,
    pub(crate) next_generation: u64,
}

impl Roll {
    /// Bytes of the body.
    pub(crate) fn encode(self) -> [u8; 16] {
        let mut body = [0; 16];
        body[..8].copy_from_slice(&self.next_first.to_le_bytes());
        body[8..].copy_from_slice(&self.next_generation.to_le_bytes());
        body
    }

    /// Reads the body of a roll frame.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let mut read = BytesRead::new(body);
        Ok(Self {
            next_first: read.u64()?,
            next_generation: read.u64()?,
        })
    }
}

/// `len` rounded up to the alignment of frames.
pub(crate) fn padded(len: usize) -> u64 {
    (len as u64).next_multiple_of(ALIGNMENT)
}

/// [`padded`] as the capacity of a buffer.
pub(crate) fn padded_capacity(len: usize) -> usize {
    usize::try_from(padded(len)).expect("a frame fits in memory")
}

/// Empties `out` and leaves room for a header; the body follows, then [`finish`].
pub(crate) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.resize(HEADER_BYTES, 0);
}

/// Fills in the header before the body in `out`, and pads the frame. `header.body_len` is set here.
pub(crate) fn finish(out: &mut Vec<u8>, mut header: FrameHeader) -> FrameHeader {
    assert!(header.lsn.is_multiple_of(ALIGNMENT) && header.synced_lsn <= header.lsn);
    header.body_len = length_u32(out.len() - HEADER_BYTES);
    let mut bytes = [0; HEADER_BYTES];
    bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[4] = VERSION;
    bytes[5] = header.kind.code();
    bytes[8..16].copy_from_slice(&header.log_id.to_le_bytes());
    bytes[16..24].copy_from_slice(&header.generation.to_le_bytes());
    bytes[24..32].copy_from_slice(&header.epoch.to_le_bytes());
    bytes[32..40].copy_from_slice(&header.lsn.to_le_bytes());
    bytes[40..48].copy_from_slice(&header.synced_lsn.to_le_bytes());
    bytes[48..52].copy_from_slice(&header.body_len.to_le_bytes());
    out[..HEADER_BYTES].copy_from_slice(&bytes);
    let crc = checksum(out);
    out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    out.resize(padded_capacity(out.len()), 0);
    header
}

/// CRC-32C of header and body, the checksum's own field taken as absent.
fn checksum(frame: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&frame[..CRC_AT]);
    crc32c::crc32c_append(crc, &frame[CRC_AT + 4..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(kind: FrameKind, lsn: u64) -> FrameHeader {
        FrameHeader {
            kind,
            log_id: 11,
            generation: 22,
            epoch: 3,
            lsn: lsn * ALIGNMENT,
            synced_lsn: lsn,
            body_len: 0,
        }
    }

    fn kind() -> impl Strategy<Value = FrameKind> {
        (1u8..=5).prop_map(|code| FrameKind::of_code(code).expect("codes 1 to 5 are kinds"))
    }

    proptest! {
        #[test]
        fn reads_back_as_written(
            body in prop::collection::vec(any::<u8>(), 0..9000), kind in kind(), lsn in 0u64..1 << 40,
        ) {
            let mut out = b"left over".to_vec();
            begin(&mut out);
            out.extend_from_slice(&body);
            let header = finish(&mut out, header(kind, lsn));
            prop_assert_eq!(out.len() as u64, header.total_len());
            prop_assert_eq!(out.len() as u64 % ALIGNMENT, 0);
            let frame = Frame::decode(&Bytes::from(out)).expect("just written");
            prop_assert_eq!(frame.header, header);
            prop_assert_eq!(&frame.body[..], &body[..]);
        }

        #[test]
        fn any_changed_byte_of_header_or_body_is_noticed(
            body in prop::collection::vec(any::<u8>(), 0..500), at: prop::sample::Index, bit in 0..8u32,
        ) {
            let mut out = Vec::new();
            begin(&mut out);
            out.extend_from_slice(&body);
            finish(&mut out, header(FrameKind::Window, 5));
            let at = at.index(HEADER_BYTES + body.len());
            out[at] ^= 1 << bit;
            prop_assert!(Frame::decode(&Bytes::from(out)).is_err());
        }
    }

    #[test]
    fn a_roll_reads_back() {
        let roll = Roll {
            next_first: 7,
            next_generation: u64::MAX,
        };
        assert_eq!(Roll::decode(&roll.encode()), Ok(roll));
    }
}
