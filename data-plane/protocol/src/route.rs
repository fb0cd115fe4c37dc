//! From the head of a request to its operation, in the order in which AWS checks.
//!
//! The order was taken from kinesalite's `test/connection.js`, which was run against AWS:
//!
//! 1. `OPTIONS` with an `Origin` is answered as a CORS preflight: the gateway's, before [`route()`].
//! 2. Another method than `POST`: `AccessDeniedException`, 403, XML.
//! 3. No body: `SerializationException` for a known operation, `UnknownOperationException`
//!    otherwise; in CBOR unless the content type is AWS JSON.
//! 4. An unknown content type: `AccessDeniedException` (403, XML) without a target of two parts,
//!    `UnknownOperationException` (404, XML) with one.
//! 5. A body that is no object of its content type: `SerializationException`.
//! 6. `application/json`: `UnknownOperationException`, 404.
//! 7. An unknown target: `UnknownOperationException`.
//! 8. Credentials: the gateway's, after [`route()`].
//! 9. Members of the wrong type: `SerializationException`; then constraints of the service model:
//!    `ValidationException`; then the operation itself. All these are behind `kinesis::decode`.
//!
//! AWS CBOR goes the way of AWS JSON, and answers to it are CBOR.
//!
//! For a known operation in either, step 5 is left to `kinesis::decode`, so that a good body is
//! read once. A gateway whose step 8 fails asks [`rejected`] for the answer.

use crate::error::{ErrorCode, ServiceError};
use crate::kinesis::Operation;
use crate::reply::{AMZ_CBOR, AMZ_JSON, PLAIN_JSON, Reply, media_type};
use crate::{Codec, json};

/// The part of the target before the dot: service and version of the API.
pub const TARGET_PREFIX: &str = "Kinesis_20131202";

const NO_OPERATION: &str = "Unable to determine service/operation name to be authorized";

const SIGNED_CHUNKS: &str = "A body in signed chunks ('aws-chunked', 'STREAMING-...') is not \
    supported: send it as it is, with the SHA-256 of the whole.";

/// What [`route()`] looks at in the head of a request.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// Value of `content-type`, if it is text.
    pub content_type: Option<&'a str>,
    /// Value of `x-amz-target`, if it is text.
    pub target: Option<&'a str>,
    /// Value of `content-encoding`, if it is text.
    pub content_encoding: Option<&'a str>,
    /// Value of `x-amz-content-sha256`, if it is text.
    pub content_sha256: Option<&'a str>,
}

impl Head<'_> {
    /// Whether the body comes in chunks that are signed one by one, or with a checksum behind it.
    /// AWS has that for bodies of unknown length (S3), and no operation of Kinesis has one.
    fn is_in_signed_chunks(&self) -> bool {
        let mut encodings = self.content_encoding.unwrap_or_default().split(',');
        encodings.any(|encoding| encoding.trim().eq_ignore_ascii_case("aws-chunked"))
            || self
                .content_sha256
                .is_some_and(|hash| hash.starts_with("STREAMING-"))
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The operation.
    pub operation: Operation,
    /// What its body is written in, and its answer.
    pub codec: Codec,
}

/// The operation that a request asks for, or the answer that ends it.
///
/// # Errors
/// With the answer of steps 2 to 7 above.
pub fn route(head: Head<'_>, body: &[u8]) -> Result<Routed, Reply> {
    if head.method != "POST" {
        return Err(Reply::xml(403, "AccessDeniedException", Some(NO_OPERATION)));
    }
    let content_type = media_type(head.content_type.unwrap_or_default());
    let codec = Codec::of_content_type(head.content_type);
    let (service, name) = split_target(head.target.unwrap_or_default());
    let operation = Operation::parse(name).filter(|_| service == TARGET_PREFIX);
    let unknown = ServiceError::bare(ErrorCode::UnknownOperation);
    let no_json = ServiceError::bare(ErrorCode::Serialization);
    if body.is_empty() {
        let error = operation.map_or(unknown, |_| no_json);
        return Err(match content_type {
            AMZ_JSON => Reply::error(Codec::Json, &error),
            _ => Reply::error(Codec::Cbor, &error),
        });
    }
    if operation.is_some() && head.is_in_signed_chunks() {
        return Err(Reply::error(
            codec,
            &ServiceError::serialization(SIGNED_CHUNKS),
        ));
    }
    match (content_type, operation) {
        (AMZ_JSON | AMZ_CBOR, Some(operation)) => Ok(Routed { operation, codec }),
        (AMZ_JSON | AMZ_CBOR, None) if codec.is_object(body) => Err(Reply::error(codec, &unknown)),
        (AMZ_JSON | AMZ_CBOR, None) => Err(Reply::error(codec, &no_json)),
        (PLAIN_JSON, _) if json::is_object(body) => {
            Err(Reply::plain_json(404, unknown.code.as_str()))
        },
        (PLAIN_JSON, _) => Err(Reply::plain_json(400, no_json.code.as_str())),
        _ if service.is_empty() || name.is_empty() => {
            Err(Reply::xml(403, "AccessDeniedException", Some(NO_OPERATION)))
        },
        _ => Err(Reply::xml(404, unknown.code.as_str(), None)),
    }
}

/// The answer to a request that [`route()`] let through and whose credentials failed with `error`:
/// a body that is no object counts before them.
#[must_use]
pub fn rejected(codec: Codec, error: &ServiceError, body: &[u8]) -> Reply {
    if codec.is_object(body) {
        Reply::error(codec, error)
    } else {
        Reply::error(codec, &ServiceError::bare(ErrorCode::Serialization))
    }
}

/// Service and operation of a target; what follows a second dot is dropped, as on AWS.
fn split_target(target: &str) -> (&str, &str) {
    let mut parts = target.split('.');
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::MODEL;

    fn head<'a>(content_type: Option<&'a str>, target: Option<&'a str>) -> Head<'a> {
        Head {
            method: "POST",
            content_type,
            target,
            content_encoding: None,
            content_sha256: None,
        }
    }

    #[test]
    fn a_known_operation_in_aws_json_or_cbor_is_let_through() {
        for (content_type, codec) in [
            (AMZ_JSON, Codec::Json),
            ("   application/x-amz-json-1.1   ;whatever", Codec::Json),
            ("application/x-amz-cbor-1.1; whatever", Codec::Cbor),
        ] {
            let head = head(Some(content_type), Some("Kinesis_20131202.ListStreams"));
            let operation = Operation::ListStreams;
            // The body is read later: nothing more of it is known here than that it is there.
            assert_eq!(route(head, b"hello"), Ok(Routed { operation, codec }));
        }
    }

    #[test]
    fn cbor_goes_the_way_of_json() {
        let unknown = ServiceError::bare(ErrorCode::UnknownOperation);
        let no_object = ServiceError::bare(ErrorCode::Serialization);
        let whatever = head(Some(AMZ_CBOR), Some("Kinesis_20131202.Whatever"));
        for (body, error) in [
            (&b"\xa0"[..], &unknown),
            (b"\xbf\xff", &unknown),
            (b"{}", &no_object),
            (b"\x01", &no_object),
        ] {
            assert_eq!(route(whatever, body), Err(Reply::error(Codec::Cbor, error)));
        }
        let known = head(Some(AMZ_CBOR), Some("Kinesis_20131202.ListStreams"));
        assert_eq!(
            route(known, b""),
            Err(Reply::error(Codec::Cbor, &no_object))
        );
    }

    #[test]
    fn other_methods_are_denied() {
        // kinesalite test/connection.js: GET, PUT, DELETE
        for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
            let head = Head {
                method,
                ..head(Some(AMZ_JSON), Some("Kinesis_20131202.ListStreams"))
            };
            let denied = Reply::xml(403, "AccessDeniedException", Some(NO_OPERATION));
            assert_eq!(route(head, b"{}"), Err(denied), "{method}");
        }
    }

    #[test]
    fn a_body_that_says_nothing_about_itself_is_denied() {
        // kinesalite test/connection.js: body and no Content-Type
        let denied = Reply::xml(403, "AccessDeniedException", Some(NO_OPERATION));
        assert_eq!(
            denied.body,
            "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be \
             authorized</Message>\n</AccessDeniedException>\n"
        );
        assert_eq!(route(head(None, None), b"{}"), Err(denied));
    }

    #[test]
    fn nothing_at_all_is_an_unknown_operation_in_cbor() {
        // kinesalite test/connection.js: POST with no body
        let unknown = ServiceError::bare(ErrorCode::UnknownOperation);
        assert_eq!(
            route(head(None, None), b""),
            Err(Reply::error(Codec::Cbor, &unknown))
        );
        assert_eq!(
            route(head(Some(AMZ_JSON), None), b""),
            Err(Reply::error(Codec::Json, &unknown))
        );
    }

    #[test]
    fn operations_of_the_model_that_are_not_implemented_are_unknown() {
        let unknown = Reply::error(
            Codec::Json,
            &ServiceError::bare(ErrorCode::UnknownOperation),
        );
        let mut implemented = 0;
        for name in MODEL.operations.keys() {
            let target = format!("{TARGET_PREFIX}.{name}");
            match route(head(Some(AMZ_JSON), Some(&target)), b"{}") {
                Ok(routed) => {
                    assert_eq!(routed.operation.name(), name);
                    implemented += 1;
                },
                Err(reply) => assert_eq!(reply, unknown, "{name}"),
            }
        }
        assert_eq!(implemented, Operation::ALL.len());
    }

    #[test]
    fn a_body_in_signed_chunks_is_refused_in_words() {
        let json = head(Some(AMZ_JSON), Some("Kinesis_20131202.ListStreams"));
        let refused = Err(Reply::error(
            Codec::Json,
            &ServiceError::serialization(SIGNED_CHUNKS),
        ));
        for encoding in ["aws-chunked", "gzip, AWS-Chunked"] {
            let head = Head {
                content_encoding: Some(encoding),
                ..json
            };
            assert_eq!(route(head, b"{}"), refused, "{encoding}");
        }
        for hash in [
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        ] {
            let head = Head {
                content_sha256: Some(hash),
                ..json
            };
            assert_eq!(route(head, b"{}"), refused, "{hash}");
        }
        let whole = Head {
            content_encoding: Some("identity"),
            content_sha256: Some("UNSIGNED-PAYLOAD"),
            ..json
        };
        assert!(route(whole, b"{}").is_ok());
    }

    #[test]
    fn a_body_that_is_no_json_counts_before_credentials() {
        // kinesalite test/connection.js: non-JSON body, no auth
        let error = ServiceError::new(ErrorCode::MissingAuthenticationToken, "Missing");
        let no_json = ServiceError::bare(ErrorCode::Serialization);
        for (codec, good) in [(Codec::Json, &b"{}"[..]), (Codec::Cbor, b"\xa0")] {
            assert_eq!(
                rejected(codec, &error, b"hello"),
                Reply::error(codec, &no_json)
            );
            assert_eq!(rejected(codec, &error, good), Reply::error(codec, &error));
        }
    }

    proptest! {
        #[test]
        fn anything_is_routed_or_answered(
            method in "[A-Z]{0,7}|POST", content_type: Option<String>, target: Option<String>,
            body: Vec<u8>,
        ) {
            let head = Head {
                method: &method,
                content_type: content_type.as_deref(),
                target: target.as_deref(),
                content_encoding: content_type.as_deref(),
                content_sha256: target.as_deref(),
            };
            let _unused = route(head, &body);
        }
    }
}
