//! The stock under many orders of its threads: the writer gets the file it asks for whether or not
//! the next one is being made ready, and two never make one name.

use std::path::PathBuf;

use millstream_clock::ManualClock;
use millstream_types::Millis;
use shuttle::thread;

use super::*;
use crate::disk::sim::SimDisk;
use crate::volume::options::Options;
use crate::volume::sync::{Signal, explore};

const FILE_BYTES: u64 = 64 * 1024;
const FILES: u64 = 5;
/// This file holds a frame larger than a file usually is.
const LARGE: u64 = 2;
/// May end at any moment.
const SHORT: Duration = Duration::from_secs(1);

fn stock() -> Arc<WalStock<SimDisk>> {
    let disk = SimDisk::new(1);
    for dir in [layout::WAL, layout::WAL_FREE] {
        disk.create_dir(Path::new(dir)).expect("a directory");
    }
    let mut options = Options::new(PathBuf::new());
    options.wal_file_bytes = FILE_BYTES;
    let clock = Arc::new(ManualClock::new(Millis(1)));
    let shared = Shared::new(Arc::new(disk), options, clock, None);
    Arc::new(WalStock::new(Arc::new(shared), VecDeque::new()))
}

/// Takes and links files as the writer does, telling `at` where each begins.
fn write(stock: &WalStock<SimDisk>, at: &Signal) {
    let mut first = FILE_BYTES;
    for n in 0..FILES {
        let least = if n == LARGE { 2 * FILE_BYTES } else { 1 };
        let file = stock.take(first, least).expect("no name is made twice");
        assert_eq!(file.first, first);
        assert!(file.capacity >= least);
        let size = file.file.size().expect("an open file");
        assert_eq!(size, file.capacity, "a file is handed out whole");
        let capacity = file.capacity;
        stock.link(Linked { first, capacity });
        at.raise(first);
        first += capacity;
    }
    at.raise(u64::MAX);
}

#[test]
fn the_writer_gets_every_file_while_the_next_is_made_and_old_ones_are_freed() {
    explore(|| {
        let stock = stock();
        let at = Arc::new(Signal::default());
        let writer = {
            let (stock, at) = (Arc::clone(&stock), Arc::clone(&at));
            thread::spawn(move || write(&stock, &at))
        };
        let files = {
            let (stock, at) = (Arc::clone(&stock), Arc::clone(&at));
            thread::spawn(move || {
                while at.reached() != u64::MAX {
                    if !stock.prepare().expect("no name is made twice") {
                        stock.wait_wanted(SHORT);
                    }
                }
            })
        };
        let mut seen = 0;
        while seen != u64::MAX {
            seen = at.wait_beyond(seen);
            let before = if seen == u64::MAX { 0 } else { seen };
            stock
                .release_before(before)
                .expect("what is freed is there");
        }
        writer.join().expect("the writer ends");
        files.join().expect("the preparer ends");
        let state = stock.state.lock();
        let mut made: Vec<u64> = state.chain.iter().map(|link| link.first).collect();
        made.extend(state.spare.iter().map(|spare| spare.first));
        let disk = &stock.shared.disk;
        let names = disk.list(Path::new(layout::WAL)).expect("a directory");
        let there: Vec<u64> = names
            .iter()
            .filter_map(|e| layout::wal_first(&e.name))
            .collect();
        assert_eq!(
            there, made,
            "the files are those of the chain and the spare"
        );
    });
}
