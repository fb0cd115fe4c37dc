//! A simulated process as a member of the data plane: its kept state, its clock and its network
//! under the program's own membership.

use std::sync::Arc;

use millstream_clock::{Clock, Entropy};
use millstream_control::attach::AttachOptions;
use millstream_control::{Identity, Keeper, MemoryStore};
use millstream_link::testkit::Claim;
use millstream_server::roles::member::Membership;

use crate::clock::{SimClock, entropy};
use crate::layout;
use crate::net::{Names, SimConnector};

/// One life of a process on a machine.
pub(crate) struct Life {
    pub(crate) machine: String,
    pub(crate) seed: u64,
    pub(crate) life: u64,
    pub(crate) clock: SimClock,
    pub(crate) names: Names,
    /// Its kept desired state: outlives the process.
    pub(crate) kept: MemoryStore,
}

impl Life {
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock)
    }

    pub(crate) fn entropy(&self) -> Arc<dyn Entropy> {
        entropy(self.seed, &self.machine, self.life)
    }

    /// Attaches to the operator, and stays attached.
    pub(crate) fn join(&self, me: &Identity) -> Result<Membership, Box<dyn std::error::Error>> {
        let net = SimConnector::new(&self.machine, self.names.clone());
        let keeper = Keeper::open(me.clone(), Box::new(self.kept.clone()))?;
        let options = AttachOptions {
            operator: layout::address(layout::OPERATOR_SERVICE, layout::CONTRACT_PORT),
            expected: layout::operators(),
            resolver: Arc::new(net.clone()),
            connector: Arc::new(Claim::new(net, Some(me.clone()))),
            entropy: self.entropy(),
        };
        Ok(Membership::attach(me.clone(), keeper, options))
    }
}
