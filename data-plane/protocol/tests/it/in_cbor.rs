//! From JSON to CBOR and back, so that one table of requests and answers holds for both.

use base64_simd::STANDARD;
use millstream_protocol::document::Document;
use serde_json::{Value, json};

/// A JSON value as CBOR, as an SDK would have it: base64 under the name `Data` as bytes, times
/// in milliseconds.
pub(crate) fn from_json(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write("", value, &mut out);
    out
}

fn write(name: &str, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(value) => out.push(0xf4 + u8::from(*value)),
        Value::Number(number) => {
            let unit = if name.ends_with("Timestamp") { 1000 } else { 1 };
            match number.as_i64() {
                Some(number) if number < 0 => head(0x20, (!(number * unit)).cast_unsigned(), out),
                Some(number) => head(0, (number * unit).cast_unsigned(), out),
                None => {
                    out.push(0xfb);
                    let number = number.as_f64().expect("a number") * unit as f64;
                    out.extend(number.to_be_bytes());
                },
            }
        },
        Value::String(text) => match STANDARD.decode_to_vec(text) {
            Ok(data) if name == "Data" => {
                head(0x40, data.len() as u64, out);
                out.extend(data);
            },
            _ => string(text, out),
        },
        Value::Array(items) => {
            head(0x80, items.len() as u64, out);
            items.iter().for_each(|item| write(name, item, out));
        },
        Value::Object(items) => {
            // As the Java SDK does it: no length before, a break behind.
            out.push(0xbf);
            for (name, item) in items {
                string(name, out);
                write(name, item, out);
            }
            out.push(0xff);
        },
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    head(0x60, text.len() as u64, out);
    out.extend(text.as_bytes());
}

/// A head whose argument always has eight bytes, which is as good as the shortest form.
fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    out.push(major | 27);
    out.extend(argument.to_be_bytes());
}

/// A CBOR answer as JSON: bytes in base64; times stay in milliseconds.
pub(crate) fn to_json(body: &[u8]) -> Value {
    value(Document::from_cbor(body).expect("CBOR"))
}

fn value(document: Document<'_>) -> Value {
    match document {
        Document::Null => Value::Null,
        Document::Bool(value) => value.into(),
        Document::Integer(value) => value.into(),
        Document::Double(value) => json!(value),
        Document::Text(text) => text.into(),
        Document::Bytes(data) => STANDARD.encode_to_string(&*data).into(),
        Document::List(items) => items.into_iter().map(value).collect(),
        Document::Map(items) => items
            .into_iter()
            .map(|(name, item)| (name.into_owned(), value(item)))
            .collect(),
    }
}
