//! GetShardIterator: from a starting position to a sealed iterator.
//!
//! An iterator holds the number of the next record to read, whatever its type was: LATEST on an
//! idle shard stays where it was issued.

use millstream_storage::{ReadError, ShardLog, ShardStatus};
use millstream_types::sequence::COUNTER_MAX;
use millstream_types::{Millis, Scope, SequenceNumber, ShardId, ShardUid, StreamName, StreamUid};

use crate::error::store::ReadFailure;
use crate::error::{Absent, IteratorError, RateExceeded, ShardNotFound};
use crate::shard::Shard;
use crate::stream::Stream;
use crate::streams::Streams;
use crate::token::{Content, Purpose, Sealer};
use crate::wire::Malformed;

/// Where to start reading: the five types of iterator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartingPosition<'a> {
    /// At the record with this sequence number.
    AtSequenceNumber(&'a str),
    /// After the record with this sequence number.
    AfterSequenceNumber(&'a str),
    /// At the oldest record.
    TrimHorizon,
    /// After the newest record.
    Latest,
    /// At the oldest record that arrived at this time or later.
    AtTimestamp(Millis),
}

/// A place in a shard of a stream that is or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) stream_uid: StreamUid,
    pub(crate) stream: StreamName,
    pub(crate) shard_uid: ShardUid,
    pub(crate) shard: ShardId,
    /// Number of the next record to read.
    pub(crate) number: u64,
}

impl Position {
    pub(crate) fn new(stream: &Stream, shard: &Shard, number: u64) -> Self {
        Self {
            stream_uid: stream.uid,
            stream: stream.name.clone(),
            shard_uid: shard.uid,
            shard: shard.id,
            number,
        }
    }

    pub(crate) fn seal(&self, sealer: &Sealer, scope: &Scope, now: Millis) -> String {
        let mut content = Sealer::content(now);
        content
            .u128(self.stream_uid.0)
            .text(self.stream.as_str())
            .u128(self.shard_uid.0)
            .u32(self.shard.0)
            .u64(self.number);
        sealer.seal(Purpose::ShardIterator, scope, content)
    }

    pub(crate) fn decode(content: &Content) -> Result<Self, Malformed> {
        let mut fields = content.fields();
        let position = Self {
            stream_uid: StreamUid(fields.u128()?),
            stream: fields
                .text()?
                .parse()
                .map_err(|_| Malformed("its name is no stream name"))?,
            shard_uid: ShardUid(fields.u128()?),
            shard: ShardId(fields.u32()?),
            number: fields.u64()?,
        };
        fields.end()?;
        Ok(position)
    }
}

impl<S: ShardLog> Streams<S> {
    /// An iterator at a position of a shard. `shard` is what the client calls it.
    ///
    /// # Errors
    /// When stream or shard do not exist, the position is not one of this shard, or the store
    /// cannot answer.
    pub async fn iterator(
        &self,
        scope: &Scope,
        name: &StreamName,
        shard: &str,
        start: StartingPosition<'_>,
    ) -> Result<String, IteratorError> {
        let Ok(id) = shard.parse::<ShardId>() else {
            return Err(IteratorError::ShardIdInvalid {
                shard: shard.to_owned(),
                stream: name.clone(),
                account: scope.account.clone(),
            });
        };
        let gone = || ShardNotFound {
            shard: id,
            stream: name.clone(),
            account: scope.account.clone(),
        };
        // AWS names the shard, too, when it is the stream that does not exist.
        let stream = self.active(scope, name).map_err(|absent| match absent {
            Absent::NotFound(_) => IteratorError::from(gone()),
            Absent::Untold => IteratorError::Internal,
        })?;
        let shard = stream.map.get(id).ok_or_else(gone)?;
        let status = match self.inner.store.status(shard.uid).await {
            Ok(status) => status,
            Err(error) => return Err(self.read_failed(&stream, shard, error).await),
        };
        let number = match start {
            StartingPosition::TrimHorizon => status.first,
            StartingPosition::Latest => status.next,
            StartingPosition::AtSequenceNumber(text) => {
                number_of(&stream, shard, status, text)?.max(1)
            },
            StartingPosition::AfterSequenceNumber(text) => {
                number_of(&stream, shard, status, text)? + 1
            },
            StartingPosition::AtTimestamp(time) => {
                self.number_at(&stream, shard, status, time).await?
            },
        };
        let position = Position::new(&stream, shard, number);
        let now = self.inner.clock.now();
        Ok(position.seal(&self.inner.sealer, scope, now))
    }

    async fn number_at(
        &self,
        stream: &Stream,
        shard: &Shard,
        status: ShardStatus,
        time: Millis,
    ) -> Result<u64, IteratorError> {
        // Records may be ahead of a clock that was set back: their times are no future.
        let now = self.inner.clock.now().max(status.last_arrival);
        if time > now {
            return Err(IteratorError::TimestampAhead {
                timestamp: time.0,
                now: now.0,
            });
        }
        if time > status.last_arrival {
            return Ok(status.next);
        }
        match self.inner.store.number_at(shard.uid, time).await {
            Ok(number) => Ok(number),
            Err(error) => Err(self.read_failed(stream, shard, error).await),
        }
    }

    async fn read_failed(&self, stream: &Stream, shard: &Shard, error: ReadError) -> IteratorError {
        match ReadFailure::from(error) {
            ReadFailure::Gone if self.misses_shard(stream, shard).await => IteratorError::Internal,
            ReadFailure::Gone => IteratorError::ShardNotFound(ShardNotFound {
                shard: shard.id,
                stream: stream.name.clone(),
                account: stream.scope.account.clone(),
            }),
            ReadFailure::Throttled => IteratorError::Throttled(RateExceeded {
                shard: shard.id,
                stream: stream.name.clone(),
                account: stream.scope.account.clone(),
            }),
            ReadFailure::Internal => IteratorError::Internal,
        }
    }
}

/// The number in `text`, which must be a sequence number of this shard: its start, its end, or
/// that of a record. One beyond the newest record is none: whoever has it saw records that the shard
/// has lost since, and would skip as many new ones without a word.
fn number_of(
    stream: &Stream,
    shard: &Shard,
    status: ShardStatus,
    text: &str,
) -> Result<u64, IteratorError> {
    let Ok(number) = text.parse::<SequenceNumber>() else {
        return Err(IteratorError::NumberInvalid {
            number: text.to_owned(),
            shard: shard.id,
            stream: stream.name.clone(),
            account: stream.scope.account.clone(),
        });
    };
    if number.shard_index != shard.id.0 {
        return Err(IteratorError::NumberOfOtherShard {
            encodes: ShardId(number.shard_index),
            shard: shard.id,
        });
    }
    if number.created_s != shard.created_s {
        return Err(IteratorError::NumberOfOtherStream {
            number: text.to_owned(),
            shard: shard.id,
            stream: stream.name.clone(),
            account: stream.scope.account.clone(),
        });
    }
    // the record itself must have been there: after it comes `next` at most
    if is_beyond(number.counter + 1, status.next) {
        return Err(IteratorError::NumberAhead {
            number: text.to_owned(),
            shard: shard.id,
            stream: stream.name.clone(),
            account: stream.scope.account.clone(),
        });
    }
    Ok(number.counter)
}

/// Whether no record of the shard has the number, and none is given it next. The number that AWS
/// shows as the end of a shard always lies at its end.
pub(crate) const fn is_beyond(number: u64, next: u64) -> bool {
    number > next && number < COUNTER_MAX
}
