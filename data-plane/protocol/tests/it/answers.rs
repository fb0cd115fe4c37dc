//! Every answer, with all its members, is held to the output shape of the service model: required
//! members are there, no others are, values are of their type and within their constraints. So an
//! SDK made from the model reads them.

use bytes::Bytes;
use millstream_protocol::kinesis::request::RecordDistributionStrategy;
use millstream_protocol::kinesis::response::{
    ChildShard, EntryErrorCode, GetRecordsOutput, GetShardIteratorOutput, ListShardsOutput,
    ListStreamsOutput, PutEntryOutput, PutRecordOutput, PutRecordsOutput, ReadRecord,
    ShardDescription, StreamDescription, StreamDescriptionSummary, StreamStatus, StreamSummary,
};
use millstream_protocol::kinesis::{self, Operation, Response};
use millstream_protocol::model::{MODEL, ShapeType};
use millstream_protocol::{Codec, Reply};
use millstream_types::{HashKeyRange, Millis, SequenceNumber, ShardId, StreamArn, StreamMode};
use serde_json::Value;

use crate::in_cbor;

/// Where the model forbids what AWS sends: the count of failed entries is 0 when all is well, but
/// its shape has a least value of 1 (kinesalite test/putRecords.js has the recorded 0).
const LOOSER_THAN_MODEL: &[&str] = &["FailedRecordCount"];

fn arn() -> StreamArn {
    "arn:aws:kinesis:us-east-1:000000000000:stream/flights"
        .parse()
        .expect("an ARN")
}

fn number(counter: u64) -> SequenceNumber {
    SequenceNumber {
        created_s: 1_700_000_000,
        shard_index: 1,
        counter,
        put_s: 1_700_000_009,
    }
}

fn shard() -> ShardDescription {
    ShardDescription {
        shard_id: ShardId(1),
        parent: Some(ShardId(0)),
        adjacent_parent: Some(ShardId(2)),
        hash_keys: HashKeyRange::ALL,
        starting: number(0),
        ending: Some(number(millstream_types::sequence::COUNTER_MAX)),
    }
}

fn put() -> PutRecordOutput {
    PutRecordOutput {
        shard_id: ShardId(1),
        sequence_number: number(1),
    }
}

fn descriptions(status: StreamStatus, mode: StreamMode) -> [Response; 3] {
    let created = Millis(1_700_000_000_123);
    [
        Response::DescribeStream(StreamDescription {
            arn: arn(),
            status,
            mode,
            shards: vec![shard()],
            has_more_shards: true,
            retention_hours: 24,
            created,
        }),
        Response::DescribeStreamSummary(StreamDescriptionSummary {
            arn: arn(),
            status,
            mode,
            retention_hours: 8760,
            created,
            open_shards: 0,
            consumers: 0,
            max_record_size_kib: 10_240,
            record_distribution_strategy: match mode {
                StreamMode::Provisioned => RecordDistributionStrategy::UserPartitionKey,
                StreamMode::OnDemand => RecordDistributionStrategy::Auto,
            },
        }),
        Response::ListStreams(ListStreamsOutput {
            streams: vec![StreamSummary {
                arn: arn(),
                status,
                mode: Some(mode),
                created: Some(created),
            }],
            has_more_streams: true,
            next_token: Some("t".to_owned()),
        }),
    ]
}

fn answers() -> Vec<(Operation, Response)> {
    let failed = |code| PutEntryOutput::Failed {
        code,
        message: "slow down".to_owned(),
    };
    let mut responses = vec![
        Response::GetRecords(GetRecordsOutput {
            records: vec![ReadRecord {
                sequence_number: number(1),
                arrival: Millis(1_700_000_000_123),
                partition_key: Bytes::from_static(b"key"),
                data: Bytes::from_static(b"data"),
            }],
            next_shard_iterator: Some("i".repeat(512)),
            millis_behind_latest: 0,
            child_shards: vec![ChildShard {
                shard_id: ShardId(1),
                parents: vec![ShardId(0)],
                hash_keys: HashKeyRange::ALL,
            }],
        }),
        Response::GetShardIterator(GetShardIteratorOutput {
            shard_iterator: "i".to_owned(),
        }),
        Response::ListShards(ListShardsOutput {
            shards: vec![shard()],
            next_token: Some("t".to_owned()),
        }),
        Response::PutRecord(put()),
        Response::PutRecords(PutRecordsOutput {
            entries: vec![
                PutEntryOutput::Put(put()),
                failed(EntryErrorCode::InternalFailure),
                failed(EntryErrorCode::ProvisionedThroughputExceeded),
            ],
        }),
    ];
    for (status, mode) in [
        (StreamStatus::Creating, StreamMode::Provisioned),
        (StreamStatus::Deleting, StreamMode::OnDemand),
        (StreamStatus::Active, StreamMode::Provisioned),
        (StreamStatus::Updating, StreamMode::OnDemand),
    ] {
        responses.extend(descriptions(status, mode));
    }
    responses
        .into_iter()
        .map(|response| (operation(&response), response))
        .collect()
}

fn operation(response: &Response) -> Operation {
    match response {
        Response::CreateStream => Operation::CreateStream,
        Response::DeleteStream => Operation::DeleteStream,
        Response::DescribeStream(_) => Operation::DescribeStream,
        Response::DescribeStreamSummary(_) => Operation::DescribeStreamSummary,
        Response::GetRecords(_) => Operation::GetRecords,
        Response::GetShardIterator(_) => Operation::GetShardIterator,
        Response::ListShards(_) => Operation::ListShards,
        Response::ListStreams(_) => Operation::ListStreams,
        Response::PutRecord(_) => Operation::PutRecord,
        Response::PutRecords(_) => Operation::PutRecords,
    }
}

/// Adds what is wrong with a value to `faults`.
fn compare(value: &Value, shape_name: &str, path: &str, faults: &mut Vec<String>) {
    let shape = MODEL.shape(shape_name);
    let mut measure = None;
    let fits = match shape.shape_type {
        ShapeType::Boolean => value.is_boolean(),
        ShapeType::Integer | ShapeType::Long => {
            measure = value.as_i64();
            value.is_i64() || value.is_u64()
        },
        ShapeType::Timestamp => value.is_number(),
        ShapeType::String => {
            measure = value.as_str().map(|text| text.chars().count() as i64);
            let text = value.as_str().unwrap_or_default();
            let allowed = shape
                .values
                .as_ref()
                .is_none_or(|all| all.iter().any(|v| v == text));
            let matched = shape
                .pattern
                .as_ref()
                .is_none_or(|p| p.regex.is_match(text));
            value.is_string() && allowed && matched
        },
        ShapeType::Blob => {
            let text = value.as_str();
            text.is_some_and(|text| base64_simd::STANDARD.decode_to_vec(text).is_ok())
        },
        ShapeType::List => {
            let element = shape.member.as_deref().expect("a list has elements");
            for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                compare(item, element, &format!("{path}.{i}"), faults);
            }
            value.is_array()
        },
        ShapeType::Map => false,
        ShapeType::Structure => {
            let object = value.as_object();
            for (name, item) in object.into_iter().flatten() {
                match shape.members.iter().find(|(member, _)| member == name) {
                    Some((_, member)) => compare(item, member, &format!("{path}.{name}"), faults),
                    None => faults.push(format!("{path}.{name} is not in the model")),
                }
            }
            for name in &shape.required {
                if object.is_none_or(|object| !object.contains_key(name)) {
                    faults.push(format!("{path}.{name} is absent"));
                }
            }
            value.is_object()
        },
    };
    let loose = LOOSER_THAN_MODEL.iter().any(|name| path.ends_with(name));
    let low = measure.is_some_and(|m| shape.min.is_some_and(|min| m < min));
    let high = measure.is_some_and(|m| shape.max.is_some_and(|max| m > max));
    if !fits || (!loose && (low || high)) {
        faults.push(format!("{path} is no {shape_name}: {value}"));
    }
}

#[test]
fn answers_are_of_the_shape_that_the_model_says() {
    let mut faults = Vec::new();
    for (operation, response) in answers() {
        let reply = kinesis::encode(Codec::Json, &response);
        let value: Value = serde_json::from_slice(&reply.body).expect("JSON");
        let output = MODEL.operations[operation.name()].output.as_deref();
        compare(
            &value,
            output.expect("has an output"),
            operation.name(),
            &mut faults,
        );
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn answers_in_cbor_have_the_members_of_those_in_json() {
    for (operation, response) in answers() {
        let mut json: Value =
            serde_json::from_slice(&kinesis::encode(Codec::Json, &response).body).expect("JSON");
        in_milliseconds(&mut json);
        let reply = kinesis::encode(Codec::Cbor, &response);
        assert_eq!(in_cbor::to_json(&reply.body), json, "{}", operation.name());
        assert_eq!(reply.content_type, Some("application/x-amz-cbor-1.1"));
    }
}

/// Makes the times of an answer in JSON those of CBOR.
fn in_milliseconds(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(in_milliseconds),
        Value::Object(items) => {
            for (name, item) in items {
                if name.ends_with("Timestamp") {
                    // All of them have three digits behind the point.
                    let digits = item.to_string().replace('.', "");
                    *item = digits.parse::<u64>().expect("a time").into();
                } else {
                    in_milliseconds(item);
                }
            }
        },
        _ => {},
    }
}

#[test]
fn operations_without_output_answer_without_a_body() {
    for response in [Response::CreateStream, Response::DeleteStream] {
        assert_eq!(MODEL.operations[operation(&response).name()].output, None);
        for codec in [Codec::Json, Codec::Cbor] {
            let reply = kinesis::encode(codec, &response);
            assert_eq!(reply, Reply::coded(codec, 200, Bytes::new()));
        }
    }
}

#[test]
fn every_operation_with_output_is_answered_here() {
    let answered: Vec<_> = answers()
        .into_iter()
        .map(|(operation, _)| operation)
        .collect();
    for operation in Operation::ALL {
        let has_output = MODEL.operations[operation.name()].output.is_some();
        assert_eq!(
            answered.contains(&operation),
            has_output,
            "{}",
            operation.name()
        );
    }
}
