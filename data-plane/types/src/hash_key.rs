//! The 128-bit hash-key space and its division among shards.

use std::fmt;
use std::str::FromStr;

use md5::{Digest, Md5};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in the hash-key space `0..=2^128-1`; shown in decimal, as AWS does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKey(pub u128);

/// A text that is not a decimal number below 2^128 without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseHashKeyError {
    /// Does not match `0|([1-9]\d{0,38})`.
    #[error("a hash key is a decimal number without leading zeros")]
    Grammar,
    /// Matches the grammar but is 2^128 or more.
    #[error("a hash key is below 2^128")]
    Range,
}

impl HashKey {
    /// The last key of the space.
    pub const MAX: Self = Self(u128::MAX);

    /// Where a partition key falls: MD5 of its UTF-8 bytes, read big-endian.
    #[must_use]
    pub fn of_partition_key(key: &str) -> Self {
        Self(u128::from_be_bytes(Md5::digest(key.as_bytes()).into()))
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for HashKey {
    type Err = ParseHashKeyError;

    fn from_str(text: &str) -> Result<Self, ParseHashKeyError> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let leading_zero = text.len() > 1 && text.starts_with('0');
        if text.is_empty() || text.len() > 39 || !digits || leading_zero {
            return Err(ParseHashKeyError::Grammar);
        }
        text.parse().map(Self).map_err(|_| ParseHashKeyError::Range)
    }
}

impl Serialize for HashKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HashKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// An inclusive range of hash keys; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HashKeyRange {
    /// First key of the range.
    pub start: HashKey,
    /// Last key of the range.
    pub end: HashKey,
}

impl HashKeyRange {
    /// The whole space.
    pub const ALL: Self = Self {
        start: HashKey(0),
        end: HashKey::MAX,
    };

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: HashKey) -> bool {
        self.start <= key && key <= self.end
    }

    /// The whole space as `count` adjacent ranges of one size, the last with the remainder:
    /// range `i` starts at `i * floor(2^128 / count)`, as on AWS.
    ///
    /// # Panics
    /// When `count` is 0.
    #[must_use]
    pub fn uniform(count: u32) -> Vec<Self> {
        assert!(count > 0, "a stream has at least one shard");
        let count = u128::from(count);
        // floor(2^128 / count) without 129-bit numbers; count == 1 has no such u128.
        let size = if count == 1 {
            return vec![Self::ALL];
        } else if u128::MAX % count == count - 1 {
            u128::MAX / count + 1
        } else {
            u128::MAX / count
        };
        (0..count)
            .map(|i| Self {
                start: HashKey(i * size),
                end: HashKey(if i + 1 == count {
                    u128::MAX
                } else {
                    (i + 1) * size - 1
                }),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_of_two_and_three_shards_are_those_of_aws() {
        let two = HashKeyRange::uniform(2);
        assert_eq!(
            two[0].end.to_string(),
            "170141183460469231731687303715884105727"
        );
        assert_eq!(
            two[1].start.to_string(),
            "170141183460469231731687303715884105728"
        );
        let three = HashKeyRange::uniform(3);
        assert_eq!(
            three[0].end.to_string(),
            "113427455640312821154458202477256070484"
        );
        assert_eq!(
            three[1].end.to_string(),
            "226854911280625642308916404954512140969"
        );
        assert_eq!(three[2].end, HashKey::MAX);
    }

    #[test]
    fn a_partition_key_falls_where_md5_says() {
        // printf 'a' | md5sum = 0cc175b9c0f1b6a831c399e269772661
        assert_eq!(
            HashKey::of_partition_key("a").0,
            0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661
        );
    }

    #[test]
    fn reads_only_the_grammar_of_the_model() {
        assert_eq!("0".parse(), Ok(HashKey(0)));
        assert_eq!(
            "340282366920938463463374607431768211455".parse(),
            Ok(HashKey::MAX)
        );
        assert_eq!(
            "340282366920938463463374607431768211456".parse::<HashKey>(),
            Err(ParseHashKeyError::Range)
        );
        for bad in ["", "01", "-1", "+1", "1e3", " 1"] {
            assert_eq!(
                bad.parse::<HashKey>(),
                Err(ParseHashKeyError::Grammar),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn uniform_ranges_cover_the_space_once(count in 1u32..10_000) {
            let ranges = HashKeyRange::uniform(count);
            prop_assert_eq!(u32::try_from(ranges.len()), Ok(count));
            prop_assert_eq!(ranges[0].start, HashKey(0));
            prop_assert_eq!(ranges[ranges.len() - 1].end, HashKey::MAX);
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].start <= pair[0].end);
                prop_assert_eq!(pair[0].end.0 + 1, pair[1].start.0);
            }
        }

        #[test]
        fn every_key_lies_in_exactly_one_range(count in 1u32..200, key: u128) {
            let holders =
                HashKeyRange::uniform(count).iter().filter(|r| r.contains(HashKey(key))).count();
            prop_assert_eq!(holders, 1);
        }

        #[test]
        fn a_key_reads_back_as_it_was_shown(key: u128) {
            prop_assert_eq!(HashKey(key).to_string().parse(), Ok(HashKey(key)));
        }
    }
}
