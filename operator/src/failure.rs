//! Why the operator ended, and the exit code that says so. The codes are those of
//! `millstream server`, and one more for the lost lease.

use std::net::SocketAddr;

use crate::config::ConfigError;

/// The configuration or an address cannot be used.
pub const EXIT_CONFIGURATION: u8 = 2;
/// The authority that is kept in the cluster cannot be read.
pub const EXIT_CORRUPT: u8 = 4;
/// The system or the API server refused.
pub const EXIT_IO: u8 = 5;
/// Another replica leads now; this one must not go on with what it remembers.
pub const EXIT_LEASE_LOST: u8 = 6;

/// Why the operator could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An environment variable or a flag.
    #[error("{0}")]
    Setting(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; free the port or choose another")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something that is kept in the cluster cannot be read.
    #[error("{object}: {problem}")]
    Kept {
        /// The object's kind, namespace and name.
        object: String,
        /// What is wrong with it, and the fix.
        problem: String,
    },
    /// The API server refused what the operator cannot do without.
    #[error("{what}: {reason}")]
    ApiServer {
        /// What was asked for.
        what: String,
        /// What it said.
        reason: String,
    },
    /// The system refused what a process needs.
    #[error("{what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another replica leads.
    #[error("the lease was lost; another replica leads")]
    LeaseLost,
}

impl Failure {
    /// The exit code of the process.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Setting(_) | Self::Listen { .. } => EXIT_CONFIGURATION,
            Self::Kept { .. } => EXIT_CORRUPT,
            Self::ApiServer { .. } | Self::System { .. } => EXIT_IO,
            Self::LeaseLost => EXIT_LEASE_LOST,
        }
    }

    /// The API server refused `what`.
    pub(crate) fn api(what: impl Into<String>, error: &kube::Error) -> Self {
        Self::ApiServer {
            what: what.into(),
            reason: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let listen = Failure::Listen {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            source: std::io::Error::other("no"),
        };
        let kept = Failure::Kept {
            object: "Secret a/b".to_owned(),
            problem: "no key".to_owned(),
        };
        for (failure, code) in [
            (Failure::Config(ConfigError::Shape("x".to_owned())), 2),
            (listen, 2),
            (kept, 4),
            (Failure::LeaseLost, 6),
        ] {
            assert_eq!(failure.exit_code(), code, "{failure}");
        }
    }
}
