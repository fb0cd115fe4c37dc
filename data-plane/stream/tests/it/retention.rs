//! Retention: what is older than the stream keeps it goes, and nothing else.

use std::time::Duration;

use millstream_storage::ShardStore;
use millstream_stream::retention::{Options, Pass, Service};
use millstream_stream::{SettingsChange, StartingPosition};

use crate::bed::{self, Bed, name, over_stores, scope};

over_stores! {
    records_older_than_the_retention_go
    a_raised_retention_keeps_what_is_still_there
    of_a_retained_stream_everything_is_kept
    many_shards_are_trimmed_in_several_changes
}

const HOUR_MS: u64 = 3_600_000;

fn service<S: ShardStore>(bed: &Bed<S>) -> Service<S> {
    Service::new(Options::default(), bed.streams.clone())
}

async fn set_retention<S: ShardStore>(bed: &Bed<S>, hours: u32) {
    let change = SettingsChange {
        retention_hours: Some(hours),
        ..SettingsChange::default()
    };
    bed.streams
        .update(&scope(), &name("flights"), change)
        .await
        .expect("updated");
}

async fn left<S: ShardStore>(bed: &Bed<S>) -> String {
    bed.payloads("flights", StartingPosition::TrimHorizon)
        .await
        .concat()
}

async fn records_older_than_the_retention_go<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    let service = service(bed);
    for data in ["a", "b", "c"] {
        bed.put("flights", data).await;
        bed.clock.advance(HOUR_MS);
    }
    assert_eq!(service.pass().await, Pass::default());
    assert_eq!(left(bed).await, "abc");
    // "a" is exactly 24 hours old, which is not older than 24 hours.
    bed.clock.advance(21 * HOUR_MS);
    service.pass().await;
    assert_eq!(left(bed).await, "abc");
    bed.clock.advance(HOUR_MS);
    assert_eq!(service.pass().await.trimmed, 1);
    assert_eq!(left(bed).await, "bc");
    assert_eq!(
        service.pass().await,
        Pass::default(),
        "nothing is trimmed twice"
    );
    bed.clock.advance(100 * HOUR_MS);
    assert_eq!(service.pass().await.trimmed, 1);
    assert_eq!(left(bed).await, "");
    assert_eq!(service.pass().await, Pass::default());
}

async fn of_a_retained_stream_everything_is_kept<S: ShardStore>(bed: &Bed<S>) {
    let uid = bed.create("flights", 1).await.uid();
    let service = service(bed);
    bed.put("flights", "a").await;
    bed.streams.retain(uid).await.expect("retained");
    bed.clock.advance(100 * HOUR_MS);
    assert_eq!(service.pass().await, Pass::default());
    bed.streams.serve_again(uid).await.expect("served");
    assert_eq!(left(bed).await, "a");
    // Served again it is as any other.
    assert_eq!(service.pass().await.trimmed, 1);
    assert_eq!(left(bed).await, "");
}

async fn a_raised_retention_keeps_what_is_still_there<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 1).await;
    let service = service(bed);
    bed.put("flights", "a").await;
    bed.clock.advance(12 * HOUR_MS);
    bed.put("flights", "b").await;
    bed.clock.advance(13 * HOUR_MS);
    service.pass().await;
    assert_eq!(left(bed).await, "b");
    set_retention(bed, 48).await;
    bed.clock.advance(20 * HOUR_MS);
    service.pass().await;
    assert_eq!(left(bed).await, "b");
    set_retention(bed, 24).await;
    service.pass().await;
    assert_eq!(left(bed).await, "");
}

async fn many_shards_are_trimmed_in_several_changes<S: ShardStore>(bed: &Bed<S>) {
    let stream = bed.create("flights", 600).await;
    let mut entries = Vec::new();
    for shard in stream.map().shards().iter().take(500) {
        entries.push(bed::entry_at(shard.range.start.0, "x"));
    }
    let output = bed
        .streams
        .put_records(&scope(), &name("flights"), entries)
        .await;
    assert_eq!(output.expect("durable").failed, 0);
    bed.clock.advance(25 * HOUR_MS);
    let expected = Pass {
        trimmed: 500,
        ..Pass::default()
    };
    assert_eq!(service(bed).pass().await, expected);
}

#[tokio::test]
async fn nothing_is_trimmed_while_the_clock_is_not_trusted() {
    let bed = bed::memory();
    bed.create("flights", 1).await;
    bed.put("flights", "a").await;
    bed.clock.advance(1_000 * HOUR_MS);
    bed.store.pause_retention(true);
    assert!(service(&bed).pass().await.paused);
    assert_eq!(left(&bed).await, "a");
    bed.store.pause_retention(false);
    assert_eq!(service(&bed).pass().await.trimmed, 1);
}

#[tokio::test(start_paused = true)]
async fn the_service_makes_passes_until_it_is_drained() {
    let bed = bed::memory();
    bed.create("flights", 1).await;
    bed.put("flights", "a").await;
    bed.clock.advance(25 * HOUR_MS);
    let options = Options {
        interval: Duration::from_secs(1),
    };
    let service = Service::new(options, bed.streams.clone());
    let (drain, drained) = tokio::sync::oneshot::channel::<()>();
    let running = millstream_clock::task::spawn(
        "retention",
        service.run(async {
            drop(drained.await);
        }),
    );
    for _ in 0..50 {
        millstream_clock::task::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(left(&bed).await, "");
    drop(drain);
    running.await.expect("the service ends when it is drained");
}
