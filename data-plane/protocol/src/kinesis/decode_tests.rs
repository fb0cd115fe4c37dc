//! Typed requests from bodies, one operation after another, and the texts of what is refused
//! beyond the service model. The table in `tests/malformed` has the rest.

use proptest::prelude::*;

use super::super::decode as decode_any;
use super::*;
use crate::Codec;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/flights";

fn read(operation: Operation, body: &str) -> Result<Request, ServiceError> {
    decode_any(
        Codec::Json,
        operation,
        &Bytes::copy_from_slice(body.as_bytes()),
    )
}

fn good(operation: Operation, body: &str) -> Request {
    match read(operation, body) {
        Ok(request) => request,
        Err(error) => panic!("{error}"),
    }
}

fn refused(operation: Operation, body: &str) -> String {
    read(operation, body)
        .expect_err("not a good request")
        .to_string()
}

fn flights() -> StreamTarget {
    StreamTarget {
        name: Some("flights".parse().expect("a name")),
        arn: None,
    }
}

#[test]
fn create_stream_has_all_its_members() {
    let body = r#"{"StreamName":"flights","ShardCount":4,"StreamModeDetails":{"StreamMode":"ON_DEMAND"},
        "Tags":{"a":"b"},"WarmThroughputMiBps":0,"MaxRecordSizeInKiB":2048,
        "RecordDistributionStrategy":"AUTO","Unknown":[{}]}"#;
    let wanted = CreateStream {
        stream_name: "flights".parse().expect("a name"),
        shard_count: Some(4),
        stream_mode: Some(StreamMode::OnDemand),
        tags: Some([("a".to_owned(), "b".to_owned())].into()),
        warm_throughput_mibps: Some(0),
        max_record_size_kib: Some(2048),
        record_distribution_strategy: Some(RecordDistributionStrategy::Auto),
    };
    assert_eq!(
        good(Operation::CreateStream, body),
        Request::CreateStream(wanted)
    );
}

#[test]
fn delete_stream_reads_texts_as_booleans_where_aws_does() {
    for (text, flag) in [
        ("true", true),
        ("\"yes\"", true),
        ("\"0\"", false),
        ("null", false),
    ] {
        let body = format!(r#"{{"StreamName":"flights","EnforceConsumerDeletion":{text}}}"#);
        let wanted = DeleteStream {
            stream: flights(),
            enforce_consumer_deletion: flag,
        };
        assert_eq!(
            good(Operation::DeleteStream, &body),
            Request::DeleteStream(wanted),
            "{text}"
        );
    }
}

#[test]
fn describe_stream_takes_name_and_arn() {
    let body = format!(
        r#"{{"StreamName":"flights","StreamARN":"{ARN}","StreamId":"abcdefghij0123456789-abc",
            "Limit":7.0,"ExclusiveStartShardId":"shardId-1"}}"#
    );
    let wanted = DescribeStream {
        stream: StreamTarget {
            arn: ARN.parse().ok(),
            ..flights()
        },
        limit: Some(7),
        exclusive_start_shard_id: Some(ShardName("shardId-1".to_owned())),
    };
    assert_eq!(
        good(Operation::DescribeStream, &body),
        Request::DescribeStream(wanted)
    );
}

#[test]
fn list_streams_may_be_empty() {
    let wanted = ListStreams {
        limit: None,
        exclusive_start_stream_name: None,
        next_token: None,
    };
    assert_eq!(
        good(Operation::ListStreams, " {} "),
        Request::ListStreams(wanted)
    );
}

#[test]
fn list_shards_takes_a_filter() {
    let body = r#"{"StreamName":"flights","MaxResults":2,"StreamCreationTimestamp":1.5,
        "ShardFilter":{"Type":"AFTER_SHARD_ID","ShardId":"shardId-000000000001"}}"#;
    let wanted = ListShards {
        stream: flights(),
        next_token: None,
        exclusive_start_shard_id: None,
        max_results: Some(2),
        stream_creation_timestamp: Some(Millis(1500)),
        shard_filter: Some(ShardFilter {
            filter_type: ShardFilterType::AfterShardId,
            shard_id: Some(ShardName("shardId-000000000001".to_owned())),
            timestamp: None,
        }),
    };
    assert_eq!(
        good(Operation::ListShards, body),
        Request::ListShards(wanted)
    );
}

#[test]
fn get_shard_iterator_keeps_numbers_as_written() {
    let body = r#"{"StreamName":"flights","ShardId":"0","ShardIteratorType":"AT_SEQUENCE_NUMBER",
        "StartingSequenceNumber":"12","Timestamp":1441215410.867,"DryRun":true}"#;
    let wanted = GetShardIterator {
        stream: flights(),
        shard_id: ShardName("0".to_owned()),
        iterator_type: ShardIteratorType::AtSequenceNumber,
        starting_sequence_number: Some(SequenceText("12".to_owned())),
        timestamp: Some(Millis(1_441_215_410_867)),
        dry_run: true,
    };
    assert_eq!(
        good(Operation::GetShardIterator, body),
        Request::GetShardIterator(wanted)
    );
}

#[test]
fn get_records_needs_no_stream() {
    let wanted = GetRecords {
        shard_iterator: "AAAA".to_owned(),
        limit: Some(10_000),
        stream_arn: None,
        dry_run: false,
    };
    assert_eq!(
        good(
            Operation::GetRecords,
            r#"{"ShardIterator":"AAAA","Limit":10000}"#
        ),
        Request::GetRecords(wanted)
    );
}

#[test]
fn a_dry_run_of_a_put_is_told_from_a_put() {
    let body = r#"{"StreamName":"flights","Data":"","PartitionKey":"k","DryRun":true}"#;
    let Request::PutRecord(put) = good(Operation::PutRecord, body) else {
        panic!("a put");
    };
    assert!(put.dry_run);
}

#[test]
fn what_the_model_cannot_say_is_refused_in_words() {
    let consumer = format!(r#"{{"StreamARN":"{ARN}/consumer/c:1"}}"#);
    for (operation, body, wanted) in [
        (
            Operation::DescribeStream,
            consumer.as_str(),
            "InvalidArgumentException: StreamARN arn:aws:kinesis:us-east-1:000000000000:stream/\
             flights/consumer/c:1 is not the ARN of a stream.",
        ),
        (
            Operation::PutRecords,
            r#"{"StreamName":"a","Records":[{"Data":"","PartitionKey":"k",
                "ExplicitHashKey":"340282366920938463463374607431768211456"}]}"#,
            "InvalidArgumentException: Invalid ExplicitHashKey. ExplicitHashKey must be in the \
             range: [0, 2^128-1]. Specified value was 340282366920938463463374607431768211456",
        ),
        (
            Operation::ListShards,
            r#"{"StreamName":"a","ShardFilter":{"Type":"AT_TIMESTAMP"}}"#,
            "InvalidArgumentException: ShardFilter of type AT_TIMESTAMP requires Timestamp.",
        ),
    ] {
        assert_eq!(refused(operation, body), wanted);
    }
}

#[test]
fn a_target_is_resolved_against_the_caller() {
    let scope = millstream_types::Scope {
        account: "000000000000".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    };
    let arn = |text: &str| text.parse::<StreamArn>().ok();
    let target = |name: Option<&str>, arn: Option<StreamArn>| StreamTarget {
        name: name.and_then(|name| name.parse().ok()),
        arn,
    };
    let resolve = |target: &StreamTarget| {
        let resolved = target.resolve(&scope).map(ToString::to_string);
        resolved.map_err(|error| error.code)
    };
    let found = Ok("flights".to_owned());
    assert_eq!(resolve(&target(Some("flights"), None)), found);
    assert_eq!(resolve(&target(None, arn(ARN))), found);
    assert_eq!(resolve(&target(Some("flights"), arn(ARN))), found);
    assert_eq!(
        resolve(&target(Some("other"), arn(ARN))),
        Err(ErrorCode::InvalidArgument)
    );
    assert_eq!(
        resolve(&target(None, None)),
        Err(ErrorCode::InvalidArgument)
    );
    for foreign in [
        "arn:aws:kinesis:us-east-1:000000000001:stream/flights",
        "arn:aws:kinesis:eu-west-1:000000000000:stream/flights",
    ] {
        assert_eq!(
            resolve(&target(None, arn(foreign))),
            Err(ErrorCode::ResourceNotFound)
        );
    }
}

#[test]
fn shards_are_named_as_loosely_as_on_aws() {
    let resolve = |text: &str| ShardName(text.to_owned()).resolve().map(|shard| shard.0);
    // kinesalite test/getShardIterator.js
    for (text, shard) in [
        ("shardId-000000000007", Some(7)),
        ("2147483647", Some(2_147_483_647)),
        ("any-2147483647", Some(2_147_483_647)),
        ("a-00002147483647", Some(2_147_483_647)),
        ("-00002147483647", Some(2_147_483_647)),
        ("2147483648", None),
        ("shardId-002147483648", None),
        ("ABKLFD8", None),
        ("2.14E4", None),
        ("shardId-", None),
    ] {
        assert_eq!(resolve(text), shard, "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body: Vec<u8>) {
        let body = Bytes::from(body);
        for operation in Operation::ALL {
            for codec in [Codec::Json, Codec::Cbor] {
                let _unused = decode_any(codec, operation, &body);
            }
        }
    }

    /// A fault would mean that a value passed the model and yet did not fit our types.
    #[test]
    fn no_json_is_answered_with_a_fault(
        texts in prop::collection::vec("[a-zA-Z0-9_.=/:\\-]{0,40}|.{0,20}", 6),
        number in -3i64..40_000, choice in 0usize..5, names in prop::collection::vec(0usize..28, 0..9),
    ) {
        let all = [
            "StreamName", "StreamARN", "StreamId", "ShardCount", "Limit", "MaxResults", "Tags",
            "WarmThroughputMiBps", "MaxRecordSizeInKiB", "EnforceConsumerDeletion", "DryRun",
            "ExclusiveStartShardId", "ExclusiveStartStreamName", "NextToken", "Timestamp",
            "StreamCreationTimestamp", "ShardFilter", "StreamModeDetails", "Data", "PartitionKey",
            "ExplicitHashKey", "SequenceNumberForOrdering", "Records", "ShardId",
            "ShardIteratorType", "StartingSequenceNumber", "ShardIterator",
            "RecordDistributionStrategy",
        ];
        let types = ["LATEST", "AT_TIMESTAMP", "AUTO", "ON_DEMAND", "AFTER_SHARD_ID"];
        let mut body = serde_json::Map::new();
        for (i, name) in names.iter().enumerate() {
            let text = &texts[i % texts.len()];
            let value = match all[*name] {
                "StreamARN" => format!("{ARN}{text}").into(),
                "ShardCount" | "Limit" | "MaxResults" | "WarmThroughputMiBps" | "Timestamp"
                | "MaxRecordSizeInKiB" | "StreamCreationTimestamp" => number.into(),
                "DryRun" | "EnforceConsumerDeletion" => (number > 0).into(),
                "Tags" => serde_json::json!({ text: null, "a": text }),
                "ShardFilter" => serde_json::json!({ "Type": types[choice], "ShardId": text }),
                "StreamModeDetails" => serde_json::json!({ "StreamMode": types[choice] }),
                "Records" => serde_json::json!([null, {"Data": "", "PartitionKey": text}]),
                "ShardIteratorType" | "RecordDistributionStrategy" => types[choice].into(),
                _ => text.as_str().into(),
            };
            body.insert(all[*name].to_owned(), value);
        }
        let body = serde_json::Value::Object(body).to_string();
        for operation in Operation::ALL {
            if let Err(error) = read(operation, &body) {
                prop_assert!(!error.is_fault(), "{} {body}", operation.name());
            }
        }
    }
}
