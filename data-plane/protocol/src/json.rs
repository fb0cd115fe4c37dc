//! Writing JSON into one buffer, and the question whether a body is a JSON object.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use millstream_types::Millis;

/// Whether the body is a JSON object or list, which is what AWS takes for a structure at this
/// stage. Nothing of it is kept.
#[must_use]
pub fn is_object(body: &[u8]) -> bool {
    let first = body.iter().find(|b| !b.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'['))
        && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// Appends JSON values to a buffer. Commas come by themselves; names and nesting are the caller's.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    /// Whether the next value or name is the first of its object or list, or follows a name.
    first: bool,
}

impl Writer {
    /// A writer whose buffer holds `bytes` before it must grow.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
            first: true,
        }
    }

    /// The JSON written so far.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.out.into()
    }

    fn separate(&mut self) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
    }

    /// Opens an object.
    pub fn begin_object(&mut self) {
        self.separate();
        self.out.push(b'{');
        self.first = true;
    }

    /// Closes an object.
    pub fn end_object(&mut self) {
        self.out.push(b'}');
        self.first = false;
    }

    /// Opens a list.
    pub fn begin_list(&mut self) {
        self.separate();
        self.out.push(b'[');
        self.first = true;
    }

    /// Closes a list.
    pub fn end_list(&mut self) {
        self.out.push(b']');
        self.first = false;
    }

    /// The name of the value that comes next; it needs no escapes.
    pub fn field(&mut self, name: &str) {
        debug_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.first = true;
    }

    /// A text.
    pub fn string(&mut self, text: &str) {
        self.separate();
        self.out.push(b'"');
        let mut rest = text.as_bytes();
        while let Some(at) = rest
            .iter()
            .position(|&b| b < 0x20 || b == b'"' || b == b'\\')
        {
            self.out.extend_from_slice(&rest[..at]);
            self.escape(rest[at]);
            rest = &rest[at + 1..];
        }
        self.out.extend_from_slice(rest);
        self.out.push(b'"');
    }

    fn escape(&mut self, byte: u8) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => {
                self.out.extend_from_slice(b"\\u00");
                self.out.push(HEX[usize::from(byte >> 4)]);
                self.out.push(HEX[usize::from(byte & 15)]);
                return;
            },
        };
        self.out.extend([b'\\', short]);
    }

    /// A text made of what a value shows, which needs no escapes (numbers, ids).
    pub fn plain(&mut self, value: impl fmt::Display) {
        self.separate();
        self.out.push(b'"');
        self.show(value);
        self.out.push(b'"');
    }

    /// Bytes, as base64.
    pub fn blob(&mut self, data: &[u8]) {
        self.separate();
        self.out.push(b'"');
        base64_simd::STANDARD.encode_append(data, &mut self.out);
        self.out.push(b'"');
    }

    /// A whole number.
    pub fn integer(&mut self, value: u64) {
        self.separate();
        self.show(value);
    }

    /// True or false.
    pub fn boolean(&mut self, value: bool) {
        self.separate();
        self.show(value);
    }

    /// A time: seconds since the epoch with the milliseconds behind the point.
    pub fn timestamp(&mut self, time: Millis) {
        self.separate();
        match time.0 % 1000 {
            0 => self.show(time.seconds()),
            ms => self.show(format_args!("{}.{ms:03}", time.seconds())),
        }
    }

    fn show(&mut self, value: impl fmt::Display) {
        write!(Append(&mut self.out), "{value}").expect("a Vec takes all");
    }
}

struct Append<'a>(&'a mut Vec<u8>);

impl fmt::Write for Append<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Writer)) -> String {
        let mut writer = Writer::with_capacity(16);
        write(&mut writer);
        String::from_utf8(writer.finish().to_vec()).expect("JSON is UTF-8")
    }

    #[test]
    fn values_are_separated() {
        let text = written(|w| {
            w.begin_object();
            w.field("a");
            w.begin_list();
            w.integer(1);
            w.begin_object();
            w.end_object();
            w.begin_object();
            w.field("x");
            w.boolean(true);
            w.end_object();
            w.end_list();
            w.field("b");
            w.blob(b"\xff\xff");
            w.field("c");
            w.plain(7);
            w.end_object();
        });
        assert_eq!(text, r#"{"a":[1,{},{"x":true}],"b":"//8=","c":"7"}"#);
    }

    #[test]
    fn times_are_seconds_with_milliseconds_behind_the_point() {
        assert_eq!(
            written(|w| w.timestamp(Millis(1_441_215_410_867))),
            "1441215410.867"
        );
        assert_eq!(
            written(|w| w.timestamp(Millis(1_441_215_410_007))),
            "1441215410.007"
        );
        assert_eq!(
            written(|w| w.timestamp(Millis(1_441_215_410_000))),
            "1441215410"
        );
    }

    #[test]
    fn only_objects_and_lists_count_as_structures() {
        for good in ["{}", " \n{\"a\":[1,2.5,null]} ", "[]"] {
            assert!(is_object(good.as_bytes()), "{good}");
        }
        for bad in [
            "", "hello", "true", "null", "1", "\"{}\"", "{", "{}x", "{'a':1}", "{\"a\":}",
        ] {
            assert!(!is_object(bad.as_bytes()), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text: String) {
            let json = written(|w| w.string(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).ok(), Some(text));
        }

        #[test]
        fn any_control_character_reads_back(text in "[\u{0}-\u{7f}]{0,40}") {
            let json = written(|w| w.string(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).ok(), Some(text));
        }

        #[test]
        fn any_bytes_are_no_panic(body: Vec<u8>) {
            let _unused = is_object(&body);
        }
    }
}
