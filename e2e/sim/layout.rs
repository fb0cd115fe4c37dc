//! Which processes a simulation has, and what they are called.

use std::sync::LazyLock;

use millstream_control::{Access, PoolId, PoolSpec, Seat, Secret};
use millstream_link::{Address, Expected, Identity, Role};
use millstream_types::{GroupId, Scope};

/// Shard servers of the one pool.
pub(crate) const SHARD_SERVERS: u32 = 3;
/// Gateways.
pub(crate) const GATEWAYS: u32 = 2;
/// Replicas of the operator.
pub(crate) const OPERATORS: u32 = 2;
/// Port of the shard servers and gateways.
pub(crate) const RPC_PORT: u16 = 4569;
/// Port of the control contract.
pub(crate) const CONTRACT_PORT: u16 = 4570;
/// Name of all replicas of the operator together.
pub(crate) const OPERATOR_SERVICE: &str = "millstream-operator";

/// The one namespace of streams.
pub(crate) const NAMESPACE: &str = "team-a";
const SYSTEM_NAMESPACE: &str = "millstream";

static SCOPE: LazyLock<Scope> = LazyLock::new(|| Scope {
    account: "000000000007".parse().expect("an account"),
    region: "us-east-1".parse().expect("a region"),
});

/// The one account's scope.
pub(crate) fn scope() -> &'static Scope {
    &SCOPE
}

/// The one pool.
pub(crate) fn pool() -> PoolId {
    PoolId::new(NAMESPACE, "default").expect("two labels")
}

/// The group of a shard server.
pub(crate) fn group(ordinal: u32) -> GroupId {
    pool().group(ordinal)
}

/// The pool as the operator wants it.
pub(crate) fn pool_spec() -> PoolSpec {
    let seat = |ordinal| Seat {
        pod: shard_server(ordinal),
        address: address(&shard_server(ordinal), RPC_PORT),
        direct: None,
    };
    PoolSpec {
        id: pool(),
        seats: (0..SHARD_SERVERS).map(seat).collect(),
    }
}

/// What a shard server is called, whichever machine it runs on.
pub(crate) fn shard_server(ordinal: u32) -> String {
    format!("shard-{ordinal}")
}

/// The machines that a shard server can run on: a pod comes back elsewhere while its former
/// machine cannot be reached.
pub(crate) fn shard_machine(ordinal: u32, which: u32) -> String {
    format!("machine-{ordinal}-{which}")
}

/// What a gateway and its machine are called.
pub(crate) fn gateway(index: u32) -> String {
    format!("gateway-{index}")
}

/// What a replica of the operator and its machine are called.
pub(crate) fn operator(index: u32) -> String {
    format!("operator-{index}")
}

/// The identity of a process.
pub(crate) fn identity(role: Role, name: &str) -> Identity {
    let namespace = match role {
        Role::Shard => NAMESPACE,
        Role::Gateway | Role::Operator => SYSTEM_NAMESPACE,
    };
    Identity::new(namespace, role, name).expect("a pod's name")
}

/// Any replica of the operator.
pub(crate) fn operators() -> Expected {
    Expected::AnyOf {
        namespace: SYSTEM_NAMESPACE.to_owned(),
        role: Role::Operator,
    }
}

/// What gateways are told beside the routes: whose the namespace is, and the key that seals
/// iterators.
pub(crate) fn access() -> Access {
    Access {
        token_key: Some(Secret::new("07".repeat(32))),
        accounts: [(NAMESPACE.to_owned(), SCOPE.account.clone())].into(),
        ..Access::default()
    }
}

/// A port of a machine.
pub(crate) fn address(machine: &str, port: u16) -> Address {
    format!("{machine}:{port}")
        .parse()
        .expect("a host and a port")
}
