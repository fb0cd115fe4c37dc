//! Placements in ConfigMaps: one for each pool, written before anybody hears of it.
//!
//! Each write names the version of the object that was last read or written, so that a leader that
//! was replaced finds its write refused, and what it finds there instead is never written over if it
//! is later. That alone does not end a leader: the lease does. Tenants may be able to write
//! ConfigMaps of their namespace: what cannot be used is named with its pool, and is in no other
//! pool's way.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use millstream_control::placement::PlacementError;
use millstream_control::{Placement, PlacementVersion, PoolId};

use crate::apply::{code, patiently};
use crate::failure::Failure;
use crate::names::{LABEL_PLACEMENT, PoolKey};
use crate::pools::seats;

/// The key of the placement in the ConfigMap.
const DATA: &str = "placement.json";
/// How far a placement's term may be ahead of the lease's. They are the same but for a lease that
/// was deleted: it counts from zero, and the placements tell the term. Terms come by leaders that
/// change, so what is further ahead was not written by one.
const TERMS_AHEAD_MAX: u64 = 1_000_000;
/// The highest counter of a version: no leader counts so far, and one more is still a number.
const COUNTER_MAX: u64 = u64::MAX >> 1;

/// Most placements that are used of one namespace: one for each pool class, whose number has the same
/// bound. The older objects go first, so that what somebody adds takes the place of none.
const PLACEMENTS_MAX: usize = 64;

/// The ConfigMaps, and the version of each.
pub struct Placements {
    client: Client,
    instance: String,
    term: u64,
    versions: BTreeMap<PoolId, String>,
    /// The cluster's domain, once the addresses were looked at.
    domain: Option<String>,
    /// The placements that are more than one namespace has.
    surplus: BTreeSet<PoolId>,
}

/// What a new leader finds.
pub struct Found {
    /// Writes them from now on.
    pub placements: Placements,
    /// The placements that can be used.
    pub good: Vec<Placement>,
    /// The pools whose placement cannot be used, and why.
    pub refused: BTreeMap<PoolId, String>,
    /// Every namespace that is to be watched was read.
    pub is_whole: bool,
}

/// Why a placement was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is a later one, by another leader or by nobody. It stays.
    #[error(
        "its version {there} is later than any that this leader gave (its term is {term}); unless \
         another leader is at work, somebody else has written it"
    )]
    Overtaken {
        /// What is there.
        there: PlacementVersion,
        /// This leader's term.
        term: u64,
    },
    /// It does not fit.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The API server did not do it.
    #[error("{0}")]
    Api(#[from] kube::Error),
}

impl Found {
    /// Gives every server the address that the operator makes for its pod in the cluster's `domain`:
    /// what stands in a ConfigMap would have gateways dial whatever somebody wrote there. The pods'
    /// own addresses come from the pods. A placement of pods that are not the pool's is refused.
    #[must_use]
    pub fn in_domain(mut self, domain: &str) -> Self {
        self.placements.domain = Some(domain.to_owned());
        let found = std::mem::take(&mut self.good);
        for mut placement in found {
            match readdress(&mut placement, domain) {
                Ok(()) => self.good.push(placement),
                Err(problem) => {
                    tracing::error!(pool = %placement.pool, problem, "a placement cannot be used");
                    self.placements.forget(&placement.pool);
                    self.refused.insert(placement.pool, problem);
                },
            }
        }
        self
    }
}

impl Placements {
    /// Reads every placement in the namespaces, for a leader of `term`.
    ///
    /// # Errors
    /// When they cannot be listed: without them streams would be placed anew.
    pub async fn read(
        client: Client,
        instance: &str,
        namespaces: Option<&[&str]>,
        term: u64,
    ) -> Result<Found, Failure> {
        let mut versions = BTreeMap::new();
        let mut good = Vec::new();
        let mut refused = BTreeMap::new();
        let mut surplus = BTreeSet::new();
        let selected = ListParams::default().labels(&format!("{LABEL_PLACEMENT}=true"));
        for api in crate::watched::apis::<ConfigMap>(&client, namespaces) {
            let listed = patiently("listing placements", || api.list(&selected)).await;
            let listed = listed.map_err(|error| Failure::api("listing placements", &error))?;
            let mut listed = listed.items;
            listed.sort_by_cached_key(age);
            let mut counts = Counts::default();
            for object in listed {
                let Some(pool) = pool_of(&object) else {
                    let (namespace, name) = (&object.metadata.namespace, &object.metadata.name);
                    tracing::warn!(
                        ?namespace,
                        ?name,
                        "a ConfigMap is labelled as a placement and \
                        is not named as one; it is left alone"
                    );
                    continue;
                };
                let room = counts.take(&pool);
                if room.is_err() {
                    surplus.insert(pool.clone());
                }
                match room.and_then(|()| parse(&pool, &object, term)) {
                    Ok(placement) => {
                        let version = object.metadata.resource_version.unwrap_or_default();
                        versions.insert(pool, version);
                        good.push(placement);
                    },
                    Err(problem) => {
                        tracing::error!(%pool, problem, "a placement cannot be used: the streams \
                            of its pool are left alone");
                        refused.insert(pool, problem);
                    },
                }
            }
        }
        Ok(Found {
            placements: Self {
                client,
                instance: instance.to_owned(),
                term,
                versions,
                domain: None,
                surplus,
            },
            good,
            refused,
            is_whole: true,
        })
    }

    /// Whether the placement of a pool can be used now, or is not there at all. One of too many is
    /// not looked at, for there may be any number: the next leader counts them again.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn is_mended(&self, pool: &PoolId) -> Result<bool, kube::Error> {
        if self.surplus.contains(pool) {
            return Ok(false);
        }
        let key = PoolKey::new(pool.namespace(), pool.name());
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), pool.namespace());
        let object = api.get_opt(&key.placement_name()).await?;
        let Some(object) = object else {
            return Ok(true);
        };
        let is_addressed = |mut placement: Placement| {
            let domain = self.domain.as_deref();
            domain.is_none_or(|domain| readdress(&mut placement, domain).is_ok())
        };
        Ok(parse(pool, &object, self.term).is_ok_and(is_addressed))
    }

    /// Writes over the former placement of the pool.
    ///
    /// # Errors
    /// When it is not the one that was last read or written, or the API server refuses.
    pub async fn write(&mut self, placement: &Placement) -> Result<(), WriteError> {
        let pool = &placement.pool;
        let key = PoolKey::new(pool.namespace(), pool.name());
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), pool.namespace());
        let known = self.versions.get(pool).cloned();
        let object = self.object(&key, placement, known.clone())?;
        let options = PostParams::default();
        let written = match known {
            Some(_) => api.replace(&key.placement_name(), &options, &object).await,
            None => api.create(&options, &object).await,
        };
        match written {
            Ok(written) => {
                let version = written.metadata.resource_version.unwrap_or_default();
                self.versions.insert(pool.clone(), version);
                Ok(())
            },
            Err(error) => self.refused(&api, &key, placement, error).await,
        }
    }

    /// Forgets a pool whose placement was deleted.
    pub fn forget(&mut self, pool: &PoolId) {
        self.versions.remove(pool);
    }

    /// What is there instead? Ours, if the answer to an earlier write was lost; or another's.
    async fn refused(
        &mut self,
        api: &Api<ConfigMap>,
        key: &PoolKey,
        placement: &Placement,
        error: kube::Error,
    ) -> Result<(), WriteError> {
        if !matches!(code(&error), Some(409 | 404)) {
            return Err(error.into());
        }
        let Some(object) = api.get_opt(&key.placement_name()).await? else {
            self.versions.remove(&placement.pool);
            return Err(error.into());
        };
        let there = parse(&placement.pool, &object, self.term).map(|there| there.version);
        if let Ok(there) = there
            && there > placement.version
        {
            // What was last read stays known, so that a further write is refused, too.
            return Err(WriteError::Overtaken {
                there,
                term: placement.version.term,
            });
        }
        let version = object.metadata.resource_version.unwrap_or_default();
        self.versions.insert(placement.pool.clone(), version);
        Err(error.into())
    }

    fn object(
        &self,
        key: &PoolKey,
        placement: &Placement,
        version: Option<String>,
    ) -> Result<ConfigMap, PlacementError> {
        let mut labels = key.labels(&self.instance);
        labels.insert(LABEL_PLACEMENT.to_owned(), "true".to_owned());
        Ok(ConfigMap {
            metadata: ObjectMeta {
                name: Some(key.placement_name()),
                namespace: Some(key.namespace.clone()),
                labels: Some(labels),
                resource_version: version,
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(DATA.to_owned(), placement.to_json()?)])),
            ..ConfigMap::default()
        })
    }
}

/// The placements of each namespace, so far.
#[derive(Default)]
struct Counts(BTreeMap<String, usize>);

impl Counts {
    /// Takes one of the places that the namespace of the pool has.
    fn take(&mut self, pool: &PoolId) -> Result<(), String> {
        let count = self.0.entry(pool.namespace().to_owned()).or_default();
        *count += 1;
        if *count > PLACEMENTS_MAX {
            return Err(format!(
                "its namespace has more than {PLACEMENTS_MAX} of them; delete those of no pool"
            ));
        }
        Ok(())
    }
}

/// Orders objects: the oldest goes first.
fn age(object: &ConfigMap) -> (Option<Timestamp>, Option<String>) {
    let metadata = &object.metadata;
    let born = metadata.creation_timestamp.as_ref().map(|time| time.0);
    (born, metadata.name.clone())
}

/// Puts the addresses of the pool's pods in place of those that were written.
fn readdress(placement: &mut Placement, domain: &str) -> Result<(), String> {
    let pool = &placement.pool;
    let key = PoolKey::new(pool.namespace(), pool.name());
    for (ordinal, seat) in &mut placement.groups {
        let pod = key.pod_name(*ordinal);
        if seat.pod != pod {
            return Err(format!(
                "group {ordinal} is held by {}, not by {pod}",
                seat.pod
            ));
        }
        *seat = seats::seat(&key, pod, domain, None)
            .ok_or_else(|| format!("group {ordinal} has no address in {domain}"))?;
    }
    Ok(())
}

/// The pool whose placement a ConfigMap of this name holds.
fn pool_of(object: &ConfigMap) -> Option<PoolId> {
    let namespace = object.metadata.namespace.as_deref()?;
    let prefix = PoolKey::new(namespace, "").placement_name();
    let pool = object.metadata.name.as_deref()?.strip_prefix(&prefix)?;
    PoolId::new(namespace, pool).ok()
}

/// The placement that stands in the object, whosever it is.
///
/// # Errors
/// What is wrong with it.
pub fn written(object: &ConfigMap) -> Result<Placement, String> {
    let text = object.data.as_ref().and_then(|data| data.get(DATA));
    let text = text.ok_or_else(|| format!("data.{DATA} is missing"))?;
    Placement::from_json(text).map_err(|error| error.to_string())
}

/// The placement of `pool`, as far as a leader of `term` can believe it.
fn parse(pool: &PoolId, object: &ConfigMap, term: u64) -> Result<Placement, String> {
    let placement = written(object)?;
    if placement.pool != *pool {
        return Err(format!("it is of the pool {}", placement.pool));
    }
    let version = placement.version;
    if version.term > term.saturating_add(TERMS_AHEAD_MAX) || version.counter > COUNTER_MAX {
        return Err(format!(
            "its version {version} was given by no leader: this one's term is {term}"
        ));
    }
    Ok(placement)
}

#[cfg(test)]
mod tests;
