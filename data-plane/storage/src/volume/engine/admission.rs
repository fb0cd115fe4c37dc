//! Who may queue: a budget over everything that is not yet in a segment, and the flag of a full
//! disk. A short burst waits; a lasting one is refused.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use millstream_clock::task;
use tokio::sync::Notify;

use crate::store::StoreError;

/// How long a request waits for room before it is refused.
const WAIT: Duration = Duration::from_millis(500);

/// The budget. Each admitted byte is given back once.
pub(super) struct Admission {
    held: AtomicUsize,
    limit: usize,
    no_space: AtomicBool,
    released: Notify,
}

impl Admission {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self {
            held: AtomicUsize::new(0),
            limit: usize::try_from(limit_bytes).unwrap_or(usize::MAX),
            no_space: AtomicBool::new(false),
            released: Notify::new(),
        }
    }

    /// Takes `bytes` of the budget. A full disk refuses all but what may free space.
    pub(super) async fn admit(&self, bytes: usize, may_free: bool) -> Result<(), StoreError> {
        if self.no_space.load(Ordering::Acquire) && !may_free {
            return Err(StoreError::NoSpace);
        }
        if self.try_take(bytes) {
            return Ok(());
        }
        let taken = task::timeout(WAIT, async {
            loop {
                let mut released = std::pin::pin!(self.released.notified());
                released.as_mut().enable();
                if self.try_take(bytes) {
                    return;
                }
                released.await;
            }
        });
        taken.await.map_err(|_| StoreError::Overloaded)
    }

    /// Takes `bytes` if they fit, or if nothing else is held.
    fn try_take(&self, bytes: usize) -> bool {
        let take = |held: usize| {
            let after = held.checked_add(bytes)?;
            (held == 0 || after <= self.limit).then_some(after)
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

    pub(super) fn set_no_space(&self, no_space: bool) {
        self.no_space.store(no_space, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refuses_only_after_a_wait() {
        let admission = Admission::new(100);
        assert_eq!(admission.admit(80, false).await, Ok(()));
        assert_eq!(
            admission.admit(30, false).await,
            Err(StoreError::Overloaded)
        );
        let (later, ()) = tokio::join!(admission.admit(30, false), async {
            task::sleep(WAIT / 2).await;
            admission.release(80);
        });
        assert_eq!((later, admission.held()), (Ok(()), 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_over_the_limit_is_taken_alone() {
        let admission = Admission::new(100);
        assert_eq!(admission.admit(500, false).await, Ok(()));
        assert_eq!(admission.admit(1, false).await, Err(StoreError::Overloaded));
    }

    #[tokio::test]
    async fn a_full_disk_refuses_appends_but_not_changes() {
        let admission = Admission::new(100);
        admission.set_no_space(true);
        assert_eq!(admission.admit(1, false).await, Err(StoreError::NoSpace));
        assert_eq!(admission.admit(1, true).await, Ok(()));
    }
}
