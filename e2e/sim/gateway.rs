//! One gateway: everything of the program but the ports for clients, and in their place the clients.

use std::sync::Arc;

use millstream_chassis::drain::drain;
use millstream_control::Role;
use millstream_server::roles::gateway::replica::Replica;

use crate::layout;
use crate::member::Life;
use crate::workload::{Gate, Workload};

/// What one life of a gateway is made of.
pub(crate) struct Gateway {
    pub(crate) life: Life,
    pub(crate) workload: Workload,
}

impl Gateway {
    /// Serves clients until the machine ends.
    pub(crate) async fn run(self) -> turmoil::Result {
        let name = self.life.machine.clone();
        let membership = self.life.join(&layout::identity(Role::Gateway, &name))?;
        let (clock, entropy) = (self.life.clock(), self.life.entropy());
        let (_signal, drain) = drain();
        let mut replica = Replica::open(&membership, &clock, &entropy, &drain).await;
        membership.report(|state| state.health.ready = true);
        let gate = Gate {
            name,
            life: self.life.life,
            streams: replica.streams().clone(),
            control: Arc::new(replica.control(&membership)),
        };
        tokio::select! {
            biased;
            never = replica.keep(&membership) => match never {},
            () = self.workload.run(gate) => Ok(()),
        }
    }
}
