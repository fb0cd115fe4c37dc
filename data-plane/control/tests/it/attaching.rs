//! Staying attached to whoever leads.

use std::sync::Arc;
use std::time::Duration;

use millstream_clock::task;
use millstream_control::{DesiredState, MemoryStore, ObservedState, PlacementVersion};
use millstream_link::testkit::Claim;
use millstream_link::{Identity, Role};

use crate::bed::{Operator, Server, identity, in_time, network, shard};

fn shard_0() -> Identity {
    identity(Role::Shard, "shard-0")
}

fn version(term: u64, counter: u64) -> PlacementVersion {
    PlacementVersion::new(term, counter)
}

#[tokio::test(start_paused = true)]
async fn a_server_reports_and_is_told() {
    let pipes = network(&["op-0:4570"]);
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let server = Server::claiming(&pipes, &shard_0(), &MemoryStore::default());
    let mut session = operator.session().await;
    assert_eq!(session.server, shard_0());
    let first = in_time(session.observed.recv()).await.expect("a report");
    assert_eq!((first.server, first.desired), (shard_0(), None));

    session.desired.send_replace(Some(shard(1, 1)));
    assert_eq!(server.holds(version(1, 1)).await, version(1, 1));
    let second = in_time(session.observed.recv())
        .await
        .expect("what it goes by");
    assert_eq!(second.desired, Some(version(1, 1)));

    server
        .observed
        .send_modify(|state| state.health.ready = true);
    let third = in_time(session.observed.recv()).await.expect("a change");
    assert!(third.health.ready);
    assert!(server.handle.is_attached());
    server.stop.send_replace(true);
    assert!(
        in_time(session.observed.recv()).await.is_none(),
        "it has left"
    );
}

#[tokio::test(start_paused = true)]
async fn a_standby_is_passed_over() {
    let pipes = network(&["op-0:4570", "op-1:4570", "nobody:4570"]);
    let mut standby = Operator::claiming(&pipes, "op-0:4570");
    let mut leader = Operator::claiming(&pipes, "op-1:4570");
    standby.lead(false);
    let server = Server::claiming(&pipes, &shard_0(), &MemoryStore::default());
    let session = leader.session().await;
    session.desired.send_replace(Some(shard(1, 1)));
    server.holds(version(1, 1)).await;
    assert!(standby.sessions.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_server_follows_the_leader() {
    let pipes = network(&["op-0:4570", "op-1:4570"]);
    let mut first = Operator::claiming(&pipes, "op-0:4570");
    let mut second = Operator::claiming(&pipes, "op-1:4570");
    second.lead(false);
    let server = Server::claiming(&pipes, &shard_0(), &MemoryStore::default());
    let session = first.session().await;
    session.desired.send_replace(Some(shard(1, 7)));
    server.holds(version(1, 7)).await;

    first.lead(false);
    second.lead(true);
    drop(session);
    let mut session = second.session().await;
    let report = in_time(session.observed.recv()).await.expect("a report");
    assert_eq!(report.desired, Some(version(1, 7)));
    session.desired.send_replace(Some(shard(2, 1)));
    assert_eq!(server.holds(version(2, 1)).await, version(2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stale_state_is_refused_and_its_leader_left() {
    let pipes = network(&["op-0:4570"]);
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let server = Server::claiming(&pipes, &shard_0(), &MemoryStore::default());
    let session = operator.session().await;
    session.desired.send_replace(Some(shard(2, 3)));
    server.holds(version(2, 3)).await;
    session.desired.send_replace(Some(shard(1, 9)));
    in_time(session.desired.closed()).await;

    // it comes back, and goes by what it went by
    let mut again = operator.session().await;
    let report = in_time(again.observed.recv()).await.expect("a report");
    assert_eq!(report.desired, Some(version(2, 3)));
    assert_eq!(server.holds(version(0, 0)).await, version(2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_replay_changes_nothing() {
    let pipes = network(&["op-0:4570"]);
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let server = Server::claiming(&pipes, &shard_0(), &MemoryStore::default());
    let mut session = operator.session().await;
    session.desired.send_replace(Some(shard(1, 1)));
    server.holds(version(1, 1)).await;
    let mut desired = server.handle.desired();
    desired.mark_unchanged();
    in_time(session.observed.recv())
        .await
        .expect("the first report");
    in_time(session.observed.recv())
        .await
        .expect("what it goes by");

    session.desired.send_replace(Some(shard(1, 1)));
    session.desired.send_replace(Some(shard(1, 1)));
    server
        .observed
        .send_modify(|state| state.health.ready = true);
    let report = in_time(session.observed.recv()).await.expect("a report");
    assert_eq!(report.desired, Some(version(1, 1)));
    assert!(!desired.has_changed().expect("the server runs"));
}

#[tokio::test(start_paused = true)]
async fn without_an_operator_the_last_state_holds_after_a_restart_too() {
    let pipes = network(&["op-0:4570"]);
    let disk = MemoryStore::default();
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let server = Server::claiming(&pipes, &shard_0(), &disk);
    let session = operator.session().await;
    session.desired.send_replace(Some(shard(1, 4)));
    server.holds(version(1, 4)).await;
    drop((server, session, operator));

    let nobody = network(&[]);
    let again = Server::claiming(&nobody, &shard_0(), &disk);
    let held: Option<Arc<DesiredState>> = again.handle.desired().borrow().clone();
    assert_eq!(held.map(|state| state.version()), Some(version(1, 4)));
    task::sleep(Duration::from_secs(60)).await;
    assert!(!again.handle.is_attached());
    assert_eq!(again.holds(version(0, 0)).await, version(1, 4));
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_comes_late_is_found() {
    let pipes = network(&["op-0:4570"]);
    let server = Server::claiming(&pipes, &shard_0(), &MemoryStore::default());
    task::sleep(Duration::from_secs(300)).await;
    assert!(!server.handle.is_attached());
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    operator
        .session()
        .await
        .desired
        .send_replace(Some(shard(1, 1)));
    server.holds(version(1, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_role_is_not_attached() {
    let pipes = network(&["op-0:4570"]);
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let intruder = identity(Role::Operator, "op-9");
    let _intruder = Server::claiming(&pipes, &intruder, &MemoryStore::default());
    let nobody = Claim::new(pipes.clone(), None);
    let disk = MemoryStore::default();
    let _nobody = Server::start(&pipes, Arc::new(nobody), &shard_0(), &disk);
    task::sleep(Duration::from_secs(30)).await;
    assert!(operator.sessions.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_report_in_another_name_ends_the_session() {
    let pipes = network(&["op-0:4570"]);
    let mut operator = Operator::claiming(&pipes, "op-0:4570");
    let server = Server::claiming(&pipes, &shard_0(), &MemoryStore::default());
    let mut session = operator.session().await;
    in_time(session.observed.recv())
        .await
        .expect("its own report");
    let other = ObservedState::starting(identity(Role::Shard, "shard-1"));
    server.observed.send_replace(other);
    assert_eq!(in_time(session.observed.recv()).await, None);
}
