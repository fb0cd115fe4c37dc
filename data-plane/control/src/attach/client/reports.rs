//! What is reported, and when: at once when it changes, but not too often.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use millstream_clock::task;
use tokio::sync::watch;

use crate::attach::wire::{self, proto};
use crate::desired::DesiredState;
use crate::observed::ObservedState;

/// Shortest time between two reports.
const REPORT_EVERY_MIN: Duration = Duration::from_millis(200);

/// The reports of one session: the first at once, then one after each change.
pub(super) fn stream(
    observed: watch::Receiver<ObservedState>,
    desired: watch::Receiver<Option<Arc<DesiredState>>>,
) -> BoxStream<'static, proto::Observed> {
    stream::unfold(
        (observed, desired, true),
        |(mut observed, mut desired, first)| async move {
            if !first {
                task::sleep(REPORT_EVERY_MIN).await;
                tokio::select! {
                    biased;
                    changed = observed.changed() => changed.ok()?,
                    changed = desired.changed() => changed.ok()?,
                }
            }
            let mut state = observed.borrow_and_update().clone();
            let held = desired.borrow_and_update();
            state.desired = held.as_ref().map(|held| held.version());
            drop(held);
            Some((wire::observed(&state), (observed, desired, false)))
        },
    )
    .boxed()
}
