//! One gateway: the routed shard log, the followed catalogues and the attachment as they are, and
//! the clients that come through it.

use std::sync::Arc;

use millstream_clock::{Clock, task};
use millstream_control::attach::{AttachOptions, AttachService};
use millstream_control::{DesiredState, Health, Keeper, MemoryStore, ObservedState, Role};
use millstream_link::Resolver;
use millstream_link::testkit::Claim;
use millstream_rpc::{Caller, Follower, Routed};
use millstream_stream::{Streams, TokenKey};
use tokio::sync::watch;

use crate::clock::{SimClock, entropy};
use crate::layout;
use crate::net::{Names, SimConnector};
use crate::workload::{Gate, Workload};

/// What one life of a gateway is made of.
pub(crate) struct Gateway {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) life: u64,
    pub(crate) clock: SimClock,
    pub(crate) names: Names,
    /// Its kept desired state: outlives the process.
    pub(crate) kept: MemoryStore,
    pub(crate) workload: Workload,
}

impl Gateway {
    /// Serves clients until the machine ends.
    pub(crate) async fn run(self) -> turmoil::Result {
        let me = layout::identity(Role::Gateway, &self.name);
        let net = SimConnector::new(&self.name, self.names.clone());
        let claim = || Arc::new(Claim::new(net.clone(), Some(me.clone())));
        let clock: Arc<dyn Clock> = Arc::new(self.clock);
        let entropy = entropy(self.seed, &self.name, self.life);
        let caller = Caller::new(
            millstream_rpc::Options::default(),
            claim(),
            Arc::clone(&clock),
        );
        let streams = Streams::replica(
            Arc::new(Routed::new(caller.clone())),
            millstream_stream::Options::default(),
            clock,
            Arc::clone(&entropy),
            &TokenKey::new([7; 32]),
        );
        let follower = Follower::new(streams.clone(), caller.clone());
        let seen = follower.seen();
        drop(task::spawn(
            "sim follower",
            follower.run(std::future::pending()),
        ));
        let keeper = Keeper::open(me.clone(), Box::new(self.kept))?;
        let reported = ObservedState {
            health: Health {
                ready: true,
                reason: None,
            },
            ..ObservedState::starting(me.clone())
        };
        let (_report, observed) = watch::channel(reported);
        let options = AttachOptions {
            operator: layout::address(layout::OPERATOR_SERVICE, layout::CONTRACT_PORT),
            expected: layout::operators(),
            resolver: Arc::new(net.clone()) as Arc<dyn Resolver>,
            connector: claim(),
            entropy,
        };
        let (attach, handle) = AttachService::new(options, keeper, observed);
        let (_stop, stopped) = watch::channel(false);
        drop(task::spawn("sim attach", attach.run(stopped)));
        drop(task::spawn(
            "sim routes",
            take_routes(handle.desired(), caller),
        ));
        let gate = Gate {
            name: self.name,
            life: self.life,
            streams,
            control: handle.control(),
            seen,
        };
        self.workload.run(gate).await;
        Ok(())
    }
}

/// Takes over where the groups are, as the operator says.
async fn take_routes(mut desired: watch::Receiver<Option<Arc<DesiredState>>>, caller: Caller) {
    loop {
        let state = desired.borrow_and_update().clone();
        if let Some(DesiredState::Gateway(state)) = state.as_deref() {
            for routes in &state.routes {
                let version = (routes.version.term, routes.version.counter);
                caller.place(&routes.pool.to_string(), version, &routes.endpoints());
            }
        }
        if desired.changed().await.is_err() {
            return;
        }
    }
}
