//! Payloads that say who they are and whether they are whole.

use millstream_storage::history::GARBLED;
use millstream_storage::testkit::Dice;

const MAGIC: &[u8; 4] = b"MSCL";
/// Magic, id and checksum.
const HEADER_BYTES: usize = 16;
/// Sizes of payloads, in bytes.
pub const BYTES_MIN: usize = 1024;
/// The largest payload.
pub const BYTES_MAX: usize = 32 * 1024;

/// A payload with this id. Small ones are as frequent as each doubling of them.
#[must_use]
pub fn make(id: u64, dice: &Dice) -> Vec<u8> {
    let least = BYTES_MIN << dice.index(5);
    let len = least + dice.index(least.min(BYTES_MAX - least) + 1);
    let mut bytes = Vec::with_capacity(len + 8);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    while bytes.len() < len {
        bytes.extend_from_slice(&dice.bits().to_le_bytes());
    }
    bytes.truncate(len);
    let sum = checksum(&bytes);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The id of a payload, or [`GARBLED`].
#[must_use]
pub fn id(bytes: &[u8]) -> u64 {
    let whole = bytes.len() >= HEADER_BYTES
        && bytes.starts_with(MAGIC)
        && bytes[12..16] == checksum(bytes).to_le_bytes();
    let id = bytes.get(4..12).and_then(|id| <[u8; 8]>::try_from(id).ok());
    match id {
        Some(id) if whole => u64::from_le_bytes(id),
        _ => GARBLED,
    }
}

/// Over everything but the checksum itself.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[HEADER_BYTES..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_reads_back_its_id_and_keeps_its_bounds() {
        let dice = Dice::new(1);
        for number in 0..500 {
            let bytes = make(number, &dice);
            assert!(
                (BYTES_MIN..=BYTES_MAX).contains(&bytes.len()),
                "{}",
                bytes.len()
            );
            assert_eq!(id(&bytes), number);
        }
    }

    #[test]
    fn a_damaged_payload_is_garbled() {
        let bytes = make(7, &Dice::new(1));
        for at in [0, 5, 13, 16, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(id(&damaged), GARBLED, "byte {at}");
        }
        assert_eq!(id(&bytes[..bytes.len() - 1]), GARBLED);
        assert_eq!(id(b""), GARBLED);
    }
}
