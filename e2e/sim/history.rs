//! What clients did and saw, written down as it happens and held against what they may see.
//!
//! Two things are checked. Over everything: an acknowledged record is never lost, doubled or out
//! of order, and no record appears that was not sent there. And for each life of a gateway: what
//! it has acknowledged or shown, it shows from then on, at the tip too. (Two gateways may differ
//! for a moment: one may still talk to a writer that was replaced.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_storage::history::{AppendId, Checker, Moment, Report, Seen};
use millstream_types::{ShardUid, StreamUid};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Most failures kept in words.
const FAILURES_MAX: usize = 20;

/// The history of one simulation. Clones share it.
#[derive(Clone)]
pub(crate) struct History(Arc<Mutex<Book>>);

struct Book {
    all: Checker,
    /// Knows what was sent and refused, and nothing that was answered: a new gateway's view.
    fresh: Checker,
    views: Vec<Checker>,
    next_id: u64,
    counts: Counts,
    failures: Vec<String>,
    digest: u64,
    shards: BTreeMap<StreamUid, Vec<ShardUid>>,
    deleted: BTreeSet<StreamUid>,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Records acknowledged.
    pub(crate) acked: u64,
    /// Records whose fate the client was not told.
    pub(crate) unknown: u64,
    /// Records refused.
    pub(crate) refused: u64,
    /// Records read.
    pub(crate) read: u64,
    /// Streams created and deleted.
    pub(crate) streams: u64,
    /// Faults.
    pub(crate) faults: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.acked += other.acked;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.read += other.read;
        self.streams += other.streams;
        self.faults += other.faults;
    }
}

/// One life of a gateway, in the history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View(usize);

/// When a read began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    all: Moment,
    own: Moment,
}

/// What a read showed.
pub(crate) struct Shown {
    pub(crate) shard: ShardUid,
    pub(crate) from: u64,
    pub(crate) records: Vec<(u64, u64)>,
    pub(crate) tip: Option<u64>,
}

/// The verdict.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) counts: Counts,
    pub(crate) failures: Vec<String>,
    pub(crate) digest: u64,
}

impl History {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Book {
            all: Checker::new(),
            fresh: Checker::new(),
            views: Vec::new(),
            next_id: 1,
            counts: Counts::default(),
            failures: Vec::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            shards: BTreeMap::new(),
            deleted: BTreeSet::new(),
        })))
    }

    /// A gateway has started.
    pub(crate) fn view(&self) -> View {
        let mut book = self.0.lock();
        let fresh = book.fresh.clone();
        book.views.push(fresh);
        View(book.views.len() - 1)
    }

    /// A number that no record has.
    pub(crate) fn id(&self) -> u64 {
        let mut book = self.0.lock();
        book.next_id += 1;
        book.next_id - 1
    }

    /// Records with these ids are about to be sent to a shard.
    pub(crate) fn sends(&self, shard: ShardUid, ids: &[u64]) -> AppendId {
        let mut book = self.0.lock();
        book.note("sends", &[fold(shard), ids[0], ids.len() as u64]);
        let append = book.all.invoke(shard, ids);
        let others = [book.fresh.invoke(shard, ids)];
        let views = book.views.iter_mut().map(|view| view.invoke(shard, ids));
        let same = others.into_iter().chain(views).all(|other| other == append);
        assert!(same, "all checkers heard of the same appends");
        append
    }

    /// They were acknowledged; the first has this number.
    pub(crate) fn acked(&self, view: View, append: AppendId, records: u64, first: u64) {
        let mut book = self.0.lock();
        book.note("acked", &[records, first]);
        book.counts.acked += records;
        book.all.ok(append, first);
        book.views[view.0].ok(append, first);
    }

    /// They were refused: none of them is durable.
    pub(crate) fn refused(&self, append: AppendId, records: u64) {
        let mut book = self.0.lock();
        book.note("refused", &[records]);
        book.counts.refused += records;
        book.all.refused(append);
        book.fresh.refused(append);
        for view in &mut book.views {
            view.refused(append);
        }
    }

    /// Nobody can say what became of them.
    pub(crate) fn unknown(&self, records: u64) {
        let mut book = self.0.lock();
        book.note("unknown", &[records]);
        book.counts.unknown += records;
    }

    /// A read is about to be sent.
    pub(crate) fn reads(&self, view: View) -> Began {
        let book = self.0.lock();
        Began {
            all: book.all.moment(),
            own: book.views[view.0].moment(),
        }
    }

    /// What a read through a gateway showed.
    pub(crate) fn saw(&self, view: View, began: Began, shown: Shown) {
        self.note_read(view, began, shown, false);
    }

    /// What a read showed after every fault is over: now all gateways must show the same.
    pub(crate) fn saw_at_the_end(&self, view: View, began: Began, shown: Shown) {
        self.note_read(view, began, shown, true);
    }

    fn note_read(&self, view: View, began: Began, shown: Shown, is_last: bool) {
        let mut book = self.0.lock();
        let first = shown.records.first().map_or(0, |(number, _)| *number);
        let count = shown.records.len() as u64;
        book.note("saw", &[fold(shown.shard), shown.from, first, count]);
        book.counts.read += count;
        let mut seen = Seen {
            shard: shown.shard,
            began: began.own,
            from: shown.from,
            records: shown.records,
            tip: shown.tip,
        };
        book.views[view.0].saw(&seen);
        seen.began = began.all;
        if !is_last {
            seen.tip = None;
        }
        book.all.saw(&seen);
    }

    /// A client knows a stream now.
    pub(crate) fn knows(&self, stream: StreamUid, shards: impl Iterator<Item = ShardUid>) {
        let mut book = self.0.lock();
        if !book.shards.contains_key(&stream) {
            let shards: Vec<ShardUid> = shards.collect();
            if book.deleted.contains(&stream) {
                book.drop_shards(&shards);
            }
            book.shards.insert(stream, shards);
        }
    }

    /// A stream is to be deleted: from now on anything may be missing in it.
    pub(crate) fn deletes(&self, stream: StreamUid) {
        let mut book = self.0.lock();
        book.note("deletes", &[]);
        book.deleted.insert(stream);
        if let Some(shards) = book.shards.get(&stream).cloned() {
            book.drop_shards(&shards);
        }
    }

    /// The shards of a stream that some client knew.
    pub(crate) fn shards_of(&self, stream: StreamUid) -> Vec<ShardUid> {
        let book = self.0.lock();
        book.shards.get(&stream).cloned().unwrap_or_default()
    }

    /// A stream was created or deleted.
    pub(crate) fn changed_streams(&self) {
        let mut book = self.0.lock();
        book.note("streams", &[]);
        book.counts.streams += 1;
    }

    /// A fault begins.
    pub(crate) fn fault(&self) {
        let mut book = self.0.lock();
        book.note("fault", &[]);
        book.counts.faults += 1;
    }

    /// Something is wrong that no checker knows of.
    pub(crate) fn failed(&self, what: String) {
        let mut book = self.0.lock();
        book.note("failed", &[]);
        if book.failures.len() < FAILURES_MAX {
            book.failures.push(what);
        }
    }

    /// Whether something wrong is known already.
    pub(crate) fn is_clean_so_far(&self) -> bool {
        let book = self.0.lock();
        let views = book.views.iter().all(|view| view.so_far().is_clean());
        views && book.all.so_far().is_clean() && book.failures.is_empty()
    }

    /// The verdict over everything.
    pub(crate) fn finish(&self) -> Verdict {
        let mut book = self.0.lock();
        let mut failures = std::mem::take(&mut book.failures);
        failures.extend(words(&book.all.clone().finish()));
        for view in &book.views {
            for word in words(&view.clone().finish()) {
                if !failures.contains(&word) {
                    failures.push(format!("at one gateway: {word}"));
                }
            }
        }
        Verdict {
            counts: book.counts,
            failures,
            digest: book.digest,
        }
    }
}

fn words(report: &Report) -> Vec<String> {
    report.faults.iter().map(ToString::to_string).collect()
}

fn fold(shard: ShardUid) -> u64 {
    let [high, low] = [shard.0 >> 64, shard.0 & u128::from(u64::MAX)];
    let half = |half| u64::try_from(half).expect("half of the bits");
    half(high) ^ half(low)
}

impl Book {
    fn drop_shards(&mut self, shards: &[ShardUid]) {
        for shard in shards {
            self.all.dropping(*shard);
            self.fresh.dropping(*shard);
            for view in &mut self.views {
                view.dropping(*shard);
            }
        }
    }

    /// Adds an event to the digest, with the time (FNV-1a).
    fn note(&mut self, what: &str, numbers: &[u64]) {
        let now = turmoil::sim_elapsed().unwrap_or_default().as_nanos();
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        let bytes = what.bytes().chain(now.to_le_bytes()).chain(numbers);
        self.digest = bytes.fold(self.digest, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    }
}
