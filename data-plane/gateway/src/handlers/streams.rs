//! CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams.

use std::sync::Arc;

use millstream_control::{ControlPlane, StreamSpec};
use millstream_protocol::ServiceError;
use millstream_protocol::kinesis::Response;
use millstream_protocol::kinesis::request::{
    CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams,
    RecordDistributionStrategy, StreamTarget,
};
use millstream_protocol::kinesis::response::{
    ListStreamsOutput, StreamDescription, StreamDescriptionSummary, StreamStatus, StreamSummary,
};
use millstream_stream::{Listed, ShardLog, Status, Stream, StreamsFrom};
use millstream_types::{Scope, StreamArn};

use super::{Handlers, shards};
use crate::errors;

/// Shards in a DescribeStream unless the request says how many.
const SHARDS_DEFAULT: u32 = 100;
/// Streams on a page unless the request says how many.
const STREAMS_DEFAULT: u32 = 100;

impl<S: ShardLog, C: ControlPlane> Handlers<S, C> {
    pub(super) async fn create_stream(
        &self,
        scope: &Scope,
        input: CreateStream,
    ) -> Result<Response, ServiceError> {
        if input.record_distribution_strategy == Some(RecordDistributionStrategy::Auto) {
            return Err(ServiceError::invalid_argument(
                "RecordDistributionStrategy AUTO is not supported yet, use USER_PARTITION_KEY.",
            ));
        }
        let mut spec = StreamSpec::new(input.stream_name);
        spec.shard_count = input.shard_count.map(u64::from);
        spec.mode = input.stream_mode.unwrap_or_default();
        spec.tags = input.tags;
        spec.max_record_kib = input.max_record_size_kib.unwrap_or(spec.max_record_kib);
        let created = self.control.create_stream(scope, spec).await;
        created.map_err(|error| errors::create(&error))?;
        Ok(Response::CreateStream)
    }

    pub(super) async fn delete_stream(
        &self,
        scope: &Scope,
        input: DeleteStream,
    ) -> Result<Response, ServiceError> {
        let name = input.stream.resolve(scope)?;
        let deleted = self.control.delete_stream(scope, name).await;
        deleted.map_err(|error| errors::delete(&error))?;
        Ok(Response::DeleteStream)
    }

    pub(super) fn describe_stream(
        &self,
        scope: &Scope,
        input: &DescribeStream,
    ) -> Result<Response, ServiceError> {
        let stream = self.stream(scope, &input.stream)?;
        let after = input.exclusive_start_shard_id.as_ref();
        let after = after
            .map(|shard| shards::shard_id(shard, scope, stream.name()))
            .transpose()?;
        let (shown, more) = stream.shards_after(after, limit(input.limit, SHARDS_DEFAULT));
        Ok(Response::DescribeStream(StreamDescription {
            arn: stream.arn(),
            status: status(stream.status()),
            mode: stream.mode(),
            shards: shown.into_iter().map(shards::description).collect(),
            has_more_shards: more,
            retention_hours: stream.settings().retention_hours,
            created: stream.created(),
        }))
    }

    pub(super) fn describe_stream_summary(
        &self,
        scope: &Scope,
        input: &DescribeStreamSummary,
    ) -> Result<Response, ServiceError> {
        let stream = self.stream(scope, &input.stream)?;
        Ok(Response::DescribeStreamSummary(StreamDescriptionSummary {
            arn: stream.arn(),
            status: status(stream.status()),
            mode: stream.mode(),
            retention_hours: stream.settings().retention_hours,
            created: stream.created(),
            open_shards: u32::try_from(stream.open_shard_count()).unwrap_or(u32::MAX),
            consumers: 0,
            max_record_size_kib: stream.settings().max_record_kib,
            record_distribution_strategy: RecordDistributionStrategy::UserPartitionKey,
        }))
    }

    pub(super) fn list_streams(
        &self,
        scope: &Scope,
        input: &ListStreams,
    ) -> Result<Response, ServiceError> {
        let from = match (&input.next_token, &input.exclusive_start_stream_name) {
            (Some(token), _) => StreamsFrom::Token(token),
            (None, Some(name)) => StreamsFrom::After(name),
            (None, None) => StreamsFrom::Start,
        };
        let page = self
            .streams
            .list(scope, from, limit(input.limit, STREAMS_DEFAULT));
        let page = page.map_err(|error| errors::list(&error))?;
        let streams = page.streams.iter();
        Ok(Response::ListStreams(ListStreamsOutput {
            streams: streams.map(|listed| summary(scope, listed)).collect(),
            has_more_streams: page.next_token.is_some(),
            next_token: page.next_token,
        }))
    }

    fn stream(&self, scope: &Scope, target: &StreamTarget) -> Result<Arc<Stream>, ServiceError> {
        let name = target.resolve(scope)?;
        let found = self.streams.get(scope, name);
        found.map_err(|error| errors::absent(&error))
    }
}

fn summary(scope: &Scope, listed: &Listed) -> StreamSummary {
    match listed {
        Listed::Known(stream) => StreamSummary {
            arn: stream.arn(),
            status: status(stream.status()),
            mode: Some(stream.mode()),
            created: Some(stream.created()),
        },
        // It was made, and nobody has asked for its end. A list without it would say that there is
        // none, and calls that name it say that it fails.
        Listed::Untold(name) => StreamSummary {
            arn: StreamArn {
                region: scope.region.clone(),
                account: scope.account.clone(),
                name: name.clone(),
            },
            status: StreamStatus::Active,
            mode: None,
            created: None,
        },
    }
}

const fn status(status: Status) -> StreamStatus {
    match status {
        Status::Creating => StreamStatus::Creating,
        Status::Active => StreamStatus::Active,
        // one that is only kept is not shown
        Status::Deleting | Status::Retained => StreamStatus::Deleting,
    }
}

fn limit(asked: Option<u32>, default: u32) -> usize {
    usize::try_from(asked.unwrap_or(default)).unwrap_or(usize::MAX)
}
