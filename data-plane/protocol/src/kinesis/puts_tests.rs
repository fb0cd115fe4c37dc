//! The short cut takes what is plain, leaves the rest, and never differs from the long way.

use proptest::prelude::*;

use super::super::decode as long_way;
use super::*;
use crate::Codec;

fn short(operation: Operation, body: &str) -> Option<Request> {
    decode(operation, &Bytes::copy_from_slice(body.as_bytes()))
}

fn long(operation: Operation, body: &str) -> Option<Request> {
    long_way::decode(
        Codec::Json,
        operation,
        &Bytes::copy_from_slice(body.as_bytes()),
    )
    .ok()
}

fn entries_of(request: Option<Request>) -> Vec<PutEntry> {
    match request {
        Some(Request::PutRecord(put)) => vec![put.entry],
        Some(Request::PutRecords(put)) => put.entries,
        other => panic!("a put: {other:?}"),
    }
}

#[test]
fn plain_puts_are_taken() {
    let body =
        "{\n \"StreamName\" : \"s\", \"PartitionKey\":\"k\\u00e9\\\"\", \"Data\":\"//8=\"\n}";
    let entries = entries_of(short(Operation::PutRecord, body));
    assert_eq!(entries[0].data, &b"\xff\xff"[..]);
    assert_eq!(entries[0].partition_key.as_str(), "ké\"");

    // Some clients escape the slash of base64.
    let body = r#"{"Records":[{"Data":"\/\/8=","PartitionKey":"a","ExplicitHashKey":"7"},
        {"PartitionKey":"b","Data":""}],"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s"}"#;
    let entries = entries_of(short(Operation::PutRecords, body));
    assert_eq!(entries[0].data, &b"\xff\xff"[..]);
    assert_eq!(entries[0].explicit_hash_key, Some(HashKey(7)));
    assert_eq!(entries[1].data, &b""[..]);
}

#[test]
fn data_and_keys_of_a_request_share_one_buffer_without_slack() {
    let body = r#"{"StreamName":"s","Records":[{"Data":"YWI=","PartitionKey":"one"},
        {"Data":"Y2Rl","PartitionKey":"two"}]}"#;
    let entries = entries_of(short(Operation::PutRecords, body));
    let start = entries[0].data.as_ptr();
    let key = entries[1].partition_key.as_str();
    // ab one cde two
    assert_eq!(key.as_ptr() as usize - start as usize, 2 + 3 + 3);
    let raw = [RawEntry {
        data: Some("YWI=".into()),
        partition_key: Some("one".into()),
        explicit_hash_key: None,
    }];
    let shared = Shared::with_room_for(&raw).expect("plain");
    assert_eq!(shared.buffer.capacity(), 5);
}

#[test]
fn what_needs_a_second_look_is_left_to_the_model() {
    let many = vec![r#"{"Data":"","PartitionKey":"k"}"#; 501].join(",");
    let many = format!(r#"{{"StreamName":"s","Records":[{many}]}}"#);
    let long_key = format!(
        r#"{{"StreamName":"s","Data":"","PartitionKey":"{}"}}"#,
        "é".repeat(257)
    );
    for (operation, body) in [
        (
            Operation::PutRecord,
            r#"{"StreamName":"s","Data":"A","PartitionKey":"k"}"#,
        ),
        (
            Operation::PutRecord,
            r#"{"StreamName":"s","Data":"AB==","PartitionKey":"k"}"#,
        ),
        (
            Operation::PutRecord,
            r#"{"StreamName":"s","Data":"","PartitionKey":""}"#,
        ),
        (Operation::PutRecord, r#"{"StreamName":"s","Data":""}"#),
        (
            Operation::PutRecord,
            r#"{"StreamName":"s","Data":"","PartitionKey":"k"}x"#,
        ),
        (
            Operation::PutRecord,
            r#"{"StreamName":"s","Data":"","PartitionKey":"k",}"#,
        ),
        (
            Operation::PutRecord,
            r#"{"StreamName":"s","Data":"","PartitionKey":"a","PartitionKey":"b"}"#,
        ),
        (
            Operation::PutRecord,
            r#"{"StreamName":"s","Data":"","PartitionKey":"k","DryRun":true}"#,
        ),
        (
            Operation::PutRecord,
            r#"{"StreamName":"s","Data":null,"PartitionKey":"k"}"#,
        ),
        (
            Operation::PutRecord,
            r#"{"StreamName":"s","Data":"","PartitionKey":"\ud800"}"#,
        ),
        (
            Operation::PutRecord,
            "{\"StreamName\":\"s\",\"Data\":\"\",\"PartitionKey\":\"a\nb\"}",
        ),
        (Operation::PutRecord, long_key.as_str()),
        (Operation::PutRecords, r#"{"StreamName":"s","Records":[]}"#),
        (Operation::PutRecords, many.as_str()),
        (Operation::ListStreams, "{}"),
    ] {
        assert_eq!(short(operation, body), None, "{body}");
    }
}

/// A JSON text of a value that stands for a member, good or bad.
fn member_value() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[A-Za-z0-9+/]{0,8}(=|==)?".prop_map(|s| format!("\"{s}\"")),
        3 => ".{0,6}".prop_map(|s| serde_json::Value::from(s).to_string()),
        1 => "[a-z\\\\u0-9\"{}]{0,9}".prop_map(|s| format!("\"{s}\"")),
        1 => Just("null".to_owned()),
        1 => any::<i32>().prop_map(|n| n.to_string()),
        1 => Just("\"0\"".to_owned()),
        1 => Just("\"arn:aws:kinesis:us-east-1:000000000000:stream/s\"".to_owned()),
    ]
}

fn object(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let blank = prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\n\t")];
    let member = (prop::sample::select(names), member_value(), blank);
    prop::collection::vec(member, 0..6).prop_map(|members| {
        let members = members
            .iter()
            .map(|(n, v, blank)| format!("{blank}\"{n}\"{blank}:{blank}{v}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    })
}

const RECORD: &[&str] = &["Data", "PartitionKey", "ExplicitHashKey"];
const PUT: &[&str] = &[
    "Data",
    "PartitionKey",
    "ExplicitHashKey",
    "StreamName",
    "StreamARN",
    "SequenceNumberForOrdering",
    "DryRun",
    "StreamId",
    "Other",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_put_record_is_read_alike_both_ways(body in object(PUT)) {
        if let Some(taken) = short(Operation::PutRecord, &body) {
            prop_assert_eq!(long(Operation::PutRecord, &body), Some(taken), "{}", body);
        }
    }

    #[test]
    fn a_put_records_is_read_alike_both_ways(
        records in prop::collection::vec(object(RECORD), 0..4), name in member_value(),
    ) {
        let body = format!(r#"{{"StreamName":{name},"Records":[{}]}}"#, records.join(","));
        if let Some(taken) = short(Operation::PutRecords, &body) {
            prop_assert_eq!(long(Operation::PutRecords, &body), Some(taken), "{}", body);
        }
    }

    #[test]
    fn good_puts_are_taken_and_read_back(
        records in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..60), ".{1,40}", any::<Option<u128>>()), 1..5,
        ),
        spaced: bool,
    ) {
        let encode = |data: &[u8]| base64_simd::STANDARD.encode_to_string(data);
        let body = serde_json::json!({
            "StreamName": "s",
            "Records": records.iter().map(|(data, key, hash)| match hash {
                Some(hash) => serde_json::json!({
                    "Data": encode(data), "PartitionKey": key, "ExplicitHashKey": hash.to_string(),
                }),
                None => serde_json::json!({"Data": encode(data), "PartitionKey": key}),
            }).collect::<Vec<_>>(),
        });
        let body = if spaced { format!("{body:#}") } else { body.to_string() };
        let entries = entries_of(short(Operation::PutRecords, &body));
        prop_assert_eq!(entries.len(), records.len());
        for (entry, (data, key, hash)) in entries.iter().zip(&records) {
            prop_assert_eq!(&entry.data, data);
            prop_assert_eq!(entry.partition_key.as_str(), key);
            prop_assert_eq!(entry.explicit_hash_key, hash.map(HashKey));
        }
        prop_assert_eq!(long(Operation::PutRecords, &body), short(Operation::PutRecords, &body));
    }

    #[test]
    fn any_bytes_are_taken_or_left(body: Vec<u8>) {
        let body = Bytes::from(body);
        prop_assert_eq!(decode(Operation::PutRecord, &body), None);
    }
}
