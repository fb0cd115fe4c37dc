//! Keeps every pool as the plan wants it: applies its objects, rolls its pods, deletes it when that
//! is asked.
//!
//! One pool after the other: a round is cheap, since what was applied and has not changed is not
//! applied again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use millstream_clock::task;
use millstream_crds::annotations;
use millstream_crds::data_stream::DataStreamResource;
use serde_json::json;

use super::applied::{Applied, Wanted};
use super::build::{PoolInput, ca_bundle, objects, stateful_set};
use super::last_look::{LastLook, Stays};
use super::metrics_token::Tokens;
use super::retire::{self, Verdict};
use super::roll::{self, Step};
use super::{size, view};
use crate::apply::{self, apply, delete, delete_only};
use crate::config::PoolClass;
use crate::context::Context;
use crate::metrics::{ErrorLabels, KindLabel};
use crate::names::{FIELD_MANAGER, PoolKey};
use crate::plan::{PoolDemand, pool_id};

/// Least time between two rounds.
const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// First wait after a pool was not brought up to date; doubled up to [`ROUND_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// A round without any news.
const ROUND_MAX: Duration = Duration::from_secs(10);

const KIND: KindLabel = KindLabel { kind: "Pool" };
const TOKEN_KIND: &str = "MetricsToken";

/// The loop over all pools.
pub struct Keeper {
    context: Arc<Context>,
    applied: Applied,
    warned: BTreeMap<PoolKey, String>,
    tokens: Tokens,
}

impl Keeper {
    /// A keeper that has applied nothing yet.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            applied: Applied::default(),
            warned: BTreeMap::new(),
            tokens: Tokens::default(),
        }
    }

    /// Keeps the pools until the process ends.
    pub async fn run(mut self) {
        let mut planned = self.context.planned.listen();
        let mut retry = RETRY_FIRST;
        loop {
            let all_kept = self.round().await;
            task::sleep(ROUND_PAUSE).await;
            // What was not kept is repeated ever less often, and keeps no other pool waiting.
            let wait = if all_kept { ROUND_MAX } else { retry };
            retry = if all_kept {
                RETRY_FIRST
            } else {
                (retry * 2).min(ROUND_MAX)
            };
            // Either a beat, or the time for a round without one; no beat can come at the end.
            if task::timeout(wait, planned.heard()).await == Ok(false) {
                return;
            }
        }
    }

    /// Looks at every pool once; whether each is as it should be.
    pub async fn round(&mut self) -> bool {
        let context = Arc::clone(&self.context);
        let plan = context.plan();
        if !plan.is_made {
            // Without a plan a pool in use looks like one that nobody names.
            return true;
        }
        let sets = self.sets();
        let named = plan.pools.keys().chain(sets.keys());
        // In a namespace that is being deleted nothing can be made, and everything goes by itself.
        let named = named.filter(|key| !context.is_ending(&key.namespace));
        let named: BTreeSet<PoolKey> = named.cloned().collect();
        // The gateways are in the operator's own namespace.
        let used = named.iter().filter(|key| {
            sets.contains_key(*key) || plan.pools.get(*key).is_some_and(|pool| pool.shards > 0)
        });
        let namespaces: BTreeSet<&str> = used
            .map(|key| key.namespace.as_str())
            .chain([context.namespace.as_str()])
            .collect();
        let mut all_kept = self.keep_tokens(&namespaces).await;
        for key in &named {
            let demand = plan.pools.get(key).cloned().unwrap_or_default();
            let begun = self.context.clock.monotonic();
            let kept = self.keep(key, &demand, sets.get(key)).await;
            let took = self.context.clock.monotonic().saturating_sub(begun);
            let metrics = &self.context.metrics;
            metrics
                .reconciles
                .get_or_create(&KIND)
                .observe(took.as_secs_f64());
            if let Err(error) = kept {
                let reason = apply::reason(&error);
                let labels = ErrorLabels {
                    kind: KIND.kind,
                    reason,
                };
                metrics.errors.get_or_create(&labels).inc();
                tracing::warn!(pool = %key, %error, "a pool was not brought up to date; it is repeated");
                self.applied.forget(key);
                all_kept = false;
            }
        }
        self.applied.retain(&named);
        all_kept
    }

    /// Sees that each namespace has a token for its metrics. Without one everything else goes on.
    async fn keep_tokens(&mut self, namespaces: &BTreeSet<&str>) -> bool {
        let mut all_kept = true;
        for namespace in namespaces {
            if let Err(error) = self.tokens.keep(&self.context, namespace).await {
                let labels = ErrorLabels {
                    kind: TOKEN_KIND,
                    reason: apply::reason(&error),
                };
                self.context.metrics.errors.get_or_create(&labels).inc();
                tracing::warn!(namespace, %error, "no token for metrics was made; it is repeated");
                all_kept = false;
            }
        }
        all_kept
    }

    /// The sets that are this release's.
    fn sets(&self) -> BTreeMap<PoolKey, Arc<StatefulSet>> {
        view::sets(self.context.sets.all(), &self.context.config.instance)
    }

    async fn keep(
        &mut self,
        key: &PoolKey,
        demand: &PoolDemand,
        set: Option<&Arc<StatefulSet>>,
    ) -> Result<(), kube::Error> {
        let context = Arc::clone(&self.context);
        let is_paused = set.is_some_and(|set| view::is_paused(set))
            || (demand.is_paused && !demand.objects.is_empty());
        if is_paused {
            return self.keep_bundle(key, set).await;
        }
        if let Some(set) = set {
            let annotations = set.metadata.annotations.as_ref();
            match retire::verdict(annotations, demand.objects.len(), demand.retained) {
                Verdict::Keep => {},
                Verdict::Delete => {
                    let refused = context.station.refused();
                    let why = pool_id(key).map_or(Some("no pool is named so"), |pool| {
                        refused.get(&pool).map(String::as_str)
                    });
                    let Some(why) = why else {
                        return self.retire(key, set).await;
                    };
                    self.stays(key, set, Stays::Unreadable(why.to_owned()))
                        .await;
                },
                Verdict::StreamsInTheWay(count) => {
                    let note = format!("the pool stays: {count} DataStreams name it");
                    self.warn(key, set, "PoolInUse", note).await;
                },
                Verdict::RecordsInTheWay(count) => {
                    let note = format!("the pool stays: it holds {count} retained streams");
                    self.warn(key, set, "PoolInUse", note).await;
                },
            }
        }
        let Some(class) = context.config.pool_classes.get(&key.pool) else {
            return self.keep_bundle(key, set).await;
        };
        if set.is_none() && (demand.shards == 0 || self.waits_for_pods(key, demand)) {
            return Ok(());
        }
        self.apply(key, class, demand, set).await?;
        if let Some(set) = set {
            if stateful_set::volumes_differ(class, set) {
                let note = "the volumes of a pool that is there stay as they are: \
                            the class's storage applies to new pools";
                self.warn(key, set, "VolumesKept", note.to_owned()).await;
            }
            self.roll(key, set).await?;
        }
        Ok(())
    }

    /// Whether pods are left of a former pool of this name: one that begins anew must not be served
    /// by them. One that has streams has a placement, and they are its own.
    fn waits_for_pods(&self, key: &PoolKey, demand: &PoolDemand) -> bool {
        let all = self.context.pods.all();
        demand.groups == 0 && view::has_owned_pods(key, all.iter().map(|pod| &**pod))
    }

    /// Keeps the certificates that the pods of a pool trust, where nothing else of it is kept:
    /// without them they would know nobody once the authority was rotated.
    async fn keep_bundle(
        &mut self,
        key: &PoolKey,
        set: Option<&Arc<StatefulSet>>,
    ) -> Result<(), kube::Error> {
        let Some(set) = set else {
            return Ok(());
        };
        let config = &self.context.config;
        let bundle = self.context.bundle.lock().clone();
        let object = ca_bundle(
            &key.namespace,
            &config.instance,
            &config.contract.ca_bundle,
            &bundle,
        );
        let now = self.context.clock.monotonic();
        let wanted = Wanted::of(&object);
        let generation = set.metadata.generation;
        if self.applied.is_fresh(key, wanted, generation, now) {
            return Ok(());
        }
        apply(&self.context.client, &object).await?;
        self.applied.insert(key, wanted, generation, now);
        Ok(())
    }

    async fn apply(
        &mut self,
        key: &PoolKey,
        class: &PoolClass,
        demand: &PoolDemand,
        set: Option<&Arc<StatefulSet>>,
    ) -> Result<(), kube::Error> {
        // A set that was deleted is made again as large as its placement, or what is in the groups
        // beyond the smallest pool would stay away.
        let existing = set.map_or(0, |set| view::replicas(set));
        let existing = existing.max(demand.groups);
        let restart = self.restart_moment(demand);
        let kept = set.and_then(|set| view::restarted_at(set));
        let bundle = self.context.bundle.lock().clone();
        let objects = objects(&PoolInput {
            key,
            class,
            config: &self.context.config,
            operator_namespace: &self.context.namespace,
            replicas: size::replicas(class, demand.shards, existing),
            restarted_at: restart.as_deref().or(kept),
            existing: set.map(|set| &**set),
            ca_bundle: &bundle,
        });
        let wanted = Wanted::of(&(
            &objects.ca_bundle,
            &objects.service_account,
            &objects.service,
            &objects.network_policy,
            &objects.disruption_budget,
            &objects.stateful_set,
        ));
        let generation = set.and_then(|set| set.metadata.generation);
        let now = self.context.clock.monotonic();
        if restart.is_none() && self.applied.is_fresh(key, wanted, generation, now) {
            return Ok(());
        }
        let client = &self.context.client;
        apply(client, &objects.ca_bundle).await?;
        apply(client, &objects.service_account).await?;
        apply(client, &objects.service).await?;
        match &objects.network_policy {
            Some(policy) => drop(apply(client, policy).await?),
            // It may be left from a time when they were turned on.
            None => {
                delete::<NetworkPolicy>(client, &key.namespace, &key.object_name(), None).await?;
            },
        }
        apply(client, &objects.disruption_budget).await?;
        let set = apply(client, &objects.stateful_set).await?;
        self.applied
            .insert(key, wanted, set.metadata.generation, now);
        for object in &demand.restarts {
            self.clear_restart(&key.namespace, object).await?;
        }
        Ok(())
    }

    /// Now, if an object asks for a rolling restart.
    fn restart_moment(&self, demand: &PoolDemand) -> Option<String> {
        if demand.restarts.is_empty() {
            return None;
        }
        let seconds = i64::try_from(self.context.clock.now().seconds()).ok()?;
        Some(Timestamp::from_second(seconds).ok()?.to_string())
    }

    /// The restart is written down in the template: it goes on without the annotation.
    async fn clear_restart(&self, namespace: &str, object: &str) -> Result<(), kube::Error> {
        let api: Api<DataStreamResource> = Api::namespaced(self.context.client.clone(), namespace);
        let gone = json!({"metadata": {"annotations": {annotations::ROLLING_RESTART: null}}});
        let options = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match api.patch(object, &options, &Patch::Merge(gone)).await {
            Err(error) if apply::code(&error) != Some(404) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn roll(&mut self, key: &PoolKey, set: &Arc<StatefulSet>) -> Result<(), kube::Error> {
        let Some(revision) = view::revision(set) else {
            return Ok(());
        };
        let context = Arc::clone(&self.context);
        if !context.station.is_settled() {
            return Ok(());
        }
        let Some(pool) = pool_id(key) else {
            return Ok(());
        };
        let all = context.pods.all();
        let serves = |ordinal| context.station.serves(&pool.group(ordinal));
        let pods = view::pods(key, all.iter().map(|pod| &**pod), serves);
        let step = roll::next(view::replicas(set), revision, &pods);
        if let Step::Restart { ordinal, uid } = step {
            let name = key.pod_name(ordinal);
            let note = format!("restarting {name} with the new template");
            context.events.tell(&**set, false, "PodRestarted", &note);
            delete::<Pod>(&context.client, &key.namespace, &name, Some(&uid)).await?;
            context.metrics.restarts.inc();
        }
        Ok(())
    }

    /// Deletes everything of a pool, the set last: while it is there, the wish is there too. An
    /// object that was made meanwhile keeps it; and a stream that was placed in it has changed its
    /// placement, which is deleted only as it was seen to be empty.
    async fn retire(&mut self, key: &PoolKey, set: &StatefulSet) -> Result<(), kube::Error> {
        let context = Arc::clone(&self.context);
        let (client, namespace) = (&context.client, &key.namespace);
        let name = key.object_name();
        if let Err(why) = LastLook::at(client, key).await?.deletable() {
            self.stays(key, set, why).await;
            return Ok(());
        }
        // If it stays after all, all of this is applied again.
        self.applied.forget(key);
        delete::<PodDisruptionBudget>(client, namespace, &name, None).await?;
        delete::<NetworkPolicy>(client, namespace, &name, None).await?;
        delete::<Service>(client, namespace, &name, None).await?;
        delete::<ServiceAccount>(client, namespace, &name, None).await?;
        let last = match LastLook::at(client, key).await?.deletable() {
            Ok(last) => last,
            Err(why) => {
                self.stays(key, set, why).await;
                return Ok(());
            },
        };
        if let Some(placement) = last.placement {
            let map = key.placement_name();
            delete_only::<ConfigMap>(client, namespace, &map, Some(placement)).await?;
        }
        delete_only::<StatefulSet>(client, namespace, &name, Some(last.set)).await?;
        if let Some(pool) = pool_id(key) {
            self.context.station.forget_pool(&pool).await;
        }
        tracing::info!(pool = %key, "a pool was deleted");
        Ok(())
    }

    /// A pool is not deleted after all. What people have to mend they are told.
    async fn stays(&mut self, key: &PoolKey, set: &StatefulSet, why: Stays) {
        if matches!(why, Stays::Unreadable(_)) {
            let note = format!("the pool stays: {why}");
            self.warn(key, set, "PoolInUse", note).await;
        } else {
            tracing::info!(pool = %key, %why, "a pool is not deleted");
        }
    }

    /// Tells people once what is in the way.
    async fn warn(&mut self, key: &PoolKey, set: &StatefulSet, reason: &str, note: String) {
        if self.warned.get(key) == Some(&note) {
            return;
        }
        self.context.events.tell(set, true, reason, &note);
        self.warned.insert(key.clone(), note);
    }
}
