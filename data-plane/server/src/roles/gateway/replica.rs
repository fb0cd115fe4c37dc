//! What a gateway knows: what streams there are, as the groups tell, and where they are, as the
//! operator tells. The process runs it, and so does a simulation.
//!
//! It must not know its clients' ports. [`Replica::open`] waits until there is enough to serve,
//! [`Replica::keep`] follows from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use millstream_chassis::drain::Drain;
use millstream_clock::{Clock, Entropy, task};
use millstream_control::{AccessKey, DesiredState, GatewayDesired, PoolId, Routes};
use millstream_gateway::Credentials;
use millstream_protocol::sigv4;
use millstream_rpc::meter::Meter;
use millstream_rpc::{Caller, Follower, Options, Routed, Seen};
use millstream_stream::{Streams, TokenKey};
use millstream_types::GroupId;
use tokio::sync::watch;

use super::catalogues;
use super::control::WaitingControl;
use super::tenants;
use crate::roles::member::Membership;

/// For how long a gateway waits for the catalogues of all groups before it serves those that it
/// has.
const CATALOGUES_WAIT: Duration = Duration::from_secs(10);

/// A gateway's copy of what there is.
pub struct Replica {
    streams: Streams<Routed>,
    told_by: Told,
    desired: Desired,
    seen: watch::Receiver<BTreeMap<GroupId, Seen>>,
}

impl Replica {
    /// Waits for the first word of the operator, and then, within a limit, until all groups have
    /// told of their streams. Catalogues are followed until the drain.
    pub async fn open(
        membership: &Membership,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
        drain: &Drain,
    ) -> Self {
        let mut desired = membership.desired();
        let key = first_key(&mut desired).await;
        let connector = membership.connector();
        let caller = Caller::new(Options::default(), connector, Arc::clone(clock));
        let streams = Streams::replica(
            Arc::new(Routed::new(caller.clone())),
            millstream_stream::Options::default(),
            Arc::clone(clock),
            Arc::clone(entropy),
            &key,
        );
        let follower = Follower::new(streams.clone(), caller.clone());
        let seen = follower.seen();
        let ending = drain.clone();
        let following = follower.run(async move { ending.begun().await });
        drop(task::spawn("catalogues", following));
        let mut told_by = Told {
            caller,
            streams: streams.clone(),
            credentials: Credentials::default(),
            routes: Vec::new(),
        };
        let groups = told_by.take_newest(&mut desired);
        let mut copy = Self {
            streams,
            told_by,
            desired,
            seen,
        };
        copy.complete(&groups).await;
        copy
    }

    /// Waits, within a limit, until all of `groups` have told of their streams.
    async fn complete(&mut self, groups: &BTreeSet<GroupId>) {
        let all = |seen: &BTreeMap<GroupId, Seen>| groups.iter().all(|g| seen.contains_key(g));
        let complete = self.seen.wait_for(all);
        if task::timeout(CATALOGUES_WAIT, complete).await.is_err() {
            tracing::warn!("some groups have not told of their streams; serving the others");
        }
    }

    /// Takes over what the operator tells, and tells it how far the catalogues were followed.
    pub async fn keep(&mut self, membership: &Membership) -> Infallible {
        tokio::select! {
            biased;
            never = catalogues::report(membership, self.seen.clone()) => never,
            never = self.told_by.follow(&mut self.desired) => never,
        }
    }

    /// Counts its calls from now on.
    pub fn count_calls(&self, meter: Arc<dyn Meter>) {
        self.told_by.caller.count_by(meter);
    }

    /// The streams.
    #[must_use]
    pub const fn streams(&self) -> &Streams<Routed> {
        &self.streams
    }

    /// Who may ask for them.
    pub(super) const fn credentials(&self) -> &Credentials {
        &self.told_by.credentials
    }

    /// The calls of clients that change resources.
    #[must_use]
    pub fn control(&self, membership: &Membership) -> WaitingControl {
        WaitingControl::new(membership.control(), self.streams.clone())
    }
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
        self.routes = tenants::newest(std::mem::take(&mut self.routes), state);
        // First of all: nobody is shown what is another one's by now.
        self.streams.admit(tenants::tenants(state, &self.routes));
        self.caller.keep_pools(|namespace, pool| {
            let pool = PoolId::new(namespace, pool);
            pool.is_ok_and(|pool| tenants::is_there(state, &pool))
        });
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

    async fn follow(&mut self, desired: &mut Desired) -> Infallible {
        while desired.changed().await.is_ok() {
            self.take_newest(desired);
        }
        // The membership lives as long as this does.
        std::future::pending().await
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
