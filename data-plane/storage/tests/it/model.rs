//! The driver on two models: it passes where they agree and fails where they do not.

use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::ManualClock;
use millstream_storage::memory::MemoryStore;
use millstream_storage::{Append, Change, NewRecord, ShardLog as _, ShardStore as _};
use millstream_types::{Millis, ShardUid};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::driver::{Driver, Ending, Op, SlotChange, Subject, op};

/// A model; ending it loses nothing.
pub(crate) struct Model(pub(crate) MemoryStore);

impl Subject for Model {
    type Store = MemoryStore;

    fn store(&self) -> &MemoryStore {
        &self.0
    }

    async fn reopen(&mut self, _how: Ending) {}
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Millis(1_000_000)))
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(future)
}

/// Calls `run` with `cases` rows of operations, the same ones every time for one `SEED` (0 unless
/// the environment says otherwise).
pub(crate) fn for_operations(cases: u32, run: impl Fn(&[Op])) {
    let seed: u64 = std::env::var("SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    let bytes = [seed.to_le_bytes(); 4].concat();
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(&prop::collection::vec(op(), 1..60), |ops| {
        run(&ops);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("seed {seed}: {failure}");
    }
}

#[test]
fn two_models_agree() {
    for_operations(100, |ops| {
        let clock = clock();
        let (a, b) = (
            MemoryStore::new(clock.clone()),
            MemoryStore::new(clock.clone()),
        );
        block_on(Driver::new(Model(a), Model(b), &clock).run(ops));
    });
}

/// What the driver makes of a store that was tampered with behind its back.
fn driver_notices(tamper: Change) {
    let clock = clock();
    let (a, b) = (
        MemoryStore::new(clock.clone()),
        MemoryStore::new(clock.clone()),
    );
    let mut driver = Driver::new(Model(a), Model(b.clone()), &clock);
    block_on(driver.run(&[Op::Append(vec![(0, vec![10, 20])])]));
    block_on(b.apply(vec![tamper])).unwrap();
    block_on(driver.run(&[Op::Change(vec![SlotChange::PutRow(1, 1)])]));
}

#[test]
#[should_panic(expected = "left == right")]
fn a_trim_on_one_side_only_is_noticed() {
    driver_notices(Change::TrimShard {
        shard: ShardUid(0),
        before: 2,
    });
}

#[test]
#[should_panic(expected = "left == right")]
fn a_row_on_one_side_only_is_noticed() {
    let key = Bytes::from_static(b"\x03x");
    driver_notices(Change::PutRow {
        key,
        value: Bytes::new(),
    });
}

#[test]
#[should_panic(expected = "reads differently")]
fn other_bytes_in_one_record_are_noticed() {
    let clock = clock();
    let (a, b) = (
        MemoryStore::new(clock.clone()),
        MemoryStore::new(clock.clone()),
    );
    for (store, text) in [(&a, "x"), (&b, "y")] {
        let record = NewRecord {
            key: Bytes::new(),
            data: Bytes::from_static(text.as_bytes()),
        };
        let append = Append {
            shard: ShardUid(0),
            records: vec![record],
        };
        block_on(store.apply(vec![Change::OpenShard(ShardUid(0))])).unwrap();
        assert!(block_on(store.append(vec![append])).is_ok());
    }
    block_on(Driver::new(Model(a), Model(b), &clock).run(&[]));
}
