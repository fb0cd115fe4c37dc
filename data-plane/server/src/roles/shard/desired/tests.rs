use std::sync::Arc;

use millstream_clock::{Clock, SystemClock, SystemEntropy};
use millstream_control::PlacementVersion;
use millstream_storage::memory::MemoryStore;
use millstream_stream::{Options, TokenKey};
use millstream_types::Scope;

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
async fn a_stream_that_was_never_made_is_begun() {
    let streams = streams();
    let begun = phases(&streams, &desired(Wanted::Serve, false)).await;
    assert_eq!(begun, [StreamPhase::Creating]);
}
