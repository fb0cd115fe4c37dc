//! Every setting as flags, variables and files spell it: the one table that they, the help and the
//! reference page follow from.
//!
//! What a value means is not here: [`super::Config`] makes typed values.

/// One setting as all sources spell it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Long flag without the dashes; the variable is `MILLSTREAM_<NAME>`, the file's key the same.
    pub name: &'static str,
    /// What stands for the value in the help.
    pub value: &'static str,
    /// The default; none when there is nothing to fall back on.
    pub default: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
}

impl Setting {
    /// The environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!(
            "MILLSTREAM_{}",
            self.name.to_ascii_uppercase().replace('-', "_")
        )
    }
}

/// Every setting of `millstream server`. `f` is the short flag `-f`.
pub const SETTINGS: [Setting; 30] = [
    setting(
        "config",
        "FILE",
        None,
        "YAML file with settings, keyed by their names",
    ),
    setting(
        "role",
        "ROLE",
        None,
        "shard or gateway: one process of many, under an operator; absent: everything in one process",
    ),
    setting(
        "data-dir",
        "DIR",
        Some("./millstream-data"),
        "directory of the records",
    ),
    setting(
        "listen",
        "HOST:PORT",
        Some("127.0.0.1:4567"),
        "address of the API; port 0 is any free port",
    ),
    setting(
        "admin-listen",
        "HOST:PORT",
        Some("127.0.0.1:4568"),
        "address of /healthz, /readyz and /metrics; beyond loopback with --metrics-token-file or \
         --role only",
    ),
    setting(
        "metrics-token-file",
        "FILE",
        None,
        "file with the bearer token that /metrics asks for, from anywhere; read at each request; \
         without it the metrics are shown on loopback only",
    ),
    setting(
        "f",
        "PATH",
        None,
        "file or folder of DataStream manifests; read again on SIGHUP",
    ),
    setting(
        "auth",
        "MODE",
        Some("loopback"),
        "loopback: any well-formed signature is the account, on loopback only; verify: signatures \
         are verified",
    ),
    setting(
        "credentials",
        "FILE",
        None,
        "YAML file of access keys for --auth verify; read again when it changes",
    ),
    setting(
        "tls",
        "WAY",
        None,
        "self-signed: a TLS port whose certificate the server makes, under a CA in the data \
         directory",
    ),
    setting(
        "tls-listen",
        "HOST:PORT",
        None,
        "address of the API over TLS; 127.0.0.1:4566 where there is a certificate",
    ),
    setting(
        "tls-cert",
        "FILE",
        None,
        "PEM file of the certificate for TLS, and of its chain; read again when it changes",
    ),
    setting(
        "tls-key",
        "FILE",
        None,
        "PEM file of the certificate's key; read again when it changes",
    ),
    setting(
        "tls-names",
        "NAMES",
        None,
        "names and addresses in the self-signed certificate, separated by commas, beside localhost",
    ),
    setting(
        "region",
        "REGION",
        Some("us-east-1"),
        "region of the streams",
    ),
    setting(
        "account",
        "ACCOUNT",
        Some("000000000000"),
        "twelve-digit account of the streams",
    ),
    setting(
        "limits",
        "LIMITS",
        Some("unlimited"),
        "unlimited: none per shard; or a YAML file of account limits; without --role only",
    ),
    setting(
        "wal-file-bytes",
        "SIZE",
        Some("64MiB"),
        "size of one write-ahead log file",
    ),
    setting(
        "checkpoint-bytes",
        "SIZE",
        Some("256MiB"),
        "log bytes between two checkpoints",
    ),
    setting(
        "segment-bytes",
        "SIZE",
        Some("64MiB"),
        "size at which a shard begins a new segment",
    ),
    setting(
        "memory-bytes",
        "SIZE",
        Some("512MiB"),
        "memory for requests, responses and the engine; at least 128MiB",
    ),
    setting(
        "drain-seconds",
        "SECONDS",
        Some("20"),
        "longest wait for requests under way at the end; not of a shard server",
    ),
    setting(
        "operator",
        "HOST:PORT",
        None,
        "contract port of the operator, for --role; a name may stand for several addresses",
    ),
    setting(
        "token-file",
        "FILE",
        None,
        "token of the pod's service account, for --role; read again for each certificate",
    ),
    setting(
        "ca-file",
        "FILE",
        None,
        "PEM file of the authorities that are trusted, for --role; read again when it changes",
    ),
    setting(
        "pool",
        "POOL",
        None,
        "pool of a shard server in its namespace",
    ),
    setting(
        "rpc-listen",
        "HOST:PORT",
        Some("127.0.0.1:4569"),
        "address of a shard server for gateways and other shard servers, with mutual TLS",
    ),
    setting(
        "pod-name",
        "NAME",
        None,
        "name of the pod, for --role; POD_NAME unless it is set",
    ),
    setting(
        "pod-namespace",
        "NAME",
        None,
        "namespace of the pod, for --role; POD_NAMESPACE unless it is set",
    ),
    setting(
        "operator-namespace",
        "NAME",
        None,
        "namespace of the operator's pods, for --role; that in --operator unless it is set, or the pod's own where that is an IP address or one word",
    ),
];

const fn setting(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        value,
        default,
        help,
    }
}
