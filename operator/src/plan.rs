//! From everything that is watched to what is wanted: accounts, streams, pools.
//!
//! Pure, and made anew from the whole at each change: nothing is remembered but the last good form
//! of each stream, so that a bad edit never takes a stream away. Start with [`Plan::make`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use millstream_control::coordinator::WantedStream;
use millstream_control::{PoolId, Version};
use millstream_crds::annotations;
use millstream_crds::data_stream::DataStreamResource;
use millstream_types::StreamUid;

use crate::accounts::Account;
use crate::config::OperatorConfig;
use crate::controllers::data_stream::claims::{Claim, Claims};
use crate::controllers::data_stream::validate::{
    self, Dereferenced, HomeView, Refusal, ValidatedDataStream,
};
use crate::names::PoolKey;

/// A generation of an object takes this many bits of a version, what is older takes the rest.
const GENERATION_BITS: u32 = 20;

/// All that a plan depends on.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// The configuration.
    pub config: &'a OperatorConfig,
    /// The account of each namespace.
    pub accounts: BTreeMap<String, Account>,
    /// Every object.
    pub objects: Vec<Arc<DataStreamResource>>,
    /// The streams that pools hold, by namespace.
    pub homes: BTreeMap<String, BTreeMap<StreamUid, HomeView>>,
    /// Groups of the pools that hold streams, there or not.
    pub groups: BTreeMap<PoolKey, u32>,
    /// Open shards of the streams that were reported.
    pub open_shards: BTreeMap<StreamUid, u32>,
    /// Pools that are to go with the records that are retained in them, once no object names them.
    pub given_up: BTreeSet<PoolKey>,
    /// Pools whose placement cannot be used, and why.
    pub unreadable: BTreeMap<PoolKey, String>,
}

impl Snapshot<'_> {
    /// What would become of `object`, were it there as the youngest of its namespace.
    ///
    /// # Errors
    /// Why it could not be built.
    pub fn consider(&self, object: &DataStreamResource) -> Result<ValidatedDataStream, Refusal> {
        let here = |other: &&Arc<DataStreamResource>| namespace(other) == namespace(object);
        let mut others: Vec<_> = self.objects.iter().filter(here).collect();
        others.sort_by_cached_key(|other| age(other));
        let claims = others.iter().map(|other| Claim::of(other)).collect();
        let mut claims = Claims::new(claims, self.homes(namespace(object)));
        // A new object of a name that is there already is judged without the one that it meets.
        let meets = |other: &DataStreamResource| other.metadata.name == object.metadata.name;
        for other in others.iter().filter(|other| !meets(other)) {
            let is_good = self.judge(other, &claims).is_ok();
            claims.settle(&Claim::of(other), is_good);
        }
        self.judge(object, &claims)
    }

    /// The claims of every namespace that has objects or streams.
    fn claims(&self) -> BTreeMap<&str, Claims> {
        let mut claims: BTreeMap<&str, Vec<Claim>> = BTreeMap::new();
        for namespace in self.homes.keys() {
            claims.entry(namespace).or_default();
        }
        for object in &self.objects {
            let claim = Claim::of(object);
            claims.entry(namespace(object)).or_default().push(claim);
        }
        let index = |(namespace, all)| (namespace, Claims::new(all, self.homes(namespace)));
        claims.into_iter().map(index).collect()
    }

    fn homes(&self, namespace: &str) -> &BTreeMap<StreamUid, HomeView> {
        static NONE: BTreeMap<StreamUid, HomeView> = BTreeMap::new();
        self.homes.get(namespace).unwrap_or(&NONE)
    }

    /// Whether the stream has a home in another namespace, and none in this one.
    fn is_elsewhere(&self, stream: StreamUid, here: &str) -> bool {
        let has_it = |homes: &BTreeMap<StreamUid, HomeView>| homes.contains_key(&stream);
        !has_it(self.homes(here)) && self.homes.values().any(has_it)
    }

    fn judge(
        &self,
        object: &DataStreamResource,
        claims: &Claims,
    ) -> Result<ValidatedDataStream, Refusal> {
        let uid = validate::stream_uid(object);
        validate::validate(&Dereferenced {
            object,
            account: self.accounts.get(namespace(object)),
            region: self.config.region(),
            claims,
            homes: self.homes(namespace(object)),
            is_elsewhere: uid.is_some_and(|uid| self.is_elsewhere(uid, namespace(object))),
            classes: &self.config.pool_classes,
            open_shards: uid.and_then(|uid| self.open_shards.get(&uid).copied()),
            placement_problem: {
                let key = PoolKey::new(namespace(object), object.spec.pool.clone());
                self.unreadable.get(&key).map(String::as_str)
            },
        })
    }
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Whether anything was looked at: the default plan wants nothing, but knows nothing either.
    pub is_made: bool,
    /// The account of each namespace.
    pub accounts: BTreeMap<String, Account>,
    /// Every stream that is wanted or should go, by id.
    pub streams: BTreeMap<StreamUid, WantedStream>,
    /// The verdict over each object, by its UID: one of the same name that comes after it is another.
    pub verdicts: BTreeMap<String, Verdict>,
    /// The pools that objects name.
    pub pools: BTreeMap<PoolKey, PoolDemand>,
}

/// What was made of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The generation that was looked at.
    pub generation: i64,
    /// The stream, or why there is none.
    pub outcome: Result<ValidatedDataStream, Refusal>,
}

/// What a pool is asked to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolDemand {
    /// Its shards.
    pub shards: u64,
    /// The objects that name it.
    pub objects: BTreeSet<String>,
    /// Streams that it holds and that no object stands for.
    pub retained: usize,
    /// Groups that its placement has, if there are streams in it: each is a pod with records.
    pub groups: u32,
    /// The objects that ask for a rolling restart.
    pub restarts: BTreeSet<String>,
    /// Whether every object that names it is paused.
    pub is_paused: bool,
}

impl Plan {
    /// The plan for `snapshot`; `before` gives the last good form of each stream.
    #[must_use]
    pub fn make(snapshot: &Snapshot<'_>, before: &Self) -> Self {
        let mut claims = snapshot.claims();
        let mut objects: Vec<_> = snapshot.objects.iter().collect();
        objects.sort_by_cached_key(|object| age(object));
        let mut plan = Self {
            is_made: true,
            accounts: snapshot.accounts.clone(),
            ..Self::default()
        };
        for object in objects {
            let own = Claim::of(object);
            let claims = claims.entry(namespace(object)).or_default();
            let verdict = snapshot.judge(object, claims);
            claims.settle(&own, verdict.is_ok());
            if let Some(wanted) = wanted(object, &verdict, snapshot, before) {
                // Of several that claim one id only the oldest is good, in whatever order they are.
                match plan.streams.entry(wanted.uid) {
                    // An id means nothing in another namespace: the older object has it.
                    Entry::Occupied(has)
                        if has.get().pool.namespace() != wanted.pool.namespace() => {},
                    Entry::Occupied(mut has) if verdict.is_ok() => drop(has.insert(wanted)),
                    Entry::Occupied(_) => {},
                    Entry::Vacant(none) => drop(none.insert(wanted)),
                }
            }
            plan.demand(object, &verdict, &own);
            let verdict = Verdict {
                generation: object.metadata.generation.unwrap_or_default(),
                outcome: verdict,
            };
            let uid = object.metadata.uid.clone().unwrap_or_default();
            plan.verdicts.insert(uid, verdict);
        }
        plan.count_retained(snapshot, &claims);
        for (key, pool) in &mut plan.pools {
            pool.groups = snapshot.groups.get(key).copied().unwrap_or_default();
        }
        plan
    }

    /// Counts the streams that no object stands for, and has those of given-up pools deleted. While
    /// an object names such a pool it stays, and so do they.
    fn count_retained(&mut self, snapshot: &Snapshot<'_>, claims: &BTreeMap<&str, Claims>) {
        for (namespace, homes) in &snapshot.homes {
            for (uid, home) in homes {
                // One that was never heard to be made counts, too: only its server knows, and the
                // coordinator forgets its home once that has said so.
                if claims[namespace.as_str()].claims(*uid) {
                    continue;
                }
                let key = PoolKey::new(namespace.clone(), home.pool.clone());
                let is_named = |pool: &PoolDemand| !pool.objects.is_empty();
                if snapshot.given_up.contains(&key)
                    && !self.pools.get(&key).is_some_and(is_named)
                    && let Some(left) = as_it_is(*uid, home, namespace)
                {
                    let gone = WantedStream {
                        delete: true,
                        ..left
                    };
                    self.streams.entry(*uid).or_insert(gone);
                }
                self.pools.entry(key).or_default().retained += 1;
            }
        }
    }

    /// Notes what the object asks of its pool. A pool is never made for an object that is refused.
    fn demand(
        &mut self,
        object: &DataStreamResource,
        verdict: &Result<ValidatedDataStream, Refusal>,
        own: &Claim,
    ) {
        let key = PoolKey::new(namespace(object), own.pool.clone());
        let is_ending = object.metadata.deletion_timestamp.is_some();
        let pool = self.pools.entry(key).or_insert_with(|| PoolDemand {
            is_paused: true,
            ..PoolDemand::default()
        });
        pool.objects.insert(own.object_name.clone());
        pool.is_paused &= is_on(object, annotations::PAUSE);
        if verdict.is_ok() && !is_ending {
            pool.shards += own.shards;
        }
        if is_on(object, annotations::ROLLING_RESTART) && !is_on(object, annotations::PAUSE) {
            pool.restarts.insert(own.object_name.clone());
        }
    }

    /// What the coordinator is told.
    #[must_use]
    pub fn wanted(&self) -> Vec<WantedStream> {
        self.streams.values().cloned().collect()
    }

    /// The verdict over this very object, of whatever generation.
    #[must_use]
    pub fn verdict(&self, object: &DataStreamResource) -> Option<&Verdict> {
        self.verdicts.get(object.metadata.uid.as_deref()?)
    }
}

/// Orders objects: the oldest goes first, here as in [`Claims`].
fn age(object: &DataStreamResource) -> (Option<Timestamp>, String) {
    let born = object.metadata.creation_timestamp.as_ref();
    let name = object.metadata.name.clone();
    (born.map(|time| time.0), name.unwrap_or_default())
}

/// Whether the annotation is on.
#[must_use]
pub fn is_on(object: &DataStreamResource, annotation: &str) -> bool {
    let all = object.metadata.annotations.as_ref();
    all.is_some_and(|all| annotations::is_on(all, annotation))
}

/// What to tell the coordinator of one object, if anything: a stream that is not told of is
/// retained.
fn wanted(
    object: &DataStreamResource,
    verdict: &Result<ValidatedDataStream, Refusal>,
    snapshot: &Snapshot<'_>,
    before: &Plan,
) -> Option<WantedStream> {
    let is_ending = object.metadata.deletion_timestamp.is_some();
    let is_paused = is_on(object, annotations::PAUSE);
    match verdict {
        Ok(stream) if is_ending && !is_paused => {
            let stream = of(stream, object)?;
            let deletes = validate::deletes_records(object);
            deletes.then_some(WantedStream {
                delete: true,
                ..stream
            })
        },
        Ok(stream) if !is_paused => of(stream, object),
        // Paused or refused: the stream goes on as it was.
        Ok(_) | Err(_) => {
            let owned = owned_uid(object)?;
            let last = before.streams.get(&owned);
            let last = last.filter(|last| last.pool.namespace() == namespace(object));
            let last = last.cloned();
            let kept = last.or_else(|| {
                let home = snapshot.homes(namespace(object)).get(&owned)?;
                as_it_is(owned, home, namespace(object))
            })?;
            if is_ending && !is_paused {
                let deletes = validate::deletes_records(object);
                return deletes.then_some(WantedStream {
                    delete: true,
                    ..kept
                });
            }
            Some(kept)
        },
    }
}

fn of(stream: &ValidatedDataStream, object: &DataStreamResource) -> Option<WantedStream> {
    Some(WantedStream {
        uid: stream.uid,
        scope: stream.scope.clone(),
        pool: pool_id(&stream.pool)?,
        spec: Some(stream.spec.clone()),
        version: version(object),
        delete: false,
    })
}

/// The stream that the object certainly has: that of its status, or of its own UID. Never one that
/// it only asks to adopt.
fn owned_uid(object: &DataStreamResource) -> Option<StreamUid> {
    let seen = object
        .status
        .as_ref()
        .and_then(|status| status.stream_id.as_deref());
    match seen {
        Some(id) => id.parse().ok(),
        None => object
            .metadata
            .uid
            .as_deref()?
            .replace('-', "")
            .parse()
            .ok(),
    }
}

/// A stream that exists and that no object says anything of that can be used: it goes on as its
/// home has it.
fn as_it_is(uid: StreamUid, home: &HomeView, namespace: &str) -> Option<WantedStream> {
    Some(WantedStream {
        uid,
        scope: home.scope.clone(),
        pool: pool_id(&PoolKey::new(namespace, home.pool.clone()))?,
        spec: None,
        version: Version(0),
        delete: false,
    })
}

/// Grows with each change of an object's spec, and from an object to a younger one that adopts its
/// stream.
fn version(object: &DataStreamResource) -> Version {
    let born = object.metadata.creation_timestamp.as_ref();
    let born = born.map_or(0, |time| time.0.as_second());
    let born = u64::try_from(born).unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let generation = u64::try_from(generation).unwrap_or_default();
    let most = (1 << GENERATION_BITS) - 1;
    Version((born << GENERATION_BITS) | generation.min(most))
}

/// The coordinator's word for a pool. It has none for what is no pair of DNS labels: tenants write
/// names of pools, in objects and in labels.
#[must_use]
pub fn pool_id(key: &PoolKey) -> Option<PoolId> {
    PoolId::new(&key.namespace, &key.pool).ok()
}

fn namespace(object: &DataStreamResource) -> &str {
    object.metadata.namespace.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;
