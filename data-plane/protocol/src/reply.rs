//! An answer as bytes: status, content type, body. Also the error bodies in all the forms that AWS
//! has for them.

use bytes::Bytes;

use crate::error::ServiceError;

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
    /// The answer of an operation, in AWS JSON.
    #[must_use]
    pub const fn json(status: u16, body: Bytes) -> Self {
        Self {
            status,
            content_type: Some(AMZ_JSON),
            body,
        }
    }

    /// An error in AWS JSON: `{"__type":"...","message":"..."}`. `SerializationException` has a
    /// capital `Message` (kinesalite test/helpers.js, `assertSerialization`).
    #[must_use]
    pub fn error(error: &ServiceError) -> Self {
        use crate::error::ErrorCode;

        let mut writer = crate::json::Writer::with_capacity(128);
        writer.begin_object();
        writer.field("__type");
        writer.string(error.code.as_str());
        if let Some(message) = &error.message {
            writer.field(match error.code {
                ErrorCode::Serialization => "Message",
                _ => "message",
            });
            writer.string(message);
        }
        writer.end_object();
        Self::json(error.status(), writer.finish())
    }

    /// An error that shows its code alone, in CBOR: a map of one pair. AWS answers so to requests
    /// without a body unless they say that they speak JSON (kinesalite test/connection.js).
    #[must_use]
    pub fn bare_cbor(error: &ServiceError) -> Self {
        let mut body = vec![0xa1];
        cbor_text("__type", &mut body);
        cbor_text(error.code.as_str(), &mut body);
        Self {
            status: error.status(),
            content_type: Some(AMZ_CBOR),
            body: body.into(),
        }
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

/// Appends a CBOR text of up to 255 bytes.
fn cbor_text(text: &str, out: &mut Vec<u8>) {
    let length = u8::try_from(text.len()).expect("error codes are short");
    if length < 24 {
        out.push(0x60 | length);
    } else {
        out.extend([0x78, length]);
    }
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn errors_have_type_and_message() {
        let reply = Reply::error(&ServiceError::invalid_argument("a \"b\"\n"));
        assert_eq!(reply.status, 400);
        assert_eq!(reply.content_type, Some(AMZ_JSON));
        assert_eq!(
            reply.body,
            r#"{"__type":"InvalidArgumentException","message":"a \"b\"\n"}"#
        );
    }

    #[test]
    fn serialization_errors_have_a_capital_message() {
        let reply = Reply::error(&ServiceError::serialization("x"));
        assert_eq!(
            reply.body,
            r#"{"__type":"SerializationException","Message":"x"}"#
        );
        let bare = Reply::error(&ServiceError::bare(ErrorCode::Serialization));
        assert_eq!(bare.body, r#"{"__type":"SerializationException"}"#);
    }

    #[test]
    fn faults_have_status_500() {
        assert_eq!(Reply::error(&ServiceError::internal()).status, 500);
    }

    #[test]
    fn a_bare_cbor_error_is_a_map_of_one_pair() {
        let reply = Reply::bare_cbor(&ServiceError::bare(ErrorCode::UnknownOperation));
        let mut wanted = vec![0xa1, 0x66];
        wanted.extend(b"__type");
        wanted.extend([0x78, 25]);
        wanted.extend(b"UnknownOperationException");
        assert_eq!(reply.body, wanted);
        assert_eq!(reply.content_type, Some(AMZ_CBOR));
    }
}
