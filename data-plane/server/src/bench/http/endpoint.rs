//! The address of a server.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

/// `http://HOST:PORT`, resolved. Only loopback: a measurement is no business of other machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) addr: SocketAddr,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(authority) = text.strip_prefix("http://") else {
            return Err("write raw, wal, engine, paced, http or http://HOST:PORT".to_owned());
        };
        let authority = authority.trim_end_matches('/');
        let mut found = authority
            .to_socket_addrs()
            .map_err(|error| format!("'{authority}': {error}; write HOST:PORT"))?;
        match found.find(|addr| addr.ip().is_loopback()) {
            Some(addr) => Ok(Self { addr }),
            None => Err(format!("'{authority}' is not on loopback")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_on_loopback_is_taken() {
        let endpoint: Endpoint = "http://127.0.0.1:4567/".parse().expect("an endpoint");
        assert_eq!(endpoint.to_string(), "http://127.0.0.1:4567");
        for bad in [
            "https://127.0.0.1:1",
            "http://10.0.0.1:80",
            "http://127.0.0.1",
            "engines",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
