//! Where homes go, and how one is learned again.

use super::*;

#[test]
fn homes_go_to_the_group_with_the_fewest_and_stay() {
    let mut leader = settled();
    let streams: Vec<_> = (1..=5).map(|uid| stream(uid, "a/p")).collect();
    leader.feed(Input::Streams(streams.clone()));
    assert_eq!(
        leader.homes("a/p"),
        [(1, 0), (2, 1), (3, 2), (4, 0), (5, 1)]
    );
    let told = leader.told(&server("a/p", 1)).expect("told");
    let uids: Vec<u128> = told.streams.iter().map(|s| s.uid.0).collect();
    assert_eq!(uids, [2, 5]);
    assert_eq!(told.peers.len(), 3);

    // a stream less, a stream more: nobody moves
    let mut fewer = streams;
    fewer.remove(0);
    fewer.push(stream(9, "a/p"));
    leader.feed(Input::Streams(fewer));
    assert_eq!(
        leader.homes("a/p"),
        [(1, 0), (2, 1), (3, 2), (4, 0), (5, 1), (9, 2)]
    );
}

#[test]
fn a_new_leader_waits_for_every_server_before_it_places() {
    let mut leader = Leader::new(1, Vec::new());
    leader.feed(Input::Pools(vec![pool("a/p", 2)]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.attach(1, report("a/p", 0, &[]));
    leader.now = seconds(29);
    leader.feed(Input::Tick);
    assert_eq!(leader.phase(1), Phase::Waiting(Wait::Settling));
    leader.attach(2, report("a/p", 1, &[]));
    assert_eq!(leader.phase(1), Phase::Waiting(Wait::Home));
    assert_eq!(leader.homes("a/p"), [(1, 0)]);
}

#[test]
fn a_new_leader_waits_no_longer_than_its_limit() {
    let mut leader = Leader::new(1, Vec::new());
    leader.feed(Input::Pools(vec![pool("a/p", 2)]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.now = SETTLE;
    leader.feed(Input::Tick);
    assert_eq!(leader.homes("a/p"), [(1, 0)]);
}

#[test]
fn a_home_whose_record_is_lost_is_learned_from_its_server() {
    let mut leader = Leader::new(4, Vec::new());
    leader.feed(Input::Pools(vec![pool("a/p", 3)]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.attach(1, report("a/p", 0, &[]));
    leader.attach(
        2,
        report(
            "a/p",
            2,
            &[(1, StreamPhase::Active), (7, StreamPhase::Active)],
        ),
    );
    leader.attach(3, report("a/p", 1, &[]));
    assert_eq!(leader.homes("a/p"), [(1, 2), (7, 2)]);
    let orphans = leader.coordinator.orphans();
    assert_eq!(orphans.len(), 1, "{orphans:?}");
    assert_eq!(
        (orphans[0].uid.0, orphans[0].name.as_str()),
        (7, "stream-7")
    );
}

#[test]
fn a_pool_with_streams_keeps_its_groups() {
    let mut leader = settled();
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.feed(Input::Pools(vec![pool("a/p", 1)]));
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert_eq!(told.peers.len(), 3, "there may be shards in the others");
    leader.feed(Input::Pools(vec![pool("a/p", 4)]));
    let told = leader.told(&server("a/p", 0)).expect("told");
    assert_eq!(told.peers.len(), 4);
}

#[test]
fn the_ip_address_of_a_pod_is_told_and_stands_until_there_is_another() {
    let mut leader = settled();
    let at = |ip: Option<&str>| {
        let mut spec = pool("a/p", 3);
        spec.seats[1].direct = ip.map(|ip| ip.parse().expect("an address"));
        Input::Pools(vec![spec])
    };
    let told = |leader: &Leader| {
        let told = leader.told(&server("a/p", 0)).expect("told");
        let endpoints = told.endpoints();
        let endpoint = &endpoints[&pool_id("a/p").group(1)];
        assert!(
            endpoint
                .address
                .as_str()
                .starts_with("millstream-shard-p-1.")
        );
        endpoint.direct.as_ref().map(ToString::to_string)
    };
    assert_eq!(told(&leader), None);
    leader.feed(at(Some("10.0.0.7:4569")));
    assert_eq!(told(&leader).as_deref(), Some("10.0.0.7:4569"));
    // the pod is gone: nothing is written for it
    let written = leader.persisted.len();
    leader.feed(at(None));
    assert_eq!(leader.persisted.len(), written);
    assert_eq!(told(&leader).as_deref(), Some("10.0.0.7:4569"));
    leader.feed(at(Some("10.0.1.3:4569")));
    assert_eq!(told(&leader).as_deref(), Some("10.0.1.3:4569"));
    assert_eq!(
        leader.persisted.len(),
        written + 1,
        "and it is written first"
    );
}

#[test]
fn a_full_pool_takes_no_more_and_its_placement_fits() {
    let mut full = Placement::empty(pool_id("a/p"));
    let region = "r".repeat(64).parse().expect("a region");
    let home = |uid: u32| Home {
        group: uid % 200,
        scope: Scope {
            account: "000000000001".parse().expect("an account"),
            region: Clone::clone(&region),
        },
        name: format!("{uid:0>128}").parse().expect("a name"),
        made: true,
    };
    let uids = 0..u32::try_from(HOMES_MAX).expect("thousands");
    full.homes = uids
        .map(|uid| (StreamUid(u128::MAX - u128::from(uid)), home(uid)))
        .collect();
    let mut leader = Leader::new(u64::MAX, vec![full]);
    let host = "h".repeat(240);
    let mut spec = pool("a/p", 200);
    for seat in &mut spec.seats {
        seat.address = format!("{host}:65535").parse().expect("an address");
        seat.direct = "[1234:1234:1234:1234:1234:1234:1234:1234]:65535"
            .parse()
            .ok();
    }
    leader.feed(Input::Pools(vec![spec]));
    leader.feed(Input::Streams(vec![stream(1, "a/p")]));
    leader.now = SETTLE;
    leader.feed(Input::Tick);
    assert_eq!(leader.phase(1), Phase::Waiting(Wait::PoolFull));
    let placement = leader.persisted.last().expect("under the new term");
    assert_eq!(placement.homes.len(), HOMES_MAX);
    placement.to_json().expect("it fits");
}
