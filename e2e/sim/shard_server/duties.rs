//! What a shard server does with its desired state, and what it reports. The decisions are those of
//! the program ([`Homes`]); here they are only carried on.

use std::sync::Arc;
use std::time::Duration;

use millstream_clock::task;
use millstream_control::{DesiredState, Health, Identity, ObservedState, ShardDesired};
use millstream_rpc::Caller;
use millstream_server::roles::shard::desired::Homes;
use millstream_stream::Streams;
use millstream_types::{Epoch, GroupId};
use tokio::sync::watch;

use crate::layout;
use crate::store::SimStore;

/// How often what could not be done is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Duties {
    pub(super) me: Identity,
    pub(super) group: GroupId,
    pub(super) epoch: Epoch,
    pub(super) streams: Streams<SimStore>,
    pub(super) caller: Caller,
    pub(super) desired: watch::Receiver<Option<Arc<DesiredState>>>,
    pub(super) report: watch::Sender<ObservedState>,
}

impl Duties {
    /// Brings the group to what is desired, and reports, for ever.
    pub(super) async fn run(mut self) {
        let mut changes = self.streams.watch();
        let mut homes = Homes::default();
        loop {
            let state = self.desired.borrow_and_update().clone();
            if let Some(DesiredState::Shard(state)) = state.as_deref()
                && self.place(state)
            {
                homes.bring_about(&self.streams, state).await;
            }
            self.tell(&homes);
            tokio::select! {
                biased;
                changed = self.desired.changed() => if changed.is_err() { return; },
                _ = changes.next() => {},
                () = task::sleep(LOOK_EVERY) => {},
            }
        }
    }

    /// Takes over where the groups are; false when that is older than what is known.
    fn place(&self, state: &ShardDesired) -> bool {
        let version = (state.placement.term, state.placement.counter);
        self.caller
            .place(&layout::pool().to_string(), version, &state.endpoints())
    }

    fn tell(&self, homes: &Homes) {
        let state = ObservedState {
            group: Some(self.group.clone()),
            epoch: self.epoch,
            health: Health {
                ready: true,
                reason: None,
            },
            streams: homes.observed(&self.streams),
            ..ObservedState::starting(self.me.clone())
        };
        self.report.send_if_modified(|before| {
            let changed = *before != state;
            *before = state;
            changed
        });
    }
}
