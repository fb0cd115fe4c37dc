//! Answers through a [`Writer`], members in the order of AWS's API reference.
//!
//! `EncryptionType` is absent from answers about records, as in recordings of AWS (localstack
//! tests/aws/services/kinesis/test_kinesis.snapshot.json), and `NONE` in descriptions (kinesalite
//! test/describeStream.js).

use bytes::Bytes;
use millstream_types::{HashKeyRange, StreamArn, StreamMode};

use super::response::{
    ChildShard, GetRecordsOutput, ListShardsOutput, ListStreamsOutput, PutEntryOutput,
    PutRecordOutput, PutRecordsOutput, Response, ShardDescription, StreamDescription,
    StreamDescriptionSummary, StreamStatus, StreamSummary,
};
use crate::writer::Writer;

/// Bytes (of JSON, the longer form) around one record, without data and key: names, number, time.
const RECORD_FRAME_BYTES: usize = 176;
/// Bytes for one entry of a `PutRecords` answer.
const PUT_ENTRY_BYTES: usize = 128;
/// Bytes for one shard.
const SHARD_BYTES: usize = 416;
/// Bytes for anything else.
const FRAME_BYTES: usize = 1024;

/// The body of an answer, written by `W`.
pub(super) fn encode<W: Writer>(response: &Response) -> Bytes {
    if matches!(response, Response::CreateStream | Response::DeleteStream) {
        return Bytes::new();
    }
    let mut writer = W::with_capacity(room(response));
    let w = &mut writer;
    w.begin_object();
    match response {
        Response::CreateStream | Response::DeleteStream => {},
        Response::DescribeStream(description) => stream_description(w, description),
        Response::DescribeStreamSummary(summary) => stream_description_summary(w, summary),
        Response::GetRecords(output) => get_records(w, output),
        Response::GetShardIterator(output) => {
            w.field("ShardIterator");
            w.string(&output.shard_iterator);
        },
        Response::ListShards(output) => list_shards(w, output),
        Response::ListStreams(output) => list_streams(w, output),
        Response::PutRecord(output) => put_record(w, output),
        Response::PutRecords(output) => put_records(w, output),
    }
    w.end_object();
    writer.finish()
}

/// How large the answer will be, so that its buffer need not grow.
fn room(response: &Response) -> usize {
    let record = |record: &super::response::ReadRecord| {
        record.data.len().div_ceil(3) * 4 + record.partition_key.len() + RECORD_FRAME_BYTES
    };
    FRAME_BYTES
        + match response {
            Response::GetRecords(output) => output.records.iter().map(record).sum(),
            Response::PutRecords(output) => output.entries.len() * PUT_ENTRY_BYTES,
            Response::ListShards(output) => output.shards.len() * SHARD_BYTES,
            Response::DescribeStream(output) => output.shards.len() * SHARD_BYTES,
            _ => 0,
        }
}

fn stream_description(w: &mut impl Writer, stream: &StreamDescription) {
    w.field("StreamDescription");
    w.begin_object();
    identity(w, &stream.arn, stream.status, Some(stream.mode));
    shards(w, &stream.shards);
    w.field("HasMoreShards");
    w.boolean(stream.has_more_shards);
    w.field("RetentionPeriodHours");
    w.integer(stream.retention_hours.into());
    w.field("StreamCreationTimestamp");
    w.timestamp(stream.created);
    no_monitoring_no_encryption(w);
    w.end_object();
}

fn stream_description_summary(w: &mut impl Writer, stream: &StreamDescriptionSummary) {
    w.field("StreamDescriptionSummary");
    w.begin_object();
    identity(w, &stream.arn, stream.status, Some(stream.mode));
    w.field("RetentionPeriodHours");
    w.integer(stream.retention_hours.into());
    w.field("StreamCreationTimestamp");
    w.timestamp(stream.created);
    no_monitoring_no_encryption(w);
    w.field("OpenShardCount");
    w.integer(stream.open_shards.into());
    w.field("ConsumerCount");
    w.integer(stream.consumers.into());
    w.field("MaxRecordSizeInKiB");
    w.integer(stream.max_record_size_kib.into());
    w.field("RecordDistributionStrategy");
    w.string(stream.record_distribution_strategy.as_str());
    w.end_object();
}

/// Name, ARN, state and mode.
fn identity(w: &mut impl Writer, arn: &StreamArn, status: StreamStatus, mode: Option<StreamMode>) {
    w.field("StreamName");
    w.plain(&arn.name);
    w.field("StreamARN");
    w.plain(arn);
    w.field("StreamStatus");
    w.string(status.as_str());
    if let Some(mode) = mode {
        w.field("StreamModeDetails");
        w.begin_object();
        w.field("StreamMode");
        w.string(mode.as_str());
        w.end_object();
    }
}

fn no_monitoring_no_encryption(w: &mut impl Writer) {
    w.field("EnhancedMonitoring");
    w.begin_list();
    w.begin_object();
    w.field("ShardLevelMetrics");
    w.begin_list();
    w.end_list();
    w.end_object();
    w.end_list();
    w.field("EncryptionType");
    w.string("NONE");
}

fn shards(w: &mut impl Writer, shards: &[ShardDescription]) {
    w.field("Shards");
    w.begin_list();
    for shard in shards {
        w.begin_object();
        w.field("ShardId");
        w.plain(shard.shard_id);
        if let Some(parent) = shard.parent {
            w.field("ParentShardId");
            w.plain(parent);
        }
        if let Some(parent) = shard.adjacent_parent {
            w.field("AdjacentParentShardId");
            w.plain(parent);
        }
        hash_key_range(w, &shard.hash_keys);
        w.field("SequenceNumberRange");
        w.begin_object();
        w.field("StartingSequenceNumber");
        w.plain(shard.starting);
        if let Some(ending) = shard.ending {
            w.field("EndingSequenceNumber");
            w.plain(ending);
        }
        w.end_object();
        w.end_object();
    }
    w.end_list();
}

fn hash_key_range(w: &mut impl Writer, range: &HashKeyRange) {
    w.field("HashKeyRange");
    w.begin_object();
    w.field("StartingHashKey");
    w.plain(range.start);
    w.field("EndingHashKey");
    w.plain(range.end);
    w.end_object();
}

fn list_shards(w: &mut impl Writer, output: &ListShardsOutput) {
    shards(w, &output.shards);
    if let Some(token) = &output.next_token {
        w.field("NextToken");
        w.string(token);
    }
}

fn list_streams(w: &mut impl Writer, output: &ListStreamsOutput) {
    w.field("StreamNames");
    w.begin_list();
    for stream in &output.streams {
        w.plain(&stream.arn.name);
    }
    w.end_list();
    w.field("HasMoreStreams");
    w.boolean(output.has_more_streams);
    if let Some(token) = &output.next_token {
        w.field("NextToken");
        w.string(token);
    }
    w.field("StreamSummaries");
    w.begin_list();
    for stream in &output.streams {
        stream_summary(w, stream);
    }
    w.end_list();
}

fn stream_summary(w: &mut impl Writer, stream: &StreamSummary) {
    w.begin_object();
    identity(w, &stream.arn, stream.status, stream.mode);
    if let Some(created) = stream.created {
        w.field("StreamCreationTimestamp");
        w.timestamp(created);
    }
    w.end_object();
}

fn put_record(w: &mut impl Writer, output: &PutRecordOutput) {
    w.field("SequenceNumber");
    w.plain(output.sequence_number);
    w.field("ShardId");
    w.plain(output.shard_id);
}

fn put_records(w: &mut impl Writer, output: &PutRecordsOutput) {
    let failed = |entry: &&PutEntryOutput| matches!(entry, PutEntryOutput::Failed { .. });
    let failed = output.entries.iter().filter(failed).count();
    w.field("FailedRecordCount");
    w.integer(failed as u64);
    w.field("Records");
    w.begin_list();
    for entry in &output.entries {
        w.begin_object();
        match entry {
            PutEntryOutput::Put(output) => put_record(w, output),
            PutEntryOutput::Failed { code, message } => {
                w.field("ErrorCode");
                w.string(code.as_str());
                w.field("ErrorMessage");
                w.string(message);
            },
        }
        w.end_object();
    }
    w.end_list();
}

fn get_records(w: &mut impl Writer, output: &GetRecordsOutput) {
    w.field("Records");
    w.begin_list();
    for record in &output.records {
        w.begin_object();
        w.field("SequenceNumber");
        w.plain(record.sequence_number);
        w.field("ApproximateArrivalTimestamp");
        w.timestamp(record.arrival);
        w.field("Data");
        w.blob(&record.data);
        w.field("PartitionKey");
        w.string(&String::from_utf8_lossy(&record.partition_key));
        w.end_object();
    }
    w.end_list();
    if let Some(iterator) = &output.next_shard_iterator {
        w.field("NextShardIterator");
        w.string(iterator);
    }
    w.field("MillisBehindLatest");
    w.integer(output.millis_behind_latest);
    if !output.child_shards.is_empty() {
        child_shards(w, &output.child_shards);
    }
}

fn child_shards(w: &mut impl Writer, shards: &[ChildShard]) {
    w.field("ChildShards");
    w.begin_list();
    for shard in shards {
        w.begin_object();
        w.field("ShardId");
        w.plain(shard.shard_id);
        w.field("ParentShards");
        w.begin_list();
        for parent in &shard.parents {
            w.plain(parent);
        }
        w.end_list();
        hash_key_range(w, &shard.hash_keys);
        w.end_object();
    }
    w.end_list();
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
