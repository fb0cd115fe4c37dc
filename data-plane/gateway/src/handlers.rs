//! The operations: a typed request and its scope in, a typed response or AWS's error out.
//!
//! `streams` creates, deletes and describes, `shards` lists shards and gives iterators, `records`
//! puts and gets. None of them knows HTTP or JSON.

mod records;
mod shards;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use millstream_control::ControlPlane;
use millstream_protocol::ServiceError;
use millstream_protocol::kinesis::{Request, Response};
use millstream_stream::{ShardLog, Streams};
use millstream_types::Scope;

use crate::lanes::PageMemory;
use crate::options::{Budgets, Options};

/// What the handlers need.
pub(crate) struct Handlers<S, C> {
    streams: Streams<S>,
    control: Arc<C>,
    budgets: Budgets,
    /// Longest wait of a reader for its place.
    read_line: Duration,
}

/// A response, and the memory that it takes if it is a page of records.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) memory: Option<PageMemory>,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self {
            response,
            memory: None,
        }
    }
}

impl<S: ShardLog, C: ControlPlane> Handlers<S, C> {
    pub(crate) fn new(streams: Streams<S>, control: Arc<C>, options: &Options) -> Self {
        Self {
            streams,
            control,
            budgets: options.budgets.clone(),
            read_line: options.timeouts.read_line,
        }
    }

    /// Answers one request.
    pub(crate) async fn call(
        &self,
        scope: &Scope,
        request: Request,
    ) -> Result<Answer, ServiceError> {
        match request {
            Request::PutRecord(input) => self.put_record(scope, input).await.map(Answer::from),
            Request::PutRecords(input) => self.put_records(scope, input).await.map(Answer::from),
            Request::GetRecords(input) => self.get_records(scope, input).await,
            Request::GetShardIterator(input) => self
                .get_shard_iterator(scope, input)
                .await
                .map(Answer::from),
            Request::CreateStream(input) => {
                self.create_stream(scope, input).await.map(Answer::from)
            },
            Request::DeleteStream(input) => {
                self.delete_stream(scope, input).await.map(Answer::from)
            },
            Request::DescribeStream(input) => self.describe_stream(scope, &input).map(Answer::from),
            Request::DescribeStreamSummary(input) => self
                .describe_stream_summary(scope, &input)
                .map(Answer::from),
            Request::ListShards(input) => self.list_shards(scope, &input).map(Answer::from),
            Request::ListStreams(input) => self.list_streams(scope, &input).map(Answer::from),
        }
    }
}
