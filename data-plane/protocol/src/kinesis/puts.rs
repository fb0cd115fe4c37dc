//! A short cut from the body of a put to the typed request: one pass over the JSON, base64 decoded
//! once, all data and keys of a request in one buffer.
//!
//! It takes only bodies that need no second look: known members once each, of the right type and
//! within every constraint. Of anything else it says nothing (`None`), and the model reads the
//! body again and finds the words. A property holds the two ways together.

use std::borrow::Cow;

use bytes::Bytes;
use millstream_types::{HashKey, StreamArn, StreamName, caps};

use super::operation::Operation;
use super::request::{
    KeyBytes, PutEntry, PutRecord, PutRecords, Request, SequenceText, StreamTarget,
};

/// Longest decimal number that the model takes for a sequence number.
const SEQUENCE_DIGITS_MAX: usize = 129;

/// Reads a put, if it is of the plain form.
pub(super) fn decode(operation: Operation, body: &Bytes) -> Option<Request> {
    match operation {
        Operation::PutRecord => put_record(body).map(Request::PutRecord),
        Operation::PutRecords => put_records(body).map(Request::PutRecords),
        _ => None,
    }
}

fn put_record(body: &[u8]) -> Option<PutRecord> {
    let mut scan = Scan::new(body)?;
    let mut stream = StreamTarget::default();
    let mut raw = RawEntry::default();
    let mut ordering = None;
    scan.object(|scan, name| match name {
        "Data" => set(&mut raw.data, scan.text()?),
        "PartitionKey" => set(&mut raw.partition_key, scan.text()?),
        "ExplicitHashKey" => set(&mut raw.explicit_hash_key, scan.text()?.parse().ok()?),
        "SequenceNumberForOrdering" => set(&mut ordering, sequence(&scan.text()?)?),
        _ => stream_member(&mut stream, scan, name),
    })?;
    scan.end()?;
    let mut shared = Shared::with_room_for(std::slice::from_ref(&raw))?;
    shared.add(&raw)?;
    let entry = shared.freeze(std::slice::from_ref(&raw))?.pop()?;
    Some(PutRecord {
        stream,
        entry,
        sequence_number_for_ordering: ordering,
        dry_run: false,
    })
}

fn put_records(body: &[u8]) -> Option<PutRecords> {
    let mut scan = Scan::new(body)?;
    let mut stream = StreamTarget::default();
    let mut records = None;
    scan.object(|scan, name| match name {
        "Records" => set(&mut records, entries(scan)?),
        _ => stream_member(&mut stream, scan, name),
    })?;
    scan.end()?;
    let raw = records?;
    let mut shared = Shared::with_room_for(&raw)?;
    for entry in &raw {
        shared.add(entry)?;
    }
    Some(PutRecords {
        stream,
        entries: shared.freeze(&raw)?,
        dry_run: false,
    })
}

fn entries<'a>(scan: &mut Scan<'a>) -> Option<Vec<RawEntry<'a>>> {
    let mut entries = Vec::new();
    scan.list(|scan| {
        if entries.len() == caps::PUT_RECORDS_ENTRIES_MAX {
            return None;
        }
        let mut raw = RawEntry::default();
        scan.object(|scan, name| match name {
            "Data" => set(&mut raw.data, scan.text()?),
            "PartitionKey" => set(&mut raw.partition_key, scan.text()?),
            "ExplicitHashKey" => set(&mut raw.explicit_hash_key, scan.text()?.parse().ok()?),
            _ => None,
        })?;
        entries.push(raw);
        Some(())
    })?;
    (!entries.is_empty()).then_some(entries)
}

fn stream_member(stream: &mut StreamTarget, scan: &mut Scan<'_>, name: &str) -> Option<()> {
    match name {
        "StreamName" => set(&mut stream.name, scan.text()?.parse::<StreamName>().ok()?),
        "StreamARN" => {
            let text = scan.text()?;
            // The model's bound and blanks are the model's to judge.
            let plain = text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic());
            set(
                &mut stream.arn,
                plain.then(|| text.parse::<StreamArn>().ok())??,
            )
        },
        _ => None,
    }
}

/// Sets a member that must not have been set before.
fn set<T>(member: &mut Option<T>, value: T) -> Option<()> {
    member.replace(value).is_none().then_some(())
}

/// A sequence number as the model has it: digits without leading zeros.
fn sequence(text: &str) -> Option<SequenceText> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    let fits = digits && !leading_zero && text.len() <= SEQUENCE_DIGITS_MAX;
    fits.then(|| SequenceText(text.to_owned()))
}

/// An entry as it stands in the body.
#[derive(Default)]
struct RawEntry<'a> {
    data: Option<Cow<'a, str>>,
    partition_key: Option<Cow<'a, str>>,
    explicit_hash_key: Option<HashKey>,
}

/// The buffer that holds data and keys of all entries of a request.
struct Shared {
    buffer: Vec<u8>,
    /// Where the data and the key of each entry end.
    ends: Vec<(usize, usize)>,
}

impl Shared {
    fn with_room_for(entries: &[RawEntry<'_>]) -> Option<Self> {
        let mut bytes = 0;
        for entry in entries {
            let data = entry.data.as_ref()?;
            let padding = data
                .bytes()
                .rev()
                .take(2)
                .take_while(|b| *b == b'=')
                .count();
            bytes += (data.len() / 4 * 3).saturating_sub(padding);
            bytes += entry.partition_key.as_ref()?.len();
        }
        Some(Self {
            buffer: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(entries.len()),
        })
    }

    fn add(&mut self, entry: &RawEntry<'_>) -> Option<()> {
        let start = self.buffer.len();
        let data = entry.data.as_ref()?;
        base64_simd::STANDARD
            .decode_append(data.as_bytes(), &mut self.buffer)
            .ok()?;
        let data_end = self.buffer.len();
        let key = entry.partition_key.as_ref()?;
        let key_fits = !key.is_empty()
            && (key.len() <= caps::PARTITION_KEY_CHARS_MAX
                || key.chars().count() <= caps::PARTITION_KEY_CHARS_MAX);
        if !key_fits || data_end - start > caps::RECORD_DATA_BYTES_MAX {
            return None;
        }
        self.buffer.extend_from_slice(key.as_bytes());
        self.ends.push((data_end, self.buffer.len()));
        Some(())
    }

    fn freeze(self, entries: &[RawEntry<'_>]) -> Option<Vec<PutEntry>> {
        let shared = Bytes::from(self.buffer);
        let mut start = 0;
        let mut out = Vec::with_capacity(entries.len());
        for (entry, (data_end, key_end)) in entries.iter().zip(self.ends) {
            out.push(PutEntry {
                data: shared.slice(start..data_end),
                partition_key: KeyBytes::trusted(shared.slice(data_end..key_end)),
                explicit_hash_key: entry.explicit_hash_key,
            });
            start = key_end;
        }
        Some(out)
    }
}

/// Walks over JSON text; every step is none when the text is not of the plain form.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn new(body: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        Some(Self { text, at: 0 })
    }

    /// The next byte that is no blank; it is left in place.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// The end of the text, after blanks.
    fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// Calls `member` for each name of an object, with the scan before its value.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let name = self.text()?;
            self.expect(b':')?;
            member(self, &name)?;
            match self.peek()? {
                b',' => self.at += 1,
                _ => return self.expect(b'}'),
            }
        }
    }

    /// Calls `element` for each element of a list, with the scan before it.
    fn list(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        loop {
            element(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                _ => return self.expect(b']'),
            }
        }
    }

    /// A text, without its quotes and escapes.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        self.expect(b'"')?;
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let length = memchr::memchr2(b'"', b'\\', rest)?;
        if rest[length] == b'\\' {
            return self.escaped_text(start);
        }
        self.at = start + length + 1;
        let text = self.text.get(start..start + length)?;
        // Base64 refuses control characters by itself; a key is short.
        let plain = length > caps::PARTITION_KEY_CHARS_MAX * 4 || text.bytes().all(|b| b >= 0x20);
        plain.then_some(Cow::Borrowed(text))
    }

    /// A text with escapes in it, whose first byte stands at `start`.
    fn escaped_text(&mut self, start: usize) -> Option<Cow<'a, str>> {
        let bytes = self.text.as_bytes();
        let mut at = start;
        loop {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                break;
            }
            at += 2;
        }
        self.at = at + 1;
        let quoted = self.text.get(start - 1..=at)?;
        serde_json::from_str::<String>(quoted).ok().map(Cow::Owned)
    }
}

#[cfg(test)]
#[path = "puts_tests.rs"]
mod tests;
