//! The loop that makes the plan: dereference what is watched, plan, tell the coordinator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use millstream_clock::task;
use millstream_control::Access;
use millstream_control::coordinator::{Input, WantedStream};
use millstream_types::StreamUid;

use crate::accounts::{self, Account, NamespaceView};
use crate::config::pool_class::PODS_MAX;
use crate::context::Context;
use crate::contract::access_keys;
use crate::contract::keys::KeyKeeper;
use crate::controllers::data_stream::validate::HomeView;
use crate::names::PoolKey;
use crate::plan::{Plan, Snapshot};
use crate::pools::{retire, view};

/// Least time between two plans.
const PAUSE: Duration = Duration::from_millis(100);
/// A plan without any news.
const ROUND_MAX: Duration = Duration::from_secs(30);

/// Makes plans until the process ends.
pub struct Steer {
    context: Arc<Context>,
    keys: KeyKeeper,
    told_streams: Option<Vec<WantedStream>>,
    told_access: Option<Access>,
    refused_keys: BTreeMap<(String, String), String>,
}

impl Steer {
    /// Steers nothing yet.
    #[must_use]
    pub const fn new(context: Arc<Context>, keys: KeyKeeper) -> Self {
        Self {
            context,
            keys,
            told_streams: None,
            told_access: None,
            refused_keys: BTreeMap::new(),
        }
    }

    /// Makes a plan at each change.
    pub async fn run(mut self) {
        let mut changed = self.context.changed.listen();
        loop {
            self.round().await;
            task::sleep(PAUSE).await;
            if task::timeout(ROUND_MAX, changed.heard()).await == Ok(false) {
                return;
            }
        }
    }

    /// Makes one plan.
    pub async fn round(&mut self) {
        let before = self.context.plan();
        let plan = Arc::new(Plan::make(&snapshot(&self.context), &before));
        let count = i64::try_from(plan.streams.len()).unwrap_or(i64::MAX);
        self.context.metrics.streams.set(count);
        let wanted = plan.wanted();
        *self.context.plan.lock() = Arc::clone(&plan);
        if self.told_streams.as_ref() != Some(&wanted) {
            self.context.station.handle(Input::Streams(wanted.clone()));
            self.told_streams = Some(wanted);
        }
        self.tell_access(&plan.accounts).await;
        self.context.planned.beat();
    }

    /// Sends the access keys and the key of tokens to the gateways, if they changed.
    async fn tell_access(&mut self, accounts: &BTreeMap<String, Account>) {
        let secrets = self.context.secrets.all();
        let borrowed: Vec<&Secret> = secrets.iter().map(|secret| &**secret).collect();
        let (keys, refused) = access_keys::read(&borrowed, accounts);
        let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        self.context.metrics.access_keys.set(count);
        let own = |(name, account): (&String, &Account)| {
            account.own().map(|account| (name.clone(), account.clone()))
        };
        let access = Access {
            access_keys: keys,
            accounts: accounts.iter().filter_map(own).collect(),
            token_key: Some(self.keys.keyring().token_key()),
        };
        if self.told_access.as_ref() != Some(&access) {
            self.context.station.handle(Input::Access(access.clone()));
            self.told_access = Some(access);
        }
        let mut still = BTreeMap::new();
        for refusal in refused {
            let key = (refusal.namespace.clone(), refusal.name.clone());
            if self.refused_keys.get(&key) != Some(&refusal.reason)
                && let Some(secret) = self.context.secrets.get(&key.0, &key.1)
            {
                let note = format!("the access key is not used: {}", refusal.reason);
                let events = &self.context.events;
                events.tell(&*secret, true, "AccessKeyRefused", &note);
            }
            still.insert(key, refusal.reason);
        }
        self.refused_keys = still;
    }
}

/// All that a plan depends on, as of now.
#[must_use]
pub fn snapshot(context: &Context) -> Snapshot<'_> {
    let mut homes: BTreeMap<String, BTreeMap<StreamUid, HomeView>> = BTreeMap::new();
    let mut open_shards = BTreeMap::new();
    let mut groups = BTreeMap::new();
    for placement in context.station.placements() {
        let pool = &placement.pool;
        let highest = placement.groups.keys().next_back();
        if let Some(highest) = highest.filter(|_| !placement.homes.is_empty()) {
            let key = PoolKey::new(pool.namespace(), pool.name());
            groups.insert(key, highest.saturating_add(1).min(PODS_MAX));
        }
        let namespace = homes.entry(pool.namespace().to_owned()).or_default();
        for (uid, home) in placement.homes {
            if let Some(count) = context.station.stream(uid).shard_count {
                open_shards.insert(uid, count);
            }
            namespace.insert(
                uid,
                HomeView {
                    pool: pool.name().to_owned(),
                    name: home.name,
                    scope: home.scope,
                    made: home.made,
                },
            );
        }
    }
    Snapshot {
        config: &context.config,
        accounts: accounts(context),
        objects: context.streams.all(),
        homes,
        groups,
        open_shards,
        given_up: given_up(context),
        unreadable: context
            .station
            .unplaceable()
            .into_iter()
            .map(|(pool, problem)| {
                let key = PoolKey::new(pool.namespace(), pool.name());
                (key, problem)
            })
            .collect(),
    }
}

fn accounts(context: &Context) -> BTreeMap<String, Account> {
    let namespaces = context.namespaces.all();
    let view = |namespace: &Arc<Namespace>| NamespaceView {
        name: namespace.metadata.name.clone().unwrap_or_default(),
        uid: namespace.metadata.uid.clone().unwrap_or_default(),
        created: namespace
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0),
    };
    let watched = context.config.watched(&context.namespace);
    let mut views: Vec<NamespaceView> = namespaces.iter().map(view).collect();
    if let Some(watched) = watched {
        views.retain(|view| watched.contains(&view.name.as_str()));
    }
    accounts::assign(&views, &context.config.accounts)
}

/// The pools whose sets say that the records go too. One that is paused is left alone, with all
/// that is in it.
fn given_up(context: &Context) -> BTreeSet<PoolKey> {
    let sets = view::sets(context.sets.all(), &context.config.instance);
    let given_up = sets.into_iter().filter(|(_, set)| {
        !view::is_paused(set) && retire::gives_up(set.metadata.annotations.as_ref())
    });
    given_up.map(|(key, _)| key).collect()
}
