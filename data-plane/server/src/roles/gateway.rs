//! A gateway: clients on one side, the shard servers of all pools on the other. It keeps nothing
//! but its certificate and its last desired state.

mod catalogues;
mod control;
mod tenants;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use millstream_chassis::Config;
use millstream_chassis::admin::Phase;
use millstream_chassis::config::Member;
use millstream_chassis::drain::{Drain, drain};
use millstream_clock::task;
use millstream_control::{AccessKey, DesiredState, GatewayDesired, PoolId, Role, Routes};
use millstream_gateway::{Auth, Credentials, Drained, Gateway, Listeners, cloudwatch};
use millstream_protocol::sigv4;
use millstream_rpc::{Caller, Follower, Options, Routed, Seen};
use millstream_stream::{Streams, TokenKey};
use millstream_types::{GroupId, Scope};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Failure;
use crate::front::Front;
use crate::roles::member::Membership;
use crate::start::{ApiPorts, Shared, bind_api};

/// For how long a gateway waits for the catalogues of all groups before it serves those that it
/// has.
const CATALOGUES_WAIT: Duration = Duration::from_secs(10);

/// Joins, waits until it knows what there is, and serves until `told` is ready.
pub(crate) async fn run(
    config: Config,
    member: Member,
    shared: Shared,
    mut told: Pin<&mut (impl Future<Output = ()> + Send)>,
) -> Result<(), Failure> {
    let api = bind_api(&config).await?;
    let front = Front::open(&config, &*shared.clock)?;
    let joined = tokio::select! {
        joined = Membership::join(&member, Role::Gateway, &config.data_dir, &shared) => joined,
        () = &mut told => return Ok(()),
    };
    let membership = joined?;
    let mut desired = membership.desired();
    let key = tokio::select! {
        key = first_key(&mut desired) => key,
        () = &mut told => return Ok(()),
    };
    let (signal, drain) = drain();
    let mut copy = Replica::follow(&membership, &shared, &key, &drain);
    let groups = copy.told_by.take_newest(&mut desired);
    tokio::select! {
        () = copy.complete(&groups) => {},
        () = &mut told => return Ok(()),
    }
    let addr = api.addr;
    let gateway = serve_clients(&config, api, front, &shared, &membership, &copy, drain);
    shared.readiness.set(Phase::Ready);
    membership.report(|state| state.health.ready = true);
    tracing::info!(%addr, "ready");
    tokio::select! {
        never = catalogues::report(&membership, copy.seen.clone()) => match never {},
        () = copy.told_by.follow(&mut desired) => {},
        () = &mut told => {},
    }
    shared.readiness.set(Phase::Draining);
    membership.report(|state| state.health.ready = false);
    signal.begin();
    match gateway.await {
        Ok(drained) => tracing::info!(?drained, "requests are finished"),
        Err(error) => tracing::error!(%error, "the gateway failed"),
    }
    membership.leave().await;
    Ok(())
}

/// What there is, as the groups tell, and where it is, as the operator tells.
struct Replica {
    streams: Streams<Routed>,
    told_by: Told,
    seen: watch::Receiver<BTreeMap<GroupId, Seen>>,
}

impl Replica {
    /// Follows the catalogues of all groups until the drain.
    fn follow(membership: &Membership, shared: &Shared, key: &TokenKey, drain: &Drain) -> Self {
        let caller = Caller::new(
            Options::default(),
            membership.connector(),
            Arc::clone(&shared.clock),
        );
        let streams = Streams::replica(
            Arc::new(Routed::new(caller.clone())),
            millstream_stream::Options::default(),
            Arc::clone(&shared.clock),
            Arc::clone(&shared.entropy),
            key,
        );
        let follower = Follower::new(streams.clone(), caller.clone());
        let seen = follower.seen();
        let ending = drain.clone();
        let following = follower.run(async move { ending.begun().await });
        drop(task::spawn("catalogues", following));
        Self {
            told_by: Told {
                caller,
                streams: streams.clone(),
                credentials: Credentials::default(),
                routes: Vec::new(),
            },
            streams,
            seen,
        }
    }

    /// Waits, within a limit, until all of `groups` have told of their streams.
    async fn complete(&mut self, groups: &BTreeSet<GroupId>) {
        let all = |seen: &BTreeMap<GroupId, Seen>| groups.iter().all(|g| seen.contains_key(g));
        let complete = self.seen.wait_for(all);
        if task::timeout(CATALOGUES_WAIT, complete).await.is_err() {
            tracing::warn!("some groups have not told of their streams; serving the others");
        }
    }
}

/// Opens the ports for clients.
fn serve_clients(
    config: &Config,
    api: ApiPorts,
    front: Front,
    shared: &Shared,
    membership: &Membership,
    copy: &Replica,
    drain: Drain,
) -> JoinHandle<Drained> {
    let home = Scope {
        account: config.account.clone(),
        region: config.region.clone(),
    };
    let sampling = cloudwatch::run(
        copy.streams.clone(),
        Arc::clone(&shared.metrics.cloudwatch),
        home.clone(),
        Arc::clone(&shared.clock),
        drain.clone(),
    );
    drop(task::spawn("cloudwatch", sampling));
    let mut options = millstream_gateway::Options::new(home, config.memory);
    options.auth = Auth::Verify(copy.told_by.credentials.clone());
    let tls = api.tls.zip(front.tls.clone());
    let listeners = Listeners {
        plain: api.plain,
        tls: tls.map(|((_, listener), keys)| (listener, keys)),
    };
    front.watch(Arc::clone(&shared.clock), &shared.metrics, &drain);
    let control = control::WaitingControl::new(membership.control(), copy.streams.clone());
    let gateway = Gateway::new(
        options,
        copy.streams.clone(),
        Arc::new(control),
        shared.metrics.clone(),
        Arc::clone(&shared.clock),
        &*shared.entropy,
    );
    task::spawn("gateway", gateway.run(listeners, drain, config.drain))
}

type Desired = watch::Receiver<Option<Arc<DesiredState>>>;

fn for_gateway(state: Option<&Arc<DesiredState>>) -> Option<&GatewayDesired> {
    match state.map(|state| &**state) {
        Some(DesiredState::Gateway(state)) => Some(state),
        _ => None,
    }
}

/// The key that seals iterators, once the operator has given one.
async fn first_key(desired: &mut Desired) -> TokenKey {
    loop {
        if let Some(key) = for_gateway(desired.borrow_and_update().as_ref()).and_then(token_key) {
            return key;
        }
        if desired.changed().await.is_err() {
            // The membership lives as long as this does.
            std::future::pending::<()>().await;
        }
    }
}

fn token_key(state: &GatewayDesired) -> Option<TokenKey> {
    let text = state.access.token_key.as_ref()?.reveal().as_bytes();
    let mut key = [0; TokenKey::BYTES];
    if text.len() != 2 * key.len() {
        tracing::warn!("the key for iterators is not 64 hexadecimal digits; waiting for another");
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(TokenKey::new(key))
}

/// Where what the operator tells goes.
struct Told {
    caller: Caller,
    streams: Streams<Routed>,
    credentials: Credentials,
    /// The newest routes of each pool.
    routes: Vec<Routes>,
}

impl Told {
    /// Takes the newest state over; says which groups there are.
    fn take_newest(&mut self, desired: &mut Desired) -> BTreeSet<GroupId> {
        match for_gateway(desired.borrow_and_update().as_ref()) {
            Some(state) => self.take(state),
            None => BTreeSet::new(),
        }
    }

    fn take(&mut self, state: &GatewayDesired) -> BTreeSet<GroupId> {
        // First of all: nobody is shown what is another one's by now.
        self.streams.admit(tenants::tenants(state, &self.routes));
        self.forget_pools(state);
        let mut groups = BTreeSet::new();
        for routes in &state.routes {
            let placed = routes.endpoints();
            let version = (routes.version.term, routes.version.counter);
            if !self
                .caller
                .place(&routes.pool.to_string(), version, &placed)
            {
                tracing::warn!(pool = %routes.pool, "an older placement is not taken");
            }
            groups.extend(placed.into_keys());
        }
        if let Some(key) = token_key(state) {
            self.streams.use_token_key(&key);
        }
        let keys = state.access.access_keys.iter().map(access_key);
        self.credentials.replace(keys.collect());
        tracing::info!(version = %state.version, groups = groups.len(),
            keys = self.credentials.len(), "took routes and keys");
        groups
    }

    /// Forgets the pools that are no more, and keeps the newest routes of the others.
    fn forget_pools(&mut self, state: &GatewayDesired) {
        self.caller.keep_pools(|namespace, pool| {
            let pool = PoolId::new(namespace, pool);
            pool.is_ok_and(|pool| tenants::is_there(state, &pool))
        });
        self.routes.retain(|known| {
            let told = state.routes.iter().any(|routes| routes.pool == known.pool);
            !told && tenants::is_there(state, &known.pool)
        });
        self.routes.extend(state.routes.iter().cloned());
    }

    async fn follow(&mut self, desired: &mut Desired) {
        while desired.changed().await.is_ok() {
            self.take_newest(desired);
        }
        // The membership lives as long as this does.
        std::future::pending::<()>().await;
    }
}

fn access_key(key: &AccessKey) -> sigv4::AccessKey {
    sigv4::AccessKey {
        id: key.id.clone(),
        secret: sigv4::Secret::new(key.secret.reveal().to_owned()),
        account: key.account.clone(),
        session_token: None,
    }
}
