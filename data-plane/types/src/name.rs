//! Names that users choose or are given: streams, accounts, regions, partition keys.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::caps;

/// A text that breaks the grammar of the name it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// Not 1 to 128 characters of `[a-zA-Z0-9_.-]`.
    #[error("a stream name is 1 to 128 characters of [a-zA-Z0-9_.-]")]
    StreamName,
    /// Not twelve digits.
    #[error("an account is twelve digits")]
    AccountId,
    /// Not 1 to 64 characters of `[a-z0-9-]`.
    #[error("a region is 1 to 64 characters of [a-z0-9-]")]
    Region,
    /// Not 1 to 256 characters.
    #[error("a partition key is 1 to 256 characters")]
    PartitionKey,
    /// Neither `PROVISIONED` nor `ON_DEMAND`.
    #[error("a stream mode is PROVISIONED or ON_DEMAND")]
    StreamMode,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $error:expr, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, ParseNameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err($error) }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// A stream's name, unique in its account and region.
    StreamName,
    ParseNameError::StreamName,
    |text| (1..=caps::STREAM_NAME_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
);
name!(
    /// A twelve-digit account number.
    AccountId,
    ParseNameError::AccountId,
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
);
name!(
    /// A region such as `us-east-1`.
    Region,
    ParseNameError::Region,
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
name!(
    /// A record's partition key: 1 to 256 Unicode characters.
    PartitionKey,
    ParseNameError::PartitionKey,
    |text| !text.is_empty()
        && (text.len() <= caps::PARTITION_KEY_CHARS_MAX
            || text.chars().count() <= caps::PARTITION_KEY_CHARS_MAX)
);

/// Where stream names are unique: one account in one region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
}

/// How a stream's capacity is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StreamMode {
    /// A fixed number of shards.
    #[default]
    Provisioned,
    /// Shards follow the load.
    OnDemand,
}

impl StreamMode {
    /// AWS's word for the mode.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioned => "PROVISIONED",
            Self::OnDemand => "ON_DEMAND",
        }
    }
}

impl FromStr for StreamMode {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        match text {
            "PROVISIONED" => Ok(Self::Provisioned),
            "ON_DEMAND" => Ok(Self::OnDemand),
            _ => Err(ParseNameError::StreamMode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_follow_the_model() {
        let longest = "x".repeat(128);
        for good in ["a", "A_b.c-9", longest.as_str()] {
            assert_eq!(
                good.parse::<StreamName>().map(|n| n.to_string()),
                Ok(good.to_owned())
            );
        }
        let too_long = "x".repeat(129);
        for bad in ["", "a b", "a/b", "é", too_long.as_str()] {
            assert_eq!(
                bad.parse::<StreamName>(),
                Err(ParseNameError::StreamName),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_partition_key_is_counted_in_characters() {
        assert!("é".repeat(256).parse::<PartitionKey>().is_ok());
        assert!("é".repeat(257).parse::<PartitionKey>().is_err());
        assert!("".parse::<PartitionKey>().is_err());
    }

    #[test]
    fn accounts_and_regions_follow_their_grammar() {
        assert!("000000000000".parse::<AccountId>().is_ok());
        assert!("00000000000".parse::<AccountId>().is_err());
        assert!("us-east-1".parse::<Region>().is_ok());
        assert!("US".parse::<Region>().is_err());
    }
}
