//! Keys and what must not be seen of them.

use std::fmt;

use millstream_types::AccountId;
use subtle::ConstantTimeEq as _;

/// A text that no log and no error shows.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for what signs with it or stores it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the same, in a time that does not tell how much of it is.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// A key that requests may be signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// What the credential of a request names; no secret.
    pub id: String,
    /// What signatures are made with.
    pub secret: Secret,
    /// The account that the key acts in.
    pub account: AccountId,
    /// What requests must carry beside the signature, if anything.
    pub session_token: Option<Secret>,
}
