//! What is stored and sent, byte for byte: the formats of `docs/formats/`.

use std::collections::BTreeMap;

use millstream_control::{
    Access, AccessKey, CataloguePoint, Counters, DesiredState, GatewayDesired, Health, Home,
    HomedStream, Keeper, MemoryStore, ObservedState, ObservedStream, Peer, Placement,
    PlacementVersion, Routes, Seat, Secret, ShardDesired, StateStore as _, StreamPhase, StreamSpec,
    Version, Wanted,
};
use millstream_link::Role;
use millstream_types::{Epoch, Scope, StreamUid};
use serde_json::Value;

use crate::bed::identity;

const PLACEMENT: &str = include_str!("../golden/placement-v1.json");
const SHARD: &str = include_str!("../golden/attached-desired-state-shard-v1");
const GATEWAY: &str = include_str!("../golden/attached-desired-state-gateway-v1");
const OBSERVED: &str = include_str!("../golden/observed-state-v1.json");

fn scope() -> Scope {
    Scope {
        account: "000000000001".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    }
}

fn seat(ordinal: u32) -> Seat {
    let pod = format!("millstream-shard-default-{ordinal}");
    Seat {
        address: format!("{pod}.millstream-shard-default.team-a.svc:4569")
            .parse()
            .expect("an address"),
        // that of the first pod is not known
        direct: (ordinal > 0).then(|| "10.0.0.7:4569".parse().expect("an address")),
        pod,
    }
}

fn placement() -> Placement {
    let home = Home {
        group: 1,
        scope: scope(),
        name: "orders".parse().expect("a name"),
        made: false,
    };
    Placement {
        pool: "team-a/default".parse().expect("a pool"),
        version: PlacementVersion::new(3, 7),
        groups: BTreeMap::from([(0, seat(0)), (1, seat(1))]),
        homes: BTreeMap::from([(StreamUid(0x0123_4567_89ab_cdef), home)]),
    }
}

fn stream(uid: u128, wanted: Wanted) -> HomedStream {
    let mut spec = StreamSpec::new("orders".parse().expect("a name"));
    spec.shard_count = Some(4);
    spec.tags = Some(BTreeMap::from([("team".to_owned(), "a".to_owned())]));
    HomedStream {
        uid: StreamUid(uid),
        scope: scope(),
        name: spec.name.clone(),
        wanted,
        version: Version(2),
        spec: (wanted != Wanted::Retain).then_some(spec),
        made: false,
    }
}

fn shard() -> DesiredState {
    let placement = placement();
    let peers = placement.groups.iter().map(|(ordinal, seat)| Peer {
        group: placement.pool.group(*ordinal),
        server: seat.identity(&placement.pool).expect("an identity"),
        address: seat.address.clone(),
        direct: seat.direct.clone(),
    });
    DesiredState::Shard(ShardDesired {
        version: PlacementVersion::new(3, 9),
        placement: placement.version,
        group: placement.pool.group(1),
        peers: peers.collect(),
        streams: vec![
            stream(1, Wanted::Serve),
            stream(2, Wanted::Retain),
            stream(3, Wanted::Delete),
        ],
    })
}

fn gateway() -> DesiredState {
    DesiredState::Gateway(GatewayDesired {
        version: PlacementVersion::new(3, 10),
        routes: vec![Routes::from(&placement())],
        pools: None,
        access: Access {
            access_keys: vec![AccessKey {
                id: "AKIDEXAMPLE".to_owned(),
                secret: Secret::new("not a secret".to_owned()),
                account: "000000000001".parse().expect("an account"),
            }],
            accounts: BTreeMap::from([(
                "team-a".to_owned(),
                "000000000001".parse().expect("an account"),
            )]),
            token_key: Some(Secret::new("00".repeat(32))),
        },
        gateways: 2,
    })
}

fn observed() -> ObservedState {
    let group = placement().pool.group(1);
    ObservedState {
        server: identity(Role::Shard, "millstream-shard-default-1"),
        desired: Some(PlacementVersion::new(3, 9)),
        group: Some(group.clone()),
        epoch: Epoch(5),
        health: Health {
            ready: false,
            reason: Some("the group is being opened".to_owned()),
        },
        streams: vec![ObservedStream {
            uid: StreamUid(1),
            scope: scope(),
            name: "orders".parse().expect("a name"),
            phase: StreamPhase::Creating,
            version: Version(2),
            shard_count: 4,
            groups: vec![group],
            message: None,
        }],
        catalogue: Some(CataloguePoint {
            epoch: Epoch(5),
            changes: 12,
        }),
        catalogues: None,
        counters: Counters {
            records_in: 10,
            bytes_in: 1000,
            ..Counters::default()
        },
    }
}

#[test]
fn version_1_of_a_placement_is_written_and_read_as_in_the_golden_file() {
    assert_eq!(
        placement().to_json().expect("it fits"),
        PLACEMENT.trim_end()
    );
    let read = Placement::from_json(PLACEMENT.trim_end());
    assert_eq!(read.expect("a placement"), placement());
}

#[test]
fn version_1_of_a_kept_desired_state_is_written_and_read_as_in_the_golden_files() {
    let shard_server = identity(Role::Shard, "millstream-shard-default-1");
    let gateway_server = identity(Role::Gateway, "gateway-x");
    for (server, state, golden) in [
        (shard_server, shard(), SHARD),
        (gateway_server, gateway(), GATEWAY),
    ] {
        let disk = MemoryStore::default();
        let mut keeper = Keeper::open(server.clone(), Box::new(disk.clone())).expect("empty");
        keeper.offer(state.clone()).expect("new");
        let written = disk.load().expect("memory").expect("it was kept");
        assert_eq!(String::from_utf8(written).expect("a text"), golden);

        disk.save(golden.as_bytes()).expect("memory");
        let read = Keeper::open(server, Box::new(disk)).expect("a good file");
        assert_eq!(read.held().map(|held| &**held), Some(&state));
    }
}

#[test]
fn a_report_is_written_and_read_as_in_the_golden_file() {
    let written = serde_json::to_string(&observed()).expect("JSON");
    assert_eq!(written, OBSERVED.trim_end());
    let read: ObservedState = serde_json::from_str(OBSERVED).expect("a report");
    assert_eq!(read, observed());
}

#[test]
fn a_gateway_says_how_far_it_has_followed_each_group_in_few_bytes() {
    let group = placement().pool.group(1);
    let point = CataloguePoint {
        epoch: Epoch(5),
        changes: 12,
    };
    let mut state = ObservedState::starting(identity(Role::Gateway, "gateway-x"));
    state.catalogues = Some(BTreeMap::from([(group, point)]));
    let written = serde_json::to_value(&state).expect("JSON");
    let catalogues = r#"{"team-a/default/1":{"epoch":5,"changes":12}}"#;
    assert_eq!(written["catalogues"].to_string().len(), catalogues.len());
    assert_eq!(
        written["catalogues"],
        serde_json::from_str::<Value>(catalogues).expect("JSON")
    );
    let read: ObservedState = serde_json::from_value(written).expect("a report");
    assert_eq!(read, state);
}

#[test]
fn what_a_later_program_adds_is_ignored() {
    let state = serde_json::to_value(shard()).expect("JSON");
    let read: DesiredState = serde_json::from_value(with_more(state)).expect("a state");
    assert_eq!(read, shard());
    let mut report = serde_json::to_value(observed()).expect("JSON");
    report["streams"][0]["phase"] = "resharding".into();
    let read: ObservedState = serde_json::from_value(with_more(report)).expect("a report");
    assert_eq!(read.streams[0].phase, StreamPhase::Unknown);
    assert_eq!(read.counters, observed().counters);
}

#[test]
fn what_an_earlier_program_leaves_out_is_absent() {
    let least = r#"{"server":"millstream://team-a/gateway/gateway-x","health":{"ready":true}}"#;
    let read: ObservedState = serde_json::from_str(least).expect("a report");
    assert_eq!(
        (read.desired, read.group, read.epoch),
        (None, None, Epoch(0))
    );
    assert_eq!((read.catalogue, read.catalogues), (None, None));
}

/// The value with a field more in each object, but for the maps of a user's own keys.
fn with_more(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let value = if name == "tags" {
                    value
                } else {
                    with_more(value)
                };
                (name, value)
            });
            fields
                .chain([("of_a_later_program".to_owned(), Value::from(1))])
                .collect()
        },
        Value::Array(items) => items.into_iter().map(with_more).collect(),
        other => other,
    }
}

#[test]
fn what_a_gateway_is_told_of_pools_and_streams_may_be_absent() {
    let DesiredState::Gateway(mut state) = gateway() else {
        panic!("a gateway's");
    };
    let mut placement = placement();
    let (uid, home) = placement.homes.iter_mut().next().expect("a stream");
    home.made = true;
    let (uid, name) = (*uid, home.name.clone());
    let unsaid = serde_json::to_value(&state).expect("JSON");
    assert!(unsaid.get("pools").is_none() && unsaid["routes"][0].get("streams").is_none());
    assert_eq!(
        serde_json::from_value::<GatewayDesired>(unsaid).ok(),
        Some(state.clone())
    );

    state.routes = vec![Routes::serving(&placement, |served| served == uid)];
    state.pools = Some([placement.pool.clone()].into());
    let said = serde_json::to_value(&state).expect("JSON");
    assert_eq!(
        said["pools"],
        serde_json::json!([placement.pool.to_string()])
    );
    let scope = scope();
    let streams = serde_json::json!([{
        "scope": {"account": scope.account.as_str(), "region": scope.region.as_str()},
        "names": [name.as_str()],
    }]);
    assert_eq!(said["routes"][0]["streams"], streams);
    assert_eq!(
        serde_json::from_value::<GatewayDesired>(said).ok(),
        Some(state)
    );
}
