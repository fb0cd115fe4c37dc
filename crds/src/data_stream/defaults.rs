//! What a field is that a manifest leaves out, or sets to null.

use serde::{Deserialize, Deserializer};

use super::StreamMode;
use crate::text;

pub(super) const fn default_retention() -> i32 {
    24
}

pub(super) const fn default_record_size() -> i32 {
    1024
}

pub(super) fn default_pool() -> String {
    "default".to_owned()
}

// The API server prunes a null before it fills in defaults, so a null here is a default too.

pub(super) fn or_default_mode<'de, D: Deserializer<'de>>(value: D) -> Result<StreamMode, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

pub(super) fn or_default_retention<'de, D: Deserializer<'de>>(value: D) -> Result<i32, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_else(default_retention))
}

pub(super) fn or_default_record_size<'de, D: Deserializer<'de>>(value: D) -> Result<i32, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_else(default_record_size))
}

pub(super) fn or_default_pool<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(text::optional(value)?.unwrap_or_else(default_pool))
}
