//! ListShards and GetShardIterator.

use millstream_control::ControlPlane;
use millstream_protocol::ServiceError;
use millstream_protocol::kinesis::request::{
    GetShardIterator, ListShards, ShardFilter, ShardFilterType, ShardIteratorType, ShardName,
};
use millstream_protocol::kinesis::response::{
    GetShardIteratorOutput, ListShardsOutput, ShardDescription,
};
use millstream_protocol::kinesis::{Response, errors as texts};
use millstream_stream::{self as stream, ShardLog, ShardsFrom, StartingPosition};
use millstream_types::{Scope, ShardId, StreamName};

use super::Handlers;
use crate::errors;

/// Shards on a page unless the request says how many.
const SHARDS_DEFAULT: usize = 1000;

impl<S: ShardLog, C: ControlPlane> Handlers<S, C> {
    pub(super) fn list_shards(
        &self,
        scope: &Scope,
        input: &ListShards,
    ) -> Result<Response, ServiceError> {
        let limit = input
            .max_results
            .map_or(Ok(SHARDS_DEFAULT), usize::try_from);
        let limit = limit.unwrap_or(usize::MAX);
        let page = match &input.next_token {
            Some(_) if !input.stream.is_empty() => return Err(texts::stream_and_token_given()),
            Some(token) => self
                .streams
                .list_shards(scope, ShardsFrom::Token(token), limit),
            None if input.stream.is_empty() => return Err(texts::no_stream_or_token_given()),
            None => {
                let name = input.stream.resolve(scope)?;
                let after = input.exclusive_start_shard_id.as_ref();
                let from = ShardsFrom::Stream {
                    name,
                    filter: filter(input.shard_filter.as_ref(), scope, name)?,
                    after: after
                        .map(|shard| shard_id(shard, scope, name))
                        .transpose()?,
                };
                self.streams.list_shards(scope, from, limit)
            },
        };
        let page = page.map_err(|error| errors::list(&error))?;
        // AWS tells streams of one name apart by the second in which they were made.
        let made = page.stream.created().seconds();
        if input
            .stream_creation_timestamp
            .is_some_and(|asked| asked.seconds() != made)
        {
            return Err(texts::stream_not_found(page.stream.name(), &scope.account));
        }
        Ok(Response::ListShards(ListShardsOutput {
            shards: page.shards.into_iter().map(description).collect(),
            next_token: page.next_token,
        }))
    }

    pub(super) async fn get_shard_iterator(
        &self,
        scope: &Scope,
        input: GetShardIterator,
    ) -> Result<Response, ServiceError> {
        let name = input.stream.resolve(scope)?;
        let shard = shard_id(&input.shard_id, scope, name)?.to_string();
        let start = starting_position(&input)?;
        let given = self.streams.iterator(scope, name, &shard, start).await;
        let shard_iterator = given.map_err(|error| errors::iterator(&error))?;
        if input.dry_run {
            return Err(texts::dry_run_succeeded());
        }
        Ok(Response::GetShardIterator(GetShardIteratorOutput {
            shard_iterator,
        }))
    }
}

/// A shard as a response shows it. Until resharding no shard has parents or an end.
pub(super) fn description(shard: stream::ShardDescription) -> ShardDescription {
    ShardDescription {
        shard_id: shard.id,
        parent: None,
        adjacent_parent: None,
        hash_keys: shard.hash_key_range,
        starting: shard.starting_sequence_number,
        ending: None,
    }
}

pub(super) fn shard_id(
    shard: &ShardName,
    scope: &Scope,
    stream: &StreamName,
) -> Result<ShardId, ServiceError> {
    let unknown = || texts::shard_name_unknown(shard, stream, &scope.account);
    shard.resolve().ok_or_else(unknown)
}

fn starting_position(input: &GetShardIterator) -> Result<StartingPosition<'_>, ServiceError> {
    let number = input.starting_sequence_number.as_ref();
    let mismatch = || {
        Err(texts::iterator_type_and_number(
            input.iterator_type,
            number.is_some(),
        ))
    };
    match (input.iterator_type, number) {
        (ShardIteratorType::AtSequenceNumber, Some(number)) => {
            Ok(StartingPosition::AtSequenceNumber(number.as_str()))
        },
        (ShardIteratorType::AfterSequenceNumber, Some(number)) => {
            Ok(StartingPosition::AfterSequenceNumber(number.as_str()))
        },
        (ShardIteratorType::AtSequenceNumber | ShardIteratorType::AfterSequenceNumber, None)
        | (ShardIteratorType::TrimHorizon | ShardIteratorType::Latest, Some(_)) => mismatch(),
        (ShardIteratorType::TrimHorizon, None) => Ok(StartingPosition::TrimHorizon),
        (ShardIteratorType::Latest, None) => Ok(StartingPosition::Latest),
        (ShardIteratorType::AtTimestamp, _) => match input.timestamp {
            Some(time) => Ok(StartingPosition::AtTimestamp(time)),
            None => Err(texts::iterator_timestamp_missing()),
        },
    }
}

fn filter(
    filter: Option<&ShardFilter>,
    scope: &Scope,
    stream: &StreamName,
) -> Result<stream::ShardFilter, ServiceError> {
    let Some(filter) = filter else {
        return Ok(stream::ShardFilter::All);
    };
    let time = |name: &str| {
        let lacking = || texts::shard_filter_lacks(name, "Timestamp");
        filter.timestamp.ok_or_else(lacking)
    };
    Ok(match filter.filter_type {
        ShardFilterType::AfterShardId => {
            let shard = filter.shard_id.as_ref();
            let lacking = || texts::shard_filter_lacks("AFTER_SHARD_ID", "ShardId");
            let shard = shard.ok_or_else(lacking)?;
            stream::ShardFilter::AfterShardId(shard_id(shard, scope, stream)?)
        },
        ShardFilterType::AtTrimHorizon => stream::ShardFilter::AtTrimHorizon,
        ShardFilterType::FromTrimHorizon => stream::ShardFilter::FromTrimHorizon,
        ShardFilterType::AtLatest => stream::ShardFilter::AtLatest,
        ShardFilterType::AtTimestamp => stream::ShardFilter::AtTimestamp(time("AT_TIMESTAMP")?),
        ShardFilterType::FromTimestamp => {
            stream::ShardFilter::FromTimestamp(time("FROM_TIMESTAMP")?)
        },
    })
}
