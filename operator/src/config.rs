//! The configuration file: pool classes, watched namespaces, accounts, image, region.
//!
//! The chart renders it into a ConfigMap and the operator reads it once, at its start; a change of
//! values rolls the operator. Unknown fields are refused. Pure but for [`OperatorConfig::read`].
//! Start with [`OperatorConfig`]; [`pool_class`] is what a pool's pods look like.

pub mod pool_class;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use millstream_types::{AccountId, Region};
use serde::{Deserialize, Serialize};

pub use pool_class::PoolClass;

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most pool classes.
const POOL_CLASSES_MAX: usize = 64;
/// Most peers in `networkPolicy.monitoring`.
const MONITORING_PEERS_MAX: usize = 64;
/// Longest name of a pool class: with the prefix and the suffixes of its pods it must stay a DNS
/// label.
const POOL_NAME_BYTES_MAX: usize = 32;
/// In `watchNamespaces`: every namespace of the cluster.
pub const ALL_NAMESPACES: &str = "*";

/// The whole file.
///
/// ```yaml
/// region: eu-west-1
/// watchNamespaces: [team-a, team-b]      # absent: the operator's own; ["*"]: all of them
/// accounts: {team-a: "000000000001"}     # absent: derived from the namespace's UID
/// image: {name: "example.test/millstream:0.1.0", pullPolicy: IfNotPresent}
/// poolClasses:
///   default:
///     pods: {min: 2, max: 8}
///     shardsPerPod: 500
///     storage: {className: fast, size: 20Gi}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorConfig {
    /// The AWS region that every stream is in.
    pub region: String,
    /// The namespaces whose objects are read: absent or empty means the operator's own, `["*"]`
    /// all of them.
    #[serde(default)]
    pub watch_namespaces: Vec<String>,
    /// The account of a namespace, 12 digits, where it shall not be derived from its UID.
    #[serde(default)]
    pub accounts: BTreeMap<String, String>,
    /// The data plane's image, run by shard pods.
    pub image: Image,
    /// The pools that a `DataStream` can name in `spec.pool`.
    pub pool_classes: BTreeMap<String, PoolClass>,
    /// The cluster's DNS domain.
    #[serde(default = "default_cluster_domain")]
    pub cluster_domain: String,
    /// Value of the label `app.kubernetes.io/instance`: the chart's release.
    #[serde(default = "default_instance")]
    pub instance: String,
    /// The control contract.
    #[serde(default)]
    pub contract: Contract,
    /// The gateways, so that network policies can name them.
    #[serde(default)]
    pub gateway: Gateway,
    /// The NetworkPolicies of pools.
    #[serde(default)]
    pub network_policy: NetworkPolicyRules,
    /// Where `/healthz`, `/readyz` and `/metrics` are.
    #[serde(default = "default_admin_listen")]
    pub admin_listen: SocketAddr,
    /// The election of the leader.
    #[serde(default)]
    pub lease: Lease,
    /// Most streams that are reconciled at once.
    #[serde(default = "default_concurrency")]
    pub concurrency: u16,
    /// Longest wait of a new leader for the expected servers before it places anything, in
    /// seconds.
    #[serde(default = "default_settle")]
    pub settle_seconds: u64,
}

/// An image and how it is pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// Repository and tag or digest.
    pub name: String,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(default = "default_pull_policy")]
    pub pull_policy: String,
    /// Secrets of the stream's namespace with which the image is pulled.
    #[serde(default)]
    pub pull_secrets: Vec<String>,
}

/// The control contract that servers attach to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Contract {
    /// Where the operator listens.
    pub listen: SocketAddr,
    /// The headless Service of the operator's pods.
    pub service: String,
    /// The port of that Service.
    pub port: u16,
    /// The audience of the tokens with which servers prove who they are.
    pub audience: String,
    /// The Secret, in the operator's namespace, with the certificate authority.
    pub ca_secret: String,
    /// The ConfigMap with the authority's certificates, in every namespace that has servers.
    pub ca_bundle: String,
}

impl Default for Contract {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 4570)),
            service: "millstream-operator".to_owned(),
            port: 4570,
            audience: "millstream-control".to_owned(),
            ca_secret: "millstream-ca".to_owned(),
            ca_bundle: "millstream-ca-bundle".to_owned(),
        }
    }
}

/// How the gateways' pods are found and named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Gateway {
    /// Labels of the gateways' pods; they run in the operator's namespace.
    pub pod_labels: BTreeMap<String, String>,
    /// The service account that the gateways run as.
    pub service_account: String,
}

impl Default for Gateway {
    fn default() -> Self {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        Self {
            pod_labels: BTreeMap::from([
                label("app.kubernetes.io/name", "millstream"),
                label("app.kubernetes.io/component", "gateway"),
            ]),
            service_account: "millstream-gateway".to_owned(),
        }
    }
}

/// The NetworkPolicies of pools: whether there are any, and who may reach the pods beside gateways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkPolicyRules {
    /// Whether a pool has one. If not, one of its name is deleted.
    pub enabled: bool,
    /// Who may use their admin port, as `from` of a NetworkPolicy in the operator's namespace. Empty:
    /// everyone.
    pub monitoring: Vec<NetworkPolicyPeer>,
}

impl Default for NetworkPolicyRules {
    fn default() -> Self {
        Self {
            enabled: true,
            monitoring: Vec::new(),
        }
    }
}

/// The lease that the replicas hold in turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Lease {
    /// The Lease object, in the operator's namespace.
    pub name: String,
    /// How long it holds without renewal, in seconds.
    pub duration_seconds: u32,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            name: "millstream-operator".to_owned(),
            duration_seconds: 15,
        }
    }
}

/// Why the configuration cannot be used. The text names the field and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It has another shape.
    #[error("configuration: {0}")]
    Shape(String),
    /// A value is refused.
    #[error("configuration: {field}: {problem}")]
    Value {
        /// The field.
        field: String,
        /// What is wrong with it, and the fix.
        problem: String,
    },
}

impl ConfigError {
    /// A refused value.
    pub(crate) fn value(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Value {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl OperatorConfig {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, has another shape, or a value is refused.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let refuse = |problem: String| ConfigError::File {
            path: path.to_owned(),
            problem,
        };
        let size = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
        if size.len() > FILE_BYTES_MAX {
            return Err(refuse(
                "it is over 1 MiB, too large for settings".to_owned(),
            ));
        }
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        Self::parse(&text)
    }

    /// Reads and checks `text`.
    ///
    /// # Errors
    /// When it has another shape, or a value is refused.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self =
            serde_yaml::from_str(text).map_err(|error| ConfigError::Shape(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// The region as a type.
    #[must_use]
    pub fn region(&self) -> Region {
        self.region.parse().expect("checked when it was read")
    }

    /// The configured account of `namespace`.
    #[must_use]
    pub fn account_of(&self, namespace: &str) -> Option<AccountId> {
        let digits = self.accounts.get(namespace)?;
        Some(digits.parse().expect("checked when it was read"))
    }

    /// The namespaces to watch; none means all of them.
    #[must_use]
    pub fn watched<'a>(&'a self, own: &'a str) -> Option<Vec<&'a str>> {
        if self
            .watch_namespaces
            .iter()
            .any(|name| name == ALL_NAMESPACES)
        {
            return None;
        }
        if self.watch_namespaces.is_empty() {
            return Some(vec![own]);
        }
        let distinct: BTreeSet<&str> = self.watch_namespaces.iter().map(String::as_str).collect();
        Some(distinct.into_iter().collect())
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let Err(error) = self.region.parse::<Region>() {
            return Err(ConfigError::value("region", error.to_string()));
        }
        if self.image.name.is_empty() {
            return Err(ConfigError::value("image.name", "is empty; name the image"));
        }
        if !["Always", "IfNotPresent", "Never"].contains(&self.image.pull_policy.as_str()) {
            let problem = "write Always, IfNotPresent or Never";
            return Err(ConfigError::value("image.pullPolicy", problem));
        }
        self.check_accounts()?;
        if self.pool_classes.is_empty() || self.pool_classes.len() > POOL_CLASSES_MAX {
            let problem = format!("write 1 to {POOL_CLASSES_MAX} pool classes");
            return Err(ConfigError::value("poolClasses", problem));
        }
        for (name, class) in &self.pool_classes {
            if !is_pool_name(name) {
                let problem = "write 1 to 32 characters of [a-z0-9-], first and last not -";
                return Err(ConfigError::value(format!("poolClasses.{name}"), problem));
            }
            class.check(name)?;
        }
        if self.concurrency == 0 {
            return Err(ConfigError::value("concurrency", "is 0; write at least 1"));
        }
        self.check_monitoring()?;
        if self.lease.duration_seconds < 5 {
            let problem = "is under 5; a short stall would end the operator";
            return Err(ConfigError::value("lease.durationSeconds", problem));
        }
        Ok(())
    }

    fn check_monitoring(&self) -> Result<(), ConfigError> {
        let field = "networkPolicy.monitoring";
        let peers = &self.network_policy.monitoring;
        if peers.len() > MONITORING_PEERS_MAX {
            let problem = format!("write at most {MONITORING_PEERS_MAX} peers");
            return Err(ConfigError::value(field, problem));
        }
        // The API server would refuse the policy, and the pool would not be made.
        if peers.contains(&NetworkPolicyPeer::default()) {
            let problem = "a peer needs ipBlock, namespaceSelector or podSelector";
            return Err(ConfigError::value(field, problem));
        }
        Ok(())
    }

    fn check_accounts(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeMap::new();
        for (namespace, account) in &self.accounts {
            let field = format!("accounts.{namespace}");
            if let Err(error) = account.parse::<AccountId>() {
                return Err(ConfigError::value(field, error.to_string()));
            }
            if let Some(other) = seen.insert(account, namespace) {
                let problem = format!("{account} is the account of {other} too; choose another");
                return Err(ConfigError::value(field, problem));
            }
        }
        Ok(())
    }
}

fn is_pool_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=POOL_NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn default_cluster_domain() -> String {
    "cluster.local".to_owned()
}

fn default_instance() -> String {
    "millstream".to_owned()
}

fn default_admin_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 4568))
}

fn default_pull_policy() -> String {
    "IfNotPresent".to_owned()
}

const fn default_concurrency() -> u16 {
    8
}

const fn default_settle() -> u64 {
    30
}

#[cfg(test)]
mod chart_tests;
#[cfg(test)]
mod tests;
