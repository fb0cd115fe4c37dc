//! What is repeated and what is not: new lives of writers, old routes, lost answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use millstream_clock::task;
use millstream_link::tls::TlsConnector;
use millstream_link::{Endpoint, Role};
use millstream_rpc::Options;
use millstream_storage::ShardStore as _;
use millstream_storage::memory::MemoryStore;
use millstream_storage::testkit::{Answers, Hooked, Hooks};
use millstream_stream::Kind;

use crate::cluster::{
    Cuttable, POOL, World, entry_at, group, key_of, name, placed, scope, server_of,
};

#[tokio::test]
async fn a_gateway_goes_on_with_a_writer_in_its_next_life_elsewhere() {
    let world = World::new();
    let mut servers = world.pool(2).await;
    world.create(&servers, "s", 2).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    gateway.put(key_of(1, 2), "a").await.expect("durable");
    let store = servers.pop().expect("two").end().await;
    servers.push(world.serve(store, group(1), 2).await);
    // The put waits for the new route, which comes while it is refused.
    let caller = gateway.caller.clone();
    let after = placed(&servers);
    let placing = task::spawn("place", async move {
        task::sleep(Duration::from_millis(50)).await;
        assert!(caller.place(POOL, (1, 2), &after));
    });
    let put = gateway.put(key_of(1, 2), "b").await;
    put.expect("durable in the next life");
    placing.await.expect("placed");
    assert_eq!(gateway.payloads("s", 1).await, ["a", "b"]);
}

#[tokio::test]
async fn a_server_that_does_not_hold_the_group_refuses_and_nothing_is_done() {
    let world = World::new();
    let servers = world.pool(2).await;
    world.create(&servers, "s", 2).await;
    let options = Options {
        repeat_for: Duration::from_millis(100),
        ..Options::default()
    };
    let mut gateway = world.gateway(options, world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    let mut wrong = placed(&servers);
    wrong.insert(group(1), servers[0].endpoint());
    assert!(gateway.caller.place(POOL, (1, 2), &wrong));
    let put = || gateway.put(key_of(1, 2), "a");
    assert_eq!(put().await, Err(Kind::Internal), "not its owner");
    // An older placement is refused, the next one heals.
    assert!(!gateway.caller.place(POOL, (1, 1), &placed(&servers)));
    assert!(gateway.caller.place(POOL, (1, 3), &placed(&servers)));
    put().await.expect("durable");
    assert_eq!(gateway.payloads("s", 1).await, ["a"]);
}

#[tokio::test]
async fn a_server_that_has_got_the_address_of_another_is_not_called() {
    let world = World::new();
    let servers = world.pool(2).await;
    world.create(&servers, "s", 2).await;
    let options = Options {
        repeat_for: Duration::from_millis(100),
        ..Options::default()
    };
    let mut gateway = world.gateway(options, world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    let put = || gateway.put(key_of(0, 2), "a");
    put().await.expect("its own server");
    // The address is that of the group's server, and the pod that is meant is another.
    let mut moved = placed(&servers);
    let meant = server_of(&group(1));
    moved.insert(group(0), Endpoint::of(servers[0].address.clone(), meant));
    assert!(gateway.caller.place(POOL, (1, 2), &moved));
    assert_eq!(put().await, Err(Kind::Internal), "another");
    let shard = servers[0].store.shards()[0];
    let next = servers[0].store.status_now(shard).map(|status| status.next);
    assert_eq!(next, Some(2), "nothing was sent");
}

#[tokio::test]
async fn a_writer_of_an_earlier_life_is_not_asked_once_a_later_one_is_known() {
    let world = World::new();
    let servers = world.pool(1).await;
    world.create(&servers, "s", 1).await;
    let options = Options {
        repeat_for: Duration::from_millis(100),
        ..Options::default()
    };
    let mut gateway = world.gateway(options, world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    let later = world
        .serve(Arc::clone(&servers[0].store), group(0), 2)
        .await;
    let later = [later];
    assert!(gateway.caller.place(POOL, (1, 2), &placed(&later)));
    gateway.put(0, "a").await.expect("durable");
    // A route to the earlier life again: it serves, and it is refused.
    assert!(gateway.caller.place(POOL, (1, 3), &placed(&servers)));
    let put = gateway.put(0, "b").await;
    assert_eq!(put, Err(Kind::Internal), "a zombie");
    let store = &servers[0].store;
    let next = store
        .status_now(store.shards()[0])
        .map(|status| status.next);
    assert_eq!(next, Some(2));
}

/// Cuts the connection after an append is durable and before it is answered.
struct Cutting {
    cut: Arc<AtomicBool>,
    armed: AtomicBool,
    appends: AtomicUsize,
}

impl Hooks for Cutting {
    async fn append(&self, effect: impl Future<Output = Answers> + Send) -> Answers {
        self.appends.fetch_add(1, Ordering::SeqCst);
        let answer = effect.await;
        if self.armed.load(Ordering::SeqCst) {
            self.cut.store(true, Ordering::SeqCst);
        }
        answer
    }
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_is_never_sent_again() {
    let world = World::new();
    let plain = Cuttable::new();
    let store = Arc::new(Hooked {
        store: MemoryStore::new(Arc::clone(&world.clock)),
        hooks: Cutting {
            cut: Arc::clone(&plain.cut),
            armed: AtomicBool::new(false),
            appends: AtomicUsize::new(0),
        },
    });
    let servers = [world.serve(store, group(0), 1).await];
    world.create(&servers, "s", 1).await;
    let keys = world.keys(Role::Gateway, "gw-0");
    let connector = TlsConnector::new(Arc::new(plain.clone()), keys);
    let mut gateway = world.gateway(Options::default(), Arc::new(connector));
    gateway.place(1, &servers).await;
    let hooks = &servers[0].store.hooks;
    let put = async |data: &str| {
        let entries = vec![entry_at(0, data.to_owned())];
        let put = gateway
            .streams
            .put_records(&scope(), &name("s"), entries)
            .await;
        put.expect("an answer").results.remove(0)
    };
    put("a").await.expect("durable");
    hooks.armed.store(true, Ordering::SeqCst);
    assert_eq!(put("b").await.expect_err("unknown").kind(), Kind::Internal);
    assert_eq!(hooks.appends.load(Ordering::SeqCst), 2, "sent once");
    hooks.armed.store(false, Ordering::SeqCst);
    plain.cut.store(false, Ordering::SeqCst);
    put("c").await.expect("durable over a new connection");
    // The one in doubt was durable, and is there once.
    assert_eq!(gateway.payloads("s", 0).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_read_whose_answer_is_lost_is_asked_again() {
    let world = World::new();
    let servers = world.pool(1).await;
    world.create(&servers, "s", 1).await;
    let plain = Cuttable::new();
    let keys = world.keys(Role::Gateway, "gw-0");
    let connector = TlsConnector::new(Arc::new(plain.clone()), keys);
    let mut gateway = world.gateway(Options::default(), Arc::new(connector));
    gateway.place(1, &servers).await;
    gateway.put(0, "a").await.expect("durable");
    plain.cut.store(true, Ordering::SeqCst);
    let healed = Arc::clone(&plain.cut);
    let healing = task::spawn("heal", async move {
        task::sleep(Duration::from_millis(100)).await;
        healed.store(false, Ordering::SeqCst);
    });
    assert_eq!(gateway.payloads("s", 0).await, ["a"]);
    healing.await.expect("healed");
}
