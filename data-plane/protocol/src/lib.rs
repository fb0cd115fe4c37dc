//! The AWS wire: what a request means and what an answer looks like, without a socket.
//!
//! A gateway gives the head and the body of a request to [`route()`] and the body to
//! [`kinesis::decode`], gets a [`kinesis::Request`] of validated values, and turns the handler's
//! [`kinesis::Response`] or [`ServiceError`] into a [`Reply`]. JSON 1.1 and CBOR 1.1 are two
//! [`Codec`]s of the same typed values. Nothing here knows HTTP libraries, tasks, storage or streams. Whose request it is says [`sigv4`]; constraints come from [`model`].
//! Start with [`kinesis`].

pub mod cbor;
pub mod document;
pub mod error;
pub mod json;
pub mod kinesis;
pub mod model;
pub mod reply;
pub mod route;
pub mod sigv4;
pub mod writer;

pub use error::{ErrorCode, ServiceError};
pub use reply::Reply;
pub use route::{Head, Routed, route};

/// How typed values are written as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// AWS JSON 1.1.
    Json,
    /// AWS CBOR 1.1.
    Cbor,
}

impl Codec {
    /// What a request with that `content-type` is answered in, also where nothing else of it is
    /// known: CBOR if it speaks it, or else JSON.
    #[must_use]
    pub fn of_content_type(value: Option<&str>) -> Self {
        match reply::media_type(value.unwrap_or_default()) {
            reply::AMZ_CBOR => Self::Cbor,
            _ => Self::Json,
        }
    }

    /// The content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => reply::AMZ_JSON,
            Self::Cbor => reply::AMZ_CBOR,
        }
    }

    /// Whether the body is an object or a list, which is what AWS takes for a structure before it
    /// looks at the operation.
    #[must_use]
    pub fn is_object(self, body: &[u8]) -> bool {
        match self {
            Self::Json => json::is_object(body),
            Self::Cbor => cbor::is_object(body),
        }
    }
}
