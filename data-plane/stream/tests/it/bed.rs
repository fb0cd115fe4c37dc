//! Where a test stands: streams over a store, with a clock that the test moves.

use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::{ManualClock, SeededEntropy, SystemEntropy};
use millstream_storage::ShardStore;
use millstream_storage::memory::MemoryStore;
use millstream_storage::volume::{self, Engine};
use millstream_stream::{
    GetRecordsOutput, NewStream, Options, PutEntry, PutOutput, Settings, StartingPosition, Stream,
    Streams, TokenKey,
};
use millstream_types::{HashKey, Millis, Scope, StreamMode, StreamName};
use tempfile::TempDir;

/// Where the clock starts: 2023-11-14T22:13:20Z and a bit.
pub(crate) const START: Millis = Millis(1_700_000_000_250);

pub(crate) struct Bed<S> {
    pub(crate) streams: Streams<S>,
    pub(crate) store: Arc<S>,
    pub(crate) clock: Arc<ManualClock>,
    home: Option<TempDir>,
}

/// A store that a test can end and open again.
pub(crate) trait Restart: ShardStore + Sized {
    /// The store as the next process finds it. `orderly`: this one shuts down; otherwise it stops
    /// as it stands.
    async fn restart(
        store: Arc<Self>,
        home: Option<&TempDir>,
        clock: Arc<ManualClock>,
        orderly: bool,
    ) -> Arc<Self>;
}

impl Restart for MemoryStore {
    async fn restart(
        store: Arc<Self>,
        _: Option<&TempDir>,
        _: Arc<ManualClock>,
        _: bool,
    ) -> Arc<Self> {
        store
    }
}

impl Restart for Engine {
    async fn restart(
        store: Arc<Self>,
        home: Option<&TempDir>,
        clock: Arc<ManualClock>,
        orderly: bool,
    ) -> Arc<Self> {
        if orderly {
            store.close().await;
        }
        drop(store);
        open_engine(home.expect("an engine has a folder"), clock)
    }
}

/// Runs each generic test over every store.
macro_rules! over_stores {
    ($($name:ident)*) => {
        mod over_memory {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(&$crate::bed::memory()).await;
                }
            )*
        }

        mod over_volume {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(&$crate::bed::volume()).await;
                }
            )*
        }
    };
}
pub(crate) use over_stores;

pub(crate) fn memory() -> Bed<MemoryStore> {
    let clock = Arc::new(ManualClock::new(START));
    let store = Arc::new(MemoryStore::new(clock.clone()));
    Bed::over(store, clock)
}

/// A bed on files in a folder that goes with it.
pub(crate) fn volume() -> Bed<Engine> {
    let clock = Arc::new(ManualClock::new(START));
    let home = tempfile::tempdir().expect("a folder");
    let store = open_engine(&home, clock.clone());
    Bed {
        home: Some(home),
        ..Bed::over(store, clock)
    }
}

fn open_engine(home: &TempDir, clock: Arc<ManualClock>) -> Arc<Engine> {
    const MIB: u64 = 1024 * 1024;
    let options = volume::Options {
        wal_file_bytes: 4 * MIB,
        checkpoint_bytes: 8 * MIB,
        segment_bytes: MIB,
        reserve_bytes: MIB,
        ..volume::Options::new(home.path().to_owned())
    };
    let engine = Engine::open(options, clock, Arc::new(SystemEntropy));
    Arc::new(engine.expect("a sound folder"))
}

pub(crate) fn scope() -> Scope {
    other_scope("000000000000", "us-east-1")
}

pub(crate) fn other_scope(account: &str, region: &str) -> Scope {
    Scope {
        account: account.parse().expect("an account"),
        region: region.parse().expect("a region"),
    }
}

pub(crate) fn name(text: &str) -> StreamName {
    text.parse().expect("a stream name")
}

pub(crate) fn new_stream(text: &str, shard_count: u64) -> NewStream {
    NewStream {
        name: name(text),
        mode: StreamMode::Provisioned,
        shard_count,
        settings: Settings::default(),
    }
}

pub(crate) fn entry(key: &str, data: impl Into<Bytes>) -> PutEntry {
    PutEntry {
        partition_key: key.parse().expect("a partition key"),
        explicit_hash_key: None,
        data: data.into(),
    }
}

/// An entry for the shard that takes this hash key.
pub(crate) fn entry_at(hash_key: u128, data: impl Into<Bytes>) -> PutEntry {
    PutEntry {
        explicit_hash_key: Some(HashKey(hash_key)),
        ..entry("key", data)
    }
}

impl Bed<Engine> {
    /// The bed after its process has ended and another one has begun, and a bed over a snapshot that
    /// was taken in between.
    pub(crate) async fn with_snapshot(self) -> (Self, Self) {
        self.store.close().await;
        let Self {
            clock,
            home,
            streams,
            store,
        } = self;
        drop((streams, store));
        let home = home.expect("an engine has a folder");
        let copy = tempfile::tempdir().expect("a folder");
        volume::tools::snapshot(home.path(), copy.path()).expect("a sound folder");
        let open = |home: TempDir| {
            let store = open_engine(&home, clock.clone());
            Self {
                home: Some(home),
                ..Self::over(store, clock.clone())
            }
        };
        (open(home), open(copy))
    }
}

impl<S: ShardStore> Bed<S> {
    pub(crate) fn over(store: Arc<S>, clock: Arc<ManualClock>) -> Self {
        Self::with_options(store, clock, Options::default())
    }

    pub(crate) fn with_options(store: Arc<S>, clock: Arc<ManualClock>, options: Options) -> Self {
        let streams = Streams::open(
            Arc::clone(&store),
            options,
            clock.clone(),
            Arc::new(SeededEntropy::new(7)),
            &TokenKey::new([7; 32]),
        )
        .expect("the rows are in order");
        Self {
            streams,
            store,
            clock,
            home: None,
        }
    }

    /// The streams as the next process finds them.
    pub(crate) fn reopened(&self) -> Self {
        Self::over(Arc::clone(&self.store), Arc::clone(&self.clock))
    }

    /// The bed after its process has ended and another one has begun.
    pub(crate) async fn restarted(self, orderly: bool) -> Self
    where
        S: Restart,
    {
        let Self {
            streams,
            store,
            clock,
            home,
        } = self;
        drop(streams);
        let store = S::restart(store, home.as_ref(), clock.clone(), orderly).await;
        Self {
            home,
            ..Self::over(store, clock)
        }
    }

    pub(crate) async fn create(&self, text: &str, shards: u64) -> Arc<Stream> {
        let created = self
            .streams
            .create(&scope(), new_stream(text, shards))
            .await;
        created.expect("a stream")
    }

    /// Puts into the first shard.
    pub(crate) async fn put(&self, text: &str, data: &str) -> PutOutput {
        let entry = entry_at(0, data.to_owned());
        let put = self
            .streams
            .put_record(&scope(), &name(text), entry, None)
            .await;
        put.expect("a durable record")
    }

    /// An iterator of the first shard.
    pub(crate) async fn iterator(&self, text: &str, start: StartingPosition<'_>) -> String {
        let given = self
            .streams
            .iterator(&scope(), &name(text), "shardId-000000000000", start)
            .await;
        given.expect("an iterator")
    }

    pub(crate) async fn get(&self, iterator: &str) -> GetRecordsOutput {
        let read = self
            .streams
            .get_records(&scope(), None, iterator, None)
            .await;
        read.expect("records")
    }

    /// The payloads from a position of the first shard to the tip.
    pub(crate) async fn payloads(&self, text: &str, start: StartingPosition<'_>) -> Vec<String> {
        payloads(&self.get(&self.iterator(text, start).await).await)
    }
}

pub(crate) fn payloads(output: &GetRecordsOutput) -> Vec<String> {
    let text = |data: &Bytes| String::from_utf8(data.to_vec()).expect("a text");
    output
        .records
        .iter()
        .map(|record| text(&record.data))
        .collect()
}
