//! AWS's texts for what goes wrong in Kinesis, one constructor each.
//!
//! Sources: "recorded" texts are asserted by a public test suite that was run against AWS itself
//! (kinesalite's `test/*.js`); the service model and AWS's API reference come next; "ours" marks a
//! text for which no public recording was found, with the code that the reference lists.

use millstream_types::{AccountId, Millis, Region, ShardId, StreamName};

use super::request::{SequenceText, ShardIteratorType, ShardName};
use crate::error::{ErrorCode, ServiceError};

fn not_found(message: String) -> ServiceError {
    ServiceError::new(ErrorCode::ResourceNotFound, message)
}

/// No stream of that name. Recorded (test/describeStream.js).
#[must_use]
pub fn stream_not_found(name: &StreamName, account: &AccountId) -> ServiceError {
    not_found(format!("Stream {name} under account {account} not found."))
}

/// `CreateStream` of a name that is taken. Recorded (test/createStream.js).
#[must_use]
pub fn stream_exists(name: &StreamName, account: &AccountId) -> ServiceError {
    ServiceError::new(
        ErrorCode::ResourceInUse,
        format!("Stream {name} under account {account} already exists."),
    )
}

/// A change to a stream in the wrong state. Recorded (test/createStream.js).
#[must_use]
pub fn stream_not_active(name: &StreamName, account: &AccountId, state: &str) -> ServiceError {
    ServiceError::new(
        ErrorCode::ResourceInUse,
        format!("Stream {name} under account {account} not ACTIVE, instead in state {state}"),
    )
}

/// Too many shards for the account. Recorded (test/createStream.js).
#[must_use]
pub fn shard_limit_exceeded(
    account: &AccountId,
    region: &Region,
    current: u64,
    limit: u64,
    asked: u64,
) -> ServiceError {
    ServiceError::new(
        ErrorCode::LimitExceeded,
        format!(
            "This request would exceed the shard limit for the account {account} in {region}. \
             Current shard count for the account: {current}. Limit: {limit}. Number of additional \
             shards that would have resulted from this request: {asked}. Refer to the AWS Service \
             Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) \
             for current limits and how to request higher limits."
        ),
    )
}

/// A shard id that reads as a shard which the stream does not have (or there is no stream).
/// Recorded (test/getShardIterator.js, test/getRecords.js).
#[must_use]
pub fn shard_not_found(shard: ShardId, stream: &StreamName, account: &AccountId) -> ServiceError {
    not_found(format!(
        "Shard {shard} in stream {stream} under account {account} does not exist"
    ))
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

/// A `RecordDistributionStrategy` of `AUTO`, which this server does not have. Ours.
#[must_use]
pub fn distribution_strategy_unsupported() -> ServiceError {
    ServiceError::invalid_argument(
        "RecordDistributionStrategy AUTO is not supported, use USER_PARTITION_KEY.",
    )
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

/// `SequenceNumberForOrdering` of a foreign layout or from the future. Recorded
/// (test/putRecord.js).
#[must_use]
pub fn ordering_number_invalid(
    number: &SequenceText,
    stream: &StreamName,
    account: &AccountId,
) -> ServiceError {
    ServiceError::invalid_argument(format!(
        "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {stream} under \
         account {account} is invalid."
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

/// A starting number of a foreign layout. Recorded (test/getShardIterator.js).
#[must_use]
pub fn starting_number_invalid(
    number: &SequenceText,
    shard: ShardId,
    stream: &StreamName,
    account: &AccountId,
) -> ServiceError {
    ServiceError::invalid_argument(format!(
        "StartingSequenceNumber {number} used in GetShardIterator on shard {shard} in stream \
         {stream} under account {account} is invalid."
    ))
}

/// A starting number whose shard was made at another time. Recorded (kinesalite
/// actions/getShardIterator.js).
#[must_use]
pub fn starting_number_of_other_stream(
    number: &SequenceText,
    shard: ShardId,
    stream: &StreamName,
    account: &AccountId,
) -> ServiceError {
    ServiceError::invalid_argument(format!(
        "StartingSequenceNumber {number} used in GetShardIterator on shard {shard} in stream \
         {stream} under account {account} is invalid because it did not come from this stream."
    ))
}

/// A starting number of another shard. Recorded (test/getShardIterator.js).
#[must_use]
pub fn starting_number_of_other_shard(encoded: ShardId, used: ShardId) -> ServiceError {
    ServiceError::invalid_argument(format!(
        "Invalid StartingSequenceNumber. It encodes {encoded}, while it was used in a call to a \
         shard with {used}"
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

/// `AT_TIMESTAMP` in the future. Recorded (test/getShardIterator.js).
#[must_use]
pub fn iterator_timestamp_in_future(asked: Millis, now: Millis) -> ServiceError {
    ServiceError::invalid_argument(format!(
        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
         timestampInMillis: {}, currentTimestampInMillis: {}",
        asked.0, now.0
    ))
}

/// An iterator that was not issued here. Recorded (test/getRecords.js).
#[must_use]
pub fn invalid_shard_iterator() -> ServiceError {
    ServiceError::invalid_argument("Invalid ShardIterator.")
}

/// An iterator older than five minutes. Recorded (test/getRecords.js).
#[must_use]
pub fn expired_shard_iterator(created: Millis, now: Millis) -> ServiceError {
    ServiceError::new(
        ErrorCode::ExpiredIterator,
        format!(
            "Iterator expired. The iterator was created at time {} while right now it is {} which \
             is further in the future than the tolerated delay of {} milliseconds.",
            java_date(created),
            java_date(now),
            millstream_types::caps::ITERATOR_LIFE_MS,
        ),
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

/// The service is overloaded, or the shard is. Ours, after the API reference's words.
#[must_use]
pub fn throughput_exceeded(
    shard: Option<ShardId>,
    stream: &StreamName,
    account: &AccountId,
) -> ServiceError {
    let place = shard.map_or_else(String::new, |shard| format!("shard {shard} in "));
    ServiceError::new(
        ErrorCode::ProvisionedThroughputExceeded,
        format!("Rate exceeded for {place}stream {stream} under account {account}."),
    )
}

/// A time as Java shows it: `Thu Jan 22 01:22:02 UTC 2015`.
fn java_date(time: Millis) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = time.seconds();
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    let weekday = DAYS[usize::try_from(days % 7).expect("below 7")];
    let month = MONTHS[usize::try_from(month - 1).expect("1 to 12")];
    format!(
        "{weekday} {month} {day:02} {:02}:{:02}:{:02} UTC {year}",
        clock / 3600,
        clock / 60 % 60,
        clock % 60
    )
}

/// Year, month and day of a day since the epoch, in the proleptic Gregorian calendar: counted in
/// eras of 400 years that start on 1 March.
const fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_times_as_java_does() {
        assert_eq!(
            java_date(Millis(1_421_889_722_000)),
            "Thu Jan 22 01:22:02 UTC 2015"
        );
        assert_eq!(java_date(Millis(0)), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(
            java_date(Millis(951_782_400_000)),
            "Tue Feb 29 00:00:00 UTC 2000"
        );
        assert_eq!(
            java_date(Millis(4_107_542_399_999)),
            "Sun Feb 28 23:59:59 UTC 2100"
        );
    }
}
