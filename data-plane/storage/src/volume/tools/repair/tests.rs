//! A repair that is cut short, at every call of the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::{ManualClock, SeededEntropy};
use millstream_types::{Millis, ShardUid};

use super::*;
use crate::disk::sim::{Crash, SimDisk};
use crate::store::{Append, Change, NewRecord, ReadLimit};
use crate::volume::open::{find, read_file};
use crate::volume::options::Options;
use crate::volume::stepped::{Progress, Step, SteppedEngine};

const SHARD: ShardUid = ShardUid(3);
/// Records that lie below the damage.
const WHOLE: u64 = 20;

fn open(disk: &SimDisk) -> SteppedEngine<SimDisk> {
    let options = Options {
        wal_file_bytes: 64 * 1024,
        reserve_bytes: 4096,
        ..Options::new(PathBuf::new())
    };
    let clock = Arc::new(ManualClock::new(Millis(1)));
    let entropy = Arc::new(SeededEntropy::new(1));
    SteppedEngine::open(Arc::new(disk.clone()), options, clock, entropy).expect("it opens")
}

/// A log of several files, one of them damaged, with a file made ready behind them; and the damage.
fn damaged() -> (SimDisk, u64) {
    let disk = SimDisk::new(1);
    let mut engine = open(&disk);
    let opened = Step::Apply(vec![Change::OpenShard(SHARD)]);
    engine.commit(vec![opened]).expect("written");
    for _ in 0..3 * WHOLE {
        let record = NewRecord {
            key: Bytes::from_static(b"k"),
            data: Bytes::from(vec![7; 1000]),
        };
        let append = Append {
            shard: SHARD,
            records: vec![record],
        };
        engine
            .commit(vec![Step::Append(vec![append])])
            .expect("written");
    }
    assert_eq!(engine.prepare_file().expect("written"), Progress::Worked);
    drop(engine);
    disk.restart(Crash::Process);
    let found = find(&disk).expect("whole");
    let mut windows = Vec::new();
    for span in &found.spans {
        scan(&disk, span, &mut |frame, after| {
            windows.push((frame.header.lsn, after.file_first));
            Ok(())
        })
        .expect("whole");
    }
    // the first window makes the shard
    let (lsn, file) = windows[usize::try_from(WHOLE).expect("few") + 1];
    disk.flip_bit(&layout::wal_file(file), lsn - file + 100, 1)
        .expect("a byte");
    (disk, lsn)
}

/// The files that were set aside, with a checksum of each.
fn kept(disk: &SimDisk, repaired: &Repaired) -> BTreeMap<String, u32> {
    let dir = repaired.kept_in.as_deref().expect("something is kept");
    let file = |name: String| {
        let bytes = read_file(disk, &dir.join(&name)).expect("readable");
        let bytes = bytes.expect("it was listed");
        let blank = bytes.iter().all(|byte| *byte == 0);
        assert!(!blank, "{name} holds nothing, and is not kept");
        (name, crc32c::crc32c(&bytes))
    };
    let names = list(disk, dir).expect("readable").into_iter();
    names.map(|entry| file(entry.name)).collect()
}

fn records(disk: &SimDisk) -> usize {
    let limit = ReadLimit {
        records: usize::MAX,
        bytes: usize::MAX,
    };
    let read = open(disk).read(SHARD, 1, limit);
    read.expect("readable").records.len()
}

#[test]
fn a_repair_that_was_cut_short_anywhere_is_finished_by_another() {
    let (disk, lsn) = damaged();
    let entropy = SeededEntropy::new(2);
    let whole = disk.fork(0);
    let before = whole.calls();
    let repaired = repair_disk(&whole, lsn, &entropy).expect("repaired");
    let (calls, lost) = (whole.calls() - before, kept(&whole, &repaired));
    assert!(lost.len() > 2, "{:?}", lost.keys());
    assert_eq!(records(&whole) as u64, WHOLE);
    for call in 0..calls {
        for crash in [Crash::Process, Crash::Power] {
            let disk = disk.fork(call);
            disk.crash_after(call);
            repair_disk(&disk, lsn, &entropy).expect_err("it is cut short");
            disk.restart(crash);
            let again = repair_disk(&disk, lsn, &entropy);
            let again = again.unwrap_or_else(|error| panic!("call {call}, {crash:?}: {error}"));
            assert_eq!(again.end_lsn, repaired.end_lsn, "call {call}, {crash:?}");
            assert_eq!(kept(&disk, &again), lost, "call {call}, {crash:?}");
            disk.restart(Crash::Power);
            assert_eq!(records(&disk) as u64, WHOLE, "call {call}, {crash:?}");
        }
    }
}

#[test]
fn a_repair_that_was_finished_can_be_run_again() {
    let (disk, lsn) = damaged();
    let entropy = SeededEntropy::new(2);
    let first = repair_disk(&disk, lsn, &entropy).expect("repaired");
    let lost = kept(&disk, &first);
    let second = repair_disk(&disk, lsn, &entropy).expect("repaired");
    assert_eq!(second.end_lsn, first.end_lsn);
    assert_eq!(kept(&disk, &second), lost);
    assert_eq!(records(&disk) as u64, WHOLE);
}
