//! The server's settings: flag over environment over YAML file over default.
//!
//! [`SETTINGS`] is the one table; flags, variables, keys of the file and the reference page follow
//! from it. [`Config::load`] reads the sources and gives typed values, or one error that names the
//! setting, where its value came from, and the fix.

mod front;
mod limits;
mod roles;
mod size;
mod source;
mod table;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use millstream_types::{AccountId, Region};

use crate::memory::MemoryPlan;

pub use front::{AuthMode, CertificateSource, TlsPort};
pub use limits::{ACCOUNT_SHARDS_MAX, Limits};
pub use roles::{Member, Role, ShardRole};
pub use size::{ParseSizeError, parse_size};
use source::Sources;
pub use source::{ConfigError, Source};
pub use table::{SETTINGS, Setting};

/// Shortest and longest `--drain-seconds`.
const DRAIN_SECONDS_MAX: u64 = 3600;
/// Least size of a log file, of a segment, and of the log between two checkpoints.
const FILE_BYTES_MIN: u64 = 64 * 1024;
/// Largest size of the same.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;

/// Valid settings of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the process does.
    pub role: Role,
    /// Directory of the records.
    pub data_dir: PathBuf,
    /// Address of the API; on loopback unless signatures are verified.
    pub listen: SocketAddr,
    /// The API over TLS.
    pub tls: Option<TlsPort>,
    /// How callers are known.
    pub auth: AuthMode,
    /// Address of the admin port; on loopback unless the process is one of many, or the metrics
    /// ask for a token.
    pub admin_listen: SocketAddr,
    /// File with the token that `/metrics` asks for; without it they are shown on loopback alone.
    pub metrics_token_file: Option<PathBuf>,
    /// File or folder of manifests.
    pub manifests: Option<PathBuf>,
    /// File of keys; there is one where signatures are verified. Nothing reads it otherwise.
    pub credentials: Option<PathBuf>,
    /// Region of the server's own streams.
    pub region: Region,
    /// The account that every signature stands for in loopback mode, and of the manifests.
    pub account: AccountId,
    /// What an account may have.
    pub limits: Limits,
    /// Size of one write-ahead log file.
    pub wal_file_bytes: u64,
    /// Log bytes between two checkpoints.
    pub checkpoint_bytes: u64,
    /// Size at which a shard begins a new segment.
    pub segment_bytes: u64,
    /// The split of `--memory-bytes`.
    pub memory: MemoryPlan,
    /// Longest wait for requests under way.
    pub drain: Duration,
}

impl Config {
    /// Reads the settings from `flags` (by setting name), the environment, and the YAML file that
    /// one of them names.
    ///
    /// # Errors
    /// [`ConfigError`] with the setting, the source of its value, and the fix.
    pub fn load(
        flags: BTreeMap<&'static str, String>,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let sources = Sources::read(flags, env)?;
        let auth = sources.required("auth")?.parse_with(front::auth)?;
        let role = roles::role(&sources, auth, env)?;
        let metrics_token_file = optional_path(&sources, "metrics-token-file")?;
        let config = Self {
            data_dir: sources.required("data-dir")?.parse_with(path)?,
            listen: front::listen(sources.required("listen")?, auth)?,
            tls: front::tls(&sources, auth)?,
            auth,
            admin_listen: sources
                .required("admin-listen")?
                .parse_with(|text| admin(text, &role, metrics_token_file.is_some()))?,
            metrics_token_file,
            manifests: optional_path(&sources, "f")?,
            credentials: front::credentials(&sources, auth, &role)?,
            region: sources.required("region")?.parse_with(name)?,
            account: sources.required("account")?.parse_with(name)?,
            limits: sources.required("limits")?.parse_with(limits::parse)?,
            wal_file_bytes: sources.required("wal-file-bytes")?.parse_with(file_bytes)?,
            checkpoint_bytes: sources
                .required("checkpoint-bytes")?
                .parse_with(file_bytes)?,
            segment_bytes: sources.required("segment-bytes")?.parse_with(file_bytes)?,
            memory: sources.required("memory-bytes")?.parse_with(memory)?,
            drain: sources.required("drain-seconds")?.parse_with(seconds)?,
            role,
        };
        config.check_addresses(&sources)?;
        Ok(config)
    }

    const fn rpc_listen(&self) -> Option<SocketAddr> {
        match &self.role {
            Role::Shard(role) => Some(role.rpc_listen),
            Role::All | Role::Gateway(_) => None,
        }
    }

    /// No two listeners have one address.
    fn check_addresses(&self, sources: &Sources) -> Result<(), ConfigError> {
        let tls = self.tls.as_ref().map(|tls| tls.listen);
        for (later, address, earlier, other) in [
            (
                "admin-listen",
                Some(self.admin_listen),
                "listen",
                Some(self.listen),
            ),
            ("tls-listen", tls, "listen", Some(self.listen)),
            ("admin-listen", Some(self.admin_listen), "tls-listen", tls),
            (
                "rpc-listen",
                self.rpc_listen(),
                "admin-listen",
                Some(self.admin_listen),
            ),
        ] {
            if address.is_some_and(|address| address.port() != 0) && address == other {
                let problem =
                    format!("it is the address of --{earlier} too; give each its own port");
                // The TLS port may be where it is by default.
                let found = sources
                    .find(later)
                    .map_or_else(|| sources.required(earlier), Ok)?;
                return Err(found.refuse(&problem));
            }
        }
        Ok(())
    }
}

fn optional_path(sources: &Sources, name: &'static str) -> Result<Option<PathBuf>, ConfigError> {
    sources
        .find(name)
        .map(|found| found.parse_with(path))
        .transpose()
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("it is empty; give a path".to_owned());
    }
    Ok(PathBuf::from(text))
}

fn name<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port
            .parse()
            .ok()
            .map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        None => text.parse::<SocketAddr>().ok(),
    };
    address.ok_or_else(|| {
        "it is no address; write an IP address and a port, such as 127.0.0.1:4567".to_owned()
    })
}

/// Beyond loopback there are probes of Kubernetes, which show nothing, and metrics for a token.
fn admin(text: &str, role: &Role, has_token: bool) -> Result<SocketAddr, String> {
    let address = address(text)?;
    if address.ip().is_loopback() || role.is_member() || has_token {
        return Ok(address);
    }
    Err(
        "it is beyond loopback, where /metrics asks for a token; set --metrics-token-file, or use \
         127.0.0.1 or [::1]"
            .to_owned(),
    )
}

fn file_bytes(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    if (FILE_BYTES_MIN..=FILE_BYTES_MAX).contains(&bytes) {
        return Ok(bytes);
    }
    Err("it is out of range; use 64KiB to 64GiB".to_owned())
}

fn memory(text: &str) -> Result<MemoryPlan, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    MemoryPlan::new(bytes).map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().ok();
    match seconds.filter(|seconds| *seconds <= DRAIN_SECONDS_MAX) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("it is no whole number of seconds from 0 to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests;
