//! PutRecord, PutRecords, GetRecords.

use std::sync::Arc;

use millstream_clock::task;
use millstream_control::ControlPlane;
use millstream_protocol::ServiceError;
use millstream_protocol::kinesis::request::{GetRecords, PutEntry, PutRecord, PutRecords};
use millstream_protocol::kinesis::response::{
    EntryErrorCode, GetRecordsOutput, PutEntryOutput, PutRecordOutput, PutRecordsOutput, ReadRecord,
};
use millstream_protocol::kinesis::{Response, errors as texts};
use millstream_stream::error::EntryError;
use millstream_stream::{PutOutput, ReadLimit, ShardLog};
use millstream_types::{PartitionKey, Scope, StreamName, caps};

use super::{Answer, Handlers};
use crate::errors;
use crate::lanes::PageMemory;

impl<S: ShardLog, C: ControlPlane> Handlers<S, C> {
    pub(super) async fn put_record(
        &self,
        scope: &Scope,
        input: PutRecord,
    ) -> Result<Response, ServiceError> {
        let name = input.stream.resolve(scope)?;
        if input.dry_run {
            return self.dry_put(scope, name);
        }
        let ordering = input.sequence_number_for_ordering.as_ref();
        let ordering = ordering.map(|number| number.as_str());
        let put = self
            .streams
            .put_record(scope, name, entry(input.entry), ordering);
        match put.await {
            Ok(output) => Ok(Response::PutRecord(put_output(output))),
            Err(error) => Err(errors::put_record(&error)),
        }
    }

    pub(super) async fn put_records(
        &self,
        scope: &Scope,
        input: PutRecords,
    ) -> Result<Response, ServiceError> {
        let name = input.stream.resolve(scope)?;
        if input.dry_run {
            return self.dry_put(scope, name);
        }
        let entries = input.entries.into_iter().map(entry).collect();
        let put = self.streams.put_records(scope, name, entries).await;
        let output = put.map_err(|error| errors::put_records(&error))?;
        let entries = output.results.into_iter().map(entry_output).collect();
        Ok(Response::PutRecords(PutRecordsOutput { entries }))
    }

    /// A put that is not made: the stream must exist, everything else was checked before.
    fn dry_put(&self, scope: &Scope, name: &StreamName) -> Result<Response, ServiceError> {
        match self.streams.get(scope, name) {
            Ok(_) => Err(texts::dry_run_succeeded()),
            Err(error) => Err(errors::absent(&error)),
        }
    }

    pub(super) async fn get_records(
        &self,
        scope: &Scope,
        input: GetRecords,
    ) -> Result<Answer, ServiceError> {
        let asked = input.limit.map_or(Ok(usize::MAX), usize::try_from);
        let asked = asked
            .unwrap_or(usize::MAX)
            .min(caps::GET_RECORDS_RECORDS_MAX);
        let mut memory = self.page_memory(asked).await?;
        let limit = ReadLimit {
            records: memory.size.records,
            bytes: memory.size.bytes,
        };
        let name = match &input.stream_arn {
            Some(arn) if arn.account != scope.account || arn.region != scope.region => {
                return Err(texts::stream_not_found(&arn.name, &arn.account));
            },
            arn => arn.as_ref().map(|arn| &arn.name),
        };
        let read = self
            .streams
            .get_records_within(scope, name, &input.shard_iterator, limit);
        let output = read.await.map_err(|error| errors::get_records(&error))?;
        if input.dry_run {
            return Err(texts::dry_run_succeeded());
        }
        let sizes = output
            .records
            .iter()
            .map(|record| record.key.len() + record.data.len());
        if !memory.fit(sizes.sum(), output.records.len()) {
            return Err(errors::overloaded());
        }
        let records = output.records.into_iter().map(|record| ReadRecord {
            sequence_number: record.sequence_number,
            arrival: record.arrival,
            partition_key: record.key,
            data: record.data,
        });
        Ok(Answer {
            response: Response::GetRecords(GetRecordsOutput {
                records: records.collect(),
                next_shard_iterator: output.next_iterator,
                millis_behind_latest: output.millis_behind_latest,
                child_shards: Vec::new(),
            }),
            memory: Some(memory),
        })
    }
}

impl<S, C> Handlers<S, C> {
    /// A reader's place, and memory for its page.
    async fn page_memory(&self, records_max: usize) -> Result<PageMemory, ServiceError> {
        let waiting = Arc::clone(&self.budgets.readers).acquire_owned();
        match task::timeout(self.read_line, waiting).await {
            Ok(Ok(place)) => PageMemory::reserve(&self.budgets, records_max, place),
            _ => None,
        }
        .ok_or_else(errors::overloaded)
    }
}

fn entry(entry: PutEntry) -> millstream_stream::PutEntry {
    let partition_key: Result<PartitionKey, _> = entry.partition_key.as_str().parse();
    millstream_stream::PutEntry {
        partition_key: partition_key.expect("a key of the request was checked when it was decoded"),
        explicit_hash_key: entry.explicit_hash_key,
        data: entry.data,
    }
}

fn put_output(output: PutOutput) -> PutRecordOutput {
    PutRecordOutput {
        shard_id: output.shard,
        sequence_number: output.sequence_number,
    }
}

fn entry_output(result: Result<PutOutput, EntryError>) -> PutEntryOutput {
    match result {
        Ok(output) => PutEntryOutput::Put(put_output(output)),
        Err(error) => PutEntryOutput::Failed {
            code: match error {
                EntryError::Throttled(_) => EntryErrorCode::ProvisionedThroughputExceeded,
                EntryError::Internal => EntryErrorCode::InternalFailure,
            },
            message: error.to_string(),
        },
    }
}
