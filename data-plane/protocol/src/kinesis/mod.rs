//! Kinesis Data Streams: [`decode`] reads a request, [`encode`] writes an answer.
//!
//! `request` and `response` are the typed values; `errors` holds AWS's texts. Reading goes through
//! the service model (`decode`), with a short cut for puts in JSON (`puts`) that takes only what
//! needs no second look; in CBOR there is no base64 to be saved. Writing is `encode`.

mod decode;
mod encode;
pub mod errors;
mod operation;
mod puts;
pub mod request;
pub mod response;

use bytes::Bytes;

pub use operation::Operation;
pub use request::Request;
pub use response::Response;

use crate::cbor::CborWriter;
use crate::error::ServiceError;
use crate::json::JsonWriter;
use crate::{Codec, Reply};

/// Reads the body of a request.
///
/// # Errors
/// `SerializationException` when the body is not of the operation's form, `ValidationException`
/// when values break constraints of the service model, `InvalidArgumentException` when a value is
/// beyond what the model can say.
pub fn decode(codec: Codec, operation: Operation, body: &Bytes) -> Result<Request, ServiceError> {
    let short = match codec {
        Codec::Json => puts::decode(operation, body),
        Codec::Cbor => None,
    };
    match short {
        Some(request) => Ok(request),
        None => decode::decode(codec, operation, body),
    }
}

/// Writes an answer.
#[must_use]
pub fn encode(codec: Codec, response: &Response) -> Reply {
    let body = match codec {
        Codec::Json => encode::encode::<JsonWriter>(response),
        Codec::Cbor => encode::encode::<CborWriter>(response),
    };
    Reply::coded(codec, 200, body)
}
