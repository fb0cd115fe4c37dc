//! ListStreams and ListShards, page by page.

use std::sync::Arc;

use millstream_storage::ShardLog;
use millstream_types::{Millis, Scope, ShardId, StreamName, StreamUid, caps};

use crate::error::{ListError, StreamNotFound};
use crate::shard::Shard;
use crate::stream::{ShardDescription, Status, Stream};
use crate::streams::Streams;
use crate::token::{OpenError, Purpose, Sealer};
use crate::wire::{Malformed, Reader, Writer};

/// Where a page of streams starts.
#[derive(Clone, Copy, Debug)]
pub enum StreamsFrom<'a> {
    /// At the first name.
    Start,
    /// After this name, which need not exist.
    After(&'a StreamName),
    /// Where the page before ended.
    Token(&'a str),
}

/// A page of streams, by name.
#[derive(Clone, Debug)]
pub struct StreamsPage {
    /// The streams.
    pub streams: Vec<Listed>,
    /// How to get the next page, if there is one.
    pub next_token: Option<String>,
}

/// A stream of a page.
#[derive(Clone, Debug)]
pub enum Listed {
    /// It is known here.
    Known(Arc<Stream>),
    /// It was made and is to be served, and its home has not told of it: it is away, or has lost it.
    Untold(StreamName),
}

impl Listed {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &StreamName {
        match self {
            Self::Known(stream) => &stream.name,
            Self::Untold(name) => name,
        }
    }
}

/// Which shards to list: `ShardFilter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardFilter {
    /// All of them.
    #[default]
    All,
    /// Those whose id is above.
    AfterShardId(ShardId),
    /// Those that were open at the trim horizon.
    AtTrimHorizon,
    /// Those that were open at the trim horizon or later.
    FromTrimHorizon,
    /// Those that are open.
    AtLatest,
    /// Those that were open at this time.
    AtTimestamp(Millis),
    /// Those that were open at this time or later.
    FromTimestamp(Millis),
}

/// Where a page of shards starts.
#[derive(Clone, Copy, Debug)]
pub enum ShardsFrom<'a> {
    /// In this stream, at the first shard of the filter above `after`.
    Stream {
        /// The stream.
        name: &'a StreamName,
        /// Which shards to list.
        filter: ShardFilter,
        /// `ExclusiveStartShardId`.
        after: Option<ShardId>,
    },
    /// Where the page before ended.
    Token(&'a str),
}

/// A page of shards, by id.
#[derive(Clone, Debug)]
pub struct ShardsPage {
    /// The stream that they belong to.
    pub stream: Arc<Stream>,
    /// The shards.
    pub shards: Vec<ShardDescription>,
    /// How to get the next page, if there is one.
    pub next_token: Option<String>,
}

/// What the token of a page of shards holds.
struct ShardsCursor {
    stream_uid: StreamUid,
    stream: StreamName,
    filter: ShardFilter,
    after: Option<ShardId>,
}

impl<S: ShardLog> Streams<S> {
    /// At most `limit` streams of the scope.
    ///
    /// # Errors
    /// When the token is foreign or expired.
    pub fn list(
        &self,
        scope: &Scope,
        from: StreamsFrom<'_>,
        limit: usize,
    ) -> Result<StreamsPage, ListError> {
        let cursor;
        let after = match from {
            StreamsFrom::Start => None,
            StreamsFrom::After(name) => Some(name),
            StreamsFrom::Token(text) => {
                let decode = |mut fields: Reader<'_>| {
                    let name = stream_name(&mut fields)?;
                    fields.end()?;
                    Ok(name)
                };
                cursor = self.open_page(Purpose::ListStreams, scope, text, decode)?;
                Some(&cursor)
            },
        };
        let limit = limit.max(1);
        let mut streams = self.listed(scope, after, limit + 1);
        let more = streams.len() > limit;
        streams.truncate(limit);
        let next_token = streams.last().filter(|_| more).map(|last| {
            let mut content = Sealer::content(self.inner.clock.now());
            content.text(last.name().as_str());
            self.inner.sealer.seal(Purpose::ListStreams, scope, content)
        });
        Ok(StreamsPage {
            streams,
            next_token,
        })
    }

    /// At most `limit` shards of a stream.
    ///
    /// # Errors
    /// When there is no such stream, or the token is foreign or expired.
    pub fn list_shards(
        &self,
        scope: &Scope,
        from: ShardsFrom<'_>,
        limit: usize,
    ) -> Result<ShardsPage, ListError> {
        let (stream, filter, after) = match from {
            ShardsFrom::Stream {
                name,
                filter,
                after,
            } => (self.listable(scope, name)?, filter, after),
            ShardsFrom::Token(text) => {
                let cursor =
                    self.open_page(Purpose::ListShards, scope, text, ShardsCursor::decode)?;
                let stream = self.listable(scope, &cursor.stream)?;
                if stream.uid != cursor.stream_uid {
                    return Err(StreamNotFound::new(scope, &cursor.stream).into());
                }
                (stream, cursor.filter, cursor.after)
            },
        };
        let limit = limit.max(1);
        let horizon = self.trim_horizon(&stream);
        let mut matching = stream
            .map
            .shards()
            .iter()
            .filter(|shard| Some(shard.id) > after && filter.matches(shard, horizon));
        let shards: Vec<ShardDescription> = matching
            .by_ref()
            .take(limit)
            .map(ShardDescription::from)
            .collect();
        let more = matching.next().is_some();
        let next_token = shards.last().filter(|_| more).map(|last| {
            let cursor = ShardsCursor {
                stream_uid: stream.uid,
                stream: stream.name.clone(),
                filter,
                after: Some(last.id),
            };
            let mut content = Sealer::content(self.inner.clock.now());
            cursor.encode(&mut content);
            self.inner.sealer.seal(Purpose::ListShards, scope, content)
        });
        Ok(ShardsPage {
            stream,
            shards,
            next_token,
        })
    }

    /// The stream, where its shards can be shown.
    fn listable(&self, scope: &Scope, name: &StreamName) -> Result<Arc<Stream>, ListError> {
        let stream = self.get(scope, name)?;
        match stream.status {
            Status::Active => Ok(stream),
            status @ (Status::Creating | Status::Deleting | Status::Retained) => {
                Err(ListError::NotActive {
                    stream: name.clone(),
                    account: scope.account.clone(),
                    status,
                })
            },
        }
    }

    /// The oldest time of which the stream still has records.
    fn trim_horizon(&self, stream: &Stream) -> Millis {
        let retention_ms = stream.retention_ms();
        self.inner
            .clock
            .now()
            .minus(retention_ms)
            .max(stream.created)
    }

    fn open_page<T>(
        &self,
        purpose: Purpose,
        scope: &Scope,
        text: &str,
        decode: impl Fn(Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, ListError> {
        let now = self.inner.clock.now();
        match self.inner.sealer.open(purpose, scope, text, now) {
            Ok(content) => decode(content.fields()).map_err(|_| ListError::TokenInvalid),
            Err(OpenError::Invalid) => Err(ListError::TokenInvalid),
            Err(OpenError::Expired { .. }) => Err(ListError::TokenExpired {
                tolerated_ms: caps::ITERATOR_LIFE_MS,
            }),
        }
    }
}

impl ShardFilter {
    /// Whether a shard passes; every shard of a stream is open from its creation on.
    fn matches(self, shard: &Shard, horizon: Millis) -> bool {
        let open_at = |time: Millis| shard.created_s <= time.max(horizon).seconds();
        match self {
            Self::All | Self::FromTrimHorizon | Self::AtLatest | Self::FromTimestamp(_) => true,
            Self::AfterShardId(id) => shard.id > id,
            Self::AtTrimHorizon => open_at(horizon),
            Self::AtTimestamp(time) => open_at(time),
        }
    }

    /// The numbers live for five minutes, in tokens.
    fn encode(self, fields: &mut Writer) {
        let (tag, value) = match self {
            Self::All => (0, 0),
            Self::AfterShardId(id) => (1, u64::from(id.0)),
            Self::AtTrimHorizon => (2, 0),
            Self::FromTrimHorizon => (3, 0),
            Self::AtLatest => (4, 0),
            Self::AtTimestamp(time) => (5, time.0),
            Self::FromTimestamp(time) => (6, time.0),
        };
        fields.u8(tag).u64(value);
    }

    fn decode(fields: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (tag, value) = (fields.u8()?, fields.u64()?);
        Ok(match tag {
            0 => Self::All,
            1 => Self::AfterShardId(ShardId(
                u32::try_from(value).map_err(|_| Malformed("its shard id is too large"))?,
            )),
            2 => Self::AtTrimHorizon,
            3 => Self::FromTrimHorizon,
            4 => Self::AtLatest,
            5 => Self::AtTimestamp(Millis(value)),
            6 => Self::FromTimestamp(Millis(value)),
            _ => return Err(Malformed("its filter is unknown")),
        })
    }
}

impl ShardsCursor {
    fn encode(&self, fields: &mut Writer) {
        fields.u128(self.stream_uid.0).text(self.stream.as_str());
        self.filter.encode(fields);
        match self.after {
            None => fields.u8(0),
            Some(id) => fields.u8(1).u32(id.0),
        };
    }

    fn decode(mut fields: Reader<'_>) -> Result<Self, Malformed> {
        let cursor = Self {
            stream_uid: StreamUid(fields.u128()?),
            stream: stream_name(&mut fields)?,
            filter: ShardFilter::decode(&mut fields)?,
            after: match fields.u8()? {
                0 => None,
                _ => Some(ShardId(fields.u32()?)),
            },
        };
        fields.end()?;
        Ok(cursor)
    }
}

fn stream_name(fields: &mut Reader<'_>) -> Result<StreamName, Malformed> {
    fields
        .text()?
        .parse()
        .map_err(|_| Malformed("its name is no stream name"))
}
