//! The errors that AWS clients see: a code, a message, an HTTP status.
//!
//! Everything that a handler answers other than a result is a [`ServiceError`]. The texts are
//! AWS's own; each constructor of `kinesis::errors` names where its text was seen.

use std::borrow::Cow;

/// Error codes of the Kinesis API: those of the service model and those of the wire below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A dry run would have succeeded.
    DryRunOperation,
    /// A shard iterator is older than five minutes.
    ExpiredIterator,
    /// A page token is older than five minutes.
    ExpiredNextToken,
    /// The signature lacks a part.
    IncompleteSignature,
    /// A failure of the service.
    InternalFailure,
    /// A value that the model allows but the operation does not.
    InvalidArgument,
    /// The signature does not fit the request.
    InvalidSignature,
    /// An account or stream limit.
    LimitExceeded,
    /// The request carries no credentials.
    MissingAuthenticationToken,
    /// The service or the shard is overloaded; try again.
    ProvisionedThroughputExceeded,
    /// The stream exists already or is in the wrong state.
    ResourceInUse,
    /// No such stream, shard or consumer.
    ResourceNotFound,
    /// The body cannot be read as the operation's input.
    Serialization,
    /// The target names no operation.
    UnknownOperation,
    /// The access key is unknown, or its session token wrong.
    UnrecognizedClient,
    /// A value breaks a constraint of the service model.
    Validation,
}

impl ErrorCode {
    /// The name as it stands in `__type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DryRunOperation => "DryRunOperationException",
            Self::ExpiredIterator => "ExpiredIteratorException",
            Self::ExpiredNextToken => "ExpiredNextTokenException",
            Self::IncompleteSignature => "IncompleteSignatureException",
            Self::InternalFailure => "InternalFailure",
            Self::InvalidArgument => "InvalidArgumentException",
            Self::InvalidSignature => "InvalidSignatureException",
            Self::LimitExceeded => "LimitExceededException",
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            Self::ResourceInUse => "ResourceInUseException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::Serialization => "SerializationException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::Validation => "ValidationException",
        }
    }

    /// HTTP status of the answer: 400 but for faults of the service.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InternalFailure => 500,
            _ => 400,
        }
    }

    /// Whether the service is at fault, not the caller.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        self.status() >= 500
    }
}

/// An error answer. Without a message the body holds `__type` alone, as AWS has it for bodies that
/// are no JSON and for unknown operations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", code.as_str(), message.as_deref().unwrap_or("(no message)"))]
pub struct ServiceError {
    /// What went wrong.
    pub code: ErrorCode,
    /// AWS's text, where there is one.
    pub message: Option<Cow<'static, str>>,
}

impl ServiceError {
    /// An error with a message.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }

    /// An error that shows its code alone.
    #[must_use]
    pub const fn bare(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
        }
    }

    /// HTTP status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.code.status()
    }

    /// Whether the service is at fault, not the caller.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        self.code.is_fault()
    }

    /// A failure of the service that has no words for the caller; log the cause where it is known.
    #[must_use]
    pub const fn internal() -> Self {
        Self::bare(ErrorCode::InternalFailure)
    }

    /// A refusal with [`ErrorCode::InvalidArgument`].
    #[must_use]
    pub fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// A body of the wrong form.
    #[must_use]
    pub fn serialization(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Serialization, message)
    }
}
