//! Signatures of AWS version 4: whose request this is, and whether it is what they signed.
//!
//! [`Authorization::read`] finds the signature's parts in the head, in the header or the query
//! form; [`Authorization::verify`] signs the request again with the secret that belongs to its key
//! and compares. Errors have AWS's words and come in AWS's order:
//!
//! 1. no signature, or one in each form: [`Authorization::read`]
//! 2. a part is missing: [`Authorization::read`]
//! 3. the date: its form, then more than five minutes away
//! 4. `host` is not signed
//! 5. the algorithm
//! 6. the credential: five parts; then region, service, terminator and date, all at once
//! 7. the key is unknown
//! 8. the signature
//! 9. the session token
//!
//! Steps 1, 2 and 6's first half are kinesalite's `test/connection.js`, run against AWS; 3 to 9 are
//! the recordings of AWS in the comments of dynalite's `index.js`. Pure: the time, the secrets and
//! the body are given. It must not know HTTP libraries or files. Start with [`Authorization`].

mod authorization;
mod canonical;
mod date;
mod key;
mod texts;
mod verify;

pub use authorization::Authorization;
pub use key::{AccessKey, Secret};
pub use verify::{Policy, SKEW_SECONDS_MAX};

/// The only algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The service in a credential's scope.
pub const SERVICE: &str = "kinesis";
/// The last part of a credential.
pub const TERMINATOR: &str = "aws4_request";
/// What stands for the body's hash where the body is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// What a signature is about, but for the body.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path as it was sent.
    pub path: &'a str,
    /// What follows the `?`, as it was sent.
    pub query: Option<&'a str>,
    /// HTTP/2's `:authority`: what stands for `host` where there is no such header.
    pub authority: Option<&'a str>,
    /// Names in lower case and values, in the order in which they came.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> RequestHead<'a> {
    /// The first value of a header, if it is plain text.
    fn text(&self, name: &str) -> Option<&'a str> {
        let mut named = self.headers.iter().filter(|(found, _)| *found == name);
        let (_, value) = named.next()?;
        let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
        let text = std::str::from_utf8(value).ok()?;
        value.iter().all(plain).then_some(text)
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(found, _)| *found == name)
    }
}

#[cfg(test)]
mod tests;
