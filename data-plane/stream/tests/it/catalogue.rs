//! The catalogue of a home and the copies that follow it.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_clock::{ManualClock, SeededEntropy};
use millstream_storage::memory::MemoryStore;
use millstream_stream::catalogue::{Change, Update, Watcher, decode, encode};
use millstream_stream::{
    Kind, Listed, News, Options, SettingsChange, Spread, StartingPosition, Status, Stream, Streams,
    StreamsFrom, Tenants, TokenKey,
};
use millstream_types::{AccountId, Epoch, GroupId, Scope, StreamName, StreamUid};

use crate::bed::{Bed, START, entry_at, memory, name, new_stream, scope};

fn group(ordinal: u32) -> GroupId {
    GroupId::new("team-a", "default", ordinal).expect("a group")
}

/// A copy over the home's own store.
fn copy(bed: &Bed<MemoryStore>) -> Streams<MemoryStore> {
    Streams::replica(
        Arc::clone(&bed.store),
        Options::default(),
        bed.clock.clone(),
        Arc::new(SeededEntropy::new(8)),
        &TokenKey::new([7; 32]),
    )
}

fn travelled(stream: &Stream) -> Stream {
    decode(&group(0), &encode(stream)).expect("its own bytes")
}

/// Takes one update over.
async fn follow(watcher: &mut Watcher<MemoryStore>, copy: &Streams<MemoryStore>) {
    let learn = |news| assert!(copy.learn(&group(0), Epoch(1), news));
    match watcher.next().await {
        Update::All(streams) => learn(News::All(streams.iter().map(|s| travelled(s)).collect())),
        Update::Changes(changes) => {
            for change in changes {
                learn(match change {
                    Change::Put(stream) => News::Put(Box::new(travelled(&stream))),
                    Change::Removed(uid) => News::Removed(uid),
                });
            }
        },
    }
}

fn shown(streams: &Streams<MemoryStore>) -> Vec<(StreamUid, String, Status, u32, usize)> {
    let all = streams.all();
    let each = all.iter().map(|s| {
        let hours = s.settings().retention_hours;
        (
            s.uid(),
            s.name().to_string(),
            s.status(),
            hours,
            s.open_shard_count(),
        )
    });
    each.collect()
}

#[tokio::test]
async fn a_copy_follows_creation_change_and_removal() {
    let bed = memory();
    bed.create("first", 2).await;
    let copy = copy(&bed);
    let mut watcher = bed.streams.watch();
    follow(&mut watcher, &copy).await;
    assert_eq!(shown(&copy), shown(&bed.streams));

    bed.create("second", 3).await;
    let change = SettingsChange {
        retention_hours: Some(48),
        ..SettingsChange::default()
    };
    let changed = bed.streams.update(&scope(), &name("first"), change).await;
    changed.expect("changed");
    follow(&mut watcher, &copy).await;
    assert_eq!(shown(&copy), shown(&bed.streams));
    assert_eq!(shown(&copy).len(), 2);

    bed.streams
        .delete(&scope(), &name("first"))
        .await
        .expect("gone");
    follow(&mut watcher, &copy).await;
    assert_eq!(shown(&copy), shown(&bed.streams));
    assert_eq!(shown(&copy).len(), 1);
}

#[tokio::test]
async fn a_watcher_that_is_far_behind_gets_everything_anew() {
    let bed = memory();
    bed.create("s", 1).await;
    let copy = copy(&bed);
    let mut watcher = bed.streams.watch();
    follow(&mut watcher, &copy).await;
    for hours in (24..).take(300) {
        let change = SettingsChange {
            retention_hours: Some(hours + 1),
            ..SettingsChange::default()
        };
        let changed = bed.streams.update(&scope(), &name("s"), change).await;
        changed.expect("changed");
    }
    let Update::All(all) = watcher.next().await else {
        panic!("300 changes are more than are kept");
    };
    assert_eq!(all[0].settings().retention_hours, 324);
}

#[tokio::test]
async fn a_copy_puts_and_reads_and_keeps_its_counters_over_a_change() {
    let bed = memory();
    bed.create("s", 2).await;
    let copy = copy(&bed);
    let mut watcher = bed.streams.watch();
    follow(&mut watcher, &copy).await;
    let put = copy
        .put_record(&scope(), &name("s"), entry_at(0, "a"), None)
        .await;
    put.expect("durable");
    let change = SettingsChange {
        retention_hours: Some(48),
        ..SettingsChange::default()
    };
    let changed = bed.streams.update(&scope(), &name("s"), change).await;
    changed.expect("changed");
    follow(&mut watcher, &copy).await;
    let stream = copy.get(&scope(), &name("s")).expect("it");
    assert_eq!(stream.settings().retention_hours, 48);
    assert_eq!(stream.counters().incoming_records.get(), 1);
    assert_eq!(stream.map().shards()[0].counters.incoming_records.get(), 1);
    let payloads = bed.payloads("s", StartingPosition::TrimHorizon).await;
    assert_eq!(payloads, ["a"]);
}

#[tokio::test]
async fn shards_at_home_are_in_the_home_group_on_the_way() {
    let bed = memory();
    let spread = Spread {
        home: group(0),
        groups: [group(0), group(1)].into(),
    };
    let new = new_stream("s", 3);
    let begun = bed
        .streams
        .begin_create(StreamUid(9), &scope(), new, spread)
        .await;
    begun.expect("begun");
    let stream = bed.streams.get(&scope(), &name("s")).expect("it");
    let travelled = travelled(&stream);
    let groups: Vec<_> = travelled
        .map()
        .shards()
        .iter()
        .map(|s| s.group.clone())
        .collect();
    assert_eq!(groups, [Some(group(0)), Some(group(1)), Some(group(0))]);
    assert_eq!(travelled.status(), Status::Creating);
}

#[tokio::test]
async fn an_earlier_life_of_a_group_is_not_believed() {
    let bed = memory();
    bed.create("s", 1).await;
    let copy = copy(&bed);
    let stream = bed.streams.get(&scope(), &name("s")).expect("it");
    let all = || News::All(vec![travelled(&stream)]);
    assert!(copy.learn(&group(0), Epoch(5), all()));
    assert!(!copy.learn(&group(0), Epoch(4), News::All(Vec::new())));
    assert_eq!(copy.all().len(), 1);
    assert!(copy.learn(&group(0), Epoch(6), News::All(Vec::new())));
    assert_eq!(copy.all().len(), 0);
}

#[tokio::test]
async fn of_two_streams_with_one_name_the_one_that_stays_counts() {
    let clock = Arc::new(ManualClock::new(START));
    let bed = || Bed::over(Arc::new(MemoryStore::new(clock.clone())), clock.clone());
    let (old, new) = (bed(), bed());
    old.create("s", 1).await;
    let leaving = old.streams.get(&scope(), &name("s")).expect("it").uid();
    old.streams.begin_delete(leaving).await.expect("begun");
    new.create("s", 2).await;
    let copy = copy(&old);
    let told = |bed: &Bed<MemoryStore>| {
        News::All(bed.streams.all().iter().map(|s| travelled(s)).collect())
    };
    // Whichever tells first.
    assert!(copy.learn(&group(1), Epoch(1), told(&new)));
    assert!(copy.learn(&group(0), Epoch(1), told(&old)));
    assert_eq!(
        copy.get(&scope(), &name("s"))
            .expect("it")
            .open_shard_count(),
        2
    );
    copy.forget(&group(1));
    let left = copy.get(&scope(), &name("s")).expect("it");
    assert_eq!((left.uid(), left.status()), (leaving, Status::Deleting));
}

fn tenants(namespace: &str, account: &str, served: &[&str]) -> Tenants {
    let account: AccountId = account.parse().expect("an account");
    let scope = Scope {
        account: account.clone(),
        ..scope()
    };
    let served = served.iter().map(|text| name(text)).collect();
    Tenants {
        accounts: BTreeMap::from([(namespace.to_owned(), account)]),
        served: BTreeMap::from([(scope, served)]),
    }
}

#[tokio::test]
async fn a_stream_that_no_home_has_told_of_fails_and_is_not_absent() {
    let bed = memory();
    bed.create("s", 1).await;
    let copy = copy(&bed);
    let namespace = group(0).namespace().to_owned();
    copy.admit(tenants(&namespace, "000000000000", &["s"]));
    let (scope, s) = (scope(), name("s"));
    let put = copy.put_record(&scope, &s, entry_at(0, "a"), None).await;
    assert_eq!(put.expect_err("untold").kind(), Kind::Internal);
    let puts = copy.put_records(&scope, &s, vec![entry_at(0, "a")]).await;
    assert_eq!(puts.expect_err("untold").kind(), Kind::Internal);
    let start = StartingPosition::Latest;
    let given = copy
        .iterator(&scope, &s, "shardId-000000000000", start)
        .await;
    assert_eq!(given.expect_err("untold").kind(), Kind::Internal);
    let described = copy.get(&scope, &s);
    assert_eq!(described.expect_err("untold").kind(), Kind::Internal);
    let never_made = copy.get(&scope, &name("other"));
    assert_eq!(never_made.expect_err("none").kind(), Kind::NotFound);

    follow(&mut bed.streams.watch(), &copy).await;
    let put = copy.put_record(&scope, &s, entry_at(0, "a"), None).await;
    put.expect("told of");
}

#[tokio::test]
async fn a_stream_that_no_home_has_told_of_is_listed_among_the_others() {
    let bed = memory();
    for text in ["b", "d"] {
        bed.create(text, 1).await;
    }
    let copy = copy(&bed);
    follow(&mut bed.streams.watch(), &copy).await;
    let namespace = group(0).namespace().to_owned();
    copy.admit(tenants(&namespace, "000000000000", &["a", "b", "c", "e"]));
    let pages = |limit| {
        let (mut listed, mut after) = (Vec::new(), None::<StreamName>);
        loop {
            let from = after
                .as_ref()
                .map_or(StreamsFrom::Start, StreamsFrom::After);
            let page = copy.list(&scope(), from, limit).expect("a page");
            after = page.streams.last().map(|last| last.name().clone());
            listed.extend(page.streams.iter().map(|stream| match stream {
                Listed::Known(stream) => (stream.name().to_string(), true),
                Listed::Untold(name) => (name.to_string(), false),
            }));
            if page.next_token.is_none() {
                return listed;
            }
        }
    };
    let expected = [
        ("a", false),
        ("b", true),
        ("c", false),
        ("d", true),
        ("e", false),
    ];
    let expected = expected.map(|(text, known)| (text.to_owned(), known));
    for limit in 1..=6 {
        assert_eq!(pages(limit), expected, "{limit} on a page");
    }
    copy.admit(tenants(&namespace, "000000000009", &["a"]));
    let listed = copy.list(&scope(), StreamsFrom::Start, 10).expect("a page");
    assert!(listed.streams.is_empty(), "another account's are not");
}

#[tokio::test]
async fn a_stream_is_shown_only_to_the_account_that_its_namespace_has_now() {
    let bed = memory();
    bed.create("s", 1).await;
    let copy = copy(&bed);
    follow(&mut bed.streams.watch(), &copy).await;
    let namespace = group(0).namespace().to_owned();
    let seen = |copy: &Streams<MemoryStore>| copy.get(&scope(), &name("s")).is_ok();
    assert!(seen(&copy), "nobody has said who may see what");
    copy.admit(tenants(&namespace, "000000000000", &[]));
    assert!(seen(&copy));
    // Another namespace has the number now, and this one another number.
    copy.admit(Tenants {
        accounts: [
            ("team-z".to_owned(), scope().account),
            (
                namespace.clone(),
                "000000000009".parse().expect("an account"),
            ),
        ]
        .into(),
        served: BTreeMap::new(),
    });
    assert!(!seen(&copy));
    follow(&mut bed.streams.watch(), &copy).await;
    assert!(!seen(&copy), "whatever its home tells");
    copy.admit(Tenants::default());
    assert!(!seen(&copy), "nor while its namespace has none");
    copy.admit(tenants(&namespace, "000000000000", &[]));
    assert!(seen(&copy));
}
