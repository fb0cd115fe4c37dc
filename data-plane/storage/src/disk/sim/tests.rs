//! What the simulated disk does to those who trust it too far.

use std::io::IoSlice;

use super::*;

const POINT: SyncPoint = SyncPoint::WalFrame;
const OTHER: SyncPoint = SyncPoint::SegmentData;
const SEEDS: u64 = 200;

fn write(file: &SimFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_at(&[IoSlice::new(bytes)], offset)
}

fn content(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(path)).ok()?;
    let mut bytes = vec![0xee; usize::try_from(file.size().unwrap()).unwrap() + 10];
    let read = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(read);
    Some(bytes)
}

/// A disk with a durable, empty file of `len` zeros named `f`.
fn with_file(seed: u64, len: u64) -> (SimDisk, SimFile) {
    let disk = SimDisk::new(seed);
    let file = disk.create(Path::new("f")).unwrap();
    file.set_len(len).unwrap();
    file.sync_all(POINT).unwrap();
    disk.sync_dir(Path::new(""), POINT).unwrap();
    (disk, file)
}

fn names(disk: &SimDisk, dir: &str) -> Vec<String> {
    let entries = disk.list(Path::new(dir)).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

/// All outcomes of `run` over the seeds.
fn outcomes<T: Ord>(run: impl Fn(u64) -> T) -> BTreeSet<T> {
    (0..SEEDS).map(run).collect()
}

#[test]
fn reads_what_was_written_across_pages_and_stops_at_the_end() {
    let (_disk, file) = with_file(1, 0);
    let bytes: Vec<u8> = (0..10_000u32).map(|i| i.to_le_bytes()[0]).collect();
    file.write_at(
        &[IoSlice::new(&bytes[..3_000]), IoSlice::new(&bytes[3_000..])],
        4_000,
    )
    .unwrap();
    let mut read = vec![0; 14_001];
    assert_eq!(file.read_at(&mut read, 0).unwrap(), 14_000);
    assert_eq!(
        (&read[..4_000], &read[4_000..14_000]),
        (&[0; 4_000][..], &bytes[..])
    );
    file.set_len(5_000).unwrap();
    file.set_len(6_000).unwrap();
    assert_eq!(file.read_at(&mut read, 4_999).unwrap(), 1_001);
    assert_eq!((read[0], read[1]), (bytes[999], 0));
    assert_eq!(file.read_at(&mut read, 6_000).unwrap(), 0);
}

#[test]
fn a_process_death_keeps_unsynced_bytes_and_names() {
    let (disk, file) = with_file(1, 0);
    write(&file, b"kept", 0).unwrap();
    disk.rename(Path::new("f"), Path::new("g")).unwrap();
    disk.restart(Crash::Process);
    assert_eq!(content(&disk, "g"), Some(b"kept".to_vec()));
    assert!(
        file.size().is_err(),
        "a handle from before the crash is dead"
    );
}

#[test]
fn a_power_loss_keeps_synced_bytes_and_may_drop_each_unsynced_sector() {
    let kept = outcomes(|seed| {
        let (disk, file) = with_file(seed, 2_048);
        write(&file, &[1; 512], 0).unwrap();
        file.sync_data(POINT).unwrap();
        write(&file, &[2; 1_536], 512).unwrap();
        disk.restart(Crash::Power);
        let bytes = content(&disk, "f").unwrap();
        let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
        assert!(
            bytes
                .chunks(512)
                .all(|sector| sector.iter().all(|b| *b == sector[0]))
        );
        sectors
    });
    // every subset of the three unsynced sectors, later ones without earlier ones too
    assert_eq!(kept.len(), 8, "{kept:?}");
    assert!(kept.iter().all(|sectors| sectors[0] == 1));
}

#[test]
fn bytes_that_survived_one_power_loss_survive_the_next() {
    for seed in 0..SEEDS {
        let (disk, file) = with_file(seed, 2_048);
        write(&file, &[2; 2_048], 0).unwrap();
        disk.restart(Crash::Power);
        let after_first = content(&disk, "f");
        disk.restart(Crash::Power);
        assert_eq!(content(&disk, "f"), after_first);
    }
}

#[test]
fn a_length_is_durable_only_by_a_full_sync() {
    let lengths = |full: bool| {
        outcomes(|seed| {
            let (disk, file) = with_file(seed, 100);
            write(&file, &[1; 900], 100).unwrap();
            if full {
                file.sync_all(POINT).unwrap();
            } else {
                file.sync_data(POINT).unwrap();
            }
            disk.restart(Crash::Power);
            content(&disk, "f").unwrap().len()
        })
    };
    assert_eq!(lengths(false), BTreeSet::from([100, 1_000]));
    assert_eq!(lengths(true), BTreeSet::from([1_000]));
}

#[test]
fn a_cut_may_come_undone_with_its_bytes() {
    let lengths = outcomes(|seed| {
        let (disk, file) = with_file(seed, 0);
        write(&file, &[1; 1_000], 0).unwrap();
        file.sync_all(POINT).unwrap();
        file.set_len(10).unwrap();
        disk.restart(Crash::Power);
        content(&disk, "f").unwrap().len()
    });
    assert_eq!(lengths, BTreeSet::from([10, 1_000]));
}

#[test]
fn an_unsynced_name_may_be_lost_and_edits_of_a_directory_go_in_order() {
    let left = outcomes(|seed| {
        let disk = SimDisk::new(seed);
        for name in ["a", "b"] {
            let file = disk.create(Path::new(name)).unwrap();
            file.sync_all(POINT).unwrap();
        }
        disk.remove(Path::new("a")).unwrap();
        disk.restart(Crash::Power);
        names(&disk, "").concat()
    });
    let prefixes = ["", "a", "ab", "b"].map(str::to_owned);
    assert_eq!(left, BTreeSet::from(prefixes));
}

#[test]
fn a_rename_in_one_directory_is_atomic() {
    let left = outcomes(|seed| {
        let (disk, _) = with_file(seed, 0);
        disk.create(Path::new("g")).unwrap();
        disk.sync_dir(Path::new(""), POINT).unwrap();
        disk.rename(Path::new("g"), Path::new("f")).unwrap();
        disk.restart(Crash::Power);
        names(&disk, "").concat()
    });
    assert_eq!(left, BTreeSet::from(["f".to_owned(), "fg".to_owned()]));
}

#[test]
fn a_rename_across_directories_may_show_both_names_or_none() {
    let run = |seed, synced: &[&str]| {
        let disk = SimDisk::new(seed);
        disk.create_dir(Path::new("old")).unwrap();
        disk.create_dir(Path::new("new")).unwrap();
        disk.create(Path::new("old/f")).unwrap();
        disk.sync_everything(POINT).unwrap();
        disk.rename(Path::new("old/f"), Path::new("new/f")).unwrap();
        for dir in synced {
            disk.sync_dir(Path::new(dir), POINT).unwrap();
        }
        disk.restart(Crash::Power);
        (names(&disk, "old").len(), names(&disk, "new").len())
    };
    let all = BTreeSet::from([(0, 0), (0, 1), (1, 0), (1, 1)]);
    assert_eq!(outcomes(|seed| run(seed, &[])), all);
    let target_only = BTreeSet::from([(0, 1), (1, 1)]);
    assert_eq!(outcomes(|seed| run(seed, &["new"])), target_only);
    let both = BTreeSet::from([(0, 1)]);
    assert_eq!(outcomes(|seed| run(seed, &["new", "old"])), both);
}

#[test]
fn syncing_everything_makes_bytes_lengths_and_names_durable() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        disk.create_dir(Path::new("d")).unwrap();
        let file = disk.create(Path::new("d/f")).unwrap();
        write(&file, &[7; 9_000], 0).unwrap();
        disk.sync_everything(POINT).unwrap();
        disk.restart(Crash::Power);
        assert_eq!(content(&disk, "d/f"), Some(vec![7; 9_000]));
    }
}

#[test]
fn a_crash_stops_the_ordered_call_in_its_middle_and_all_that_follow() {
    let left = outcomes(|seed| {
        let (disk, file) = with_file(seed, 0);
        disk.crash_after(1);
        write(&file, &[1; 4], 0).unwrap();
        assert!(write(&file, &[2; 4], 4).is_err());
        assert!(disk.is_crashed());
        assert!(write(&file, &[3; 4], 8).is_err());
        assert!(file.read_at(&mut [0], 0).is_err());
        assert!(disk.open(Path::new("f")).is_err());
        disk.restart(Crash::Process);
        content(&disk, "f").unwrap().len()
    });
    assert_eq!(left, BTreeSet::from([4, 5, 6, 7, 8]));
}

#[test]
fn a_failed_sync_marks_pages_clean_so_that_the_next_one_does_not_save_them() {
    let kept = outcomes(|seed| {
        let (disk, file) = with_file(seed, 1_024);
        write(&file, &[1; 1_024], 0).unwrap();
        disk.fail(Op::Sync, 1, 1, Fault::Io);
        let failed = file.sync_data(POINT).unwrap_err();
        assert_eq!(failed.raw_os_error(), Some(5));
        file.sync_data(POINT).unwrap();
        assert_eq!(
            content(&disk, "f"),
            Some(vec![1; 1_024]),
            "the cache still shows them"
        );
        disk.restart(Crash::Power);
        let bytes = content(&disk, "f").unwrap();
        (bytes[0], bytes[1_023])
    });
    assert_eq!(kept, BTreeSet::from([(0, 0), (0, 1), (1, 0), (1, 1)]));
}

#[test]
fn a_failed_directory_sync_promises_nothing_and_can_be_done_again() {
    let kept = |again: bool| {
        outcomes(|seed| {
            let disk = SimDisk::new(seed);
            disk.create(Path::new("f")).unwrap();
            disk.fail(Op::Sync, 1, 1, Fault::Io);
            disk.sync_dir(Path::new(""), POINT).unwrap_err();
            if again {
                disk.sync_dir(Path::new(""), POINT).unwrap();
            }
            disk.restart(Crash::Power);
            names(&disk, "").len()
        })
    };
    assert_eq!(kept(false), BTreeSet::from([0, 1]));
    assert_eq!(kept(true), BTreeSet::from([1]));
}

#[test]
fn an_ordered_write_error_hits_the_nth_write_and_those_after_it_as_often_as_ordered() {
    let (disk, file) = with_file(3, 4_096);
    disk.fail(Op::Write, 2, 2, Fault::NoSpace);
    let answers: Vec<bool> = (0..4).map(|_| write(&file, &[1; 8], 0).is_ok()).collect();
    assert_eq!(answers, [true, false, false, true]);
    disk.fail(Op::Read, 1, 1, Fault::Io);
    assert!(file.read_at(&mut [0], 0).is_err());
    assert!(file.read_at(&mut [0], 0).is_ok());
    disk.fail(Op::Name, 1, 1, Fault::NoSpace);
    let refused = disk.create(Path::new("g")).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    assert!(disk.create(Path::new("g")).is_ok());
}

#[test]
fn a_full_disk_refuses_new_pages_takes_overwrites_and_recovers() {
    let (disk, file) = with_file(4, 0);
    write(&file, &[1; 8_192], 0).unwrap();
    disk.set_capacity(Some(disk.allocated()));
    let full = write(&file, &[2; 4_096], 8_192).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    assert!(disk.create(Path::new("g")).is_err());
    write(&file, &[2; 8_192], 0).unwrap();
    file.set_len(4_096).unwrap();
    write(&file, &[3; 4_096], 4_096).unwrap();
    disk.set_capacity(None);
    write(&file, &[3; 4_096], 8_192).unwrap();
}

#[test]
fn a_removed_file_gives_its_space_back_when_the_last_handle_is_gone() {
    let (disk, file) = with_file(4, 0);
    let before = disk.allocated();
    write(&file, &[1; 8_192], 0).unwrap();
    disk.remove(Path::new("f")).unwrap();
    assert_eq!(disk.allocated(), before + 8_192);
    assert!(
        write(&file, &[2; 10], 0).is_ok(),
        "an open file outlives its name"
    );
    drop(file);
    assert!(disk.allocated() < before);
}

#[test]
fn a_sync_point_that_is_turned_off_reports_done_and_saves_nothing() {
    let kept = |point| {
        outcomes(|seed| {
            let (disk, file) = with_file(seed, 512);
            disk.turn_off(OTHER);
            write(&file, &[1; 512], 0).unwrap();
            file.sync_all(point).unwrap();
            assert!(disk.syncs().contains_key(&point));
            disk.restart(Crash::Power);
            content(&disk, "f").unwrap()[0]
        })
    };
    assert_eq!(kept(POINT), BTreeSet::from([1]));
    assert_eq!(kept(OTHER), BTreeSet::from([0, 1]));
}

#[test]
fn asked_for_writeback_promises_nothing_and_harms_nothing() {
    for seed in 0..SEEDS {
        let (disk, file) = with_file(seed, 8_192);
        write(&file, &[1; 8_192], 0).unwrap();
        file.start_writeback(0, 8_192);
        file.sync_data(POINT).unwrap();
        disk.restart(Crash::Power);
        assert_eq!(content(&disk, "f"), Some(vec![1; 8_192]));
    }
    let kept = outcomes(|seed| {
        let (disk, file) = with_file(seed, 512);
        write(&file, &[1; 512], 0).unwrap();
        file.start_writeback(0, 512);
        disk.restart(Crash::Power);
        content(&disk, "f").unwrap()[0]
    });
    assert_eq!(kept, BTreeSet::from([0, 1]));
}

#[test]
fn a_flipped_bit_stays_flipped() {
    let (disk, file) = with_file(5, 0);
    write(&file, &[0b1000; 3], 0).unwrap();
    file.sync_all(POINT).unwrap();
    disk.flip_bit(Path::new("f"), 1, 0).unwrap();
    assert_eq!(content(&disk, "f"), Some(vec![8, 9, 8]));
    disk.restart(Crash::Power);
    assert_eq!(content(&disk, "f"), Some(vec![8, 9, 8]));
}

#[test]
fn one_seed_gives_one_trace_and_one_outcome() {
    let run = |seed| {
        let (disk, file) = with_file(seed, 4_096);
        for i in 0..20u8 {
            write(&file, &[i; 700], u64::from(i) * 300).unwrap();
        }
        disk.crash_after(0);
        assert!(write(&file, &[9; 700], 0).is_err());
        disk.restart(Crash::Power);
        (disk.trace(), content(&disk, "f"))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).1, run(2).1);
}

#[test]
fn a_fork_goes_its_own_way() {
    let (disk, file) = with_file(6, 512);
    let fork = disk.fork(1);
    write(&file, &[1; 512], 0).unwrap();
    assert_eq!(content(&fork, "f"), Some(vec![0; 512]));
    assert_eq!(content(&disk, "f"), Some(vec![1; 512]));
    let copy = fork.open(Path::new("f")).unwrap();
    write(&copy, &[2; 512], 0).unwrap();
    assert_eq!(content(&disk, "f"), Some(vec![1; 512]));
}

#[test]
fn paths_answer_as_a_file_system_does() {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("d")).unwrap();
    disk.create_dir(Path::new("d")).unwrap();
    let kind = |answer: io::Result<()>| answer.unwrap_err().kind();
    disk.create(Path::new("d/f")).unwrap();
    let again = disk.create(Path::new("d/f")).map(drop);
    assert_eq!(kind(again), ErrorKind::AlreadyExists);
    let absent = disk.open(Path::new("d/g")).map(drop);
    assert_eq!(kind(absent), ErrorKind::NotFound);
    assert_eq!(
        kind(disk.create(Path::new("x/g")).map(drop)),
        ErrorKind::NotFound
    );
    assert_eq!(kind(disk.remove(Path::new("g"))), ErrorKind::NotFound);
    assert_eq!(
        kind(disk.remove_dir(Path::new("d"))),
        ErrorKind::DirectoryNotEmpty
    );
    assert_eq!(
        kind(disk.open(Path::new("d")).map(drop)),
        ErrorKind::IsADirectory
    );
    disk.remove(Path::new("d/f")).unwrap();
    disk.remove_dir(Path::new("d")).unwrap();
    assert_eq!(
        kind(disk.list(Path::new("d")).map(drop)),
        ErrorKind::NotFound
    );
}
