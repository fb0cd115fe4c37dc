//! Broken constraints in AWS's words: `2 validation errors detected: Value '' at 'streamName'
//! failed to satisfy constraint: Member must ...; Value null at ...`.
//!
//! Rules, with their sources: at most ten are named (kinesalite test/putRecords.js); members are
//! named in camel case, list elements as `records.1.member` from 1; null is shown without quotes;
//! blobs, and lists of structures that hold blobs, are shown without their value
//! (awslabs/amazon-kinesis-producer issue 680; moto's kinesis exceptions), since they are sensitive.

use std::fmt::Write as _;

use super::digest::{MODEL, Shape, ShapeType};
use super::{Structure, Value, cut};
use crate::error::{ErrorCode, ServiceError};

/// Most broken constraints that one answer names.
const SHOWN_ERRORS_MAX: usize = 10;
/// The order in which members were seen to be named, by structure; others follow in the model's
/// order. Since 2019 AWS's order varies from answer to answer (kinesalite commit 0c52a1e).
const RECORDED_ORDER: &[(&str, &[&str])] = &[
    ("CreateStreamInput", &["ShardCount", "StreamName"]),
    (
        "DescribeStreamInput",
        &["Limit", "ExclusiveStartShardId", "StreamName"],
    ),
    ("GetRecordsInput", &["Limit", "ShardIterator"]),
    (
        "GetShardIteratorInput",
        &[
            "ShardId",
            "ShardIteratorType",
            "StartingSequenceNumber",
            "StreamName",
        ],
    ),
    (
        "ListShardsInput",
        &[
            "MaxResults",
            "ExclusiveStartShardId",
            "StreamName",
            "NextToken",
        ],
    ),
    (
        "PutRecordInput",
        &[
            "SequenceNumberForOrdering",
            "PartitionKey",
            "ExplicitHashKey",
            "Data",
            "StreamName",
        ],
    ),
    (
        "PutRecordsRequestEntry",
        &["PartitionKey", "ExplicitHashKey", "Data"],
    ),
];

/// Members that the model lets be absent and this server does not: a record without a key needs a
/// stream whose `RecordDistributionStrategy` is `AUTO`, and there are none yet. The answer is the
/// one that AWS gave when the model did not either (kinesalite test/putRecord.js).
const REQUIRED_HERE: &[(&str, &str)] = &[
    ("PutRecordInput", "PartitionKey"),
    ("PutRecordsRequestEntry", "PartitionKey"),
];

/// Value sets whose order was recorded; others are shown in the model's order.
const RECORDED_ENUMS: &[(&str, &[&str])] = &[(
    "ShardIteratorType",
    &[
        "AFTER_SEQUENCE_NUMBER",
        "LATEST",
        "AT_TIMESTAMP",
        "AT_SEQUENCE_NUMBER",
        "TRIM_HORIZON",
    ],
)];

/// Checks the input of `operation` against the model.
///
/// # Errors
/// `ValidationException` that names the constraints which it breaks.
pub fn check(operation: &str, input: &Structure<'_>) -> Result<(), ServiceError> {
    let (name, shape) = MODEL.input(operation);
    let mut errors = Errors(Vec::new());
    errors.structure("", name, shape, input);
    let count = errors.0.len();
    if count == 0 {
        return Ok(());
    }
    let plural = if count == 1 { "" } else { "s" };
    Err(ServiceError::new(
        ErrorCode::Validation,
        format!(
            "{count} validation error{plural} detected: {}",
            errors.0.join("; ")
        ),
    ))
}

struct Errors(Vec<String>);

impl Errors {
    fn is_full(&self) -> bool {
        self.0.len() >= SHOWN_ERRORS_MAX
    }

    fn push(&mut self, shown: &str, path: &str, constraint: &str) {
        if !self.is_full() {
            self.0.push(format!(
                "Value {shown}at '{path}' failed to satisfy constraint: {constraint}"
            ));
        }
    }

    fn structure(&mut self, path: &str, name: &str, shape: &Shape, input: &Structure<'_>) {
        let recorded = RECORDED_ORDER
            .iter()
            .find(|(structure, _)| *structure == name);
        let place = |member: &str| {
            recorded.and_then(|(_, members)| members.iter().position(|m| *m == member))
        };
        let mut members: Vec<_> = shape.members.iter().collect();
        members.sort_by_key(|(member, _)| place(member).unwrap_or(usize::MAX));
        for (member, shape_name) in members {
            if self.is_full() {
                return;
            }
            let path = join(path, &lower_first(member));
            match input.get(member) {
                Some(value) => self.value(&path, shape_name, value),
                None if shape.required.contains(member)
                    || REQUIRED_HERE.contains(&(name, &**member)) =>
                {
                    self.push("null ", &path, "Member must not be null");
                },
                None => {},
            }
        }
    }

    fn value(&mut self, path: &str, shape_name: &str, value: &Value<'_>) {
        let shape = MODEL.shape(shape_name);
        let broken = broken(shape_name, shape, value);
        if !broken.is_empty() {
            let shown = shown(value);
            for constraint in broken {
                self.push(&shown, path, &constraint);
            }
        }
        match value {
            Value::Structure(input) => self.structure(path, shape_name, shape, input),
            Value::List(items) => self.list(path, shape, value, items),
            Value::Map(items) => self.map(path, shape, value, items),
            _ => {},
        }
    }

    fn list(&mut self, path: &str, shape: &Shape, list: &Value<'_>, items: &[Option<Value<'_>>]) {
        let element = shape.member.as_deref().expect("a list has elements");
        let mut scalar_broken = false;
        for (index, item) in items.iter().enumerate() {
            if self.is_full() {
                return;
            }
            let path = format!("{path}.{}.member", index + 1);
            match item {
                None => self.push("null ", &path, "Member must not be null"),
                Some(item @ (Value::Structure(_) | Value::List(_) | Value::Map(_))) => {
                    self.value(&path, element, item);
                },
                Some(item) => {
                    scalar_broken |= !broken(element, MODEL.shape(element), item).is_empty();
                },
            }
        }
        if scalar_broken {
            let all = all_constraints(element).join(", ");
            self.push(
                &shown(list),
                path,
                &format!("Member must satisfy constraint: [{all}]"),
            );
        }
    }

    fn map(
        &mut self,
        path: &str,
        shape: &Shape,
        map: &Value<'_>,
        items: &[(std::borrow::Cow<'_, str>, Option<Value<'_>>)],
    ) {
        let key = shape.key.as_deref().expect("a map has keys");
        let value = shape.value.as_deref().expect("a map has values");
        let breaks =
            |name: &str, value: &Value<'_>| !broken(name, MODEL.shape(name), value).is_empty();
        if items
            .iter()
            .any(|(k, _)| breaks(key, &Value::Text(k.as_ref().into())))
        {
            let all = all_constraints(key).join(", ");
            self.push(
                &shown(map),
                path,
                &format!("Map keys must satisfy constraint: [{all}]"),
            );
        }
        if items
            .iter()
            .any(|(_, v)| v.as_ref().is_some_and(|v| breaks(value, v)))
        {
            let all = all_constraints(value).join(", ");
            self.push(
                &shown(map),
                path,
                &format!("Map value must satisfy constraint: [{all}]"),
            );
        }
        for (k, v) in items {
            if v.is_none() {
                let path = format!("{path}.{}.member", cut(k));
                self.push("null ", &path, "Member must not be null");
            }
        }
    }
}

/// The constraints that one value breaks by itself, in AWS's order.
fn broken(shape_name: &str, shape: &Shape, value: &Value<'_>) -> Vec<String> {
    let mut out = Vec::new();
    if let Value::Text(text) = value {
        if let Some(pattern) = &shape.pattern
            && !pattern.regex.is_match(text)
        {
            out.push(pattern_text(&pattern.text));
        }
        if let Some(values) = &shape.values
            && !values.iter().any(|v| **v == **text)
        {
            out.push(enum_text(shape_name, values));
        }
    }
    let Some((measure, what)) = measured(value) else {
        return out;
    };
    if let Some(min) = shape.min
        && measure < min
    {
        out.push(bound_text(what, "greater", min));
    }
    if let Some(max) = shape.max
        && measure > max
    {
        out.push(bound_text(what, "less", max));
    }
    out
}

/// Every constraint of a shape, as AWS lists them for elements of lists and maps.
fn all_constraints(shape_name: &str) -> Vec<String> {
    let shape = MODEL.shape(shape_name);
    let what = match shape.shape_type {
        ShapeType::Integer | ShapeType::Long => "value",
        _ => "length",
    };
    let max = shape.max.map(|max| bound_text(what, "less", max));
    let min = shape.min.map(|min| bound_text(what, "greater", min));
    let pattern = shape.pattern.as_ref().map(|p| pattern_text(&p.text));
    let values = shape.values.as_ref().map(|v| enum_text(shape_name, v));
    [max, min, pattern, values].into_iter().flatten().collect()
}

fn bound_text(what: &str, side: &str, bound: i64) -> String {
    format!("Member must have {what} {side} than or equal to {bound}")
}

fn pattern_text(pattern: &str) -> String {
    format!("Member must satisfy regular expression pattern: {pattern}")
}

fn enum_text(shape_name: &str, values: &[String]) -> String {
    let recorded = RECORDED_ENUMS.iter().find(|(name, _)| *name == shape_name);
    let values = match recorded {
        Some((_, values)) => values.join(", "),
        None => values.join(", "),
    };
    format!("Member must satisfy enum value set: [{values}]")
}

/// What `min` and `max` bound: a number's value, or a length.
fn measured(value: &Value<'_>) -> Option<(i64, &'static str)> {
    let length = match value {
        Value::Integer(value) => return Some((*value, "value")),
        Value::Text(text) => text.chars().count(),
        Value::Blob(data) => data.len(),
        Value::List(items) => items.len(),
        Value::Map(items) => items.len(),
        Value::Bool(_) | Value::Time(_) | Value::Structure(_) => return None,
    };
    Some((i64::try_from(length).unwrap_or(i64::MAX), "length"))
}

/// A value as it stands after `Value `, with a blank behind it; nothing where it is not shown.
fn shown(value: &Value<'_>) -> String {
    let text = match value {
        Value::Text(text) => cut(text).to_owned(),
        Value::List(items) => {
            if items
                .iter()
                .flatten()
                .any(|i| matches!(i, Value::Structure(_) | Value::Blob(_)))
            {
                return String::new();
            }
            let items = items.iter().map(|i| scalar(i.as_ref()));
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        },
        Value::Map(items) => {
            let items = items.iter().map(|(k, v)| {
                let mut pair = format!("{k}=");
                let value = scalar(v.as_ref());
                write!(pair, "{value}").expect("a String takes all");
                pair
            });
            format!("{{{}}}", items.collect::<Vec<_>>().join(", "))
        },
        Value::Blob(_) | Value::Structure(_) => return String::new(),
        other => scalar(Some(other)),
    };
    format!("'{}' ", cut(&text))
}

fn scalar(value: Option<&Value<'_>>) -> String {
    match value {
        None => "null".to_owned(),
        Some(Value::Text(text)) => text.clone().into_owned(),
        Some(Value::Integer(value)) => value.to_string(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Time(time)) => time.0.to_string(),
        Some(Value::Blob(_) | Value::List(_) | Value::Map(_) | Value::Structure(_)) => {
            String::new()
        },
    }
}

fn join(path: &str, member: &str) -> String {
    if path.is_empty() {
        member.to_owned()
    } else {
        format!("{path}.{member}")
    }
}

/// `StreamARN` is `streamARN`.
fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
