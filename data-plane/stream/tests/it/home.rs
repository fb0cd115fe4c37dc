//! Streams over several groups: made and removed step by step, whatever ends in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_clock::{Clock, ManualClock, task};
use millstream_storage::memory::MemoryStore;
use millstream_storage::testkit::{Hooked, Hooks};
use millstream_storage::{Append, ApplyError, ShardLog, ShardStore};
use millstream_stream::error::HostError;
use millstream_stream::{
    Decision, DecisionPoint, Guests, Home, Kind, PeerError, PeerGroups, SettingsChange, Spread,
    Status, retention,
};
use millstream_types::{Epoch, GroupId, ShardId, ShardUid, StreamUid};
use parking_lot::Mutex;

use crate::bed::{Bed, START, entry_at, name, new_stream, scope};

const UID: StreamUid = StreamUid(0x5eed);
const DAY_MS: u64 = 24 * 3_600_000;

fn group(ordinal: u32) -> GroupId {
    GroupId::new("team-a", "default", ordinal).expect("a group")
}

fn spread(groups: u32) -> Spread {
    Spread {
        home: group(1),
        groups: (0..groups).map(group).collect(),
    }
}

/// Ends the process of the home after so many effects: the last one happens, or is lost.
struct Fuse {
    left: AtomicUsize,
    last_happens: bool,
}

impl Fuse {
    fn new(effects: usize, last_happens: bool) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(effects),
            last_happens,
        })
    }

    fn never() -> Arc<Self> {
        Self::new(usize::MAX, true)
    }

    /// Does the effect, unless the process has ended; whoever waits for it then waits for ever.
    async fn burn<T>(&self, effect: impl Future<Output = T>) -> T {
        let spent = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(left.saturating_sub(1))
            });
        match spent {
            Ok(0) => std::future::pending().await,
            Ok(1) => {
                if self.last_happens {
                    effect.await;
                }
                std::future::pending().await
            },
            _ => effect.await,
        }
    }
}

/// The process of a store, which may end at any change.
struct Mortal(Arc<Fuse>);

impl Hooks for Mortal {
    async fn apply(
        &self,
        effect: impl Future<Output = Result<(), ApplyError>> + Send,
    ) -> Result<(), ApplyError> {
        self.0.burn(effect).await
    }
}

/// The other groups, each over a store of its own.
struct Pool {
    beds: BTreeMap<GroupId, Bed<MemoryStore>>,
    /// The lives of their writers.
    lives: BTreeMap<GroupId, Epoch>,
    away: Mutex<BTreeSet<GroupId>>,
    calls: AtomicUsize,
}

impl Pool {
    fn new(clock: &Arc<ManualClock>, groups: u32) -> Arc<Self> {
        let others = (0..groups).map(group).filter(|g| *g != group(1));
        Arc::new(Self {
            beds: others.clone().map(|g| (g, fresh(clock))).collect(),
            lives: others.map(|g| (g, Epoch(1))).collect(),
            away: Mutex::default(),
            calls: AtomicUsize::new(0),
        })
    }

    /// The same after `group` has come up anew, over `bed` now.
    fn with(&self, group: &GroupId, bed: Bed<MemoryStore>) -> Arc<Self> {
        let kept = self.beds.iter().map(|(g, bed)| (g.clone(), bed.reopened()));
        let mut beds: BTreeMap<_, _> = kept.collect();
        beds.insert(group.clone(), bed);
        let mut lives = self.lives.clone();
        lives.entry(group.clone()).or_default().0 += 1;
        Arc::new(Self {
            beds,
            lives,
            away: Mutex::default(),
            calls: AtomicUsize::new(0),
        })
    }

    fn bed(&self, group: &GroupId) -> Result<&Bed<MemoryStore>, PeerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.away.lock().contains(group) {
            return Err(PeerError::Failed("it is away".to_owned()));
        }
        Ok(&self.beds[group])
    }

    /// Shards on all of them.
    fn shards(&self) -> usize {
        self.beds.values().map(|bed| bed.store.shards().len()).sum()
    }
}

fn fresh(clock: &Arc<ManualClock>) -> Bed<MemoryStore> {
    let store = Arc::new(MemoryStore::new(clock.clone()));
    Bed::over(store, clock.clone())
}

/// The pool as the home's process sees it: no call after its end.
struct Seen {
    pool: Arc<Mutex<Arc<Pool>>>,
    fuse: Arc<Fuse>,
}

impl Seen {
    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool.lock())
    }
}

impl PeerGroups for Seen {
    async fn open_shards(
        &self,
        group: &GroupId,
        guests: Guests,
        opened_before: Vec<ShardUid>,
        decision: Option<Decision>,
    ) -> Result<Vec<ShardUid>, PeerError> {
        let pool = self.pool();
        let host = async {
            let streams = &pool.bed(group)?.streams;
            let hosted = streams.host(guests, opened_before, decision).await;
            hosted.map_err(refused)
        };
        self.fuse.burn(host).await
    }

    async fn life(&self, group: &GroupId) -> Result<Epoch, PeerError> {
        let pool = self.pool();
        pool.bed(group)?;
        Ok(pool.lives[group])
    }

    async fn drop_shards(
        &self,
        group: &GroupId,
        stream: StreamUid,
        decision: Option<Decision>,
    ) -> Result<(), PeerError> {
        let pool = self.pool();
        let evict = async {
            let evicted = pool.bed(group)?.streams.evict(stream, decision).await;
            evicted.map_err(refused)
        };
        self.fuse.burn(evict).await
    }
}

fn refused(error: HostError) -> PeerError {
    match error {
        HostError::Outlived => PeerError::Outlived,
        error => PeerError::Failed(error.to_string()),
    }
}

/// A pool with one home, whose process can end and begin again.
struct World {
    clock: Arc<ManualClock>,
    disk: MemoryStore,
    pool: Arc<Pool>,
    /// The pool that the home's processes see.
    seen: Arc<Mutex<Arc<Pool>>>,
}

/// One life of the home's process.
struct Life {
    bed: Bed<Hooked<Mortal>>,
    home: Home<Hooked<Mortal>, Seen>,
}

impl World {
    fn new(groups: u32) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let pool = Pool::new(&clock, groups);
        Self {
            disk: MemoryStore::new(clock.clone()),
            seen: Arc::new(Mutex::new(Arc::clone(&pool))),
            pool,
            clock,
        }
    }

    /// A group's process ends, and the next one comes up over `bed`; answers what it had.
    fn comes_up(&mut self, group: &GroupId, bed: Bed<MemoryStore>) -> Bed<MemoryStore> {
        let had = self.pool.beds[group].reopened();
        self.pool = self.pool.with(group, bed);
        *self.seen.lock() = Arc::clone(&self.pool);
        had
    }

    fn life(&self, fuse: Arc<Fuse>) -> Life {
        let store = Arc::new(Hooked {
            store: self.disk.clone(),
            hooks: Mortal(Arc::clone(&fuse)),
        });
        let bed = Bed::over(store, self.clock.clone());
        let peers = Arc::new(Seen {
            pool: Arc::clone(&self.seen),
            fuse,
        });
        Life {
            home: Home::new(bed.streams.clone(), group(1), peers),
            bed,
        }
    }

    fn sound(&self) -> Life {
        self.life(Fuse::never())
    }

    async fn created(&self, shards: u64) -> Life {
        let mut life = self.sound();
        life.begin_create(shards).await;
        assert_eq!(life.home.pass().await.waiting, 0);
        life
    }
}

impl Life {
    async fn begin_create(&self, shards: u64) {
        let begun = self
            .bed
            .streams
            .begin_create(UID, &scope(), new_stream("flights", shards), spread(3))
            .await;
        begun.expect("begun");
    }

    fn status(&self) -> Option<Status> {
        let stream = self.bed.streams.get(&scope(), &name("flights"));
        stream.ok().map(|stream| stream.status())
    }
}

/// Runs `work` until it is done or its process has ended.
async fn until_the_end(work: impl Future<Output = ()>) -> bool {
    // Time stands still and nothing else runs: what is not done by then waits for ever.
    let limit = std::time::Duration::from_secs(1);
    task::timeout(limit, work).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn shards_go_round_the_groups_from_the_home_on() {
    let world = World::new(3);
    let life = world.created(5).await;
    assert_eq!(life.status(), Some(Status::Active));
    let stream = life
        .bed
        .streams
        .get(&scope(), &name("flights"))
        .expect("it");
    assert_eq!(stream.uid(), UID);
    let groups: Vec<_> = stream
        .map()
        .shards()
        .iter()
        .map(|s| s.group.clone())
        .collect();
    let (two, zero) = (Some(group(2)), Some(group(0)));
    assert_eq!(groups, [None, two.clone(), zero, None, two]);
    assert_eq!(world.disk.shards().len(), 2);
    assert_eq!(world.pool.beds[&group(2)].store.shards().len(), 2);
    assert_eq!(world.pool.beds[&group(0)].store.shards().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_being_made_or_removed_takes_and_gives_nothing() {
    let world = World::new(3);
    world.pool.away.lock().insert(group(0));
    let mut life = world.sound();
    life.begin_create(3).await;
    assert_eq!(life.home.pass().await.waiting, 1);
    assert_eq!(life.status(), Some(Status::Creating));
    let refused = |life: Life| async move {
        let streams = &life.bed.streams;
        let put = streams
            .put_record(&scope(), &name("flights"), entry_at(0, "a"), None)
            .await;
        assert_eq!(put.expect_err("not active").kind(), Kind::NotFound);
        let start = millstream_stream::StartingPosition::Latest;
        let given = streams
            .iterator(&scope(), &name("flights"), "shardId-000000000000", start)
            .await;
        assert_eq!(given.expect_err("not active").kind(), Kind::NotFound);
        let from = millstream_stream::ShardsFrom::Stream {
            name: &name("flights"),
            filter: millstream_stream::ShardFilter::All,
            after: None,
        };
        let listed = streams.list_shards(&scope(), from, 10);
        assert_eq!(listed.expect_err("not active").kind(), Kind::Conflict);
        let stream = streams
            .get(&scope(), &name("flights"))
            .expect("it is described");
        (stream.shards_after(None, 10).0.len(), life)
    };
    let (shown, mut life) = refused(life).await;
    assert_eq!(
        shown, 0,
        "AWS shows no shards of a stream that is being made"
    );
    world.pool.away.lock().clear();
    assert_eq!(life.home.pass().await.waiting, 0);
    assert_eq!(life.status(), Some(Status::Active));

    world.pool.away.lock().insert(group(0));
    life.bed.streams.begin_delete(UID).await.expect("begun");
    assert_eq!(life.home.pass().await.waiting, 1);
    assert_eq!(life.status(), Some(Status::Deleting));
    let (_, mut life) = refused(life).await;
    world.pool.away.lock().clear();
    assert_eq!(life.home.pass().await.waiting, 0);
    assert_eq!(life.status(), None);
    assert_eq!((world.disk.shards().len(), world.pool.shards()), (0, 0));
}

/// Ends the process at every effect of `work`, before or after it happens; then lets the next one
/// finish, and gives it to `check`.
async fn end_at_every_effect<W, F>(
    prepare: impl AsyncFn(&World),
    work: W,
    check: impl AsyncFn(&World, Life),
) where
    W: Fn(Life) -> F,
    F: Future<Output = ()>,
{
    let mut ends = 0;
    for last_happens in [false, true] {
        for effects in 1.. {
            let world = World::new(3);
            prepare(&world).await;
            let life = world.life(Fuse::new(effects, last_happens));
            if until_the_end(work(life)).await {
                break;
            }
            ends += 1;
            let mut next = world.sound();
            assert_eq!(next.home.pass().await.waiting, 0);
            check(&world, next).await;
        }
    }
    assert!(ends >= 8, "{ends} ends: every step has an effect");
}

#[tokio::test(start_paused = true)]
async fn creation_has_one_outcome_wherever_the_process_ends() {
    let create = |mut life: Life| async move {
        life.begin_create(5).await;
        assert_eq!(life.home.pass().await.waiting, 0);
    };
    end_at_every_effect(
        async |_| {},
        create,
        async |world, mut next| {
            // Whoever wanted it asks again; an end before the row left nothing.
            next.begin_create(5).await;
            assert_eq!(next.home.pass().await.waiting, 0);
            assert_eq!(next.status(), Some(Status::Active));
            assert_eq!((world.disk.shards().len(), world.pool.shards()), (2, 3));
            let stream = next
                .bed
                .streams
                .get(&scope(), &name("flights"))
                .expect("it");
            for shard in stream.map().shards() {
                let there = match &shard.group {
                    None => world.disk.status_now(shard.uid),
                    Some(group) => world.pool.beds[group].store.status_now(shard.uid),
                };
                assert!(there.is_some(), "{shard:?} is open where the map says");
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn removal_has_one_outcome_wherever_the_process_ends() {
    let remove = |mut life: Life| async move {
        life.bed.streams.begin_delete(UID).await.expect("begun");
        assert_eq!(life.home.pass().await.waiting, 0);
    };
    end_at_every_effect(
        async |world| drop(world.created(5).await),
        remove,
        async |world, mut next| {
            next.bed.streams.begin_delete(UID).await.expect("begun");
            assert_eq!(next.home.pass().await.waiting, 0);
            assert_eq!(next.status(), None);
            assert_eq!((world.disk.shards().len(), world.pool.shards()), (0, 0));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_home_had_elsewhere_goes_when_its_stream_is_to_be_deleted() {
    let mut world = World::new(3);
    let mut life = world.created(5).await;
    let begun = life
        .bed
        .streams
        .begin_create(StreamUid(2), &scope(), new_stream("kept", 3), spread(3))
        .await;
    begun.expect("begun");
    assert_eq!(life.home.pass().await.waiting, 0);
    let kept = 2;
    assert_eq!(world.pool.shards(), 3 + kept);
    world.disk = MemoryStore::new(world.clock.clone());

    // A home that only came up without its rows removes nothing.
    let mut next = world.sound();
    assert_eq!(next.home.pass().await.waiting, 0);
    assert_eq!(world.pool.shards(), 3 + kept);
    // Told that the records are to go, it waits for who is away, and forgets nobody by an end.
    let elsewhere = || BTreeSet::from([group(0), group(2)]);
    world.pool.away.lock().insert(group(0));
    next.bed.streams.begin_sweep(UID, elsewhere());
    assert_eq!(next.home.pass().await.waiting, 1);
    assert!(!next.bed.streams.is_swept(UID));
    world.pool.away.lock().clear();
    let mut next = world.sound();
    next.bed.streams.begin_sweep(UID, elsewhere());
    assert_eq!(next.home.pass().await.waiting, 0);
    assert!(next.bed.streams.is_swept(UID));
    assert_eq!(world.pool.shards(), kept);
    for bed in world.pool.beds.values() {
        let reopened = bed.reopened();
        let hosted: Vec<StreamUid> = reopened.streams.hosted().iter().map(|g| g.stream).collect();
        assert_eq!(hosted, [StreamUid(2)], "and it lasts");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_its_home_has_is_never_swept() {
    let world = World::new(3);
    let mut life = world.created(3).await;
    life.bed
        .streams
        .begin_sweep(UID, BTreeSet::from([group(2)]));
    assert_eq!(life.home.pass().await.waiting, 0);
    assert_eq!(world.pool.shards(), 2);
    life.bed.streams.begin_delete(UID).await.expect("begun");
    assert_eq!(life.home.pass().await.waiting, 0);
    assert!(
        life.bed.streams.is_swept(UID),
        "its rows had every group asked"
    );
    life.bed.streams.forget_swept(|_| false);
    assert!(!life.bed.streams.is_swept(UID));
}

/// What the home says is lost of the stream.
fn lost(life: &Life) -> Vec<(GroupId, Vec<u32>)> {
    let lost = life.bed.streams.lost(UID).into_iter();
    lost.map(|(group, shards)| (group, shards.iter().map(|shard| shard.0).collect()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn shards_that_a_group_has_lost_are_reported_and_not_made_again() {
    let mut world = World::new(3);
    let mut life = world.created(5).await;
    life.home.look().await;
    assert_eq!(life.home.pass().await.waiting, 0);
    assert_eq!(lost(&life), []);
    let new_volume = fresh(&world.clock);
    let volume = world.comes_up(&group(2), new_volume);
    let shards_there = |world: &World| world.pool.beds[&group(2)].store.shards().len();

    // While the home's process goes on, in its next life, and whatever changes.
    life.home.look().await;
    assert_eq!(life.home.pass().await.waiting, 0);
    let gone = [(group(2), vec![1, 4])];
    assert_eq!(lost(&life), gone);
    let key_of_shard_1 = u128::MAX / 5 + 1_000;
    let put = life
        .bed
        .streams
        .put_record(
            &scope(),
            &name("flights"),
            entry_at(key_of_shard_1, "a"),
            None,
        )
        .await;
    assert_eq!(put.expect_err("no such shard").kind(), Kind::Internal);
    let mut next = world.sound();
    assert_eq!(next.home.pass().await.waiting, 0);
    assert_eq!(lost(&next), gone);
    let change = SettingsChange {
        retention_hours: Some(48),
        ..SettingsChange::default()
    };
    let changed = next
        .bed
        .streams
        .update(&scope(), &name("flights"), change)
        .await;
    changed.expect("changed");
    assert_eq!(next.home.pass().await.waiting, 0);
    assert_eq!(lost(&next), gone);
    assert_eq!(shards_there(&world), 0);
    // The other groups follow all the same.
    let hosted = world.pool.beds[&group(0)].streams.hosted();
    assert_eq!(hosted[0].retention_hours, Some(48));

    // The volume is found again.
    world.comes_up(&group(2), volume);
    next.home.look().await;
    assert_eq!(next.home.pass().await.waiting, 0);
    assert_eq!(lost(&next), []);
    assert_eq!(shards_there(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn shards_that_were_never_served_are_made_again() {
    let mut world = World::new(3);
    world.pool.away.lock().insert(group(0));
    let mut life = world.sound();
    life.begin_create(5).await;
    assert_eq!(life.home.pass().await.waiting, 1);
    let new_volume = fresh(&world.clock);
    drop(world.comes_up(&group(2), new_volume));
    life.home.look().await;
    assert_eq!(life.home.pass().await.waiting, 0);
    assert_eq!(life.status(), Some(Status::Active));
    assert_eq!(lost(&life), []);
    assert_eq!(world.pool.shards(), 3);
}

#[tokio::test(start_paused = true)]
async fn only_the_shards_that_are_new_are_made() {
    let world = World::new(3);
    drop(world.created(5).await);
    let bed = &world.pool.beds[&group(2)];
    let held = bed.streams.hosted().remove(0);
    let mut asked = held.clone();
    let (lost, new) = (ShardUid(7), ShardUid(8));
    asked.shards.extend([lost, new]);
    let before = [&held.shards[..], &[lost]].concat();
    let answer = bed.streams.host(asked, before, None).await;
    assert_eq!(answer, Ok(vec![lost]));
    let hosted = bed.reopened().streams.hosted().remove(0);
    assert_eq!(hosted.shards, [&held.shards[..], &[new]].concat());
}

#[tokio::test(start_paused = true)]
async fn a_running_home_sees_that_a_group_has_come_up_without_its_shards() {
    let mut world = World::new(3);
    let Life { bed, home } = world.created(3).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = task::spawn(
        "home",
        home.run(async move {
            let _ended = stopped.await;
        }),
    );
    let new_volume = fresh(&world.clock);
    drop(world.comes_up(&group(2), new_volume));
    while bed.streams.lost(UID).is_empty() {
        task::sleep(std::time::Duration::from_secs(1)).await;
    }
    let expected = BTreeMap::from([(group(2), vec![ShardId(1)])]);
    assert_eq!(bed.streams.lost(UID), expected);
    drop(stop);
    running.await.expect("it ends");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_after_the_removal_makes_nothing() {
    let world = World::new(3);
    let mut life = world.created(3).await;
    let bed = &world.pool.beds[&group(2)];
    let late = bed.streams.hosted().remove(0);
    life.bed.streams.begin_delete(UID).await.expect("begun");
    assert_eq!(life.home.pass().await.waiting, 0);
    let asked = bed.streams.host(late.clone(), Vec::new(), None).await;
    assert_eq!(asked, Err(HostError::Gone));
    // The group's own process may have ended since.
    let reopened = bed.reopened();
    assert_eq!(
        reopened.streams.host(late.clone(), Vec::new(), None).await,
        Err(HostError::Gone)
    );
    assert!(reopened.store.shards().is_empty());
    // A day later nobody asks any more, and nothing needs to be remembered.
    world.clock.advance(DAY_MS + 1);
    let service = retention::Service::new(retention::Options::default(), reopened.streams.clone());
    service.pass().await;
    assert!(reopened.store.rows(b"ds/guests/").is_empty());
}

fn decided(home: u32, epoch: u64, changes: u64) -> Option<Decision> {
    Some(Decision {
        home: group(home),
        point: DecisionPoint {
            epoch: Epoch(epoch),
            changes,
        },
    })
}

#[tokio::test(start_paused = true)]
async fn what_an_outlived_home_asks_for_is_not_done() {
    let world = World::new(3);
    drop(world.created(3).await);
    let bed = &world.pool.beds[&group(2)];
    let held = bed.streams.hosted().remove(0);
    let kept = |bed: &Bed<MemoryStore>| {
        let hosted = bed.reopened().streams.hosted();
        hosted
            .iter()
            .map(|guests| guests.retention_hours)
            .collect::<Vec<_>>()
    };
    let host = async |bed: &Bed<MemoryStore>, hours, decision| {
        let guests = Guests {
            retention_hours: hours,
            ..held.clone()
        };
        let before = held.shards.clone();
        let hosted = bed.streams.host(guests, before, decision).await;
        hosted.map(|lost| assert!(lost.is_empty()))
    };
    assert_eq!(host(bed, Some(168), decided(1, 8, 1)).await, Ok(()));
    let outlived = Err(HostError::Outlived);
    assert_eq!(host(bed, Some(24), decided(1, 7, 9)).await, outlived);
    assert_eq!(bed.streams.evict(UID, decided(1, 7, 9)).await, outlived);
    let late = host(bed, Some(24), decided(1, 8, 0)).await;
    assert_eq!(late, Err(HostError::Late));
    assert_eq!(kept(bed), [Some(168)]);
    // Another home is in lives of its own, and an earlier program says nothing of its life.
    let elsewhere = bed.streams.evict(StreamUid(9), decided(0, 1, 0)).await;
    assert_eq!(elsewhere, Ok(()));
    assert_eq!(host(bed, Some(48), None).await, Ok(()));
    assert_eq!(host(bed, Some(168), decided(1, 8, 1)).await, Ok(()));

    // A group that comes up anew has forgotten it, until the newer life has asked.
    let anew = bed.reopened();
    assert_eq!(host(&anew, Some(24), decided(1, 7, 9)).await, Ok(()));
    assert_eq!(host(&anew, None, decided(1, 8, 1)).await, Ok(()));
    assert_eq!(host(&anew, Some(24), decided(1, 7, 10)).await, outlived);
    assert_eq!(kept(&anew), [None]);
    assert_eq!(anew.streams.evict(UID, decided(1, 8, 2)).await, Ok(()));
}

async fn keeps_for(life: &Life, hours: u32) {
    let change = SettingsChange {
        retention_hours: Some(hours),
        ..SettingsChange::default()
    };
    let flights = name("flights");
    let changed = life.bed.streams.update(&scope(), &flights, change).await;
    changed.expect("changed");
}

#[tokio::test(start_paused = true)]
async fn a_home_that_hears_of_its_next_life_asks_for_nothing_more() {
    let mut world = World::new(3);
    let mut old = world.created(3).await;
    old.home = old.home.in_life(Epoch(7));
    let mut new = world.sound();
    new.home = new.home.in_life(Epoch(8));
    keeps_for(&new, 168).await;
    assert_eq!(new.home.pass().await.waiting, 0);

    // Both see that a group came up anew, and the older life asks last.
    let reopened = world.pool.beds[&group(2)].reopened();
    drop(world.comes_up(&group(2), reopened));
    for life in [&mut new, &mut old] {
        life.home.look().await;
        life.home.pass().await;
    }
    assert_eq!(kept_for(&world), [Some(168), Some(168)]);
    let calls = world.pool.calls.load(Ordering::SeqCst);
    keeps_for(&old, 48).await;
    assert!(old.home.pass().await.outlived);
    assert_eq!(world.pool.calls.load(Ordering::SeqCst), calls);
    keeps_for(&new, 240).await;
    let pass = new.home.pass().await;
    assert_eq!((pass.waiting, pass.outlived), (0, false));
    assert_eq!(kept_for(&world), [Some(240), Some(240)]);
}

#[tokio::test(start_paused = true)]
async fn a_new_retention_reaches_every_group() {
    let world = World::new(3);
    let mut life = world.created(3).await;
    let change = SettingsChange {
        retention_hours: Some(48),
        ..SettingsChange::default()
    };
    let changed = life
        .bed
        .streams
        .update(&scope(), &name("flights"), change)
        .await;
    changed.expect("changed");
    assert_eq!(life.home.pass().await.waiting, 0);
    for bed in world.pool.beds.values() {
        let hosted = bed.reopened().streams.hosted();
        assert_eq!(hosted.len(), 1);
        assert_eq!(hosted[0].retention_hours, Some(48));
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_guests_are_trimmed_by_their_retention() {
    let world = World::new(3);
    drop(world.created(3).await);
    let bed = &world.pool.beds[&group(2)];
    let shard = bed.streams.hosted()[0].shards[0];
    let record = || millstream_storage::NewRecord {
        key: "k".into(),
        data: "d".into(),
    };
    let append = Append {
        shard,
        records: vec![record()],
    };
    bed.store
        .append(vec![append.clone()])
        .await
        .expect("durable");
    world.clock.advance(DAY_MS / 2);
    bed.store.append(vec![append]).await.expect("durable");
    world.clock.advance(DAY_MS / 2 + 1);
    let service = retention::Service::new(retention::Options::default(), bed.streams.clone());
    assert_eq!(service.pass().await.trimmed, 1);
    assert_eq!(
        bed.store.status_now(shard).map(|s| (s.first, s.next)),
        Some((2, 3))
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_away_is_asked_once_in_a_pass_and_others_go_on() {
    let world = World::new(3);
    world.pool.away.lock().insert(group(0));
    let mut life = world.sound();
    for index in 0..4u128 {
        let new = new_stream(&format!("s{index}"), 3);
        let begun = life
            .bed
            .streams
            .begin_create(StreamUid(index), &scope(), new, spread(3))
            .await;
        begun.expect("begun");
    }
    assert_eq!(life.home.pass().await.waiting, 4);
    // Both are asked for their life first, and the one that is away for nothing more.
    let asked = 2 + life_opened(&world, &group(2));
    assert_eq!(world.pool.calls.load(Ordering::SeqCst), asked);
}

fn life_opened(world: &World, group: &GroupId) -> usize {
    world.pool.beds[group].streams.hosted().len()
}

#[tokio::test(start_paused = true)]
async fn the_service_finishes_what_changes_while_it_runs() {
    let world = World::new(3);
    let Life { bed, home } = world.sound();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = task::spawn(
        "home",
        home.run(async move {
            let _ended = stopped.await;
        }),
    );
    let mut watcher = bed.streams.watch();
    let begun = bed
        .streams
        .begin_create(UID, &scope(), new_stream("flights", 3), spread(3))
        .await;
    begun.expect("begun");
    while bed
        .streams
        .get(&scope(), &name("flights"))
        .expect("it")
        .status()
        != Status::Active
    {
        watcher.next().await;
    }
    drop(stop);
    running.await.expect("it ends");
    assert!(world.clock.now() >= START);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_kept_is_shown_to_nobody_and_comes_back_with_its_records() {
    let world = World::new(3);
    let mut life = world.created(3).await;
    life.bed.put("flights", "a").await;
    life.bed.streams.retain(UID).await.expect("kept");
    assert_eq!(life.home.pass().await.waiting, 0);
    assert_eq!(life.status(), None);
    assert_eq!(
        kept_for(&world),
        [None, None],
        "records stay elsewhere, too"
    );
    assert_eq!(world.sound().status(), None, "in the next life, too");
    // Its name is free, and whoever has it now is not pushed away.
    let begun = life
        .bed
        .streams
        .begin_create(StreamUid(2), &scope(), new_stream("flights", 1), spread(1))
        .await;
    begun.expect("begun");
    let next = world.sound();
    let refused = next.bed.streams.serve_again(UID).await;
    assert_eq!(refused.expect_err("taken").kind(), Kind::Conflict);
    next.bed
        .streams
        .begin_delete(StreamUid(2))
        .await
        .expect("begun");
    let mut next = world.sound();
    next.home.pass().await;
    next.bed.streams.serve_again(UID).await.expect("served");
    assert_eq!(next.status(), Some(Status::Active));
    assert_eq!(next.home.pass().await.waiting, 0);
    assert_eq!(kept_for(&world), [Some(24), Some(24)]);
    let start = millstream_stream::StartingPosition::TrimHorizon;
    assert_eq!(next.bed.payloads("flights", start).await, ["a"]);
}

/// For how many hours the other groups keep records of the streams that they have shards of.
fn kept_for(world: &World) -> Vec<Option<u32>> {
    let beds = world.pool.beds.values();
    let hosted = beds.flat_map(|bed| bed.streams.hosted());
    hosted.map(|guests| guests.retention_hours).collect()
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_kept_stream_leaves_the_one_that_has_its_name_alone() {
    let world = World::new(3);
    let life = world.created(3).await;
    life.bed.streams.retain(UID).await.expect("kept");
    let heir = StreamUid(2);
    let (spec, scope_of) = (new_stream("flights", 1), scope());
    let streams = &life.bed.streams;
    let begun = streams.begin_create(heir, &scope_of, spec, spread(1));
    begun.await.expect("begun");
    let mut life = world.sound();
    life.home.pass().await;
    let shown = |life: &Life| {
        let stream = life.bed.streams.get(&scope(), &name("flights"));
        let mut told = Vec::new();
        for shown in life.bed.streams.all() {
            told.push((shown.uid(), shown.status()));
        }
        (stream.map(|stream| stream.uid()).ok(), told)
    };
    let only_the_heir = (Some(heir), vec![(heir, Status::Active)]);
    assert_eq!(shown(&life), only_the_heir);
    // A group that has shards of it is away: its end takes long.
    world.pool.away.lock().insert(group(2));
    life.bed.streams.begin_delete(UID).await.expect("begun");
    assert_eq!(life.home.pass().await.waiting, 1);
    assert_eq!(shown(&life), only_the_heir);
    let mut next = world.sound();
    assert_eq!(shown(&next), only_the_heir, "in the next life, too");
    world.pool.away.lock().remove(&group(2));
    assert_eq!(next.home.pass().await.waiting, 0);
    assert_eq!(shown(&next), only_the_heir);
    assert!(next.bed.streams.by_uid(UID).is_none());
}
