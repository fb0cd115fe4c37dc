//! When the disk is said to be full, and when no longer.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_clock::{ManualClock, SeededEntropy};
use millstream_types::Millis;
use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::disk::sim::SimDisk;
use crate::volume::open::open;
use crate::volume::options::Options;

const KIB: u64 = 1024;
const WAL_FILE: u64 = 256 * KIB;
const RESERVE: u64 = 32 * KIB;

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn of(&self, run: impl FnOnce()) -> Vec<String> {
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_level(false)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, run);
        let bytes = self.0.lock();
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(str::to_owned).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock();
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn options() -> Options {
    Options {
        wal_file_bytes: WAL_FILE,
        checkpoint_bytes: WAL_FILE,
        reserve_bytes: RESERVE,
        ..Options::new(PathBuf::new())
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Millis(1)))
}

/// A stock whose writer will want the file at [`WAL_FILE`] next.
fn stock(disk: &SimDisk) -> (Arc<Shared<SimDisk>>, WalStock<SimDisk>) {
    for dir in [layout::WAL, layout::WAL_FREE] {
        disk.create_dir(Path::new(dir)).expect("a directory");
    }
    let disk = Arc::new(disk.clone());
    let shared = Arc::new(Shared::new(disk, options(), clock(), None));
    let stock = WalStock::new(Arc::clone(&shared), VecDeque::new());
    stock.want_after(WAL_FILE);
    (shared, stock)
}

#[test]
fn a_full_disk_and_its_end_are_each_told_once() {
    let disk = SimDisk::new(1);
    let (shared, stock) = stock(&disk);
    assert!(make_reserve(&shared).expect("an empty disk"));
    let lines = Lines::default().of(|| {
        disk.set_capacity(Some(disk.allocated()));
        for _ in 0..2 {
            enter_full(&shared, &stock).expect("a full disk is no failure");
            assert!(shared.is_full());
            let left = regain(&shared, &stock).expect("a full disk is no failure");
            assert!(!left, "there is no space yet");
            assert!(shared.is_full(), "appends stay refused");
        }
        disk.set_capacity(None);
        for _ in 0..2 {
            assert!(regain(&shared, &stock).expect("there is space"));
            shared.set_full(false);
            assert!(!shared.is_full());
        }
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("the disk is full"), "{lines:?}");
    assert!(lines[1].contains("there is space again"), "{lines:?}");
}

#[test]
fn a_reserve_without_room_for_a_log_file_is_given_up_again() {
    let disk = SimDisk::new(1);
    let (shared, stock) = stock(&disk);
    enter_full(&shared, &stock).expect("an empty disk");
    disk.set_capacity(Some(disk.allocated() + RESERVE + WAL_FILE / 2));
    for _ in 0..2 {
        assert!(!regain(&shared, &stock).expect("a full disk is no failure"));
        assert!(shared.is_full(), "appends stay refused");
        let reserve = disk.open(Path::new(layout::RESERVE));
        assert!(reserve.is_err(), "its space is for checkpoints");
    }
}

#[test]
fn a_store_that_opens_without_a_reserve_is_full_until_it_has_one() {
    let disk = SimDisk::new(1);
    let start = || {
        open(
            Arc::new(disk.clone()),
            options(),
            clock(),
            Arc::new(SeededEntropy::new(1)),
        )
    };
    let opened = start().expect("an empty disk opens");
    assert!(opened.reserved && !opened.shared.is_full());
    drop(opened);
    // enough for a small log file, with what the reserve has
    disk.set_capacity(Some(disk.allocated() + 48 * KIB));
    let opened = start().expect("a full disk opens");
    assert!(!opened.reserved && opened.shared.is_full());
    disk.set_capacity(None);
    assert!(regain(&opened.shared, &opened.stock).expect("there is space"));
}
