//! From a document to the members that the model knows, each of the type that it wants.
//!
//! The texts are those of AWS's reader (kinesalite test/helpers.js, `assertType`). Unknown members
//! are skipped, nulls are absent.

use millstream_types::Millis;

use super::digest::{MODEL, Shape, ShapeType};
use super::{Structure, Value, cut};
use crate::Codec;
use crate::document::Document;
use crate::error::ServiceError;

const LIST_FOUND: &str = "Start of list found where not expected";
const STRUCTURE_FOUND: &str = "Start of structure or map found where not expected.";
const NUMBER_CLASS: &str = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber";
const BOOLEAN_CLASS: &str = "class java.lang.Boolean";
const STRING_CLASS: &str = "class java.lang.String";
/// A guess: no answer of AWS to bytes in the wrong place was found.
const BYTES_CLASS: &str = "class java.nio.HeapByteBuffer";

/// The input of `operation` in `document`, which was read from `codec`: the encodings differ in
/// blobs and times.
///
/// # Errors
/// `SerializationException` at the first member of the wrong type.
pub fn read<'a>(
    codec: Codec,
    operation: &str,
    document: Document<'a>,
) -> Result<Structure<'a>, ServiceError> {
    let (_, shape) = MODEL.input(operation);
    match document {
        Document::Map(items) => structure(codec, items, shape),
        other => Err(refused(&other, shape)),
    }
}

fn structure<'a>(
    codec: Codec,
    items: Vec<(std::borrow::Cow<'a, str>, Document<'a>)>,
    shape: &'static Shape,
) -> Result<Structure<'a>, ServiceError> {
    let mut out = Structure::default();
    for (name, document) in items {
        let Some((name, member)) = shape.members.iter().find(|(n, _)| **n == *name) else {
            continue;
        };
        let value = value(codec, document, MODEL.shape(member))?;
        out.set(name, value);
    }
    Ok(out)
}

fn value<'a>(
    codec: Codec,
    document: Document<'a>,
    shape: &'static Shape,
) -> Result<Option<Value<'a>>, ServiceError> {
    let element = || MODEL.shape(shape.member.as_deref().expect("a list has elements"));
    let mapped = || MODEL.shape(shape.value.as_deref().expect("a map has values"));
    let read = match (shape.shape_type, document) {
        (_, Document::Null) => return Ok(None),
        (ShapeType::Boolean, Document::Bool(value)) => Value::Bool(value),
        (ShapeType::Boolean, Document::Double(value)) => Value::Bool(value != 0.0),
        (ShapeType::Boolean, Document::Text(text)) => Value::Bool(boolean(&text)?),
        (ShapeType::Integer, Document::Integer(value)) => Value::Integer(clamp(value)),
        (ShapeType::Integer, Document::Double(value)) => Value::Integer(clamp(floor(value))),
        (ShapeType::Long, Document::Integer(value)) => Value::Integer(value),
        (ShapeType::Long, Document::Double(value)) => Value::Integer(floor(value)),
        (ShapeType::Timestamp, Document::Integer(time)) => Value::Time(whole(codec, time)),
        (ShapeType::Timestamp, Document::Double(time)) => Value::Time(fractional(codec, time)),
        (ShapeType::String, Document::Text(text)) => Value::Text(text),
        (ShapeType::Blob, Document::Text(text)) if codec == Codec::Json => {
            Value::Blob(blob(&text)?)
        },
        (ShapeType::Blob, Document::Bytes(data)) => Value::Blob(data.into_owned()),
        (ShapeType::List, Document::List(items)) => {
            let read = items.into_iter().map(|item| value(codec, item, element()));
            Value::List(read.collect::<Result<_, _>>()?)
        },
        (ShapeType::Map, Document::Map(items)) => {
            let read = items
                .into_iter()
                .map(|(key, item)| Ok((key, value(codec, item, mapped())?)));
            Value::Map(read.collect::<Result<_, ServiceError>>()?)
        },
        (ShapeType::Structure, Document::Map(items)) => {
            Value::Structure(structure(codec, items, shape)?)
        },
        (_, other) => return Err(refused(&other, shape)),
    };
    Ok(Some(read))
}

/// What AWS says of a value that is not of the shape's type.
fn refused(document: &Document<'_>, shape: &Shape) -> ServiceError {
    let class = match document {
        Document::List(_) => return ServiceError::serialization(LIST_FOUND),
        Document::Map(_) => return ServiceError::serialization(STRUCTURE_FOUND),
        Document::Bool(_) => BOOLEAN_CLASS,
        Document::Integer(_) | Document::Double(_) => NUMBER_CLASS,
        Document::Text(_) | Document::Null => STRING_CLASS,
        Document::Bytes(_) => BYTES_CLASS,
    };
    let wanted = match shape.shape_type {
        ShapeType::List => return ServiceError::serialization("Expected list or null"),
        ShapeType::Map => return ServiceError::serialization("Expected map or null"),
        ShapeType::Structure => return ServiceError::serialization("Expected null"),
        ShapeType::Blob => "a Blob",
        ShapeType::Boolean => "an Boolean",
        ShapeType::Integer => "an Integer",
        ShapeType::Long => "an Long",
        ShapeType::String => "an String",
        ShapeType::Timestamp => "milliseconds since epoch",
    };
    ServiceError::serialization(format!("{class} can not be converted to {wanted}"))
}

/// Texts that AWS takes for booleans (kinesalite validations/index.js).
fn boolean(text: &str) -> Result<bool, ServiceError> {
    let upper = text.to_uppercase();
    match &*upper {
        "TRUE" | "YES" | "1" => Ok(true),
        "FALSE" | "NO" | "0" => Ok(false),
        _ => Err(ServiceError::serialization(format!(
            "'{}' can not be converted to an Boolean",
            cut(&upper)
        ))),
    }
}

/// Integers above and below their range stick to its ends.
fn clamp(value: i64) -> i64 {
    value.clamp(i64::from(i32::MIN), i64::from(i32::MAX))
}

/// The whole number at or below; what is out of range sticks to its ends.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, as meant"
)]
fn floor(value: f64) -> i64 {
    value.floor() as i64
}

/// How many milliseconds the unit of times has: JSON counts seconds, CBOR milliseconds.
const fn unit_ms(codec: Codec) -> u16 {
    match codec {
        Codec::Json => 1000,
        Codec::Cbor => 1,
    }
}

/// A time in whole units; before the epoch is the epoch.
fn whole(codec: Codec, time: i64) -> Millis {
    let units = u64::try_from(time).unwrap_or(0);
    Millis(units.saturating_mul(unit_ms(codec).into()))
}

/// A time in units and a fraction, to the nearest millisecond.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, as meant"
)]
fn fractional(codec: Codec, time: f64) -> Millis {
    Millis((time * f64::from(unit_ms(codec))).round() as u64)
}

/// Bytes of strict base64: padded, nothing but the alphabet, no stray bits at the end.
fn blob(text: &str) -> Result<Vec<u8>, ServiceError> {
    base64_simd::STANDARD.decode_to_vec(text).map_err(|_| {
        let (shown, reason) = (cut(text), blob_reason(text));
        ServiceError::serialization(format!(
            "'{shown}' can not be converted to a Blob: {reason}"
        ))
    })
}

/// Which rule of base64 a text breaks (the third text has AWS's own misspelling).
fn blob_reason(text: &str) -> String {
    let length = text.encode_utf16().count();
    if !length.is_multiple_of(4) {
        return format!(
            "Base64 encoded length is expected a multiple of 4 bytes but found: {length}"
        );
    }
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let padding = c == '=' && rest.peek().is_none_or(|next| *next == '=');
        let letter = c.is_ascii_alphanumeric() || c == '+' || c == '/';
        if !letter && !padding {
            return format!("Invalid Base64 character: '{c}'");
        }
    }
    "Invalid last non-pad Base64 character dectected".to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorCode;

    fn message(operation: &str, body: &str) -> String {
        let document = Document::from_json(body.as_bytes()).expect("JSON");
        let error = read(Codec::Json, operation, document).expect_err("of a wrong type");
        error.message.expect("has one").into_owned()
    }

    #[test]
    fn values_of_the_wrong_type_are_named_as_aws_does() {
        let put =
            |member: &str, value: &str| message("PutRecord", &format!("{{\"{member}\":{value}}}"));
        let number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber";
        assert_eq!(
            put("Data", "23"),
            format!("{number} can not be converted to a Blob")
        );
        assert_eq!(
            put("PartitionKey", "3.5"),
            format!("{number} can not be converted to an String")
        );
        assert_eq!(put("PartitionKey", "[]"), LIST_FOUND);
        assert_eq!(put("PartitionKey", "{}"), STRUCTURE_FOUND);
        assert_eq!(
            put("DryRun", "\"x\""),
            "'X' can not be converted to an Boolean"
        );
        assert_eq!(
            put("DryRun", "1"),
            format!("{number} can not be converted to an Boolean")
        );
        assert_eq!(
            put("Data", "\"23456\""),
            "'23456' can not be converted to a Blob: Base64 encoded length is expected a multiple \
             of 4 bytes but found: 5"
        );
        assert_eq!(
            put("Data", "\"=+/=\""),
            "'=+/=' can not be converted to a Blob: Invalid Base64 character: '='"
        );
        assert_eq!(
            put("Data", "\"+/+=\""),
            "'+/+=' can not be converted to a Blob: Invalid last non-pad Base64 character dectected"
        );
    }

    #[test]
    fn numbers_stick_to_the_ends_of_their_range() {
        let count = |text: &str| {
            let body = format!("{{\"ShardCount\":{text}}}");
            let document = Document::from_json(body.as_bytes()).expect("JSON");
            let read = read(Codec::Json, "CreateStream", document).expect("numbers");
            match read.get("ShardCount") {
                Some(Value::Integer(count)) => Some(*count),
                _ => None,
            }
        };
        assert_eq!(count("100000000000"), Some(2_147_483_647));
        assert_eq!(count("1e300"), Some(2_147_483_647));
        assert_eq!(count("-1e300"), Some(-2_147_483_648));
        assert_eq!(count("3.99"), Some(3));
        assert_eq!(count("null"), None);
    }

    #[test]
    fn of_one_name_the_last_value_counts() {
        let body =
            br#"{"StreamName":"a","StreamName":"b","StreamARN":"c","StreamARN":null,"X":[1]}"#;
        let document = Document::from_json(body).expect("JSON");
        let read = read(Codec::Json, "DescribeStream", document).expect("good");
        assert_eq!(read.get("StreamName"), Some(&Value::Text("b".into())));
        assert_eq!(read.get("StreamARN"), None);
        assert_eq!(read.get("X"), None);
    }

    #[test]
    fn times_are_seconds_in_json_and_milliseconds_in_cbor() {
        let seconds = |time| fractional(Codec::Json, time);
        assert_eq!(seconds(1_441_215_410.867), Millis(1_441_215_410_867));
        assert_eq!(seconds(-3.0), Millis(0));
        assert_eq!(whole(Codec::Json, -3), Millis(0));
        assert_eq!(whole(Codec::Json, 7), Millis(7000));
        assert_eq!(
            whole(Codec::Cbor, 1_441_215_410_867),
            Millis(1_441_215_410_867)
        );
        assert_eq!(fractional(Codec::Cbor, 7.4), Millis(7));
        assert_eq!(whole(Codec::Cbor, -3), Millis(0));
    }

    #[test]
    fn blobs_are_base64_in_json_and_bytes_in_cbor() {
        let data = |codec, value| {
            let document = Document::Map(vec![("Data".into(), value)]);
            read(codec, "PutRecord", document).map(|mut read| read.take("Data"))
        };
        let text = || Document::Text("//8=".into());
        let bytes = || Document::Bytes((&[0xff, 0xff]).into());
        let blob = Ok(Some(Value::Blob(vec![0xff, 0xff])));
        assert_eq!(data(Codec::Json, text()), blob);
        assert_eq!(data(Codec::Cbor, bytes()), blob);
        let error = data(Codec::Cbor, text()).expect_err("no bytes");
        assert_eq!(
            error.message.expect("has one"),
            "class java.lang.String can not be converted to a Blob"
        );
        let key = Document::Map(vec![("PartitionKey".into(), bytes())]);
        let error = read(Codec::Cbor, "PutRecord", key).expect_err("no text");
        assert_eq!(error.code, ErrorCode::Serialization);
    }

    #[test]
    fn a_long_text_is_shown_in_part() {
        let error = blob(&"?".repeat(1 << 20)).expect_err("no base64");
        assert!(error.to_string().len() < 20_000);
    }

    #[test]
    fn empty_data_is_data() {
        assert_eq!(blob(""), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn base64_reads_back(data: Vec<u8>) {
            let text = base64_simd::STANDARD.encode_to_string(&data);
            prop_assert_eq!(blob(&text), Ok(data));
        }

        #[test]
        fn base64_is_read_in_one_form_only(text in "[A-Za-z0-9+/=]{0,12}") {
            if let Ok(data) = blob(&text) {
                prop_assert_eq!(base64_simd::STANDARD.encode_to_string(&data), text);
            }
        }

        #[test]
        fn any_document_is_read_or_refused(text in ".{0,200}") {
            for operation in crate::kinesis::Operation::ALL {
                if let Ok(document) = Document::from_json(text.as_bytes()) {
                    let _unused = read(Codec::Json, operation.name(), document);
                }
            }
        }
    }
}
