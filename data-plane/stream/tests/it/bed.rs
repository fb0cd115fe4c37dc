//! Where a test stands: streams over a store, with a clock that the test moves.

use std::sync::Arc;

use bytes::Bytes;
use millstream_clock::{ManualClock, SeededEntropy};
use millstream_storage::ShardStore;
use millstream_storage::memory::MemoryStore;
use millstream_stream::{
    GetRecordsOutput, NewStream, Options, PutEntry, PutOutput, Settings, StartingPosition, Stream,
    Streams, TokenKey,
};
use millstream_types::{HashKey, Millis, Scope, StreamMode, StreamName};

/// Where the clock starts: 2023-11-14T22:13:20Z and a bit.
pub(crate) const START: Millis = Millis(1_700_000_000_250);

pub(crate) struct Bed<S> {
    pub(crate) streams: Streams<S>,
    pub(crate) store: Arc<S>,
    pub(crate) clock: Arc<ManualClock>,
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
    };
}
pub(crate) use over_stores;

pub(crate) fn memory() -> Bed<MemoryStore> {
    let clock = Arc::new(ManualClock::new(START));
    let store = Arc::new(MemoryStore::new(clock.clone()));
    Bed::over(store, clock)
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
        }
    }

    /// The streams as the next process finds them.
    pub(crate) fn reopened(&self) -> Self {
        Self::over(Arc::clone(&self.store), Arc::clone(&self.clock))
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
