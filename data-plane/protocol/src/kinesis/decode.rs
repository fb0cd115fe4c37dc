//! From a body to a typed request, through the service model.
//!
//! The model has seen every value before it is taken here, so texts parse; what the model allows
//! and our types do not (an ARN of something else, a hash key of 2^128) is refused in words.

use bytes::{Bytes, BytesMut};
use millstream_types::hash_key::ParseHashKeyError;
use millstream_types::{HashKey, Millis, StreamArn, StreamMode, StreamName};

use super::errors;
use super::operation::Operation;
use super::request::{
    CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, GetRecords,
    GetShardIterator, KeyBytes, ListShards, ListStreams, PutEntry, PutRecord, PutRecords,
    RecordDistributionStrategy, Request, SequenceText, ShardFilter, ShardFilterType,
    ShardIteratorType, ShardName, StreamTarget,
};
use crate::Codec;
use crate::document::Document;
use crate::error::{ErrorCode, ServiceError};
use crate::model::{self, Structure, Value};

/// Reads any request.
pub(super) fn decode(
    codec: Codec,
    operation: Operation,
    body: &Bytes,
) -> Result<Request, ServiceError> {
    let document =
        Document::read(codec, body).ok_or_else(|| ServiceError::bare(ErrorCode::Serialization))?;
    // AWS names no reason for a body that is a bare value (kinesalite test/connection.js).
    if !matches!(document, Document::Map(_) | Document::List(_)) {
        return Err(ServiceError::bare(ErrorCode::Serialization));
    }
    let input = model::read(codec, operation.name(), document)?;
    model::check(operation.name(), &input)?;
    let mut input = Input(input);
    Ok(match operation {
        Operation::CreateStream => Request::CreateStream(create_stream(&mut input)?),
        Operation::DeleteStream => Request::DeleteStream(DeleteStream {
            stream: input.stream()?,
            enforce_consumer_deletion: input.flag("EnforceConsumerDeletion"),
        }),
        Operation::DescribeStream => Request::DescribeStream(DescribeStream {
            stream: input.stream()?,
            limit: input.count("Limit"),
            exclusive_start_shard_id: input.text("ExclusiveStartShardId").map(ShardName),
        }),
        Operation::DescribeStreamSummary => Request::DescribeStreamSummary(DescribeStreamSummary {
            stream: input.stream()?,
        }),
        Operation::GetRecords => Request::GetRecords(GetRecords {
            shard_iterator: input.required_text("ShardIterator"),
            limit: input.count("Limit"),
            stream_arn: input.arn()?,
            dry_run: input.flag("DryRun"),
        }),
        Operation::GetShardIterator => Request::GetShardIterator(get_shard_iterator(&mut input)?),
        Operation::ListShards => Request::ListShards(list_shards(&mut input)?),
        Operation::ListStreams => Request::ListStreams(ListStreams {
            limit: input.count("Limit"),
            exclusive_start_stream_name: input.name("ExclusiveStartStreamName"),
            next_token: input.text("NextToken"),
        }),
        Operation::PutRecord => Request::PutRecord(put_record(&mut input)?),
        Operation::PutRecords => Request::PutRecords(put_records(&mut input)?),
    })
}

fn create_stream(input: &mut Input<'_>) -> Result<CreateStream, ServiceError> {
    let mode = match input.0.take("StreamModeDetails") {
        Some(Value::Structure(details)) => Input(details).text("StreamMode"),
        _ => None,
    };
    let tags = match input.0.take("Tags") {
        Some(Value::Map(items)) => Some(
            items
                .into_iter()
                .filter_map(|(key, value)| match value {
                    Some(Value::Text(value)) => Some((key.into_owned(), value.into_owned())),
                    _ => None,
                })
                .collect(),
        ),
        _ => None,
    };
    let strategy = input.text("RecordDistributionStrategy");
    Ok(CreateStream {
        stream_name: input
            .name("StreamName")
            .ok_or_else(ServiceError::internal)?,
        shard_count: input.count("ShardCount"),
        stream_mode: mode.and_then(|mode| mode.parse::<StreamMode>().ok()),
        tags,
        warm_throughput_mibps: input.count("WarmThroughputMiBps"),
        max_record_size_kib: input.count("MaxRecordSizeInKiB"),
        record_distribution_strategy: strategy.map(|strategy| match &*strategy {
            "AUTO" => RecordDistributionStrategy::Auto,
            _ => RecordDistributionStrategy::UserPartitionKey,
        }),
    })
}

fn get_shard_iterator(input: &mut Input<'_>) -> Result<GetShardIterator, ServiceError> {
    let iterator_type = match &*input.required_text("ShardIteratorType") {
        "AT_SEQUENCE_NUMBER" => ShardIteratorType::AtSequenceNumber,
        "AFTER_SEQUENCE_NUMBER" => ShardIteratorType::AfterSequenceNumber,
        "TRIM_HORIZON" => ShardIteratorType::TrimHorizon,
        "LATEST" => ShardIteratorType::Latest,
        "AT_TIMESTAMP" => ShardIteratorType::AtTimestamp,
        _ => return Err(ServiceError::internal()),
    };
    Ok(GetShardIterator {
        stream: input.stream()?,
        shard_id: ShardName(input.required_text("ShardId")),
        iterator_type,
        starting_sequence_number: input.text("StartingSequenceNumber").map(SequenceText),
        timestamp: input.time("Timestamp"),
        dry_run: input.flag("DryRun"),
    })
}

fn list_shards(input: &mut Input<'_>) -> Result<ListShards, ServiceError> {
    let stream = input.stream()?;
    let next_token = input.text("NextToken");
    if stream.is_empty() && next_token.is_none() {
        return Err(errors::no_stream_or_token_given());
    }
    if !stream.is_empty() && next_token.is_some() {
        return Err(errors::stream_and_token_given());
    }
    let shard_filter = match input.0.take("ShardFilter") {
        Some(Value::Structure(filter)) => Some(shard_filter(&mut Input(filter))?),
        _ => None,
    };
    Ok(ListShards {
        stream,
        next_token,
        exclusive_start_shard_id: input.text("ExclusiveStartShardId").map(ShardName),
        max_results: input.count("MaxResults"),
        stream_creation_timestamp: input.time("StreamCreationTimestamp"),
        shard_filter,
    })
}

fn shard_filter(filter: &mut Input<'_>) -> Result<ShardFilter, ServiceError> {
    let type_name = filter.required_text("Type");
    let filter_type = match &*type_name {
        "AFTER_SHARD_ID" => ShardFilterType::AfterShardId,
        "AT_TRIM_HORIZON" => ShardFilterType::AtTrimHorizon,
        "FROM_TRIM_HORIZON" => ShardFilterType::FromTrimHorizon,
        "AT_LATEST" => ShardFilterType::AtLatest,
        "AT_TIMESTAMP" => ShardFilterType::AtTimestamp,
        "FROM_TIMESTAMP" => ShardFilterType::FromTimestamp,
        _ => return Err(ServiceError::internal()),
    };
    let filter = ShardFilter {
        filter_type,
        shard_id: filter.text("ShardId").map(ShardName),
        timestamp: filter.time("Timestamp"),
    };
    match filter_type {
        ShardFilterType::AfterShardId if filter.shard_id.is_none() => {
            Err(errors::shard_filter_lacks(&type_name, "ShardId"))
        },
        ShardFilterType::AtTimestamp | ShardFilterType::FromTimestamp
            if filter.timestamp.is_none() =>
        {
            Err(errors::shard_filter_lacks(&type_name, "Timestamp"))
        },
        _ => Ok(filter),
    }
}

fn put_record(input: &mut Input<'_>) -> Result<PutRecord, ServiceError> {
    Ok(PutRecord {
        stream: input.stream()?,
        entry: input.entry()?,
        sequence_number_for_ordering: input.text("SequenceNumberForOrdering").map(SequenceText),
        dry_run: input.flag("DryRun"),
    })
}

fn put_records(input: &mut Input<'_>) -> Result<PutRecords, ServiceError> {
    let Some(Value::List(records)) = input.0.take("Records") else {
        return Err(ServiceError::internal());
    };
    let entries = records.into_iter().map(|record| match record {
        Some(Value::Structure(record)) => Input(record).entry(),
        _ => Err(ServiceError::internal()),
    });
    Ok(PutRecords {
        entries: entries.collect::<Result<_, _>>()?,
        stream: input.stream()?,
        dry_run: input.flag("DryRun"),
    })
}

/// Members that were checked against the model, on their way into our types.
struct Input<'a>(Structure<'a>);

impl Input<'_> {
    fn text(&mut self, name: &str) -> Option<String> {
        match self.0.take(name) {
            Some(Value::Text(text)) => Some(text.into_owned()),
            _ => None,
        }
    }

    /// A text that the model requires.
    fn required_text(&mut self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    /// A number that the model bounds from below by 0 or 1.
    fn count(&mut self, name: &str) -> Option<u32> {
        match self.0.take(name) {
            Some(Value::Integer(value)) => u32::try_from(value).ok(),
            _ => None,
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        matches!(self.0.take(name), Some(Value::Bool(true)))
    }

    fn time(&mut self, name: &str) -> Option<Millis> {
        match self.0.take(name) {
            Some(Value::Time(time)) => Some(time),
            _ => None,
        }
    }

    /// A stream name; the model's grammar is the type's (a property of `model::check`).
    fn name(&mut self, name: &str) -> Option<StreamName> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    fn arn(&mut self) -> Result<Option<StreamArn>, ServiceError> {
        let parse = |text: String| text.parse().map_err(|_| errors::not_a_stream_arn(&text));
        self.text("StreamARN").map(parse).transpose()
    }

    fn stream(&mut self) -> Result<StreamTarget, ServiceError> {
        Ok(StreamTarget {
            name: self.name("StreamName"),
            arn: self.arn()?,
        })
    }

    fn entry(&mut self) -> Result<PutEntry, ServiceError> {
        let Some(Value::Blob(data)) = self.0.take("Data") else {
            return Err(ServiceError::internal());
        };
        let key = self.required_text("PartitionKey");
        let explicit_hash_key = match self.text("ExplicitHashKey") {
            Some(text) => Some(hash_key(&text)?),
            None => None,
        };
        Ok(PutEntry {
            data: data.into(),
            partition_key: KeyBytes::trusted(BytesMut::from(key.as_bytes()).freeze()),
            explicit_hash_key,
        })
    }
}

fn hash_key(text: &str) -> Result<HashKey, ServiceError> {
    text.parse().map_err(|error| match error {
        ParseHashKeyError::Range => errors::hash_key_out_of_range(text),
        ParseHashKeyError::Grammar => ServiceError::internal(),
    })
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
