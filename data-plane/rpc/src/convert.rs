//! Between the messages and our types. What a message should hold and does not is an error: the
//! other side is not of this protocol.

use bytes::Bytes;
use millstream_stream::catalogue::Encoded;
use millstream_stream::{
    Append, AppendError, Appended, NewRecord, Read, ReadError, Record, ShardStatus,
};
use millstream_stream::{Decision, DecisionPoint, Guests};
use millstream_types::{Epoch, GroupId, Millis, ShardUid, StreamUid, caps};

use crate::lanes::CALL_PARTS_MAX;
use crate::wire;

/// A message that breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message breaks the protocol: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) fn uid_bytes(uid: u128) -> Bytes {
    Bytes::copy_from_slice(&uid.to_be_bytes())
}

fn uid(bytes: &[u8]) -> Result<u128, Malformed> {
    let bytes = bytes
        .try_into()
        .map_err(|_| Malformed("a uid has 16 bytes"))?;
    Ok(u128::from_be_bytes(bytes))
}

pub(crate) fn shard_uid(bytes: &[u8]) -> Result<ShardUid, Malformed> {
    uid(bytes).map(ShardUid)
}

pub(crate) fn stream_uid(bytes: &[u8]) -> Result<StreamUid, Malformed> {
    uid(bytes).map(StreamUid)
}

pub(crate) fn target(group: &GroupId, epoch: Epoch) -> wire::Target {
    wire::Target {
        group: group.as_str().to_owned(),
        epoch: epoch.0,
    }
}

pub(crate) fn appends_out(appends: Vec<Append>) -> Vec<wire::Append> {
    let record = |record: NewRecord| wire::NewRecord {
        key: record.key,
        data: record.data,
    };
    let append = |append: Append| wire::Append {
        shard: uid_bytes(append.shard.0),
        records: append.records.into_iter().map(record).collect(),
    };
    appends.into_iter().map(append).collect()
}

pub(crate) fn appends_in(appends: Vec<wire::Append>) -> Result<Vec<Append>, Malformed> {
    let append = |append: wire::Append| {
        if append.records.is_empty() {
            return Err(Malformed("an append without records"));
        }
        let record = |record: wire::NewRecord| {
            if record.key.len() > usize::from(u16::MAX) {
                return Err(Malformed("a key of more than 65,535 bytes"));
            }
            Ok(NewRecord {
                key: record.key,
                data: record.data,
            })
        };
        Ok(Append {
            shard: shard_uid(&append.shard)?,
            records: append
                .records
                .into_iter()
                .map(record)
                .collect::<Result<_, _>>()?,
        })
    };
    appends.into_iter().map(append).collect()
}

/// Appends by parts that belong together.
pub(crate) fn parts_in(appends: Vec<Append>, parts: &[u32]) -> Result<Vec<Vec<Append>>, Malformed> {
    if parts.is_empty() {
        return Ok(vec![appends]);
    }
    if parts.len() > CALL_PARTS_MAX {
        return Err(Malformed("an append in too many parts"));
    }
    let all: u64 = parts.iter().copied().map(u64::from).sum();
    if usize::try_from(all) != Ok(appends.len()) {
        return Err(Malformed("an append that belongs to no part"));
    }
    let mut appends = appends.into_iter();
    let part = |count: &u32| {
        let count = usize::try_from(*count).unwrap_or(usize::MAX);
        appends.by_ref().take(count).collect()
    };
    Ok(parts.iter().map(part).collect())
}

pub(crate) fn result_out(result: Result<Appended, AppendError>) -> wire::AppendResult {
    use wire::append_result::Outcome;
    let outcome = match result {
        Ok(appended) => Outcome::Appended(wire::Appended {
            first: appended.first,
            arrival_ms: appended.arrival.0,
        }),
        Err(error) => Outcome::Failed(failure(error).into()),
    };
    wire::AppendResult {
        outcome: Some(outcome),
    }
}

const fn failure(error: AppendError) -> wire::AppendFailure {
    match error {
        AppendError::NoShard => wire::AppendFailure::NoShard,
        AppendError::Sealed => wire::AppendFailure::Sealed,
        AppendError::Overloaded => wire::AppendFailure::Overloaded,
        AppendError::NoSpace => wire::AppendFailure::NoSpace,
        AppendError::Unreachable | AppendError::Unknown => wire::AppendFailure::Unknown,
    }
}

/// What cannot be read may have been durable.
pub(crate) fn result_in(result: &wire::AppendResult) -> Result<Appended, AppendError> {
    use wire::append_result::Outcome;
    match result.outcome {
        Some(Outcome::Appended(appended)) => Ok(Appended {
            first: appended.first,
            arrival: Millis(appended.arrival_ms),
        }),
        Some(Outcome::Failed(code)) => Err(match wire::AppendFailure::try_from(code) {
            Ok(wire::AppendFailure::NoShard) => AppendError::NoShard,
            Ok(wire::AppendFailure::Sealed) => AppendError::Sealed,
            Ok(wire::AppendFailure::Overloaded) => AppendError::Overloaded,
            Ok(wire::AppendFailure::NoSpace) => AppendError::NoSpace,
            Ok(wire::AppendFailure::Unknown) | Err(_) => AppendError::Unknown,
        }),
        None => Err(AppendError::Unknown),
    }
}

pub(crate) fn read_failure_out(error: &ReadError) -> wire::ReadFailure {
    use wire::read_failure::Kind;
    let kind = match error {
        ReadError::NoShard => Kind::NoShard,
        ReadError::Overloaded => Kind::Overloaded,
        ReadError::Corrupt { .. } | ReadError::Io(_) | ReadError::Unreachable(_) => Kind::Failed,
    };
    wire::ReadFailure {
        kind: kind.into(),
        reason: error.to_string(),
    }
}

pub(crate) fn read_failure_in(failure: wire::ReadFailure) -> ReadError {
    use wire::read_failure::Kind;
    match failure.kind() {
        Kind::NoShard => ReadError::NoShard,
        Kind::Overloaded => ReadError::Overloaded,
        Kind::Failed => ReadError::Io(failure.reason),
    }
}

pub(crate) const fn status_out(status: ShardStatus) -> wire::ShardStatus {
    wire::ShardStatus {
        first: status.first,
        next: status.next,
        last_arrival_ms: status.last_arrival.0,
        sealed: status.sealed,
    }
}

pub(crate) const fn status_in(status: wire::ShardStatus) -> ShardStatus {
    ShardStatus {
        first: status.first,
        next: status.next,
        last_arrival: Millis(status.last_arrival_ms),
        sealed: status.sealed,
    }
}

pub(crate) fn page_out(read: Read) -> wire::Page {
    let record = |record: Record| wire::Record {
        number: record.number,
        arrival_ms: record.arrival.0,
        key: record.key,
        data: record.data,
    };
    wire::Page {
        records: read.records.into_iter().map(record).collect(),
        next: read.next,
        status: Some(status_out(read.status)),
    }
}

pub(crate) fn page_in(page: wire::Page) -> Result<Read, Malformed> {
    let record = |record: wire::Record| Record {
        number: record.number,
        arrival: Millis(record.arrival_ms),
        key: record.key,
        data: record.data,
    };
    let status = page.status.ok_or(Malformed("a page without a status"))?;
    Ok(Read {
        records: page.records.into_iter().map(record).collect(),
        next: page.next,
        status: status_in(status),
    })
}

pub(crate) fn shards_out(shards: &[ShardUid]) -> Vec<Bytes> {
    shards.iter().map(|shard| uid_bytes(shard.0)).collect()
}

pub(crate) fn shards_in(shards: &[Bytes]) -> Result<Vec<ShardUid>, Malformed> {
    shards.iter().map(|shard| shard_uid(shard)).collect()
}

pub(crate) fn guests_out(
    target: wire::Target,
    guests: &Guests,
    opened_before: &[ShardUid],
    decision: Option<&Decision>,
) -> wire::OpenShardsRequest {
    wire::OpenShardsRequest {
        target: Some(target),
        stream: uid_bytes(guests.stream.0),
        home: guests.home.as_str().to_owned(),
        created_ms: guests.created.0,
        retention_hours: guests.retention_hours.unwrap_or(0),
        shards: shards_out(&guests.shards),
        opened_before: shards_out(opened_before),
        decided: decision.map(point_out),
    }
}

pub(crate) fn drop_out(
    target: wire::Target,
    stream: StreamUid,
    decision: Option<&Decision>,
) -> wire::DropShardsRequest {
    let home = decision.map(|decision| decision.home.as_str().to_owned());
    wire::DropShardsRequest {
        target: Some(target),
        stream: uid_bytes(stream.0),
        home: home.unwrap_or_default(),
        decided: decision.map(point_out),
    }
}

const fn point_out(decision: &Decision) -> wire::DecisionPoint {
    wire::DecisionPoint {
        epoch: decision.point.epoch.0,
        changes: decision.point.changes,
    }
}

/// When the home of this name decided what it asks for, if it says so.
pub(crate) fn decision_in(
    home: &str,
    decided: Option<wire::DecisionPoint>,
) -> Result<Option<Decision>, Malformed> {
    let Some(decided) = decided else {
        return Ok(None);
    };
    let home = home.parse();
    Ok(Some(Decision {
        home: home.map_err(|_| Malformed("the home is no log group"))?,
        point: DecisionPoint {
            epoch: Epoch(decided.epoch),
            changes: decided.changes,
        },
    }))
}

pub(crate) fn guests_in(request: &wire::OpenShardsRequest) -> Result<Guests, Malformed> {
    let home = request.home.parse();
    let retention_hours = match request.retention_hours {
        0 => None,
        hours @ caps::RETENTION_HOURS_MIN..=caps::RETENTION_HOURS_MAX => Some(hours),
        _ => return Err(Malformed("the retention is outside its range")),
    };
    Ok(Guests {
        stream: stream_uid(&request.stream)?,
        home: home.map_err(|_| Malformed("the home is no log group"))?,
        created: Millis(request.created_ms),
        retention_hours,
        shards: shards_in(&request.shards)?,
    })
}

pub(crate) fn stream_out(encoded: Encoded) -> wire::CatalogueStream {
    wire::CatalogueStream {
        stream: encoded.stream,
        shards: encoded.shards,
    }
}

pub(crate) fn stream_in(stream: wire::CatalogueStream) -> Encoded {
    Encoded {
        stream: stream.stream,
        shards: stream.shards,
    }
}
