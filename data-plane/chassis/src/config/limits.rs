//! The limits of an account, from the file that `--limits` names.
//!
//! A map of the names in [`Limits`]; what it leaves out keeps its default.

use std::path::Path;

use millstream_types::caps;

use super::source::read_text;
use crate::yaml::{self, Value};

/// Most shards that `accountShards` may allow: ten times the default.
pub const ACCOUNT_SHARDS_MAX: u64 = 10 * caps::ACCOUNT_SHARDS_DEFAULT as u64;
const ACCOUNT_SHARDS: &str = "accountShards";

/// What one account may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Shards in all its regions together; `accountShards` in the file.
    pub account_shards: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            account_shards: u64::from(caps::ACCOUNT_SHARDS_DEFAULT),
        }
    }
}

/// The limits that the value of `--limits` stands for; a refusal is the problem and its fix.
pub(super) fn parse(text: &str) -> Result<Limits, String> {
    match text {
        "unlimited" => Ok(Limits::default()),
        "aws" => Err(
            "limits per shard come with a later version; use 'unlimited', or a file of account \
             limits"
                .to_owned(),
        ),
        path => read(Path::new(path)),
    }
}

fn read(path: &Path) -> Result<Limits, String> {
    let text = read_text(path).map_err(|problem| {
        format!("{problem}; use 'unlimited', or the path of a file of account limits")
    })?;
    let documents = yaml::documents(&text).map_err(|error| error.to_string())?;
    let mut limits = Limits::default();
    let map = match &documents[..] {
        [] | [Value::Null] => return Ok(limits),
        [Value::Mapping(map)] => map,
        _ => {
            return Err(format!(
                "it is not one map of limits, such as '{ACCOUNT_SHARDS}: 500'"
            ));
        },
    };
    for (key, value) in map {
        match key.as_str() {
            Some(ACCOUNT_SHARDS) => limits.account_shards = account_shards(value)?,
            _ => {
                let key = key.as_str().unwrap_or("a key that is no text");
                return Err(format!("'{key}' is no limit; there is {ACCOUNT_SHARDS}"));
            },
        }
    }
    Ok(limits)
}

fn account_shards(value: &Value) -> Result<u64, String> {
    let shards = value.as_u64();
    shards
        .filter(|shards| (1..=ACCOUNT_SHARDS_MAX).contains(shards))
        .ok_or_else(|| {
            format!("{ACCOUNT_SHARDS} is no whole number from 1 to {ACCOUNT_SHARDS_MAX}; write one")
        })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// The outcome of a file with this text.
    fn of_file(text: &str) -> Result<Limits, String> {
        read(file(text).path())
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    #[test]
    fn a_file_sets_what_it_names_and_leaves_the_rest() {
        let set = |account_shards| Ok(Limits { account_shards });
        assert_eq!(of_file("accountShards: 5\n"), set(5));
        assert_eq!(of_file("accountShards: 100000\n"), set(100_000));
        assert_eq!(of_file(""), set(10_000));
        assert_eq!(of_file("# nothing yet\n"), set(10_000));
        assert_eq!(parse("unlimited"), set(10_000));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_refused_with_the_field_and_the_fix() {
        for (text, expected) in [
            (
                "accountShards: 0\n",
                "accountShards is no whole number from 1 to 100000",
            ),
            ("accountShards: 100001\n", "accountShards is no whole"),
            ("accountShards: -1\n", "accountShards is no whole"),
            ("accountShards: 1.5\n", "accountShards is no whole"),
            ("accountShards: \"5\"\n", "accountShards is no whole"),
            ("accountShards:\n", "accountShards is no whole"),
            (
                "accountshards: 5\n",
                "'accountshards' is no limit; there is accountShards",
            ),
            ("5: 5\n", "a key that is no text"),
            ("accountShards: 5\naccountShards: 6\n", "duplicate"),
            ("- accountShards\n", "not one map of limits"),
            ("accountShards: 5\n---\naccountShards: 6\n", "not one map"),
            ("accountShards: [\n", "line"),
        ] {
            let problem = of_file(text).expect_err(text);
            assert!(problem.contains(expected), "{text:?} gave {problem}");
        }
        let large = of_file(&"#".repeat(1024 * 1024 + 1)).expect_err("too large");
        assert!(large.contains("over 1MiB"), "{large}");
    }

    #[test]
    fn a_word_that_is_no_profile_is_taken_for_a_file_and_the_profiles_are_named() {
        let typo = parse("unlimitd").expect_err("no such file");
        assert!(typo.contains("use 'unlimited'"), "{typo}");
        let aws = parse("aws").expect_err("refused by name");
        assert!(aws.contains("later version"), "{aws}");
        let endless = parse("/dev/zero").expect_err("no end");
        assert!(endless.contains("over 1MiB"), "{endless}");
    }
}
