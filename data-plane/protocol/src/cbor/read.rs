//! Reads one CBOR item into a [`Document`], without trust: every length is held against the bytes
//! that are there before anything is allocated for it.
//!
//! Taken is what clients send and a [`Document`] can hold: definite and indefinite lengths, tags
//! (dropped), floats of all widths, null and undefined. Map keys are texts. The bounds are those of
//! JSON: [`NODES_MAX`] values, [`DEPTH_MAX`] deep.

use std::borrow::Cow;

use super::{
    ARGUMENT, BREAK, BYTES, FALSE, INDEFINITE, LIST, MAP, NEGATIVE, ONE_BYTE, SIMPLE, TAG, TEXT,
    TRUE, UNSIGNED,
};
use crate::document::{DEPTH_MAX, Document, NODES_MAX};

const NULL: u8 = SIMPLE | 22;
const UNDEFINED: u8 = SIMPLE | 23;
const HALF: u8 = SIMPLE | 25;
const FLOAT: u8 = SIMPLE | 26;
const DOUBLE: u8 = SIMPLE | 27;

/// The one item that the body is; none when it is no CBOR of the kind above.
pub(crate) fn read(body: &[u8]) -> Option<Document<'_>> {
    let mut reader = Reader {
        rest: body,
        values_left: NODES_MAX,
    };
    let document = reader.item(DEPTH_MAX)?;
    reader.rest.is_empty().then_some(document)
}

/// How many elements or bytes a head announces.
#[derive(Clone, Copy)]
enum Length {
    Definite(u64),
    UntilBreak,
}

struct Reader<'a> {
    rest: &'a [u8],
    values_left: u32,
}

impl<'a> Reader<'a> {
    /// One item, in which others may be `depth` deep.
    fn item(&mut self, depth: u32) -> Option<Document<'a>> {
        self.values_left = self.values_left.checked_sub(1)?;
        let head = self.byte()?;
        Some(match head & !ARGUMENT {
            UNSIGNED => unsigned(self.argument(head)?),
            NEGATIVE => negative(self.argument(head)?),
            BYTES => Document::Bytes(self.bytes(head)?),
            TEXT => Document::Text(self.text(head)?),
            LIST => self.list(head, depth.checked_sub(1)?)?,
            MAP => self.map(head, depth.checked_sub(1)?)?,
            TAG => {
                self.argument(head)?;
                self.item(depth.checked_sub(1)?)?
            },
            _ => self.simple(head)?,
        })
    }

    fn list(&mut self, head: u8, depth: u32) -> Option<Document<'a>> {
        let length = self.length(head)?;
        let mut items = Vec::new();
        while self.goes_on(length, items.len())? {
            items.push(self.item(depth)?);
        }
        Some(Document::List(items))
    }

    fn map(&mut self, head: u8, depth: u32) -> Option<Document<'a>> {
        let length = self.length(head)?;
        let mut items = Vec::new();
        while self.goes_on(length, items.len())? {
            let name = self.byte()?;
            if name & !ARGUMENT != TEXT {
                return None;
            }
            let name = self.text(name)?;
            items.push((name, self.item(depth)?));
        }
        Some(Document::Map(items))
    }

    /// Whether another element comes after `read` of them; takes the break away.
    fn goes_on(&mut self, length: Length, read: usize) -> Option<bool> {
        match length {
            Length::Definite(length) => Some((read as u64) < length),
            Length::UntilBreak if *self.rest.first()? == BREAK => {
                self.byte()?;
                Some(false)
            },
            Length::UntilBreak => Some(true),
        }
    }

    /// A byte string, borrowed unless it comes in parts.
    fn bytes(&mut self, head: u8) -> Option<Cow<'a, [u8]>> {
        let length = match self.length(head)? {
            Length::Definite(length) => return self.take(length).map(Cow::Borrowed),
            length @ Length::UntilBreak => length,
        };
        let mut whole = Vec::new();
        while self.goes_on(length, 0)? {
            whole.extend_from_slice(self.part(head)?);
        }
        Some(Cow::Owned(whole))
    }

    /// A text, borrowed unless it comes in parts.
    fn text(&mut self, head: u8) -> Option<Cow<'a, str>> {
        let length = match self.length(head)? {
            Length::Definite(length) => {
                let text = std::str::from_utf8(self.take(length)?).ok()?;
                return Some(Cow::Borrowed(text));
            },
            length @ Length::UntilBreak => length,
        };
        let mut whole = String::new();
        while self.goes_on(length, 0)? {
            whole.push_str(std::str::from_utf8(self.part(head)?).ok()?);
        }
        Some(Cow::Owned(whole))
    }

    /// A part of a string that began with `outer`: of the same kind, with a length.
    fn part(&mut self, outer: u8) -> Option<&'a [u8]> {
        let head = self.byte()?;
        if head & !ARGUMENT != outer & !ARGUMENT {
            return None;
        }
        let length = self.argument(head)?;
        self.take(length)
    }

    fn simple(&mut self, head: u8) -> Option<Document<'a>> {
        Some(match head {
            FALSE => Document::Bool(false),
            TRUE => Document::Bool(true),
            NULL | UNDEFINED => Document::Null,
            HALF => Document::Double(half(u16::from_be_bytes(self.array()?))),
            FLOAT => Document::Double(f32::from_be_bytes(self.array()?).into()),
            DOUBLE => Document::Double(f64::from_be_bytes(self.array()?)),
            _ => return None,
        })
    }

    fn length(&mut self, head: u8) -> Option<Length> {
        if head & ARGUMENT == INDEFINITE {
            return Some(Length::UntilBreak);
        }
        self.argument(head).map(Length::Definite)
    }

    fn argument(&mut self, head: u8) -> Option<u64> {
        match head & ARGUMENT {
            small @ 0..ONE_BYTE => Some(small.into()),
            ONE_BYTE => self.byte().map(u64::from),
            25 => self.array().map(|bytes| u16::from_be_bytes(bytes).into()),
            26 => self.array().map(|bytes| u32::from_be_bytes(bytes).into()),
            27 => self.array().map(u64::from_be_bytes),
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "above 2^63 a double is near enough"
)]
fn unsigned(value: u64) -> Document<'static> {
    i64::try_from(value).map_or(Document::Double(value as f64), Document::Integer)
}

/// -1 - `argument`.
#[expect(
    clippy::cast_precision_loss,
    reason = "below -2^63 a double is near enough"
)]
fn negative(argument: u64) -> Document<'static> {
    i64::try_from(argument).map_or_else(
        |_| Document::Double(-1.0 - argument as f64),
        |argument| Document::Integer(-1 - argument),
    )
}

/// A float of 16 bits (RFC 8949, appendix D).
fn half(bits: u16) -> f64 {
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 0 { size } else { -size }
}
