//! Clients that write until the server is gone, logging what they were answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64_simd::STANDARD;
use millstream_clock::task;
use millstream_storage::history::{AppendId, Checker};
use millstream_storage::testkit::Dice;
use millstream_types::{SequenceNumber, ShardId, ShardUid};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::client::{CallError, Client};
use super::{Error, payload};

/// Most records in one PutRecords of the loop.
const BATCH_RECORDS_MAX: u64 = 20;

/// Longest pause of a slow writer.
const SLOW_PAUSE_MS_MAX: u64 = 100;

/// One stream of the loop and everything that was seen of it.
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Number of its shards.
    pub shards: u32,
    /// What clients saw.
    pub history: Mutex<Checker>,
    /// Records acknowledged since the counter was last reset.
    pub acked: AtomicU64,
    /// Whether writers pause between requests, as they do while they wait for the kill.
    pub slow: AtomicBool,
    next_id: AtomicU64,
    /// What a writer was answered that no server may answer.
    wrong: Mutex<Option<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    data: String,
    partition_key: String,
    explicit_hash_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecords<'a> {
    stream_name: &'a str,
    records: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordsOut {
    records: Vec<Put>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    sequence_number: Option<String>,
    shard_id: Option<String>,
}

/// The name of a shard in the history.
#[must_use]
pub fn shard_uid(shard: u32) -> ShardUid {
    ShardUid(u128::from(shard))
}

impl Stream {
    /// A stream that nothing was written to.
    #[must_use]
    pub fn new(name: String, shards: u32) -> Self {
        Self {
            name,
            shards,
            history: Mutex::default(),
            acked: AtomicU64::new(0),
            slow: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
            wrong: Mutex::default(),
        }
    }

    /// An answer that no server may give, if there was one.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        self.wrong.lock().clone()
    }

    /// A record for a random shard, logged as begun.
    fn entry(&self, dice: &Dice) -> (Entry, AppendId, u32) {
        let shard = u32::try_from(dice.below(u64::from(self.shards))).unwrap_or(0);
        // shards of a new stream split the hash keys evenly, in the order of their index
        let width = u128::MAX / u128::from(self.shards);
        let hash = width * u128::from(shard) + width / 2 + u128::from(dice.bits());
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let append = self.history.lock().invoke(shard_uid(shard), &[id]);
        let entry = Entry {
            data: STANDARD.encode_to_string(payload::make(id, dice)),
            partition_key: format!("key-{}", dice.below(1_000)),
            explicit_hash_key: hash.to_string(),
            stream_name: None,
        };
        (entry, append, shard)
    }

    fn took(&self, put: &Put, append: AppendId, shard: u32) -> Result<(), Error> {
        let (Some(number), Some(shard_id)) = (&put.sequence_number, &put.shard_id) else {
            return Ok(());
        };
        let number: SequenceNumber = number.parse()?;
        if shard_id.parse() != Ok(ShardId(shard)) || number.shard_index != shard {
            return Err(format!("a record for shard {shard} went to {shard_id}").into());
        }
        self.history.lock().ok(append, number.counter);
        self.acked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// One request; false when the connection is of no more use.
    async fn put(&self, client: &mut Client, dice: &Dice) -> Result<bool, Error> {
        if dice.chance(1, 2) {
            let (mut entry, append, shard) = self.entry(dice);
            entry.stream_name = Some(self.name.clone());
            return match client.call::<_, Put>("PutRecord", &entry).await {
                Ok(put) => self.took(&put, append, shard).map(|()| true),
                // refused or not answered: not known, and the next attempt has its own id
                Err(CallError::Service { .. }) => Ok(true),
                Err(CallError::NoAnswer(_)) => Ok(false),
            };
        }
        let count = dice.between(1, BATCH_RECORDS_MAX);
        let (mut records, mut places) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (entry, append, shard) = self.entry(dice);
            records.push(entry);
            places.push((append, shard));
        }
        let request = PutRecords {
            stream_name: &self.name,
            records,
        };
        match client
            .call::<_, PutRecordsOut>("PutRecords", &request)
            .await
        {
            Ok(answer) => {
                if answer.records.len() != places.len() {
                    return Err("PutRecords answered for another number of records".into());
                }
                for (put, (append, shard)) in answer.records.iter().zip(places) {
                    self.took(put, append, shard)?;
                }
                Ok(true)
            },
            Err(CallError::Service { .. }) => Ok(true),
            Err(CallError::NoAnswer(_)) => Ok(false),
        }
    }
}

/// Writes to `stream` until the server is gone.
pub async fn write(stream: Arc<Stream>, address: SocketAddr, seed: u64) {
    let dice = Dice::new(seed);
    let Ok(mut client) = Client::connect(address).await else {
        return;
    };
    loop {
        if stream.slow.load(Ordering::Relaxed) {
            task::sleep(Duration::from_millis(dice.below(SLOW_PAUSE_MS_MAX))).await;
        }
        match stream.put(&mut client, &dice).await {
            Ok(true) => {},
            Ok(false) => return,
            Err(error) => {
                stream.wrong.lock().get_or_insert(error.to_string());
                return;
            },
        }
    }
}
