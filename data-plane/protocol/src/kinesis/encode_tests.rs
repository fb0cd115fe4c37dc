//! The JSON of every answer, checked against recordings' members and read back whole.

use millstream_types::{HashKey, Millis, SequenceNumber, ShardId};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::request::RecordDistributionStrategy;
use super::super::response::{EntryErrorCode, GetShardIteratorOutput, ReadRecord};
use super::*;
use crate::json::JsonWriter;

fn number(counter: u64) -> SequenceNumber {
    SequenceNumber {
        created_s: 1_700_000_000,
        shard_index: 1,
        counter,
        put_s: 1_700_000_009,
    }
}

fn arn() -> StreamArn {
    "arn:aws:kinesis:us-east-1:000000000000:stream/flights"
        .parse()
        .expect("an ARN")
}

fn read(response: &Response) -> Value {
    serde_json::from_slice(&encode::<JsonWriter>(response)).expect("JSON")
}

fn shard() -> ShardDescription {
    ShardDescription {
        shard_id: ShardId(1),
        parent: None,
        adjacent_parent: None,
        hash_keys: HashKeyRange::ALL,
        starting: number(0),
        ending: None,
    }
}

fn shard_json() -> Value {
    json!({
        "ShardId": "shardId-000000000001",
        "HashKeyRange": {
            "StartingHashKey": "0",
            "EndingHashKey": "340282366920938463463374607431768211455",
        },
        "SequenceNumberRange": {"StartingSequenceNumber": number(0).to_string()},
    })
}

#[test]
fn changes_answer_with_an_empty_body() {
    // kinesalite test/createStream.js, test/deleteStream.js
    assert_eq!(encode::<JsonWriter>(&Response::CreateStream), "");
    assert_eq!(encode::<JsonWriter>(&Response::DeleteStream), "");
}

#[test]
fn a_stream_is_described_with_the_members_of_a_recording() {
    // localstack tests/aws/services/cloudformation/resources/test_kinesis.snapshot.json
    let response = Response::DescribeStream(StreamDescription {
        arn: arn(),
        status: StreamStatus::Active,
        mode: StreamMode::Provisioned,
        shards: vec![shard()],
        has_more_shards: false,
        retention_hours: 24,
        created: Millis(1_700_000_000_000),
    });
    assert_eq!(
        read(&response),
        json!({"StreamDescription": {
            "EncryptionType": "NONE",
            "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "HasMoreShards": false,
            "RetentionPeriodHours": 24,
            "Shards": [shard_json()],
            "StreamARN": arn().to_string(),
            "StreamCreationTimestamp": 1_700_000_000,
            "StreamModeDetails": {"StreamMode": "PROVISIONED"},
            "StreamName": "flights",
            "StreamStatus": "ACTIVE",
        }})
    );
}

#[test]
fn a_summary_has_what_the_producer_library_asks_for() {
    let response = Response::DescribeStreamSummary(StreamDescriptionSummary {
        arn: arn(),
        status: StreamStatus::Updating,
        mode: StreamMode::OnDemand,
        retention_hours: 48,
        created: Millis(1_700_000_000_123),
        open_shards: 3,
        consumers: 2,
        max_record_size_kib: 1024,
        record_distribution_strategy: RecordDistributionStrategy::UserPartitionKey,
    });
    assert_eq!(
        read(&response),
        json!({"StreamDescriptionSummary": {
            "ConsumerCount": 2,
            "EncryptionType": "NONE",
            "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "MaxRecordSizeInKiB": 1024,
            "OpenShardCount": 3,
            "RecordDistributionStrategy": "USER_PARTITION_KEY",
            "RetentionPeriodHours": 48,
            "StreamARN": arn().to_string(),
            "StreamCreationTimestamp": 1_700_000_000.123,
            "StreamModeDetails": {"StreamMode": "ON_DEMAND"},
            "StreamName": "flights",
            "StreamStatus": "UPDATING",
        }})
    );
}

#[test]
fn streams_are_listed_by_name_and_summary() {
    let mut output = ListStreamsOutput {
        streams: vec![StreamSummary {
            arn: arn(),
            status: StreamStatus::Active,
            mode: Some(StreamMode::Provisioned),
            created: Some(Millis(1_700_000_000_000)),
        }],
        has_more_streams: true,
        next_token: Some("t".to_owned()),
    };
    let summary = json!({
        "StreamName": "flights",
        "StreamARN": arn().to_string(),
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": {"StreamMode": "PROVISIONED"},
        "StreamCreationTimestamp": 1_700_000_000,
    });
    assert_eq!(
        read(&Response::ListStreams(output.clone())),
        json!({
            "StreamNames": ["flights"],
            "HasMoreStreams": true,
            "NextToken": "t",
            "StreamSummaries": [summary],
        })
    );
    output.next_token = None;
    output.streams[0].mode = None;
    output.streams[0].created = None;
    let read = read(&Response::ListStreams(output));
    assert_eq!(read.get("NextToken"), None);
    let named = json!({
        "StreamName": "flights",
        "StreamARN": arn().to_string(),
        "StreamStatus": "ACTIVE",
    });
    assert_eq!(read["StreamSummaries"], json!([named]));
}

#[test]
fn a_closed_child_shard_shows_its_parents_and_its_end() {
    let response = Response::ListShards(ListShardsOutput {
        shards: vec![ShardDescription {
            parent: Some(ShardId(0)),
            adjacent_parent: Some(ShardId(2)),
            ending: Some(number(9)),
            ..shard()
        }],
        next_token: None,
    });
    let mut wanted = shard_json();
    wanted["ParentShardId"] = "shardId-000000000000".into();
    wanted["AdjacentParentShardId"] = "shardId-000000000002".into();
    wanted["SequenceNumberRange"]["EndingSequenceNumber"] = number(9).to_string().into();
    assert_eq!(read(&response), json!({"Shards": [wanted]}));
}

#[test]
fn a_put_answers_without_encryption_type() {
    // kinesalite test/putRecord.js; localstack test_kinesis.snapshot.json
    let output = PutRecordOutput {
        shard_id: ShardId(1),
        sequence_number: number(5),
    };
    let wanted = format!(
        r#"{{"SequenceNumber":"{}","ShardId":"shardId-000000000001"}}"#,
        number(5)
    );
    assert_eq!(encode::<JsonWriter>(&Response::PutRecord(output)), wanted);
}

#[test]
fn failed_entries_are_counted_and_keep_their_place() {
    let put = PutRecordOutput {
        shard_id: ShardId(1),
        sequence_number: number(5),
    };
    let failed = |code| PutEntryOutput::Failed {
        code,
        message: "Rate exceeded".to_owned(),
    };
    let response = Response::PutRecords(PutRecordsOutput {
        entries: vec![
            PutEntryOutput::Put(put),
            failed(EntryErrorCode::ProvisionedThroughputExceeded),
            failed(EntryErrorCode::InternalFailure),
        ],
    });
    assert_eq!(
        read(&response),
        json!({"FailedRecordCount": 2, "Records": [
            {"SequenceNumber": number(5).to_string(), "ShardId": "shardId-000000000001"},
            {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"},
            {"ErrorCode": "InternalFailure", "ErrorMessage": "Rate exceeded"},
        ]})
    );
}

#[test]
fn an_iterator_is_shown_alone() {
    let response = Response::GetShardIterator(GetShardIteratorOutput {
        shard_iterator: "AA==".to_owned(),
    });
    assert_eq!(
        encode::<JsonWriter>(&response),
        r#"{"ShardIterator":"AA=="}"#
    );
}

fn records_output(records: Vec<ReadRecord>) -> GetRecordsOutput {
    GetRecordsOutput {
        records,
        next_shard_iterator: Some("next".to_owned()),
        millis_behind_latest: 7,
        child_shards: vec![],
    }
}

#[test]
fn records_have_the_members_of_a_recording() {
    // localstack tests/aws/services/apigateway/test_apigateway_kinesis.snapshot.json
    let record = ReadRecord {
        sequence_number: number(5),
        arrival: Millis(1_441_215_410_867),
        partition_key: Bytes::from_static("ké\"".as_bytes()),
        data: Bytes::from_static(b"\xff\xff"),
    };
    assert_eq!(
        read(&Response::GetRecords(records_output(vec![record]))),
        json!({
            "MillisBehindLatest": 7,
            "NextShardIterator": "next",
            "Records": [{
                "ApproximateArrivalTimestamp": 1_441_215_410.867,
                "Data": "//8=",
                "PartitionKey": "ké\"",
                "SequenceNumber": number(5).to_string(),
            }],
        })
    );
}

#[test]
fn the_end_of_a_closed_shard_names_its_children_and_no_iterator() {
    let output = GetRecordsOutput {
        next_shard_iterator: None,
        child_shards: vec![ChildShard {
            shard_id: ShardId(1),
            parents: vec![ShardId(0)],
            hash_keys: HashKeyRange {
                start: HashKey(0),
                end: HashKey(9),
            },
        }],
        ..records_output(vec![])
    };
    assert_eq!(
        read(&Response::GetRecords(output)),
        json!({
            "MillisBehindLatest": 7,
            "Records": [],
            "ChildShards": [{
                "ShardId": "shardId-000000000001",
                "ParentShards": ["shardId-000000000000"],
                "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"},
            }],
        })
    );
}

proptest! {
    #[test]
    fn any_records_read_back_and_fit_the_room_made_for_them(
        records in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..80), "[a-zé日 ]{1,20}", any::<u32>()), 0..20,
        ),
    ) {
        let output = records_output(records.iter().map(|(data, key, counter)| ReadRecord {
            sequence_number: number((*counter).into()),
            arrival: Millis((*counter).into()),
            partition_key: Bytes::copy_from_slice(key.as_bytes()),
            data: Bytes::copy_from_slice(data),
        }).collect());
        let response = Response::GetRecords(output);
        prop_assert!(encode::<JsonWriter>(&response).len() <= room(&response));
        let read = read(&response);
        let shown = read["Records"].as_array().expect("a list");
        prop_assert_eq!(shown.len(), records.len());
        for (shown, (data, key, counter)) in shown.iter().zip(&records) {
            let encoded = base64_simd::STANDARD.encode_to_string(data);
            prop_assert_eq!(shown["Data"].as_str(), Some(&*encoded));
            prop_assert_eq!(shown["PartitionKey"].as_str(), Some(&**key));
            let number = number((*counter).into()).to_string();
            prop_assert_eq!(shown["SequenceNumber"].as_str(), Some(&*number));
        }
    }
}
