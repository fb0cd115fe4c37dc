//! The minute's numbers of each stream, as CloudWatch names them.

use std::sync::Arc;

use bytes::Bytes;
use millstream_chassis::metrics::cloudwatch::{Measure, Row};
use millstream_clock::SystemClock;
use millstream_gateway::cloudwatch::Sampler;
use millstream_storage::memory::MemoryStore;
use millstream_stream::{NewStream, PutEntry, Settings, Streams};
use millstream_types::{Scope, ShardId, ShardMetric, ShardMetrics, StreamMode};

use crate::fixture::{STREAM, home, streams};

async fn put(streams: &Streams<MemoryStore>, scope: &Scope, stream: &str, bytes: usize) {
    let entry = PutEntry {
        partition_key: "k".parse().expect("a key"),
        explicit_hash_key: None,
        data: Bytes::from(vec![0; bytes]),
    };
    let name = stream.parse().expect("a name");
    let put = streams.put_record(scope, &name, entry, None);
    put.await.expect("put");
}

fn value(rows: &[Row], measure: Measure, shard: Option<ShardId>) -> Option<f64> {
    let found = rows
        .iter()
        .find(|row| row.measure == measure && row.shard == shard);
    found.map(|row| row.value)
}

#[tokio::test]
async fn a_sample_holds_what_happened_since_the_last_one() {
    let home = home();
    let streams = streams(&home, Arc::new(SystemClock::new())).await;
    let mut sampler = Sampler::new(home.clone());
    put(&streams, &home, STREAM, 100).await;
    put(&streams, &home, STREAM, 20).await;
    let rows = sampler.sample(&streams.all());
    assert_eq!(value(&rows, Measure::IncomingBytes, None), Some(120.0));
    assert_eq!(value(&rows, Measure::IncomingRecords, None), Some(2.0));
    assert_eq!(value(&rows, Measure::PutRecordSuccess, None), Some(2.0));
    assert_eq!(
        value(&rows, Measure::GetRecordsBytes, None),
        None,
        "nothing was read"
    );
    assert!(value(&rows, Measure::PutRecordLatency, None).is_some());
    assert!(
        rows.iter().all(|row| row.account.is_none()
            && row.region.is_none()
            && row.stream.as_str() == STREAM)
    );

    put(&streams, &home, STREAM, 7).await;
    let rows = sampler.sample(&streams.all());
    assert_eq!(value(&rows, Measure::IncomingBytes, None), Some(7.0));
    assert!(
        sampler.sample(&streams.all()).is_empty(),
        "nothing happened"
    );
}

#[tokio::test]
async fn shards_are_shown_where_the_stream_asks_and_other_regions_say_so() {
    let home = home();
    let streams = streams(&home, Arc::new(SystemClock::new())).await;
    let elsewhere = Scope {
        region: "eu-west-3".parse().expect("a region"),
        ..home.clone()
    };
    let mut asked = ShardMetrics::default();
    asked.insert(ShardMetric::IncomingBytes);
    let stream = NewStream {
        name: "far".parse().expect("a name"),
        mode: StreamMode::Provisioned,
        shard_count: 1,
        settings: Settings {
            shard_level_metrics: asked,
            ..Settings::default()
        },
    };
    streams.create(&elsewhere, stream).await.expect("created");
    put(&streams, &elsewhere, "far", 5).await;
    let rows = Sampler::new(home.clone()).sample(&streams.all());
    let shard = Some(ShardId(0));
    assert_eq!(value(&rows, Measure::IncomingBytes, shard), Some(5.0));
    assert_eq!(
        value(&rows, Measure::IncomingRecords, shard),
        None,
        "not asked for"
    );
    assert!(
        rows.iter()
            .all(|row| row.region.as_ref() == Some(&elsewhere.region))
    );
}

#[tokio::test]
async fn streams_of_one_name_are_apart_by_their_account() {
    let home = home();
    let streams = streams(&home, Arc::new(SystemClock::new())).await;
    let other = Scope {
        account: "111122223333".parse().expect("an account"),
        ..home.clone()
    };
    let stream = NewStream {
        name: STREAM.parse().expect("a name"),
        mode: StreamMode::Provisioned,
        shard_count: 1,
        settings: Settings::default(),
    };
    streams.create(&other, stream).await.expect("created");
    put(&streams, &home, STREAM, 5).await;
    put(&streams, &other, STREAM, 7).await;
    let accounts = |rows: Vec<Row>| {
        let rows = rows.into_iter();
        let bytes = rows.filter(|row| row.measure == Measure::IncomingBytes);
        let mut found: Vec<_> = bytes
            .map(|row| (row.account.map(|account| account.to_string()), row.value))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    };
    let rows = Sampler::new(home.clone()).sample(&streams.all());
    let theirs = Some("111122223333".to_owned());
    assert_eq!(accounts(rows), [(None, 5.0), (theirs.clone(), 7.0)]);
    // A gateway of many accounts has none before the others.
    let rows = Sampler::new(home.region).sample(&streams.all());
    let ours = Some("000000000000".to_owned());
    assert_eq!(accounts(rows), [(ours, 5.0), (theirs, 7.0)]);
}
