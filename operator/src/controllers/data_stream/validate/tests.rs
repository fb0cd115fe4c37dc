use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use millstream_crds::DataStreamStatus;

use super::*;

const UID: &str = "6f0c0a2e-4a0a-4f3e-9a54-0a1b2c3d4e5f";
const UID_DIGITS: &str = "6f0c0a2e4a0a4f3e9a540a1b2c3d4e5f";
const ORPHAN: &str = "000000000000000000000000000000aa";

fn object(name: &str, change: impl FnOnce(&mut DataStreamResource)) -> DataStreamResource {
    let mut object = DataStreamResource::new(name, DataStreamSpec::default());
    object.metadata.namespace = Some("team".to_owned());
    object.metadata.uid = Some(UID.to_owned());
    object.metadata.generation = Some(3);
    object.metadata.creation_timestamp = Timestamp::from_second(100).ok().map(Time);
    change(&mut object);
    object
}

/// The surroundings of an object, to be changed by a test.
struct World {
    account: Account,
    siblings: Vec<Claim>,
    homes: BTreeMap<StreamUid, HomeView>,
    classes: BTreeMap<String, PoolClass>,
    open_shards: Option<u32>,
    is_elsewhere: bool,
    region: Region,
}

impl World {
    fn new() -> Self {
        let mut small = PoolClass::default();
        small.pods.max = 1;
        small.shards_per_pod = 10;
        Self {
            account: Account::Own("000000000001".parse().expect("an account")),
            siblings: Vec::new(),
            homes: BTreeMap::new(),
            classes: BTreeMap::from([("default".to_owned(), small)]),
            open_shards: None,
            is_elsewhere: false,
            region: "eu-west-1".parse().expect("a region"),
        }
    }

    fn with_orphan(mut self, name: &str) -> Self {
        let home = HomeView {
            pool: "default".to_owned(),
            name: name.parse().expect("a name"),
            scope: Scope {
                account: "000000000001".parse().expect("an account"),
                region: self.region.clone(),
            },
            made: true,
        };
        self.homes.insert(ORPHAN.parse().expect("an id"), home);
        self
    }

    fn judge(&self, object: &DataStreamResource) -> Result<ValidatedDataStream, Refusal> {
        let own = Claim::of(object);
        let mut claims = self.siblings.clone();
        claims.push(own.clone());
        let mut claims = Claims::new(claims, &self.homes);
        for older in self.siblings.iter().filter(|c| c.age() < own.age()) {
            claims.settle(older, true);
        }
        validate(&Dereferenced {
            object,
            account: Some(&self.account),
            region: self.region.clone(),
            claims: &claims,
            homes: &self.homes,
            classes: &self.classes,
            open_shards: self.open_shards,
            is_elsewhere: self.is_elsewhere,
            placement_problem: None,
        })
    }

    fn reason(&self, object: &DataStreamResource) -> Option<Reason> {
        self.judge(object).err().map(|refusal| refusal.reason)
    }
}

fn other(name: &str, created: i64, shards: i32) -> Claim {
    let other = object(name, |o| {
        o.metadata.creation_timestamp = Timestamp::from_second(created).ok().map(Time);
        o.metadata.uid = Some("00000000-0000-0000-0000-000000000001".to_owned());
        o.spec.stream_name = Some("theirs".to_owned());
        o.spec.shard_count = Some(shards);
    });
    Claim::of(&other)
}

#[test]
fn a_stream_has_the_id_of_its_object_and_everything_of_its_spec() {
    let object = object("flights", |o| {
        o.spec.stream_name = Some("Flights_EU".to_owned());
        o.spec.shard_count = Some(4);
        o.spec.retention_period_hours = 48;
    });
    let stream = World::new().judge(&object).expect("valid");
    assert_eq!(stream.uid.to_string(), UID_DIGITS);
    assert_eq!(stream.spec.name.as_str(), "Flights_EU");
    assert_eq!(stream.spec.shard_count, Some(4));
    assert_eq!(stream.spec.retention_hours, 48);
    assert_eq!(stream.scope.account.as_str(), "000000000001");
    assert_eq!(stream.pool, PoolKey::new("team", "default"));
    assert_eq!(stream.generation, 3);
}

#[test]
fn the_id_that_a_stream_has_goes_before_what_its_spec_says_now() {
    let adopting = object("a", |o| o.spec.adopt_stream_id = Some(ORPHAN.to_owned()));
    assert_eq!(stream_uid(&adopting).expect("an id").to_string(), ORPHAN);
    let had = object("a", |o| {
        o.status = Some(DataStreamStatus {
            stream_id: Some(ORPHAN.to_owned()),
            ..DataStreamStatus::default()
        });
    });
    assert_eq!(stream_uid(&had).expect("an id").to_string(), ORPHAN);
}

#[test]
fn a_stream_of_another_account_than_its_namespace_has_is_refused() {
    let adopting = object("a", |o| o.spec.adopt_stream_id = Some(ORPHAN.to_owned()));
    let mut world = World::new().with_orphan("a");
    assert_eq!(world.reason(&adopting), None);
    world.account = Account::Own("000000000002".parse().expect("an account"));
    let refusal = world.judge(&adopting).expect_err("another number");
    assert_eq!(refusal.reason, Reason::AccountChanged);
    assert!(
        refusal.message.contains("000000000001"),
        "{}",
        refusal.message
    );
}

#[test]
fn each_refusal_has_its_reason() {
    let plain = object("a", |_| {});
    let mut taken = World::new();
    taken.account = Account::Taken {
        account: "000000000001".parse().expect("an account"),
        by: "older".to_owned(),
    };
    assert_eq!(taken.reason(&plain), Some(Reason::AccountTaken));
    for (change, want) in [
        (
            (|o: &mut DataStreamResource| o.spec.shard_count = Some(0)) as fn(&mut _),
            Reason::SpecInvalid,
        ),
        (|o| o.spec.pool = "fast".to_owned(), Reason::PoolUnknown),
        (|o| o.spec.shard_count = Some(11), Reason::PoolFull),
        (
            |o| o.spec.stream_mode = StreamMode::OnDemand,
            Reason::NotServed,
        ),
        (
            |o| o.spec.adopt_stream_id = Some(ORPHAN.to_owned()),
            Reason::OrphanUnknown,
        ),
    ] {
        assert_eq!(World::new().reason(&object("a", change)), Some(want));
    }
    let mut grown = World::new();
    grown.open_shards = Some(2);
    let four = object("a", |o| o.spec.shard_count = Some(4));
    let refusal = grown.judge(&four).expect_err("refused");
    assert_eq!(refusal.reason, Reason::NotServed);
    assert!(
        refusal.message.contains("set it to 2"),
        "{}",
        refusal.message
    );
}

#[test]
fn a_new_leader_knows_the_shards_from_the_status() {
    let four = |word: &str| {
        object("a", |o| {
            o.spec.shard_count = Some(4);
            o.status = Some(DataStreamStatus {
                stream_status: Some(word.to_owned()),
                shard_count: Some(2),
                ..DataStreamStatus::default()
            });
        })
    };
    let mut world = World::new().with_orphan("a");
    let home = world.homes.pop_first().expect("there").1;
    world.homes.insert(UID_DIGITS.parse().expect("an id"), home);
    assert_eq!(world.reason(&four("ACTIVE")), Some(Reason::NotServed));
    assert_eq!(world.reason(&four("CREATING")), None);
}

#[test]
fn a_stream_that_was_made_is_not_placed_anew_when_its_place_is_lost() {
    let made = object("a", |o| {
        o.status = Some(DataStreamStatus {
            stream_status: Some("ACTIVE".to_owned()),
            ..DataStreamStatus::default()
        });
    });
    let lost = World::new().judge(&made).expect_err("refused");
    assert_eq!(lost.reason, Reason::PlacementLost);
    assert!(lost.message.contains(UID_DIGITS), "{}", lost.message);
}

fn gives_up(object: &mut DataStreamResource, ids: &str) {
    let on = (annotations::START_EMPTY.to_owned(), ids.to_owned());
    object.metadata.annotations = Some(BTreeMap::from([on]));
}

fn has(object: &mut DataStreamResource, id: &str) {
    object.status = Some(DataStreamStatus {
        stream_id: Some(id.to_owned()),
        stream_status: Some("ACTIVE".to_owned()),
        shard_count: Some(2),
        ..DataStreamStatus::default()
    });
}

#[test]
fn a_stream_that_is_given_up_by_its_id_begins_anew_under_another_and_once() {
    let lost = object("a", |o| has(o, UID_DIGITS));
    assert_eq!(World::new().reason(&lost), Some(Reason::PlacementLost));
    for word in ["true", "", ORPHAN] {
        let other = object("a", |o| {
            has(o, UID_DIGITS);
            gives_up(o, word);
        });
        let reason = World::new().reason(&other);
        assert_eq!(reason, Some(Reason::PlacementLost), "{word}");
    }
    let begun = |has_id: &str| {
        let anew = object("a", |o| {
            has(o, has_id);
            o.spec.shard_count = Some(4);
            gives_up(o, &format!("{ORPHAN}, {UID_DIGITS}"));
        });
        World::new().judge(&anew)
    };
    let anew = begun(UID_DIGITS).expect("it starts empty").uid.to_string();
    assert_ne!(anew, UID_DIGITS);
    assert_eq!(begun(UID_DIGITS).expect("again").uid.to_string(), anew);
    // The annotation stays in Git, and the new stream is lost, too.
    let again = begun(&anew).expect_err("it is not given up");
    assert_eq!(again.reason, Reason::PlacementLost);
    assert!(again.message.contains(&anew), "{}", again.message);
}

#[test]
fn a_stream_of_another_namespace_is_nobodys_here() {
    let mut world = World::new();
    world.is_elsewhere = true;
    // Whoever may write a status may say anything there.
    let theirs = object("a", |o| {
        o.status = Some(DataStreamStatus {
            stream_id: Some(ORPHAN.to_owned()),
            ..DataStreamStatus::default()
        });
    });
    assert_eq!(world.reason(&theirs), Some(Reason::OrphanUnknown));
    let adopting = object("a", |o| o.spec.adopt_stream_id = Some(ORPHAN.to_owned()));
    assert_eq!(world.reason(&adopting), Some(Reason::OrphanUnknown));
}

#[test]
fn of_two_with_one_name_the_older_has_it() {
    let mine = object("a", |o| o.spec.stream_name = Some("theirs".to_owned()));
    let mut world = World::new();
    world.siblings = vec![other("b", 99, 1)];
    assert_eq!(world.reason(&mine), Some(Reason::StreamNameTaken));
    world.siblings = vec![other("b", 101, 1)];
    assert_eq!(world.reason(&mine), None);
    // of one second, the name decides, so that not both stall
    world.siblings = vec![other("b", 100, 1)];
    assert_eq!(world.reason(&mine), None);
}

#[test]
fn older_streams_take_the_room_of_a_pool_first() {
    let mine = object("a", |o| o.spec.shard_count = Some(4));
    let mut world = World::new();
    world.siblings = vec![other("b", 1, 7)];
    assert_eq!(world.reason(&mine), Some(Reason::PoolFull));
    world.siblings = vec![other("b", 999, 7)];
    assert_eq!(world.reason(&mine), None);
}

#[test]
fn an_orphan_is_adopted_or_given_up_by_word() {
    let world = World::new().with_orphan("a");
    let refusal = world.judge(&object("a", |_| {})).expect_err("stalled");
    assert_eq!(refusal.reason, Reason::OrphanExists);
    assert!(refusal.message.contains(ORPHAN), "{}", refusal.message);
    let adopting = object("a", |o| o.spec.adopt_stream_id = Some(ORPHAN.to_owned()));
    let adopted = world.judge(&adopting).expect("adopted");
    assert_eq!(adopted.uid.to_string(), ORPHAN);
    let by_word = object("a", |o| gives_up(o, "true"));
    assert_eq!(world.reason(&by_word), Some(Reason::OrphanExists));
    let empty = object("a", |o| gives_up(o, ORPHAN));
    assert_eq!(
        world.judge(&empty).expect("empty").uid.to_string(),
        UID_DIGITS
    );
    // another name's orphan is nobody's business, and cannot be adopted under this one
    assert_eq!(
        World::new().with_orphan("b").reason(&object("a", |_| {})),
        None
    );
    assert_eq!(
        World::new().with_orphan("b").reason(&adopting),
        Some(Reason::OrphanUnknown)
    );
}

#[test]
fn records_that_an_object_has_are_no_orphan() {
    let mut world = World::new().with_orphan("a");
    let mut claim = other("b", 1, 1);
    claim.stream = ORPHAN.parse().ok();
    world.siblings = vec![claim];
    assert_eq!(world.reason(&object("a", |_| {})), None);
    let thief = object("a", |o| o.spec.adopt_stream_id = Some(ORPHAN.to_owned()));
    assert_eq!(world.reason(&thief), Some(Reason::OrphanUnknown));
}
