//! The tail under many orders of its threads: while the log publishes, the sink lets go and readers
//! read, every record from the trim point on is in memory or in segments.

use std::path::PathBuf;

use millstream_clock::ManualClock;
use shuttle::thread;

use super::*;
use crate::disk::sim::SimDisk;
use crate::store::{NewRecord, ReadLimit};
use crate::volume::format::batch;
use crate::volume::format::checkpoint::LogPosition;
use crate::volume::read::read_tail;
use crate::volume::sync::{Signal, explore};

const SHARD: ShardUid = ShardUid(1);
/// Has a batch in every other window only.
const OTHER: ShardUid = ShardUid(2);
const WINDOWS: u64 = 5;
const PER_BATCH: u64 = 2;
const WINDOW_MEMORY: usize = 10;
/// Windows that the tail may keep.
const TAIL_WINDOWS: u64 = 1;

fn shared() -> Arc<Shared<SimDisk>> {
    let mut options = Options::new(PathBuf::new());
    options.tail_bytes = TAIL_WINDOWS * WINDOW_MEMORY as u64;
    let clock = Arc::new(ManualClock::new(Millis(1)));
    let shared = Shared::new(Arc::new(SimDisk::new(1)), options, clock, None);
    let opens = [SHARD, OTHER].map(|uid| Entry::Change(Change::OpenShard(uid)));
    shared.publish(&window(0, opens.into()));
    Arc::new(shared)
}

fn window(lsn: u64, entries: Vec<Entry>) -> Window {
    Window {
        end: LogPosition {
            epoch: 1,
            lsn,
            file_first: 0,
            generation: 1,
        },
        entries,
        memory: WINDOW_MEMORY,
        charge: 0,
    }
}

/// The `n`-th batch of a shard, from 1; every record holds its own number.
fn batch(uid: ShardUid, n: u64) -> Entry {
    let first = (n - 1) * PER_BATCH + 1;
    let records: Vec<NewRecord> = (first..first + PER_BATCH)
        .map(|number| NewRecord {
            key: Bytes::new(),
            data: Bytes::copy_from_slice(&number.to_le_bytes()),
        })
        .collect();
    let mut bytes = Vec::new();
    batch::encode(&mut bytes, uid, first, Millis(1), records.iter());
    Entry::Batch(Batch::decode(Bytes::from(bytes)).expect("just encoded"))
}

/// Batches of a shard in the first `windows` windows.
fn batches(uid: ShardUid, windows: u64) -> u64 {
    if uid == SHARD { windows } else { windows / 2 }
}

/// What the log lane does with window `lsn`.
fn publish(shared: &Shared<SimDisk>, lsn: u64) {
    let mut entries = vec![batch(SHARD, lsn)];
    if lsn.is_multiple_of(2) {
        entries.push(batch(OTHER, lsn / 2));
    }
    shared.publish(&window(lsn, entries));
}

/// What the sink does once the windows up to `lsn` are written.
fn sink(shared: &Shared<SimDisk>, lsn: u64) {
    for uid in [SHARD, OTHER] {
        let last = batches(uid, lsn) * PER_BATCH;
        if last > 0 {
            let segment = SegmentMeta {
                first: 1,
                last,
                created: Millis(1),
                first_arrival: Millis(1),
                last_arrival: Millis(1),
                len: 1,
                sealed: false,
            };
            shared.set_segments(uid, &[segment]);
        }
    }
    shared.set_sunk(lsn);
}

/// Every record of the shard, from the trim point on, is in memory or in segments.
fn assert_no_gap(view: &ShardView) {
    let mut covered = view.segments.last().map_or(0, |segment| segment.last);
    let mut previous = None;
    for batch in &view.tail {
        let header = batch.header;
        assert!(
            previous.is_none_or(|last| header.first == last + 1),
            "the tail is adjacent"
        );
        previous = Some(header.last());
        if header.first <= covered + 1 {
            covered = covered.max(header.last());
        }
    }
    assert!(
        covered + 1 >= view.status.next,
        "covered to {covered}, next is {}",
        view.status.next
    );
}

/// Reads until `last`, skipping what memory no longer has; counts what it read from memory.
fn read_all(shared: &Shared<SimDisk>, uid: ShardUid, last: u64) {
    let limit = ReadLimit {
        records: 3,
        bytes: usize::MAX,
    };
    let mut from = 1;
    while from <= last {
        let shard = shared.shard(uid).expect("an open shard");
        assert_no_gap(&shard.view.lock());
        let Some(read) = read_tail(shared, uid, from, limit).expect("in memory or in segments")
        else {
            let segments = shard.view.lock().segments.clone();
            let end = segments
                .last()
                .expect("the reader was sent to segments")
                .last;
            assert!(
                end >= from,
                "number {from} is in segments, which end at {end}"
            );
            from = end + 1;
            continue;
        };
        for (record, number) in read.records.iter().zip(from..) {
            assert_eq!(record.number, number);
            assert_eq!(record.data[..], number.to_le_bytes());
        }
        assert_eq!(read.next, from + read.records.len() as u64);
        if read.records.is_empty() {
            assert!(read.next >= read.status.next, "readable records are given");
            thread::yield_now();
        }
        from = read.next;
    }
}

fn start(
    shared: &Arc<Shared<SimDisk>>,
    work: impl FnOnce(&Shared<SimDisk>) + Send + 'static,
) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || work(&shared))
}

#[test]
fn a_reader_finds_every_record_while_windows_come_and_go() {
    explore(|| {
        let shared = shared();
        let published = Arc::new(Signal::default());
        let log = Arc::clone(&published);
        let threads = [
            start(&shared, move |shared| {
                for lsn in 1..=WINDOWS {
                    publish(shared, lsn);
                    log.raise(lsn);
                }
            }),
            start(&shared, move |shared| {
                let mut sunk = 0;
                while sunk < WINDOWS {
                    sunk = published.wait_beyond(sunk);
                    sink(shared, sunk);
                }
            }),
            start(&shared, |shared| {
                read_all(shared, SHARD, WINDOWS * PER_BATCH);
            }),
            start(&shared, |shared| {
                read_all(shared, OTHER, batches(OTHER, WINDOWS) * PER_BATCH);
            }),
        ];
        for thread in threads {
            thread.join().expect("it ends");
        }
        let kept = shared.counters.read().tail_bytes;
        assert!(
            kept <= shared.options.tail_bytes,
            "all is sunk, {kept} bytes are kept"
        );
        let tail = shared
            .shard(SHARD)
            .expect("an open shard")
            .view
            .lock()
            .tail
            .len();
        assert_eq!(tail as u64, TAIL_WINDOWS);
    });
}

#[test]
fn a_shard_dropped_while_its_batches_leave_takes_none_of_another() {
    explore(|| {
        let shared = shared();
        (1..=2).for_each(|lsn| publish(&shared, lsn));
        let threads = [
            start(&shared, |shared| {
                shared.publish(&window(
                    3,
                    vec![Entry::Change(Change::DropShard(OTHER)), batch(SHARD, 3)],
                ));
            }),
            start(&shared, |shared| sink(shared, 2)),
            start(&shared, |shared| read_all(shared, SHARD, 3 * PER_BATCH)),
        ];
        for thread in threads {
            thread.join().expect("it ends");
        }
        assert!(shared.shard(OTHER).is_none());
        assert_no_gap(&shared.shard(SHARD).expect("an open shard").view.lock());
    });
}
