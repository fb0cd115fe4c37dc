//! Sequence numbers in AWS's decimal shape, version 2.
//!
//! As 47 hexadecimal digits: `2`, 9 of the shard's creation second, 1 of the shard index mod 16,
//! 16 of the counter, `00`, 9 of the put's second, 8 of the shard index, `2`; the whole is shown
//! in decimal (56 digits). Source: the layout that the kinesalite suite pins. Within one shard
//! the creation second and index are constant, so numbers order by their counter; a child's
//! creation second lies above its parents', so its numbers lie above theirs.

#![expect(
    clippy::cast_possible_truncation,
    reason = "digits are cut out of wider words on purpose; the properties below read them back"
)]

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The counter that AWS shows as the end of a closed shard.
pub const COUNTER_MAX: u64 = 0x7fff_ffff_ffff_ffff;
/// Seconds are held in 9 hexadecimal digits.
pub const SECONDS_MAX: u64 = 0xf_ffff_ffff;
/// Most decimal digits that the service model allows a sequence number.
const DIGITS_MAX: usize = 129;

/// One record's place in its shard, with the shard's identity in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceNumber {
    /// Second since the epoch in which the shard was created.
    pub created_s: u64,
    /// Index of the shard in its stream.
    pub shard_index: u32,
    /// The record's number in its shard: dense, from 1; 0 is the shard's start.
    pub counter: u64,
    /// Second since the epoch in which the record arrived.
    pub put_s: u64,
}

/// A text that is no sequence number of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sequence number is a decimal number in the service's own layout")]
pub struct ParseSequenceNumberError;

impl SequenceNumber {
    /// The 188 bits as (upper 60, lower 128).
    fn bits(&self) -> (u64, u128) {
        assert!(
            self.created_s <= SECONDS_MAX && self.put_s <= SECONDS_MAX,
            "seconds fit 9 hexadecimal digits until the year 4147"
        );
        assert!(self.counter <= COUNTER_MAX, "a counter has 63 bits");
        // low: counter's lower 12 digits (48 bits), 00 (8), put (36), index (32), 2 (4)
        let low = (u128::from(self.counter & 0xffff_ffff_ffff) << 80)
            | (u128::from(self.put_s) << 36)
            | (u128::from(self.shard_index) << 4)
            | 2;
        // high: 2 (4), created (36), index mod 16 (4), counter's upper 4 digits (16)
        let high = (2u64 << 56)
            | (self.created_s << 20)
            | (u64::from(self.shard_index % 16) << 16)
            | (self.counter >> 48);
        (high, low)
    }

    fn of_bits(high: u64, low: u128) -> Result<Self, ParseSequenceNumberError> {
        let nibble = |x: u64| x & 0xf;
        let low_u64 = |shift: u32, mask: u64| (low >> shift) as u64 & mask;
        let number = Self {
            created_s: (high >> 20) & SECONDS_MAX,
            shard_index: low_u64(4, 0xffff_ffff) as u32,
            counter: ((high & 0xffff) << 48) | low_u64(80, 0xffff_ffff_ffff),
            put_s: low_u64(36, SECONDS_MAX),
        };
        let shaped = high >> 56 == 2
            && low & 0xf == 2
            && low_u64(72, 0xff) == 0
            && nibble(high >> 16) == u64::from(number.shard_index % 16)
            && number.counter <= COUNTER_MAX;
        if shaped {
            Ok(number)
        } else {
            Err(ParseSequenceNumberError)
        }
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bits().cmp(&other.bits())
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Long division of the 188 bits by 10^19, in 32-bit limbs: three chunks of 19 digits.
        const CHUNK: u64 = 10_000_000_000_000_000_000;
        let (mut high, mut low) = self.bits();
        let mut chunks = [0u64; 3];
        for chunk in chunks.iter_mut().rev() {
            let mut rest = 0u128;
            let mut divide = |limb: u64| {
                let value = (rest << 64) | u128::from(limb);
                rest = value % u128::from(CHUNK);
                (value / u128::from(CHUNK)) as u64
            };
            high = divide(high);
            let upper = divide((low >> 64) as u64);
            let lower = divide(low as u64);
            low = (u128::from(upper) << 64) | u128::from(lower);
            *chunk = rest as u64;
        }
        write!(f, "{}{:019}{:019}", chunks[0], chunks[1], chunks[2])
    }
}

impl FromStr for SequenceNumber {
    type Err = ParseSequenceNumberError;

    fn from_str(text: &str) -> Result<Self, ParseSequenceNumberError> {
        if text.is_empty() || text.len() > DIGITS_MAX || text.starts_with('0') {
            return Err(ParseSequenceNumberError);
        }
        let (mut high, mut low) = (0u64, 0u128);
        for byte in text.bytes() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 || high >= 1 << 60 {
                return Err(ParseSequenceNumberError);
            }
            let lower = (low as u64 as u128) * 10 + u128::from(digit);
            let upper = (low >> 64) * 10 + (lower >> 64);
            low = (upper << 64) | (lower as u64 as u128);
            high = high * 10 + (upper >> 64) as u64;
        }
        Self::of_bits(high, low)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(created_s: u64, shard_index: u32, counter: u64, put_s: u64) -> SequenceNumber {
        SequenceNumber {
            created_s,
            shard_index,
            counter,
            put_s,
        }
    }

    #[test]
    fn has_the_shape_that_aws_shows() {
        // A public example: AWS's documents show numbers of 56 digits that start with 495.
        let shown = number(1_411_683_203, 1, 100, 1_411_683_300).to_string();
        assert_eq!(shown.len(), 56, "{shown}");
        assert!(shown.starts_with("495"), "{shown}");
    }

    #[test]
    fn rejects_what_is_not_of_the_layout() {
        let shown = number(1_700_000_000, 17, 5, 1_700_000_009).to_string();
        let mut last_changed = shown.clone();
        last_changed.pop();
        for bad in [
            "",
            "0",
            "1",
            "abc",
            last_changed.as_str(),
            &format!("{shown}0"),
            &"9".repeat(130),
        ] {
            assert!(bad.parse::<SequenceNumber>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_as_shown(
            created_s in 0..=SECONDS_MAX, index: u32, counter in 0..=COUNTER_MAX,
            put_s in 0..=SECONDS_MAX,
        ) {
            let number = number(created_s, index, counter, put_s);
            prop_assert_eq!(number.to_string().parse(), Ok(number));
        }

        #[test]
        fn orders_by_counter_in_a_shard_and_as_decimal_numbers_do(
            index: u32, a in 0..=COUNTER_MAX, b in 0..=COUNTER_MAX, put_a in 0..=SECONDS_MAX,
            put_b in 0..=SECONDS_MAX,
        ) {
            let (x, y) = (number(1_700_000_000, index, a, put_a), number(1_700_000_000, index, b, put_b));
            if a != b {
                prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            }
            // both have 56 digits, so the texts order as the numbers do
            prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
        }

        #[test]
        fn a_child_created_later_is_above_its_parent(
            created_s in 0..SECONDS_MAX, p: u32, c: u32, counter in 0..=COUNTER_MAX,
        ) {
            prop_assert!(number(created_s, p, counter, 0) < number(created_s + 1, c, 0, 0));
        }

        #[test]
        fn never_panics_on_any_digits(text in "[0-9]{1,140}") {
            let _unused = text.parse::<SequenceNumber>();
        }
    }
}
