//! Reading little-endian fields off a slice, with a named error instead of a panic.

use millstream_types::ShardUid;

use super::FormatError;

/// A position in a slice.
pub(crate) struct BytesRead<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> BytesRead<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            len: bytes.len(),
        }
    }

    /// Bytes taken so far.
    pub(crate) fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(FormatError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(FormatError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The magic and the version that every format begins with.
    pub(crate) fn format(&mut self, magic: u32, version: u8) -> Result<(), FormatError> {
        if self.u32()? != magic {
            return Err(FormatError::Magic);
        }
        let found = self.u8()?;
        if found == version {
            Ok(())
        } else {
            Err(FormatError::Version(found))
        }
    }

    pub(crate) fn shard(&mut self) -> Result<ShardUid, FormatError> {
        Ok(ShardUid(u128::from_le_bytes(self.array()?)))
    }

    /// A `u32` length as a `usize`.
    pub(crate) fn length(&mut self) -> Result<usize, FormatError> {
        usize::try_from(self.u32()?).map_err(|_| FormatError::Field("length"))
    }
}

/// A length that a writer bounded long before, as the `u32` that the formats hold.
pub(crate) fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("lengths are bounded far below 4 GiB before they are written")
}
