//! An answer as bytes: status, content type, body. Also the error bodies in all the forms that AWS
//! has for them.

use bytes::Bytes;

use crate::Codec;
use crate::cbor::CborWriter;
use crate::error::{ErrorCode, ServiceError};
use crate::json::JsonWriter;
use crate::writer::Writer;

/// Content type of AWS JSON 1.1.
pub const AMZ_JSON: &str = "application/x-amz-json-1.1";
/// Content type of AWS CBOR 1.1.
pub const AMZ_CBOR: &str = "application/x-amz-cbor-1.1";
/// Content type of plain JSON; AWS knows it but has no operation behind it.
pub const PLAIN_JSON: &str = "application/json";

/// An answer to be sent. The request id headers are the gateway's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Value of the `content-type` header, if there is one.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// An answer in the encoding of the request.
    #[must_use]
    pub const fn coded(codec: Codec, status: u16, body: Bytes) -> Self {
        Self {
            status,
            content_type: Some(codec.content_type()),
            body,
        }
    }

    /// An error: `__type` and, if it has one, `message`.
    #[must_use]
    pub fn error(codec: Codec, error: &ServiceError) -> Self {
        let message = error.message.as_deref();
        Self::coded(codec, error.status(), body(codec, error.code, message))
    }

    /// An error of HTTP that has no code of AWS's.
    #[must_use]
    pub fn bare(codec: Codec, status: u16, name: &str) -> Self {
        Self::coded(codec, status, named(codec, name, None))
    }

    /// An error as XML, which AWS answers to what it does not recognise as a request to an
    /// operation (kinesalite test/connection.js).
    #[must_use]
    pub fn xml(status: u16, code: &str, message: Option<&str>) -> Self {
        let body = match message {
            Some(message) => format!("<{code}>\n  <Message>{message}</Message>\n</{code}>\n"),
            None => format!("<{code}/>\n"),
        };
        Self {
            status,
            content_type: None,
            body: body.into(),
        }
    }

    /// An error to a request in plain JSON (kinesalite test/connection.js).
    #[must_use]
    pub fn plain_json(status: u16, code: &str) -> Self {
        let body = format!(
            r#"{{"Output":{{"__type":"com.amazon.coral.service#{code}"}},"Version":"1.0"}}"#
        );
        Self {
            status,
            content_type: Some(PLAIN_JSON),
            body: body.into(),
        }
    }
}

/// The media type without parameters and blanks.
pub(crate) fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// The body of an error. `SerializationException` has a capital `Message` (kinesalite
/// test/helpers.js, `assertSerialization`).
fn body(codec: Codec, code: ErrorCode, message: Option<&str>) -> Bytes {
    let member = match code {
        ErrorCode::Serialization => "Message",
        _ => "message",
    };
    named(codec, code.as_str(), message.map(|text| (member, text)))
}

fn named(codec: Codec, name: &str, message: Option<(&str, &str)>) -> Bytes {
    match codec {
        Codec::Json => write_error::<JsonWriter>(name, message),
        Codec::Cbor => write_error::<CborWriter>(name, message),
    }
}

fn write_error<W: Writer>(name: &str, message: Option<(&str, &str)>) -> Bytes {
    let mut writer = W::with_capacity(128);
    writer.begin_object();
    writer.field("__type");
    writer.string(name);
    if let Some((member, text)) = message {
        writer.field(member);
        writer.string(text);
    }
    writer.end_object();
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_type_and_message() {
        let reply = Reply::error(Codec::Json, &ServiceError::invalid_argument("a \"b\"\n"));
        assert_eq!(reply.status, 400);
        assert_eq!(reply.content_type, Some(AMZ_JSON));
        assert_eq!(
            reply.body,
            r#"{"__type":"InvalidArgumentException","message":"a \"b\"\n"}"#
        );
    }

    #[test]
    fn serialization_errors_have_a_capital_message() {
        let reply = Reply::error(Codec::Json, &ServiceError::serialization("x"));
        assert_eq!(
            reply.body,
            r#"{"__type":"SerializationException","Message":"x"}"#
        );
        let bare = Reply::error(Codec::Json, &ServiceError::bare(ErrorCode::Serialization));
        assert_eq!(bare.body, r#"{"__type":"SerializationException"}"#);
    }

    #[test]
    fn faults_have_status_500() {
        assert_eq!(
            Reply::error(Codec::Json, &ServiceError::internal()).status,
            500
        );
    }

    #[test]
    fn errors_in_cbor_are_maps_of_the_same_members() {
        let reply = Reply::error(
            Codec::Cbor,
            &ServiceError::bare(ErrorCode::UnknownOperation),
        );
        let mut wanted = vec![0xa1, 0x66];
        wanted.extend(b"__type");
        wanted.extend([0x78, 25]);
        wanted.extend(b"UnknownOperationException");
        assert_eq!(reply.body, wanted);
        assert_eq!(reply.content_type, Some(AMZ_CBOR));

        let reply = Reply::error(Codec::Cbor, &ServiceError::serialization("x"));
        let mut wanted = vec![0xa2, 0x66];
        wanted.extend(b"__type\x76SerializationException\x67Message\x61x");
        assert_eq!(reply.body, wanted);
        assert_eq!(reply.status, 400);
    }
}
