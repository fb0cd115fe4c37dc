//! A request body as a tree, before the service model has been applied to it.
//!
//! JSON gives this tree, and CBOR the same one, with byte strings in it. Texts are borrowed from
//! the body where they stand there as they are. The tree is bounded: [`NODES_MAX`] values,
//! [`DEPTH_MAX`] deep.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use crate::{Codec, cbor};

/// Most values in one body. The largest good request has 500 records of three members each.
pub const NODES_MAX: u32 = 65_536;
/// Most lists and maps in one another; the JSON reader has this bound by itself.
pub const DEPTH_MAX: u32 = 128;

/// One value of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Document<'a> {
    /// Absent.
    Null,
    /// True or false.
    Bool(bool),
    /// A number without fraction that fits 64 bits.
    Integer(i64),
    /// Any other number.
    Double(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes; CBOR alone has them.
    Bytes(Cow<'a, [u8]>),
    /// Values in order.
    List(Vec<Self>),
    /// Named values in the order of the body; of one name the last counts.
    Map(Vec<(Cow<'a, str>, Self)>),
}

impl<'a> Document<'a> {
    /// Reads JSON.
    ///
    /// # Errors
    /// When the body is no JSON, is too deep or holds too many values.
    pub fn from_json(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        let budget = Cell::new(NODES_MAX);
        let mut reader = serde_json::Deserializer::from_slice(body);
        let document = Seed { budget: &budget }.deserialize(&mut reader)?;
        reader.end()?;
        Ok(document)
    }

    /// Reads CBOR; none when the body is none, is too deep or holds too many values.
    #[must_use]
    pub fn from_cbor(body: &'a [u8]) -> Option<Self> {
        cbor::read(body)
    }

    /// Reads a body of that encoding.
    #[must_use]
    pub fn read(codec: Codec, body: &'a [u8]) -> Option<Self> {
        match codec {
            Codec::Json => Self::from_json(body).ok(),
            Codec::Cbor => Self::from_cbor(body),
        }
    }
}

/// Carries the number of values that may still come.
#[derive(Clone, Copy)]
struct Seed<'b> {
    budget: &'b Cell<u32>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Document<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        let Some(left) = self.budget.get().checked_sub(1) else {
            return Err(D::Error::custom("too many values"));
        };
        self.budget.set(left);
        d.deserialize_any(self)
    }
}

/// A text, borrowed where it can be.
struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Document::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Document::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Document::Integer(value))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "above 2^63 a double is near enough"
    )]
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Document::Double(value as f64), Document::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Document::Double(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Document::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Document::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Document::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(name) = map.next_key_seed(TextSeed)? {
            items.push((name, map.next_value_seed(self)?));
        }
        Ok(Document::Map(items))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_without_escapes_are_borrowed() {
        let body = br#"{"a":"b","c":"\u00e9"}"#;
        let Ok(Document::Map(items)) = Document::from_json(body) else {
            panic!("an object");
        };
        assert!(matches!(&items[0].1, Document::Text(Cow::Borrowed("b"))));
        assert_eq!(items[1].1, Document::Text("é".into()));
    }

    #[test]
    fn numbers_keep_their_kind() {
        let read = |text: &'static str| Document::from_json(text.as_bytes()).ok();
        assert_eq!(read("-3"), Some(Document::Integer(-3)));
        assert_eq!(read("1.5e3"), Some(Document::Double(1500.0)));
        assert_eq!(
            read("18446744073709551615"),
            Some(Document::Double(1.8446744073709552e19))
        );
        assert_eq!(read("01"), None);
        assert_eq!(read("1 2"), None);
    }

    #[test]
    fn a_body_of_too_many_values_is_refused() {
        let list = |n: usize| format!("[{}1]", "1,".repeat(n - 1));
        let most = usize::try_from(NODES_MAX).expect("fits") - 1;
        assert!(Document::from_json(list(most).as_bytes()).is_ok());
        assert!(Document::from_json(list(most + 1).as_bytes()).is_err());
    }

    #[test]
    fn a_body_that_is_too_deep_is_refused() {
        assert!(Document::from_json("[".repeat(100_000).as_bytes()).is_err());
        let lists = |n: u32| {
            let n = usize::try_from(n).expect("fits");
            format!("{}{}", "[".repeat(n), "]".repeat(n))
        };
        assert!(Document::from_json(lists(DEPTH_MAX - 1).as_bytes()).is_ok());
        assert!(Document::from_json(lists(DEPTH_MAX + 1).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body: Vec<u8>) {
            let _unused = Document::from_json(&body);
        }
    }
}
