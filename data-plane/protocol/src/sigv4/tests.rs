use proptest::prelude::*;

use super::*;
use crate::error::{ErrorCode, ServiceError};

const CREDENTIAL: &str = "k/20260101/us-east-1/kinesis/aws4_request";
/// 2026-01-01T00:00:00Z.
const NOW_MS: u64 = 1_767_225_600_000;

type Headers<'a> = &'a [(&'a str, &'a [u8])];

fn head<'a>(query: Option<&'a str>, headers: Headers<'a>) -> RequestHead<'a> {
    RequestHead {
        method: "POST",
        path: "/",
        query,
        authority: None,
        headers,
    }
}

fn refused<T>(result: Result<T, ServiceError>) -> (ErrorCode, String) {
    match result {
        Ok(_) => (ErrorCode::InternalFailure, "it was accepted".to_owned()),
        Err(error) => (error.code, error.message.unwrap_or_default().into_owned()),
    }
}

fn region(query: Option<&str>, headers: Headers<'_>) -> Result<String, ServiceError> {
    Authorization::read(&head(query, headers))?
        .region()
        .map(str::to_owned)
}

fn signed(credential: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=ab")
}

#[test]
fn header_and_query_name_a_region() {
    let authorization = signed("k/20260101/eu-west-3/kinesis/aws4_request");
    let headers: Headers<'_> = &[
        ("authorization", authorization.as_bytes()),
        ("x-amz-date", b"20260101T000000Z"),
    ];
    assert_eq!(region(None, headers), Ok("eu-west-3".to_owned()));
    let query = "X-Amz-Algorithm=a&X-Amz-Credential=k%2F20260101%2Feu-west-3%2Fkinesis%2F\
                 aws4_request&X-Amz-Signature=c&X-Amz-SignedHeaders=d&X-Amz-Date=e";
    assert_eq!(region(Some(query), &[]), Ok("eu-west-3".to_owned()));
}

#[test]
fn what_lacks_a_part_gets_the_words_of_aws() {
    let no_date = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' \
                   header. ";
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
        let mut headers: Vec<(&str, &[u8])> = vec![("authorization", header.as_bytes())];
        headers.extend(date.then_some(("date", b"a".as_slice())));
        let expected = (ErrorCode::IncompleteSignature, text);
        assert_eq!(refused(region(None, &headers)), expected);
    }
    let lacks = "AWS query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine the \
                 query-string parameters.";
    let query = "X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Signature=c&X-Amz-Date=d";
    let expected = (ErrorCode::IncompleteSignature, lacks.to_owned());
    assert_eq!(refused(region(Some(query), &[])), expected);
}

#[test]
fn none_and_both_have_errors_of_their_own() {
    let code = |query: Option<&str>, headers: Headers<'_>| refused(region(query, headers)).0;
    let missing = ErrorCode::MissingAuthenticationToken;
    assert_eq!(code(None, &[]), missing);
    assert_eq!(code(None, &[("authorization", b"")]), missing);
    assert_eq!(code(None, &[("authorization", b"\xff")]), missing);
    let no_algorithm = "X-Amz-Credential=a&X-Amz-Signature=b&X-Amz-SignedHeaders=c&X-Amz-Date=d";
    assert_eq!(code(Some(no_algorithm), &[]), missing);
    let both = code(Some("X-Amz-Algorithm"), &[("authorization", b"X")]);
    assert_eq!(both, ErrorCode::InvalidSignature);
    assert_eq!(
        code(Some("X-Amz-Algorithm"), &[]),
        ErrorCode::IncompleteSignature
    );
}

#[test]
fn a_credential_has_five_parts() {
    for credential in [
        "a",
        "/20260101/us-east-1/kinesis/aws4_request",
        "k/20260101/us-east-1/kinesis",
        "k/20260101/us-east-1/kinesis/aws4_request/x",
    ] {
        let header = signed(credential);
        let headers: Headers<'_> = &[("authorization", header.as_bytes()), ("date", b"x")];
        let (code, text) = refused(region(None, headers));
        assert_eq!(code, ErrorCode::IncompleteSignature, "{credential}");
        assert!(text.ends_with(&format!("got '{credential}'")), "{text}");
    }
}

fn key() -> AccessKey {
    AccessKey {
        id: "k".to_owned(),
        secret: Secret::new("s".to_owned()),
        account: "000000000000".parse().expect("an account"),
        session_token: None,
    }
}

const POLICY: Policy<'_> = Policy {
    region: "us-east-1",
    now_ms: NOW_MS,
    unsigned_body: false,
};

/// Verifies a header form with these parts against the one key.
fn verify(
    key: &AccessKey,
    authorization: &str,
    date: &str,
    more: Headers<'_>,
) -> Result<(), ServiceError> {
    let mut headers: Vec<(&str, &[u8])> = vec![
        ("host", b"x"),
        ("authorization", authorization.as_bytes()),
        ("x-amz-date", date.as_bytes()),
    ];
    headers.extend(more);
    let head = head(None, &headers);
    let read = Authorization::read(&head)?;
    let find = |id: &str| (id == key.id).then_some(key);
    read.verify(&head, b"{}", &POLICY, find).map(|_| ())
}

/// The signature that [`verify`] asks for; its errors tell, or there is none when it is accepted.
fn right_signature(key: &AccessKey, date: &str, names: &str, more: Headers<'_>) -> String {
    let mut headers: Vec<(&str, &[u8])> = vec![("host", b"x"), ("x-amz-date", date.as_bytes())];
    headers.extend(more);
    let text = format!("AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders={names}");
    let unsigned = format!("{text}, Signature=0");
    headers.push(("authorization", unsigned.as_bytes()));
    let head = head(None, &headers);
    let read = Authorization::read(&head).expect("whole");
    format!(
        "{text}, Signature={}",
        read.signature_for(&head, b"{}", key)
    )
}

#[test]
fn errors_come_in_the_order_of_aws() {
    let date = "20260101T000100Z";
    let auth = |algorithm: &str, credential: &str, names: &str| {
        format!("{algorithm} Credential={credential}, SignedHeaders={names}, Signature=0")
    };
    let late = "20251231T235459Z";
    let early = "20260101T000501Z";
    let bad_scope = "a/b/c/d/e";
    let other_key = "other/20260101/us-east-1/kinesis/aws4_request";
    // Each row is right in one thing more than the one before.
    let rows = [
        (
            auth("X", "a", "x"),
            "201",
            ErrorCode::IncompleteSignature,
            "Date must be in ISO-8601 'basic format'. Got '201'. See \
             http://en.wikipedia.org/wiki/ISO_8601",
        ),
        (
            auth("X", "a", "x"),
            late,
            ErrorCode::InvalidSignature,
            "Signature expired: 20251231T235459Z is now earlier than 20251231T235500Z \
             (20260101T000000Z - 5 min.)",
        ),
        (
            auth("X", "a", "x"),
            early,
            ErrorCode::InvalidSignature,
            "Signature not yet current: 20260101T000501Z is still later than 20260101T000500Z \
             (20260101T000000Z + 5 min.)",
        ),
        (
            auth("X", "a", "x"),
            date,
            ErrorCode::InvalidSignature,
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            auth("AWS4-HMAC-SHA25", "a", "Host"),
            date,
            ErrorCode::IncompleteSignature,
            "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25' (only AWS4-HMAC-SHA256 for now). ",
        ),
        (
            auth(ALGORITHM, "a/b/c/d", "host"),
            date,
            ErrorCode::IncompleteSignature,
            "Credential must have exactly 5 slash-delimited elements, e.g. \
             keyid/date/region/service/term, got 'a/b/c/d'",
        ),
        (
            auth(ALGORITHM, bad_scope, "host"),
            date,
            ErrorCode::InvalidSignature,
            "Credential should be scoped to a valid region, not 'c'. Credential should be scoped \
             to correct service: 'kinesis'. Credential should be scoped with a valid terminator: \
             'aws4_request', not 'e'. Date in Credential scope does not match YYYYMMDD from \
             ISO-8601 version of date from HTTP: 'b' != '20260101', from '20260101T000100Z'.",
        ),
        (
            auth(ALGORITHM, other_key, "host"),
            date,
            ErrorCode::UnrecognizedClient,
            "The security token included in the request is invalid.",
        ),
    ];
    for (authorization, date, code, text) in rows {
        let found = refused(verify(&key(), &authorization, date, &[]));
        assert_eq!(found, (code, text.to_owned()), "{authorization}");
    }
}

#[test]
fn a_wrong_signature_is_told_what_should_have_been_signed() {
    let found = refused(verify(&key(), &signed(CREDENTIAL), "20260101T000100Z", &[]));
    let text = "The request signature we calculated does not match the signature you provided. Check \
             your AWS Secret Access Key and signing method. Consult the service documentation for \
             details.\n\nThe Canonical String for this request should have \
             been\n'POST\n/\n\nhost:x\n\nhost\n\
             44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'\n\nThe \
             String-to-Sign should have been\n'AWS4-HMAC-SHA256\n20260101T000100Z\n\
             20260101/us-east-1/kinesis/aws4_request\n\
             05844a66381b80b527b3a2a1935f0dceedfd117dd186fb1db62ec292e6791652'\n";
    assert_eq!(found, (ErrorCode::InvalidSignature, text.to_owned()));
}

#[test]
fn five_minutes_are_near_enough_both_ways() {
    for (day, time) in [
        ("20251231", "235500"),
        ("20260101", "000000"),
        ("20260101", "000500"),
    ] {
        let date = &format!("{day}T{time}Z");
        let day = CREDENTIAL.replace("20260101", day);
        let found = verify(&key(), &signed(&day), date, &[]);
        // As far as the signature, which comes after the date.
        assert!(
            refused(found).1.starts_with("The request signature"),
            "{date}"
        );
    }
}

#[test]
fn the_target_must_be_signed() {
    let target: Headers<'_> = &[("x-amz-target", b"Kinesis_20131202.PutRecord")];
    let date = "20260101T000000Z";
    let host_only = right_signature(&key(), date, "host", target);
    let (code, text) = refused(verify(&key(), &host_only, date, target));
    assert_eq!(code, ErrorCode::InvalidSignature);
    assert!(text.contains("'X-Amz-Target' must be"), "{text}");
    let both = right_signature(&key(), date, "host;x-amz-target", target);
    assert_eq!(verify(&key(), &both, date, target), Ok(()));
}

#[test]
fn a_key_with_a_session_token_needs_it_and_no_other_takes_one() {
    let date = "20260101T000000Z";
    let lasting = key();
    let passing = AccessKey {
        session_token: Some(Secret::new("tok".to_owned())),
        ..key()
    };
    let token = |text: &'static [u8]| ("x-amz-security-token", text);
    for (key, given, right) in [
        (&lasting, None, true),
        (&lasting, Some(token(b"tok")), false),
        (&passing, None, false),
        (&passing, Some(token(b"tok")), true),
        (&passing, Some(token(b"tok ")), true),
        (&passing, Some(token(b"toK")), false),
        (&passing, Some(token(b"")), false),
    ] {
        let more: Vec<_> = given.into_iter().collect();
        let authorization = right_signature(key, date, "host", &more);
        let found = verify(key, &authorization, date, &more);
        if right {
            assert_eq!(found, Ok(()), "{given:?}");
        } else {
            let (code, text) = refused(found);
            assert_eq!(code, ErrorCode::UnrecognizedClient);
            assert_eq!(
                text,
                "The security token included in the request is invalid"
            );
        }
    }
}

#[test]
fn no_debug_text_shows_a_secret() {
    let key = AccessKey {
        secret: Secret::new("hush".to_owned()),
        session_token: Some(Secret::new("quiet".to_owned())),
        ..key()
    };
    let shown = format!("{key:?}");
    assert!(shown.contains("redacted"), "{shown}");
    assert!(
        !shown.contains("hush") && !shown.contains("quiet"),
        "{shown}"
    );
}

/// Verifies a query form that lives for `expires` and was signed at `date`.
fn verify_query(date: &str, expires: &str) -> Result<(), ServiceError> {
    let query = |signature: &str| {
        let credential = CREDENTIAL
            .replace('/', "%2F")
            .replace("20260101", &day(date));
        format!(
            "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={credential}&X-Amz-Date={date}\
             &X-Amz-SignedHeaders=host{expires}&X-Amz-Signature={signature}"
        )
    };
    let headers: Headers<'_> = &[("host", b"x")];
    let unsigned = query("0");
    let before = head(Some(&unsigned), headers);
    let signature = Authorization::read(&before)?.signature_for(&before, b"", &key());
    let signed = query(&signature);
    let head = head(Some(&signed), headers);
    let find = |_: &str| Some(key());
    let read = Authorization::read(&head)?;
    read.verify(&head, b"", &POLICY, find).map(|_| ())
}

fn day(date: &str) -> String {
    date.chars().take(8).collect()
}

#[test]
fn a_query_lives_as_long_as_it_says_a_week_at_most() {
    for (date, expires, text) in [
        ("20251231T235500Z", "", ""),
        (
            "20251231T235459Z",
            "",
            "Signature expired: 20251231T235459Z is now earlier",
        ),
        ("20251231T230000Z", "&X-Amz-Expires=3600", ""),
        (
            "20251231T225959Z",
            "&X-Amz-Expires=3600",
            "(20260101T000000Z - 60 min.)",
        ),
        (
            "20251231T235958Z",
            "&X-Amz-Expires=1",
            "(20260101T000000Z - 1 sec.)",
        ),
        (
            "20260101T000501Z",
            "&X-Amz-Expires=3600",
            "Signature not yet current",
        ),
        ("20251225T000000Z", "&X-Amz-Expires=604800", ""),
        (
            "20260101T000000Z",
            "&X-Amz-Expires=604801",
            "a number of seconds from 1",
        ),
        (
            "20260101T000000Z",
            "&X-Amz-Expires=0",
            "a number of seconds from 1",
        ),
        (
            "20260101T000000Z",
            "&X-Amz-Expires=-1",
            "a number of seconds from 1",
        ),
        (
            "20260101T000000Z",
            "&X-Amz-Expires=",
            "a number of seconds from 1",
        ),
    ] {
        match verify_query(date, expires) {
            Ok(()) => assert_eq!(text, "", "{date} {expires}"),
            Err(error) => {
                let found = error.message.unwrap_or_default();
                assert!(
                    !text.is_empty() && found.contains(text),
                    "{date} {expires}: {found}"
                );
            },
        }
    }
}

#[test]
fn a_body_is_left_out_only_under_a_signature_and_where_it_is_allowed() {
    let date = "20260101T000000Z";
    let more: Headers<'_> = &[("x-amz-content-sha256", UNSIGNED_PAYLOAD.as_bytes())];
    for (names, allowed, text) in [
        ("host;x-amz-content-sha256", true, ""),
        ("host;x-amz-content-sha256", false, "accepted over TLS only"),
        ("host", true, "The request signature"),
    ] {
        let authorization = right_signature(&key(), date, names, more);
        let headers: Vec<(&str, &[u8])> = vec![
            ("host", b"x"),
            ("authorization", authorization.as_bytes()),
            ("x-amz-date", date.as_bytes()),
            more[0],
        ];
        let head = head(None, &headers);
        let policy = Policy {
            unsigned_body: allowed,
            ..POLICY
        };
        let read = Authorization::read(&head).expect("whole");
        // Another body than the one that was signed.
        let found = read.verify(&head, b"{\"a\":1}", &policy, |_| Some(key()));
        match found {
            Ok(_) => assert_eq!(text, "", "{names}"),
            Err(error) => {
                let found = error.message.unwrap_or_default();
                assert!(!text.is_empty() && found.contains(text), "{names}: {found}");
            },
        }
    }
}

#[test]
fn the_authority_of_http2_stands_for_the_host() {
    let date = "20260101T000000Z";
    let authorization = right_signature(&key(), date, "host", &[]);
    let headers: Headers<'_> = &[
        ("authorization", authorization.as_bytes()),
        ("x-amz-date", date.as_bytes()),
    ];
    for (authority, right) in [("x", true), ("y", false)] {
        let head = RequestHead {
            authority: Some(authority),
            ..head(None, headers)
        };
        let read = Authorization::read(&head).expect("whole");
        let found = read.verify(&head, b"{}", &POLICY, |_| Some(key()));
        assert_eq!(found.is_ok(), right);
    }
}

proptest! {
    /// Whatever a stranger sends, it is refused with an error and never with a panic.
    #[test]
    fn any_head_is_refused(
        path in "[ -~é]{0,20}",
        query in proptest::option::of("(X-Amz-(Algorithm|Credential|Signature|SignedHeaders|Date|Expires|Security-Token)=?[ -~é]{0,20}&?){0,8}"),
        parts in proptest::option::of(
            "(AWS4-HMAC-SHA256)?( ?(Credential|SignedHeaders|Signature)=[ -~]{0,30},?){0,4}"
        ),
        credential in proptest::option::of("[a-z/]{0,6}"),
        date in "20260101T000000Z|[ -~]{0,20}",
        body: Vec<u8>,
        unsigned_body: bool,
    ) {
        let credential = credential.unwrap_or_else(|| CREDENTIAL.to_owned());
        let whole = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;a, Signature=0"
        );
        let authorization = parts.unwrap_or(whole);
        let headers: Headers<'_> = &[
            ("authorization", authorization.as_bytes()),
            ("x-amz-date", date.as_bytes()),
            ("a", &body),
            ("a", b" "),
        ];
        let headers = if query.is_some() { &headers[1..] } else { headers };
        let head = RequestHead { path: &path, ..head(query.as_deref(), headers) };
        let policy = Policy { unsigned_body, ..POLICY };
        let verified = Authorization::read(&head)
            .and_then(|read| read.verify(&head, &body, &policy, |_| Some(key())));
        prop_assert!(verified.is_err());
    }
}
