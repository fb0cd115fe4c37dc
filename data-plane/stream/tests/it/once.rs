//! The promise as a property: whatever puts and reads come in whatever order, each record is seen
//! once, in the order of its shard, at the number that its put was given.

use std::collections::BTreeMap;

use millstream_stream::StartingPosition;
use millstream_types::ShardId;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::bed::{self, Bed, Restart, entry_at, name, scope};

const SHARDS: u32 = 3;

/// A step of a random client.
#[derive(Clone, Debug)]
enum Step {
    /// PutRecord with this hash key.
    Put(u128),
    /// PutRecords with these hash keys.
    PutMany(Vec<u128>),
    /// GetRecords from a shard, with a limit.
    Read(u32, usize),
    /// A new process, after an orderly end or a sudden one.
    Restart(bool),
    /// A reader starts again from the last record that it saw.
    Resume(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u128>().prop_map(Step::Put),
        2 => vec(any::<u128>(), 1..20).prop_map(Step::PutMany),
        4 => (0..SHARDS, 1..7usize).prop_map(|(shard, limit)| Step::Read(shard, limit)),
        1 => any::<bool>().prop_map(Step::Restart),
        1 => (0..SHARDS).prop_map(Step::Resume),
    ]
}

/// Payload and sequence number of each record of a shard.
type Log = BTreeMap<ShardId, Vec<(u64, String)>>;

struct Client<S> {
    bed: Bed<S>,
    put: Log,
    seen: Log,
    iterators: BTreeMap<ShardId, String>,
    payload: u64,
}

impl<S: Restart> Client<S> {
    async fn new(bed: Bed<S>) -> Self {
        bed.create("s", u64::from(SHARDS)).await;
        let mut client = Self {
            bed,
            put: Log::new(),
            seen: Log::new(),
            iterators: BTreeMap::new(),
            payload: 0,
        };
        for index in 0..SHARDS {
            client.resume(ShardId(index)).await;
        }
        client
    }

    async fn take(mut self, step: Step) -> Self {
        self.bed.clock.advance(7);
        match step {
            Step::Put(key) => self.put_one(key).await,
            Step::PutMany(keys) => self.put_many(keys).await,
            Step::Read(shard, limit) => {
                self.read(ShardId(shard), limit).await;
            },
            Step::Restart(orderly) => self.bed = self.bed.restarted(orderly).await,
            Step::Resume(shard) => self.resume(ShardId(shard)).await,
        }
        self
    }

    fn next_payload(&mut self) -> u64 {
        self.payload += 1;
        self.payload
    }

    async fn put_one(&mut self, key: u128) {
        let payload = self.next_payload();
        let entry = entry_at(key, payload.to_string());
        let put = self
            .bed
            .streams
            .put_record(&scope(), &name("s"), entry, None)
            .await;
        let put = put.expect("durable");
        let number = put.sequence_number.to_string();
        self.put
            .entry(put.shard)
            .or_default()
            .push((payload, number));
    }

    async fn put_many(&mut self, keys: Vec<u128>) {
        let payloads: Vec<u64> = keys.iter().map(|_| self.next_payload()).collect();
        let entries = keys
            .iter()
            .zip(&payloads)
            .map(|(key, payload)| entry_at(*key, payload.to_string()))
            .collect();
        let output = self
            .bed
            .streams
            .put_records(&scope(), &name("s"), entries)
            .await;
        for (result, payload) in output.expect("an answer").results.into_iter().zip(payloads) {
            let put = result.expect("durable");
            let number = put.sequence_number.to_string();
            self.put
                .entry(put.shard)
                .or_default()
                .push((payload, number));
        }
    }

    /// Whether the shard's tip was reached.
    async fn read(&mut self, shard: ShardId, limit: usize) -> bool {
        let iterator = &self.iterators[&shard];
        let read = self
            .bed
            .streams
            .get_records(&scope(), None, iterator, Some(limit))
            .await;
        let read = read.expect("records");
        assert!(read.records.len() <= limit);
        for record in &read.records {
            let text = std::str::from_utf8(&record.data).expect("a number");
            let payload = text.parse().expect("a number");
            let number = record.sequence_number.to_string();
            self.seen.entry(shard).or_default().push((payload, number));
        }
        let next = read.next_iterator.expect("an open shard goes on");
        self.iterators.insert(shard, next);
        read.millis_behind_latest == 0
    }

    async fn resume(&mut self, shard: ShardId) {
        let last = self.seen.get(&shard).and_then(|seen| seen.last());
        let start = last.map_or(StartingPosition::TrimHorizon, |(_, number)| {
            StartingPosition::AfterSequenceNumber(number)
        });
        let id = shard.to_string();
        let iterator = self
            .bed
            .streams
            .iterator(&scope(), &name("s"), &id, start)
            .await;
        self.iterators.insert(shard, iterator.expect("an iterator"));
    }

    async fn finish(mut self) -> (Log, Log) {
        for index in 0..SHARDS {
            let mut reads = 0;
            while !self.read(ShardId(index), 10).await {
                reads += 1;
                assert!(reads < 1_000, "a few hundred records are read by then");
            }
        }
        (self.put, self.seen)
    }
}

async fn run<S: Restart>(bed: Bed<S>, steps: Vec<Step>) -> (Log, Log) {
    let mut client = Client::new(bed).await;
    for step in steps {
        client = client.take(step).await;
    }
    client.finish().await
}

fn check<S: Restart>(bed: Bed<S>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (put, seen) = runtime().block_on(run(bed, steps));
    prop_assert_eq!(put, seen);
    Ok(())
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime")
}

proptest! {
    #[test]
    fn each_record_is_seen_once_in_order_over_memory(steps in vec(step(), 0..60)) {
        check(bed::memory(), steps)?;
    }
}

proptest! {
    // Each case opens a folder of files several times.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn each_record_is_seen_once_in_order_over_volume(steps in vec(step(), 0..60)) {
        check(bed::volume(), steps)?;
    }
}
