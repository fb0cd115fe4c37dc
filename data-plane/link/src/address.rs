//! Where a process listens: a host and a port.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest host, in characters: that of a DNS name.
const HOST_CHARS_MAX: usize = 253;

/// A text that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is '<host>:<port>', an IPv6 address stands in brackets")]
pub struct ParseAddressError;

/// A host (name or IP address) and a port, as `host:port`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

impl Address {
    /// The whole text, `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or("", |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        let port = self.0.rsplit_once(':').map_or("", |(_, port)| port);
        port.parse().unwrap_or_default()
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(ParseAddressError)?;
        let number: u16 = port.parse().map_err(|_| ParseAddressError)?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let good = match bracketed {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host(host),
        };
        if good && number.to_string() == port {
            Ok(Self(text.into()))
        } else {
            Err(ParseAddressError)
        }
    }
}

fn is_host(text: &str) -> bool {
    (1..=HOST_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self(address.to_string().into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({:?})", &*self.0)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_read_back() {
        for (text, host) in [
            (
                "shard-0.shards.team-a.svc:4569",
                "shard-0.shards.team-a.svc",
            ),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:65535", "::1"),
        ] {
            let address: Address = text.parse().expect("an address");
            assert_eq!((address.as_str(), address.host()), (text, host));
            assert!(text.ends_with(&format!(":{}", address.port())));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "", "a", "a:", ":1", "a:65536", "a:+1", "a:01", "::1:80", "a b:1", "a/b:1",
        ] {
            assert_eq!(bad.parse::<Address>(), Err(ParseAddressError), "{bad}");
        }
    }
}
