//! Model against engine: the same operations, with the lanes stepped in a seeded order on the
//! simulated disk, and with threads on a real one.

use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::{Clock, ManualClock, SeededEntropy};
use millstream_storage::disk::sim::{Crash, SimDisk};
use millstream_storage::memory::MemoryStore;
use millstream_storage::testkit::Dice;
use millstream_storage::volume::stepped::{Step, StepReply, SteppedEngine};
use millstream_storage::volume::{Engine, Options};
use millstream_storage::{
    Append, AppendError, Appended, ApplyError, Change, Read, ReadError, ReadLimit, ShardLog,
    ShardStatus, ShardStore, StoreError,
};
use millstream_types::{Millis, ShardUid};
use parking_lot::Mutex;

use crate::driver::{Driver, Ending, Subject};
use crate::model::{Model, block_on, clock, for_operations};
use crate::sim::options;

/// The engine on the simulated disk; after each request some steps of its other lanes are done.
struct Stepped {
    engine: Mutex<SteppedEngine<SimDisk>>,
    clock: Arc<ManualClock>,
    dice: Dice,
}

impl Stepped {
    fn commit(&self, step: Step) -> StepReply {
        let mut engine = self.engine.lock();
        let reply = engine
            .commit(vec![step])
            .expect("the disk is healthy")
            .remove(0);
        for _ in 0..self.dice.below(4) {
            match self.dice.below(4) {
                0 => engine.prepare_file().map(drop),
                1 => engine.checkpoint_step().map(drop),
                2 => engine.idle_seal(),
                _ => engine.sink_round().map(drop),
            }
            .expect("the disk is healthy");
        }
        reply
    }
}

impl ShardLog for Stepped {
    async fn append(
        &self,
        appends: Vec<Append>,
    ) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        match self.commit(Step::Append(appends)) {
            StepReply::Append(answer) => answer,
            StepReply::Apply(other) => panic!("an append was answered with {other:?}"),
        }
    }

    async fn read(&self, shard: ShardUid, from: u64, limit: ReadLimit) -> Result<Read, ReadError> {
        self.engine.lock().read(shard, from, limit)
    }

    async fn number_at(&self, shard: ShardUid, time: Millis) -> Result<u64, ReadError> {
        self.engine.lock().number_at(shard, time)
    }

    async fn wait_past(&self, shard: ShardUid, number: u64) {
        // one caller at a time: what is not there yet does not come while it waits
        if self
            .status_now(shard)
            .is_some_and(|status| !status.sealed && status.next <= number)
        {
            std::future::pending::<()>().await;
        }
    }

    async fn status(&self, shard: ShardUid) -> Result<ShardStatus, ReadError> {
        self.status_now(shard).ok_or(ReadError::NoShard)
    }
}

impl ShardStore for Stepped {
    async fn apply(&self, changes: Vec<Change>) -> Result<(), ApplyError> {
        match self.commit(Step::Apply(changes)) {
            StepReply::Apply(answer) => answer,
            StepReply::Append(other) => panic!("changes were answered with {other:?}"),
        }
    }

    fn status_now(&self, shard: ShardUid) -> Option<ShardStatus> {
        self.engine.lock().status(shard)
    }

    fn rows(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        self.engine.lock().rows(prefix)
    }

    fn retention_now(&self) -> Option<Millis> {
        Some(self.clock.now())
    }
}

struct OnSimDisk {
    disk: SimDisk,
    store: Option<Stepped>,
    clock: Arc<ManualClock>,
    openings: u64,
}

impl OnSimDisk {
    fn new(clock: Arc<ManualClock>) -> Self {
        let mut this = Self {
            disk: SimDisk::new(7),
            store: None,
            clock,
            openings: 0,
        };
        this.open();
        this
    }

    fn open(&mut self) {
        self.openings += 1;
        let entropy = Arc::new(SeededEntropy::new(self.openings));
        let disk = Arc::new(self.disk.clone());
        let engine = SteppedEngine::open(disk, options(), self.clock.clone(), entropy);
        self.store = Some(Stepped {
            engine: Mutex::new(engine.expect("a healthy disk opens")),
            clock: self.clock.clone(),
            dice: Dice::new(self.openings),
        });
    }
}

impl Subject for OnSimDisk {
    type Store = Stepped;

    fn store(&self) -> &Stepped {
        self.store.as_ref().expect("it is open between operations")
    }

    async fn reopen(&mut self, how: Ending) {
        let store = self.store.take().expect("it is open between operations");
        match how {
            Ending::Close => store
                .engine
                .into_inner()
                .close()
                .expect("the disk is healthy"),
            Ending::Kill | Ending::PowerLoss => drop(store),
        }
        let power = how == Ending::PowerLoss;
        self.disk
            .restart(if power { Crash::Power } else { Crash::Process });
        self.open();
    }
}

#[test]
fn the_stepped_engine_answers_as_the_model_does() {
    for_operations(250, |ops| {
        let clock = clock();
        let model = Model(MemoryStore::new(clock.clone()));
        block_on(Driver::new(model, OnSimDisk::new(clock.clone()), &clock).run(ops));
    });
}

/// The whole engine on a real directory. It cannot lose power here, so that ends as a kill.
struct OnRealDisk {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    engine: Option<Engine>,
    openings: u64,
}

impl OnRealDisk {
    fn new(clock: Arc<ManualClock>) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let mut this = Self {
            dir,
            clock,
            engine: None,
            openings: 0,
        };
        this.open();
        this
    }

    fn open(&mut self) {
        let options = Options {
            dir: self.dir.path().join("data"),
            ..options()
        };
        self.openings += 1;
        let entropy = Arc::new(SeededEntropy::new(self.openings));
        let engine = Engine::open(options, self.clock.clone(), entropy);
        self.engine = Some(engine.expect("a healthy disk opens"));
    }
}

impl Subject for OnRealDisk {
    type Store = Engine;

    fn store(&self) -> &Engine {
        self.engine.as_ref().expect("it is open between operations")
    }

    async fn reopen(&mut self, how: Ending) {
        let engine = self.engine.take().expect("it is open between operations");
        if how == Ending::Close {
            engine.close().await;
        }
        drop(engine);
        self.open();
    }
}

#[test]
fn the_engine_on_a_real_disk_answers_as_the_model_does() {
    for_operations(12, |ops| {
        let clock = clock();
        let model = Model(MemoryStore::new(clock.clone()));
        block_on(Driver::new(model, OnRealDisk::new(clock.clone()), &clock).run(ops));
    });
}

#[test]
fn an_epoch_is_above_those_of_every_volume_that_was_there_before() {
    let clock = clock();
    let epoch = |volume: &OnRealDisk| volume.store().epoch();
    let mut old = OnRealDisk::new(clock.clone());
    let mut last = epoch(&old);
    let mut above_last = |epoch: u64| {
        assert!(epoch > last, "{epoch} is not above {last}");
        last = epoch;
    };
    // Time stands still: the epochs of one volume rise all the same.
    block_on(old.reopen(Ending::Kill));
    above_last(epoch(&old));
    clock.advance(60_000);
    let new = OnRealDisk::new(clock.clone());
    above_last(epoch(&new));
    drop(new);
    clock.advance(60_000);
    block_on(old.reopen(Ending::Close));
    above_last(epoch(&old));
}
