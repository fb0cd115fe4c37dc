//! Where a process is called, and who has to answer there.
//!
//! An address says little: pods come and go, and another may have it by now. So whoever opens a
//! connection says who is meant, and the connector refuses everybody else.

use std::fmt;

use crate::{Address, Identity, Role};

/// Who has to be at the other end of a connection that is opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expected {
    /// This process and no other.
    Process(Identity),
    /// Any process of a role in a namespace: for replicas behind one name, whose pods are not
    /// known.
    AnyOf {
        /// The namespace.
        namespace: String,
        /// The role.
        role: Role,
    },
}

impl Expected {
    /// Whether `found` is who was meant.
    #[must_use]
    pub fn is_met_by(&self, found: &Identity) -> bool {
        match self {
            Self::Process(identity) => identity == found,
            Self::AnyOf { namespace, role } => {
                found.namespace() == namespace && found.role() == *role
            },
        }
    }

    /// Refuses everybody else.
    ///
    /// # Errors
    /// When `found` is not who was meant.
    pub(crate) fn check(&self, found: &Identity) -> Result<(), WrongIdentity> {
        if self.is_met_by(found) {
            return Ok(());
        }
        Err(WrongIdentity {
            found: found.clone(),
            expected: self.clone(),
        })
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(identity) => identity.fmt(f),
            Self::AnyOf { namespace, role } => write!(f, "any {role} of namespace {namespace}"),
        }
    }
}

/// Another process answers than was meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} answers, {expected} was expected")]
pub(crate) struct WrongIdentity {
    found: Identity,
    expected: Expected,
}

/// Where a process is called, and who has to answer there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Where it listens. It may be an IP address: names of hosts are not looked at.
    pub address: Address,
    /// Where it listened last, if that is known: tried first by
    /// [`DirectFirst`](crate::direct::DirectFirst), and nothing more than a hint.
    pub direct: Option<Address>,
    /// Who it has to be.
    pub expected: Expected,
}

impl Endpoint {
    /// Whoever is expected, at this address.
    #[must_use]
    pub const fn new(address: Address, expected: Expected) -> Self {
        Self {
            address,
            direct: None,
            expected,
        }
    }

    /// This process, at this address.
    #[must_use]
    pub const fn of(address: Address, identity: Identity) -> Self {
        Self::new(address, Expected::Process(identity))
    }

    /// The same process, which listened here last.
    #[must_use]
    pub fn directly(mut self, direct: Option<Address>) -> Self {
        self.direct = direct;
        self
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.expected, self.address)
    }
}
