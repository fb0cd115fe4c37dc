//! Each sync is needed: with one of them lying, the history checker sees data lost, doubled or out
//! of order after crashes. A store that refuses to open after mere crashes has lost everything.

use millstream_storage::disk::SyncPoint;

use super::setting;
use super::world::World;

/// Seeds within which each lie must be found.
const SEEDS_MAX: u64 = 400;

/// The first seed with which the checker sees the lie.
fn found_at(point: SyncPoint) -> Option<u64> {
    let first = setting("SEED", 0);
    (first..first + SEEDS_MAX).find(|seed| {
        let mut world = World::new(*seed);
        world.turn_off(point);
        world.live(8);
        !world.book.history.finish().is_clean()
    })
}

#[test]
fn the_checker_sees_each_sync_that_lies() {
    let unseen: Vec<SyncPoint> = SyncPoint::ALL
        .into_iter()
        .filter(|point| found_at(*point).is_none())
        .collect();
    assert!(
        unseen.is_empty(),
        "with these turned off nothing was lost: {unseen:?}"
    );
}
