//! Signs a request again, and compares.

use std::borrow::Borrow;
use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::authorization::{Credential, Form};
use super::date::Seconds;
use super::{
    ALGORITHM, AccessKey, Authorization, RequestHead, SERVICE, TERMINATOR, UNSIGNED_PAYLOAD,
    canonical, texts,
};
use crate::error::ServiceError;

/// How far a request's date may be from the server's clock, in seconds.
pub const SKEW_SECONDS_MAX: u64 = 300;
/// Longest life of a signed query, in seconds: a week, as AWS has it.
const EXPIRES_SECONDS_MAX: u64 = 604_800;

/// What a server asks of every signature.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The region that credentials must name.
    pub region: &'a str,
    /// The server's clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// Whether a body may be left unsigned: where something else protects it.
    pub unsigned_body: bool,
}

impl Authorization<'_> {
    /// The key that signed this request; `find` knows the keys by id.
    ///
    /// # Errors
    /// AWS's errors, in the order of steps 3 to 9 of this module.
    pub fn verify<K: Borrow<AccessKey>>(
        &self,
        head: &RequestHead<'_>,
        body: &[u8],
        policy: &Policy<'_>,
        find: impl FnOnce(&str) -> Option<K>,
    ) -> Result<K, ServiceError> {
        let (found, stamp) = self.named(head, policy, find)?;
        let key: &AccessKey = found.borrow();
        self.check_signature(head, body, policy, key, &stamp)?;
        self.check_token(key)?;
        Ok(found)
    }

    /// The key that this request names, if all that can be told without the body is right: whoever
    /// fails here fails [`Authorization::verify`], whatever the body is.
    ///
    /// # Errors
    /// AWS's errors, in the order of steps 3 to 7 of this module.
    pub fn identify<K: Borrow<AccessKey>>(
        &self,
        head: &RequestHead<'_>,
        policy: &Policy<'_>,
        find: impl FnOnce(&str) -> Option<K>,
    ) -> Result<K, ServiceError> {
        self.named(head, policy, find).map(|(found, _)| found)
    }

    /// The key, and the date of the signature.
    fn named<K>(
        &self,
        head: &RequestHead<'_>,
        policy: &Policy<'_>,
        find: impl FnOnce(&str) -> Option<K>,
    ) -> Result<(K, String), ServiceError> {
        let date = self.checked_date(policy)?;
        self.check_signed_headers(head)?;
        if self.algorithm != ALGORITHM {
            return Err(texts::algorithm(&self.algorithm));
        }
        let credential = self.credential()?;
        let stamp = date.basic();
        check_scope(&credential, policy.region, &stamp)?;
        let found = find(credential.key).ok_or_else(texts::unknown_key)?;
        Ok((found, stamp))
    }

    /// The time of the signature, if it is near enough to now.
    fn checked_date(&self, policy: &Policy<'_>) -> Result<Seconds, ServiceError> {
        let parsed = match self.form {
            Form::Header => Seconds::parse(&self.date),
            Form::Query => Seconds::parse_basic(&self.date),
        };
        let date = parsed.ok_or_else(|| texts::no_date(&self.date))?;
        let now = Seconds(i64::try_from(policy.now_ms / 1000).unwrap_or(i64::MAX));
        let life_seconds = match &self.expires {
            None => SKEW_SECONDS_MAX,
            Some(text) => expiry(text).ok_or_else(|| texts::no_expiry(text))?,
        };
        let minus = |seconds: u64| Seconds(now.0 - i64::try_from(seconds).unwrap_or(i64::MAX));
        let oldest = minus(life_seconds);
        if date < oldest {
            let life = match life_seconds {
                whole if whole % 60 == 0 => format!("{} min", whole / 60),
                odd => format!("{odd} sec"),
            };
            let (date, oldest, now) = (date.basic(), oldest.basic(), now.basic());
            return Err(texts::expired(&date, &oldest, &now, &life));
        }
        let newest = Seconds(now.0 + i64::try_from(SKEW_SECONDS_MAX).unwrap_or(0));
        if date > newest {
            let (date, newest, now) = (date.basic(), newest.basic(), now.basic());
            return Err(texts::not_yet_current(&date, &newest, &now));
        }
        Ok(date)
    }

    fn check_signed_headers(&self, head: &RequestHead<'_>) -> Result<(), ServiceError> {
        let signed = |name: &str| self.signs(name);
        if !signed("host") && !signed(":authority") {
            return Err(texts::host_unsigned());
        }
        // The method is always POST and the path always the same: the target is what a request
        // does. All clients sign it.
        if head.has("x-amz-target") && !signed("x-amz-target") {
            return Err(texts::target_unsigned());
        }
        Ok(())
    }

    fn signs(&self, name: &str) -> bool {
        let mut names = self.signed_headers.split(';');
        names.any(|signed| signed.eq_ignore_ascii_case(name))
    }

    fn check_signature(
        &self,
        head: &RequestHead<'_>,
        body: &[u8],
        policy: &Policy<'_>,
        key: &AccessKey,
        stamp: &str,
    ) -> Result<(), ServiceError> {
        let canonical = self.canonical(head, body);
        let credential = self.credential()?;
        let to_sign = to_sign(&canonical, &credential, stamp);
        let signature = sign(key, &credential, to_sign.as_bytes());
        if !bool::from(signature.as_bytes().ct_eq(self.signature.as_bytes())) {
            return Err(texts::mismatch(&canonical, &to_sign));
        }
        // Only now: whoever cannot sign learns nothing about what may be unsigned.
        if self.leaves_body_out(head) && !policy.unsigned_body {
            return Err(texts::unsigned_body());
        }
        Ok(())
    }

    fn canonical(&self, head: &RequestHead<'_>, body: &[u8]) -> Vec<u8> {
        if self.leaves_body_out(head) {
            return canonical::request(head, self, UNSIGNED_PAYLOAD);
        }
        canonical::request(head, self, &hex(&Sha256::digest(body)))
    }

    /// The signature that would be right.
    #[cfg(test)]
    pub(super) fn signature_for(
        &self,
        head: &RequestHead<'_>,
        body: &[u8],
        key: &AccessKey,
    ) -> String {
        let credential = self.credential().expect("five parts");
        let canonical = self.canonical(head, body);
        let to_sign = to_sign(&canonical, &credential, &self.date);
        sign(key, &credential, to_sign.as_bytes())
    }

    /// Whether the signer says, under the signature, that the body is not part of it.
    fn leaves_body_out(&self, head: &RequestHead<'_>) -> bool {
        self.signs("x-amz-content-sha256")
            && head.text("x-amz-content-sha256") == Some(UNSIGNED_PAYLOAD)
    }

    fn check_token(&self, key: &AccessKey) -> Result<(), ServiceError> {
        let right = match (&key.session_token, &self.token) {
            (Some(token), Some(given)) => token.is(given.trim().as_bytes()),
            (None, None) => true,
            _ => false,
        };
        right.then_some(()).ok_or_else(texts::wrong_token)
    }
}

fn expiry(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 = digits.then(|| text.parse().ok())??;
    (1..=EXPIRES_SECONDS_MAX)
        .contains(&seconds)
        .then_some(seconds)
}

fn check_scope(credential: &Credential<'_>, region: &str, stamp: &str) -> Result<(), ServiceError> {
    let mut wrong = String::new();
    if credential.region != region {
        wrong.push_str(&texts::region(credential.region));
    }
    if credential.service != SERVICE {
        wrong.push_str(&texts::service());
    }
    if credential.terminator != TERMINATOR {
        wrong.push_str(&texts::terminator(credential.terminator));
    }
    let date = stamp.get(..8).unwrap_or_default();
    if credential.date != date {
        wrong.push_str(&texts::scope_date(credential.date, date, stamp));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(texts::scope(wrong))
}

fn to_sign(canonical: &[u8], credential: &Credential<'_>, stamp: &str) -> String {
    let Credential { date, region, .. } = credential;
    let hash = hex(&Sha256::digest(canonical));
    format!("{ALGORITHM}\n{stamp}\n{date}/{region}/{SERVICE}/{TERMINATOR}\n{hash}")
}

/// The signature in hexadecimal.
fn sign(key: &AccessKey, credential: &Credential<'_>, to_sign: &[u8]) -> String {
    let secret = format!("AWS4{}", key.secret.reveal());
    let mut derived = mac(secret.as_bytes(), credential.date.as_bytes());
    for part in [credential.region, SERVICE, TERMINATOR] {
        derived = mac(&derived, part.as_bytes());
    }
    hex(&mac(&derived, to_sign))
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes any text");
    }
    text
}
