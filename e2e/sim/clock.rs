//! Time and randomness of one simulated machine.

use std::sync::Arc;
use std::time::Duration;

use millstream_clock::{Clock, Entropy, SeededEntropy};
use millstream_types::Millis;

/// Where the wall clocks of a simulation start: 2023-11-14T22:13:20Z.
const START_MS: u64 = 1_700_000_000_000;

/// The clock of a machine: simulated time, with a wall clock that is off by so much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimClock {
    ahead_ms: u64,
}

impl SimClock {
    /// A clock whose wall time is `ahead_ms` ahead of the slowest one.
    pub(crate) const fn new(ahead_ms: u64) -> Self {
        Self { ahead_ms }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Millis {
        let elapsed = self.monotonic().as_millis();
        let elapsed = u64::try_from(elapsed).expect("a simulation lasts minutes");
        Millis(START_MS + self.ahead_ms + elapsed)
    }

    fn monotonic(&self) -> Duration {
        turmoil::sim_elapsed().unwrap_or_default()
    }
}

/// The random bytes of one life of a process.
pub(crate) fn entropy(seed: u64, machine: &str, life: u64) -> Arc<dyn Entropy> {
    Arc::new(SeededEntropy::new(mixed(seed, machine, life)))
}

/// A seed of its own for everything that draws: FNV-1a over what tells it apart.
pub(crate) fn mixed(seed: u64, name: &str, life: u64) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    bytes
        .chain(life.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
