//! A flipped bit: the store may refuse to open or to read, but it never shows other data, and
//! never goes on quietly without data that was acknowledged.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use millstream_storage::Change;
use millstream_storage::disk::Disk as _;
use millstream_storage::disk::sim::{Crash, SimDisk};
use millstream_storage::volume::stepped::Step;

use super::seeds;
use super::world::{Opening, World};

/// Every file with something in it.
fn files(disk: &SimDisk, dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            found.extend(files(disk, &path));
        } else if entry.len > 0 {
            found.push((path, entry.len));
        }
    }
    found
}

/// What became of a store in which one bit was flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Unharmed,
    RefusedToOpen,
    RefusedToRead,
}

fn flip_one_bit(seed: u64) -> Outcome {
    let mut world = World::new(seed);
    assert!(world.live(2));
    // forgets a crash that is still ordered
    world.crash(Crash::Process);
    assert!(world.open_at_last());
    world.steps(80).expect("nothing fails here");
    world.verify().expect("nothing fails here");
    // a window behind all others, which proves that they were durable; alone it proves nothing
    let row = Change::PutRow {
        key: Bytes::from_static(b"last"),
        value: Bytes::new(),
    };
    world
        .engine()
        .commit(vec![Step::Apply(vec![row])])
        .expect("nothing fails here");
    world.crash(Crash::Process);

    let candidates = files(&world.disk, Path::new(""));
    let (path, len) = &candidates[world.dice.index(candidates.len())];
    // a header, or anywhere
    let offset = if world.dice.chance(1, 3) {
        world.dice.below(128.min(*len))
    } else {
        world.dice.below(*len)
    };
    let about = format!("bit of byte {offset} of {}", path.display());
    world
        .disk
        .flip_bit(path, offset, world.dice.bits().to_le_bytes()[0])
        .unwrap();

    match world.open() {
        Opening::Refused(_) => return Outcome::RefusedToOpen,
        Opening::CutShort(why) => panic!("seed {seed}, {about}: {why}"),
        Opening::Serves => {},
    }
    world.verify().expect("nothing fails here");
    let (report, faults) = world.book.close();
    let told = faults.iter().any(|fault| fault.contains("corrupt"));
    let shown_wrong = report.doubled + report.reordered + report.phantom;
    assert_eq!(shown_wrong, 0, "seed {seed}, {about}: {report:#?}");
    assert!(
        told || report.lost == 0,
        "seed {seed}, {about}: {faults:?} {report:#?}"
    );
    if told {
        Outcome::RefusedToRead
    } else {
        Outcome::Unharmed
    }
}

#[test]
fn a_flipped_bit_is_noticed_or_harmless() {
    let outcomes: std::collections::BTreeSet<Outcome> = seeds(120).map(flip_one_bit).collect();
    assert_eq!(outcomes.len(), 3, "each outcome is met: {outcomes:?}");
}
