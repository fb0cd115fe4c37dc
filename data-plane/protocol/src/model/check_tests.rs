//! Texts of broken constraints. Sources stand beside them.

use proptest::prelude::*;

use super::super::{SHOWN_VALUE_BYTES_MAX, read};
use super::*;
use crate::Codec;
use crate::document::Document;

fn checked(operation: &str, body: &str) -> Option<ServiceError> {
    let document = Document::from_json(body.as_bytes()).ok()?;
    let input = read(Codec::Json, operation, document).ok()?;
    check(operation, &input).err()
}

fn message(operation: &str, body: &str) -> String {
    let error = checked(operation, body).expect("breaks a constraint");
    assert_eq!(error.code, ErrorCode::Validation);
    error.message.expect("has one").into_owned()
}

#[test]
fn one_broken_constraint_is_an_error() {
    // kinesalite test/deleteStream.js
    assert_eq!(
        message(
            "DeleteStream",
            &format!(r#"{{"StreamName":"{}"}}"#, "a".repeat(129))
        ),
        format!(
            "1 validation error detected: Value '{}' at 'streamName' failed to satisfy constraint: \
             Member must have length less than or equal to 128",
            "a".repeat(129)
        )
    );
}

#[test]
fn several_are_errors_in_recorded_order() {
    // kinesalite test/putRecord.js before commit 0c52a1e, with the patterns of today's model
    assert_eq!(
        message(
            "PutRecord",
            r#"{"StreamName":"","PartitionKey":"","Data":"","ExplicitHashKey":"",
                "SequenceNumberForOrdering":""}"#
        ),
        r"5 validation errors detected: Value '' at 'sequenceNumberForOrdering' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(0|([1-9]\d{0,128}))$; Value '' at 'partitionKey' failed to satisfy constraint: Member must have length greater than or equal to 1; Value '' at 'explicitHashKey' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(0|([1-9]\d{0,38}))$; Value '' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'streamName' failed to satisfy constraint: Member must have length greater than or equal to 1"
    );
}

#[test]
fn absent_members_are_null() {
    // kinesalite test/getShardIterator.js; StreamName is no longer required by the model
    assert_eq!(
        message("GetShardIterator", "{}"),
        "2 validation errors detected: Value null at 'shardId' failed to satisfy constraint: Member \
         must not be null; Value null at 'shardIteratorType' failed to satisfy constraint: Member \
         must not be null"
    );
}

#[test]
fn elements_are_named_by_their_place_and_ten_errors_are_enough() {
    // kinesalite test/putRecords.js (paths and count), moto's TooManyRecords (the list not shown)
    let entries = vec![r#"{"PartitionKey":"","Data":""}"#; 501].join(",");
    let text = message(
        "PutRecords",
        &format!(r#"{{"StreamName":"","Records":[{entries}]}}"#),
    );
    let mut wanted = "10 validation errors detected: Value at 'records' failed to satisfy \
                      constraint: Member must have length less than or equal to 500"
        .to_owned();
    for i in 1..=9 {
        write!(
            wanted,
            "; Value '' at 'records.{i}.member.partitionKey' failed to satisfy constraint: Member \
             must have length greater than or equal to 1"
        )
        .expect("fits");
    }
    assert_eq!(text, wanted);
}

#[test]
fn enums_show_their_set() {
    // kinesalite test/getShardIterator.js
    assert_eq!(
        message(
            "GetShardIterator",
            r#"{"ShardId":"a","ShardIteratorType":"","StreamName":"a"}"#
        ),
        "1 validation error detected: Value '' at 'shardIteratorType' failed to satisfy constraint: \
         Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, \
         AT_SEQUENCE_NUMBER, TRIM_HORIZON]"
    );
}

#[test]
fn map_keys_and_values_are_named_with_all_their_constraints() {
    // kinesalite test/addTagsToStream.js (form)
    let long = "k".repeat(129);
    assert_eq!(
        message(
            "CreateStream",
            &format!(r#"{{"StreamName":"a","Tags":{{"{long}":"v"}}}}"#)
        ),
        format!(
            "1 validation error detected: Value '{{{long}=v}}' at 'tags' failed to satisfy \
             constraint: Map keys must satisfy constraint: [Member must have length less than or \
             equal to 128, Member must have length greater than or equal to 1]"
        )
    );
}

#[test]
fn a_long_value_is_shown_in_part() {
    let text = message(
        "DescribeStream",
        &format!(r#"{{"StreamName":"{}"}}"#, "é".repeat(1 << 20)),
    );
    assert!(text.len() < 3 * SHOWN_VALUE_BYTES_MAX, "{}", text.len());
}

#[test]
fn lengths_are_counted_in_characters() {
    let body = |n: usize| {
        format!(
            r#"{{"StreamName":"a","Data":"","PartitionKey":"{}"}}"#,
            "é".repeat(n)
        )
    };
    assert_eq!(checked("PutRecord", &body(256)), None);
    assert!(checked("PutRecord", &body(257)).is_some());
}

proptest! {
    #[test]
    fn the_stream_name_of_the_model_is_that_of_the_types(
        name in "[a-zA-Z0-9_.\\- /é]{0,3}|[a-z]{126,131}",
    ) {
        let body = serde_json::json!({ "StreamName": name }).to_string();
        let typed = name.parse::<millstream_types::StreamName>();
        prop_assert_eq!(checked("DescribeStream", &body).is_none(), typed.is_ok());
    }

    #[test]
    fn any_texts_are_checked_without_panic(a in ".{0,300}", b in ".{0,300}") {
        let body = serde_json::json!({
            "StreamName": a, "PartitionKey": b, "ExplicitHashKey": a, "StreamARN": b, "Data": "",
        });
        let _unused = checked("PutRecord", &body.to_string());
    }
}
