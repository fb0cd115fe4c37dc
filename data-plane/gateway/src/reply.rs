//! Answers as HTTP: request ids, content type, CORS.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use millstream_protocol::Reply;

use crate::request_id::RequestId;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date",
);
const ANY: HeaderValue = HeaderValue::from_static("*");
/// How long a browser may remember a preflight, in seconds.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("172800");

/// The body of every answer.
pub(crate) type ReplyBody = Full<Bytes>;

/// An answer with its ids. `cross_origin` says that the request came from a browser's page.
pub(crate) fn response(reply: Reply, id: RequestId, cross_origin: bool) -> Response<ReplyBody> {
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.reserve(5);
    headers.insert(REQUEST_ID, id.id);
    headers.insert(ID_2, id.id_2);
    if let Some(content_type) = reply.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if cross_origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

/// The answer to a browser's preflight: allows what it asks for.
pub(crate) fn preflight(asked: &HeaderMap, id: RequestId) -> Response<ReplyBody> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.id);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    for (from, to) in [
        (
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
        ),
        (
            header::ACCESS_CONTROL_REQUEST_METHOD,
            header::ACCESS_CONTROL_ALLOW_METHODS,
        ),
    ] {
        if let Some(value) = asked.get(from) {
            headers.insert(to, value.clone());
        }
    }
    response
}
