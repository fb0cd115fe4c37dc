//! How long to wait before the next round.

use std::sync::Arc;
use std::time::Duration;

use millstream_clock::Entropy;

const FIRST: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_secs(5);

/// Waits that double up to a limit, each shortened by up to a half at random, so that servers that
/// lost their operator together do not come back together.
pub(in crate::attach) struct Backoff {
    entropy: Arc<dyn Entropy>,
    next: Duration,
}

impl Backoff {
    pub(in crate::attach) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self {
            entropy,
            next: FIRST,
        }
    }

    pub(in crate::attach) const fn reset(&mut self) {
        self.next = FIRST;
    }

    pub(in crate::attach) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LAST);
        let half = u64::try_from(whole.as_micros() / 2)
            .unwrap_or(u64::MAX)
            .max(1);
        whole.saturating_sub(Duration::from_micros(self.entropy.u64() % half))
    }
}

#[cfg(test)]
mod tests {
    use millstream_clock::SeededEntropy;

    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_start_again() {
        let mut backoff = Backoff::new(Arc::new(SeededEntropy::new(1)));
        let waits: Vec<Duration> = (0..20).map(|_| backoff.next()).collect();
        assert!((FIRST / 2..=FIRST).contains(&waits[0]), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LAST && *wait >= FIRST / 2));
        assert!(waits[19] >= LAST / 2, "{waits:?}");
        assert_ne!(waits[18], waits[19], "jitter");
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
