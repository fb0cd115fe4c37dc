//! Carries out the plan: breaks things, mends them, and starts again what has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api_server::ApiServer;
use crate::faults::{Fault, Place, Planned};
use crate::history::History;
use crate::layout;
use crate::net::Names;

/// When a process that has ended by itself is started again.
const RESTART_AFTER: Duration = Duration::from_millis(700);

/// When servers are taken from a deluded leader: another one leads by then.
const CHANGE_OVER: Duration = Duration::from_secs(7);
/// How often they lose whichever they have found after that.
const LOSE_EVERY: Duration = Duration::from_millis(2_200);

/// One thing to do at a time.
#[derive(Clone, Debug)]
enum Action {
    Begin(Fault, Duration),
    Start(String),
    Repair(String, String),
    RepairOneWay(String, String),
    Release(String, String),
    /// The machine believes that the shard server is on that machine (none: where it is), and loses
    /// its connections to both.
    Believe(String, u32, Option<String>),
    /// The connections between the two are reset.
    Cut(String, String),
    CutFromLeader(String),
    EndZombie(u32, String),
    Reach(String),
    /// The deluded leader's process ends.
    Enlighten(String),
}

/// A simulation and what is to happen in it.
pub(crate) struct Mischief<'a> {
    sim: turmoil::Sim<'a>,
    names: Names,
    api: ApiServer,
    history: History,
    /// By time and the order in which they were decided.
    due: BTreeMap<(Duration, u64), Action>,
    decided: u64,
    /// Where each shard server runs.
    seats: Vec<u32>,
    zombies: BTreeMap<u32, String>,
    /// Machines that should run, and since when each does not.
    should_run: BTreeMap<String, Option<Duration>>,
    deluded: Option<String>,
}

impl<'a> Mischief<'a> {
    pub(crate) fn new(
        sim: turmoil::Sim<'a>,
        names: Names,
        api: ApiServer,
        history: History,
    ) -> Self {
        let operators = (0..layout::OPERATORS).map(layout::operator);
        let gateways = (0..layout::GATEWAYS).map(layout::gateway);
        let shards = (0..layout::SHARD_SERVERS).map(|ordinal| layout::shard_machine(ordinal, 0));
        let all = operators.chain(gateways).chain(shards);
        Self {
            sim,
            names,
            api,
            history,
            due: BTreeMap::new(),
            decided: 0,
            seats: vec![0; layout::SHARD_SERVERS as usize],
            zombies: BTreeMap::new(),
            should_run: all.map(|machine| (machine, None)).collect(),
            deluded: None,
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    pub(crate) fn plan(&mut self, plan: Vec<Planned>) {
        for planned in plan {
            let lasts = planned.until.saturating_sub(planned.from);
            self.at(planned.from, Action::Begin(planned.fault, lasts));
        }
    }

    /// Lets a moment pass.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        let now = self.elapsed();
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            let action = entry.remove();
            self.act(action);
        }
        self.restart_what_ended(now);
        let step = self.sim.step().map(drop);
        step.map_err(|error| format!("a process failed: {error}"))
    }

    fn at(&mut self, time: Duration, action: Action) {
        self.decided += 1;
        self.due.insert((time, self.decided), action);
    }

    fn later(&mut self, after: Duration, action: Action) {
        self.at(self.elapsed() + after, action);
    }

    /// A process that has ended (a lost lease, a lost volume) is started again, as by a kubelet.
    fn restart_what_ended(&mut self, now: Duration) {
        let mut start = Vec::new();
        for (machine, down_since) in &mut self.should_run {
            if self.sim.is_host_running(machine.as_str()) {
                *down_since = None;
            } else if now.saturating_sub(*down_since.get_or_insert(now)) >= RESTART_AFTER {
                start.push(machine.clone());
            }
        }
        for machine in start {
            self.sim.bounce(machine.as_str());
        }
    }

    fn crash(&mut self, machine: &str) {
        self.should_run.remove(machine);
        if self.sim.is_host_running(machine) {
            self.sim.crash(machine);
        }
    }

    fn start(&mut self, machine: &str) {
        self.should_run.insert(machine.to_owned(), None);
        if !self.sim.is_host_running(machine) {
            self.sim.bounce(machine);
        }
    }

    fn seat(&self, ordinal: u32) -> String {
        layout::shard_machine(ordinal, self.seats[ordinal as usize])
    }

    fn machine(&self, place: Place) -> String {
        match place {
            Place::Shard(ordinal) => self.seat(ordinal),
            Place::Gateway(index) => layout::gateway(index),
            Place::Operator(index) => layout::operator(index),
        }
    }

    /// Every machine but these.
    fn all_but(&self, but: &[&str]) -> Vec<String> {
        let operators = (0..layout::OPERATORS).map(layout::operator);
        let gateways = (0..layout::GATEWAYS).map(layout::gateway);
        let shards = (0..layout::SHARD_SERVERS)
            .flat_map(|ordinal| (0..2).map(move |which| layout::shard_machine(ordinal, which)));
        let all = operators.chain(gateways).chain(shards);
        all.filter(|machine| !but.contains(&machine.as_str()))
            .collect()
    }

    /// The replica that holds the lease.
    fn leader(&self) -> Option<String> {
        let holder = self.api.leader()?;
        let mut operators = (0..layout::OPERATORS).map(layout::operator);
        operators.find(|name| holder.starts_with(name.as_str()))
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Begin(fault, lasts) => {
                if self.begin(fault, lasts) {
                    self.history.fault();
                }
            },
            Action::Start(machine) => self.start(&machine),
            Action::Repair(a, b) => self.sim.repair(a, b),
            Action::RepairOneWay(from, to) => self.sim.repair_oneway(from, to),
            Action::Release(a, b) => self.sim.release(a, b),
            Action::Believe(on, ordinal, machine) => {
                self.names
                    .set_stale(&on, &layout::shard_server(ordinal), machine);
                for which in 0..2 {
                    self.names.cut(&on, &layout::shard_machine(ordinal, which));
                }
            },
            Action::Cut(from, to) => self.names.cut(&from, &to),
            Action::CutFromLeader(from) => {
                if let Some(leader) = self.leader() {
                    self.names.cut(&from, &leader);
                }
            },
            Action::EndZombie(ordinal, machine) => {
                self.crash(&machine);
                for other in self.all_but(&[&machine]) {
                    self.sim.repair(machine.as_str(), other);
                }
                self.zombies.remove(&ordinal);
            },
            Action::Reach(replica) => self.api.set_cut_off(&replica, false),
            Action::Enlighten(replica) => {
                self.api.set_deluded(&replica, false);
                self.deluded = None;
                self.crash(&replica);
                self.start(&replica);
            },
        }
    }

    /// Begins a fault that lasts for so long; false when it does not apply now.
    fn begin(&mut self, fault: Fault, lasts: Duration) -> bool {
        match fault {
            Fault::ShardCrash { ordinal, silent } => {
                let machine = self.seat(ordinal);
                if !self.sim.is_host_running(machine.as_str()) {
                    return false;
                }
                if silent {
                    // Nobody hears that its connections close.
                    for other in self.all_but(&[&machine]) {
                        self.sim.partition(machine.as_str(), other.as_str());
                        self.later(lasts / 2, Action::Repair(machine.clone(), other));
                    }
                }
                self.crash(&machine);
                self.later(lasts, Action::Start(machine));
                true
            },
            Fault::GatewayCrash { gateway } => {
                let machine = layout::gateway(gateway);
                self.crash(&machine);
                self.later(lasts, Action::Start(machine));
                true
            },
            Fault::Zombie { ordinal, seen_by } => self.zombie(ordinal, seen_by, lasts),
            Fault::Partition { a, b } => {
                let (a, b) = (self.machine(a), self.machine(b));
                self.sim.partition(a.as_str(), b.as_str());
                self.later(lasts, Action::Repair(a, b));
                true
            },
            Fault::OneWay { from, to } => {
                let (from, to) = (self.machine(from), self.machine(to));
                self.sim.partition_oneway(from.as_str(), to.as_str());
                self.later(lasts, Action::RepairOneWay(from, to));
                true
            },
            Fault::Hold { a, b } => {
                let (a, b) = (self.machine(a), self.machine(b));
                self.sim.hold(a.as_str(), b.as_str());
                self.later(lasts, Action::Release(a, b));
                true
            },
            Fault::Reset { from, to } => {
                self.names.cut(&self.machine(from), &self.machine(to));
                true
            },
            Fault::LeaderCrash | Fault::LeaderCutOff | Fault::LeaderDeluded { .. } => {
                self.begin_leader(&fault, lasts)
            },
            Fault::NoOperator => {
                for index in 0..layout::OPERATORS {
                    self.crash(&layout::operator(index));
                    self.later(lasts, Action::Start(layout::operator(index)));
                }
                true
            },
        }
    }

    fn begin_leader(&mut self, fault: &Fault, lasts: Duration) -> bool {
        let Some(leader) = self.leader() else {
            return false;
        };
        match fault {
            Fault::LeaderCutOff => {
                self.api.set_cut_off(&leader, true);
                self.later(lasts, Action::Reach(leader));
                true
            },
            Fault::LeaderDeluded { loses } => {
                if self.deluded.is_some() {
                    return false;
                }
                self.deluded = Some(leader.clone());
                self.api.set_deluded(&leader, true);
                // Once another one leads, servers change over to it; then they lose their leader
                // again and again, and find now the new one and now the old one.
                for server in self.all_but(&[]) {
                    self.later(CHANGE_OVER, Action::Cut(server, leader.clone()));
                }
                let shards = (0..layout::SHARD_SERVERS).map(|ordinal| self.seat(ordinal));
                let losing: Vec<String> = shards.chain([self.machine(*loses)]).collect();
                let mut then = CHANGE_OVER + LOSE_EVERY;
                while then < lasts {
                    for server in &losing {
                        self.later(then, Action::CutFromLeader(server.clone()));
                        self.later(then, Action::Cut(server.clone(), leader.clone()));
                    }
                    then += LOSE_EVERY;
                }
                self.later(lasts, Action::Enlighten(leader));
                true
            },
            _ => {
                self.crash(&leader);
                self.later(lasts, Action::Start(leader));
                true
            },
        }
    }

    /// The pod goes on elsewhere; its former process is cut off from all but one shard server and
    /// one gateway, which hears of the new place, forgets it again, and hears of it again.
    fn zombie(&mut self, ordinal: u32, seen_by: u32, lasts: Duration) -> bool {
        let old = self.seat(ordinal);
        if self.zombies.contains_key(&ordinal) || !self.sim.is_host_running(old.as_str()) {
            return false;
        }
        let gateway = layout::gateway(seen_by);
        let peer = self.seat((ordinal + 1) % layout::SHARD_SERVERS);
        for other in self.all_but(&[&old, &gateway, &peer]) {
            self.sim.partition(old.as_str(), other);
        }
        // Nobody starts it again.
        self.should_run.remove(&old);
        self.zombies.insert(ordinal, old.clone());
        self.seats[ordinal as usize] = 1 - self.seats[ordinal as usize];
        let new = self.seat(ordinal);
        self.names
            .set(&layout::shard_server(ordinal), vec![new.clone()]);
        self.names
            .set_stale(&gateway, &layout::shard_server(ordinal), Some(old.clone()));
        self.later(lasts / 12, Action::Start(new));
        for (part, believed) in [(5, None), (8, Some(old.clone())), (10, None)] {
            self.later(
                lasts * part / 12,
                Action::Believe(gateway.clone(), ordinal, believed),
            );
        }
        self.later(lasts, Action::EndZombie(ordinal, old));
        true
    }

    /// Ends every fault; everything runs that should.
    pub(crate) fn mend_everything(&mut self) {
        let due = std::mem::take(&mut self.due);
        for action in due.into_values() {
            if !matches!(action, Action::Begin(..)) {
                self.act(action);
            }
        }
        let all = self.all_but(&[]);
        for (place, a) in all.iter().enumerate() {
            for b in &all[place + 1..] {
                self.sim.release(a.as_str(), b.as_str());
                self.sim.repair(a.as_str(), b.as_str());
            }
        }
    }
}
