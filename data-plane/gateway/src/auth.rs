//! Who calls: the scope that a request acts in.
//!
//! In loopback mode any well-formed signature stands for the server's account; nothing is verified,
//! which is why the server listens on loopback alone then. In verify mode the key that signed the
//! request says the account. What a signature is, and AWS's errors, are in
//! [`millstream_protocol::sigv4`].

use std::borrow::Cow;

use http::request::Parts;
use millstream_clock::Clock;
use millstream_protocol::ServiceError;
use millstream_protocol::sigv4::{Authorization, Policy, RequestHead};
use millstream_types::{Region, Scope};

use crate::credentials::Credentials;

/// How callers are known.
#[derive(Clone, Debug)]
pub enum Auth {
    /// By nothing: any well-formed signature is the server's account. Only on loopback.
    Loopback,
    /// By these keys.
    Verify(Credentials),
}

/// What protects a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

/// What a request is checked against.
#[derive(Clone, Copy)]
pub(crate) struct Authenticator<'a> {
    pub(crate) auth: &'a Auth,
    pub(crate) home: &'a Scope,
    pub(crate) clock: &'a dyn Clock,
}

impl<'a> Authenticator<'a> {
    /// The scope that a request acts in.
    ///
    /// # Errors
    /// AWS's errors for a signature that is missing, incomplete or wrong.
    pub(crate) fn scope(
        self,
        parts: &Parts,
        body: &[u8],
        transport: Transport,
    ) -> Result<Cow<'a, Scope>, ServiceError> {
        let headers = headers(parts);
        let head = head(parts, &headers);
        let authorization = Authorization::read(&head)?;
        let credentials = match self.auth {
            Auth::Loopback => return self.any_region(authorization.region()?),
            Auth::Verify(credentials) => credentials,
        };
        let find = |id: &str| credentials.find(id);
        let key = authorization.verify(&head, body, &self.policy(transport), find)?;
        if key.account == self.home.account {
            return Ok(Cow::Borrowed(self.home));
        }
        Ok(Cow::Owned(Scope {
            account: key.account.clone(),
            region: self.home.region.clone(),
        }))
    }

    /// What is wrong with a request already before its body is read, so that it is sure to be
    /// refused. In loopback mode that is left to [`Self::scope`]: nobody is a stranger there, and
    /// anybody can make a signature.
    ///
    /// # Errors
    /// As for [`Self::scope`].
    pub(crate) fn check_head(
        self,
        parts: &Parts,
        transport: Transport,
    ) -> Result<(), ServiceError> {
        let Auth::Verify(credentials) = self.auth else {
            return Ok(());
        };
        let headers = headers(parts);
        let head = head(parts, &headers);
        let authorization = Authorization::read(&head)?;
        let find = |id: &str| credentials.find(id);
        let policy = self.policy(transport);
        authorization.identify(&head, &policy, find).map(drop)
    }

    fn policy(&self, transport: Transport) -> Policy<'a> {
        Policy {
            region: self.home.region.as_str(),
            now_ms: self.clock.now().0,
            unsigned_body: transport == Transport::Tls,
        }
    }

    /// The server's account, in the region of the credential.
    fn any_region(self, region: &str) -> Result<Cow<'a, Scope>, ServiceError> {
        if region == self.home.region.as_str() {
            return Ok(Cow::Borrowed(self.home));
        }
        let Ok(region) = region.parse::<Region>() else {
            return Err(Authorization::wrong_region(region));
        };
        Ok(Cow::Owned(Scope {
            account: self.home.account.clone(),
            region,
        }))
    }
}

fn headers(parts: &Parts) -> Vec<(&str, &[u8])> {
    let headers = parts.headers.iter();
    headers
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect()
}

fn head<'a>(parts: &'a Parts, headers: &'a [(&'a str, &'a [u8])]) -> RequestHead<'a> {
    RequestHead {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
        headers,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use millstream_clock::ManualClock;
    use millstream_protocol::ErrorCode;
    use millstream_types::Millis;

    use super::*;

    fn home() -> Scope {
        Scope {
            account: "000000000000".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        }
    }

    fn region_of(credential: &str, auth: &Auth) -> Result<String, ErrorCode> {
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=ab");
        let request = Request::post("/")
            .header("authorization", authorization)
            .header("x-amz-date", "20260101T000000Z");
        let Ok(request) = request.body(()) else {
            panic!("{credential} makes no request");
        };
        let (parts, ()) = request.into_parts();
        let home = home();
        let authenticator = Authenticator {
            auth,
            home: &home,
            clock: &ManualClock::new(Millis(1_767_225_600_000)),
        };
        let found = authenticator.scope(&parts, b"{}", Transport::Plain);
        found
            .map(|scope| scope.region.to_string())
            .map_err(|error| error.code)
    }

    #[test]
    fn in_loopback_mode_any_key_is_the_account_in_its_region() {
        for (region, found) in [
            ("us-east-1", Ok("us-east-1".to_owned())),
            ("eu-west-3", Ok("eu-west-3".to_owned())),
            ("US", Err(ErrorCode::InvalidSignature)),
            ("", Err(ErrorCode::InvalidSignature)),
        ] {
            let credential = format!("k/20260101/{region}/kinesis/aws4_request");
            assert_eq!(region_of(&credential, &Auth::Loopback), found, "{region}");
        }
    }

    #[test]
    fn in_verify_mode_another_region_is_an_invalid_signature_before_the_key_is_looked_at() {
        let none = Auth::Verify(Credentials::default());
        for (region, code) in [
            ("us-east-1", ErrorCode::UnrecognizedClient),
            ("eu-west-3", ErrorCode::InvalidSignature),
        ] {
            let credential = format!("k/20260101/{region}/kinesis/aws4_request");
            assert_eq!(region_of(&credential, &none), Err(code), "{region}");
        }
    }
}
