//! Errors and full disks.

use millstream_storage::disk::sim::{Fault, Op};

use super::seeds;
use super::world::World;

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
