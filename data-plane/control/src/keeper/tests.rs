use std::collections::BTreeMap;

use millstream_link::Role;
use proptest::prelude::*;

use super::*;
use crate::desired::{Access, AccessKey, GatewayDesired, ShardDesired};
use crate::placement::Routes;
use crate::secret::Secret;

fn version(term: u64, counter: u64) -> PlacementVersion {
    PlacementVersion::new(term, counter)
}

fn server(role: Role) -> Identity {
    Identity::new("team-a", role, "server-0").expect("an identity")
}

fn shard(state: PlacementVersion, placement: PlacementVersion) -> DesiredState {
    DesiredState::Shard(ShardDesired {
        version: state,
        placement,
        group: "team-a/default/0".parse().expect("a group"),
        peers: Vec::new(),
        streams: Vec::new(),
    })
}

fn gateway(state: PlacementVersion, routes: &[(&str, PlacementVersion)]) -> DesiredState {
    DesiredState::Gateway(GatewayDesired {
        version: state,
        routes: routes
            .iter()
            .map(|(pool, version)| Routes {
                pool: pool.parse().expect("a pool"),
                version: *version,
                groups: BTreeMap::new(),
                streams: Vec::new(),
            })
            .collect(),
        pools: None,
        access: Access {
            access_keys: vec![AccessKey {
                id: "AKIA1".to_owned(),
                secret: Secret::new("hunter2".to_owned()),
                account: "000000000001".parse().expect("an account"),
            }],
            ..Access::default()
        },
        gateways: 1,
    })
}

fn keeper(role: Role, store: &MemoryStore) -> Keeper {
    Keeper::open(server(role), Box::new(store.clone())).expect("a readable store")
}

#[test]
fn a_newer_state_is_taken_and_outlasts_a_restart() {
    let store = MemoryStore::default();
    let mut first = keeper(Role::Shard, &store);
    assert!(first.held().is_none());
    let state = shard(version(1, 2), version(1, 1));
    assert_eq!(first.offer(state.clone()).expect("new"), Offer::Taken);
    assert_eq!(first.offer(state.clone()).expect("a replay"), Offer::Known);
    let again = keeper(Role::Shard, &store);
    assert_eq!(again.held().map(|held| &**held), Some(&state));
}

#[test]
fn an_older_state_is_refused_after_a_restart_too() {
    let store = MemoryStore::default();
    let state = shard(version(2, 1), version(2, 1));
    keeper(Role::Shard, &store)
        .offer(state.clone())
        .expect("new");
    let mut again = keeper(Role::Shard, &store);
    // a deposed leader counts on in its own term
    let stale = again.offer(shard(version(1, 99), version(1, 99)));
    assert!(matches!(stale, Err(KeepError::Stale { .. })), "{stale:?}");
    assert_eq!(again.held().map(|held| &**held), Some(&state));
}

#[test]
fn an_older_placement_in_a_newer_state_is_refused() {
    let store = MemoryStore::default();
    let mut keeper = keeper(Role::Gateway, &store);
    let held = gateway(
        version(2, 5),
        &[("a/p", version(2, 4)), ("b/p", version(2, 3))],
    );
    keeper.offer(held.clone()).expect("new");
    let stale = keeper.offer(gateway(version(2, 6), &[("b/p", version(2, 2))]));
    assert!(
        matches!(stale, Err(KeepError::StalePlacement { .. })),
        "{stale:?}"
    );
    assert_eq!(keeper.held().map(|state| &**state), Some(&held));
    let fewer = gateway(version(2, 7), &[("b/p", version(2, 3))]);
    assert_eq!(keeper.offer(fewer).expect("a pool is gone"), Offer::Taken);
}

#[test]
fn a_state_for_somebody_else_is_refused() {
    let store = MemoryStore::default();
    let mut keeper = keeper(Role::Shard, &store);
    let wrong = keeper.offer(gateway(version(1, 1), &[]));
    assert!(matches!(wrong, Err(KeepError::NotOurs { .. })), "{wrong:?}");
    keeper
        .offer(shard(version(1, 1), version(1, 1)))
        .expect("ours");
    let DesiredState::Shard(mut other) = shard(version(1, 2), version(1, 2)) else {
        panic!("a shard's");
    };
    other.group = "team-a/default/1".parse().expect("a group");
    let wrong = keeper.offer(DesiredState::Shard(other));
    assert!(matches!(wrong, Err(KeepError::NotOurs { .. })), "{wrong:?}");
}

#[test]
fn what_cannot_be_kept_does_not_hold() {
    struct Full;
    impl StateStore for Full {
        fn load(&self) -> io::Result<Option<Vec<u8>>> {
            Ok(None)
        }
        fn save(&self, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
    let mut keeper = Keeper::open(server(Role::Shard), Box::new(Full)).expect("empty");
    let refused = keeper.offer(shard(version(1, 1), version(1, 1)));
    assert!(matches!(refused, Err(KeepError::Io(_))), "{refused:?}");
    assert!(keeper.held().is_none());
}

#[test]
fn a_file_is_whole_private_and_checked() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("node");
    let store = || Box::new(FileStore::new(&inner, "desired-state.attached"));
    let state = gateway(version(3, 1), &[]);
    let mut keeper = Keeper::open(server(Role::Gateway), store()).expect("no file yet");
    keeper.offer(state.clone()).expect("new");
    let path = inner.join("desired-state.attached");
    let mode = std::fs::metadata(&path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = Keeper::open(server(Role::Gateway), store()).expect("a good file");
    assert_eq!(again.held().map(|held| &**held), Some(&state));

    let mut bytes = std::fs::read(&path).expect("a file");
    for at in 0..bytes.len() {
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).expect("written");
        let broken = Keeper::open(server(Role::Gateway), store());
        assert!(
            matches!(broken, Err(KeepError::Corrupt(_))),
            "byte {at}: {broken:?}"
        );
        bytes[at] ^= 1;
    }
}

#[test]
fn secrets_are_kept_and_not_shown() {
    let state = gateway(version(1, 1), &[]);
    assert!(!format!("{state:?}").contains("hunter2"));
    let text = serde_json::to_string(&state).expect("JSON");
    assert!(text.contains("hunter2"));
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    /// Whatever comes in whatever order, what is held never goes back, and a restart finds it.
    #[test]
    fn what_is_held_never_goes_back(
        offers in prop::collection::vec((0..3_u64, 0..6_u64, 0..3_u64, 0..6_u64, any::<bool>()), 1..40)
    ) {
        let store = MemoryStore::default();
        let mut keeper = keeper(Role::Shard, &store);
        let mut highest = (version(0, 0), version(0, 0));
        for (term, counter, placement_term, placement_counter, restart) in offers {
            if restart {
                keeper = Keeper::open(server(Role::Shard), Box::new(store.clone())).expect("a good store");
            }
            let offered = (version(term, counter), version(placement_term, placement_counter));
            let outcome = keeper.offer(shard(offered.0, offered.1));
            let newer = offered.0 >= highest.0 && offered.1 >= highest.1;
            prop_assert_eq!(outcome.is_ok(), newer);
            if newer {
                highest = offered;
            }
            if let Some(held) = keeper.held() {
                prop_assert_eq!(held.version(), highest.0);
            }
        }
    }
}
