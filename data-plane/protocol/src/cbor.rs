//! AWS CBOR 1.1, which the SDKs for Java speak to Kinesis: RFC 8949 with the members and errors of
//! AWS JSON, byte strings for blobs, and times as milliseconds since the epoch.
//!
//! Reading is in `read`; here is the writer. Texts, bytes and numbers have their shortest form,
//! objects a definite length, lists an indefinite one, for they are written as they come.

mod read;

use std::fmt::{self, Write as _};

use bytes::Bytes;
use millstream_types::Millis;

pub(crate) use read::read;

use crate::document::Document;
use crate::writer::Writer;

/// The high bits of a head: of what kind an item is.
const UNSIGNED: u8 = 0x00;
const NEGATIVE: u8 = 0x20;
const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const LIST: u8 = 0x80;
const MAP: u8 = 0xa0;
const TAG: u8 = 0xc0;
const SIMPLE: u8 = 0xe0;

/// The low bits of a head: a value, the bytes that follow, or no length at all.
const ARGUMENT: u8 = 0b1_1111;
const ONE_BYTE: u8 = 24;
const INDEFINITE: u8 = 31;

const FALSE: u8 = SIMPLE | 20;
const TRUE: u8 = SIMPLE | 21;
const BREAK: u8 = SIMPLE | INDEFINITE;

/// Most fields of one object: their number stands in the head, which is written before them.
const FIELDS_MAX: u8 = ONE_BYTE - 1;

/// Whether the body is one CBOR map or list, which is what AWS takes for a structure at this stage.
#[must_use]
pub fn is_object(body: &[u8]) -> bool {
    matches!(read(body), Some(Document::Map(_) | Document::List(_)))
}

/// Appends CBOR values to a buffer.
#[derive(Debug)]
pub struct CborWriter {
    out: Vec<u8>,
    /// Where the heads of the open objects are.
    objects: Vec<usize>,
    /// What a value shows, before its length is known.
    shown: String,
}

impl CborWriter {
    /// A head with its argument in the shortest form.
    fn head(&mut self, major: u8, argument: u64) {
        let bytes = argument.to_be_bytes();
        let [.., high, low] = bytes;
        match argument {
            0..=23 => self.out.push(major | low),
            24..=0xff => self.out.extend([major | ONE_BYTE, low]),
            0x100..=0xffff => self.out.extend([major | 25, high, low]),
            0x1_0000..=0xffff_ffff => {
                self.out.push(major | 26);
                self.out.extend(&bytes[4..]);
            },
            _ => {
                self.out.push(major | 27);
                self.out.extend(bytes);
            },
        }
    }
}

impl Writer for CborWriter {
    fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
            objects: Vec::with_capacity(8),
            shown: String::new(),
        }
    }

    fn finish(self) -> Bytes {
        debug_assert!(self.objects.is_empty(), "an object is still open");
        self.out.into()
    }

    fn begin_object(&mut self) {
        self.objects.push(self.out.len());
        self.out.push(MAP);
    }

    fn end_object(&mut self) {
        self.objects.pop();
    }

    fn begin_list(&mut self) {
        self.out.push(LIST | INDEFINITE);
    }

    fn end_list(&mut self) {
        self.out.push(BREAK);
    }

    fn field(&mut self, name: &str) {
        let at = *self.objects.last().expect("a field is in an object");
        assert!(self.out[at] < MAP | FIELDS_MAX, "too many fields");
        self.out[at] += 1;
        self.string(name);
    }

    fn string(&mut self, text: &str) {
        self.head(TEXT, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn plain(&mut self, value: impl fmt::Display) {
        let mut shown = std::mem::take(&mut self.shown);
        shown.clear();
        write!(shown, "{value}").expect("a String takes all");
        self.string(&shown);
        self.shown = shown;
    }

    fn blob(&mut self, data: &[u8]) {
        self.head(BYTES, data.len() as u64);
        self.out.extend_from_slice(data);
    }

    fn integer(&mut self, value: u64) {
        self.head(UNSIGNED, value);
    }

    fn boolean(&mut self, value: bool) {
        self.out.push(if value { TRUE } else { FALSE });
    }

    fn timestamp(&mut self, time: Millis) {
        self.integer(time.0);
    }
}

#[cfg(test)]
#[path = "cbor/tests.rs"]
mod tests;
