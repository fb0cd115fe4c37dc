//! Log groups and their epochs: where a shard lives, and which life of its writer is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest namespace or pool, in characters: a DNS label.
const LABEL_CHARS_MAX: usize = 63;

/// A text that names no log group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a log group is '<namespace>/<pool>/<ordinal>': two DNS labels and a number without leading zeros"
)]
pub struct ParseGroupIdError;

/// A log group: one writer with one write-ahead log, holding shards of many streams. Its name is
/// `<namespace>/<pool>/<ordinal>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(Arc<str>);

impl GroupId {
    /// The group of a pool with this ordinal.
    ///
    /// # Errors
    /// When namespace or pool is no DNS label.
    pub fn new(namespace: &str, pool: &str, ordinal: u32) -> Result<Self, ParseGroupIdError> {
        format!("{namespace}/{pool}/{ordinal}").parse()
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace of its pool.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.part(0)
    }

    /// Its pool's name in the namespace.
    #[must_use]
    pub fn pool(&self) -> &str {
        self.part(1)
    }

    /// Its number in the pool.
    #[must_use]
    pub fn ordinal(&self) -> u32 {
        self.part(2).parse().unwrap_or_default()
    }

    fn part(&self, place: usize) -> &str {
        self.0.split('/').nth(place).unwrap_or_default()
    }
}

impl FromStr for GroupId {
    type Err = ParseGroupIdError;

    fn from_str(text: &str) -> Result<Self, ParseGroupIdError> {
        let mut parts = text.split('/');
        let (Some(namespace), Some(pool), Some(ordinal), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseGroupIdError);
        };
        let number: u32 = ordinal.parse().map_err(|_| ParseGroupIdError)?;
        if !is_label(namespace) || !is_label(pool) || number.to_string() != ordinal {
            return Err(ParseGroupIdError);
        }
        Ok(Self(text.into()))
    }
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=LABEL_CHARS_MAX).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({:?})", &*self.0)
    }
}

impl Serialize for GroupId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for GroupId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A life of a group's writer; the next one has a higher number. 0 means: not known.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_reads_back_and_knows_its_parts() {
        let group = GroupId::new("team-a", "default", 12).expect("a group");
        assert_eq!(group.as_str(), "team-a/default/12");
        assert_eq!("team-a/default/12".parse(), Ok(group.clone()));
        assert_eq!(
            (group.namespace(), group.pool(), group.ordinal()),
            ("team-a", "default", 12)
        );
    }

    #[test]
    fn what_is_no_group_is_refused() {
        for bad in [
            "",
            "a/b",
            "a/b/c",
            "a/b/1/2",
            "a/b/01",
            "a/b/+1",
            "A/b/1",
            "a//1",
            "-a/b/1",
            "a/b-/1",
            "a/b/4294967296",
        ] {
            assert_eq!(bad.parse::<GroupId>(), Err(ParseGroupIdError), "{bad}");
        }
        assert!("a".repeat(64).parse::<GroupId>().is_err());
    }
}
