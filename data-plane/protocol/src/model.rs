//! The service model, applied: does a body have the operation's form, and do its values keep the
//! constraints? Answers with AWS's exact texts.
//!
//! The model is the checked-in digest `model/kinesis.json`. [`read`] turns a [`Document`] into a
//! [`Structure`] of known members of the right types, or `SerializationException`; [`check`] finds
//! broken constraints. The texts and their order were taken from kinesalite's `test/*.js`, which
//! were run against AWS; where AWS's order varies, ours is the one recorded first.

mod check;
mod digest;
mod read;

pub use check::check;
pub use digest::{MODEL, Model, OperationModel, Shape, ShapeType};
pub use read::read;

#[cfg(doc)]
use crate::document::Document;
use std::borrow::Cow;

use millstream_types::Millis;

/// A value of the type that the model wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A boolean.
    Bool(bool),
    /// An integer or a long.
    Integer(i64),
    /// A time.
    Time(Millis),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes.
    Blob(Vec<u8>),
    /// A list; an element may be null.
    List(Vec<Option<Self>>),
    /// A map of texts to values; a value may be null.
    Map(Vec<(Cow<'a, str>, Option<Self>)>),
    /// A structure.
    Structure(Structure<'a>),
}

/// Members of a structure, by the model's names; each at most once, none of them null.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Structure<'a>(Vec<(&'static str, Value<'a>)>);

impl<'a> Structure<'a> {
    /// The member of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// Takes the member of that name out.
    pub fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.0.iter().position(|(n, _)| *n == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Sets a member; of one name the last counts, and null is absence.
    fn set(&mut self, name: &'static str, value: Option<Value<'a>>) {
        self.0.retain(|(n, _)| *n != name);
        self.0.extend(value.map(|value| (name, value)));
    }
}

/// Most bytes of one value that an answer shows; AWS's own bound is not known.
const SHOWN_VALUE_BYTES_MAX: usize = 16 * 1024;

/// The part of a text that an answer shows.
fn cut(text: &str) -> &str {
    let mut end = SHOWN_VALUE_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end)
        .expect("a character boundary within the text")
}
