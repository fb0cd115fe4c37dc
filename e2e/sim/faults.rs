//! What goes wrong, and when: decided by the seed before the simulation begins.

use std::time::Duration;

use millstream_storage::testkit::dice::Dice;

use crate::layout;

/// The first fault, in milliseconds: streams have to be there first.
const FIRST_MS: u64 = 8_000;
/// Fewest and most faults of a seed, of any kind.
const COUNT: (u64, u64) = (7, 13);
/// Seeds, out of so many, in which two leaders meet as well.
const MEETING: (u64, u64) = (4, 5);

/// One thing that goes wrong, and is mended after a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A shard server's process ends. `silent`: its peers hear nothing of it.
    ShardCrash { ordinal: u32, silent: bool },
    /// A shard server's pod comes back on its other machine while the process on the first one
    /// goes on, cut off from everybody but one gateway and the next shard server.
    Zombie { ordinal: u32, seen_by: u32 },
    /// A gateway's process ends.
    GatewayCrash { gateway: u32 },
    /// Two machines hear nothing of each other.
    Partition { a: Place, b: Place },
    /// One hears nothing of the other: answers are lost.
    OneWay { from: Place, to: Place },
    /// What two machines send each other arrives late, all at once.
    Hold { a: Place, b: Place },
    /// The connections from one machine to another are reset.
    Reset { from: Place, to: Place },
    /// The leading operator's process ends.
    LeaderCrash,
    /// The leading operator cannot reach the API server, and knows.
    LeaderCutOff,
    /// The leading operator cannot reach the API server and goes on with its old term. Servers may
    /// lose the new leader meanwhile.
    LeaderDeluded { loses: Place },
    /// Both replicas of the operator end.
    NoOperator,
}

/// A machine, by what runs on it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Shard(u32),
    Gateway(u32),
    Operator(u32),
}

/// A fault and when it begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) fault: Fault,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

/// The faults of a simulation that works for so long, by the time when they begin.
pub(crate) fn plan(dice: &Dice, work: Duration) -> Vec<Planned> {
    let work_ms = u64::try_from(work.as_millis()).expect("a minute or so");
    let count = dice.between(COUNT.0, COUNT.1);
    let mut planned: Vec<Planned> = (0..count)
        .map(|_| {
            let fault = fault(dice);
            let from = dice.between(FIRST_MS, work_ms - 2_000);
            let lasts = lasts_ms(dice, &fault);
            Planned {
                fault,
                from: Duration::from_millis(from),
                until: Duration::from_millis((from + lasts).min(work_ms)),
            }
        })
        .collect();
    if dice.chance(MEETING.0, MEETING.1) {
        planned.extend(meeting(dice, work_ms));
    }
    planned.sort_by_key(|planned| planned.from);
    planned
}

/// Two faults that are harmless alone and hold the most against versions together. A shard server
/// comes back elsewhere, and streams that are being made wait for it. Meanwhile the leader begins
/// to go on with its old term, and with its view of those streams, while another one leads; servers
/// find now the one and now the other.
fn meeting(dice: &Dice, work_ms: u64) -> [Planned; 2] {
    let lasts = dice.between(26_000, 32_000);
    let from = dice.between(FIRST_MS, work_ms - lasts - 4_000);
    let planned = |fault, from: u64, lasts: u64| Planned {
        fault,
        from: Duration::from_millis(from),
        until: Duration::from_millis((from + lasts).min(work_ms)),
    };
    let seen_by = u32::from(dice.chance(1, 2));
    let zombie = Fault::Zombie {
        ordinal: ordinal(dice),
        seen_by,
    };
    let deluded = Fault::LeaderDeluded {
        loses: Place::Gateway(seen_by),
    };
    let after = dice.between(1_200, 2_600);
    [
        planned(zombie, from, lasts),
        planned(deluded, from + after, lasts),
    ]
}

fn lasts_ms(dice: &Dice, fault: &Fault) -> u64 {
    match fault {
        Fault::Zombie { .. } => dice.between(6_000, 16_000),
        Fault::LeaderDeluded { .. } => dice.between(14_000, 26_000),
        Fault::LeaderCutOff => dice.between(2_000, 9_000),
        Fault::Hold { .. } => dice.between(300, 3_000),
        _ => dice.between(1_000, 8_000),
    }
}

fn fault(dice: &Dice) -> Fault {
    let ordinal = ordinal(dice);
    let gateway = u32::from(dice.chance(1, 2));
    match dice.below(15) {
        0 | 1 => Fault::ShardCrash {
            ordinal,
            silent: dice.chance(1, 2),
        },
        2..=4 => Fault::Zombie {
            ordinal,
            seen_by: gateway,
        },
        5 => Fault::GatewayCrash { gateway },
        6 => {
            let (a, b) = pair(dice);
            Fault::Partition { a, b }
        },
        7 | 8 => {
            let (a, b) = pair(dice);
            let (from, to) = if dice.chance(1, 2) { (a, b) } else { (b, a) };
            Fault::OneWay { from, to }
        },
        9 => {
            let (a, b) = pair(dice);
            Fault::Hold { a, b }
        },
        10 => {
            if dice.chance(1, 3) {
                Fault::NoOperator
            } else {
                Fault::LeaderCrash
            }
        },
        11 => Fault::LeaderCutOff,
        12 | 13 => {
            let (a, b) = pair(dice);
            let (from, to) = if matches!(a, Place::Operator(_)) {
                (b, a)
            } else {
                (a, b)
            };
            Fault::Reset { from, to }
        },
        _ => Fault::LeaderDeluded {
            loses: server(dice),
        },
    }
}

fn ordinal(dice: &Dice) -> u32 {
    let ordinal = dice.index(layout::SHARD_SERVERS as usize);
    u32::try_from(ordinal).expect("a few servers")
}

fn server(dice: &Dice) -> Place {
    let index = u32::try_from(dice.below(5)).expect("below five");
    if index < layout::SHARD_SERVERS {
        Place::Shard(index)
    } else {
        Place::Gateway(index - layout::SHARD_SERVERS)
    }
}

/// Two machines that talk to each other; most often a gateway and a shard server.
fn pair(dice: &Dice) -> (Place, Place) {
    let below = |end: u32| u32::try_from(dice.below(u64::from(end))).expect("below a u32");
    match dice.below(6) {
        0 => (Place::Operator(below(layout::OPERATORS)), server(dice)),
        1 => {
            let a = below(layout::SHARD_SERVERS);
            let b = (a + 1 + below(layout::SHARD_SERVERS - 1)) % layout::SHARD_SERVERS;
            (Place::Shard(a), Place::Shard(b))
        },
        _ => (
            Place::Gateway(below(layout::GATEWAYS)),
            Place::Shard(below(layout::SHARD_SERVERS)),
        ),
    }
}
