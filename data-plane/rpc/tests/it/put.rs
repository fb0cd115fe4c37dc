//! Puts and reads of a gateway over several groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use millstream_clock::task;
use millstream_link::Role;
use millstream_link::tls::TlsConnector;
use millstream_rpc::meter::{Called, Meter};
use millstream_rpc::{Options, RemoteGroups, Routed};
use millstream_storage::{Append, NewRecord, ReadLimit, ShardLog as _, ShardStore as _};
use millstream_stream::error::EntryError;
use millstream_stream::{Decision, DecisionPoint, Guests, Kind, PeerError, PeerGroups as _};
use millstream_types::{Epoch, Millis, ShardUid, StreamUid};

use crate::cluster::{Cuttable, POOL, World, entry_at, group, key_of, name, placed, scope};

#[tokio::test]
async fn records_put_over_several_groups_are_read_back_in_order() {
    let world = World::new();
    let servers = world.pool(3).await;
    world.create(&servers, "flights", 4).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    let mut expected: Vec<Vec<String>> = vec![Vec::new(); 4];
    for round in 0..20u32 {
        let mut entries = Vec::new();
        for shard in 0..4 {
            for place in 0..3 {
                let payload = format!("{shard}-{round}-{place}");
                entries.push(entry_at(key_of(shard, 4), payload.clone()));
                expected[shard as usize].push(payload);
            }
        }
        let put = gateway
            .streams
            .put_records(&scope(), &name("flights"), entries)
            .await;
        assert_eq!(put.expect("an answer").failed, 0);
    }
    for (shard, expected) in (0..).zip(&expected) {
        assert_eq!(gateway.payloads("flights", shard).await, *expected);
    }
    // Each group has taken the records of its shards: the home of two shards, the others of one.
    let held = |place: usize| {
        let uids = servers[place].store.shards().into_iter();
        let next = uids.map(|uid| servers[place].store.status_now(uid).map(|s| s.next - 1));
        next.map(Option::unwrap_or_default).sum::<u64>()
    };
    assert_eq!((held(0), held(1), held(2)), (120, 60, 60));
}

#[tokio::test]
async fn a_record_of_ten_mebibytes_goes_through_whole() {
    let world = World::new();
    let servers = world.pool(2).await;
    world.create(&servers, "large", 2).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    let stream = gateway.streams.get(&scope(), &name("large")).expect("it");
    let shard = stream.map().route(millstream_types::HashKey(key_of(1, 2)));
    let data: Vec<u8> = (0..10 * 1024 * 1024)
        .map(|i: u32| (i % 251) as u8)
        .collect();
    // Larger than this stream's limit, as large as any may have: below the checks of the stream.
    let append = Append {
        shard: shard.uid,
        records: vec![NewRecord {
            key: "key".into(),
            data: data.clone().into(),
        }],
    };
    let routed = Routed::new(gateway.caller.clone());
    let appended = routed.append(vec![append]).await.expect("sent")[0].expect("durable");
    let limit = ReadLimit {
        records: 10,
        bytes: 1,
    };
    let read = routed
        .read(shard.uid, appended.first, limit)
        .await
        .expect("a page");
    assert_eq!(read.records.len(), 1);
    assert!(read.records[0].data == data, "every byte came back");
    assert_eq!(read.status.next, 2);
}

#[tokio::test]
async fn one_group_that_is_away_fails_its_entries_only() {
    let world = World::new();
    let mut servers = world.pool(3).await;
    world.create(&servers, "flights", 3).await;
    let options = Options {
        repeat_for: Duration::from_millis(200),
        ..Options::default()
    };
    let mut gateway = world.gateway(options, world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    let stream = gateway.streams.get(&scope(), &name("flights")).expect("it");
    let away = servers.pop().expect("three");
    let away_group = away.group.clone();
    away.end().await;
    let entries = (0..3)
        .map(|shard| entry_at(key_of(shard, 3), "x"))
        .collect();
    let put = gateway
        .streams
        .put_records(&scope(), &name("flights"), entries)
        .await;
    let put = put.expect("an answer");
    assert_eq!(put.failed, 1);
    for (result, shard) in put.results.iter().zip(stream.map().shards()) {
        let failed = shard.group.as_ref() == Some(&away_group);
        assert_eq!(result.is_err(), failed, "{shard:?}");
        assert!(!matches!(result, Err(EntryError::Throttled(_))));
    }
}

#[tokio::test]
async fn reads_of_a_group_that_is_away_wait_for_nothing_until_it_is_back() {
    let world = World::new();
    let servers = world.pool(1).await;
    world.create(&servers, "flights", 1).await;
    let plain = Cuttable::new();
    let keys = world.keys(Role::Gateway, "gw-0");
    let options = Options {
        repeat_for: Duration::from_millis(50),
        ..Options::default()
    };
    let connector = TlsConnector::new(Arc::new(plain.clone()), keys);
    let mut gateway = world.gateway(options, Arc::new(connector));
    gateway.place(1, &servers).await;
    let streams = &gateway.streams;
    let start = millstream_stream::StartingPosition::TrimHorizon;
    let shard = "shardId-000000000000";
    let iterator = streams
        .iterator(&scope(), &name("flights"), shard, start)
        .await
        .expect("an iterator");
    let read = || {
        let (streams, iterator) = (streams.clone(), iterator.clone());
        async move { streams.get_records(&scope(), None, &iterator, None).await }
    };
    read().await.expect("it is here");
    plain.cut.store(true, Ordering::SeqCst);
    read().await.expect_err("it is away");
    let mut asks = Box::pin(read());
    assert!((&mut asks).now_or_never().is_none(), "one finds out");
    let other = read().now_or_never().expect("the others do not wait");
    other.expect_err("it is away");
    asks.await.expect_err("it is still away");
    plain.cut.store(false, Ordering::SeqCst);
    for _ in 0..1000 {
        if read().await.is_ok() {
            return;
        }
        task::sleep(Duration::from_millis(10)).await;
    }
    read().await.expect("it is back");
}

/// Panics when it is to count a question whether a server is back, if it is armed.
#[derive(Default)]
struct Panics(AtomicBool);

impl Meter for Panics {
    fn called(&self, called: &Called) {
        let panics = called.call == "Status" && self.0.load(Ordering::SeqCst);
        assert!(!panics, "a planted panic");
    }
}

#[tokio::test]
async fn a_question_that_panics_leaves_its_group_to_the_next_reader() {
    let world = World::new();
    let servers = world.pool(1).await;
    world.create(&servers, "flights", 1).await;
    let plain = Cuttable::new();
    let keys = world.keys(Role::Gateway, "gw-0");
    let options = Options {
        repeat_for: Duration::from_millis(50),
        ..Options::default()
    };
    let connector = TlsConnector::new(Arc::new(plain.clone()), keys);
    let mut gateway = world.gateway(options, Arc::new(connector));
    let panics = Arc::new(Panics::default());
    gateway
        .caller
        .count_by(Arc::clone(&panics) as Arc<dyn Meter>);
    gateway.place(1, &servers).await;
    let shard = servers[0].store.shards()[0];
    let routed = Routed::new(gateway.caller.clone());
    let limit = ReadLimit {
        records: 1,
        bytes: 1,
    };
    let read = || routed.read(shard, 1, limit);
    plain.cut.store(true, Ordering::SeqCst);
    read().await.expect_err("it is away");
    panics.0.store(true, Ordering::SeqCst);
    read().await.expect_err("who asks panics");
    panics.0.store(false, Ordering::SeqCst);
    plain.cut.store(false, Ordering::SeqCst);
    for _ in 0..1000 {
        if read().await.is_ok() {
            return;
        }
        task::sleep(Duration::from_millis(10)).await;
    }
    read().await.expect("it is back");
}

#[tokio::test]
async fn bytes_over_the_budget_are_throttled_and_nothing_is_sent() {
    let world = World::new();
    let servers = world.pool(1).await;
    world.create(&servers, "s", 1).await;
    let options = Options {
        in_flight_bytes: 8 * 1024,
        ..Options::default()
    };
    let mut gateway = world.gateway(options, world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    let put = |bytes: usize| gateway.put(0, vec![0; bytes]);
    assert_eq!(put(9 * 1024).await, Err(Kind::Throttled), "too much");
    put(4 * 1024).await.expect("it fits");
    put(4 * 1024).await.expect("the budget is free again");
    let uid = servers[0].store.shards()[0];
    assert_eq!(servers[0].store.status_now(uid).map(|s| s.next), Some(3));
}

#[tokio::test]
async fn a_waiting_reader_is_woken_by_a_put_of_another_process() {
    let world = World::new();
    let servers = world.pool(2).await;
    world.create(&servers, "s", 2).await;
    let connector = || world.connector(Role::Gateway, "gw-0");
    let mut reader = world.gateway(Options::default(), connector());
    let mut writer = world.gateway(Options::default(), connector());
    reader.place(1, &servers).await;
    writer.place(1, &servers).await;
    let stream = reader.streams.get(&scope(), &name("s")).expect("it");
    let shard = stream
        .map()
        .route(millstream_types::HashKey(key_of(1, 2)))
        .uid;
    let routed = Routed::new(reader.caller.clone());
    let waiting = task::spawn("wait", async move {
        routed.wait_past(shard, 1).await;
        routed.status(shard).await.map(|status| status.next)
    });
    writer.put(key_of(1, 2), "a").await.expect("durable");
    assert_eq!(waiting.await.expect("it ends"), Ok(2));
}

#[tokio::test]
async fn a_time_is_found_on_another_server() {
    let world = World::new();
    let servers = world.pool(2).await;
    world.create(&servers, "s", 2).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    gateway.put(key_of(1, 2), "a").await.expect("durable");
    let stream = gateway.streams.get(&scope(), &name("s")).expect("it");
    let shard = stream.map().shards()[1].uid;
    let routed = Routed::new(gateway.caller.clone());
    assert_eq!(routed.number_at(shard, Millis(0)).await, Ok(1));
    assert_eq!(routed.number_at(shard, Millis(u64::MAX)).await, Ok(2));
}

#[tokio::test]
async fn a_gateway_may_not_make_or_remove_shards() {
    let world = World::new();
    let servers = world.pool(1).await;
    let options = Options {
        repeat_for: Duration::ZERO,
        ..Options::default()
    };
    let guests = Guests {
        stream: StreamUid(1),
        home: group(1),
        created: Millis(0),
        retention_hours: Some(24),
        shards: vec![ShardUid(1)],
    };
    for (role, may) in [(Role::Gateway, false), (Role::Shard, true)] {
        let caller = world.caller(options, world.connector(role, "p-0"));
        assert!(caller.place(POOL, (1, 0), &placed(&servers)));
        let peers = RemoteGroups::new(caller);
        // The first call learns the epoch.
        let learned = peers.drop_shards(&group(0), StreamUid(9), None).await;
        let opened = peers
            .open_shards(&group(0), guests.clone(), Vec::new(), None)
            .await;
        assert_eq!((learned.is_ok(), opened.is_ok()), (may, may), "{role}");
        assert_eq!(servers[0].store.shards().is_empty(), !may);
    }
}

#[tokio::test]
async fn a_home_that_was_outlived_hears_so_from_the_group_that_it_asks() {
    let world = World::new();
    let servers = world.pool(1).await;
    let caller = world.caller(Options::default(), world.connector(Role::Shard, "p-1"));
    assert!(caller.place(POOL, (1, 0), &placed(&servers)));
    let peers = RemoteGroups::new(caller);
    let decided = |epoch, changes| {
        let epoch = Epoch(epoch);
        let point = DecisionPoint { epoch, changes };
        let home = group(1);
        Some(Decision { home, point })
    };
    let guests = |hours| Guests {
        stream: StreamUid(1),
        home: group(1),
        created: Millis(0),
        retention_hours: Some(hours),
        shards: vec![ShardUid(1)],
    };
    let there = group(0);
    let opened = peers.open_shards(&there, guests(168), Vec::new(), decided(8, 1));
    assert_eq!(opened.await, Ok(Vec::new()));
    let opened = peers.open_shards(&there, guests(24), Vec::new(), decided(7, 9));
    assert_eq!(opened.await, Err(PeerError::Outlived));
    let dropped = peers.drop_shards(&there, StreamUid(1), decided(7, 9));
    assert_eq!(dropped.await, Err(PeerError::Outlived));
    let late = peers.open_shards(&there, guests(24), Vec::new(), decided(8, 0));
    assert!(matches!(late.await, Err(PeerError::Failed(_))));
    let hosted = servers[0].streams.hosted();
    assert_eq!(hosted, [guests(168)]);
    let dropped = peers.drop_shards(&there, StreamUid(1), decided(8, 2));
    assert_eq!(dropped.await, Ok(()));
    assert!(servers[0].streams.hosted().is_empty());
}

#[tokio::test]
async fn shards_of_a_replaced_volume_are_lost_for_their_home_and_fail_for_clients() {
    let world = World::new();
    let mut servers = world.pool(2).await;
    world.create(&servers, "flights", 2).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    let guests = servers[1].streams.hosted().remove(0);
    let shards = guests.shards.clone();
    let peers = world.caller(Options::default(), world.connector(Role::Shard, "shard-0"));
    assert!(peers.place(POOL, (1, 0), &placed(&servers)));
    let home = RemoteGroups::new(peers.clone());
    assert_eq!(home.life(&group(1)).await, Ok(Epoch(1)));
    let (there, asked) = (group(1), guests.clone());
    let held = home.open_shards(&there, asked, shards.clone(), None).await;
    assert_eq!(held, Ok(Vec::new()));

    servers.pop().expect("two").end().await;
    let empty = Arc::new(millstream_storage::memory::MemoryStore::new(Arc::clone(
        &world.clock,
    )));
    servers.push(world.serve(empty, group(1), 2).await);
    assert!(peers.place(POOL, (1, 1), &placed(&servers)));
    gateway.place(2, &servers).await;
    assert_eq!(home.life(&there).await, Ok(Epoch(2)));
    let lost = home.open_shards(&there, guests, shards.clone(), None).await;
    assert_eq!(lost, Ok(shards));
    assert!(servers[1].store.shards().is_empty());

    let (scope, name) = (scope(), name("flights"));
    let put = |shard| {
        let entry = entry_at(key_of(shard, 2), "x");
        gateway.streams.put_record(&scope, &name, entry, None)
    };
    let refused = put(1).await.expect_err("lost");
    assert_eq!(refused.kind(), Kind::Internal);
    let start = millstream_stream::StartingPosition::Latest;
    let shard = "shardId-000000000001";
    let refused = gateway.streams.iterator(&scope, &name, shard, start).await;
    assert_eq!(refused.expect_err("lost").kind(), Kind::Internal);
    put(0).await.expect("the other group serves on");
}
