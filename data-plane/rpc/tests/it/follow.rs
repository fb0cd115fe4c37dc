//! A gateway's copy of the catalogues.

use millstream_link::Role;
use millstream_rpc::{Options, Seen};
use millstream_stream::{SettingsChange, Status};
use millstream_types::Epoch;

use crate::cluster::{Gateway, POOL, World, group, name, placed, scope};

async fn until(gateway: &Gateway, is: impl Fn(&Gateway) -> bool) {
    let mut watcher = gateway.streams.watch();
    while !is(gateway) {
        watcher.next().await;
    }
}

/// Waits until the gateway says that it has followed the first group so far.
async fn catches_up(gateway: &Gateway, changes: u64) {
    let there = Seen {
        epoch: Epoch(1),
        changes,
    };
    let mut seen = gateway.seen.clone();
    let reached = seen.wait_for(|all| all.get(&group(0)) == Some(&there));
    drop(reached.await.expect("the follower lives"));
}

fn status(gateway: &Gateway, text: &str) -> Option<Status> {
    let stream = gateway.streams.get(&scope(), &name(text));
    stream.ok().map(|stream| stream.status())
}

#[tokio::test]
async fn creation_change_and_removal_reach_a_gateway() {
    let world = World::new();
    let servers = world.pool(2).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    assert!(gateway.streams.all().is_empty());
    world.create(&servers, "s", 2).await;
    until(&gateway, |g| status(g, "s") == Some(Status::Active)).await;
    let change = SettingsChange {
        retention_hours: Some(48),
        ..SettingsChange::default()
    };
    let changed = servers[0]
        .streams
        .update(&scope(), &name("s"), change)
        .await;
    let uid = changed.expect("changed").uid();
    let hours = |g: &Gateway| {
        let stream = g.streams.get(&scope(), &name("s")).ok()?;
        Some(stream.settings().retention_hours)
    };
    until(&gateway, |g| hours(g) == Some(48)).await;
    servers[0].streams.begin_delete(uid).await.expect("begun");
    until(&gateway, |g| status(g, "s") == Some(Status::Deleting)).await;
}

#[tokio::test]
async fn streams_of_a_server_that_is_away_stay_as_they_were() {
    let world = World::new();
    let mut servers = world.pool(2).await;
    world.create(&servers, "s", 2).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    let home = servers.remove(0);
    let store = home.end().await;
    assert_eq!(status(&gateway, "s"), Some(Status::Active));
    // Its next life tells of them again, and of what was done since.
    let next = world.serve(store, group(0), 2).await;
    let uid = next.streams.all()[0].uid();
    next.streams.begin_delete(uid).await.expect("begun");
    servers.push(next);
    assert!(gateway.caller.place(POOL, (1, 2), &placed(&servers)));
    until(&gateway, |g| status(g, "s") == Some(Status::Deleting)).await;
}

#[tokio::test]
async fn a_follower_says_how_far_it_is_and_then_knows_as_much_as_its_server() {
    let world = World::new();
    let servers = world.pool(2).await;
    world.create(&servers, "s", 2).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    catches_up(&gateway, servers[0].streams.changes()).await;
    assert_eq!(status(&gateway, "s"), Some(Status::Active));
    let uid = servers[0].streams.all()[0].uid();
    let before = servers[0].streams.changes();
    servers[0].streams.begin_delete(uid).await.expect("begun");
    assert!(servers[0].streams.changes() > before);
    catches_up(&gateway, servers[0].streams.changes()).await;
    assert_eq!(status(&gateway, "s"), Some(Status::Deleting));
}

#[tokio::test]
async fn a_group_that_is_no_more_takes_its_streams_along() {
    let world = World::new();
    let mut servers = world.pool(2).await;
    world.create(&servers, "s", 2).await;
    let mut gateway = world.gateway(Options::default(), world.connector(Role::Gateway, "gw-0"));
    gateway.place(1, &servers).await;
    servers.remove(0);
    assert!(gateway.caller.place(POOL, (1, 2), &placed(&servers)));
    until(&gateway, |g| status(g, "s").is_none()).await;
    assert_eq!(gateway.seen.borrow().len(), 1);
}
