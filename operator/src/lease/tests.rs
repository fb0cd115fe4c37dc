use std::sync::atomic::{AtomicBool, Ordering};

use millstream_clock::ManualClock;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

const DURATION: Duration = Duration::from_secs(15);

/// A lease in memory, which can be made to fail.
#[derive(Debug, Default)]
struct Memory {
    lease: Mutex<Option<Versioned>>,
    is_down: AtomicBool,
}

impl Memory {
    fn check(&self) -> Result<(), LeaseError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(LeaseError::Unavailable("down".to_owned()));
        }
        Ok(())
    }

    fn write(&self, record: &Record, version: Option<&str>) -> Result<Versioned, LeaseError> {
        let mut lease = self.lease.lock();
        if lease.as_ref().map(|lease| lease.version.as_str()) != version {
            return Err(LeaseError::Conflict);
        }
        let next = version.map_or(1, |text| text.parse::<u64>().expect("ours") + 1);
        let written = Versioned {
            record: record.clone(),
            version: next.to_string(),
        };
        *lease = Some(written.clone());
        Ok(written)
    }
}

impl LeaseStore for Memory {
    async fn read(&self) -> Result<Option<Versioned>, LeaseError> {
        self.check()?;
        Ok(self.lease.lock().clone())
    }

    async fn create(&self, record: &Record) -> Result<Versioned, LeaseError> {
        self.check()?;
        self.write(record, None)
    }

    async fn replace(&self, record: &Record, version: &str) -> Result<Versioned, LeaseError> {
        self.check()?;
        self.write(record, Some(version))
    }
}

fn replica(name: &str) -> Election {
    Election::new(name.to_owned(), DURATION)
}

async fn turn_of(store: &Memory, clock: &ManualClock, election: &mut Election) {
    drop(turn(store, clock, election).await);
}

#[tokio::test]
async fn one_takes_it_and_the_other_waits_until_it_ran_out() {
    let (store, clock) = (Memory::default(), ManualClock::new(Millis(1_000)));
    let (mut a, mut b) = (replica("a"), replica("b"));
    turn_of(&store, &clock, &mut a).await;
    turn_of(&store, &clock, &mut b).await;
    assert_eq!((a.term(), b.term()), (Some(1), None));
    clock.advance(10_000);
    turn_of(&store, &clock, &mut a).await;
    clock.advance(10_000);
    turn_of(&store, &clock, &mut b).await;
    assert_eq!(b.term(), None, "it was renewed in between");
    // b sees the renewed record only now, so it waits its whole duration from here
    clock.advance(14_000);
    turn_of(&store, &clock, &mut b).await;
    assert_eq!(b.term(), None);
    clock.advance(1_000);
    turn_of(&store, &clock, &mut b).await;
    assert_eq!(b.term(), Some(2));
    assert!(!a.holds(clock.monotonic(), 1));
    turn_of(&store, &clock, &mut a).await;
    assert_eq!(a.term(), None);
}

#[tokio::test]
async fn one_that_was_given_up_is_taken_at_once_with_a_higher_term() {
    let (store, clock) = (Memory::default(), ManualClock::new(Millis(1_000)));
    let (mut a, mut b) = (replica("a"), replica("b"));
    turn_of(&store, &clock, &mut a).await;
    let (record, version) = a.release(clock.now()).expect("held");
    store.replace(&record, &version).await.expect("written");
    turn_of(&store, &clock, &mut b).await;
    assert_eq!(b.term(), Some(2));
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_before_another_may_begin() {
    let (store, clock) = (Memory::default(), ManualClock::new(Millis(1_000)));
    let (mut a, mut b) = (replica("a"), replica("b"));
    turn_of(&store, &clock, &mut a).await;
    turn_of(&store, &clock, &mut b).await;
    store.is_down.store(true, Ordering::SeqCst);
    clock.advance(11_000);
    turn_of(&store, &clock, &mut a).await;
    assert!(a.holds(clock.monotonic(), 1));
    clock.advance(1_000);
    turn_of(&store, &clock, &mut a).await;
    assert!(!a.holds(clock.monotonic(), 1), "three quarters have passed");
    store.is_down.store(false, Ordering::SeqCst);
    turn_of(&store, &clock, &mut b).await;
    assert_eq!(b.term(), None, "and b may not yet");
}

#[tokio::test(start_paused = true)]
async fn the_leader_is_told_when_it_lost_the_lease() {
    let (store, clock) = (
        Arc::new(Memory::default()),
        Arc::new(ManualClock::new(Millis(0))),
    );
    let campaigned = campaign(Arc::clone(&store), clock.clone(), "a".to_owned(), DURATION);
    let mut leadership = campaigned.await;
    assert_eq!(leadership.term(), 1);
    let thief = Record {
        holder: "thief".to_owned(),
        duration: DURATION,
        acquired: Millis(1),
        renewed: Millis(1),
        transitions: 2,
    };
    let version = store.lease.lock().clone().expect("held").version;
    store.replace(&thief, &version).await.expect("written");
    leadership.lost().await;
    // what it no longer holds it does not give up
    leadership.release().await;
    let holder = store.lease.lock().clone().expect("held").record.holder;
    assert_eq!(holder, "thief");
}

proptest! {
    /// Replicas whose clocks run at different speeds never lead at the same moment.
    #[test]
    fn never_two_leaders(steps in proptest::collection::vec((0_usize..3, 0_u64..9_000, any::<bool>()), 1..200)) {
        let store = Memory::default();
        let mut replicas: Vec<Election> = ["a", "b", "c"].map(replica).to_vec();
        let mut now = Duration::ZERO;
        let mut terms = std::collections::BTreeMap::new();
        for (who, ms, is_down) in steps {
            now += Duration::from_millis(ms);
            if is_down {
                continue;
            }
            let read = store.lease.lock().clone();
            let election = &mut replicas[who];
            let written = match election.decide(now, Millis(0), read) {
                Action::Wait => None,
                Action::Create(record) => store.write(&record, None).ok(),
                Action::Replace(record, version) => store.write(&record, Some(&version)).ok(),
            };
            if let Some(written) = written {
                let holder = written.record.holder.clone();
                let first = terms.entry(written.record.transitions).or_insert_with(|| holder.clone());
                prop_assert_eq!(&*first, &holder, "one holder for each term");
                election.written(now, written);
            }
            let leaders = replicas.iter().filter(|r| r.term().is_some_and(|term| r.holds(now, term)));
            prop_assert!(leaders.count() <= 1);
        }
    }
}
