use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use millstream_crds::DataStreamStatus;
use millstream_crds::data_stream::{DataStreamSpec, DeletionPolicy};

use super::*;
use crate::controllers::data_stream::claims::work;
use crate::controllers::data_stream::status::Reason;

const CONFIG: &str = "
region: eu-west-1
image: {name: 'e2e.local/millstream:1'}
poolClasses: {default: {}}
";

/// The home of this one was chosen, and never had it.
const NEVER_MADE: u32 = 999;

fn uid(number: u32) -> StreamUid {
    StreamUid(u128::from(number))
}

fn object(number: u32, change: impl FnOnce(&mut DataStreamResource)) -> Arc<DataStreamResource> {
    let name = format!("s{number}");
    let mut object = DataStreamResource::new(&name, DataStreamSpec::default());
    object.metadata.namespace = Some("team".to_owned());
    object.metadata.uid = Some(format!("00000000-0000-0000-0000-{number:012x}"));
    object.metadata.generation = Some(1);
    let born = Timestamp::from_second(1_700_000_000 + i64::from(number));
    object.metadata.creation_timestamp = born.ok().map(Time);
    change(&mut object);
    Arc::new(object)
}

fn annotate(object: &mut DataStreamResource, name: &str) {
    let all = object.metadata.annotations.get_or_insert_default();
    all.insert(name.to_owned(), "true".to_owned());
}

fn end(object: &mut DataStreamResource, policy: DeletionPolicy) {
    object.metadata.deletion_timestamp = Timestamp::from_second(1_800_000_000).ok().map(Time);
    object.spec.deletion_policy = Some(policy);
}

fn made(objects: Vec<Arc<DataStreamResource>>, homed: &[u32], before: &Plan) -> Plan {
    made_giving_up(objects, homed, before, BTreeSet::new())
}

fn made_giving_up(
    objects: Vec<Arc<DataStreamResource>>,
    homed: &[u32],
    before: &Plan,
    given_up: BTreeSet<PoolKey>,
) -> Plan {
    let account = Account::Own("000000000001".parse().expect("an account"));
    planned(&account, objects, homed, before, given_up)
}

fn made_in(account: &Account, objects: Vec<Arc<DataStreamResource>>, homed: &[u32]) -> Plan {
    planned(account, objects, homed, &Plan::default(), BTreeSet::new())
}

fn planned(
    account: &Account,
    objects: Vec<Arc<DataStreamResource>>,
    homed: &[u32],
    before: &Plan,
    given_up: BTreeSet<PoolKey>,
) -> Plan {
    let config = OperatorConfig::parse(CONFIG).expect("valid");
    let home = |number: &u32| {
        let name = format!("s{number}").parse().expect("a name");
        let pool = "default".to_owned();
        let scope = millstream_types::Scope {
            account: "000000000001".parse().expect("an account"),
            region: "eu-west-1".parse().expect("a region"),
        };
        let made = *number != NEVER_MADE;
        let home = HomeView {
            pool,
            name,
            scope,
            made,
        };
        (uid(*number), home)
    };
    let snapshot = Snapshot {
        config: &config,
        accounts: BTreeMap::from([("team".to_owned(), account.clone())]),
        objects,
        homes: BTreeMap::from([("team".to_owned(), homed.iter().map(home).collect())]),
        groups: BTreeMap::from([(PoolKey::new("team", "default"), 3)]),
        open_shards: BTreeMap::new(),
        given_up,
        unreadable: BTreeMap::new(),
    };
    Plan::make(&snapshot, before)
}

fn verdict(plan: &Plan, number: u32) -> Option<&Verdict> {
    plan.verdict(&object(number, |_| {}))
}

#[test]
fn every_good_object_is_wanted_and_the_pool_holds_their_shards() {
    let plan = made(
        vec![
            object(1, |o| o.spec.shard_count = Some(4)),
            object(2, |_| {}),
            object(3, |o| o.spec.pool = "unknown".to_owned()),
        ],
        &[],
        &Plan::default(),
    );
    let ids: Vec<StreamUid> = plan.streams.keys().copied().collect();
    assert_eq!(ids, [uid(1), uid(2)]);
    let pool = &plan.pools[&PoolKey::new("team", "default")];
    assert_eq!((pool.shards, pool.objects.len(), pool.groups), (5, 2, 3));
    assert_eq!(plan.pools[&PoolKey::new("team", "unknown")].groups, 0);
    assert!(verdict(&plan, 3).expect("judged").outcome.is_err());
    assert_eq!(plan.wanted().len(), 2);
}

#[test]
fn an_object_that_comes_after_another_of_its_name_has_no_verdict_of_that() {
    let former = object(1, |_| {});
    let plan = made(vec![Arc::clone(&former)], &[1], &Plan::default());
    assert!(plan.verdict(&former).is_some());
    let named_so_too = object(2, |o| o.metadata.name.clone_from(&former.metadata.name));
    assert_eq!(named_so_too.metadata.generation, Some(1));
    assert_eq!(plan.verdict(&named_so_too), None);
}

#[test]
fn a_bad_edit_leaves_the_stream_as_it_was() {
    let good = made(vec![object(1, |_| {})], &[1], &Plan::default());
    let bad = object(1, |o| {
        o.spec.retention_period_hours = 1;
        o.metadata.generation = Some(2);
    });
    let after = made(vec![Arc::clone(&bad)], &[1], &good);
    assert_eq!(after.streams, good.streams);
    // a new leader does not know how it was, and says nothing: its home knows
    let anew = made(vec![Arc::clone(&bad)], &[1], &Plan::default());
    let left = &anew.streams[&uid(1)];
    assert_eq!((&left.spec, left.delete), (&None, false));
    // and what was never placed is not placed
    let never = made(vec![bad], &[], &Plan::default());
    assert_eq!(never.streams.len(), 0);
}

#[test]
fn a_pause_outlives_the_operator() {
    let paused = object(1, |o| {
        annotate(o, annotations::PAUSE);
        o.spec.retention_period_hours = 24;
    });
    let anew = made(vec![paused], &[1], &Plan::default());
    assert!(verdict(&anew, 1).expect("judged").outcome.is_ok());
    assert_eq!(anew.streams[&uid(1)].spec, None);
}

#[test]
fn a_stream_whose_account_is_taken_is_served_on_by_the_next_operator_too() {
    let taken = Account::Taken {
        account: "000000000001".parse().expect("an account"),
        by: "older".to_owned(),
    };
    let plan = made_in(&taken, vec![object(1, |_| {})], &[1]);
    let left = &plan.streams[&uid(1)];
    assert_eq!((&left.spec, left.delete), (&None, false));
    assert_eq!(left.scope.account.as_str(), "000000000001");
}

#[test]
fn of_two_objects_with_one_stream_the_older_ones_word_counts_in_any_order() {
    let older = object(1, |_| {});
    let younger = object(2, |o| {
        o.status = Some(DataStreamStatus {
            stream_id: Some(uid(1).to_string()),
            ..DataStreamStatus::default()
        });
        end(o, DeletionPolicy::Delete);
    });
    for objects in [
        vec![Arc::clone(&older), Arc::clone(&younger)],
        vec![younger, older],
    ] {
        let plan = made(objects, &[1], &Plan::default());
        let wanted = &plan.streams[&uid(1)];
        assert!(wanted.spec.is_some() && !wanted.delete, "{wanted:?}");
    }
}

#[test]
fn deletion_follows_the_policy_and_a_pause_holds_it() {
    let empty = Plan::default();
    let deleted = made(
        vec![object(1, |o| end(o, DeletionPolicy::Delete))],
        &[1],
        &empty,
    );
    assert!(deleted.streams[&uid(1)].delete);
    let retained = made(
        vec![object(1, |o| end(o, DeletionPolicy::Retain))],
        &[1],
        &empty,
    );
    assert_eq!(retained.streams.len(), 0);
    let before = made(vec![object(1, |_| {})], &[1], &empty);
    let paused = object(1, |o| {
        end(o, DeletionPolicy::Delete);
        annotate(o, annotations::PAUSE);
    });
    assert_eq!(made(vec![paused], &[1], &before).streams, before.streams);
}

#[test]
fn an_object_that_is_refused_never_deletes_what_it_does_not_have() {
    // the records of stream 1 belong to object 1; object 2 asked for them and goes
    let thief = object(2, |o| {
        o.spec.adopt_stream_id = Some(uid(1).to_string());
        end(o, DeletionPolicy::Delete);
    });
    let plan = made(vec![object(1, |_| {}), thief], &[1], &Plan::default());
    assert!(!plan.streams[&uid(1)].delete);
}

#[test]
fn an_object_of_another_namespace_has_no_say_in_a_stream() {
    let ours = object(2, |_| {});
    let before = made(vec![Arc::clone(&ours)], &[2], &Plan::default());
    // Whoever may write a status may name any stream in it.
    let theirs = |o: &mut DataStreamResource| {
        o.metadata.namespace = Some("other".to_owned());
        o.status = Some(DataStreamStatus {
            stream_id: Some(uid(2).to_string()),
            ..DataStreamStatus::default()
        });
        end(o, DeletionPolicy::Delete);
    };
    for number in [1, 3] {
        let both = vec![Arc::clone(&ours), object(number, theirs)];
        assert_eq!(made(both, &[2], &before).streams, before.streams);
    }
}

#[test]
fn versions_grow_with_the_generation_and_with_the_next_object() {
    let first = object(1, |_| {});
    let edited = object(1, |o| o.metadata.generation = Some(7));
    let younger = object(2, |_| {});
    assert!(version(&first) < version(&edited));
    assert!(version(&edited) < version(&younger));
}

#[test]
fn a_pool_is_paused_when_all_of_its_objects_are_and_restarted_when_one_asks() {
    let paused = |number| object(number, |o| annotate(o, annotations::PAUSE));
    let key = PoolKey::new("team", "default");
    let all = made(vec![paused(1), paused(2)], &[], &Plan::default());
    assert!(all.pools[&key].is_paused);
    let restarting = object(2, |o| annotate(o, annotations::ROLLING_RESTART));
    let one = made(vec![paused(1), restarting], &[], &Plan::default());
    assert!(!one.pools[&key].is_paused);
    assert_eq!(one.pools[&key].restarts.len(), 1);
}

#[test]
fn a_stream_that_was_never_made_is_no_orphan_but_its_pool_waits_for_its_home() {
    let again = object(5, |o| o.spec.stream_name = Some(format!("s{NEVER_MADE}")));
    let plan = made(vec![again], &[NEVER_MADE], &Plan::default());
    let verdict = verdict(&plan, 5).expect("judged");
    assert!(verdict.outcome.is_ok(), "{verdict:?}");
    // It may have been made while no leader listened: only its server knows.
    assert_eq!(plan.pools[&PoolKey::new("team", "default")].retained, 1);
}

#[test]
fn retained_streams_are_counted_and_go_only_with_a_pool_that_is_given_up() {
    let key = PoolKey::new("team", "default");
    let kept = made(vec![object(1, |_| {})], &[1, 2], &Plan::default());
    assert_eq!(kept.pools[&key].retained, 1);
    assert!(!kept.streams.contains_key(&uid(2)));
    let given_up = BTreeSet::from([key]);
    let gone = made_giving_up(Vec::new(), &[2], &Plan::default(), given_up);
    assert!(gone.streams[&uid(2)].delete);
}

#[test]
fn a_pool_that_objects_name_gives_up_nothing() {
    let key = PoolKey::new("team", "default");
    let given_up = || BTreeSet::from([key.clone()]);
    let ending = object(1, |o| end(o, DeletionPolicy::Retain));
    let paused = object(1, |o| annotate(o, annotations::PAUSE));
    let refused = object(1, |o| o.spec.retention_period_hours = 1);
    for named in [object(1, |_| {}), ending, paused, refused] {
        let stays = made_giving_up(vec![named], &[1, 2], &Plan::default(), given_up());
        assert!(!stays.streams.contains_key(&uid(2)), "{stays:?}");
        assert_eq!(stays.pools[&key].retained, 1);
    }
    // one that names another pool keeps nothing here
    let other = object(1, |o| o.spec.pool = "other".to_owned());
    let gone = made_giving_up(vec![other], &[2], &Plan::default(), given_up());
    assert!(gone.streams[&uid(2)].delete);
}

#[test]
fn a_wish_that_is_refused_takes_no_room_from_younger_streams() {
    let most = crate::pools::size::shards_max(&crate::config::PoolClass::default());
    let rest = i32::try_from(most).expect("few") - 3;
    let edited = object(1, |o| {
        o.spec.shard_count = Some(10_000);
        o.status = Some(DataStreamStatus {
            stream_status: Some("ACTIVE".to_owned()),
            shard_count: Some(3),
            ..DataStreamStatus::default()
        });
    });
    let never = object(2, |o| o.spec.shard_count = Some(9_000));
    let fits = object(3, |o| o.spec.shard_count = Some(rest));
    let not = object(4, |o| o.spec.shard_count = Some(1));
    // the youngest is seen first
    let plan = made(vec![not, fits, never, edited], &[1], &Plan::default());
    let reason = |number| {
        let verdict = verdict(&plan, number).expect("judged");
        verdict.outcome.as_ref().err().map(|refusal| refusal.reason)
    };
    assert_eq!(reason(1), Some(Reason::PoolFull));
    assert_eq!(reason(2), Some(Reason::PoolFull));
    assert_eq!(reason(3), None);
    assert_eq!(reason(4), Some(Reason::PoolFull), "3 and {rest} are taken");
}

/// How many claims are looked at for a plan of `count` objects that contend for names, for room in
/// one pool and for as many retained streams.
fn looks(count: u32) -> usize {
    let objects = (0..count).map(|n| {
        object(n, |o| {
            // every second one wants the name of its neighbour, and every third one an orphan's
            match n % 6 {
                1 | 3 => o.spec.stream_name = Some(format!("s{}", n - 1)),
                2 => o.spec.stream_name = Some(format!("s{}", n + count)),
                _ => {},
            }
        })
    });
    let homed: Vec<u32> = (count..2 * count).collect();
    let objects = objects.collect();
    work::take();
    let plan = made(objects, &homed, &Plan::default());
    assert_eq!(plan.verdicts.len(), usize::try_from(count).expect("few"));
    work::take()
}

#[test]
fn the_work_of_a_plan_grows_with_the_streams_and_not_with_their_square() {
    let (few, many) = (looks(300), looks(3_000));
    // ten times the objects, and a few steps more in each search of a sorted list
    assert!(few >= 600, "{few}: every claim and every home is looked at");
    assert!(many < few * 15, "{few} looks for 300, {many} for 3,000");
}
