//! Who may queue: a budget over everything that is not yet in a segment, and not on a full disk. A
//! short burst waits; a lasting one is refused.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millstream_clock::task;
use tokio::sync::Notify;

use super::super::shared::Shared;
use super::super::window::Request;
use crate::disk::Disk;
use crate::store::StoreError;

/// How long a request waits for room before it is refused.
const WAIT: Duration = Duration::from_millis(500);
/// Room beyond the limit on a full disk, for what may free space: what waits to be written may hold
/// all the rest.
const FREEING_BYTES: usize = 1024 * 1024;

/// The budget. Each admitted byte is given back once.
pub(super) struct Admission {
    held: AtomicUsize,
    limit: usize,
    released: Notify,
}

impl Admission {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self {
            held: AtomicUsize::new(0),
            limit: usize::try_from(limit_bytes).unwrap_or(usize::MAX),
            released: Notify::new(),
        }
    }

    /// Takes what `request` weighs of the budget, and says how much that is. A full disk refuses
    /// all but what may free space.
    pub(super) async fn admit<D: Disk>(
        &self,
        shared: &Shared<D>,
        request: &Request,
    ) -> Result<usize, StoreError> {
        let full = shared.is_full();
        if full && !request.may_free() {
            return Err(StoreError::NoSpace);
        }
        let beyond = if full { FREEING_BYTES } else { 0 };
        let bytes = request.frame_len();
        self.take(bytes, self.limit.saturating_add(beyond)).await?;
        Ok(bytes)
    }

    async fn take(&self, bytes: usize, limit: usize) -> Result<(), StoreError> {
        if self.try_take(bytes, limit) {
            return Ok(());
        }
        let taken = task::timeout(WAIT, async {
            loop {
                let mut released = std::pin::pin!(self.released.notified());
                released.as_mut().enable();
                if self.try_take(bytes, limit) {
                    return;
                }
                released.await;
            }
        });
        taken.await.map_err(|_| StoreError::Overloaded)
    }

    /// Takes `bytes` if they fit, or if nothing else is held.
    fn try_take(&self, bytes: usize, limit: usize) -> bool {
        let take = |held: usize| {
            let after = held.checked_add(bytes)?;
            (held == 0 || after <= limit).then_some(after)
        };
        self.held
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok()
    }

    pub(super) fn release(&self, bytes: usize) {
        let before = self.held.fetch_sub(bytes, Ordering::AcqRel);
        assert!(before >= bytes, "every byte is given back once");
        self.released.notify_waiters();
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100;

    #[tokio::test(start_paused = true)]
    async fn refuses_only_after_a_wait() {
        let admission = Admission::new(LIMIT as u64);
        assert_eq!(admission.take(80, LIMIT).await, Ok(()));
        assert_eq!(admission.take(30, LIMIT).await, Err(StoreError::Overloaded));
        let (later, ()) = tokio::join!(admission.take(30, LIMIT), async {
            task::sleep(WAIT / 2).await;
            admission.release(80);
        });
        assert_eq!((later, admission.held()), (Ok(()), 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_over_the_limit_is_taken_alone() {
        let admission = Admission::new(LIMIT as u64);
        assert_eq!(admission.take(500, LIMIT).await, Ok(()));
        assert_eq!(admission.take(1, LIMIT).await, Err(StoreError::Overloaded));
    }
}
