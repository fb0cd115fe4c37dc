//! Errors and full disks.

use millstream_storage::disk::sim::{Fault, Op};
use millstream_storage::volume::stepped::Progress;

use super::seeds;
use super::world::{Stopped, World};

#[test]
fn nothing_is_lost_when_a_write_or_sync_fails() {
    for seed in seeds(80) {
        let mut world = World::new(seed);
        for _ in 0..6 {
            let op = if world.dice.chance(1, 2) {
                Op::Write
            } else {
                Op::Sync
            };
            world.disk.fail(op, world.dice.between(1, 80), 1, Fault::Io);
            if !world.live(1) {
                break;
            }
            let crash = world.any_crash();
            world.crash(crash);
        }
        world.assert_clean("errors of the disk");
    }
}

#[test]
fn nothing_is_lost_when_a_read_fails() {
    for seed in seeds(30) {
        let mut world = World::new(seed);
        for _ in 0..4 {
            world
                .disk
                .fail(Op::Read, world.dice.between(1, 40), 2, Fault::Io);
            if !world.live(2) {
                break;
            }
            let crash = world.any_crash();
            world.crash(crash);
        }
        world.assert_clean("errors of reads");
    }
}

#[test]
fn a_full_disk_loses_nothing_and_is_written_again_once_there_is_space() {
    let mut refused_somewhere = false;
    for seed in seeds(60) {
        let mut world = World::new(seed);
        world.may_be_full = true;
        assert!(world.open_at_last());
        world.steps(60).expect("nothing is short yet");
        let room = world.dice.below(200_000);
        world.disk.set_capacity(Some(world.disk.allocated() + room));
        for _ in 0..3 {
            let steps = world.dice.below(150);
            if let Err(stopped) = world.steps(steps) {
                panic!("seed {seed}: a full disk ended the engine: {}", stopped.0);
            }
            refused_somewhere |= world.refused > 0;
            world.verify().expect("reads go on");
            let crash = world.any_crash();
            world.crash(crash);
            // opening may need the space, too; an operator gives it
            if world.dice.chance(1, 2) {
                world.disk.set_capacity(None);
            }
            if world.open() != super::world::Opening::Serves {
                world.crash(crash);
                world.disk.set_capacity(None);
                assert!(world.open_at_last());
            }
            world.verify().expect("reads go on");
        }
        world.disk.set_capacity(None);
        world.may_be_full = false;
        world.steps(60).expect("there is space again");
        world.verify().expect("reads go on");
        world.assert_clean("a full disk");
    }
    assert!(refused_somewhere, "no run was ever short of space");
}

#[test]
fn nothing_is_lost_when_calls_say_now_and_then_that_the_disk_is_full() {
    for seed in seeds(60) {
        let mut world = World::new(seed);
        world.may_be_full = true;
        for _ in 0..5 {
            for op in [Op::Write, Op::Name] {
                let (nth, times) = (world.dice.between(1, 60), world.dice.between(1, 4));
                world.disk.fail(op, nth, times, Fault::NoSpace);
            }
            if !world.live(1) {
                break;
            }
            let crash = world.any_crash();
            world.crash(crash);
        }
        world.assert_clean("a disk that is full now and then");
    }
}

/// Has the sink write what it can, with a checkpoint behind it, as the threads do.
fn clean_up(world: &mut World) -> Result<(), Stopped> {
    while world.engine().sink_round()? == Progress::Worked {}
    let ends = [Progress::Idle, Progress::Finished, Progress::NoSpace];
    while !ends.contains(&world.engine().checkpoint_step()?) {}
    Ok(())
}

/// Appends until the log is longer by `bytes`.
fn append(world: &mut World, bytes: u64) {
    let end = world.engine().counters().wal_bytes + bytes;
    while world.engine().counters().wal_bytes < end {
        world.append().expect("the log has room");
    }
}

/// A disk that is full while more than the reserve waits to be written.
fn overfilled(seed: u64) -> World {
    let mut world = World::new(seed);
    world.options.wal_file_bytes = 2048 * 1024;
    world.options.checkpoint_bytes = 4096 * 1024;
    world.may_be_full = true;
    assert!(world.open_at_last());
    while world.book.open_shards().is_empty() {
        world.steps(20).expect("nothing is short yet");
    }
    let enough = 4 * world.options.reserve_bytes;
    append(&mut world, enough);
    clean_up(&mut world).expect("nothing is short yet");
    world.engine().prepare_file().expect("nothing is short yet");
    let (allocated, room) = (world.disk.allocated(), world.dice.below(20_000));
    world.disk.set_capacity(Some(allocated + room));
    append(&mut world, enough);
    assert_eq!(world.refused, 0, "seed {seed}: the log has room");
    world
}

#[test]
fn a_full_disk_with_more_to_write_than_its_reserve_is_emptied_by_trims() {
    for seed in seeds(40) {
        let mut world = overfilled(seed);
        for _ in 0..3 {
            world.engine().meet_full_disk().expect("files can go");
            clean_up(&mut world).expect("a full disk is no failure");
            world.verify().expect("reads go on");
        }
        world.trim_all().expect("a full disk is no failure");
        clean_up(&mut world).expect("a full disk is no failure");
        let leaves = world.engine().leave_full_disk().expect("no failure");
        assert!(leaves, "seed {seed}: the trims freed nothing");
        world.verify().expect("reads go on");
        world.append().expect("there is space again");
        assert_eq!(world.refused, 0, "seed {seed}: there is space again");
        clean_up(&mut world).expect("there is space again");
        let crash = world.any_crash();
        world.crash(crash);
        assert!(world.open_at_last());
        world.verify().expect("everything is there");
        world.assert_clean("trims on a full disk");
    }
}

#[test]
fn what_waits_on_a_full_disk_outlives_crashes() {
    for seed in seeds(40) {
        let mut world = overfilled(seed);
        for _ in 0..3 {
            let steps = world.dice.below(60);
            world.steps(steps).expect("a full disk is no failure");
            world.verify().expect("reads go on");
        }
        let crash = world.any_crash();
        world.crash(crash);
        // opening writes what waited, and needs the space for it
        world.disk.set_capacity(None);
        assert!(world.open_at_last());
        world.verify().expect("everything is there");
        world.assert_clean("a crash with much to write on a full disk");
    }
}
