//! Text that must be text: `name: 7` is a number to the API server, and so it is to us.
//!
//! The YAML reader hands any plain scalar to a field that asks for a string. These functions, for
//! `#[serde(deserialize_with)]`, ask what the scalar is instead.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// A string that was written as one.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string (put it in quotes)")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }
}

/// A string; absent is the caller's affair, null is refused.
pub(crate) fn required<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Text::deserialize(value).map(|text| text.0)
}

/// A string or null.
pub(crate) fn optional<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text>::deserialize(value)?.map(|text| text.0))
}

/// A map whose values are strings, or null. Keys may be any scalar: JSON has no others.
pub(crate) fn optional_map<'de, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let map = Option::<BTreeMap<String, Text>>::deserialize(value)?;
    Ok(map.map(|map| map.into_iter().map(|(key, text)| (key, text.0)).collect()))
}

/// A map whose values are strings; null is empty.
pub(crate) fn map<'de, D: Deserializer<'de>>(
    value: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    optional_map(value).map(Option::unwrap_or_default)
}
