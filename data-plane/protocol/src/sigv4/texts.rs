//! AWS's words for what is wrong with a signature.
//!
//! Seen in kinesalite's `test/connection.js` and, as recordings of AWS, in the comments of
//! dynalite's `index.js`, both by the same author; the two that were changed since (five minutes
//! for fifteen, `':authority'` beside `'Host'`) are as AWS answers today.

use super::{ALGORITHM, SERVICE, TERMINATOR};
use crate::error::{ErrorCode, ServiceError};

pub(super) fn incomplete(text: String) -> ServiceError {
    ServiceError::new(ErrorCode::IncompleteSignature, text)
}

fn invalid(text: String) -> ServiceError {
    ServiceError::new(ErrorCode::InvalidSignature, text)
}

pub(super) const fn missing() -> ServiceError {
    ServiceError {
        code: ErrorCode::MissingAuthenticationToken,
        message: Some(std::borrow::Cow::Borrowed("Missing Authentication Token")),
    }
}

pub(super) fn both_forms() -> ServiceError {
    invalid(
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
            .to_owned(),
    )
}

pub(super) fn no_date(given: &str) -> ServiceError {
    incomplete(format!(
        "Date must be in ISO-8601 'basic format'. Got '{given}'. See \
         http://en.wikipedia.org/wiki/ISO_8601"
    ))
}

/// Ours: AWS's words for a query's time to live are not recorded for this service.
pub(super) fn no_expiry(given: &str) -> ServiceError {
    incomplete(format!(
        "'X-Amz-Expires' must be a number of seconds from 1 to 604800, not '{given}'."
    ))
}

/// `life` is how long a signature counts, in words.
pub(super) fn expired(date: &str, oldest: &str, now: &str, life: &str) -> ServiceError {
    invalid(format!(
        "Signature expired: {date} is now earlier than {oldest} ({now} - {life}.)"
    ))
}

pub(super) fn not_yet_current(date: &str, newest: &str, now: &str) -> ServiceError {
    invalid(format!(
        "Signature not yet current: {date} is still later than {newest} ({now} + 5 min.)"
    ))
}

pub(super) fn host_unsigned() -> ServiceError {
    invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned())
}

/// Ours, after the one about `Host`: the target says what the request does.
pub(super) fn target_unsigned() -> ServiceError {
    invalid("'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.".to_owned())
}

pub(super) fn algorithm(given: &str) -> ServiceError {
    incomplete(format!(
        "Unsupported AWS 'algorithm': '{given}' (only {ALGORITHM} for now). "
    ))
}

pub(super) fn credential(given: &str) -> ServiceError {
    incomplete(format!(
        "Credential must have exactly 5 slash-delimited elements, e.g. \
         keyid/date/region/service/term, got '{given}'"
    ))
}

pub(super) fn region(given: &str) -> String {
    format!("Credential should be scoped to a valid region, not '{given}'. ")
}

pub(super) fn service() -> String {
    format!("Credential should be scoped to correct service: '{SERVICE}'. ")
}

pub(super) fn terminator(given: &str) -> String {
    format!("Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{given}'. ")
}

pub(super) fn scope_date(given: &str, date: &str, stamp: &str) -> String {
    format!(
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
         '{given}' != '{date}', from '{stamp}'."
    )
}

/// What is wrong with a credential's scope, sentence by sentence.
pub(super) fn scope(sentences: String) -> ServiceError {
    invalid(sentences)
}

pub(super) const fn unknown_key() -> ServiceError {
    ServiceError {
        code: ErrorCode::UnrecognizedClient,
        message: Some(std::borrow::Cow::Borrowed(
            "The security token included in the request is invalid.",
        )),
    }
}

/// Shows what should have been signed: made of the request alone, so it tells nothing new.
pub(super) fn mismatch(canonical: &[u8], to_sign: &str) -> ServiceError {
    let canonical = String::from_utf8_lossy(canonical);
    invalid(format!(
        "The request signature we calculated does not match the signature you provided. Check \
         your AWS Secret Access Key and signing method. Consult the service documentation for \
         details.\n\nThe Canonical String for this request should have been\n'{canonical}'\n\nThe \
         String-to-Sign should have been\n'{to_sign}'\n"
    ))
}

/// Ours: without TLS nothing would protect such a body.
pub(super) fn unsigned_body() -> ServiceError {
    invalid(
        "An 'UNSIGNED-PAYLOAD' is accepted over TLS only: sign the body, or use the TLS port."
            .to_owned(),
    )
}

pub(super) const fn wrong_token() -> ServiceError {
    ServiceError {
        code: ErrorCode::UnrecognizedClient,
        message: Some(std::borrow::Cow::Borrowed(
            "The security token included in the request is invalid",
        )),
    }
}
