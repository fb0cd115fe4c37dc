//! The history checker: what clients saw, held against what a durable, ordered log may show.
//!
//! Clients log when they begin an append, what they were answered, and what they read; each record
//! carries an id that is used once. The order of the log is the real time: an event is logged
//! after everything whose answer was in before. The checker is pure, knows no store, and takes
//! time in proportion to the log. It serves the simulation and the kill loop on the real server.
//! Start with [`Checker`].

mod report;
mod shard;

use std::collections::{BTreeMap, HashMap};

use millstream_types::ShardUid;

pub use self::report::{Fault, Report};
use self::shard::Shard;

/// An id that no client ever uses: what a reader logs for a payload that it cannot make sense of.
pub const GARBLED: u64 = u64::MAX;

/// The place of an event in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// Names one append in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(usize);

/// What a reader was shown by one read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The shard.
    pub shard: ShardUid,
    /// When the read began, from [`Checker::moment`].
    pub began: Moment,
    /// First number that was asked for.
    pub from: u64,
    /// (number, id) of each record, in the order in which they were shown.
    pub records: Vec<(u64, u64)>,
    /// The shard's next number, if the read told it or went up to the end.
    pub tip: Option<u64>,
}

/// One record that some client tried to append.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    append: AppendId,
    /// Place in its append.
    index: u64,
    number: Option<u64>,
    /// When it was first known to be durable: acknowledged or seen.
    known: Option<Moment>,
    acked: bool,
    lost: bool,
}

#[derive(Clone, Debug)]
struct AppendLog {
    shard: ShardUid,
    began: Moment,
    ids: Vec<u64>,
    refused: bool,
    /// Number that its first record has or would have, by what is known of any of its records.
    first: Option<i128>,
}

/// Takes a history event by event.
#[derive(Clone, Debug)]
pub struct Checker {
    now: Moment,
    appends: Vec<AppendLog>,
    payloads: HashMap<u64, Payload>,
    shards: BTreeMap<ShardUid, Shard>,
    parents: Vec<(ShardUid, ShardUid)>,
    report: Report,
}

impl Default for Checker {
    fn default() -> Self {
        Self::new()
    }
}

impl Checker {
    /// A checker of an empty history.
    #[must_use]
    pub fn new() -> Self {
        Self {
            now: Moment(0),
            appends: Vec::new(),
            payloads: HashMap::new(),
            shards: BTreeMap::new(),
            parents: Vec::new(),
            report: Report::default(),
        }
    }

    /// Now; to be taken before a read is sent off.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.now
    }

    fn tick(&mut self) -> Moment {
        self.now.0 += 1;
        self.now
    }

    /// A client is about to append records with these ids to a shard. Without a later [`Checker::ok`]
    /// or [`Checker::refused`] it is not known whether they are durable.
    ///
    /// # Panics
    /// When an id was used before: the client is wrong then, not the store.
    pub fn invoke(&mut self, shard: ShardUid, ids: &[u64]) -> AppendId {
        let append = AppendId(self.appends.len());
        let began = self.tick();
        for (index, id) in (0..).zip(ids) {
            let payload = Payload {
                append,
                index,
                number: None,
                known: None,
                acked: false,
                lost: false,
            };
            let earlier = self.payloads.insert(*id, payload);
            assert!(
                earlier.is_none() && *id != GARBLED,
                "id {id} was used twice"
            );
        }
        self.appends.push(AppendLog {
            shard,
            began,
            ids: ids.to_vec(),
            refused: false,
            first: None,
        });
        append
    }

    /// The append was acknowledged; its first record has number `first`.
    pub fn ok(&mut self, append: AppendId, first: u64) {
        self.tick();
        let log = &self.appends[append.0];
        let (shard, began, ids) = (log.shard, log.began, log.ids.clone());
        let sealed = self.shard(shard).sealed;
        for (number, id) in (first..).zip(ids) {
            self.report.acked += 1;
            if let Some(payload) = self.payloads.get_mut(&id) {
                payload.acked = true;
            }
            if sealed.is_some_and(|sealed| sealed < began) {
                self.report.add(Fault::AfterSeal { shard, number, id });
            }
            self.learn(shard, number, id);
        }
    }

    /// The append was refused in a way that promises that nothing of it is or will be durable.
    pub fn refused(&mut self, append: AppendId) {
        self.tick();
        self.appends[append.0].refused = true;
    }

    /// A reader was shown something.
    pub fn saw(&mut self, seen: &Seen) {
        self.tick();
        let (shard, mut expected) = (seen.shard, seen.from);
        let (may_hide, must_hide) = self.shard(shard).trims(seen.began);
        for (number, id) in &seen.records {
            if *number < must_hide {
                self.report.add(Fault::Untrimmed {
                    shard,
                    number: *number,
                    id: *id,
                });
            }
            if *number < expected {
                self.report.add(Fault::Backwards {
                    shard,
                    number: *number,
                    id: *id,
                });
            }
            // Numbers are dense: what lies between is missing, unless it may be trimmed.
            self.missing(shard, expected.max(may_hide), *number, None);
            self.learn(shard, *number, *id);
            expected = number.saturating_add(1);
        }
        if let Some(tip) = seen.tip {
            self.missing(shard, expected.max(may_hide), tip, Some(seen.began));
            self.missing(shard, tip.max(may_hide), u64::MAX, Some(seen.began));
        }
    }

    /// A reader was told that the shard does not exist.
    pub fn saw_no_shard(&mut self, shard: ShardUid, began: Moment) {
        self.tick();
        if !self.shard(shard).dropped {
            self.missing(shard, 0, u64::MAX, Some(began));
        }
    }

    /// The store refused to open: everything that was acknowledged is out of reach.
    pub fn saw_no_store(&mut self) {
        let began = self.tick();
        let all: Vec<ShardUid> = self.shards.keys().copied().collect();
        for shard in all {
            self.saw_no_shard(shard, began);
        }
    }

    /// A client is about to trim a shard: from now on records below `before` may be gone.
    pub fn trimming(&mut self, shard: ShardUid, before: u64) {
        self.tick();
        let shard = self.shard(shard);
        shard.may_hide = shard.may_hide.max(before);
    }

    /// The trim was acknowledged: from now on records below `before` must be hidden. `before` must
    /// not be above the shard's next number.
    pub fn trimmed(&mut self, shard: ShardUid, before: u64) {
        let now = self.tick();
        self.shard(shard).trimmed.push((now, before));
    }

    /// A client is about to drop a shard: from now on anything may be missing in it.
    pub fn dropping(&mut self, shard: ShardUid) {
        self.tick();
        self.shard(shard).dropped = true;
    }

    /// The seal of a shard was acknowledged.
    pub fn sealed(&mut self, shard: ShardUid) {
        let now = self.tick();
        self.shard(shard).sealed.get_or_insert(now);
    }

    /// `child` goes on where `parent` ended.
    pub fn child(&mut self, child: ShardUid, parent: ShardUid) {
        self.tick();
        self.parents.push((child, parent));
    }

    /// What is known so far, without the checks that need the whole history.
    #[must_use]
    pub fn so_far(&self) -> &Report {
        &self.report
    }

    /// The verdict over the whole history.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let shards = std::mem::take(&mut self.shards);
        for (uid, shard) in &shards {
            self.check_order(*uid, shard);
        }
        for (child, parent) in std::mem::take(&mut self.parents) {
            self.check_lineage((child, shards.get(&child)), (parent, shards.get(&parent)));
        }
        self.report
    }

    fn shard(&mut self, shard: ShardUid) -> &mut Shard {
        self.shards.entry(shard).or_default()
    }

    /// Notes that `id` is durable at `number`.
    fn learn(&mut self, shard: ShardUid, number: u64, id: u64) {
        let now = self.now;
        let place = (shard, number, id);
        let Some(payload) = self.payloads.get_mut(&id) else {
            self.report.add(Fault::Phantom { shard, number, id });
            return;
        };
        let append = &mut self.appends[payload.append.0];
        if append.refused || append.shard != shard {
            self.report.add(Fault::Phantom { shard, number, id });
            return;
        }
        match payload.number {
            Some(other) if other != number => {
                self.report.add(Fault::Doubled {
                    shard,
                    number,
                    id,
                    other,
                });
                return;
            },
            Some(_) => {},
            None => {
                payload.number = Some(number);
                payload.known = Some(now);
                let first = i128::from(number) - i128::from(payload.index);
                if *append.first.get_or_insert(first) != first {
                    self.report.add(Fault::Scattered { shard, number, id });
                }
            },
        }
        let before = self.shard(shard).by_number.insert(number, id);
        if let Some(before) = before.filter(|before| *before != id) {
            self.lose(place.0, place.1, before);
        }
    }

    /// Everything known in `from..to` (before `began`, if given) was not shown.
    fn missing(&mut self, shard: ShardUid, from: u64, to: u64, began: Option<Moment>) {
        if from >= to {
            return;
        }
        let known: Vec<(u64, u64)> = self
            .shard(shard)
            .by_number
            .range(from..to)
            .map(|(number, id)| (*number, *id))
            .collect();
        let mut lost = 0;
        for (number, id) in known {
            let since = self.payloads.get(&id).and_then(|payload| payload.known);
            if began.is_none_or(|began| since.is_some_and(|since| since <= began)) {
                self.lose(shard, number, id);
                lost += 1;
            }
        }
        if began.is_none() && lost < to - from {
            self.report.add(Fault::Gap { shard, from, to });
        }
    }

    fn lose(&mut self, shard: ShardUid, number: u64, id: u64) {
        let Some(payload) = self.payloads.get_mut(&id) else {
            return;
        };
        if !std::mem::replace(&mut payload.lost, true) {
            let acked = payload.acked;
            self.report.add(Fault::Lost {
                shard,
                number,
                id,
                acked,
            });
        }
    }

    /// A record that was known to be durable before another began must lie below it.
    fn check_order(&mut self, uid: ShardUid, shard: &Shard) {
        let mut above: Option<(Moment, u64)> = None;
        for (number, id) in shard.by_number.iter().rev() {
            let payload = &self.payloads[id];
            let began = self.appends[payload.append.0].began;
            if let Some((known, other)) = above
                && known < began
            {
                let fault = Fault::Reordered {
                    shard: uid,
                    number: *number,
                    id: *id,
                    other,
                };
                self.report.add(fault);
            }
            if let Some(known) = payload.known
                && above.is_none_or(|(earliest, _)| known < earliest)
            {
                above = Some((known, *number));
            }
        }
    }

    /// A child has records only after its parent was sealed.
    fn check_lineage(
        &mut self,
        (child, child_log): (ShardUid, Option<&Shard>),
        (parent, parent_log): (ShardUid, Option<&Shard>),
    ) {
        let ids = child_log
            .into_iter()
            .flat_map(|shard| shard.by_number.values());
        let first_known = ids.filter_map(|id| self.payloads[id].known).min();
        let Some(first_known) = first_known else {
            return;
        };
        let sealed = parent_log.and_then(|shard| shard.sealed);
        if sealed.is_none_or(|sealed| sealed > first_known) {
            self.report.add(Fault::ChildFirst { child, parent });
        }
    }
}

#[cfg(test)]
mod tests;
