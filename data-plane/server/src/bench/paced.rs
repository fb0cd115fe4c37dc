//! Bytes to the disk for each byte put, at a steady pace, with a trim point that follows.

use std::time::Duration;

use millstream_clock::{Clock as _, task};
use millstream_storage::store::{Change, ShardStore as _};

use super::BenchError;
use super::in_process::Target;
use super::payload::shard;
use super::scenario::{BATCHES, RECORD_BYTES};
use super::usage::{DiskUse, as_f64};

const BYTES_PER_S: u64 = 40_000_000;
/// Records of each shard that stay readable behind the newest.
const KEPT_PER_SHARD: u64 = 4 * 1024;
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// Puts 16 x 100 records at 40 MB/s for a while.
pub(crate) async fn measure(target: &Target, how_long: Duration) -> Result<f64, BenchError> {
    let before = DiskUse::of(&target.engine.counters());
    let begun = target.clock.monotonic();
    let request_bytes = (BATCHES.batch * RECORD_BYTES) as u64;
    let window = BATCHES.in_flight;
    let (mut sent, mut trimmed) = (0usize, begun);
    loop {
        let now = target.clock.monotonic();
        if now.saturating_sub(begun) >= how_long {
            break;
        }
        target.put_requests(BATCHES, window).await?;
        sent += window;
        if now.saturating_sub(trimmed) >= TRIM_EVERY {
            trimmed = now;
            trim(target).await?;
        }
        let micros = as_f64(sent as u64 * request_bytes) / as_f64(BYTES_PER_S) * 1e6;
        let due = begun + Duration::from_secs_f64(micros / 1e6);
        task::sleep(due.saturating_sub(target.clock.monotonic())).await;
    }
    target.drained().await?;
    let written = DiskUse::of(&target.engine.counters()).since(before).bytes;
    let bytes = as_f64(sent as u64 * request_bytes);
    target.settle(&[BATCHES]).await?;
    Ok(as_f64(written) / bytes)
}

async fn trim(target: &Target) -> Result<(), BenchError> {
    let trims = (0..BATCHES.shards).filter_map(|at| {
        let shard = shard(at, BATCHES.shards);
        let next = target.engine.status_now(shard)?.next;
        let before = next.saturating_sub(KEPT_PER_SHARD).max(1);
        Some(Change::TrimShard { shard, before })
    });
    Ok(target.engine.apply(trims.collect()).await?)
}
