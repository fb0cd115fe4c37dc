//! From a document to the members that the model knows, each of the type that it wants.
//!
//! The texts are those of AWS's reader (kinesalite test/helpers.js, `assertType`). Unknown members
//! are skipped, nulls are absent.

use millstream_types::Millis;

use super::digest::{MODEL, Shape, ShapeType};
use super::{Structure, Value, cut};
use crate::document::Document;
use crate::error::ServiceError;

const LIST_FOUND: &str = "Start of list found where not expected";
const STRUCTURE_FOUND: &str = "Start of structure or map found where not expected.";
const NUMBER_CLASS: &str = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber";
const BOOLEAN_CLASS: &str = "class java.lang.Boolean";
const STRING_CLASS: &str = "class java.lang.String";

/// The input of `operation` in `document`.
///
/// # Errors
/// `SerializationException` at the first member of the wrong type.
pub fn read<'a>(operation: &str, document: Document<'a>) -> Result<Structure<'a>, ServiceError> {
    let (_, shape) = MODEL.input(operation);
    match document {
        Document::Map(items) => structure(items, shape),
        other => Err(refused(&other, shape)),
    }
}

fn structure<'a>(
    items: Vec<(std::borrow::Cow<'a, str>, Document<'a>)>,
    shape: &'static Shape,
) -> Result<Structure<'a>, ServiceError> {
    let mut out = Structure::default();
    for (name, document) in items {
        let Some((name, member)) = shape.members.iter().find(|(n, _)| **n == *name) else {
            continue;
        };
        let value = value(document, MODEL.shape(member))?;
        out.set(name, value);
    }
    Ok(out)
}

fn value<'a>(
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
        (ShapeType::Timestamp, Document::Integer(seconds)) => Value::Time(whole(seconds)),
        (ShapeType::Timestamp, Document::Double(seconds)) => Value::Time(time(seconds)),
        (ShapeType::String, Document::Text(text)) => Value::Text(text),
        (ShapeType::Blob, Document::Text(text)) => Value::Blob(blob(&text)?),
        (ShapeType::List, Document::List(items)) => {
            let read = items.into_iter().map(|item| value(item, element()));
            Value::List(read.collect::<Result<_, _>>()?)
        },
        (ShapeType::Map, Document::Map(items)) => {
            let read = items
                .into_iter()
                .map(|(key, item)| Ok((key, value(item, mapped())?)));
            Value::Map(read.collect::<Result<_, ServiceError>>()?)
        },
        (ShapeType::Structure, Document::Map(items)) => Value::Structure(structure(items, shape)?),
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

/// A time of whole seconds; before the epoch is the epoch.
fn whole(seconds: i64) -> Millis {
    Millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

/// A time of seconds and a fraction, to the nearest millisecond.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, as meant"
)]
fn time(seconds: f64) -> Millis {
    Millis((seconds * 1000.0).round() as u64)
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

    fn message(operation: &str, body: &str) -> String {
        let document = Document::from_json(body.as_bytes()).expect("JSON");
        let error = read(operation, document).expect_err("of a wrong type");
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
            let read = read("CreateStream", document).expect("numbers");
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
        let read = read("DescribeStream", Document::from_json(body).expect("JSON")).expect("good");
        assert_eq!(read.get("StreamName"), Some(&Value::Text("b".into())));
        assert_eq!(read.get("StreamARN"), None);
        assert_eq!(read.get("X"), None);
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(time(1_441_215_410.867), Millis(1_441_215_410_867));
        assert_eq!(time(-3.0), Millis(0));
        assert_eq!(whole(-3), Millis(0));
        assert_eq!(whole(7), Millis(7000));
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
                    let _unused = read(operation.name(), document);
                }
            }
        }
    }
}
