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
//! 5. A body that is no JSON object: `SerializationException`.
//! 6. `application/json`: `UnknownOperationException`, 404.
//! 7. An unknown target: `UnknownOperationException`.
//! 8. Credentials: the gateway's, after [`route()`].
//! 9. Members of the wrong type: `SerializationException`; then constraints of the service model:
//!    `ValidationException`; then the operation itself. All these are behind `kinesis::decode`.
//!
//! For a known operation in AWS JSON, step 5 is left to `kinesis::decode`, so that a good body is
//! read once. A gateway whose step 8 fails asks [`rejected`] for the answer.

use crate::error::{ErrorCode, ServiceError};
use crate::json;
use crate::kinesis::Operation;
use crate::reply::{AMZ_CBOR, AMZ_JSON, PLAIN_JSON, Reply};

/// The part of the target before the dot: service and version of the API.
pub const TARGET_PREFIX: &str = "Kinesis_20131202";

const NO_OPERATION: &str = "Unable to determine service/operation name to be authorized";

/// What [`route()`] looks at in the head of a request.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// Value of `content-type`, if it is text.
    pub content_type: Option<&'a str>,
    /// Value of `x-amz-target`, if it is text.
    pub target: Option<&'a str>,
}

/// The operation that a request asks for, or the answer that ends it.
///
/// # Errors
/// With the answer of steps 2 to 7 above.
pub fn route(head: Head<'_>, body: &[u8]) -> Result<Operation, Reply> {
    if head.method != "POST" {
        return Err(Reply::xml(403, "AccessDeniedException", Some(NO_OPERATION)));
    }
    let content_type = media_type(head.content_type.unwrap_or_default());
    let (service, name) = split_target(head.target.unwrap_or_default());
    let operation = Operation::parse(name).filter(|_| service == TARGET_PREFIX);
    let unknown = ServiceError::bare(ErrorCode::UnknownOperation);
    let no_json = ServiceError::bare(ErrorCode::Serialization);
    if body.is_empty() {
        let error = operation.map_or(unknown, |_| no_json);
        return Err(match content_type {
            AMZ_JSON => Reply::error(&error),
            _ => Reply::bare_cbor(&error),
        });
    }
    match (content_type, operation) {
        (AMZ_JSON, Some(operation)) => Ok(operation),
        (AMZ_JSON, None) if json::is_object(body) => Err(Reply::error(&unknown)),
        (AMZ_JSON, None) => Err(Reply::error(&no_json)),
        (PLAIN_JSON, _) if json::is_object(body) => {
            Err(Reply::plain_json(404, unknown.code.as_str()))
        },
        (PLAIN_JSON, _) => Err(Reply::plain_json(400, no_json.code.as_str())),
        (AMZ_CBOR, _) => Err(Reply::error(&cbor_refused())),
        _ if service.is_empty() || name.is_empty() => {
            Err(Reply::xml(403, "AccessDeniedException", Some(NO_OPERATION)))
        },
        _ => Err(Reply::xml(404, unknown.code.as_str(), None)),
    }
}

/// The answer to a request that [`route()`] let through and whose credentials failed with `error`:
/// a body that is no JSON counts before them.
#[must_use]
pub fn rejected(error: &ServiceError, body: &[u8]) -> Reply {
    if json::is_object(body) {
        Reply::error(error)
    } else {
        Reply::error(&ServiceError::bare(ErrorCode::Serialization))
    }
}

/// CBOR is AWS's, but not here yet: say so in words, with the switch of the clients that send it.
fn cbor_refused() -> ServiceError {
    ServiceError::new(
        ErrorCode::UnsupportedMediaType,
        "application/x-amz-cbor-1.1 is not supported yet: set the client to JSON \
         (CBOR_ENABLED=false for the AWS SDK for Java 2, AWS_CBOR_DISABLE=true for version 1)",
    )
}

/// The media type without parameters and blanks.
fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
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
        }
    }

    #[test]
    fn a_known_operation_in_aws_json_is_let_through() {
        for content_type in [AMZ_JSON, "   application/x-amz-json-1.1   ;whatever"] {
            let head = head(Some(content_type), Some("Kinesis_20131202.ListStreams"));
            // The body is read later: nothing more of it is known here than that it is there.
            assert_eq!(route(head, b"hello"), Ok(Operation::ListStreams));
        }
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
            Err(Reply::bare_cbor(&unknown))
        );
        assert_eq!(
            route(head(Some(AMZ_JSON), None), b""),
            Err(Reply::error(&unknown))
        );
    }

    #[test]
    fn operations_of_the_model_that_are_not_implemented_are_unknown() {
        let unknown = Reply::error(&ServiceError::bare(ErrorCode::UnknownOperation));
        let mut implemented = 0;
        for name in MODEL.operations.keys() {
            let target = format!("{TARGET_PREFIX}.{name}");
            match route(head(Some(AMZ_JSON), Some(&target)), b"{}") {
                Ok(operation) => {
                    assert_eq!(operation.name(), name);
                    implemented += 1;
                },
                Err(reply) => assert_eq!(reply, unknown, "{name}"),
            }
        }
        assert_eq!(implemented, Operation::ALL.len());
    }

    #[test]
    fn a_body_that_is_no_json_counts_before_credentials() {
        // kinesalite test/connection.js: non-JSON body, no auth
        let error = ServiceError::new(ErrorCode::MissingAuthenticationToken, "Missing");
        let no_json = ServiceError::bare(ErrorCode::Serialization);
        assert_eq!(rejected(&error, b"hello"), Reply::error(&no_json));
        assert_eq!(rejected(&error, b"{}"), Reply::error(&error));
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
            };
            let _unused = route(head, &body);
        }
    }
}
