//! Drives two stores with the same operations and compares every answer.
//!
//! Generic over the stores: model against model tests the driver, model against engine the engine.
//! Every operation waits for the one before, so nothing is ever unknown: what a store answered
//! must still be there after any way of ending and opening it again.

use std::future::Future;

use bytes::Bytes;
use millstream_clock::ManualClock;
use millstream_storage::testkit::Dice;
use millstream_storage::{
    Append, Change, NewRecord, Read, ReadError, ReadLimit, Record, ShardLog as _, ShardStore,
};
use millstream_types::{Millis, ShardUid};
use proptest::prelude::*;

/// Shards that exist side by side in one run.
pub(crate) const SLOTS: usize = 4;
/// Reads that a full scan may need.
const SCAN_READS_MAX: usize = 10_000;

/// How a store ends before it is opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An orderly shutdown.
    Close,
    /// The death of the process.
    Kill,
    /// The loss of power.
    PowerLoss,
}

/// A store that can be ended and opened again.
pub(crate) trait Subject {
    /// What it opens.
    type Store: ShardStore;
    /// The store that is open now.
    fn store(&self) -> &Self::Store;
    /// Ends it and opens it again.
    fn reopen(&mut self, how: Ending) -> impl Future<Output = ()>;
}

/// One step of a run. Shards are named by their slot; a slot gets a new uid after a drop.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Append(Vec<(usize, Vec<usize>)>),
    Change(Vec<SlotChange>),
    Read {
        slot: usize,
        from: u64,
        records: usize,
        bytes: usize,
    },
    NumberAt {
        slot: usize,
        ago_ms: u64,
    },
    Rows {
        prefix: u8,
    },
    Advance {
        ms: u64,
    },
    JumpBack {
        ms: u64,
    },
    Reopen(Ending),
}

#[derive(Clone, Debug)]
pub(crate) enum SlotChange {
    Open(usize),
    Seal(usize),
    Trim(usize, u64),
    Drop(usize),
    PutRow(u8, usize),
    DeleteRow(u8),
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let slot = 0..SLOTS;
    let sizes = prop_oneof![
        8 => prop::collection::vec(0..300usize, 1..6),
        1 => prop::collection::vec(0..40_000usize, 1..4),
    ];
    let limit = prop_oneof![Just(usize::MAX), 1..2_000usize];
    let ending = prop_oneof![
        Just(Ending::Close),
        Just(Ending::Kill),
        Just(Ending::PowerLoss)
    ];
    prop_oneof![
        10 => prop::collection::vec((slot.clone(), sizes), 1..4).prop_map(Op::Append),
        4 => prop::collection::vec(change(), 1..4).prop_map(Op::Change),
        4 => (slot.clone(), 0..60u64, 1..20usize, limit)
            .prop_map(|(slot, from, records, bytes)| Op::Read { slot, from, records, bytes }),
        2 => (slot, 0..5_000u64).prop_map(|(slot, ago_ms)| Op::NumberAt { slot, ago_ms }),
        1 => (0..4u8).prop_map(|prefix| Op::Rows { prefix }),
        3 => (0..2_000u64).prop_map(|ms| Op::Advance { ms }),
        1 => (0..2_000u64).prop_map(|ms| Op::JumpBack { ms }),
        1 => ending.prop_map(Op::Reopen),
    ]
}

fn change() -> impl Strategy<Value = SlotChange> {
    let slot = 0..SLOTS;
    prop_oneof![
        8 => slot.clone().prop_map(SlotChange::Open),
        1 => slot.clone().prop_map(SlotChange::Seal),
        4 => (slot.clone(), 0..80u64).prop_map(|(slot, before)| SlotChange::Trim(slot, before)),
        1 => slot.prop_map(SlotChange::Drop),
        4 => (any::<u8>(), 0..200usize).prop_map(|(key, len)| SlotChange::PutRow(key, len)),
        2 => any::<u8>().prop_map(SlotChange::DeleteRow),
    ]
}

/// A run over two stores that share one clock.
pub(crate) struct Driver<'a, A, B> {
    pub(crate) a: A,
    pub(crate) b: B,
    clock: &'a ManualClock,
    dice: Dice,
    /// How often each slot's shard was dropped.
    lives: [u128; SLOTS],
}

impl<'a, A: Subject, B: Subject> Driver<'a, A, B> {
    pub(crate) fn new(a: A, b: B, clock: &'a ManualClock) -> Self {
        Self {
            a,
            b,
            clock,
            dice: Dice::new(1),
            lives: [0; SLOTS],
        }
    }

    /// Does all of `ops`, then compares everything that can be read, before and after a last
    /// reopening.
    pub(crate) async fn run(&mut self, ops: &[Op]) {
        self.change(&[SlotChange::Open(0), SlotChange::Open(1)])
            .await;
        for op in ops {
            self.step(op).await;
        }
        self.compare_all().await;
        self.reopen(Ending::Kill).await;
        self.compare_all().await;
    }

    fn uid(&self, slot: usize) -> ShardUid {
        ShardUid(self.lives[slot] << 64 | slot as u128)
    }

    fn bytes(&self, len: usize) -> Bytes {
        let seed = self.dice.bits().to_le_bytes();
        seed.iter().copied().cycle().take(len).collect()
    }

    async fn step(&mut self, op: &Op) {
        match op {
            Op::Append(appends) => self.append(appends).await,
            Op::Change(changes) => self.change(changes).await,
            Op::Read {
                slot,
                from,
                records,
                bytes,
            } => {
                let limit = ReadLimit {
                    records: *records,
                    bytes: *bytes,
                };
                self.compare_read(self.uid(*slot), *from, limit).await;
            },
            Op::NumberAt { slot, ago_ms } => {
                let time = Millis(1_000_000).plus(*ago_ms);
                let uid = self.uid(*slot);
                let a = self.a.store().number_at(uid, time).await;
                assert_eq!(a, self.b.store().number_at(uid, time).await);
            },
            Op::Rows { prefix } => {
                let prefix = [*prefix];
                assert_eq!(self.a.store().rows(&prefix), self.b.store().rows(&prefix));
            },
            Op::Advance { ms } => self.clock.advance(*ms),
            Op::JumpBack { ms } => {
                use millstream_clock::Clock as _;
                self.clock.jump_to(self.clock.now().minus(*ms));
            },
            Op::Reopen(how) => self.reopen(*how).await,
        }
    }

    async fn append(&mut self, appends: &[(usize, Vec<usize>)]) {
        let record = |len: &usize| NewRecord {
            key: self.bytes(len % 30),
            data: self.bytes(*len),
        };
        let append = |(slot, sizes): &(usize, Vec<usize>)| Append {
            shard: self.uid(*slot),
            records: sizes.iter().map(record).collect(),
        };
        let appends: Vec<Append> = appends.iter().map(append).collect();
        let a = self.a.store().append(appends.clone()).await;
        let b = self.b.store().append(appends).await;
        assert!(a.is_ok(), "neither store is short of anything");
        assert_eq!(a, b);
    }

    async fn change(&mut self, changes: &[SlotChange]) {
        let row = |key: &u8| Bytes::copy_from_slice(&[key % 4, *key]);
        let mut lives = self.lives;
        let mut list = Vec::new();
        for change in changes {
            let uid = |slot: &usize| ShardUid(lives[*slot] << 64 | *slot as u128);
            list.push(match change {
                SlotChange::Open(slot) => Change::OpenShard(uid(slot)),
                SlotChange::Seal(slot) => Change::SealShard(uid(slot)),
                SlotChange::Trim(slot, before) => Change::TrimShard {
                    shard: uid(slot),
                    before: *before,
                },
                SlotChange::Drop(slot) => {
                    let dropped = Change::DropShard(uid(slot));
                    lives[*slot] += 1;
                    dropped
                },
                SlotChange::PutRow(key, len) => Change::PutRow {
                    key: row(key),
                    value: self.bytes(*len),
                },
                SlotChange::DeleteRow(key) => Change::DeleteRow { key: row(key) },
            });
        }
        let a = self.a.store().apply(list.clone()).await;
        assert_eq!(a, self.b.store().apply(list).await);
        if a.is_ok() {
            self.lives = lives;
        }
    }

    async fn reopen(&mut self, how: Ending) {
        self.a.reopen(how).await;
        self.b.reopen(how).await;
        self.compare_statuses();
    }

    fn compare_statuses(&self) {
        for uid in (0..SLOTS).map(|slot| self.uid(slot)) {
            assert_eq!(
                self.a.store().status_now(uid),
                self.b.store().status_now(uid),
                "{uid}"
            );
        }
        assert_eq!(self.a.store().rows(b""), self.b.store().rows(b""));
    }

    async fn compare_all(&self) {
        self.compare_statuses();
        for uid in (0..SLOTS).map(|slot| self.uid(slot)) {
            let (a, b) = (
                scan(self.a.store(), uid).await,
                scan(self.b.store(), uid).await,
            );
            assert!(a == b, "{uid} reads differently");
        }
    }

    async fn compare_read(&self, uid: ShardUid, from: u64, limit: ReadLimit) {
        let a = self.a.store().read(uid, from, limit).await;
        let b = self.b.store().read(uid, from, limit).await;
        match (a, b) {
            (Ok(a), Ok(b)) => compare_reads(&a, &b, limit),
            (a, b) => assert_eq!(a, b),
        }
    }
}

/// Reads need not be of one length, as long as both keep the limits and neither is empty while
/// the other is not.
fn compare_reads(a: &Read, b: &Read, limit: ReadLimit) {
    assert_eq!(a.status, b.status);
    assert_eq!(a.records.is_empty(), b.records.is_empty());
    let both = a.records.len().min(b.records.len());
    assert_eq!(a.records[..both], b.records[..both]);
    for read in [a, b] {
        let size = |r: &Record| r.key.len() + r.data.len();
        let bytes: usize = read.records.iter().map(size).sum();
        let kept = read.records.len() <= limit.records && bytes <= limit.bytes;
        assert!(
            kept || read.records.len() == 1,
            "a read went over its limits"
        );
        if let Some(last) = read.records.last() {
            assert_eq!(read.next, last.number + 1);
        }
    }
    if both == 0 {
        assert_eq!(a.next, b.next);
    }
}

/// All readable records of a shard.
pub(crate) async fn scan<S: ShardStore>(
    store: &S,
    uid: ShardUid,
) -> Result<Vec<Record>, ReadError> {
    let limit = ReadLimit {
        records: 50,
        bytes: 100_000,
    };
    let (mut all, mut from) = (Vec::new(), 0);
    for _ in 0..SCAN_READS_MAX {
        let read = store.read(uid, from, limit).await?;
        if read.records.is_empty() {
            return Ok(all);
        }
        from = read.next;
        all.extend(read.records);
    }
    panic!("a scan of {uid} does not end");
}
