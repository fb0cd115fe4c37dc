//! The queue under many orders of its threads: nothing is lost, nobody waits in vain.

use std::sync::Arc;

use bytes::Bytes;
use shuttle::thread;
use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

use super::*;
use crate::store::Change;
use crate::volume::sync::{Signal, explore};

const PUSHERS: u8 = 2;
const EACH: u8 = 3;
/// Every request is charged 1.
const WINDOW: usize = 2;
/// Ends only by a notification.
const FOREVER: Duration = Duration::MAX;
/// May end at any moment.
const SHORT: Duration = Duration::from_secs(1);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Refused,
    /// Its caller would wait for ever.
    Open,
}

fn queue() -> Arc<CommitQueue> {
    Arc::new(CommitQueue::new(WINDOW as u64))
}

fn push_all(queue: &CommitQueue, pusher: u8) -> Vec<Receiver<Reply>> {
    let push = |n| {
        let (reply, answered) = oneshot::channel();
        let key = Bytes::copy_from_slice(&[pusher, n]);
        queue.push(Queued {
            request: Request::Apply(vec![Change::DeleteRow { key }]),
            charge: 1,
            reply,
        });
        answered
    };
    (0..EACH).map(push).collect()
}

fn start_pushers(queue: &Arc<CommitQueue>) -> Vec<thread::JoinHandle<Vec<Receiver<Reply>>>> {
    let start = |pusher| {
        let queue = Arc::clone(queue);
        thread::spawn(move || push_all(&queue, pusher))
    };
    (0..PUSHERS).map(start).collect()
}

fn join_pushers(
    pushers: Vec<thread::JoinHandle<Vec<Receiver<Reply>>>>,
) -> Vec<Vec<Receiver<Reply>>> {
    let join = |pusher: thread::JoinHandle<_>| pusher.join().expect("a pusher ends");
    pushers.into_iter().map(join).collect()
}

/// Answers `queued` and notes (pusher, number) of each.
fn answer(queued: Vec<Queued>, seen: &mut Vec<(u8, u8)>) {
    assert!(
        !queued.is_empty() && queued.len() <= WINDOW,
        "a window's worth"
    );
    for one in queued {
        let Request::Apply(changes) = &one.request else {
            unreachable!("only changes were pushed");
        };
        let Change::DeleteRow { key } = &changes[0] else {
            unreachable!("only deletions were pushed");
        };
        seen.push((key[0], key[1]));
        drop(one.reply.send(Reply::Apply(Ok(()))));
    }
}

/// Takes until the queue is closed, waiting as long as `idle` says of the n-th take, and tells
/// `answered` how many were answered.
fn start_taker(
    queue: &Arc<CommitQueue>,
    answered: &Arc<Signal>,
    idle: impl Fn(usize) -> Duration + Send + 'static,
) -> thread::JoinHandle<Vec<(u8, u8)>> {
    let (queue, answered) = (Arc::clone(queue), Arc::clone(answered));
    thread::spawn(move || {
        let mut seen = Vec::new();
        for n in 0.. {
            match queue.take(idle(n)) {
                Taken::Requests(queued) => {
                    answer(queued, &mut seen);
                    answered.raise(seen.len() as u64);
                },
                Taken::Idle => assert_ne!(idle(n), FOREVER),
                Taken::Closed => break,
            }
        }
        seen
    })
}

fn fates(receivers: &mut [Receiver<Reply>]) -> Vec<Fate> {
    let fate = |receiver: &mut Receiver<Reply>| match receiver.try_recv() {
        Ok(_) => Fate::Answered,
        Err(TryRecvError::Closed) => Fate::Refused,
        Err(TryRecvError::Empty) => Fate::Open,
    };
    receivers.iter_mut().map(fate).collect()
}

/// What one pusher pushed is taken in its order, from its first on; says how many were taken.
fn assert_in_order(seen: &[(u8, u8)], pusher: u8) -> usize {
    let mine: Vec<u8> = seen.iter().filter(|s| s.0 == pusher).map(|s| s.1).collect();
    let count = u8::try_from(mine.len()).expect("few");
    assert_eq!(mine, (0..count).collect::<Vec<u8>>());
    mine.len()
}

/// Pushers and a taker. Nobody closes before everything is answered: a taker that no push woke
/// would wait for ever.
fn push_and_wait(idle: impl Fn(usize) -> Duration + Send + 'static) {
    let queue = queue();
    let answered = Arc::new(Signal::default());
    let taker = start_taker(&queue, &answered, idle);
    let pushed = join_pushers(start_pushers(&queue));
    answered.wait_beyond(u64::from(PUSHERS * EACH) - 1);
    queue.close();
    let seen = taker.join().expect("the taker ends");
    for (pusher, mut receivers) in (0..).zip(pushed) {
        assert_eq!(assert_in_order(&seen, pusher), usize::from(EACH));
        assert_eq!(
            fates(&mut receivers),
            vec![Fate::Answered; usize::from(EACH)]
        );
    }
}

#[test]
fn every_request_is_taken_once_in_its_pushers_order_and_every_push_wakes_the_taker() {
    explore(|| push_and_wait(|_| FOREVER));
}

#[test]
fn a_wait_that_ended_by_its_time_spoils_no_later_wake_up() {
    explore(|| push_and_wait(|n| if n % 2 == 0 { SHORT } else { FOREVER }));
}

#[test]
fn what_was_queued_before_the_close_is_taken_after_it() {
    explore(|| {
        let queue = queue();
        let pushed = join_pushers(start_pushers(&queue));
        queue.close();
        let mut late = push_all(&queue, PUSHERS);
        let seen = start_taker(&queue, &Arc::default(), |_| FOREVER)
            .join()
            .expect("the taker ends");
        for (pusher, mut receivers) in (0..).zip(pushed) {
            assert_eq!(assert_in_order(&seen, pusher), usize::from(EACH));
            assert_eq!(
                fates(&mut receivers),
                vec![Fate::Answered; usize::from(EACH)]
            );
        }
        assert_eq!(fates(&mut late), vec![Fate::Refused; usize::from(EACH)]);
    });
}

/// Each pusher's first requests were answered and the others refused; none is left open.
fn assert_decided(seen: &[(u8, u8)], pushed: Vec<Vec<Receiver<Reply>>>) {
    for (pusher, mut receivers) in (0..).zip(pushed) {
        let taken = assert_in_order(seen, pusher);
        let fates = fates(&mut receivers);
        assert!(
            fates[..taken].iter().all(|fate| *fate == Fate::Answered),
            "{fates:?}"
        );
        assert!(
            fates[taken..].iter().all(|fate| *fate == Fate::Refused),
            "{fates:?}"
        );
    }
}

#[test]
fn a_close_amid_pushes_answers_or_refuses_every_request() {
    explore(|| {
        let queue = queue();
        let taker = start_taker(&queue, &Arc::default(), |_| FOREVER);
        let pushers = start_pushers(&queue);
        queue.close();
        let pushed = join_pushers(pushers);
        let seen = taker.join().expect("the taker ends");
        assert_decided(&seen, pushed);
    });
}

#[test]
fn an_abort_amid_pushes_wakes_the_taker_and_leaves_no_request_open() {
    explore(|| {
        let queue = queue();
        let taker = start_taker(&queue, &Arc::default(), |_| FOREVER);
        let pushers = start_pushers(&queue);
        queue.abort();
        let pushed = join_pushers(pushers);
        let seen = taker.join().expect("the taker ends");
        assert_decided(&seen, pushed);
    });
}

#[test]
fn a_taker_that_aborts_and_goes_away_leaves_no_request_open() {
    explore(|| {
        let queue = queue();
        let pushers = start_pushers(&queue);
        let mut seen = Vec::new();
        match queue.take(FOREVER) {
            Taken::Requests(queued) => answer(queued, &mut seen),
            Taken::Idle | Taken::Closed => panic!("there is something to take"),
        }
        queue.abort();
        let pushed = join_pushers(pushers);
        assert_decided(&seen, pushed);
    });
}
