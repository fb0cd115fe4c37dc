//! The checks, in the order in which they are run.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, Shard, ShardIteratorType, StreamDescription, StreamStatus,
};
use md5::{Digest, Md5};

use crate::session::Session;

type Checked<T = ()> = Result<T, String>;

/// Records in one PutRecords.
const BATCH: usize = 500;
/// Polls until a stream has changed, 50 ms apart.
const POLLS_MAX: usize = 400;

/// The text of any failure, with its causes.
fn text<E: std::error::Error>(error: E) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Fails with `why` unless `condition` holds.
fn ensure(condition: bool, why: impl std::fmt::Debug) -> Checked {
    if condition {
        Ok(())
    } else {
        Err(format!("{why:?}"))
    }
}

/// Runs every check.
pub async fn run(session: &mut Session) {
    let (client, name) = (session.client.clone(), session.name.clone());
    let client = &client;
    let created = create(client, &name).await;
    session.report(
        "CreateStream makes the stream, and it becomes ACTIVE",
        created.clone().map(drop),
    );
    let Ok(stream) = created else { return };
    let first = &stream.shards()[0];
    session.report("shards cover every hash key once", cover(stream.shards()));
    session.report(
        "DescribeStreamSummary by name and by ARN",
        summary(client, &stream).await,
    );
    session.report(
        "DescribeStream, ListShards and ListStreams page",
        pages(client, &stream).await,
    );
    session.report("PutRecord routes and orders", put(client, &stream).await);
    let batch = put_batch(client, &name, first).await;
    session.report("PutRecords answers entry by entry", batch.clone().map(drop));
    let numbers = batch.unwrap_or_default();
    session.report(
        "GetRecords pages down to the tip",
        read(client, &name, first, &numbers).await,
    );
    session.report(
        "the five iterator types",
        iterators(client, &name, first, &numbers).await,
    );
    session.report(
        "errors are variants of the SDK",
        errors(client, &name, first).await,
    );
    session.report(
        "DeleteStream removes the stream",
        delete(client, &name).await,
    );
}

async fn create(client: &Client, name: &str) -> Checked<StreamDescription> {
    client
        .create_stream()
        .stream_name(name)
        .shard_count(3)
        .send()
        .await
        .map_err(text)?;
    for _ in 0..POLLS_MAX {
        let answer = client
            .describe_stream()
            .stream_name(name)
            .send()
            .await
            .map_err(text)?;
        let stream = answer.stream_description.ok_or("no description")?;
        if stream.stream_status() == &StreamStatus::Active {
            ensure(stream.shards().len() == 3, stream.shards())?;
            return Ok(stream);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("never ACTIVE".to_owned())
}

fn range(shard: &Shard) -> Checked<(u128, u128)> {
    let range = shard.hash_key_range().ok_or("no range")?;
    let parse = |text: &str| text.parse().map_err(text_of_number);
    Ok((
        parse(range.starting_hash_key())?,
        parse(range.ending_hash_key())?,
    ))
}

fn text_of_number(error: std::num::ParseIntError) -> String {
    text(error)
}

fn cover(shards: &[Shard]) -> Checked {
    let mut ranges = shards.iter().map(range).collect::<Checked<Vec<_>>>()?;
    ranges.sort_unstable();
    ensure(ranges.first().is_some_and(|range| range.0 == 0), &ranges)?;
    ensure(
        ranges.last().is_some_and(|range| range.1 == u128::MAX),
        &ranges,
    )?;
    ensure(
        ranges.windows(2).all(|pair| pair[1].0 == pair[0].1 + 1),
        &ranges,
    )
}

async fn summary(client: &Client, stream: &StreamDescription) -> Checked {
    let by_name = client
        .describe_stream_summary()
        .stream_name(stream.stream_name());
    let by_arn = client
        .describe_stream_summary()
        .stream_arn(stream.stream_arn());
    for call in [by_name, by_arn] {
        let answer = call.send().await.map_err(text)?;
        let summary = answer.stream_description_summary().ok_or("no summary")?;
        ensure(summary.open_shard_count() == 3, summary)?;
    }
    Ok(())
}

async fn pages(client: &Client, stream: &StreamDescription) -> Checked {
    let name = stream.stream_name();
    let expected: Vec<&str> = stream.shards().iter().map(Shard::shard_id).collect();

    let answer = client
        .describe_stream()
        .stream_name(name)
        .limit(2)
        .send()
        .await
        .map_err(text)?;
    let page = answer.stream_description().ok_or("no description")?;
    ensure(page.shards().len() == 2 && page.has_more_shards(), page)?;

    let page = client
        .list_shards()
        .stream_name(name)
        .max_results(2)
        .send()
        .await
        .map_err(text)?;
    let token = page.next_token().ok_or("no token")?;
    let rest = client
        .list_shards()
        .next_token(token)
        .send()
        .await
        .map_err(text)?;
    let ids: Vec<&str> = page
        .shards()
        .iter()
        .chain(rest.shards())
        .map(Shard::shard_id)
        .collect();
    ensure(ids == expected && rest.next_token().is_none(), &ids)?;

    let other = format!("{name}-b");
    client
        .create_stream()
        .stream_name(&other)
        .shard_count(1)
        .send()
        .await
        .map_err(text)?;
    let mut stream_pages = client.list_streams().into_paginator().page_size(1).send();
    let mut names = Vec::new();
    while let Some(page) = stream_pages.next().await {
        names.extend(page.map_err(text)?.stream_names);
    }
    ensure(
        names.contains(&name.to_owned()) && names.contains(&other),
        &names,
    )?;
    client
        .delete_stream()
        .stream_name(&other)
        .send()
        .await
        .map_err(text)?;
    Ok(())
}

async fn put(client: &Client, stream: &StreamDescription) -> Checked {
    let name = stream.stream_name();
    let data = || Blob::new("data");
    let digest: [u8; 16] = Md5::digest(b"N14228").into();
    let hash = u128::from_be_bytes(digest);
    let by_key = client
        .put_record()
        .stream_name(name)
        .partition_key("N14228")
        .data(data());
    let answer = by_key.send().await.map_err(text)?;
    for shard in stream.shards() {
        let (begin, end) = range(shard)?;
        let owner = (begin..=end).contains(&hash);
        ensure(owner == (shard.shard_id() == answer.shard_id()), &answer)?;

        let explicit = client
            .put_record()
            .stream_name(name)
            .partition_key("k")
            .data(data());
        let one = explicit
            .explicit_hash_key(end.to_string())
            .send()
            .await
            .map_err(text)?;
        ensure(one.shard_id() == shard.shard_id(), &one)?;

        let ordered = client
            .put_record()
            .stream_name(name)
            .partition_key("k")
            .data(data());
        let ordered = ordered.explicit_hash_key(end.to_string());
        let ordered = ordered.sequence_number_for_ordering(one.sequence_number());
        let two = ordered.send().await.map_err(text)?;
        ensure(
            number(two.sequence_number()) > number(one.sequence_number()),
            (&one, &two),
        )?;
    }
    Ok(())
}

/// A sequence number in an order that compares: length first, then digits.
fn number(text: &str) -> (usize, &str) {
    (text.len(), text)
}

async fn put_batch(client: &Client, name: &str, first: &Shard) -> Checked<Vec<String>> {
    let hash_key = range(first)?.0.to_string();
    let entry = |index: usize| {
        PutRecordsRequestEntry::builder()
            .data(Blob::new(index.to_string()))
            .partition_key(format!("k{index}"))
            .explicit_hash_key(&hash_key)
            .build()
            .map_err(text)
    };
    let entries = (0..BATCH).map(entry).collect::<Checked<Vec<_>>>()?;
    let call = client
        .put_records()
        .stream_name(name)
        .set_records(Some(entries));
    let answer = call.send().await.map_err(text)?;
    ensure(
        answer.failed_record_count() == Some(0),
        answer.failed_record_count(),
    )?;
    let numbers: Vec<String> = answer
        .records()
        .iter()
        .filter_map(|record| record.sequence_number().map(str::to_owned))
        .collect();
    ensure(numbers.len() == BATCH, numbers.len())?;
    ensure(
        numbers
            .windows(2)
            .all(|pair| number(&pair[0]) < number(&pair[1])),
        &numbers[..2],
    )?;
    Ok(numbers)
}

/// A shard iterator, with a sequence number where the type wants one.
async fn position(
    client: &Client,
    name: &str,
    shard: &Shard,
    kind: ShardIteratorType,
    from: Option<&str>,
) -> Checked<String> {
    let call = client
        .get_shard_iterator()
        .stream_name(name)
        .shard_id(shard.shard_id());
    let call = call
        .shard_iterator_type(kind)
        .set_starting_sequence_number(from.map(str::to_owned));
    let answer = call.send().await.map_err(text)?;
    Ok(answer.shard_iterator().ok_or("no iterator")?.to_owned())
}

async fn records(client: &Client, position: &str, limit: i32) -> Checked<GetRecordsOutput> {
    client
        .get_records()
        .shard_iterator(position)
        .limit(limit)
        .send()
        .await
        .map_err(text)
}

async fn read(client: &Client, name: &str, shard: &Shard, numbers: &[String]) -> Checked {
    let from = numbers.first().ok_or("nothing was put")?;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let kind = ShardIteratorType::AtSequenceNumber;
    let mut at = position(client, name, shard, kind, Some(from)).await?;
    let mut back = Vec::new();
    for page_number in 0..BATCH {
        let page = records(client, &at, 64).await?;
        ensure(page.records().len() <= 64, page.records().len())?;
        let behind = page.millis_behind_latest().ok_or("no MillisBehindLatest")?;
        ensure(page_number > 0 || behind >= 1000, behind)?;
        back.extend(page.records);
        if behind == 0 {
            break;
        }
        at = page
            .next_shard_iterator
            .ok_or("an open shard has a next iterator")?;
    }
    let found: Vec<&str> = back.iter().map(|record| record.sequence_number()).collect();
    ensure(found == numbers, found.len())?;
    let data = |(index, record): (usize, &aws_sdk_kinesis::types::Record)| {
        record.data().as_ref() == index.to_string().as_bytes()
    };
    ensure(back.iter().enumerate().all(data), "data differ")
}

async fn iterators(client: &Client, name: &str, shard: &Shard, numbers: &[String]) -> Checked {
    let seventh = numbers.get(7).ok_or("nothing was put")?;
    let starts = [
        (
            ShardIteratorType::AtSequenceNumber,
            Some(seventh.as_str()),
            Some(&numbers[7]),
        ),
        (
            ShardIteratorType::AfterSequenceNumber,
            Some(seventh.as_str()),
            Some(&numbers[8]),
        ),
        (ShardIteratorType::Latest, None, None),
    ];
    for (kind, from, expected) in starts {
        let at = position(client, name, shard, kind.clone(), from).await?;
        let page = records(client, &at, 1).await?;
        let found = page
            .records()
            .first()
            .map(|record| record.sequence_number());
        ensure(found == expected.map(String::as_str), (kind, found))?;
    }
    let horizon = position(client, name, shard, ShardIteratorType::TrimHorizon, None).await?;
    let page = records(client, &horizon, 1).await?;
    let oldest = page.records().first().ok_or("nothing at the horizon")?;
    ensure(
        number(oldest.sequence_number()) < number(&numbers[0]),
        oldest,
    )?;

    let arrival = oldest
        .approximate_arrival_timestamp()
        .ok_or("no arrival time")?;
    let call = client
        .get_shard_iterator()
        .stream_name(name)
        .shard_id(shard.shard_id());
    let call = call
        .shard_iterator_type(ShardIteratorType::AtTimestamp)
        .timestamp(*arrival);
    let answer = call.send().await.map_err(text)?;
    let page = records(client, answer.shard_iterator().ok_or("no iterator")?, 1).await?;
    let found = page
        .records()
        .first()
        .map(|record| record.sequence_number());
    ensure(found == Some(oldest.sequence_number()), found)
}

async fn errors(client: &Client, name: &str, shard: &Shard) -> Checked {
    let again = client
        .create_stream()
        .stream_name(name)
        .shard_count(1)
        .send()
        .await;
    let error = again
        .err()
        .ok_or("a second stream of one name")?
        .into_service_error();
    ensure(error.is_resource_in_use_exception(), &error)?;

    let huge = client
        .create_stream()
        .stream_name(format!("{name}-huge"))
        .shard_count(2_000_000_000);
    let error = huge
        .send()
        .await
        .err()
        .ok_or("too many shards")?
        .into_service_error();
    ensure(error.is_limit_exceeded_exception(), &error)?;

    let gone = client
        .describe_stream()
        .stream_name(format!("{name}-gone"))
        .send()
        .await;
    let error = gone
        .err()
        .ok_or("a stream from nowhere")?
        .into_service_error();
    ensure(error.is_resource_not_found_exception(), &error)?;

    let broken = client
        .get_records()
        .shard_iterator("A".repeat(64))
        .send()
        .await;
    let error = broken
        .err()
        .ok_or("a forged iterator")?
        .into_service_error();
    ensure(error.is_invalid_argument_exception(), &error)?;

    let latest = position(client, name, shard, ShardIteratorType::Latest, None).await?;
    let many = client
        .get_records()
        .shard_iterator(latest)
        .limit(10_001)
        .send()
        .await;
    let error = many.err().ok_or("a limit of 10001")?.into_service_error();
    ensure(error.meta().code() == Some("ValidationException"), &error)
}

async fn delete(client: &Client, name: &str) -> Checked {
    client
        .delete_stream()
        .stream_name(name)
        .send()
        .await
        .map_err(text)?;
    for _ in 0..POLLS_MAX {
        match client.describe_stream().stream_name(name).send().await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => {
                let error = error.into_service_error();
                return ensure(error.is_resource_not_found_exception(), &error);
            },
        }
    }
    Err("never gone".to_owned())
}
