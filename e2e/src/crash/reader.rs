//! Clients that read: tails while others write, and whole shards after a restart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64_simd::STANDARD;
use millstream_clock::task;
use millstream_storage::history::{GARBLED, Moment, Seen};
use millstream_types::{SequenceNumber, ShardId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{CallError, Client};
use super::writer::{Stream, shard_uid};
use super::{Error, payload};

/// Reads that one shard may need.
const READS_MAX: u32 = 100_000;
/// Times that one read is sent again after it was throttled.
const THROTTLED_MAX: u32 = 40;
const THROTTLED_PAUSE: Duration = Duration::from_millis(250);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Iterator {
    shard_iterator: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetRecordsOut {
    records: Vec<RecordOut>,
    next_shard_iterator: Option<String>,
    millis_behind_latest: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecordOut {
    data: String,
    sequence_number: String,
}

/// Where the reading of a shard goes on: the newest record that was read.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Its number; 0 before the first.
    pub number: u64,
    sequence_number: Option<String>,
}

/// One reader of one shard.
struct Reader<'a> {
    client: &'a mut Client,
    stream: &'a Stream,
    shard: u32,
    place: Place,
    iterator: String,
}

impl<'a> Reader<'a> {
    /// Begins at `place`, whose own record is read again, or at the oldest record.
    async fn begin(
        client: &'a mut Client,
        stream: &'a Stream,
        shard: u32,
        place: Place,
    ) -> Result<Self, CallError> {
        let kind = if place.sequence_number.is_some() {
            "AT_SEQUENCE_NUMBER"
        } else {
            "TRIM_HORIZON"
        };
        let mut request = json!({
            "StreamName": stream.name,
            "ShardId": ShardId(shard).to_string(),
            "ShardIteratorType": kind,
        });
        if let Some(number) = &place.sequence_number {
            request["StartingSequenceNumber"] = json!(number);
        }
        let answer: Iterator = client.call("GetShardIterator", &request).await?;
        // the next number to be shown
        let place = Place {
            number: place.number.saturating_sub(1),
            ..place
        };
        Ok(Self {
            client,
            stream,
            shard,
            place,
            iterator: answer.shard_iterator,
        })
    }

    /// GetRecords, again after a pause where the server has no memory for the answer right now.
    async fn get_records(&mut self, request: &Value) -> Result<GetRecordsOut, CallError> {
        let mut throttled = 0;
        loop {
            match self.client.call("GetRecords", request).await {
                Err(CallError::Service { body, .. })
                    if throttled < THROTTLED_MAX
                        && body.contains("ProvisionedThroughputExceededException") =>
                {
                    throttled += 1;
                    task::sleep(THROTTLED_PAUSE).await;
                },
                answer => return answer,
            }
        }
    }

    /// One GetRecords, logged; true when it showed nothing and nothing was behind it.
    async fn read(&mut self) -> Result<bool, Error> {
        let began: Moment = self.stream.history.lock().moment();
        let request = json!({ "ShardIterator": self.iterator });
        let answer = self.get_records(&request).await?;
        let mut records = Vec::with_capacity(answer.records.len());
        for record in &answer.records {
            let number: SequenceNumber = record.sequence_number.parse()?;
            let bytes = STANDARD.decode_to_vec(&record.data);
            records.push((
                number.counter,
                bytes.map_or(GARBLED, |bytes| payload::id(&bytes)),
            ));
        }
        let from = self.place.number + 1;
        if let (Some(last), Some((number, _))) = (answer.records.last(), records.last()) {
            let sequence_number = Some(last.sequence_number.clone());
            self.place = Place {
                number: *number,
                sequence_number,
            };
        }
        let at_end = records.is_empty() && answer.millis_behind_latest == 0;
        let tip = at_end.then_some(from);
        let shard = shard_uid(self.shard);
        self.stream.history.lock().saw(&Seen {
            shard,
            began,
            from,
            records,
            tip,
        });
        self.iterator = answer
            .next_shard_iterator
            .ok_or("an open shard gave no next iterator")?;
        Ok(at_end)
    }
}

/// Reads a shard from `place` to its end, while nobody writes. The new place.
///
/// # Errors
/// When the server does not answer, or the shard does not end.
pub async fn read_to_end(
    client: &mut Client,
    stream: &Stream,
    shard: u32,
    place: Place,
) -> Result<Place, Error> {
    let mut reader = match Reader::begin(client, stream, shard, place.clone()).await {
        Err(CallError::Service { body, .. }) if body.contains("ResourceNotFoundException") => {
            let mut history = stream.history.lock();
            let now = history.moment();
            history.saw_no_shard(shard_uid(shard), now);
            return Ok(place);
        },
        begun => begun?,
    };
    for _ in 0..READS_MAX {
        if reader.read().await? {
            return Ok(reader.place);
        }
    }
    Err(format!("shard {shard} does not end").into())
}

/// Follows the shards in turn, from `places`, until the server is gone.
pub async fn follow(stream: Arc<Stream>, address: SocketAddr, places: Vec<Place>) {
    let Ok(mut client) = Client::connect(address).await else {
        return;
    };
    let mut places: Vec<(u32, Place)> = (0..).zip(places).collect();
    loop {
        for (shard, place) in &mut places {
            let begun = Reader::begin(&mut client, &stream, *shard, place.clone()).await;
            let Ok(mut reader) = begun else {
                return;
            };
            for _ in 0..3 {
                if reader.read().await.is_err() {
                    return;
                }
            }
            *place = reader.place;
        }
    }
}
