//! Who a process is to the others: the URI in its certificate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const SCHEME: &str = "millstream://";
/// Longest namespace, in characters: a DNS label.
const NAMESPACE_CHARS_MAX: usize = 63;
/// Longest process name, in characters: that of a pod.
const NAME_CHARS_MAX: usize = 253;

/// What a process is there for, and so what the others let it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Serves clients.
    Gateway,
    /// Holds shards.
    Shard,
    /// Decides what exists and where.
    Operator,
}

impl Role {
    /// The role's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Shard => "shard",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, ParseIdentityError> {
        [Self::Gateway, Self::Shard, Self::Operator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(ParseIdentityError)
    }
}

/// A text that is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an identity is 'millstream://<namespace>/<role>/<name>': a DNS label, one of gateway, shard, \
     operator, and the name of a pod"
)]
pub struct ParseIdentityError;

/// One process: `millstream://<namespace>/<role>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    namespace: String,
    role: Role,
    name: String,
}

impl Identity {
    /// The process of this role and name in a namespace.
    ///
    /// # Errors
    /// When the namespace is no DNS label or the name is no pod's.
    pub fn new(namespace: &str, role: Role, name: &str) -> Result<Self, ParseIdentityError> {
        if is_name(namespace, NAMESPACE_CHARS_MAX, b"-") && is_name(name, NAME_CHARS_MAX, b"-.") {
            Ok(Self {
                namespace: namespace.to_owned(),
                role,
                name: name.to_owned(),
            })
        } else {
            Err(ParseIdentityError)
        }
    }

    /// The namespace that it runs in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Its name in the namespace: the pod's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn is_name(text: &str, chars_max: usize, inner: &[u8]) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=chars_max).contains(&text.len())
        && text.bytes().all(|b| plain(b) || inner.contains(&b))
        && text.bytes().next().is_some_and(plain)
        && text.bytes().next_back().is_some_and(plain)
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.namespace, self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, ParseIdentityError> {
        let path = text.strip_prefix(SCHEME).ok_or(ParseIdentityError)?;
        let mut parts = path.split('/');
        let (Some(namespace), Some(role), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseIdentityError);
        };
        Self::new(namespace, role.parse()?, name)
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Who is at the other end of an accepted connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerIdentity {
    /// It showed no certificate. Good for asking for one, and for nothing else.
    Anonymous,
    /// It proved who it is.
    Known(Identity),
}

impl PeerIdentity {
    /// The identity, where it was proved.
    #[must_use]
    pub const fn known(&self) -> Option<&Identity> {
        match self {
            Self::Anonymous => None,
            Self::Known(identity) => Some(identity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_as_shown() {
        let text = "millstream://team-a/shard/millstream-shard-default-0";
        let identity: Identity = text.parse().expect("an identity");
        assert_eq!(identity.to_string(), text);
        assert_eq!(
            (identity.namespace(), identity.role(), identity.name()),
            ("team-a", Role::Shard, "millstream-shard-default-0")
        );
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for bad in [
            "",
            "spiffe://a/shard/b",
            "millstream://a/shard",
            "millstream://a/shard/b/c",
            "millstream://a/root/b",
            "millstream://A/shard/b",
            "millstream:///shard/b",
            "millstream://a/shard/-b",
            "millstream://a.b/shard/b",
        ] {
            assert_eq!(bad.parse::<Identity>(), Err(ParseIdentityError), "{bad}");
        }
    }
}
