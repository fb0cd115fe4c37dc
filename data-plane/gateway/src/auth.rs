//! Who calls: in loopback mode any well-formed SigV4 signature stands for the server's account.
//!
//! The texts and their order are AWS's, as kinesalite's `test/connection.js` recorded them. The
//! signature itself is not verified here, which is why the server listens on loopback alone.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, header};
use millstream_protocol::{ErrorCode, ServiceError};
use millstream_types::{Region, Scope};

/// The parts of an `Authorization` header.
const HEADER_PARTS: [&str; 3] = ["Credential", "Signature", "SignedHeaders"];
/// The parameters of a signed query.
const QUERY_PARTS: [&str; 5] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Date",
];

/// The scope that a request acts in: the server's account, in the region of its credential.
///
/// # Errors
/// AWS's errors for a signature that is missing, incomplete or given twice.
pub(crate) fn scope<'a>(parts: &Parts, home: &'a Scope) -> Result<Cow<'a, Scope>, ServiceError> {
    let header = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .filter(|value| !value.is_empty());
    let query = parts
        .uri
        .query()
        .filter(|query| has_parameter(query, QUERY_PARTS[0]));
    match (header, query) {
        (Some(_), Some(_)) => Err(ServiceError::new(
            ErrorCode::InvalidSignature,
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP \
             header.",
        )),
        (None, None) => Err(ServiceError::new(
            ErrorCode::MissingAuthenticationToken,
            "Missing Authentication Token",
        )),
        (Some(header), None) => region_scope(&header_credential(header, &parts.headers)?, home),
        (None, Some(query)) => region_scope(&query_credential(query)?, home),
    }
}

fn header_credential<'a>(
    header: &'a str,
    headers: &HeaderMap,
) -> Result<Cow<'a, str>, ServiceError> {
    let mut found: [Option<&str>; 3] = [None; 3];
    // The first word is the algorithm.
    for part in header.split([',', ' ']).skip(1) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if let Some(at) = HEADER_PARTS.iter().position(|wanted| *wanted == name)
            && !value.is_empty()
        {
            found[at] = Some(value);
        }
    }
    let dated = headers.contains_key("x-amz-date") || headers.contains_key(header::DATE);
    if let [Some(credential), Some(_), Some(_)] = found
        && dated
    {
        return Ok(Cow::Borrowed(credential));
    }
    let mut text = String::new();
    for (name, value) in HEADER_PARTS.iter().zip(found) {
        if value.is_none() {
            text.push_str(&format!(
                "Authorization header requires '{name}' parameter. "
            ));
        }
    }
    if !dated {
        text.push_str(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
        );
    }
    text.push_str("Authorization=");
    text.push_str(header);
    Err(ServiceError::new(ErrorCode::IncompleteSignature, text))
}

fn query_credential(query: &str) -> Result<Cow<'_, str>, ServiceError> {
    let mut text = String::new();
    for name in QUERY_PARTS {
        if parameter(query, name).is_none_or(str::is_empty) {
            text.push_str(&format!(
                "AWS query-string parameters must include '{name}'. "
            ));
        }
    }
    match parameter(query, QUERY_PARTS[1]) {
        Some(credential) if text.is_empty() => Ok(percent_decoded(credential)),
        _ => {
            text.push_str("Re-examine the query-string parameters.");
            Err(ServiceError::new(ErrorCode::IncompleteSignature, text))
        },
    }
}

/// The scope of a credential such as `key/20260101/us-east-1/kinesis/aws4_request`.
fn region_scope<'a>(credential: &str, home: &'a Scope) -> Result<Cow<'a, Scope>, ServiceError> {
    let mut parts = credential.split('/');
    let region = match (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) {
        (Some(key), Some(_), Some(region), Some(_), Some(_))
            if !key.is_empty() && parts.next().is_none() =>
        {
            region
        },
        _ => {
            return Err(ServiceError::new(
                ErrorCode::IncompleteSignature,
                format!(
                    "Credential must have exactly 5 slash-delimited elements, e.g. \
                     keyid/date/region/service/term, got '{credential}'"
                ),
            ));
        },
    };
    if region == home.region.as_str() {
        return Ok(Cow::Borrowed(home));
    }
    let Ok(region) = region.parse::<Region>() else {
        return Err(ServiceError::new(
            ErrorCode::InvalidSignature,
            format!("Credential should be scoped to a valid region, not '{region}'. "),
        ));
    };
    Ok(Cow::Owned(Scope {
        account: home.account.clone(),
        region,
    }))
}

fn has_parameter(query: &str, name: &str) -> bool {
    parameter(query, name).is_some()
}

/// The value of a parameter as it stands in the query; empty without a `=`.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&');
    let mut named = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    named.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Resolves `%2F` and its like; what is no such triple stays.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3);
        let triple = digits
            .filter(|_| *byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(triple.unwrap_or(*byte));
        at += if triple.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const CREDENTIAL: &str = "k/20260101/us-east-1/kinesis/aws4_request";

    fn home() -> Scope {
        Scope {
            account: "000000000000".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        }
    }

    fn region_of(uri: &str, headers: &[(&str, &str)]) -> Result<String, (ErrorCode, String)> {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(request) = request.body(()) else {
            panic!("{uri} and {headers:?} make no request");
        };
        let (parts, ()) = request.into_parts();
        match scope(&parts, &home()) {
            Ok(scope) => Ok(scope.region.to_string()),
            Err(error) => Err((error.code, error.message.unwrap_or_default().into_owned())),
        }
    }

    fn signed(credential: &str) -> String {
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=ab")
    }

    #[test]
    fn a_well_formed_header_or_query_is_the_account_in_its_region() {
        let date = ("x-amz-date", "20260101T000000Z");
        let home = signed(CREDENTIAL);
        assert_eq!(
            region_of("/", &[("authorization", &home), date]),
            Ok("us-east-1".into())
        );
        let other = signed("k/20260101/eu-west-3/kinesis/aws4_request");
        assert_eq!(
            region_of("/", &[("authorization", &other), date]),
            Ok("eu-west-3".into())
        );
        let query = "/?X-Amz-Algorithm=a&X-Amz-Credential=k%2F20260101%2Feu-west-3%2Fkinesis%2F\
                     aws4_request&X-Amz-Signature=c&X-Amz-SignedHeaders=d&X-Amz-Date=e";
        assert_eq!(region_of(query, &[]), Ok("eu-west-3".into()));
    }

    #[test]
    fn what_lacks_a_part_gets_the_words_of_aws() {
        let no_date = "Authorization header requires existence of either a 'X-Amz-Date' or a \
                       'Date' header. ";
        let nothing = format!(
            "Authorization header requires 'Credential' parameter. Authorization header requires \
             'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. \
             {no_date}Authorization=X"
        );
        let no_headers = "Authorization header requires 'SignedHeaders' parameter. ";
        for (header, date, text) in [
            ("X", false, nothing),
            (
                "AWS4- Signature=b Credential=a",
                true,
                format!("{no_headers}Authorization=AWS4- Signature=b Credential=a"),
            ),
            (
                "AWS4- Signature=b, Credential=a",
                true,
                format!("{no_headers}Authorization=AWS4- Signature=b, Credential=a"),
            ),
        ] {
            let mut headers = vec![("authorization", header)];
            headers.extend(date.then_some(("date", "a")));
            assert_eq!(
                region_of("/", &headers),
                Err((ErrorCode::IncompleteSignature, text))
            );
        }
        let lacks = "AWS query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine \
                     the query-string parameters.";
        assert_eq!(
            region_of(
                "/?X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Signature=c&X-Amz-Date=d",
                &[]
            ),
            Err((ErrorCode::IncompleteSignature, lacks.to_owned()))
        );
    }

    #[test]
    fn none_and_both_have_errors_of_their_own() {
        let code = |uri: &str, headers: &[(&str, &str)]| region_of(uri, headers).map_err(|e| e.0);
        let missing = Err(ErrorCode::MissingAuthenticationToken);
        assert_eq!(code("/", &[]), missing);
        assert_eq!(code("/", &[("authorization", "")]), missing);
        let no_algorithm =
            "/?X-Amz-Credential=a&X-Amz-Signature=b&X-Amz-SignedHeaders=c&X-Amz-Date=d";
        assert_eq!(code(no_algorithm, &[]), missing);
        let both = code("/?X-Amz-Algorithm", &[("authorization", "X")]);
        assert_eq!(both, Err(ErrorCode::InvalidSignature));
        let empty = code("/?X-Amz-Algorithm", &[]);
        assert_eq!(empty, Err(ErrorCode::IncompleteSignature));
    }

    #[test]
    fn a_credential_has_five_parts_and_a_region() {
        let date = ("date", "x");
        for (credential, code) in [
            ("a", ErrorCode::IncompleteSignature),
            (
                "/20260101/us-east-1/kinesis/aws4_request",
                ErrorCode::IncompleteSignature,
            ),
            (
                "k/20260101/us-east-1/kinesis",
                ErrorCode::IncompleteSignature,
            ),
            (
                "k/20260101/us-east-1/kinesis/aws4_request/x",
                ErrorCode::IncompleteSignature,
            ),
            (
                "k/20260101/US/kinesis/aws4_request",
                ErrorCode::InvalidSignature,
            ),
            (
                "k/20260101//kinesis/aws4_request",
                ErrorCode::InvalidSignature,
            ),
        ] {
            let header = signed(credential);
            let found = region_of("/", &[("authorization", &header), date]).map_err(|e| e.0);
            assert_eq!(found, Err(code), "{credential}");
        }
    }
}
