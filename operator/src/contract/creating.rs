//! Streams that are being made for SDK clients: one at a time in each namespace, so that of two at
//! once the second is judged with the first one's object; and no namespace waits for another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_crds::data_stream::DataStreamResource;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Most CreateStream calls of one namespace that wait or are being done; AWS takes five a second.
pub const CALLS_MAX: usize = 64;

/// An object that was made for a client and may not be seen yet.
pub struct Made {
    /// The object.
    pub object: Arc<DataStreamResource>,
    /// When, on the monotonic clock.
    pub at: Duration,
}

/// The lane of each namespace that has one.
#[derive(Default)]
pub struct Lanes(Mutex<BTreeMap<String, Arc<Lane>>>);

/// One namespace's calls, one behind the other.
pub struct Lane {
    places: Semaphore,
    unseen: tokio::sync::Mutex<Vec<Made>>,
}

/// One call's turn.
pub struct Turn<'a> {
    /// What was made and is not seen yet.
    pub unseen: tokio::sync::MutexGuard<'a, Vec<Made>>,
    _place: SemaphorePermit<'a>,
}

impl Lanes {
    /// The lane of a namespace. Others that nobody stands in and in which `is_over` for all that was
    /// made go, so that there are no more than namespaces in use.
    pub fn of(&self, namespace: &str, is_over: impl Fn(&Made) -> bool) -> Arc<Lane> {
        let mut lanes = self.0.lock();
        lanes.retain(|name, lane| name == namespace || !is_idle(lane, &is_over));
        let lane = lanes.entry(namespace.to_owned());
        Arc::clone(lane.or_insert_with(|| Arc::new(Lane::new())))
    }
}

/// Nobody comes to it while the lanes are locked and hold the only reference.
fn is_idle(lane: &Arc<Lane>, is_over: impl Fn(&Made) -> bool) -> bool {
    let is_over = |unseen: &Vec<Made>| unseen.iter().all(is_over);
    Arc::strong_count(lane) == 1 && lane.unseen.try_lock().is_ok_and(|unseen| is_over(&unseen))
}

impl Lane {
    fn new() -> Self {
        Self {
            places: Semaphore::new(CALLS_MAX),
            unseen: tokio::sync::Mutex::default(),
        }
    }

    /// Waits for the turn of one call; none when too many wait already.
    pub async fn turn(&self) -> Option<Turn<'_>> {
        let place = self.places.try_acquire().ok()?;
        Some(Turn {
            unseen: self.unseen.lock().await,
            _place: place,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use millstream_crds::data_stream::DataStreamSpec;

    use super::*;

    #[test]
    fn a_lane_takes_one_after_the_other_and_turns_away_too_many() {
        let lanes = Lanes::default();
        let lane = lanes.of("team", |_| true);
        let first = lane.turn().now_or_never().flatten();
        assert!(first.is_some(), "nobody is before it");
        let mut waiting: Vec<_> = (1..CALLS_MAX).map(|_| Box::pin(lane.turn())).collect();
        for turn in &mut waiting {
            assert!(turn.as_mut().now_or_never().is_none(), "it waits");
        }
        let turned_away = lane.turn().now_or_never().expect("at once");
        assert!(turned_away.is_none());

        let other = lanes.of("other", |_| true);
        assert!(other.turn().now_or_never().flatten().is_some());

        drop(first);
        let next = waiting.first_mut().expect("there").as_mut();
        assert!(next.now_or_never().flatten().is_some());
    }

    #[test]
    fn a_lane_stays_while_what_was_made_in_it_is_not_seen() {
        let lanes = Lanes::default();
        for namespace in ["seen", "unseen"] {
            let object = DataStreamResource::new(namespace, DataStreamSpec::default());
            let lane = lanes.of(namespace, |_| false);
            let mut turn = lane.turn().now_or_never().flatten().expect("a turn");
            turn.unseen.push(Made {
                object: Arc::new(object),
                at: Duration::ZERO,
            });
        }
        let is_over = |made: &Made| made.object.metadata.name.as_deref() == Some("seen");
        drop(lanes.of("third", is_over));
        let names: Vec<String> = lanes.0.lock().keys().cloned().collect();
        assert_eq!(names, ["third", "unseen"]);
    }
}
