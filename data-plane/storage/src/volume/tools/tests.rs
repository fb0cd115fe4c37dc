//! The tools against directories that a real engine wrote and a test then damaged.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::{SeededEntropy, SystemClock, SystemEntropy};
use millstream_types::ShardUid;

use super::super::stepped::{Step, SteppedEngine};
use super::super::{Engine, Options};
use super::*;
use crate::store::{Append, Change, NewRecord, ReadLimit, ShardLog as _, ShardStore as _};

const SHARD: ShardUid = ShardUid(3);

fn open_engine(dir: &Path) -> Result<Engine, OpenError> {
    let options = Options {
        wal_file_bytes: 1024 * 1024,
        // only a clean end takes a checkpoint
        checkpoint_bytes: 64 * 1024 * 1024,
        segment_bytes: 64 * 1024,
        reserve_bytes: 4096,
        ..Options::new(dir.to_owned())
    };
    Engine::open(
        options,
        Arc::new(SystemClock::new()),
        Arc::new(SystemEntropy),
    )
}

/// A directory whose log holds 60 windows of one record behind a checkpoint of 200, left unclean.
async fn written() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for count in [200, 60] {
        let engine = open_engine(dir.path()).expect("the directory opens");
        if count == 200 {
            engine
                .apply(vec![Change::OpenShard(SHARD)])
                .await
                .expect("a new shard");
        }
        for _ in 0..count {
            let data = Bytes::from(vec![7; 1000]);
            let records = vec![NewRecord {
                key: Bytes::from_static(b"k"),
                data,
            }];
            engine
                .append(vec![Append {
                    shard: SHARD,
                    records,
                }])
                .await
                .expect("taken")[0]
                .expect("the shard is open");
        }
        if count == 200 {
            engine.close().await;
        }
    }
    dir
}

async fn records_in(dir: &Path) -> u64 {
    let engine = open_engine(dir).expect("the directory opens");
    let limit = ReadLimit {
        records: usize::MAX,
        bytes: usize::MAX,
    };
    engine
        .read(SHARD, 1, limit)
        .await
        .expect("readable")
        .records
        .len() as u64
}

/// LSNs and files of the frames behind the checkpoint.
fn frames(dir: &Path) -> Vec<(u64, PathBuf, u64)> {
    let disk = RealDisk::new(dir).expect("the directory");
    let found = super::super::open::find(&disk).expect("whole");
    let mut frames = Vec::new();
    for span in &found.spans {
        super::super::wal::scan::scan(&disk, span, &mut |frame, after| {
            let path = dir.join(layout::wal_file(after.file_first));
            frames.push((frame.header.lsn, path, frame.header.lsn - after.file_first));
            Ok(())
        })
        .expect("whole");
    }
    frames
}

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("the file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], offset).expect("written");
}

#[tokio::test]
async fn verify_counts_what_is_there_and_finds_damage_in_segments() {
    let dir = written().await;
    let verified = verify(dir.path()).expect("healthy");
    assert_eq!((verified.segment_records, verified.wal_records), (200, 60));
    assert_eq!((verified.shards, verified.clean), (1, false));
    let segment = dir.path().join(layout::segment_file(SHARD, 1));
    flip(&segment, 5_000);
    let damage = verify(dir.path()).expect_err("a flipped bit");
    assert!(
        matches!(damage, OpenError::Corrupt { ref file, .. } if file.contains("seg/")),
        "{damage}"
    );
}

#[tokio::test]
async fn dump_names_every_record_and_no_data() {
    let dir = written().await;
    let mut out = Vec::new();
    dump(dir.path(), &mut out).expect("healthy");
    let text = String::from_utf8(out).expect("text");
    assert_eq!(
        text.lines()
            .filter(|line| line.contains(r#""kind":"batch""#))
            .count(),
        60
    );
    assert!(
        text.contains(r#""kind":"checkpoint""#) && text.contains(r#""next":201"#),
        "{text}"
    );
}

#[tokio::test]
async fn damage_below_the_end_is_refused_until_its_loss_is_accepted() {
    let dir = written().await;
    let frames = frames(dir.path());
    let (lsn, path, offset) = &frames[40];
    flip(path, offset + 100);
    let refused = open_engine(dir.path()).expect_err("acknowledged data is damaged");
    let OpenError::Corrupt {
        offset: found_offset,
        lsn: found_lsn,
        ..
    } = refused
    else {
        panic!("{refused}");
    };
    assert_eq!((found_offset, found_lsn), (*offset, *lsn));

    let entropy = SeededEntropy::new(1);
    let above = repair(dir.path(), lsn + 4096, &entropy);
    assert!(
        matches!(above, Err(OpenError::Corrupt { .. })),
        "the damage lies below: {above:?}"
    );
    let repaired = repair(dir.path(), *lsn, &entropy).expect("repaired");
    assert_eq!(repaired.end_lsn, *lsn);
    let kept = repaired.kept_in.expect("the damaged file is kept");
    assert!(
        fs::read_dir(dir.path().join(kept))
            .expect("a directory")
            .count()
            > 0
    );
    assert_eq!(records_in(dir.path()).await, 240);
    // and it is an ordinary directory again
    assert_eq!(records_in(dir.path()).await, 240);
}

#[tokio::test]
async fn a_torn_end_needs_no_repair() {
    let dir = written().await;
    // stepped by hand: no thread seals the idle log behind the last window
    let disk = Arc::new(RealDisk::new(dir.path()).expect("the directory"));
    let clock = Arc::new(SystemClock::new());
    let options = Options {
        reserve_bytes: 4096,
        ..Options::new(dir.path().to_owned())
    };
    let mut engine = SteppedEngine::open(disk, options, clock, Arc::new(SystemEntropy))
        .expect("the directory opens");
    let records = vec![NewRecord {
        key: Bytes::new(),
        data: Bytes::from(vec![7; 1000]),
    }];
    let step = Step::Append(vec![Append {
        shard: SHARD,
        records,
    }]);
    engine.commit(vec![step]).expect("written");
    drop(engine);
    let (_, path, offset) = frames(dir.path()).pop().expect("frames");
    flip(&path, offset + 100);
    assert_eq!(records_in(dir.path()).await, 260);
}

#[tokio::test]
async fn a_snapshot_opens_with_everything_and_stays_as_it_was() {
    let dir = written().await;
    let copies = tempfile::tempdir().expect("a directory");
    let copy = copies.path().join("copy");
    let copied = snapshot(dir.path(), &copy).expect("copied");
    assert!(copied.files > 3, "{copied:?}");
    assert!(
        snapshot(dir.path(), &copy).is_err(),
        "a copy is never written over"
    );
    let engine = open_engine(dir.path()).expect("the directory opens");
    engine
        .apply(vec![Change::DropShard(SHARD)])
        .await
        .expect("drops");
    engine.close().await;
    drop(engine);
    assert_eq!(records_in(&copy).await, 260);
}

#[tokio::test]
async fn tools_refuse_a_directory_in_use_and_one_that_is_none() {
    let dir = written().await;
    let engine = open_engine(dir.path()).expect("the directory opens");
    assert!(matches!(verify(dir.path()), Err(OpenError::Locked { .. })));
    drop(engine);
    let empty = tempfile::tempdir().expect("a directory");
    assert!(matches!(verify(empty.path()), Err(OpenError::Io { .. })));
    assert_eq!(fs::read_dir(empty.path()).expect("readable").count(), 0);
}
