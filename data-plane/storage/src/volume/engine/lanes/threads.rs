//! The sink's inbox under many orders of its threads: every window comes out, and so does the end.

use shuttle::thread;

use super::*;
use crate::volume::format::checkpoint::LogPosition;
use crate::volume::sync::{Signal, explore};

const WINDOWS: u64 = 4;
/// Ends only by a notification.
const FOREVER: Duration = Duration::MAX;
/// May end at any moment.
const SHORT: Duration = Duration::from_secs(1);

fn window(lsn: u64, memory: usize) -> Arc<Window> {
    Arc::new(Window {
        end: LogPosition {
            epoch: 1,
            lsn,
            file_first: 0,
            generation: 1,
        },
        entries: Vec::new(),
        memory,
        charge: 0,
    })
}

fn start_log(inbox: &Arc<SinkInbox>, memory: usize) -> thread::JoinHandle<()> {
    let inbox = Arc::clone(inbox);
    thread::spawn(move || (1..=WINDOWS).for_each(|lsn| inbox.push(window(lsn, memory))))
}

/// Takes until the end, as the sink thread does, and tells `count` how many came out; gives them.
fn start_sink(
    inbox: &Arc<SinkInbox>,
    count: &Arc<Signal>,
    idle: Duration,
) -> thread::JoinHandle<(Vec<u64>, End)> {
    let (inbox, count) = (Arc::clone(inbox), Arc::clone(count));
    thread::spawn(move || {
        let mut taken = Vec::new();
        loop {
            let Came { windows, end, .. } = inbox.take(idle);
            taken.extend(windows.iter().map(|window| window.end.lsn));
            count.raise(taken.len() as u64);
            if let Some(end) = end {
                return (taken, end);
            }
        }
    })
}

/// Closes once `ready` returns after the log has ended: nothing may be left behind.
fn push_then_close(memory: usize, idle: Duration, ready: impl Fn(&Signal)) {
    let inbox = Arc::new(SinkInbox::default());
    let count = Arc::new(Signal::default());
    let sink = start_sink(&inbox, &count, idle);
    start_log(&inbox, memory).join().expect("the log ends");
    ready(&count);
    inbox.close(true);
    let (taken, end) = sink.join().expect("the sink ends");
    assert_eq!(taken, (1..=WINDOWS).collect::<Vec<_>>());
    assert_eq!(end, End::Clean);
    assert_eq!(inbox.end(), Some(End::Clean));
}

/// The engine closes at once.
fn at_once(_: &Signal) {}

/// No close comes to wake a sink that no push woke.
fn once_all_came_out(count: &Signal) {
    count.wait_beyond(WINDOWS - 1);
}

#[test]
fn every_window_comes_out_in_order_without_an_end_to_wake_the_sink() {
    explore(|| push_then_close(1, FOREVER, once_all_came_out));
}

#[test]
fn every_window_comes_out_in_order_before_a_clean_end() {
    explore(|| push_then_close(1, FOREVER, at_once));
}

#[test]
fn windows_that_are_large_enough_together_come_out_like_others() {
    explore(|| push_then_close(GATHER_BYTES / 2, FOREVER, once_all_came_out));
}

#[test]
fn a_wait_that_ended_by_its_time_loses_no_window() {
    explore(|| push_then_close(1, SHORT, at_once));
}

#[test]
fn an_end_amid_pushes_wakes_the_sink_and_skips_no_window() {
    explore(|| {
        let inbox = Arc::new(SinkInbox::default());
        let sink = start_sink(&inbox, &Arc::default(), FOREVER);
        let log = start_log(&inbox, 1);
        inbox.close(false);
        let (taken, end) = sink.join().expect("the sink ends");
        log.join().expect("the log ends");
        let count = taken.len() as u64;
        assert_eq!(taken, (1..=count).collect::<Vec<_>>());
        assert_eq!(end, End::Now);
    });
}
