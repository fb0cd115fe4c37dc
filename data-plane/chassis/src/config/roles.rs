//! The settings of a process that is one of many: what it does, who it is, and whom it belongs to.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use millstream_types::GroupId;

use super::source::{ConfigError, Sources};
use super::{AuthMode, address, path};

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything, over its own data directory.
    All,
    /// It holds the shards of one log group.
    Shard(ShardRole),
    /// It serves clients, over the shards of other processes.
    Gateway(Member),
}

/// Who a process is among the others, and how it proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The namespace of its pod.
    pub namespace: String,
    /// The name of its pod.
    pub pod: String,
    /// `host:port` of the operator's contract port.
    pub operator: String,
    /// The namespace of the operator's pods, where its address does not say it.
    pub operator_namespace: Option<String>,
    /// File with the pod's service-account token.
    pub token_file: PathBuf,
    /// File with the authorities whose certificates are trusted.
    pub ca_file: PathBuf,
}

/// A shard server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRole {
    /// Who it is.
    pub member: Member,
    /// The group that it holds, from namespace, pool and the number at the end of the pod's name.
    pub group: GroupId,
    /// Address of its port for gateways and other shard servers.
    pub rpc_listen: SocketAddr,
}

impl Role {
    /// Whether it is one process of many.
    #[must_use]
    pub const fn is_member(&self) -> bool {
        !matches!(self, Self::All)
    }
}

/// Reads the role and what it needs.
pub(super) fn role(
    sources: &Sources,
    auth: AuthMode,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Role, ConfigError> {
    let Some(found) = sources.find("role") else {
        return Ok(Role::All);
    };
    let role = found.parse_with(|text| match text {
        "shard" | "gateway" => Ok(text.to_owned()),
        _ => Err("it is no role; use 'shard' or 'gateway', or leave it out".to_owned()),
    })?;
    let member = Member {
        namespace: named(sources, "pod-namespace", "POD_NAMESPACE", env)?,
        pod: named(sources, "pod-name", "POD_NAME", env)?,
        operator: needed(sources, "operator")?.parse_with(host_and_port)?,
        operator_namespace: sources
            .find("operator-namespace")
            .map(|found| found.parse_with(namespace))
            .transpose()?,
        token_file: needed(sources, "token-file")?.parse_with(path)?,
        ca_file: needed(sources, "ca-file")?.parse_with(path)?,
    };
    if role == "gateway" {
        if auth != AuthMode::Verify {
            return Err(
                found.refuse("a gateway knows its callers by their keys; set --auth verify")
            );
        }
        return Ok(Role::Gateway(member));
    }
    let pool = needed(sources, "pool")?;
    let ordinal = ordinal_of(&member.pod).ok_or_else(|| {
        found.refuse("the name of a shard server's pod ends in '-' and its number in the pool")
    })?;
    let group = pool.parse_with(|pool| {
        let group = GroupId::new(&member.namespace, pool, ordinal);
        group.map_err(|error| error.to_string())
    })?;
    let rpc_listen = sources.required("rpc-listen")?.parse_with(address)?;
    Ok(Role::Shard(ShardRole {
        member,
        group,
        rpc_listen,
    }))
}

/// A setting that a role cannot do without.
fn needed<'a>(
    sources: &'a Sources,
    name: &'static str,
) -> Result<&'a super::source::Found, ConfigError> {
    sources.required(name)
}

/// A setting, or the variable without our prefix that a pod's own fields are commonly given in.
fn named(
    sources: &Sources,
    name: &'static str,
    variable: &str,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<String, ConfigError> {
    if let Some(found) = sources.find(name) {
        return found.parse_with(|text| Ok(text.to_owned()));
    }
    match env(variable).map(OsString::into_string) {
        Some(Ok(text)) => Ok(text),
        Some(Err(_)) => Err(ConfigError::NotText(variable.to_owned())),
        None => sources.required(name).map(|_| String::new()),
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let number = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match number {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err("it is no address; write a host and a port, such as operator:4570".to_owned()),
    }
}

/// A namespace's name is one part of a DNS name.
fn namespace(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name = (1..=63).contains(&text.len())
        && text.chars().all(fits)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if is_name {
        return Ok(text.to_owned());
    }
    Err(
        "it is no namespace; write 1 to 63 characters of [a-z0-9-], first and last not -"
            .to_owned(),
    )
}

fn ordinal_of(pod: &str) -> Option<u32> {
    pod.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Config;

    const MEMBER: [(&str, &str); 3] = [
        ("operator", "millstream-operator.millstream.svc:4570"),
        ("token-file", "/t"),
        ("ca-file", "/c"),
    ];

    /// Loads with the flags, as the pod `shard-3` of the namespace `team-a`.
    fn load(flags: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        let flags: BTreeMap<&'static str, String> = flags
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect();
        Config::load(flags, &|name| match name {
            "POD_NAME" => Some("shard-3".into()),
            "POD_NAMESPACE" => Some("team-a".into()),
            _ => None,
        })
    }

    fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        [&MEMBER[..], more].concat()
    }

    #[test]
    fn without_a_role_a_process_is_everything() {
        assert_eq!(load(&[]).expect("valid").role, Role::All);
    }

    #[test]
    fn a_shard_server_holds_the_group_of_its_pod() {
        let flags = with(&[
            ("role", "shard"),
            ("pool", "fast"),
            ("admin-listen", "0.0.0.0:4568"),
        ]);
        let Role::Shard(role) = load(&flags).expect("valid").role else {
            panic!("it is a shard server");
        };
        assert_eq!(role.group.as_str(), "team-a/fast/3");
        assert_eq!(role.member.pod, "shard-3");
        assert_eq!(role.rpc_listen.port(), 4569);
        let named = with(&[("role", "shard"), ("pool", "fast"), ("pod-name", "other")]);
        let problem = load(&named).expect_err("no number").to_string();
        assert!(problem.contains("its number in the pool"), "{problem}");
        let problem = load(&with(&[("role", "shard"), ("pool", "No")])).expect_err("no pool");
        assert!(problem.to_string().contains("'pool'"), "{problem}");
    }

    #[test]
    fn a_gateway_verifies_and_gets_its_keys_from_the_operator() {
        let flags = with(&[
            ("role", "gateway"),
            ("auth", "verify"),
            ("listen", "0.0.0.0:4567"),
        ]);
        let config = load(&flags).expect("valid");
        assert!(matches!(config.role, Role::Gateway(_)));
        assert_eq!(config.credentials, None);
        let problem = load(&with(&[("role", "gateway")])).expect_err("unverified");
        assert!(
            problem.to_string().contains("set --auth verify"),
            "{problem}"
        );
    }

    #[test]
    fn the_operators_namespace_is_the_operators_own_to_say() {
        let gateway = [
            ("role", "gateway"),
            ("auth", "verify"),
            ("listen", "0.0.0.0:4567"),
        ];
        let at = |more: &[(&'static str, &'static str)]| {
            let config = load(&[&with(&gateway)[..], more].concat())?;
            match config.role {
                Role::Gateway(member) => Ok::<_, ConfigError>(member.operator_namespace),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(at(&[]), Ok(None));
        let named = at(&[("operator-namespace", "millstream-system")]);
        assert_eq!(named, Ok(Some("millstream-system".to_owned())));
        for wrong in ["", "a.b", "Upper", "-a"] {
            let problem = at(&[("operator-namespace", wrong)]).expect_err("no namespace");
            assert!(problem.to_string().contains("no namespace"), "{problem}");
        }
    }

    #[test]
    fn what_a_role_needs_is_named() {
        for (missing, _) in MEMBER {
            let flags: Vec<_> = with(&[("role", "gateway"), ("auth", "verify")])
                .into_iter()
                .filter(|(name, _)| *name != missing)
                .collect();
            let problem = load(&flags).expect_err("incomplete").to_string();
            assert!(
                problem.contains(&format!("setting '{missing}'")),
                "{problem}"
            );
        }
        let problem = load(&[("role", "queen")]).expect_err("no role").to_string();
        assert!(problem.contains("use 'shard' or 'gateway'"), "{problem}");
    }
}
