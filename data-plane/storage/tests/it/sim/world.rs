//! One simulated machine: disk, clock, engine, and clients that do random things to it.

use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::{ManualClock, SeededEntropy};
use millstream_storage::disk::SyncPoint;
use millstream_storage::disk::sim::{Crash, SimDisk};
use millstream_storage::history::{AppendId, Seen};
use millstream_storage::testkit::Dice;
use millstream_storage::volume::stepped::{Progress, Step, StepReply, SteppedEngine};
use millstream_storage::volume::{Fatal, OpenError, Options};
use millstream_storage::{Append, ApplyError, Change, ReadError, ReadLimit, StoreError};
use millstream_types::{Millis, ShardUid};

use super::book::{Book, BookShard, Known, id_of};

const KIB: u64 = 1024;
/// Shards that a run makes at most.
const SHARDS_MAX: usize = 12;
/// Reads that a whole shard may need.
const READS_MAX: usize = 10_000;
/// Openings in a row that faults may cut short.
const OPENINGS_MAX: usize = 10;
const LIMIT: ReadLimit = ReadLimit {
    records: 20,
    bytes: 20_000,
};

/// Small files, so that a short run rolls, recycles, checkpoints and evicts.
pub(crate) fn options() -> Options {
    Options {
        wal_file_bytes: 64 * KIB,
        checkpoint_bytes: 128 * KIB,
        segment_bytes: 8 * KIB,
        tail_bytes: 8 * KIB,
        unwritten_bytes: 1024 * KIB,
        read_ahead_bytes: 1024 * KIB,
        reserve_bytes: 128 * KIB,
        window_bytes: 32 * KIB,
        open_segments_max: 4,
        ..Options::new("unused".into())
    }
}

/// The engine has stopped: the disk crashed or answered an error.
#[derive(Debug)]
pub(crate) struct Stopped(pub(crate) String);

impl From<Fatal> for Stopped {
    fn from(fatal: Fatal) -> Self {
        Self(fatal.to_string())
    }
}

impl From<OpenError> for Stopped {
    fn from(error: OpenError) -> Self {
        Self(error.to_string())
    }
}

/// How an opening ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It serves.
    Serves,
    /// It was cut short by a crash or an ordered error of the disk.
    CutShort(String),
    /// It refused the data that it found.
    Refused(String),
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) book: Book,
    pub(crate) engine: Option<SteppedEngine<SimDisk>>,
    pub(crate) options: Options,
    /// Whether refusals for lack of space are part of the run.
    pub(crate) may_be_full: bool,
    /// Requests that were refused for lack of space.
    pub(crate) refused: u64,
}

/// A request that was sent, with what is to be noted about its answer.
enum Sent {
    Appends(Vec<AppendId>),
    Changes(Vec<Noted>),
}

enum Noted {
    Made(usize),
    Sealed(usize),
    Trimmed(ShardUid, u64),
    Dropped(usize),
    Row(u8, u64),
}

impl World {
    /// A machine with an empty disk, on which nothing runs.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            dice: Dice::new(seed),
            disk: SimDisk::new(seed ^ 0x5eed),
            clock: Arc::new(ManualClock::new(Millis(1_000_000))),
            book: Book::default(),
            engine: None,
            options: options(),
            may_be_full: false,
            refused: 0,
        }
    }

    /// A copy of this machine as it is now, switched off, whose further choices follow from
    /// `seed`.
    pub(crate) fn fork(&self, seed: u64) -> Self {
        use millstream_clock::Clock as _;
        Self {
            seed,
            dice: Dice::new(seed),
            disk: self.disk.fork(seed),
            clock: Arc::new(ManualClock::new(self.clock.now())),
            book: self.book.clone(),
            engine: None,
            options: self.options.clone(),
            may_be_full: self.may_be_full,
            refused: 0,
        }
    }

    pub(crate) fn engine(&mut self) -> &mut SteppedEngine<SimDisk> {
        self.engine
            .as_mut()
            .expect("a step is done only while the engine runs")
    }

    /// Starts the engine.
    pub(crate) fn open(&mut self) -> Opening {
        let disk = Arc::new(self.disk.clone());
        let entropy = Arc::new(SeededEntropy::new(self.dice.bits()));
        match SteppedEngine::open(disk, self.options.clone(), self.clock.clone(), entropy) {
            Ok(engine) => {
                self.engine = Some(engine);
                Opening::Serves
            },
            Err(error) if self.disk.is_crashed() => Opening::CutShort(error.to_string()),
            Err(error @ OpenError::Io { .. }) => Opening::CutShort(error.to_string()),
            Err(refused) => Opening::Refused(refused.to_string()),
        }
    }

    /// Ends the engine as a crash would; the machine is switched on again.
    pub(crate) fn crash(&mut self, crash: Crash) {
        self.disk.crash_now();
        self.engine = None;
        self.disk.restart(crash);
    }

    /// A random crash.
    pub(crate) fn any_crash(&self) -> Crash {
        if self.dice.chance(1, 2) {
            Crash::Process
        } else {
            Crash::Power
        }
    }

    /// Opens until it serves, with a crash after every opening that was cut short. False when the
    /// store refused.
    pub(crate) fn open_at_last(&mut self) -> bool {
        let mut cut_short = Vec::new();
        for _ in 0..OPENINGS_MAX {
            match self.open() {
                Opening::Serves => return true,
                Opening::Refused(why) => {
                    self.book.faults.push(format!("refused to open: {why}"));
                    self.book.history.saw_no_store();
                    return false;
                },
                Opening::CutShort(why) => {
                    cut_short.push(why);
                    let crash = self.any_crash();
                    self.crash(crash);
                },
            }
        }
        panic!(
            "seed {}: the engine does not open: {cut_short:#?}",
            self.seed
        );
    }

    /// One random step of some lane or client.
    pub(crate) fn step(&mut self) -> Result<(), Stopped> {
        match self.dice.below(100) {
            0..45 => self.commit(),
            45..60 => self.sink(),
            60..72 => self
                .engine()
                .checkpoint_step()
                .map(drop)
                .map_err(Stopped::from),
            72..80 => self
                .engine()
                .prepare_file()
                .map(drop)
                .map_err(Stopped::from),
            80..83 => self.engine().idle_seal().map_err(Stopped::from),
            83..95 => self.read_some(),
            _ => {
                let ms = self.dice.below(1_000_000);
                self.clock.advance(ms);
                Ok(())
            },
        }
    }

    /// One round of the sink; a disk that it finds full is met as the threads do.
    fn sink(&mut self) -> Result<(), Stopped> {
        let full = self.engine().sink_round()? == Progress::NoSpace;
        if full && self.dice.chance(1, 2) {
            self.engine().meet_full_disk()?;
        } else if self.engine().counters().no_space != 0 {
            self.engine().leave_full_disk()?;
        }
        Ok(())
    }

    /// One commit window of several clients' requests.
    pub(crate) fn commit(&mut self) -> Result<(), Stopped> {
        let (mut steps, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..self.dice.between(1, 4) {
            let (step, note) = if self.book.open_shards().is_empty() || self.dice.chance(1, 6) {
                self.changes()
            } else {
                self.appends()
            };
            steps.push(step);
            sent.push(note);
        }
        self.send(steps, sent)
    }

    /// One commit window of appends.
    pub(crate) fn append(&mut self) -> Result<(), Stopped> {
        let (step, sent) = self.appends();
        self.send(vec![step], vec![sent])
    }

    /// Trims every shard to its end, in one window.
    pub(crate) fn trim_all(&mut self) -> Result<(), Stopped> {
        let (mut steps, mut sent) = (Vec::new(), Vec::new());
        for index in 0..self.book.shards.len() {
            let BookShard { uid, dropped, .. } = self.book.shards[index];
            let Some(status) = self.engine().status(uid).filter(|_| dropped == Known::No) else {
                continue;
            };
            let before = status.next;
            self.book.history.trimming(uid, before);
            steps.push(Step::Apply(vec![Change::TrimShard { shard: uid, before }]));
            sent.push(Sent::Changes(vec![Noted::Trimmed(uid, before)]));
        }
        self.send(steps, sent)
    }

    fn send(&mut self, steps: Vec<Step>, sent: Vec<Sent>) -> Result<(), Stopped> {
        let replies = self.engine().commit(steps)?;
        assert_eq!(replies.len(), sent.len());
        for (reply, sent) in replies.into_iter().zip(sent) {
            self.note(reply, sent);
        }
        Ok(())
    }

    fn appends(&mut self) -> (Step, Sent) {
        let open = self.book.open_shards();
        let (mut appends, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..self.dice.between(1, 2) {
            let shard = self.book.shards[open[self.dice.index(open.len())]].uid;
            let (payloads, records) = self.book.records(&self.dice);
            ids.push(self.book.history.invoke(shard, &payloads));
            appends.push(Append { shard, records });
        }
        (Step::Append(appends), Sent::Appends(ids))
    }

    fn changes(&mut self) -> (Step, Sent) {
        let open = self.book.open_shards();
        let pick = (!open.is_empty()).then(|| open[self.dice.index(open.len())]);
        let (change, noted) = match (pick, self.dice.below(20)) {
            (Some(index), 0..2) if open.len() > 1 => {
                let shard = &mut self.book.shards[index];
                shard.sealed = Known::Perhaps;
                (Change::SealShard(shard.uid), Noted::Sealed(index))
            },
            (Some(index), 2) if open.len() > 2 => {
                let shard = &mut self.book.shards[index];
                shard.dropped = Known::Perhaps;
                let uid = shard.uid;
                self.book.history.dropping(uid);
                (Change::DropShard(uid), Noted::Dropped(index))
            },
            (Some(index), 3..10) => {
                let uid = self.book.shards[index].uid;
                let next = self.engine().status(uid).map_or(1, |status| status.next);
                let before = self.dice.below(next + 1);
                self.book.history.trimming(uid, before);
                (
                    Change::TrimShard { shard: uid, before },
                    Noted::Trimmed(uid, before),
                )
            },
            (picked, 10..14) if self.book.shards.len() < SHARDS_MAX || picked.is_none() => {
                let uid = self.book.new_uid();
                let (made, no) = (Known::Perhaps, Known::No);
                self.book.shards.push(BookShard {
                    uid,
                    made,
                    sealed: no,
                    dropped: no,
                });
                (
                    Change::OpenShard(uid),
                    Noted::Made(self.book.shards.len() - 1),
                )
            },
            (None, _) => {
                let uid = self.book.new_uid();
                let (made, no) = (Known::Perhaps, Known::No);
                self.book.shards.push(BookShard {
                    uid,
                    made,
                    sealed: no,
                    dropped: no,
                });
                (
                    Change::OpenShard(uid),
                    Noted::Made(self.book.shards.len() - 1),
                )
            },
            _ => {
                let key = self.dice.bits().to_le_bytes()[0] % 4;
                let row = self.book.rows.entry(key).or_default();
                row.sent += 1;
                let (key_bytes, value) = ([b'r', key], row.sent.to_le_bytes());
                let change = Change::PutRow {
                    key: Bytes::copy_from_slice(&key_bytes),
                    value: Bytes::copy_from_slice(&value),
                };
                (change, Noted::Row(key, row.sent))
            },
        };
        (Step::Apply(vec![change]), Sent::Changes(vec![noted]))
    }

    fn note(&mut self, reply: StepReply, sent: Sent) {
        match (reply, sent) {
            (StepReply::Append(Ok(answers)), Sent::Appends(ids)) => {
                for (answer, id) in answers.into_iter().zip(ids) {
                    match answer {
                        Ok(appended) => self.book.history.ok(id, appended.first),
                        // sealed or dropped by another request of the same window
                        Err(_) => self.book.history.refused(id),
                    }
                }
            },
            (StepReply::Append(Err(error)), Sent::Appends(ids)) => {
                self.expect_full(error);
                ids.into_iter().for_each(|id| self.book.history.refused(id));
            },
            (StepReply::Apply(Ok(())), Sent::Changes(noted)) => {
                noted.into_iter().for_each(|noted| self.applied(noted));
            },
            (StepReply::Apply(Err(ApplyError::Store(error))), Sent::Changes(noted)) => {
                self.expect_full(error);
                noted.into_iter().for_each(|noted| self.refused(noted));
            },
            (StepReply::Apply(Err(ApplyError::NoShard)), Sent::Changes(noted)) => {
                noted.into_iter().for_each(|noted| self.refused(noted));
            },
            (reply, _) => panic!("seed {}: an odd reply {reply:?}", self.seed),
        }
    }

    fn expect_full(&mut self, error: StoreError) {
        self.refused += 1;
        let expected = self.may_be_full && error == StoreError::NoSpace;
        assert!(
            expected,
            "seed {}: refused with {error:?} without need",
            self.seed
        );
    }

    fn applied(&mut self, noted: Noted) {
        match noted {
            Noted::Made(index) => self.book.shards[index].made = Known::Yes,
            Noted::Sealed(index) => {
                self.book.shards[index].sealed = Known::Yes;
                self.book.history.sealed(self.book.shards[index].uid);
            },
            Noted::Trimmed(uid, before) => self.book.history.trimmed(uid, before),
            Noted::Dropped(index) => self.book.shards[index].dropped = Known::Yes,
            Noted::Row(key, value) => {
                let row = self.book.rows.entry(key).or_default();
                row.acked = row.acked.max(value);
            },
        }
    }

    fn refused(&mut self, noted: Noted) {
        match noted {
            Noted::Made(index) => self.book.shards[index].dropped = Known::Yes,
            Noted::Sealed(index) => self.book.shards[index].sealed = Known::No,
            // the history may go on to think that it was tried
            Noted::Dropped(_) | Noted::Trimmed(..) | Noted::Row(..) => {},
        }
    }

    /// A reader reads once, somewhere.
    fn read_some(&mut self) -> Result<(), Stopped> {
        let Some(index) = self.book.shards.len().checked_sub(1) else {
            return Ok(());
        };
        let shard = &self.book.shards[self.dice.index(index + 1)];
        let (uid, dropped) = (shard.uid, shard.dropped != Known::No);
        let Some(status) = self.engine().status(uid).filter(|_| !dropped) else {
            return Ok(());
        };
        let (from, began) = (
            self.dice.between(1, status.next),
            self.book.history.moment(),
        );
        match self.engine().read(uid, from, LIMIT) {
            Ok(read) => {
                let records = read
                    .records
                    .iter()
                    .map(|r| (r.number, id_of(&r.data)))
                    .collect();
                let tip = (read.next == read.status.next).then_some(read.next);
                self.book.history.saw(&Seen {
                    shard: uid,
                    began,
                    from,
                    records,
                    tip,
                });
                Ok(())
            },
            Err(error) => self.read_failed(uid, &error),
        }
    }

    fn read_failed(&mut self, uid: ShardUid, error: &ReadError) -> Result<(), Stopped> {
        if self.disk.is_crashed() {
            return Err(Stopped("the disk crashed in a read".to_owned()));
        }
        match error {
            // ordered errors of the disk: the client tries again some time
            ReadError::Io(_) => Ok(()),
            other => {
                self.book
                    .faults
                    .push(format!("a read of {uid} failed: {other}"));
                let began = self.book.history.moment();
                self.book.history.saw_no_shard(uid, began);
                Ok(())
            },
        }
    }

    /// Reads everything and compares what is known of shards and rows.
    pub(crate) fn verify(&mut self) -> Result<(), Stopped> {
        for index in 0..self.book.shards.len() {
            let shard = self.book.shards[index].clone();
            let status = self.engine().status(shard.uid);
            match (shard.dropped, status) {
                (Known::No, Some(status)) => {
                    self.book.shards[index].made = Known::Yes;
                    self.verify_seal(index, status.sealed);
                    self.read_all(shard.uid)?;
                },
                (Known::No, None) if shard.made == Known::Yes => {
                    self.book
                        .faults
                        .push(format!("shard {} is gone", shard.uid));
                    let began = self.book.history.moment();
                    self.book.history.saw_no_shard(shard.uid, began);
                },
                // never made, or dropped: it must not come back
                (_, None) => self.book.shards[index].dropped = Known::Yes,
                (Known::Perhaps, Some(_)) => {},
                (Known::Yes, Some(_)) => {
                    self.book
                        .faults
                        .push(format!("shard {} was dropped and is back", shard.uid));
                },
            }
        }
        self.verify_rows();
        Ok(())
    }

    fn verify_seal(&mut self, index: usize, sealed: bool) {
        let shard = &mut self.book.shards[index];
        match (shard.sealed, sealed) {
            (Known::Yes, false) => {
                self.book
                    .faults
                    .push(format!("shard {} is no longer sealed", shard.uid));
            },
            (Known::No, true) => {
                self.book
                    .faults
                    .push(format!("nobody sealed shard {}", shard.uid));
            },
            (Known::Perhaps, true) => {
                shard.sealed = Known::Yes;
                self.book.history.sealed(shard.uid);
            },
            (Known::Perhaps, false) => shard.sealed = Known::No,
            _ => {},
        }
    }

    fn verify_rows(&mut self) {
        for (key, row) in &mut self.book.rows {
            let engine = self.engine.as_ref().expect("verified while it runs");
            let found = engine.rows(&[b'r', *key]);
            let value = match found.as_slice() {
                [] => 0,
                [(_, value)] => u64::from_le_bytes(value[..].try_into().unwrap()),
                _ => u64::MAX,
            };
            if value < row.acked || value > row.sent {
                let fault = format!(
                    "row {key} has {value} instead of {}..={}",
                    row.acked, row.sent
                );
                self.book.faults.push(fault);
            }
            // what was seen must stay
            row.acked = row.acked.max(value.min(row.sent));
        }
    }

    fn read_all(&mut self, uid: ShardUid) -> Result<(), Stopped> {
        let began = self.book.history.moment();
        let (mut records, mut from) = (Vec::new(), 1);
        for _ in 0..READS_MAX {
            let read = match self.engine().read(uid, from, LIMIT) {
                Ok(read) => read,
                Err(error) => return self.read_failed(uid, &error),
            };
            records.extend(read.records.iter().map(|r| (r.number, id_of(&r.data))));
            from = read.next;
            if read.records.is_empty() {
                let tip = Some(read.status.next);
                self.book.history.saw(&Seen {
                    shard: uid,
                    began,
                    from: 1,
                    records,
                    tip,
                });
                return Ok(());
            }
        }
        panic!("seed {}: a read of {uid} does not end", self.seed);
    }

    /// Random steps until `count` are done or the engine stops.
    pub(crate) fn steps(&mut self, count: u64) -> Result<(), Stopped> {
        for _ in 0..count {
            self.step()?;
        }
        Ok(())
    }

    /// Fails the test, with everything that is needed to look into it, unless all is well.
    pub(crate) fn assert_clean(self, about: &str) {
        let (seed, calls) = (self.seed, self.disk.recent_calls());
        let (report, faults) = self.book.close();
        if !report.is_clean() || !faults.is_empty() {
            let shown = calls[calls.len().saturating_sub(60)..].join("\n  ");
            panic!("seed {seed}, {about}: {faults:?} {report:#?}\nlatest calls:\n  {shown}");
        }
    }

    /// Lives for `lives` lives of the engine, each of some random steps, with everything read after
    /// each crash; then the engine is left running. False when the store refused to open.
    pub(crate) fn live(&mut self, lives: u64) -> bool {
        for _ in 0..lives {
            if self.dice.chance(1, 3) {
                // in the opening, or soon after it
                self.disk.crash_after(self.dice.below(40));
            } else if self.dice.chance(1, 2) {
                self.disk.crash_after(self.dice.below(300));
            }
            if !self.open_at_last() {
                return false;
            }
            let steps = self.dice.below(120);
            let stopped = self.verify().is_err() || self.steps(steps).is_err();
            if !stopped && self.dice.chance(1, 6) {
                let closing = self.engine.take().expect("it runs").close();
                drop(closing);
                continue;
            }
            let crash = self.any_crash();
            self.crash(crash);
        }
        self.settle()
    }

    /// Opens and reads everything, again after each error that was still ordered. False when the
    /// store refused to open.
    pub(crate) fn settle(&mut self) -> bool {
        for _ in 0..OPENINGS_MAX {
            if !self.open_at_last() {
                return false;
            }
            if self.verify().is_ok() {
                return true;
            }
            let crash = self.any_crash();
            self.crash(crash);
        }
        panic!("seed {}: the engine stops at every reading", self.seed);
    }

    pub(crate) fn turn_off(&self, point: SyncPoint) {
        self.disk.turn_off(point);
    }
}
