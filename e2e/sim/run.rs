//! One simulation: machines, faults by the seed's plan, then rest, then a last look.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millstream_control::MemoryStore;
use millstream_storage::testkit::dice::Dice;
use millstream_types::{ShardUid, StreamUid};
use serde::{Deserialize, Serialize};

use crate::api_server::ApiServer;
use crate::clock::{SimClock, mixed};
use crate::faults::{self, Planned};
use crate::gateway::Gateway;
use crate::history::{Counts, History};
use crate::layout;
use crate::member::Life;
use crate::mischief::Mischief;
use crate::net::Names;
use crate::operator::Replica;
use crate::planted::Planted;
use crate::shard_server::ShardServer;
use crate::store::Volume;
use crate::workload::{Stage, Workload};

/// For how long clients work, in simulated time.
const WORK: Duration = Duration::from_secs(60);
/// For how long everything may come to rest: broken connections are noticed by then.
const REST: Duration = Duration::from_secs(12);
/// For how long the last look may take.
const LAST_LOOK_MAX: Duration = Duration::from_secs(120);
/// The grain of simulated time: messages arrive at its ends.
const TICK: Duration = Duration::from_millis(8);
/// Segments in flight on a connection, and connections that wait to be accepted.
const TCP_CAPACITY: usize = 512;
/// Most that a machine's wall clock is ahead, in milliseconds.
const AHEAD_MS_MAX: u64 = 400;

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) counts: Counts,
    pub(crate) simulated_ms: u64,
    pub(crate) failures: Vec<String>,
    pub(crate) digest: u64,
}

impl Outcome {
    /// A simulation that came to no end.
    pub(crate) fn broken(seed: u64, how: String) -> Self {
        Self {
            seed,
            counts: Counts::default(),
            simulated_ms: 0,
            failures: vec![how],
            digest: 0,
        }
    }
}

/// Runs the simulation of a seed. With something planted it ends at the first thing that is wrong.
pub(crate) fn run(seed: u64, planted: Planted) -> Outcome {
    let until_found = planted != Planted::Nothing;
    let dice = Dice::new(mixed(seed, "plan", 0));
    let plan = faults::plan(&dice, WORK);
    let history = History::new();
    let api = ApiServer::new(history.clone());
    let workload = Workload::new(seed, api.clone(), history.clone());
    let names = Names::default();
    let mut sim = turmoil::Builder::new()
        .simulation_duration(WORK + REST + LAST_LOOK_MAX * 2)
        .tick_duration(TICK)
        .tcp_capacity(TCP_CAPACITY)
        .min_message_latency(Duration::from_millis(dice.between(0, 3)))
        .max_message_latency(Duration::from_millis(dice.between(8, 60)))
        .rng_seed(seed)
        .build();
    let world = World {
        seed,
        planted,
        api: api.clone(),
        names: names.clone(),
        workload: workload.clone(),
        dice: Dice::new(mixed(seed, "clocks", 0)),
    };
    let volumes = world.build(&mut sim);
    let mut mischief = Mischief::new(sim, names, api.clone(), history.clone());
    let ended = drive(&mut mischief, plan, &workload, until_found);
    match ended {
        Err(what) => history.failed(what),
        Ok(Ended::Early) => {},
        Ok(Ended::AtRest) => check_leftovers(&api, &history, &volumes),
    }
    let verdict = history.finish();
    Outcome {
        seed,
        counts: verdict.counts,
        simulated_ms: u64::try_from(mischief.elapsed().as_millis()).unwrap_or(u64::MAX),
        failures: verdict.failures,
        digest: verdict.digest,
    }
}

/// How a simulation ended.
enum Ended {
    /// Something wrong was found on the way.
    Early,
    AtRest,
}

/// Lets time pass through all stages.
fn drive(
    mischief: &mut Mischief<'_>,
    plan: Vec<Planned>,
    workload: &Workload,
    until_found: bool,
) -> Result<Ended, String> {
    mischief.plan(plan);
    while mischief.elapsed() < WORK {
        mischief.step()?;
        if until_found && !workload.history.is_clean_so_far() {
            return Ok(Ended::Early);
        }
    }
    *workload.stage.lock() = Stage::Rest;
    mischief.mend_everything();
    while mischief.elapsed() < WORK + REST {
        mischief.step()?;
    }
    *workload.stage.lock() = Stage::LastLook;
    while workload.finished.lock().len() < layout::GATEWAYS as usize {
        mischief.step()?;
        if mischief.elapsed() > WORK + REST + LAST_LOOK_MAX {
            return Err("the last look took too long".to_owned());
        }
    }
    Ok(Ended::AtRest)
}

/// Of streams that are gone nothing is left: no home, and no shard in any group.
fn check_leftovers(api: &ApiServer, history: &History, volumes: &[Arc<Volume>]) {
    let streams = api.streams();
    let wanted: BTreeSet<StreamUid> = streams.iter().map(|(uid, ..)| *uid).collect();
    let homes = api.homes();
    if homes != wanted {
        history.failed(format!(
            "the streams {homes:?} have homes, there should be {wanted:?}"
        ));
    }
    let known: BTreeSet<ShardUid> = wanted.iter().flat_map(|s| history.shards_of(*s)).collect();
    let there: BTreeSet<ShardUid> = volumes.iter().flat_map(|volume| volume.shards()).collect();
    if there != known {
        history.failed(format!(
            "the groups hold the shards {there:?}, there should be {known:?}"
        ));
    }
}

/// What the machines are made from.
struct World {
    seed: u64,
    planted: Planted,
    api: ApiServer,
    names: Names,
    workload: Workload,
    dice: Dice,
}

impl World {
    fn build(&self, sim: &mut turmoil::Sim<'_>) -> Vec<Arc<Volume>> {
        let mut volumes = Vec::new();
        let replicas = (0..layout::OPERATORS).map(layout::operator).collect();
        self.names.set(layout::OPERATOR_SERVICE, replicas);
        for index in 0..layout::OPERATORS {
            self.operator(sim, layout::operator(index));
        }
        for ordinal in 0..layout::SHARD_SERVERS {
            let name = layout::shard_server(ordinal);
            self.names
                .set(&name, vec![layout::shard_machine(ordinal, 0)]);
            let (volume, kept) = (Volume::new(), MemoryStore::default());
            for which in 0..2 {
                let machine = layout::shard_machine(ordinal, which);
                self.shard_server(sim, ordinal, machine, &volume, &kept);
            }
            // The second machine waits until the pod moves there.
            sim.crash(layout::shard_machine(ordinal, 1));
            volumes.push(volume);
        }
        for index in 0..layout::GATEWAYS {
            self.gateway(sim, layout::gateway(index));
        }
        volumes
    }

    fn clock(&self) -> SimClock {
        SimClock::new(self.dice.below(AHEAD_MS_MAX))
    }

    fn operator(&self, sim: &mut turmoil::Sim<'_>, name: String) {
        let (seed, api, planted, clock) = (self.seed, self.api.clone(), self.planted, self.clock());
        let lives = AtomicU64::new(0);
        sim.host(name.clone(), move || {
            let replica = Replica {
                name: name.clone(),
                seed,
                life: lives.fetch_add(1, Ordering::Relaxed),
                clock,
                api: api.clone(),
                planted,
            };
            replica.run()
        });
    }

    fn shard_server(
        &self,
        sim: &mut turmoil::Sim<'_>,
        ordinal: u32,
        machine: String,
        volume: &Arc<Volume>,
        kept: &MemoryStore,
    ) {
        let (seed, names, planted, clock) =
            (self.seed, self.names.clone(), self.planted, self.clock());
        let (volume, kept) = (Arc::clone(volume), kept.clone());
        let lives = AtomicU64::new(0);
        sim.host(machine.clone(), move || {
            let server = ShardServer {
                ordinal,
                life: Life {
                    machine: machine.clone(),
                    seed,
                    life: lives.fetch_add(1, Ordering::Relaxed),
                    clock,
                    names: names.clone(),
                    kept: kept.clone(),
                },
                volume: Arc::clone(&volume),
                planted,
            };
            server.run()
        });
    }

    fn gateway(&self, sim: &mut turmoil::Sim<'_>, name: String) {
        let (seed, names, clock) = (self.seed, self.names.clone(), self.clock());
        let (workload, kept) = (self.workload.clone(), MemoryStore::default());
        let lives = AtomicU64::new(0);
        sim.host(name.clone(), move || {
            let gateway = Gateway {
                life: Life {
                    machine: name.clone(),
                    seed,
                    life: lives.fetch_add(1, Ordering::Relaxed),
                    clock,
                    names: names.clone(),
                    kept: kept.clone(),
                },
                workload: workload.clone(),
            };
            gateway.run()
        });
    }
}
