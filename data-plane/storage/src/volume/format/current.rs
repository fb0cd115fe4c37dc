//! `CURRENT`: the epochs that are still in the WAL. Described in `docs/formats/current.md`.

use super::FormatError;
use super::bytes_read::{BytesRead, length_u32};

const MAGIC: u32 = u32::from_le_bytes(*b"MSCU");
const VERSION: u8 = 1;

/// One epoch: one open of the log by one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub(crate) epoch: u64,
    /// First LSN of the epoch; also the first LSN of its first file.
    pub(crate) start: u64,
    /// The epoch's frames count below this; none while the epoch is the newest.
    pub(crate) end: Option<u64>,
    /// Generation of the epoch's first file.
    pub(crate) generation: u64,
}

/// The content of `CURRENT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) log_id: u64,
    /// Oldest first; the last one has no end.
    pub(crate) epochs: Vec<Epoch>,
}

impl Current {
    /// The newest epoch.
    pub(crate) fn newest(&self) -> Epoch {
        *self
            .epochs
            .last()
            .expect("decode and the writers refuse an empty list")
    }

    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        assert!(
            self.epochs.last().is_some_and(|e| e.end.is_none()),
            "the newest epoch is open"
        );
        let mut out = Vec::with_capacity(24 + self.epochs.len() * 32);
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&[VERSION, 0, 0, 0]);
        out.extend_from_slice(&self.log_id.to_le_bytes());
        out.extend_from_slice(&length_u32(self.epochs.len()).to_le_bytes());
        for epoch in &self.epochs {
            out.extend_from_slice(&epoch.epoch.to_le_bytes());
            out.extend_from_slice(&epoch.start.to_le_bytes());
            out.extend_from_slice(&epoch.end.unwrap_or(u64::MAX).to_le_bytes());
            out.extend_from_slice(&epoch.generation.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads and checks the file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut read = BytesRead::new(bytes);
        read.format(MAGIC, VERSION)?;
        let _reserved = read.take(3)?;
        let log_id = read.u64()?;
        let count = read.length()?;
        let mut epochs = Vec::new();
        for _ in 0..count {
            let (epoch, start) = (read.u64()?, read.u64()?);
            let end = Some(read.u64()?).filter(|end| *end != u64::MAX);
            epochs.push(Epoch {
                epoch,
                start,
                end,
                generation: read.u64()?,
            });
        }
        let covered = read.position();
        if crc32c::crc32c(&bytes[..covered]) != read.u32()? {
            return Err(FormatError::Checksum);
        }
        let ordered = epochs.windows(2).all(|pair| {
            pair[0].epoch < pair[1].epoch && pair[0].end.is_some_and(|end| end <= pair[1].start)
        });
        if !ordered || epochs.last().is_none_or(|newest| newest.end.is_some()) {
            return Err(FormatError::Field("epochs"));
        }
        Ok(Self { log_id, epochs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Current {
        Current {
            log_id: 9,
            epochs: vec![
                Epoch {
                    epoch: 1,
                    start: 0,
                    end: Some(8192),
                    generation: 5,
                },
                Epoch {
                    epoch: 2,
                    start: 65_536,
                    end: None,
                    generation: 6,
                },
            ],
        }
    }

    #[test]
    fn reads_back_as_written() {
        assert_eq!(Current::decode(&example().encode()), Ok(example()));
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let bytes = example().encode();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(Current::decode(&changed).is_err(), "byte {at}");
            assert!(Current::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
