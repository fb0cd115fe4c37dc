//! Why a server ended, and the exit code that says so.

use std::net::SocketAddr;

use millstream_chassis::ConfigError;
use millstream_chassis::telemetry::TelemetryError;
use millstream_storage::volume::OpenError;
use millstream_stream::error::OpenError as StreamsError;

use crate::front::FrontError;
use crate::local_control::ManifestsError;
use crate::local_control::node::NodeFileError;
use crate::roles::member::MemberError;

/// Settings, manifests or addresses cannot be used.
pub const EXIT_CONFIGURATION: u8 = 2;
/// Another process holds the data directory.
pub const EXIT_LOCKED: u8 = 3;
/// Acknowledged data is damaged.
pub const EXIT_CORRUPT: u8 = 4;
/// The system refused.
pub const EXIT_IO: u8 = 5;

/// Why a server could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log settings.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// An address cannot be listened on.
    #[error(
        "setting '{setting}': cannot listen on {address}: {source}; free the port or choose another"
    )]
    Listen {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data directory cannot be opened.
    #[error("{}", opened(.0))]
    Open(#[from] OpenError),
    /// The rows of the streams cannot be read.
    #[error("data directory: {0}")]
    Streams(#[from] StreamsError),
    /// A file of the data directory cannot be used.
    #[error(transparent)]
    Node(#[from] NodeFileError),
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Front(FrontError),
    /// The process cannot be one of many.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The manifests of `-f` cannot be applied.
    #[error("setting 'f': {0}")]
    Manifests(#[from] ManifestsError),
    /// The disk failed while the server ran.
    #[error("the store failed: {0}")]
    Store(String),
    /// The system refused what a process needs.
    #[error("{what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<FrontError> for Failure {
    fn from(error: FrontError) -> Self {
        match error {
            FrontError::Node(error) => Self::Node(error),
            error => Self::Front(error),
        }
    }
}

impl Failure {
    /// The exit code of the process.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Telemetry(_)
            | Self::Member(
                MemberError::Identity(_) | MemberError::Operator(_) | MemberError::Certify(_),
            )
            | Self::Listen { .. }
            | Self::Front(
                FrontError::File { .. } | FrontError::Node(NodeFileError::TlsKey { .. }),
            )
            | Self::Node(NodeFileError::TlsKey { .. })
            | Self::Open(OpenError::Options(_)) => EXIT_CONFIGURATION,
            Self::Open(OpenError::Locked { .. }) => EXIT_LOCKED,
            Self::Open(OpenError::Corrupt { .. })
            | Self::Streams(_)
            | Self::Member(MemberError::Keep(_))
            | Self::Node(NodeFileError::Key { .. } | NodeFileError::State { .. }) => EXIT_CORRUPT,
            Self::Manifests(error) if error.is_configuration() => EXIT_CONFIGURATION,
            Self::Open(OpenError::Io { .. })
            | Self::Node(NodeFileError::Io { .. })
            | Self::Front(_)
            | Self::Manifests(_)
            | Self::Store(_)
            | Self::System { .. } => EXIT_IO,
        }
    }
}

/// The engine's words, with the fix where there is one.
fn opened(error: &OpenError) -> String {
    match error {
        OpenError::Locked { .. } => {
            format!("{error}; stop it or choose another --data-dir")
        },
        OpenError::Corrupt { .. } => format!(
            "{error}; acknowledged records may be lost: restore a copy, or look with 'millstream \
             storage verify' and give up what is lost with 'millstream storage repair'"
        ),
        OpenError::Options(problem) => {
            format!("{problem}; change --wal-file-bytes, --checkpoint-bytes or --segment-bytes")
        },
        OpenError::Io { .. } => format!("{error}; check --data-dir and its disk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let corrupt = OpenError::Corrupt {
            file: "wal/1.wal".to_owned(),
            offset: 4096,
            lsn: 8192,
            reason: "checksum".to_owned(),
        };
        let text = Failure::from(corrupt).to_string();
        assert!(text.contains("wal/1.wal") && text.contains("4096") && text.contains("8192"));
        let io = || std::io::Error::other("no");
        let what = "reading".to_owned();
        for (failure, code) in [
            (Failure::Open(OpenError::Options("bad")), 2),
            (
                Failure::Open(OpenError::Locked {
                    dir: "d".to_owned(),
                }),
                3,
            ),
            (Failure::Open(OpenError::Io { what, source: io() }), 5),
            (Failure::Store("fdatasync".to_owned()), 5),
            (
                Failure::Listen {
                    setting: "listen",
                    address: "127.0.0.1:1".parse().expect("an address"),
                    source: io(),
                },
                2,
            ),
        ] {
            assert_eq!(failure.exit_code(), code, "{failure}");
        }
    }
}
