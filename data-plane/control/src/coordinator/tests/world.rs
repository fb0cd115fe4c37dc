//! Leaders, servers and a store for placements in any order of events.
//!
//! What must hold at every step: nobody is told what was not written, a home never moves, no server
//! hears an older state. What must hold in the end: every stream is told to exactly one server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::keeper::{Keeper, MemoryStore};

const POOLS: [(&str, u32); 2] = [("a/p", 3), ("b/q", 2)];

#[derive(Clone, Debug)]
enum Event {
    Want(u128, bool),
    Change(u128),
    Delete(u128),
    Drop(u128),
    Attach(usize),
    Detach(usize),
    Report(usize),
    RestartServer(usize),
    Persist,
    PersistFails,
    Wait(u64),
    /// Whether its first open write was done, unseen.
    RestartLeader(bool),
    NextLeader(bool),
    SayItAgain,
}

fn event() -> impl Strategy<Value = Event> {
    let server = 0..5_usize;
    let uid = 1..9_u128;
    prop_oneof![
        4 => (uid.clone(), any::<bool>()).prop_map(|(uid, b)| Event::Want(uid, b)),
        1 => uid.clone().prop_map(Event::Change),
        2 => uid.clone().prop_map(Event::Delete),
        1 => uid.prop_map(Event::Drop),
        4 => server.clone().prop_map(Event::Attach),
        1 => server.clone().prop_map(Event::Detach),
        6 => server.clone().prop_map(Event::Report),
        1 => server.prop_map(Event::RestartServer),
        6 => Just(Event::Persist),
        1 => Just(Event::PersistFails),
        3 => (0..20_u64).prop_map(Event::Wait),
        1 => any::<bool>().prop_map(Event::RestartLeader),
        1 => any::<bool>().prop_map(Event::NextLeader),
        1 => Just(Event::SayItAgain),
    ]
}

/// A shard server: its kept state and its rows.
struct Server {
    pool: &'static str,
    ordinal: u32,
    disk: MemoryStore,
    keeper: Keeper,
    rows: BTreeMap<u128, StreamPhase>,
    session: Option<u64>,
}

impl Server {
    fn new(pool: &'static str, ordinal: u32) -> Self {
        let disk = MemoryStore::default();
        let keeper = Keeper::open(server(pool, ordinal), Box::new(disk.clone()));
        Self {
            pool,
            ordinal,
            keeper: keeper.expect("an empty store"),
            disk,
            rows: BTreeMap::new(),
            session: None,
        }
    }

    fn id(&self) -> Identity {
        server(self.pool, self.ordinal)
    }

    fn observed(&self) -> ObservedState {
        let mut streams: BTreeMap<u128, StreamPhase> = self.rows.clone();
        let held = self.keeper.held();
        if let Some(DesiredState::Shard(state)) = held.map(|state| &**state) {
            for stream in state.streams.iter().filter(|s| s.wanted == Wanted::Delete) {
                streams.entry(stream.uid.0).or_insert(StreamPhase::Gone);
            }
        }
        let streams: Vec<_> = streams.into_iter().collect();
        let mut state = report(self.pool, self.ordinal, &streams);
        state.desired = held.map(|state| state.version());
        state
    }

    fn take(&mut self, state: &DesiredState) {
        self.keeper
            .offer(state.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", self.id()));
        let DesiredState::Shard(state) = state else {
            panic!("a gateway's state");
        };
        for stream in &state.streams {
            match stream.wanted {
                Wanted::Serve => self.rows.insert(stream.uid.0, StreamPhase::Active),
                Wanted::Retain => self.rows.insert(stream.uid.0, StreamPhase::Retained),
                Wanted::Delete => self.rows.remove(&stream.uid.0),
            };
        }
    }
}

struct World {
    leader: Coordinator,
    term: u64,
    now: Duration,
    sessions: u64,
    servers: Vec<Server>,
    wanted: BTreeMap<u128, WantedStream>,
    /// Deleted once: an object's UID never comes back.
    used: BTreeSet<u128>,
    /// The ConfigMaps, and every placement that was ever written.
    stored: BTreeMap<PoolId, Placement>,
    written: Vec<Placement>,
    to_persist: VecDeque<Placement>,
    homes: BTreeMap<u128, (PoolId, u32)>,
}

impl World {
    fn new() -> Self {
        let servers = POOLS
            .iter()
            .flat_map(|(pool, count)| (0..*count).map(|ordinal| Server::new(pool, ordinal)));
        let mut world = Self {
            leader: Coordinator::new(1, Vec::new(), Duration::ZERO),
            term: 1,
            now: Duration::ZERO,
            sessions: 0,
            servers: servers.collect(),
            wanted: BTreeMap::new(),
            used: BTreeSet::new(),
            stored: BTreeMap::new(),
            written: Vec::new(),
            to_persist: VecDeque::new(),
            homes: BTreeMap::new(),
        };
        world.lead();
        world
    }

    /// A leader begins with what is stored and with nobody attached.
    fn lead(&mut self) {
        let found = self.stored.values().cloned().collect();
        self.leader = Coordinator::new(self.term, found, self.now);
        self.to_persist.clear();
        for server in &mut self.servers {
            server.session = None;
        }
        self.say_it_all();
    }

    fn say_it_all(&mut self) {
        let pools = POOLS.iter().map(|(name, servers)| pool(name, *servers));
        self.feed(Input::Pools(pools.collect()));
        self.say_streams();
    }

    fn say_streams(&mut self) {
        self.feed(Input::Streams(self.wanted.values().cloned().collect()));
    }

    fn feed(&mut self, input: Input) {
        for effect in self.leader.handle(self.now, input) {
            match effect {
                Effect::PersistPlacement(placement) => self.to_persist.push_back(placement),
                Effect::Send { to, session, state } => self.deliver(&to, session, &state),
                Effect::EndSession { server, seen, .. } => {
                    panic!("{server} goes by {seen}, and nobody is later")
                },
            }
        }
    }

    fn deliver(&mut self, to: &Identity, session: u64, state: &DesiredState) {
        let DesiredState::Shard(desired) = state else {
            panic!("no gateways here");
        };
        let pool = PoolId::of(&desired.group);
        let written = self
            .written
            .iter()
            .find(|p| p.pool == pool && p.version == desired.placement)
            .unwrap_or_else(|| panic!("{} was never written", desired.placement));
        let homed = |home: &&Home| home.group == desired.group.ordinal();
        let homed = written.homes.values().filter(homed).count();
        assert_eq!(desired.streams.len(), homed, "as it was written");
        let server = self.servers.iter_mut().find(|server| server.id() == *to);
        let server = server.expect("a server of ours");
        assert_eq!(server.session, Some(session));
        server.take(state);
    }

    /// The leader has gone; the write that it had begun may have been done.
    fn lead_after(&mut self, written: bool) {
        if written && let Some(placement) = self.to_persist.pop_front() {
            self.write(placement);
        }
        self.lead();
    }

    fn persist(&mut self) {
        if let Some(placement) = self.to_persist.pop_front() {
            let input = Input::PlacementPersisted {
                pool: placement.pool.clone(),
                version: placement.version,
            };
            self.write(placement);
            self.feed(input);
        }
    }

    /// As a conditional write to a ConfigMap would.
    fn write(&mut self, placement: Placement) {
        let before = self.stored.get(&placement.pool);
        assert!(before.is_none_or(|before| before.version < placement.version));
        let removed: Vec<u128> = before
            .into_iter()
            .flat_map(|before| before.homes.keys())
            .filter(|uid| !placement.homes.contains_key(uid))
            .map(|uid| uid.0)
            .collect();
        for uid in removed {
            assert!(self.used.contains(&uid), "{uid} was never to be deleted");
        }
        for (uid, home) in &placement.homes {
            let here = (placement.pool.clone(), home.group);
            let first = self.homes.entry(uid.0).or_insert_with(|| here.clone());
            assert_eq!(*first, here, "stream {} has moved", uid.0);
        }
        self.written.push(placement.clone());
        self.stored.insert(placement.pool.clone(), placement);
    }

    fn attach(&mut self, index: usize) {
        self.sessions += 1;
        let (session, server) = (self.sessions, &mut self.servers[index]);
        server.session = Some(session);
        let server = server.id();
        self.feed(Input::Attached { server, session });
    }

    fn report(&mut self, index: usize) {
        let server = &self.servers[index];
        if let Some(session) = server.session {
            let state = Arc::new(server.observed());
            self.feed(Input::Observed { session, state });
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Want(..) | Event::Change(_) | Event::Delete(_) | Event::Drop(_) => {
                self.somebody_wants(event);
                self.say_streams();
            },
            Event::Attach(index) => self.attach(index),
            Event::Detach(index) => {
                let server = self.servers[index].id();
                if let Some(session) = self.servers[index].session.take() {
                    self.feed(Input::Detached { server, session });
                }
            },
            Event::Report(index) => self.report(index),
            Event::RestartServer(index) => {
                let server = &mut self.servers[index];
                let again = Keeper::open(server.id(), Box::new(server.disk.clone()));
                server.keeper = again.expect("what was kept");
                self.attach(index);
            },
            Event::Persist => self.persist(),
            Event::PersistFails => {
                if let Some(placement) = self.to_persist.pop_front() {
                    self.feed(Input::PersistFailed {
                        pool: placement.pool,
                        version: placement.version,
                    });
                }
            },
            Event::Wait(secs) => {
                self.now += seconds(secs);
                self.feed(Input::Tick);
            },
            Event::RestartLeader(written) => self.lead_after(written),
            Event::NextLeader(written) => {
                self.term += 1;
                self.lead_after(written);
            },
            Event::SayItAgain => self.say_it_all(),
        }
        self.forget_the_gone();
    }

    /// Somebody writes, changes or deletes an object.
    fn somebody_wants(&mut self, event: Event) {
        match event {
            Event::Want(uid, other) if !self.used.contains(&uid) => {
                // a stream's pool is immutable
                let name = if uid % 2 == 0 { "a/p" } else { "b/q" };
                let taken = self.wanted.entry(uid).or_insert_with(|| stream(uid, name));
                let spec = taken.spec.as_mut().expect("it is wanted with one");
                spec.retention_hours += u32::from(other);
            },
            Event::Change(uid) => {
                if let Some(stream) = self.wanted.get_mut(&uid) {
                    stream.version.0 += 1;
                }
            },
            Event::Delete(uid) => {
                if let Some(stream) = self.wanted.get_mut(&uid) {
                    stream.delete = true;
                    self.used.insert(uid);
                }
            },
            Event::Drop(uid) if self.wanted.get(&uid).is_some_and(|s| !s.delete) => {
                self.wanted.remove(&uid);
            },
            _ => {},
        }
    }

    /// The finalizer of what is gone goes, and the object with it.
    fn forget_the_gone(&mut self) {
        let finished: Vec<u128> = self
            .wanted
            .values()
            .filter(|stream| stream.delete && self.phase(stream.uid) == Phase::Gone)
            .map(|stream| stream.uid.0)
            .collect();
        for uid in finished {
            self.wanted.remove(&uid);
            for server in &self.servers {
                assert!(
                    !server.rows.contains_key(&uid),
                    "{uid} is left at {}",
                    server.id()
                );
            }
        }
    }

    fn phase(&self, uid: StreamUid) -> Phase {
        self.leader.stream(uid, self.now).phase
    }

    /// Everybody attaches and reports, everything is written, until nothing moves.
    fn come_to_rest(&mut self) {
        for index in 0..self.servers.len() {
            self.attach(index);
        }
        for _ in 0..12 {
            for index in 0..self.servers.len() {
                self.happen(Event::Report(index));
            }
            self.happen(Event::Wait(10));
            while !self.to_persist.is_empty() {
                self.happen(Event::Persist);
            }
        }
        self.say_streams();
        while !self.to_persist.is_empty() {
            self.persist();
        }
    }

    fn check_rest(&mut self) {
        for stream in self.wanted.values() {
            assert!(!stream.delete, "{} should be gone", stream.uid);
            assert_eq!(self.phase(stream.uid), Phase::Active, "{}", stream.uid);
        }
        let mut seen = BTreeMap::new();
        for server in &self.servers {
            for (uid, phase) in &server.rows {
                assert_eq!(seen.insert(*uid, *phase), None, "{uid} is at two homes");
            }
        }
        for uid in self.wanted.keys() {
            assert_eq!(seen.remove(uid), Some(StreamPhase::Active));
        }
        let orphans: BTreeSet<u128> = self.leader.orphans().iter().map(|o| o.uid.0).collect();
        assert_eq!(seen.into_keys().collect::<BTreeSet<_>>(), orphans);
        // the same again: nothing is written and nothing is said
        let written = self.written.len();
        let before: Vec<_> = self
            .servers
            .iter()
            .map(|s| s.keeper.held().cloned())
            .collect();
        self.say_it_all();
        for index in 0..self.servers.len() {
            self.report(index);
        }
        assert_eq!((self.written.len(), self.to_persist.len()), (written, 0));
        let after: Vec<_> = self
            .servers
            .iter()
            .map(|s| s.keeper.held().cloned())
            .collect();
        assert_eq!(before, after);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn homes_never_move_and_nothing_unwritten_is_told(
        events in prop::collection::vec(event(), 1..120)
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        world.come_to_rest();
        world.check_rest();
    }
}
