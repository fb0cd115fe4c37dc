//! Finds the parts of a signature in a request's head, in the header or the query form.

use std::borrow::Cow;

use super::{RequestHead, texts};
use crate::error::ServiceError;

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
const QUERY_TOKEN: &str = "X-Amz-Security-Token";
const QUERY_EXPIRES: &str = "X-Amz-Expires";

/// The parameter that a query's signature is in, and that it does not cover.
pub(super) const QUERY_SIGNATURE: &str = QUERY_PARTS[2];

/// Where a signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Header,
    Query,
}

/// The parts of a signature, all there, none of them checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    pub(super) form: Form,
    pub(super) algorithm: Cow<'a, str>,
    pub(super) credential: Cow<'a, str>,
    pub(super) signed_headers: Cow<'a, str>,
    pub(super) signature: Cow<'a, str>,
    pub(super) date: Cow<'a, str>,
    pub(super) token: Option<Cow<'a, str>>,
    pub(super) expires: Option<Cow<'a, str>>,
}

/// The five parts of a credential such as `key/20260101/us-east-1/kinesis/aws4_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credential<'a> {
    pub(super) key: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) terminator: &'a str,
}

impl<'a> Authorization<'a> {
    /// The signature of a request.
    ///
    /// # Errors
    /// AWS's errors for one that is missing, incomplete or given twice.
    pub fn read(head: &RequestHead<'a>) -> Result<Self, ServiceError> {
        let header = head.text("authorization").filter(|text| !text.is_empty());
        let signed = |query: &&str| parameter(query, QUERY_PARTS[0]).is_some();
        match (header, head.query.filter(signed)) {
            (Some(_), Some(_)) => Err(texts::both_forms()),
            (None, None) => Err(texts::missing()),
            (Some(header), None) => Self::from_header(header, head),
            (None, Some(query)) => Self::from_query(query),
        }
    }

    /// The region that the credential names.
    ///
    /// # Errors
    /// When the credential has not five parts.
    pub fn region(&self) -> Result<&str, ServiceError> {
        Ok(self.credential()?.region)
    }

    /// The error for a region that is none, or not the server's.
    #[must_use]
    pub fn wrong_region(region: &str) -> ServiceError {
        texts::scope(texts::region(region))
    }

    pub(super) fn credential(&self) -> Result<Credential<'_>, ServiceError> {
        let mut parts = self.credential.split('/');
        let mut next = || parts.next().unwrap_or_default();
        let credential = Credential {
            key: next(),
            date: next(),
            region: next(),
            service: next(),
            terminator: next(),
        };
        let five = self.credential.split('/').count() == 5;
        if five && !credential.key.is_empty() {
            return Ok(credential);
        }
        Err(texts::credential(&self.credential))
    }

    fn from_header(header: &'a str, head: &RequestHead<'a>) -> Result<Self, ServiceError> {
        let mut parts = header.split([',', ' ']);
        let algorithm = parts.next().unwrap_or_default();
        let mut found: [Option<&str>; 3] = [None; 3];
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if let Some(at) = HEADER_PARTS.iter().position(|wanted| *wanted == name)
                && !value.is_empty()
            {
                found[at] = Some(value);
            }
        }
        let dated = head.has("x-amz-date") || head.has("date");
        if let [Some(credential), Some(signature), Some(signed_headers)] = found
            && dated
        {
            let date = head.text("x-amz-date").or_else(|| head.text("date"));
            return Ok(Self {
                form: Form::Header,
                algorithm: Cow::Borrowed(algorithm),
                credential: Cow::Borrowed(credential),
                signed_headers: Cow::Borrowed(signed_headers),
                signature: Cow::Borrowed(signature),
                date: Cow::Borrowed(date.unwrap_or_default().trim()),
                token: head.text("x-amz-security-token").map(Cow::Borrowed),
                expires: None,
            });
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
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' \
                 header. ",
            );
        }
        text.push_str("Authorization=");
        text.push_str(header);
        Err(texts::incomplete(text))
    }

    fn from_query(query: &'a str) -> Result<Self, ServiceError> {
        let value = |name: &str| parameter(query, name).filter(|value| !value.is_empty());
        if let [
            Some(algorithm),
            Some(credential),
            Some(signature),
            Some(signed_headers),
            Some(date),
        ] = QUERY_PARTS.map(value)
        {
            return Ok(Self {
                form: Form::Query,
                algorithm: percent_decoded(algorithm),
                credential: percent_decoded(credential),
                signed_headers: percent_decoded(signed_headers),
                signature: percent_decoded(signature),
                date: percent_decoded(date),
                token: parameter(query, QUERY_TOKEN).map(percent_decoded),
                expires: parameter(query, QUERY_EXPIRES).map(percent_decoded),
            });
        }
        let mut text = String::new();
        for name in QUERY_PARTS {
            if value(name).is_none() {
                text.push_str(&format!(
                    "AWS query-string parameters must include '{name}'. "
                ));
            }
        }
        text.push_str("Re-examine the query-string parameters.");
        Err(texts::incomplete(text))
    }
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
