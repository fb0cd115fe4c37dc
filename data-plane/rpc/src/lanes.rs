//! Appends on their way to a group: while calls are under way, further appends gather, and go
//! together in the next one. What comes alone goes at once.
//!
//! A call carries the appends of several requests, each as a part of its own: a server takes or
//! refuses each part as if it had come alone. Parts leave in the order in which they came. Plain
//! state; [`Routed`](crate::Routed) makes the calls.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millstream_stream::{Append, AppendError, Appended};
use millstream_types::GroupId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Most calls with appends at a time to one group: the server commits one while the other is on its
/// way.
const CALLS_MAX: usize = 2;
/// Most bytes in one call, unless a single part has more.
const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most parts in one call.
pub(crate) const CALL_PARTS_MAX: usize = 512;

/// What became of each append of a part.
pub(crate) type Results = Vec<Result<Appended, AppendError>>;

/// The appends of one request to one group.
pub(crate) struct Part {
    pub(crate) appends: Vec<Append>,
    pub(crate) bytes: usize,
    /// When it came.
    pub(crate) since: Duration,
    pub(crate) answer: oneshot::Sender<Results>,
    /// Its bytes of the budget, for as long as it is held here.
    pub(crate) reserved: Arc<OwnedSemaphorePermit>,
}

/// Appends that wait, by group.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<GroupId, Lane>>);

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Part>,
    calls: usize,
}

impl Lanes {
    /// Adds a part. True: a further call may be made now, by whoever takes [`next`](Self::next)
    /// until there is nothing left.
    pub(crate) fn enter(&self, group: &GroupId, part: Part) -> bool {
        let mut lanes = self.0.lock();
        let lane = lanes.entry(group.clone()).or_default();
        lane.waiting.push_back(part);
        let free = lane.calls < CALLS_MAX;
        if free {
            lane.calls += 1;
        }
        free
    }

    /// What goes in the next call; none: whoever asks makes no more calls.
    pub(crate) fn next(&self, group: &GroupId) -> Option<Vec<Part>> {
        let mut lanes = self.0.lock();
        let lane = lanes.get_mut(group)?;
        let (mut parts, mut bytes) = (Vec::new(), 0);
        while let Some(part) = lane.waiting.front() {
            bytes += part.bytes;
            let is_full = bytes > CALL_BYTES_MAX || parts.len() == CALL_PARTS_MAX;
            if is_full && !parts.is_empty() {
                break;
            }
            parts.extend(lane.waiting.pop_front());
        }
        if parts.is_empty() {
            lane.calls -= 1;
            if lane.calls == 0 {
                lanes.remove(group);
            }
            return None;
        }
        Some(parts)
    }

    /// Those that have waited since this time or longer, and were never sent.
    pub(crate) fn give_up(&self, group: &GroupId, since: Duration) -> Vec<Part> {
        let mut lanes = self.0.lock();
        let mut given_up = Vec::new();
        if let Some(lane) = lanes.get_mut(group) {
            while lane.waiting.front().is_some_and(|part| part.since <= since) {
                given_up.extend(lane.waiting.pop_front());
            }
        }
        given_up
    }
}

#[cfg(test)]
mod tests {
    use millstream_types::ShardUid;
    use tokio::sync::Semaphore;

    use super::*;

    fn group() -> GroupId {
        GroupId::new("a", "p", 0).expect("a group")
    }

    fn part(number: u128, bytes: usize) -> Part {
        let permits = Arc::new(Semaphore::new(1));
        let reserved = permits.try_acquire_owned().expect("it is free");
        Part {
            appends: vec![Append {
                shard: ShardUid(number),
                records: Vec::new(),
            }],
            bytes,
            since: Duration::from_secs(u64::try_from(number).expect("small")),
            answer: oneshot::channel().0,
            reserved: Arc::new(reserved),
        }
    }

    fn numbers(parts: Option<Vec<Part>>) -> Option<Vec<u128>> {
        let number = |part: &Part| part.appends[0].shard.0;
        Some(parts?.iter().map(number).collect())
    }

    #[test]
    fn one_that_comes_alone_goes_at_once_and_those_that_come_meanwhile_go_together() {
        let lanes = Lanes::default();
        for number in 0..2 {
            assert!(lanes.enter(&group(), part(number, 10)), "{number}");
            assert_eq!(numbers(lanes.next(&group())), Some(vec![number]));
        }
        for number in 2..6 {
            assert!(!lanes.enter(&group(), part(number, 10)), "{number}");
        }
        // whichever call ends first takes all that have gathered, in their order
        assert_eq!(numbers(lanes.next(&group())), Some(vec![2, 3, 4, 5]));
        assert_eq!(numbers(lanes.next(&group())), None);
        assert_eq!(numbers(lanes.next(&group())), None);
        assert!(
            lanes.0.lock().is_empty(),
            "nothing is kept of an idle group"
        );
        assert!(lanes.enter(&group(), part(7, 10)));
    }

    #[test]
    fn a_call_is_bounded_and_a_large_part_goes_alone() {
        let lanes = Lanes::default();
        let sizes = [CALL_BYTES_MAX, 2 * CALL_BYTES_MAX, 5, CALL_BYTES_MAX - 5, 1];
        for (number, bytes) in (0..).zip(sizes) {
            lanes.enter(&group(), part(number, bytes));
        }
        let calls: Vec<_> = std::iter::from_fn(|| numbers(lanes.next(&group()))).collect();
        assert_eq!(calls, [vec![0], vec![1], vec![2, 3], vec![4]]);
        for number in 0..u128::try_from(CALL_PARTS_MAX + 1).expect("small") {
            lanes.enter(&group(), part(number, 1));
        }
        let calls = std::iter::from_fn(|| numbers(lanes.next(&group())));
        let counts: Vec<_> = calls.map(|call| call.len()).collect();
        assert_eq!(counts, [CALL_PARTS_MAX, 1]);
    }

    #[test]
    fn those_that_have_waited_too_long_can_be_given_up() {
        let lanes = Lanes::default();
        for number in 0..4 {
            lanes.enter(&group(), part(number, 10));
        }
        let given_up = lanes.give_up(&group(), Duration::from_secs(1));
        assert_eq!(numbers(Some(given_up)), Some(vec![0, 1]));
        assert_eq!(numbers(lanes.next(&group())), Some(vec![2, 3]));
    }
}
