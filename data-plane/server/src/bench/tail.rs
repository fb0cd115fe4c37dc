//! How soon a reader at the tip has a record after its acknowledgement: 64 shards with a reader
//! each, 10,000 records a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use millstream_clock::{Clock as _, task};
use millstream_storage::store::{
    Append, Change, NewRecord, ReadLimit, ShardLog as _, ShardStore as _,
};
use millstream_types::ShardUid;

use super::BenchError;
use super::in_process::{Target, nanos_between};
use super::payload::shard;
use super::sample::Percentiles;
use super::scenario::RECORD_BYTES;

const SHARDS: usize = 64;
/// A width that no scenario has, so that nothing else writes to these shards.
const WIDTH: usize = 66;
const RECORDS_PER_S: usize = 10_000;
const TICK: Duration = Duration::from_millis(1);
const READ_LIMIT: ReadLimit = ReadLimit {
    records: 1000,
    bytes: 1024 * 1024,
};
/// How long readers may take to see the last record.
const PATIENCE: Duration = Duration::from_secs(10);

/// When each record was acknowledged and when its reader had it, in nanoseconds; 0: not yet.
struct Times {
    acked: Vec<AtomicU64>,
    read: Vec<AtomicU64>,
    seen: AtomicUsize,
}

/// Opens the shards that [`measure`] uses.
pub(crate) async fn prepare(target: &Target) -> Result<(), BenchError> {
    let open = (0..SHARDS).map(|at| Change::OpenShard(shard(at, WIDTH)));
    Ok(target.engine.apply(open.collect()).await?)
}

/// The 99th percentile of the delay, in milliseconds.
pub(crate) async fn measure(target: &Target, how_long: Duration) -> Result<f64, BenchError> {
    let ticks = usize::try_from(how_long.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX);
    let count = ticks.saturating_mul(RECORDS_PER_S / 1000);
    let zeros = || (0..count).map(|_| AtomicU64::new(0)).collect();
    let times = Arc::new(Times {
        acked: zeros(),
        read: zeros(),
        seen: AtomicUsize::new(0),
    });
    let readers: Vec<_> = (0..SHARDS)
        .map(|at| spawn_reader(target, shard(at, WIDTH), Arc::clone(&times)))
        .collect();
    let begun = target.clock.monotonic();
    let mut sent = 0;
    let mut writers = Vec::with_capacity(count);
    while sent < count {
        task::sleep(TICK).await;
        let passed = target.clock.monotonic().saturating_sub(begun).as_micros();
        let due = usize::try_from(passed).unwrap_or(usize::MAX) / (1_000_000 / RECORDS_PER_S);
        while sent < due.min(count) {
            writers.push(spawn_writer(target, sent, Arc::clone(&times)));
            sent += 1;
        }
    }
    for writer in writers {
        writer
            .await
            .map_err(|e| BenchError::Ended(e.to_string()))??;
    }
    let waited = target.clock.monotonic();
    while times.seen.load(Ordering::Acquire) < count {
        if target.clock.monotonic().saturating_sub(waited) > PATIENCE {
            return Err(BenchError::Ended(
                "a reader at the tip missed records".to_owned(),
            ));
        }
        task::sleep(TICK).await;
    }
    for reader in readers {
        reader.abort();
    }
    let pairs = times.acked.iter().zip(&times.read);
    let mut delays: Vec<u64> = pairs
        .map(|(acked, read)| {
            let (acked, read) = (acked.load(Ordering::Acquire), read.load(Ordering::Acquire));
            read.saturating_sub(acked)
        })
        .collect();
    Ok(Percentiles::of(&mut delays).p99 / 1000.0)
}

fn spawn_writer(
    target: &Target,
    number: usize,
    times: Arc<Times>,
) -> tokio::task::JoinHandle<Result<(), BenchError>> {
    let (engine, clock) = (target.engine.clone(), Arc::clone(&target.clock));
    let mut data = target.payload.data(number).to_vec();
    data[..8].copy_from_slice(&(number as u64).to_le_bytes());
    assert_eq!(data.len(), RECORD_BYTES, "every record has the same size");
    let append = Append {
        shard: shard(number % SHARDS, WIDTH),
        records: vec![NewRecord {
            key: Bytes::from_static(b"producer"),
            data: Bytes::from(data),
        }],
    };
    task::spawn("tail-writer", async move {
        engine.append(vec![append]).await?;
        let now = nanos_between(Duration::ZERO, clock.monotonic());
        times.acked[number].store(now, Ordering::Release);
        Ok(())
    })
}

fn spawn_reader(
    target: &Target,
    uid: ShardUid,
    times: Arc<Times>,
) -> tokio::task::JoinHandle<Result<(), BenchError>> {
    let (engine, clock) = (target.engine.clone(), Arc::clone(&target.clock));
    task::spawn("tail-reader", async move {
        let mut from = engine.status_now(uid).map_or(1, |status| status.next);
        loop {
            engine.wait_past(uid, from).await;
            let read = engine.read(uid, from, READ_LIMIT).await?;
            let now = nanos_between(Duration::ZERO, clock.monotonic());
            for record in &read.records {
                let number = record
                    .data
                    .first_chunk::<8>()
                    .map(|b| u64::from_le_bytes(*b));
                let at = number.and_then(|n| usize::try_from(n).ok());
                if let Some(time) = at.and_then(|at| times.read.get(at)) {
                    time.store(now, Ordering::Release);
                    times.seen.fetch_add(1, Ordering::AcqRel);
                }
            }
            from = read.next;
        }
    })
}
