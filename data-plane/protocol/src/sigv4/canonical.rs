//! The canonical form of a request: what is hashed, signed, and compared.
//!
//! Method, path, query, signed headers, their names, and the hash of the body, each on its own
//! line. Every byte of them counts, but for blanks around and within a header's value and for the
//! dots and doubled slashes that a path does not need.

use super::authorization::{Form, QUERY_SIGNATURE};
use super::{Authorization, RequestHead};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The canonical request; `body_hash` is in hexadecimal, or stands for an unsigned body.
pub(super) fn request(
    head: &RequestHead<'_>,
    authorization: &Authorization<'_>,
    body_hash: &str,
) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(head.method.as_bytes());
    text.push(b'\n');
    path(head.path, &mut text);
    text.push(b'\n');
    if let Some(sent) = head.query {
        query(sent, authorization.form, &mut text);
    }
    text.push(b'\n');
    for name in authorization.signed_headers.split(';') {
        let name = name.to_ascii_lowercase();
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        values(head, &name, &mut text);
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(authorization.signed_headers.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(body_hash.as_bytes());
    text
}

/// The path without dot segments and empty ones, percent-encoded once more.
fn path(sent: &str, text: &mut Vec<u8>) {
    if !sent.is_empty() && !sent.starts_with('/') {
        // No path at all, such as the `*` of OPTIONS.
        return sent.bytes().for_each(|byte| encoded(byte, text));
    }
    let mut segments = Vec::new();
    for segment in sent.split('/') {
        match segment {
            "" | "." => {},
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    for segment in &segments {
        text.push(b'/');
        for byte in segment.bytes() {
            encoded(byte, text);
        }
    }
    let ends_open = ["/", "/.", "/.."].iter().any(|end| sent.ends_with(end));
    if segments.is_empty() || ends_open {
        text.push(b'/');
    }
}

/// The parameters in order, without the signature. What is percent-encoded stays as it was sent, so
/// that no two queries of one length have the same form.
fn query(sent: &str, form: Form, text: &mut Vec<u8>) {
    let mut signature_seen = form == Form::Header;
    let mut pairs = Vec::new();
    for pair in sent.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !signature_seen && name == QUERY_SIGNATURE {
            signature_seen = true;
        } else if !sent.is_empty() {
            pairs.push((parameter(name), parameter(value)));
        }
    }
    pairs.sort_unstable();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            text.push(b'&');
        }
        text.extend_from_slice(name);
        text.push(b'=');
        text.extend_from_slice(value);
    }
}

/// A name or a value of the query with everything encoded that must be.
fn parameter(sent: &str) -> Vec<u8> {
    let bytes = sent.as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        let digits = bytes.get(at + 1..at + 3);
        let triple = digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if *byte == b'%' && triple {
            text.push(b'%');
        } else {
            encoded(*byte, &mut text);
        }
    }
    text
}

fn encoded(byte: u8, text: &mut Vec<u8>) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
        text.push(byte);
    } else {
        text.push(b'%');
        text.push(HEX[usize::from(byte >> 4)]);
        text.push(HEX[usize::from(byte & 15)]);
    }
}

/// All values of a header with single blanks, joined by commas.
fn values(head: &RequestHead<'_>, name: &str, text: &mut Vec<u8>) {
    let mut first = true;
    for (_, value) in head.headers.iter().filter(|(found, _)| *found == name) {
        if !first {
            text.push(b',');
        }
        first = false;
        single_blanks(value, text);
    }
    let stands_for_host = matches!(name, "host" | ":authority");
    if first
        && stands_for_host
        && let Some(authority) = head.authority
    {
        text.extend_from_slice(authority.as_bytes());
    }
}

fn single_blanks(value: &[u8], text: &mut Vec<u8>) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t'));
    let words = words.filter(|word| !word.is_empty());
    for (at, word) in words.enumerate() {
        if at > 0 {
            text.push(b' ');
        }
        text.extend_from_slice(word);
    }
}
