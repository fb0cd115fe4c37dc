//! Room for connections of which nobody has proved anything yet: few places, and whoever came first
//! goes when a further one comes. An honest peer is known within moments, or has its answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// A number of places.
#[derive(Debug)]
pub(super) struct Room {
    places_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Counts those who came.
    came: u64,
    /// Those who are here, first come first. Without its sender a place is lost.
    here: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A place, until it is dropped or somebody else gets it.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl Room {
    pub(super) fn new(places_max: usize) -> Self {
        Self {
            places_max,
            taken: Mutex::default(),
        }
    }

    /// A place: in a full room, that of whoever has been here longest.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let (keep, lost) = oneshot::channel();
        let mut taken = self.taken.lock();
        if taken.here.len() >= self.places_max {
            drop(taken.here.pop_first());
        }
        taken.came += 1;
        let number = taken.came;
        taken.here.insert(number, keep);
        Place {
            room: Arc::clone(self),
            number,
            lost,
        }
    }
}

impl Place {
    /// Waits until somebody else has got it.
    pub(super) async fn lost(&mut self) {
        // nobody sends
        drop((&mut self.lost).await);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.taken.lock().here.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn is_lost(place: &mut Place) -> bool {
        place.lost().now_or_never().is_some()
    }

    #[test]
    fn in_a_full_room_whoever_came_first_goes() {
        let room = Arc::new(Room::new(2));
        let (mut first, mut second) = (room.enter(), room.enter());
        assert!(!is_lost(&mut first) && !is_lost(&mut second));
        let mut third = room.enter();
        assert!(is_lost(&mut first));
        assert!(!is_lost(&mut second) && !is_lost(&mut third));
    }

    #[test]
    fn whoever_leaves_makes_room() {
        let room = Arc::new(Room::new(2));
        let (mut first, second) = (room.enter(), room.enter());
        drop(second);
        let mut third = room.enter();
        assert!(!is_lost(&mut first) && !is_lost(&mut third));
    }
}
