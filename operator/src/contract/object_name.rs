//! The object of a stream that an SDK client created: its name, from the stream's.
//!
//! A stream name may have upper case, `_` and 128 characters; an object name may not. So the
//! readable part is what fits, and the digest keeps two names apart.

use std::fmt::Write as _;

use millstream_types::StreamName;
use sha2::{Digest as _, Sha256};

/// Most characters of the readable part.
const READABLE_CHARS_MAX: usize = 40;
/// Bytes of the digest that are shown, two digits each.
const DIGEST_BYTES: usize = 4;
/// Stands where nothing of the name is readable.
const NAMELESS: &str = "stream";

/// `<sanitised, at most 40>-<8 hexadecimal digits of sha256>`.
#[must_use]
pub fn object_name(stream: &StreamName) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
        _ => '-',
    };
    let cut: String = stream
        .as_str()
        .chars()
        .take(READABLE_CHARS_MAX)
        .map(plain)
        .collect();
    let readable = match cut.trim_matches('-') {
        "" => NAMELESS,
        some => some,
    };
    let mut name = readable.to_owned();
    name.push('-');
    for byte in Sha256::digest(stream.as_str().as_bytes())
        .iter()
        .take(DIGEST_BYTES)
    {
        write!(name, "{byte:02x}").expect("a String takes everything");
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(text: &str) -> String {
        object_name(&text.parse().expect("a stream name"))
    }

    #[test]
    fn the_readable_part_is_cut_and_the_digest_keeps_names_apart() {
        assert!(named("Orders_EU.v2").starts_with("orders-eu-v2-"));
        assert!(named("...").starts_with("stream-"));
        assert_ne!(named("a_b"), named("a-b"));
        let long = named(&"X".repeat(128));
        assert_eq!(long.len(), 40 + 1 + 8);
    }

    proptest! {
        #[test]
        fn it_is_always_a_dns_label(stream in "[a-zA-Z0-9_.-]{1,128}") {
            let name = named(&stream);
            prop_assert!(name.len() <= 63);
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            prop_assert!(name.chars().all(fits) && !name.starts_with('-') && !name.ends_with('-'));
        }
    }
}
