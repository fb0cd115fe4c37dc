//! AWS's texts for what the wire and the handlers refuse by themselves, one constructor each. What
//! the stream layer refuses, it says in AWS's words itself.
//!
//! Sources: "recorded" texts are asserted by a public test suite that was run against AWS itself
//! (kinesalite's `test/*.js`); the service model and AWS's API reference come next; "ours" marks a
//! text for which no public recording was found, with the code that the reference lists.

use millstream_types::{AccountId, StreamName};

use super::request::{ShardIteratorType, ShardName};
use crate::error::{ErrorCode, ServiceError};

fn not_found(message: String) -> ServiceError {
    ServiceError::new(ErrorCode::ResourceNotFound, message)
}

/// No stream of that name. Recorded (test/describeStream.js).
#[must_use]
pub fn stream_not_found(name: &StreamName, account: &AccountId) -> ServiceError {
    not_found(format!("Stream {name} under account {account} not found."))
}

/// A shard id that cannot be read as a shard's. Recorded (test/getShardIterator.js).
#[must_use]
pub fn shard_name_unknown(
    shard: &ShardName,
    stream: &StreamName,
    account: &AccountId,
) -> ServiceError {
    not_found(format!(
        "Could not find shard {shard} in stream {stream} under account {account}."
    ))
}

/// Neither `StreamName` nor `StreamARN`. The rule is the API reference's ("you must use either the
/// StreamARN or the StreamName parameter, or both"); the text is ours, after that of `ListShards`.
#[must_use]
pub fn no_stream_given() -> ServiceError {
    ServiceError::invalid_argument("Either StreamName or StreamARN should be provided.")
}

/// `StreamName` and `StreamARN` name different streams. Ours.
#[must_use]
pub fn name_and_arn_differ() -> ServiceError {
    ServiceError::invalid_argument("StreamName and StreamARN do not name the same stream.")
}

/// An ARN that the service model allows but that is no stream's. Ours.
#[must_use]
pub fn not_a_stream_arn(arn: &str) -> ServiceError {
    ServiceError::invalid_argument(format!("StreamARN {arn} is not the ARN of a stream."))
}

/// `ListShards` with neither stream nor token. Recorded (test/listShards.js).
#[must_use]
pub fn no_stream_or_token_given() -> ServiceError {
    ServiceError::invalid_argument("Either NextToken or StreamName should be provided.")
}

/// `ListShards` with both stream and token. Recorded (test/listShards.js).
#[must_use]
pub fn stream_and_token_given() -> ServiceError {
    ServiceError::invalid_argument("NextToken and StreamName cannot be provided together.")
}

/// A page token that was not issued here. Ours.
#[must_use]
pub fn invalid_next_token() -> ServiceError {
    ServiceError::invalid_argument("Invalid NextToken.")
}

/// A page token older than five minutes. Ours.
#[must_use]
pub fn expired_next_token() -> ServiceError {
    ServiceError::new(ErrorCode::ExpiredNextToken, "The NextToken has expired.")
}

/// A `ShardFilter` whose type needs a member that is absent. The rule is the API reference's; the
/// text is ours.
#[must_use]
pub fn shard_filter_lacks(filter_type: &str, member: &str) -> ServiceError {
    ServiceError::invalid_argument(format!(
        "ShardFilter of type {filter_type} requires {member}."
    ))
}

/// An explicit hash key of 2^128 or more. Recorded (test/putRecord.js).
#[must_use]
pub fn hash_key_out_of_range(value: &str) -> ServiceError {
    ServiceError::invalid_argument(format!(
        "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
         Specified value was {value}"
    ))
}

/// An iterator type that does not go with the presence of a number. Recorded
/// (test/getShardIterator.js).
#[must_use]
pub fn iterator_type_and_number(
    iterator_type: ShardIteratorType,
    number_given: bool,
) -> ServiceError {
    let given = if number_given { "also a" } else { "no" };
    ServiceError::invalid_argument(format!(
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
         StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. \
         Request specified {} and {given} StartingSequenceNumber.",
        iterator_type.as_str()
    ))
}

/// `AT_TIMESTAMP` without a timestamp. Recorded (test/getShardIterator.js).
#[must_use]
pub fn iterator_timestamp_missing() -> ServiceError {
    ServiceError::invalid_argument(
        "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current \
         request has no timestamp parameter.",
    )
}

/// A record larger than its stream allows; `entry` is its place in `PutRecords`, from 0. Recorded
/// (awslabs/amazon-kinesis-producer issue 680, from AWS in December 2025).
#[must_use]
pub fn record_too_large(entry: Option<usize>, limit_bytes: usize) -> ServiceError {
    let member = match entry {
        Some(index) => format!("records.{}.member.data", index + 1),
        None => "data".to_owned(),
    };
    ServiceError::new(
        ErrorCode::Validation,
        format!(
            "1 validation error detected: Value at '{member}' failed to satisfy constraint: \
             Member must have length less than or equal to {limit_bytes}"
        ),
    )
}

/// A `PutRecords` over 10 MiB of data and keys. The limit is the API reference's; the text is that
/// of moto's `TotalRecordsSizeExceedsLimit`, from when the limit was 5 MB.
#[must_use]
pub fn request_too_large(limit_bytes: usize) -> ServiceError {
    ServiceError::invalid_argument(format!(
        "Records size exceeds {} MB limit",
        limit_bytes / (1024 * 1024)
    ))
}

/// A dry run that would have succeeded. The code is the service model's; the text is ours.
#[must_use]
pub fn dry_run_succeeded() -> ServiceError {
    ServiceError::new(
        ErrorCode::DryRunOperation,
        "Request would have succeeded, but the DryRun flag is set.",
    )
}
