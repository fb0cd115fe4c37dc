//! What a change of one stream takes, and that whatever is told in whatever order shows the same.

use millstream_clock::{ManualClock, SeededEntropy};
use millstream_storage::memory::MemoryStore;
use millstream_types::{HashKeyRange, Millis, ShardId, ShardUid, StreamMode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::known::work;
use super::*;
use crate::shard::{Shard, ShardMap};
use crate::stream::{Settings, Status};

fn copy() -> Streams<MemoryStore> {
    let clock = Arc::new(ManualClock::new(Millis(1_700_000_000_000)));
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let entropy = Arc::new(SeededEntropy::new(7));
    let key = TokenKey::new([7; 32]);
    Streams::replica(store, Options::default(), clock, entropy, &key)
}

fn account(number: u8) -> AccountId {
    let account = format!("{number:012}").parse();
    account.expect("an account")
}

/// A group of the account's own namespace.
fn group(number: u8) -> GroupId {
    GroupId::new(&format!("team-{number}"), "default", 0).expect("a group")
}

fn accounts(numbers: impl IntoIterator<Item = (u8, u8)>) -> Tenants {
    let each = numbers.into_iter();
    Tenants {
        accounts: each
            .map(|(of, is)| (format!("team-{of}"), account(is)))
            .collect(),
        served: BTreeMap::new(),
    }
}

/// What a home may tell of a stream.
#[derive(Clone, Debug)]
struct Draft {
    uid: u128,
    account: u8,
    name: u8,
    status: Status,
    created: u64,
    hours: u32,
    shards: u32,
}

impl Draft {
    fn new(uid: u128, account: u8, name: u8) -> Self {
        Self {
            uid,
            account,
            name,
            status: Status::Active,
            created: 1,
            hours: 24,
            shards: 1,
        }
    }

    fn stream(&self) -> Stream {
        let ranges = HashKeyRange::uniform(self.shards);
        let shards = (0..).zip(ranges).map(|(id, range)| Shard {
            uid: ShardUid(self.uid << 32 | u128::from(id)),
            id: ShardId(id),
            created_s: 1,
            range,
            group: None,
            counters: Arc::default(),
        });
        Stream {
            uid: StreamUid(self.uid),
            scope: Scope {
                account: account(self.account),
                region: "us-east-1".parse().expect("a region"),
            },
            name: format!("s{}", self.name).parse().expect("a name"),
            status: self.status,
            mode: StreamMode::Provisioned,
            created: Millis(self.created),
            settings: Settings {
                retention_hours: self.hours,
                ..Settings::default()
            },
            map: Arc::new(ShardMap::new(shards.collect()).expect("they cover it")),
            counters: Arc::default(),
        }
    }

    fn put(&self) -> News {
        News::Put(Box::new(self.stream()))
    }
}

fn shown(streams: &Streams<MemoryStore>) -> Vec<String> {
    let all = streams.all();
    all.iter().map(|stream| seen(stream)).collect()
}

/// All of a stream that can be told.
fn seen(stream: &Stream) -> String {
    let (uid, status, settings) = (stream.uid, stream.status, &stream.settings);
    let shards = stream.map.shards().len();
    let (arn, created) = (stream.arn(), stream.created);
    format!("{arn} {uid} {status} {created:?} {settings:?} {shards}")
}

#[test]
fn a_change_of_one_stream_is_no_work_for_those_of_others() {
    const OTHERS: u16 = 1_000;
    let copy = copy();
    copy.admit(accounts((0..5).map(|number| (number, number))));
    for number in 1..5 {
        let streams = (0..OTHERS / 4).map(|place| {
            let uid = u128::from(number) << 16 | u128::from(place);
            let mut stream = Draft::new(uid, number, 0).stream();
            stream.name = format!("s{place}").parse().expect("a name");
            stream
        });
        assert!(copy.learn(&group(number), Epoch(1), News::All(streams.collect())));
    }
    assert_eq!(copy.all().len(), usize::from(OTHERS));
    assert!(work::take() >= usize::from(OTHERS), "the work is counted");

    let draft = Draft::new(9, 0, 0);
    let changed = Draft { hours: 48, ..draft };
    for news in [
        draft.put(),
        changed.put(),
        changed.put(),
        News::Removed(StreamUid(9)),
    ] {
        assert!(copy.learn(&group(0), Epoch(1), news.clone()));
        let looks = work::take();
        assert!((1..=4).contains(&looks), "{looks} for {news:?}");
    }
    // nor is what its home tells of all its streams, or that it is no more
    let news = News::All(vec![draft.stream(), Draft::new(10, 0, 1).stream()]);
    assert!(copy.learn(&group(0), Epoch(2), news));
    copy.forget(&group(0));
    let looks = work::take();
    assert!((1..=16).contains(&looks), "{looks}");
    assert_eq!(copy.all().len(), usize::from(OTHERS));
}

#[test]
fn streams_to_be_served_are_no_work_for_those_that_are_shown() {
    let copy = copy();
    copy.admit(accounts([(0, 0)]));
    let streams = (0..100).map(|name| Draft::new(u128::from(name), 0, name).stream());
    assert!(copy.learn(&group(0), Epoch(1), News::All(streams.collect())));
    let mut tenants = accounts([(0, 0)]);
    let scope = Draft::new(0, 0, 0).stream().scope;
    let name: StreamName = "new".parse().expect("a name");
    tenants.served.insert(scope.clone(), [name.clone()].into());
    assert!(work::take() > 100);
    copy.admit(tenants);
    assert_eq!(work::take(), 0);
    assert!(copy.is_to_be_served(&scope, &name));
    assert_eq!(copy.all().len(), 100);
}

#[test]
fn a_stream_that_is_told_of_again_as_it_was_stays_what_it_is() {
    let copy = copy();
    let draft = Draft {
        shards: 3,
        ..Draft::new(9, 0, 0)
    };
    assert!(copy.learn(&group(0), Epoch(1), draft.put()));
    let (before, changes) = (copy.all(), copy.changes());
    for news in [draft.put(), News::All(vec![draft.stream()])] {
        assert!(copy.learn(&group(0), Epoch(2), news));
        assert!(Arc::ptr_eq(&before[0], &copy.all()[0]));
        assert_eq!(copy.changes(), changes, "nobody is told");
    }
    assert!(
        !copy.learn(&group(0), Epoch(1), draft.put()),
        "its life is known"
    );
    let more = Draft { shards: 4, ..draft };
    assert!(copy.learn(&group(0), Epoch(2), more.put()));
    assert_eq!(copy.all()[0].open_shard_count(), 4);
    assert!(copy.changes() > changes);
}

#[test]
fn a_home_cannot_hide_the_stream_of_another_by_its_identity() {
    let copy = copy();
    copy.admit(accounts([(0, 0), (1, 1)]));
    assert!(copy.learn(&group(0), Epoch(1), Draft::new(9, 0, 0).put()));
    let theirs = shown(&copy);
    assert!(copy.learn(&group(1), Epoch(1), Draft::new(9, 1, 1).put()));
    assert_eq!(copy.all().len(), 2);
    assert!(copy.learn(&group(1), Epoch(1), News::Removed(StreamUid(9))));
    assert_eq!(shown(&copy), theirs);
}

/// What can happen to a copy.
#[derive(Clone, Debug)]
enum Step {
    All(u8, Vec<Draft>),
    Put(u8, Draft),
    Removed(u8, u128),
    Forget(u8),
    Admit(Vec<(u8, u8)>),
}

const GROUPS: u8 = 3;

fn drafts() -> impl Strategy<Value = Draft> {
    use Status::{Active, Creating, Deleting, Retained};
    let status = prop::sample::select(vec![Active, Active, Creating, Deleting, Retained]);
    let of = (0..6u128, 0..2u8, 0..3u8, status);
    (of, 1..4u64, 24..26u32, 1..3u32).prop_map(|(of, created, hours, shards)| {
        let (uid, account, name, status) = of;
        Draft {
            uid,
            account,
            name,
            status,
            created,
            hours,
            shards,
        }
    })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..GROUPS, vec(drafts(), 0..5)).prop_map(|(of, all)| Step::All(of, all)),
        8 => (0..GROUPS, drafts()).prop_map(|(of, draft)| Step::Put(of, draft)),
        4 => (0..GROUPS, 0..6u128).prop_map(|(of, uid)| Step::Removed(of, uid)),
        1 => (0..GROUPS).prop_map(Step::Forget),
        1 => vec((0..GROUPS, 0..2u8), 0..4).prop_map(Step::Admit),
    ]
}

/// What the groups told, and nothing found out of it.
#[derive(Default)]
struct Plain {
    told: BTreeMap<u8, BTreeMap<u128, Draft>>,
    tenants: Option<Tenants>,
}

impl Plain {
    fn take(&mut self, step: Step) {
        match step {
            Step::All(of, all) => {
                let all = all.into_iter().map(|draft| (draft.uid, draft));
                self.told.insert(of, all.collect());
            },
            Step::Put(of, draft) => {
                self.told.entry(of).or_default().insert(draft.uid, draft);
            },
            Step::Removed(of, uid) => {
                self.told.entry(of).or_default().remove(&uid);
            },
            Step::Forget(of) => {
                self.told.remove(&of);
            },
            Step::Admit(numbers) => self.tenants = Some(accounts(numbers)),
        }
    }

    /// Of each name the stream that counts, from everything that was told.
    fn shown(&self) -> Vec<String> {
        let mut shown: BTreeMap<(Scope, StreamName), Stream> = BTreeMap::new();
        for (of, told) in &self.told {
            let tenants = self.tenants.as_ref();
            let namespace = tenants.map(|all| all.accounts.get(group(*of).namespace()));
            for stream in told.values().map(Draft::stream) {
                if namespace.is_some_and(|account| account != Some(&stream.scope.account))
                    || stream.status == Status::Retained
                {
                    continue;
                }
                let rank = |it: &Stream| (it.status != Status::Deleting, it.created, it.uid);
                let name = (stream.scope.clone(), stream.name.clone());
                let rival = shown.get(&name);
                if rival.is_none_or(|rival| rank(rival) < rank(&stream)) {
                    shown.insert(name, stream);
                }
            }
        }
        shown.values().map(seen).collect()
    }
}

proptest! {
    #[test]
    fn whatever_is_told_shows_what_all_of_it_together_shows(
        steps in vec(steps(), 1..40), first in option::of(vec((0..GROUPS, 0..2u8), 0..4)),
    ) {
        let (copy, mut plain) = (copy(), Plain::default());
        for step in first.map(Step::Admit).into_iter().chain(steps) {
            plain.take(step.clone());
            match step {
                Step::All(of, all) => {
                    let all = all.iter().map(Draft::stream).collect();
                    prop_assert!(copy.learn(&group(of), Epoch(1), News::All(all)));
                },
                Step::Put(of, draft) => {
                    prop_assert!(copy.learn(&group(of), Epoch(1), draft.put()));
                },
                Step::Removed(of, uid) => {
                    let news = News::Removed(StreamUid(uid));
                    prop_assert!(copy.learn(&group(of), Epoch(1), news));
                },
                Step::Forget(of) => copy.forget(&group(of)),
                Step::Admit(numbers) => copy.admit(accounts(numbers)),
            }
            let replica = copy.inner.replica.lock();
            prop_assert_eq!(shown(&copy), plain.shown());
            let anew = replica.names_of_all();
            let anew: Vec<String> = anew.all().map(|stream| seen(stream)).collect();
            let kept: Vec<String> = replica.all_shown().map(|stream| seen(stream)).collect();
            prop_assert_eq!(kept, anew);
        }
    }
}
