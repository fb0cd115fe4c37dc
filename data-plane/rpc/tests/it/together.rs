//! Many appends at once: they go together, and what a server has no room for is throttled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{join, join_all};
use millstream_clock::task;
use millstream_link::Role;
use millstream_rpc::Options;
use millstream_rpc::meter::{Called, Meter, Outcome, Side};
use millstream_storage::StoreError;
use millstream_storage::memory::MemoryStore;
use millstream_storage::testkit::{Answers, Hooked, Hooks};
use millstream_stream::Kind;
use parking_lot::Mutex;

use crate::cluster::{POOL, World, entry_at, group, key_of, name, placed, scope};

/// What became of the appends.
#[derive(Clone, Default)]
struct Appends(Arc<Mutex<Vec<Outcome>>>);

impl Meter for Appends {
    fn called(&self, called: &Called) {
        assert_eq!(called.side, Side::Client);
        if called.call == "Append" {
            self.0.lock().push(called.outcome);
        }
    }
}

#[tokio::test]
async fn appends_that_come_while_calls_are_under_way_go_together_in_their_order() {
    let (world, appends) = (World::new(), Appends::default());
    let mut servers = world.pool(1).await;
    world.create(&servers, "s", 1).await;
    let options = Options {
        repeat_for: Duration::from_secs(30),
        ..Options::default()
    };
    let mut gateway = world.gateway(options, world.connector(Role::Gateway, "gw-0"));
    gateway.caller.count_by(Arc::new(appends.clone()));
    gateway.place(1, &servers).await;
    let put = async |number: usize| {
        let put = gateway.put(0, number.to_string()).await;
        put.expect("durable");
    };
    // The first two are on their way until there is a server again.
    let store = servers.pop().expect("one").end().await;
    let serving = async {
        task::sleep(Duration::from_millis(100)).await;
        let server = [world.serve(store, group(0), 2).await];
        assert!(gateway.caller.place(POOL, (1, 2), &placed(&server)));
        server
    };
    let (_, _server) = join(join_all((0..50).map(put)), serving).await;
    let done = |outcome: &&Outcome| **outcome == Outcome::Done;
    let calls = appends.0.lock().iter().filter(done).count();
    assert!((1..=3).contains(&calls), "{calls} calls");
    let mut payloads = gateway.payloads("s", 0).await;
    payloads[..2].sort();
    let expected: Vec<String> = (0..50).map(|number: usize| number.to_string()).collect();
    assert_eq!(payloads, expected);
}

/// Panics the first few times that it is to count an append.
struct Panics(AtomicUsize);

impl Meter for Panics {
    fn called(&self, called: &Called) {
        let left = |left: usize| left.checked_sub(1);
        let order = Ordering::SeqCst;
        let panics = called.call == "Append" && self.0.fetch_update(order, order, left).is_ok();
        assert!(!panics, "a planted panic");
    }
}

#[tokio::test]
async fn a_call_that_panics_fails_its_own_appends_and_no_later_ones() {
    const PANICS: usize = 5;
    let world = World::new();
    let servers = world.pool(1).await;
    world.create(&servers, "s", 1).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    let panics = Arc::new(Panics(AtomicUsize::new(PANICS)));
    gateway.caller.count_by(panics);
    gateway.place(1, &servers).await;
    for number in 0..PANICS + 3 {
        let put = gateway.put(0, number.to_string());
        let put = task::timeout(Duration::from_secs(60), put).await;
        let put = put.expect("it is answered");
        let failed = number < PANICS;
        assert_eq!(put.err(), failed.then_some(Kind::Internal), "{number}");
    }
}

#[tokio::test]
async fn what_a_server_has_no_room_for_is_throttled_and_not_sent_again() {
    let (mut world, appends) = (World::new(), Appends::default());
    world.request_bytes = 2000;
    let servers = world.pool(1).await;
    world.create(&servers, "s", 1).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    gateway.caller.count_by(Arc::new(appends.clone()));
    gateway.place(1, &servers).await;
    let put = async |data: String| {
        let (scope, name) = (scope(), name("s"));
        let streams = &gateway.streams;
        let one = streams.put_record(&scope, &name, entry_at(0, data.clone()), None);
        one.await.map_err(|error| error.kind())?;
        let many = streams.put_records(&scope, &name, vec![entry_at(0, data)]);
        let many = many.await.map_err(|error| error.kind())?;
        many.results
            .into_iter()
            .next()
            .expect("one")
            .map_err(|error| error.kind())
    };
    assert_eq!(put("x".repeat(3000)).await.map(drop), Err(Kind::Throttled));
    assert_eq!(*appends.0.lock(), [Outcome::Overloaded]);
    put("y".to_owned()).await.expect("there is room for it");
    assert_eq!(gateway.payloads("s", 0).await, ["y", "y"]);
}

/// Has no room for every third append; the others take a moment.
#[derive(Default)]
struct OftenFull {
    came: AtomicUsize,
    refused: AtomicUsize,
}

impl Hooks for OftenFull {
    async fn append(&self, effect: impl Future<Output = Answers> + Send) -> Answers {
        if self.came.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::Overloaded);
        }
        task::sleep(Duration::from_millis(1)).await;
        effect.await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_small_appends_at_once_each_is_durable_once_or_throttled() {
    const CLIENTS: usize = 128;
    const PUTS: u32 = 5;
    let (world, appends) = (World::new(), Appends::default());
    let store = Arc::new(Hooked {
        store: MemoryStore::new(Arc::clone(&world.clock)),
        hooks: OftenFull::default(),
    });
    let servers = [world.serve(store, group(0), 1).await];
    world.create(&servers, "s", 4).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    gateway.caller.count_by(Arc::new(appends.clone()));
    gateway.place(1, &servers).await;
    let clients = (0..CLIENTS).map(|client| {
        let streams = gateway.streams.clone();
        task::spawn("client", async move {
            let mut results = Vec::new();
            for put in 0..PUTS {
                let data = format!("{client}-{put}");
                let entry = entry_at(key_of(put % 4, 4), data.clone());
                let (scope, name) = (scope(), name("s"));
                let put = streams.put_record(&scope, &name, entry, None).await;
                results.push((data, put.map_err(|error| error.kind())));
            }
            results
        })
    });
    let (mut durable, mut throttled) = (Vec::new(), 0);
    for client in clients.collect::<Vec<_>>() {
        for (data, put) in client.await.expect("no client panics") {
            match put {
                Ok(_) => durable.push(data),
                Err(kind) => {
                    assert_eq!(kind, Kind::Throttled, "{data}");
                    throttled += 1;
                },
            }
        }
    }
    let mut kept = Vec::new();
    for shard in 0..4 {
        kept.extend(gateway.payloads("s", shard).await);
    }
    kept.sort();
    durable.sort();
    assert_eq!(kept, durable, "what is durable was answered so, once");
    let hooks = &servers[0].store.hooks;
    assert_eq!(throttled, hooks.refused.load(Ordering::SeqCst));
    let came = hooks.came.load(Ordering::SeqCst);
    assert_eq!(came, CLIENTS * PUTS as usize, "none is sent again");
    let calls = appends.0.lock().len();
    assert!(calls < came / 4, "{calls} calls: they go together");
}
