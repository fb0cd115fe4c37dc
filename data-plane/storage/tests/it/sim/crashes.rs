//! Crashes at every disk call, one and two of them, and random lives with many.

use millstream_storage::disk::SyncPoint;
use millstream_storage::disk::sim::Crash;

use super::seeds;
use super::world::{Opening, World};

/// Steps of the traces whose every call is a crash point.
const TRACE_STEPS: u64 = 160;
const KINDS: [Crash; 2] = [Crash::Process, Crash::Power];

/// The trace of `seed` up to the crash at call `at`; none when the trace ends before.
fn trace_to(seed: u64, at: u64) -> Option<World> {
    let mut world = World::new(seed);
    world.disk.crash_after(at);
    let finished = world.open() == Opening::Serves && world.steps(TRACE_STEPS).is_ok();
    assert!(
        finished || world.disk.is_crashed(),
        "seed {seed}: stopped without a crash"
    );
    world.engine = None;
    (!finished).then_some(world)
}

/// Opens after the crashes, reads everything, goes on for a while, and reads again.
fn judge(mut world: World, about: &str) {
    if world.open_at_last() && world.verify().is_ok() {
        let went_on = world.steps(25).and_then(|()| world.verify());
        assert!(went_on.is_ok(), "{about}: stopped without a fault");
    }
    world.assert_clean(about);
}

#[test]
fn nothing_is_lost_at_any_crash_point_of_a_trace() {
    for seed in seeds(1) {
        for at in 0.. {
            let Some(world) = trace_to(seed, at) else {
                assert!(at > 200, "the trace of seed {seed} is too short: {at}");
                break;
            };
            for kind in KINDS {
                let fork = world.fork(at);
                fork.disk.restart(kind);
                judge(fork, &format!("trace {seed}, {kind:?} at call {at}"));
            }
        }
    }
}

#[test]
fn nothing_is_lost_in_two_crashes_in_any_order_the_second_in_the_recovery() {
    for seed in seeds(1) {
        for at in (seed % 2..).step_by(2) {
            let Some(world) = trace_to(seed, at) else {
                break;
            };
            for (first, second) in KINDS.map(|a| KINDS.map(|b| (a, b))).concat() {
                let mut fork = world.fork(at);
                fork.disk.restart(first);
                fork.disk.crash_after(fork.dice.below(24));
                let about = format!("trace {seed}, {first:?} at call {at}, then {second:?}");
                // a recovery that ends before the crash goes on to serve, and to be seen
                if fork.open() == Opening::Serves && fork.verify().is_ok() {
                    drop(fork.steps(10));
                }
                fork.crash(second);
                judge(fork, &about);
            }
        }
    }
}

#[test]
fn every_crash_point_of_a_recovery_is_survived() {
    for seed in seeds(3) {
        let world = trace_to(seed, 150 + 10 * (seed % 16)).expect("the trace is longer");
        for (first, second) in KINDS.map(|a| KINDS.map(|b| (a, b))).concat() {
            for in_recovery in 0.. {
                let mut fork = world.fork(seed);
                fork.disk.restart(first);
                fork.disk.crash_after(in_recovery);
                let opening = fork.open();
                let about = format!("trace {seed}, {first:?}, {second:?} at {in_recovery}");
                fork.crash(second);
                judge(fork, &about);
                if opening == Opening::Serves {
                    assert!(
                        in_recovery > 5,
                        "a recovery of {in_recovery} calls does nothing"
                    );
                    break;
                }
            }
        }
    }
}

#[test]
fn nothing_is_lost_in_random_lives() {
    for seed in seeds(80) {
        let mut world = World::new(seed);
        world.live(8);
        world.assert_clean("random lives");
    }
}

#[test]
fn the_traces_reach_every_sync_point_roll_checkpoint_and_recycle() {
    let mut reached = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.live(8);
        reached.extend(world.disk.syncs().into_keys());
    }
    assert_eq!(reached, SyncPoint::ALL.into_iter().collect());
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let mut world = World::new(seed);
        world.live(6);
        let (trace, calls) = (world.disk.trace(), world.disk.calls());
        (trace, calls, world.book.close())
    };
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(0).0, run(1).0);
}
