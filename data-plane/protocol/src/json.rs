//! Writing JSON into one buffer, and the question whether a body is a JSON object.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use millstream_types::Millis;

use crate::writer::Writer;

/// Whether the body is a JSON object or list, which is what AWS takes for a structure at this
/// stage. Nothing of it is kept.
#[must_use]
pub fn is_object(body: &[u8]) -> bool {
    let first = body.iter().find(|b| !b.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'['))
        && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// Appends JSON values to a buffer. Commas come by themselves.
#[derive(Debug)]
pub struct JsonWriter {
    out: Vec<u8>,
    /// Whether the next value or name is the first of its object or list, or follows a name.
    first: bool,
}

impl JsonWriter {
    fn separate(&mut self) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
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

    fn show(&mut self, value: impl fmt::Display) {
        write!(Append(&mut self.out), "{value}").expect("a Vec takes all");
    }
}

impl Writer for JsonWriter {
    fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
            first: true,
        }
    }

    fn finish(self) -> Bytes {
        self.out.into()
    }

    fn begin_object(&mut self) {
        self.separate();
        self.out.push(b'{');
        self.first = true;
    }

    fn end_object(&mut self) {
        self.out.push(b'}');
        self.first = false;
    }

    fn begin_list(&mut self) {
        self.separate();
        self.out.push(b'[');
        self.first = true;
    }

    fn end_list(&mut self) {
        self.out.push(b']');
        self.first = false;
    }

    fn field(&mut self, name: &str) {
        debug_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.first = true;
    }

    fn string(&mut self, text: &str) {
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

    fn plain(&mut self, value: impl fmt::Display) {
        self.separate();
        self.out.push(b'"');
        self.show(value);
        self.out.push(b'"');
    }

    fn blob(&mut self, data: &[u8]) {
        self.separate();
        self.out.push(b'"');
        base64_simd::STANDARD.encode_append(data, &mut self.out);
        self.out.push(b'"');
    }

    fn integer(&mut self, value: u64) {
        self.separate();
        self.show(value);
    }

    fn boolean(&mut self, value: bool) {
        self.separate();
        self.show(value);
    }

    fn timestamp(&mut self, time: Millis) {
        self.separate();
        match time.0 % 1000 {
            0 => self.show(time.seconds()),
            ms => self.show(format_args!("{}.{ms:03}", time.seconds())),
        }
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

    fn written(write: impl FnOnce(&mut JsonWriter)) -> String {
        let mut writer = JsonWriter::with_capacity(16);
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
