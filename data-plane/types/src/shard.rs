//! Shard ids as clients see them: `shardId-000000000007`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The index of a shard in its stream, shown as `shardId-` and twelve digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(pub u32);

/// A text that cannot name a shard of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a shard id is 'shardId-' and twelve digits")]
pub struct ParseShardIdError;

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shardId-{:012}", self.0)
    }
}

impl FromStr for ShardId {
    type Err = ParseShardIdError;

    /// Reads `shardId-<digits>`, and bare digits as AWS does.
    fn from_str(text: &str) -> Result<Self, ParseShardIdError> {
        let digits = text.strip_prefix("shardId-").unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseShardIdError);
        }
        digits.parse().map(Self).map_err(|_| ParseShardIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_twelve_digits_and_reads_them_back() {
        assert_eq!(ShardId(7).to_string(), "shardId-000000000007");
        assert_eq!("shardId-000000000007".parse(), Ok(ShardId(7)));
        assert_eq!("7".parse(), Ok(ShardId(7)));
        for bad in [
            "",
            "shardId-",
            "shardId--1",
            "shard-1",
            "shardId-99999999999",
        ] {
            assert_eq!(bad.parse::<ShardId>(), Err(ParseShardIdError), "{bad}");
        }
    }
}
