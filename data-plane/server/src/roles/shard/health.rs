//! Whether a group's store takes appends: a process that is alive, over a disk that is full, serves
//! nobody, and a rolling upgrade must not go on past it.
//!
//! Records that become durable show it. While none do, something small is committed now and then.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use millstream_clock::task;
use millstream_storage::{Change, ShardStore};

/// How often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After so many looks without a new record something is committed.
const IDLE_LOOKS_MAX: u32 = 30;
/// How long a commit may take; a disk that is busy answers within this time.
const COMMIT_WITHIN: Duration = Duration::from_secs(10);
/// A row that nobody ever sets: removing it changes nothing, and is committed like anything else.
const PROBE_ROW: &[u8] = b"health/probe";

/// Why a store does not take appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwell {
    /// It says so itself.
    #[error("the disk is full: appends are refused until there is space")]
    Full,
    /// A commit was refused, or took too long.
    #[error("the store does not commit: the disk is full, or does not answer")]
    Stuck,
}

/// What a store shows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Records made durable since it was opened.
    pub records: u64,
    /// Whether the disk is full.
    pub is_full: bool,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Pulse {
    records: u64,
    /// Looks without a new record since the last commit that was seen; none before the first.
    idle: Option<u32>,
}

impl Pulse {
    /// The health by `vitals`, where they say enough; none: `commit` something.
    async fn look(
        &mut self,
        vitals: Vitals,
        commit: impl Future<Output = bool>,
    ) -> Result<(), Unwell> {
        let is_new = vitals.records > self.records;
        self.records = vitals.records;
        if vitals.is_full {
            self.idle = None;
            return Err(Unwell::Full);
        }
        self.idle = match self.idle {
            _ if is_new => Some(0),
            Some(idle) if idle < IDLE_LOOKS_MAX => Some(idle + 1),
            Some(_) | None => commit.await.then_some(0),
        };
        self.idle.map(drop).ok_or(Unwell::Stuck)
    }
}

/// Looks at the store for ever, and says each time whether it takes appends.
pub async fn watch<S: ShardStore>(
    store: &S,
    vitals: impl Fn() -> Vitals + Send,
    say: impl Fn(Result<(), Unwell>) + Send,
) -> Infallible {
    let mut pulse = Pulse::default();
    let mut last = Ok(());
    loop {
        let health = pulse.look(vitals(), commits(store)).await;
        if health != last {
            match health {
                Ok(()) => tracing::info!("the store takes appends again"),
                Err(unwell) => tracing::error!(%unwell, "the group is not ready"),
            }
            last = health;
        }
        say(health);
        task::sleep(LOOK_EVERY).await;
    }
}

async fn commits<S: ShardStore>(store: &S) -> bool {
    let key = Bytes::from_static(PROBE_ROW);
    let commit = store.apply(vec![Change::DeleteRow { key }]);
    matches!(task::timeout(COMMIT_WITHIN, commit).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millstream_clock::SystemClock;
    use millstream_storage::memory::MemoryStore;

    use super::*;

    const fn vitals(records: u64) -> Vitals {
        Vitals {
            records,
            is_full: false,
        }
    }

    /// A look at which nothing may be committed.
    async fn seen(pulse: &mut Pulse, records: u64) -> Result<(), Unwell> {
        let never = async { panic!("the records say enough") };
        pulse.look(vitals(records), never).await
    }

    #[tokio::test]
    async fn a_group_is_ready_only_once_something_was_committed() {
        let mut pulse = Pulse::default();
        let refused = pulse.look(vitals(0), async { false }).await;
        assert_eq!(refused, Err(Unwell::Stuck));
        assert_eq!(pulse.look(vitals(0), async { true }).await, Ok(()));
        assert_eq!(seen(&mut pulse, 0).await, Ok(()), "known for a while");
    }

    #[tokio::test]
    async fn a_full_disk_is_seen_at_once_and_left_only_with_a_commit() {
        let mut pulse = Pulse::default();
        assert_eq!(seen(&mut pulse, 5).await, Ok(()));
        let full = Vitals {
            records: 6,
            is_full: true,
        };
        let never = async { panic!("it says so itself") };
        assert_eq!(pulse.look(full, never).await, Err(Unwell::Full));
        let refused = pulse.look(vitals(6), async { false }).await;
        assert_eq!(refused, Err(Unwell::Stuck), "space, and still no commit");
        assert_eq!(seen(&mut pulse, 7).await, Ok(()));
    }

    #[tokio::test]
    async fn appends_that_stop_are_noticed() {
        let mut pulse = Pulse::default();
        assert_eq!(seen(&mut pulse, 1).await, Ok(()));
        for _ in 0..IDLE_LOOKS_MAX {
            assert_eq!(seen(&mut pulse, 1).await, Ok(()));
        }
        let refused = pulse.look(vitals(1), async { false }).await;
        assert_eq!(refused, Err(Unwell::Stuck));
    }

    #[tokio::test]
    async fn what_is_committed_changes_nothing() {
        let store = MemoryStore::new(Arc::new(SystemClock::new()));
        assert!(commits(&store).await);
        assert!(store.rows(b"").is_empty());
    }
}
