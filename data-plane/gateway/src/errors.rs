//! The one map from our errors to AWS's codes.
//!
//! The layers below say what a caller can do ([`Kind`]) and carry AWS's words where they are known;
//! here both become the answer.

use std::borrow::Cow;
use std::fmt::Display;

use millstream_control::{CreateStreamError, DeleteStreamError};
use millstream_protocol::kinesis::errors as texts;
use millstream_protocol::{ErrorCode, ServiceError};
use millstream_stream::Kind;
use millstream_stream::error::{
    Absent, GetRecordsError, IteratorError, ListError, PutRecordError, PutRecordsError,
};

/// No memory for a request: nothing of it was done.
pub(crate) fn overloaded() -> ServiceError {
    ServiceError::new(
        ErrorCode::ProvisionedThroughputExceeded,
        "The server's memory for requests is used up. Slow down and try again.",
    )
}

/// The code of a kind; `expired` is the one of the operation, for AWS has two.
const fn code(kind: Kind, expired: ErrorCode) -> ErrorCode {
    match kind {
        Kind::Invalid => ErrorCode::InvalidArgument,
        Kind::NotFound => ErrorCode::ResourceNotFound,
        Kind::Conflict => ErrorCode::ResourceInUse,
        Kind::LimitExceeded => ErrorCode::LimitExceeded,
        Kind::Throttled => ErrorCode::ProvisionedThroughputExceeded,
        Kind::Expired => expired,
        Kind::Internal => ErrorCode::InternalFailure,
    }
}

fn of(code: ErrorCode, error: &impl Display) -> ServiceError {
    ServiceError::new(code, Cow::Owned(error.to_string()))
}

/// No stream of that name, or one that is not known here.
pub(crate) fn absent(error: &Absent) -> ServiceError {
    of(code(error.kind(), ErrorCode::InternalFailure), error)
}

/// PutRecord.
pub(crate) fn put_record(error: &PutRecordError) -> ServiceError {
    match error {
        PutRecordError::TooLarge(record) => texts::record_too_large(None, record.limit),
        _ => of(code(error.kind(), ErrorCode::InternalFailure), error),
    }
}

/// PutRecords, as a whole.
pub(crate) fn put_records(error: &PutRecordsError) -> ServiceError {
    match error {
        PutRecordsError::TooLarge(record) => {
            texts::record_too_large(Some(record.entry.saturating_sub(1)), record.limit)
        },
        PutRecordsError::RequestTooLarge { bytes, .. } => texts::request_too_large(*bytes),
        PutRecordsError::NotFound(_) | PutRecordsError::Internal => {
            of(code(error.kind(), ErrorCode::InternalFailure), error)
        },
    }
}

/// GetShardIterator.
pub(crate) fn iterator(error: &IteratorError) -> ServiceError {
    of(code(error.kind(), ErrorCode::ExpiredIterator), error)
}

/// GetRecords.
pub(crate) fn get_records(error: &GetRecordsError) -> ServiceError {
    of(code(error.kind(), ErrorCode::ExpiredIterator), error)
}

/// ListShards and ListStreams.
pub(crate) fn list(error: &ListError) -> ServiceError {
    match error {
        ListError::TokenInvalid => texts::invalid_next_token(),
        ListError::TokenExpired { .. } => texts::expired_next_token(),
        ListError::NotFound(_) => of(ErrorCode::ResourceNotFound, error),
        ListError::NotActive { .. } => of(ErrorCode::ResourceInUse, error),
        ListError::Internal => of(ErrorCode::InternalFailure, error),
    }
}

/// CreateStream.
pub(crate) fn create(error: &CreateStreamError) -> ServiceError {
    let code = match error {
        CreateStreamError::Exists(_) | CreateStreamError::InUse(_) => ErrorCode::ResourceInUse,
        CreateStreamError::LimitExceeded(_) => ErrorCode::LimitExceeded,
        CreateStreamError::Invalid(_) => ErrorCode::InvalidArgument,
        CreateStreamError::Throttled(_) => ErrorCode::ProvisionedThroughputExceeded,
        CreateStreamError::Internal => ErrorCode::InternalFailure,
    };
    of(code, error)
}

/// DeleteStream.
pub(crate) fn delete(error: &DeleteStreamError) -> ServiceError {
    let code = match error {
        DeleteStreamError::NotFound(_) => ErrorCode::ResourceNotFound,
        DeleteStreamError::InUse(_) => ErrorCode::ResourceInUse,
        DeleteStreamError::Throttled(_) => ErrorCode::ProvisionedThroughputExceeded,
        DeleteStreamError::Internal => ErrorCode::InternalFailure,
    };
    of(code, error)
}
