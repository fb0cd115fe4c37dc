//! Limits of the Kinesis API, each with its unit last in the name. Sources: the service model
//! and AWS's "Quotas and limits" page, 2026.

/// Longest stream name, in characters.
pub const STREAM_NAME_CHARS_MAX: usize = 128;
/// Longest partition key, in characters (not bytes).
pub const PARTITION_KEY_CHARS_MAX: usize = 256;
/// Largest data blob of one record that any stream can allow, in bytes.
pub const RECORD_DATA_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Record size (data and key) that a stream allows by default, in KiB.
pub const RECORD_KIB_DEFAULT: u32 = 1024;
/// Largest record size (data and key) that a stream can be set to allow, in KiB.
pub const RECORD_KIB_MAX: u32 = 10 * 1024;
/// Most records in one PutRecords request.
pub const PUT_RECORDS_ENTRIES_MAX: usize = 500;
/// Most bytes (data and keys) in one PutRecords request.
pub const PUT_RECORDS_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Most records that one GetRecords call returns.
pub const GET_RECORDS_RECORDS_MAX: usize = 10_000;
/// Most bytes (data) that one GetRecords call returns.
pub const GET_RECORDS_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Shortest and default retention, in hours.
pub const RETENTION_HOURS_MIN: u32 = 24;
/// Longest retention, in hours.
pub const RETENTION_HOURS_MAX: u32 = 8760;
/// Most shards in one stream.
pub const STREAM_SHARDS_MAX: u32 = 10_000;
/// Shards that one account may have open, unless configured otherwise.
pub const ACCOUNT_SHARDS_DEFAULT: u32 = 10_000;
/// How long a shard iterator or a page token lives, in milliseconds.
pub const ITERATOR_LIFE_MS: u64 = 300_000;
/// Longest shard iterator, in characters.
pub const ITERATOR_CHARS_MAX: usize = 512;
/// Most tags on one stream.
pub const TAGS_MAX: usize = 50;
/// Longest tag key, in characters.
pub const TAG_KEY_CHARS_MAX: usize = 128;
/// Longest tag value, in characters.
pub const TAG_VALUE_CHARS_MAX: usize = 256;
/// Largest request body, in bytes; a larger one is answered with 413.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
