//! From what is seen of a stream to the status that its object should show.
//!
//! Pure. [`Phase`] says where the stream is, [`next`] makes the status, [`write`] says whether it
//! is worth writing now, and [`events`] what to tell people. Reasons are stable words: alerts and
//! runbooks name them.

use std::time::Duration;

use millstream_crds::{Condition, DataStreamStatus};

/// Condition: the stream serves as its spec says. `kubectl wait` and GitOps tools look at it.
pub const READY: &str = "Ready";
/// Condition: the operator or the servers are at work on it.
pub const RECONCILING: &str = "Reconciling";
/// Condition: nothing goes on until somebody changes something.
pub const STALLED: &str = "Stalled";
/// Condition: the pods of some shards are away.
pub const SHARDS_UNAVAILABLE: &str = "ShardsUnavailable";

/// Numbers alone are written at most this often.
pub const NUMBERS_EVERY: Duration = Duration::from_secs(30);

/// Why a condition is as it is: every reason there is, with its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The stream is active and all its shards are there.
    Active,
    /// Some shards' pods are away.
    PodsAway,
    /// The annotation `millstream.dev/pause` is set.
    Paused,
    /// The pool's pods are not there yet.
    PoolStarting,
    /// The stream has no home yet: the operator waits for servers to attach.
    Placing,
    /// The shards are being made.
    Creating,
    /// The stream is made, and some gateways have not heard of it as it is.
    GatewaysCatchingUp,
    /// The settings are being changed.
    Updating,
    /// The records are being removed.
    Deleting,
    /// The object goes and the records stay.
    Retained,
    /// A field of the spec is refused.
    SpecInvalid,
    /// An older object has the stream name.
    StreamNameTaken,
    /// Another namespace has the account.
    AccountTaken,
    /// The stream is of another account than its namespace has now.
    AccountChanged,
    /// The operator's configuration has no such pool class.
    PoolUnknown,
    /// The largest pool of the class is too small.
    PoolFull,
    /// Records of a stream of that name are retained.
    OrphanExists,
    /// There are no such records to adopt.
    OrphanUnknown,
    /// This version cannot do what the spec asks for.
    NotServed,
    /// The servers refused the stream.
    Refused,
    /// The volume of its home was lost or replaced.
    RecordsLost,
    /// The placement of its pool cannot be used.
    PlacementUnreadable,
    /// It was made, and nobody knows where its records are.
    PlacementLost,
}

impl Reason {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::PodsAway => "PodsAway",
            Self::Paused => "Paused",
            Self::PoolStarting => "PoolStarting",
            Self::Placing => "Placing",
            Self::Creating => "Creating",
            Self::GatewaysCatchingUp => "GatewaysCatchingUp",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
            Self::Retained => "Retained",
            Self::SpecInvalid => "SpecInvalid",
            Self::StreamNameTaken => "StreamNameTaken",
            Self::AccountTaken => "AccountTaken",
            Self::AccountChanged => "AccountChanged",
            Self::PoolUnknown => "PoolUnknown",
            Self::PoolFull => "PoolFull",
            Self::OrphanExists => "OrphanExists",
            Self::OrphanUnknown => "OrphanUnknown",
            Self::NotServed => "NotServed",
            Self::Refused => "Refused",
            Self::RecordsLost => "RecordsLost",
            Self::PlacementUnreadable => "PlacementUnreadable",
            Self::PlacementLost => "PlacementLost",
        }
    }
}

/// Where a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Active,
    /// The operator leaves it alone.
    Paused,
    /// Something goes on.
    Progressing(Reason, String),
    /// Nothing goes on until somebody changes something.
    Stalled(Reason, String),
}

/// What is seen of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it is.
    pub phase: Phase,
    /// The name that clients use.
    pub stream_name: String,
    /// Its id, once it has one.
    pub stream_id: Option<String>,
    /// Its ARN, once its account is known.
    pub stream_arn: Option<String>,
    /// `CREATING`, `ACTIVE`, `UPDATING` or `DELETING`, as the home server says.
    pub stream_status: Option<String>,
    /// Its open shards.
    pub shard_count: Option<i32>,
    /// The labels of its pods.
    pub selector: Option<String>,
    /// Groups with shards of the stream whose pods are away, by name.
    pub groups_away: Vec<String>,
}

/// The status that shows what was seen, on `generation` of the spec, at `now` (RFC 3339).
///
/// What is no longer seen is kept: a status never forgets an id because an operator restarted.
#[must_use]
pub fn next(old: &DataStreamStatus, seen: &Seen, generation: i64, now: &str) -> DataStreamStatus {
    let keep = |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone());
    let observed = match seen.phase {
        // A paused object was not looked at: what its spec says now is not observed.
        Phase::Paused => old.observed_generation,
        _ => Some(generation),
    };
    // What was said of a stream says nothing of the one that began in its place.
    let is_same = seen.stream_id.is_none() || seen.stream_id == old.stream_id;
    let none = DataStreamStatus::default();
    let before = if is_same { old } else { &none };
    DataStreamStatus {
        observed_generation: observed,
        stream_name: Some(seen.stream_name.clone()),
        stream_id: keep(&seen.stream_id, &old.stream_id),
        stream_arn: keep(&seen.stream_arn, &old.stream_arn),
        stream_status: keep(&seen.stream_status, &before.stream_status),
        shard_count: seen.shard_count.or(before.shard_count),
        selector: keep(&seen.selector, &old.selector),
        conditions: conditions(&old.conditions, seen, observed, now),
    }
}

/// One condition before it has its times.
struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: Reason,
    message: String,
}

fn conditions(old: &[Condition], seen: &Seen, observed: Option<i64>, now: &str) -> Vec<Condition> {
    let mut all: Vec<Condition> = verdicts(seen)
        .into_iter()
        .map(|verdict| {
            let status = if verdict.holds { "True" } else { "False" };
            let before = old.iter().find(|old| old.kind == verdict.kind);
            let since = match before {
                Some(before) if before.status == status => before.last_transition_time.clone(),
                Some(_) | None => now.to_owned(),
            };
            Condition {
                kind: verdict.kind.to_owned(),
                status: status.to_owned(),
                observed_generation: observed,
                last_transition_time: since,
                reason: verdict.reason.as_str().to_owned(),
                message: verdict.message,
            }
        })
        .collect();
    // What others write beside ours stays.
    for foreign in old {
        if all.iter().all(|ours| ours.kind != foreign.kind) {
            all.push(foreign.clone());
        }
    }
    all
}

fn verdicts(seen: &Seen) -> Vec<Verdict> {
    let is_away = !seen.groups_away.is_empty();
    let away = || format!("no server for {}", seen.groups_away.join(", "));
    let (reason, message) = match &seen.phase {
        Phase::Active if is_away => (Reason::PodsAway, away()),
        Phase::Active => (Reason::Active, "the stream serves".to_owned()),
        Phase::Paused => (
            Reason::Paused,
            "the annotation millstream.dev/pause is set; remove it to go on".to_owned(),
        ),
        Phase::Progressing(reason, message) | Phase::Stalled(reason, message) => {
            (*reason, message.clone())
        },
    };
    let verdict = |kind, holds| Verdict {
        kind,
        holds,
        reason,
        message: message.clone(),
    };
    // A paused stream goes on serving, so it is not unready for it.
    let serves = matches!(seen.phase, Phase::Active | Phase::Paused) && !is_away;
    let goes_on = matches!(seen.phase, Phase::Progressing(..));
    vec![
        verdict(READY, serves && seen.stream_id.is_some()),
        verdict(RECONCILING, goes_on),
        verdict(STALLED, matches!(seen.phase, Phase::Stalled(..))),
        Verdict {
            kind: SHARDS_UNAVAILABLE,
            holds: is_away,
            reason: if is_away { Reason::PodsAway } else { reason },
            message: if is_away { away() } else { message },
        },
    ]
}

/// Whether `seen` only says that a leader that has just begun has not heard of the stream yet, which
/// was ready on this `generation`: its servers and the gateways have still to attach again.
#[must_use]
pub fn is_unheard(old: &DataStreamStatus, seen: &Seen, generation: i64) -> bool {
    let mut ready = old.conditions.iter().filter(|c| c.kind == READY);
    let was_ready = ready.any(|c| c.status == "True" && c.observed_generation == Some(generation));
    let waits = matches!(
        seen.phase,
        Phase::Progressing(
            Reason::Placing | Reason::PoolStarting | Reason::GatewaysCatchingUp,
            _
        ) | Phase::Stalled(Reason::PlacementLost, _)
    );
    was_ready && waits && seen.groups_away.is_empty()
}

/// Whether and when a status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It says what is there already.
    Not,
    /// Now.
    Now,
    /// After this time: only a number differs.
    After(Duration),
}

/// Whether `new` is worth writing over `old`, which was written `age` ago.
#[must_use]
pub fn write(old: &DataStreamStatus, new: &DataStreamStatus, age: Duration) -> Write {
    if old == new {
        return Write::Not;
    }
    let without_numbers = DataStreamStatus {
        shard_count: old.shard_count,
        ..new.clone()
    };
    let only_numbers = *old == without_numbers && old.shard_count.is_some();
    match NUMBERS_EVERY.checked_sub(age) {
        Some(left) if only_numbers && !left.is_zero() => Write::After(left),
        Some(_) | None => Write::Now,
    }
}

/// What to tell people about a change, as an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody should look.
    pub is_warning: bool,
    /// The reason of the condition.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// The Events of a change from `old` to `new`: one for each new reason of `Ready`, one when a fault is
/// another one of the same reason, and one when shards go away or come back.
#[must_use]
pub fn events(old: &DataStreamStatus, new: &DataStreamStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    let is_fault = holds(new, STALLED) || holds(new, SHARDS_UNAVAILABLE);
    let before = |kind: &str| old.conditions.iter().find(|c| c.kind == kind);
    for condition in &new.conditions {
        let (changed, is_warning) = match condition.kind.as_str() {
            READY => (
                before(READY).is_none_or(|b| {
                    let is_other_fault = is_fault && b.message != condition.message;
                    b.reason != condition.reason || is_other_fault
                }),
                is_fault,
            ),
            SHARDS_UNAVAILABLE => {
                let was = before(SHARDS_UNAVAILABLE).is_some_and(|b| b.status == "True");
                let is = condition.status == "True";
                // A stream that was ready says it with the reason of Ready.
                let told = notes.iter().any(|n: &Note| n.reason == condition.reason);
                (was != is && !told, is)
            },
            _ => continue,
        };
        if changed {
            notes.push(Note {
                is_warning,
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            });
        }
    }
    notes
}

fn holds(status: &DataStreamStatus, kind: &str) -> bool {
    let condition = status.conditions.iter().find(|c| c.kind == kind);
    condition.is_some_and(|c| c.status == "True")
}

#[cfg(test)]
mod tests;
