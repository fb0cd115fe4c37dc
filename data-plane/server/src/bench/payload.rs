//! Records to put: slices of one block of random bytes, so that making them costs next to nothing.

use bytes::Bytes;
use millstream_clock::{Entropy, SystemEntropy};
use millstream_storage::store::{Append, NewRecord};
use millstream_types::ShardUid;

use super::scenario::{RECORD_BYTES, Scenario};

const BLOCK_BYTES: usize = 8 * 1024 * 1024;
/// Slices begin at multiples of this, so that records overlap but differ.
const STEP: usize = 64;

/// Random bytes to cut records from.
#[derive(Clone)]
pub(crate) struct Payload {
    block: Bytes,
}

impl Payload {
    pub(crate) fn new() -> Self {
        let mut block = vec![0; BLOCK_BYTES];
        SystemEntropy.fill(&mut block);
        Self {
            block: Bytes::from(block),
        }
    }

    /// The data of record `number`.
    pub(crate) fn data(&self, number: usize) -> Bytes {
        let at = (number * STEP * 17) % (BLOCK_BYTES - RECORD_BYTES);
        self.block.slice(at..at + RECORD_BYTES)
    }

    /// Request `number` of so many records each: they go to the shards in turn.
    pub(crate) fn appends(&self, shards: &[ShardUid], batch: usize, number: usize) -> Vec<Append> {
        let spread = shards.len().min(batch);
        let first = number * batch;
        let mut appends: Vec<Append> = (0..spread)
            .map(|at| Append {
                shard: shards[(first + at) % shards.len()],
                records: Vec::with_capacity(batch.div_ceil(spread)),
            })
            .collect();
        for at in 0..batch {
            appends[at % spread].records.push(NewRecord {
                key: Bytes::from_static(b"producer"),
                data: self.data(first + at),
            });
        }
        appends
    }
}

/// The shard of the record `number`. Scenarios of other widths use other shards.
pub(crate) fn shard(number: usize, shards: usize) -> ShardUid {
    ShardUid(((shards as u128) << 32) | (number % shards) as u128)
}

/// The shards of a scenario.
pub(crate) fn shards(scenario: Scenario) -> Vec<ShardUid> {
    let width = scenario.shards;
    (0..width).map(|at| shard(at, width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::scenario::{BATCHES, IN_FLIGHT_64, ONE_SHARD_512};

    #[test]
    fn a_request_holds_its_records_and_spreads_them() {
        let payload = Payload::new();
        for scenario in [BATCHES, IN_FLIGHT_64, ONE_SHARD_512] {
            let appends = payload.appends(&shards(scenario), scenario.batch, 3);
            let records: usize = appends.iter().map(|a| a.records.len()).sum();
            let mut to: Vec<_> = appends.iter().map(|a| a.shard).collect();
            to.sort_unstable();
            to.dedup();
            assert_eq!(records, scenario.batch);
            assert_eq!(to.len(), scenario.shards.min(scenario.batch));
            assert!(
                appends
                    .iter()
                    .flat_map(|a| &a.records)
                    .all(|r| r.data.len() == RECORD_BYTES)
            );
        }
    }
}
