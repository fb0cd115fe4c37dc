use std::sync::Arc;

use millstream_clock::{Clock, SystemClock, SystemEntropy};
use millstream_control::{Identity, Peer, PlacementVersion, Role};
use millstream_storage::memory::MemoryStore;
use millstream_stream::{Decision, Guests, Home, Options, PeerError, PeerGroups, TokenKey};
use millstream_types::{Epoch, Scope, ShardUid};
use parking_lot::Mutex;

use super::*;

fn streams() -> Streams<MemoryStore> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock)));
    let key = TokenKey::new([7; 32]);
    let entropy = Arc::new(SystemEntropy);
    Streams::open(store, Options::default(), clock, entropy, &key).expect("no rows yet")
}

fn desired(wanted: Wanted, made: bool) -> ShardDesired {
    let group = GroupId::new("team", "default", 0).expect("a group");
    let spec = StreamSpec::new("flights".parse().expect("a name"));
    ShardDesired {
        version: PlacementVersion::new(1, 2),
        placement: PlacementVersion::new(1, 1),
        group,
        peers: Vec::new(),
        streams: vec![HomedStream {
            uid: StreamUid(1),
            scope: Scope {
                account: "000000000001".parse().expect("an account"),
                region: "us-east-1".parse().expect("a region"),
            },
            name: spec.name.clone(),
            wanted,
            version: Version(1),
            spec: Some(spec),
            made,
        }],
    }
}

/// What other groups were asked to remove.
#[derive(Default)]
struct Asked(Mutex<Vec<(GroupId, StreamUid)>>);

impl PeerGroups for Asked {
    async fn open_shards(
        &self,
        _: &GroupId,
        _: Guests,
        _: Vec<ShardUid>,
        _: Option<Decision>,
    ) -> Result<Vec<ShardUid>, PeerError> {
        Err(PeerError::Failed("nothing is to be made".to_owned()))
    }

    async fn life(&self, _: &GroupId) -> Result<Epoch, PeerError> {
        Ok(Epoch(1))
    }

    async fn drop_shards(
        &self,
        group: &GroupId,
        stream: StreamUid,
        _: Option<Decision>,
    ) -> Result<(), PeerError> {
        self.0.lock().push((group.clone(), stream));
        Ok(())
    }
}

async fn phases(streams: &Streams<MemoryStore>, desired: &ShardDesired) -> Vec<StreamPhase> {
    let mut homes = Homes::default();
    homes.bring_about(streams, desired).await;
    let observed = homes.observed(streams);
    observed.iter().map(|stream| stream.phase).collect()
}

#[tokio::test]
async fn a_stream_that_was_made_is_not_made_again_on_an_empty_volume() {
    let streams = streams();
    let lost = phases(&streams, &desired(Wanted::Serve, true)).await;
    assert_eq!(lost, [StreamPhase::Lost]);
    assert!(streams.everything().is_empty());
    let given_up = phases(&streams, &desired(Wanted::Delete, true)).await;
    assert_eq!(given_up, [StreamPhase::Gone]);
}

#[tokio::test]
async fn a_lost_stream_is_gone_only_after_every_other_group_was_asked() {
    let streams = streams();
    let mut desired = desired(Wanted::Delete, true);
    let peer = |ordinal: u32| Peer {
        group: GroupId::new("team", "default", ordinal).expect("a group"),
        server: Identity::new("team", Role::Shard, &format!("pod-{ordinal}")).expect("a server"),
        address: "pod:4569".parse().expect("an address"),
        direct: None,
    };
    desired.peers = vec![peer(0), peer(1)];
    let unasked = phases(&streams, &desired).await;
    assert_eq!(unasked, [StreamPhase::Deleting]);
    let away = Arc::new(Asked::default());
    let home = GroupId::new("team", "default", 0).expect("a group");
    let mut home = Home::new(streams.clone(), home, Arc::clone(&away));
    assert_eq!(home.pass().await.waiting, 0);
    let asked = away.0.lock().clone();
    assert_eq!(asked, [(peer(1).group, StreamUid(1))]);
    let done = phases(&streams, &desired).await;
    assert_eq!(done, [StreamPhase::Gone]);
}

#[tokio::test]
async fn a_stream_without_a_specification_is_left_as_it_is_and_never_made() {
    let streams = streams();
    let mut desired = desired(Wanted::Serve, false);
    let spec = desired.streams[0].spec.take();
    let absent = phases(&streams, &desired).await;
    assert_eq!(absent, [StreamPhase::Creating]);
    assert!(
        streams.everything().is_empty(),
        "nothing says how to make it"
    );

    desired.streams[0].spec = spec.map(|spec| StreamSpec {
        retention_hours: 168,
        ..spec
    });
    let mut homes = Homes::default();
    homes.bring_about(&streams, &desired).await;
    desired.streams[0].spec = None;
    desired.streams[0].version = Version(0);
    homes.bring_about(&streams, &desired).await;
    let stream = streams.by_uid(StreamUid(1)).expect("made");
    assert_eq!(stream.settings().retention_hours, 168);
    let seen = &homes.observed(&streams)[0];
    assert_eq!(seen.message, None);
    assert_eq!(seen.version, Version(1), "it follows what it followed");
}

#[tokio::test]
async fn a_stream_of_another_account_follows_nothing_and_says_so() {
    let streams = streams();
    let mut desired = desired(Wanted::Serve, false);
    let mut homes = Homes::default();
    homes.bring_about(&streams, &desired).await;
    assert_eq!(homes.observed(&streams)[0].version, Version(1));
    let before = desired.streams[0].scope.clone();
    desired.streams[0].scope.account = "000000000002".parse().expect("an account");
    homes.bring_about(&streams, &desired).await;
    let observed = homes.observed(&streams).remove(0);
    assert_eq!(observed.scope, before);
    assert_eq!(observed.version, Version::default());
    let message = observed.message.expect("a message");
    assert!(message.contains("000000000001"), "{message}");
    assert!(message.contains("000000000002"), "{message}");

    desired.streams[0].scope = before;
    homes.bring_about(&streams, &desired).await;
    let observed = homes.observed(&streams).remove(0);
    assert_eq!((observed.message, observed.version), (None, Version(1)));
}

#[tokio::test]
async fn retained_records_are_not_taken_over_by_a_shorter_retention() {
    let streams = streams();
    let mut desired = desired(Wanted::Serve, false);
    let keeps = |desired: &mut ShardDesired, hours: u32| {
        let spec = desired.streams[0].spec.as_mut().expect("a spec");
        spec.retention_hours = hours;
    };
    keeps(&mut desired, 168);
    let mut homes = Homes::default();
    homes.bring_about(&streams, &desired).await;
    let group = desired.group.clone();
    let mut home = Home::new(streams.clone(), group, Arc::new(Emptied));
    home.pass().await;
    desired.streams[0].wanted = Wanted::Retain;
    homes.bring_about(&streams, &desired).await;
    let status = || streams.by_uid(StreamUid(1)).expect("there").status();
    assert_eq!(status(), Status::Retained);

    desired.streams[0].wanted = Wanted::Serve;
    keeps(&mut desired, 24);
    homes.bring_about(&streams, &desired).await;
    assert_eq!(status(), Status::Retained);
    let message = homes.observed(&streams).remove(0).message;
    let message = message.expect("a message");
    assert!(
        message.contains("168") && message.contains("24"),
        "{message}"
    );
    let hours = || {
        streams
            .by_uid(StreamUid(1))
            .expect("there")
            .settings()
            .retention_hours
    };
    assert_eq!(hours(), 168, "nothing was trimmed");

    keeps(&mut desired, 200);
    homes.bring_about(&streams, &desired).await;
    assert_ne!(status(), Status::Retained);
    assert_eq!(hours(), 200);
    // Lower it afterwards.
    keeps(&mut desired, 24);
    homes.bring_about(&streams, &desired).await;
    assert_eq!(hours(), 24);
}

#[tokio::test]
async fn a_stream_is_not_deleted_for_another_account() {
    let streams = streams();
    let mut desired = desired(Wanted::Serve, false);
    let mut homes = Homes::default();
    homes.bring_about(&streams, &desired).await;
    let before = desired.streams[0].scope.clone();
    desired.streams[0].wanted = Wanted::Delete;
    desired.streams[0].made = true;
    desired.streams[0].scope.account = "000000000002".parse().expect("an account");
    homes.bring_about(&streams, &desired).await;
    let stream = streams.by_uid(StreamUid(1)).expect("it is there");
    assert_ne!(stream.status(), Status::Deleting);
    let message = homes.observed(&streams).remove(0).message;
    assert!(message.expect("a message").contains("000000000002"));

    desired.streams[0].scope = before;
    homes.bring_about(&streams, &desired).await;
    let stream = streams.by_uid(StreamUid(1));
    assert!(stream.is_none_or(|stream| stream.status() == Status::Deleting));
}

/// Groups that have lost what they held before.
struct Emptied;

impl PeerGroups for Emptied {
    async fn open_shards(
        &self,
        _: &GroupId,
        _: Guests,
        opened_before: Vec<ShardUid>,
        _: Option<Decision>,
    ) -> Result<Vec<ShardUid>, PeerError> {
        Ok(opened_before)
    }

    async fn life(&self, _: &GroupId) -> Result<Epoch, PeerError> {
        Ok(Epoch(1))
    }

    async fn drop_shards(
        &self,
        _: &GroupId,
        _: StreamUid,
        _: Option<Decision>,
    ) -> Result<(), PeerError> {
        Ok(())
    }
}

#[tokio::test]
async fn shards_that_another_group_has_lost_are_named_in_the_report() {
    let streams = streams();
    let mut desired = desired(Wanted::Serve, false);
    let spec = desired.streams[0].spec.as_mut().expect("a specification");
    spec.shard_count = Some(9);
    let peer = |ordinal: u32| Peer {
        group: GroupId::new("team", "default", ordinal).expect("a group"),
        server: Identity::new("team", Role::Shard, &format!("pod-{ordinal}")).expect("a server"),
        address: "pod:4569".parse().expect("an address"),
        direct: None,
    };
    desired.peers = vec![peer(0), peer(1)];
    assert_eq!(phases(&streams, &desired).await, [StreamPhase::Creating]);
    let group = peer(0).group;
    let mut home = Home::new(streams.clone(), group.clone(), Arc::new(Emptied));
    home.pass().await;
    assert_eq!(phases(&streams, &desired).await, [StreamPhase::Active]);
    let mut next_life = Home::new(streams.clone(), group, Arc::new(Emptied));
    next_life.pass().await;

    let mut homes = Homes::default();
    homes.bring_about(&streams, &desired).await;
    let observed = homes.observed(&streams).remove(0);
    assert_eq!(observed.phase, StreamPhase::Damaged);
    let said = "shardId-000000000001, shardId-000000000003, shardId-000000000005, 1 more \
        in group team/default/1";
    let message = observed.message.expect("a message");
    assert!(message.contains(said), "{message}");
}

#[tokio::test]
async fn a_stream_that_was_never_made_is_begun() {
    let streams = streams();
    let begun = phases(&streams, &desired(Wanted::Serve, false)).await;
    assert_eq!(begun, [StreamPhase::Creating]);
}
