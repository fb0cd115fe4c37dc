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

impl Part {
    /// Answers that all of it failed.
    pub(crate) fn fail(self, error: AppendError) {
        // nobody may wait for it any more
        drop(self.answer.send(vec![Err(error); self.appends.len()]));
    }
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
    /// Adds a part. A turn: a further call may be made now, by whoever gets it.
    pub(crate) fn enter(self: &Arc<Self>, group: &GroupId, part: Part) -> Option<Turn> {
        let mut lanes = self.0.lock();
        let lane = lanes.entry(group.clone()).or_default();
        lane.waiting.push_back(part);
        if lane.calls == CALLS_MAX {
            return None;
        }
        lane.calls += 1;
        Some(Turn {
            lanes: Arc::clone(self),
            group: group.clone(),
            is_over: false,
        })
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

/// The right to make one call after the other to a group, until nothing waits. It is given back at
/// the end, and also when whoever has it is gone before.
pub(crate) struct Turn {
    lanes: Arc<Lanes>,
    group: GroupId,
    is_over: bool,
}

impl Turn {
    /// Who is called.
    pub(crate) const fn group(&self) -> &GroupId {
        &self.group
    }

    /// What goes in the next call; none: the turn is over.
    pub(crate) fn next(&mut self) -> Option<Vec<Part>> {
        let mut lanes = self.lanes.0.lock();
        let lane = lanes.get_mut(&self.group).filter(|_| !self.is_over)?;
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
            // while it is looked: what comes from now on gets a turn of its own
            self.is_over = true;
            lane.calls -= 1;
            if lane.calls == 0 {
                lanes.remove(&self.group);
            }
            return None;
        }
        Some(parts)
    }
}

impl Drop for Turn {
    /// Whoever made the calls is gone in the middle of one. Nobody else may be there to send what
    /// waits behind it.
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut lanes = self.lanes.0.lock();
        let Some(lane) = lanes.get_mut(&self.group) else {
            return;
        };
        lane.calls -= 1;
        let abandoned = if lane.calls == 0 {
            lanes.remove(&self.group)
        } else {
            None
        };
        drop(lanes);
        for part in abandoned.into_iter().flat_map(|lane| lane.waiting) {
            part.fail(AppendError::Unreachable);
        }
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

    /// A part, and where it is answered.
    fn asked(number: u128, bytes: usize) -> (Part, oneshot::Receiver<Results>) {
        let permits = Arc::new(Semaphore::new(1));
        let reserved = permits.try_acquire_owned().expect("it is free");
        let (answer, answered) = oneshot::channel();
        let part = Part {
            appends: vec![Append {
                shard: ShardUid(number),
                records: Vec::new(),
            }],
            bytes,
            since: Duration::from_secs(u64::try_from(number).expect("small")),
            answer,
            reserved: Arc::new(reserved),
        };
        (part, answered)
    }

    fn part(number: u128, bytes: usize) -> Part {
        asked(number, bytes).0
    }

    fn numbers(parts: Option<Vec<Part>>) -> Option<Vec<u128>> {
        let number = |part: &Part| part.appends[0].shard.0;
        Some(parts?.iter().map(number).collect())
    }

    /// As many calls as may be under way, with a part each.
    fn turns(lanes: &Arc<Lanes>) -> Vec<Turn> {
        let turn = |number| {
            let mut turn = lanes.enter(&group(), part(number, 10)).expect("a turn");
            assert_eq!(numbers(turn.next()), Some(vec![number]));
            turn
        };
        (0..2).map(turn).collect()
    }

    #[test]
    fn one_that_comes_alone_goes_at_once_and_those_that_come_meanwhile_go_together() {
        let lanes = Arc::new(Lanes::default());
        let mut turns = turns(&lanes);
        for number in 2..6 {
            assert!(lanes.enter(&group(), part(number, 10)).is_none());
        }
        // whichever call ends first takes all that have gathered, in their order
        assert_eq!(numbers(turns[1].next()), Some(vec![2, 3, 4, 5]));
        for turn in &mut turns {
            assert_eq!(numbers(turn.next()), None);
        }
        assert!(lanes.0.lock().is_empty(), "nothing of an idle group");
        let mut next = lanes.enter(&group(), part(7, 10)).expect("a turn");
        assert_eq!(numbers(turns[0].next()), None, "a turn that is over");
        drop(turns);
        assert_eq!(numbers(next.next()), Some(vec![7]));
    }

    #[test]
    fn a_turn_that_is_dropped_or_ends_in_a_panic_is_given_back() {
        let lanes = Arc::new(Lanes::default());
        for number in 0..4 {
            let mut turn = lanes.enter(&group(), part(number, 10)).expect("a turn");
            let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                assert_eq!(numbers(turn.next()), Some(vec![number]));
                assert!(number.is_multiple_of(2), "every other call panics");
                drop(turn);
            }));
            assert_eq!(called.is_ok(), number.is_multiple_of(2));
        }
        assert!(lanes.0.lock().is_empty(), "nothing of an idle group");
    }

    #[test]
    fn what_waits_is_sent_by_the_other_call_or_answered_when_there_is_none() {
        let lanes = Arc::new(Lanes::default());
        let mut turns = turns(&lanes);
        let (waits, mut answered) = asked(2, 10);
        assert!(lanes.enter(&group(), waits).is_none());
        drop(turns.pop());
        assert!(answered.try_recv().is_err(), "the other call sends it");
        drop(turns.pop());
        let failed = Err(AppendError::Unreachable);
        assert_eq!(answered.try_recv(), Ok(vec![failed]), "it was not sent");
        assert!(lanes.0.lock().is_empty(), "nothing of an idle group");
    }

    #[test]
    fn a_call_is_bounded_and_a_large_part_goes_alone() {
        let lanes = Arc::new(Lanes::default());
        let sizes = [CALL_BYTES_MAX, 2 * CALL_BYTES_MAX, 5, CALL_BYTES_MAX - 5, 1];
        let enter = |(number, bytes)| lanes.enter(&group(), part(number, bytes));
        let mut turns: Vec<Turn> = (0..).zip(sizes).filter_map(enter).collect();
        let calls = std::iter::from_fn(|| numbers(turns[0].next()));
        let calls: Vec<_> = calls.collect();
        assert_eq!(calls, [vec![0], vec![1], vec![2, 3], vec![4]]);
        for number in 0..u128::try_from(CALL_PARTS_MAX + 1).expect("small") {
            turns.extend(enter((number, 1)));
        }
        let calls = std::iter::from_fn(|| numbers(turns[1].next()));
        let counts: Vec<_> = calls.map(|call| call.len()).collect();
        assert_eq!(counts, [CALL_PARTS_MAX, 1]);
    }

    #[test]
    fn those_that_have_waited_too_long_can_be_given_up() {
        let lanes = Arc::new(Lanes::default());
        let enter = |number| lanes.enter(&group(), part(number, 10));
        let mut turns: Vec<Turn> = (0..4).filter_map(enter).collect();
        let given_up = lanes.give_up(&group(), Duration::from_secs(1));
        assert_eq!(numbers(Some(given_up)), Some(vec![0, 1]));
        assert_eq!(numbers(turns[0].next()), Some(vec![2, 3]));
    }
}
