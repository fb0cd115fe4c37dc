//! One shard server over whatever store, network and membership it is given: the process runs it,
//! and so does a simulation.
//!
//! It must not know where its settings come from, nor which sockets there are. In turn:
//! [`Server::new`], [`begin`](Server::begin), [`work`](Server::work), [`end`](Server::end).

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millstream_chassis::drain::{Drain, DrainSignal, drain};
use millstream_clock::{Clock, Entropy, task};
use millstream_control::{CataloguePoint, DesiredState, Health, ObservedState, Role, ShardDesired};
use millstream_link::grpc::ServeOptions;
use millstream_rpc::meter::Meter;
use millstream_rpc::{Caller, Options, RemoteGroups, ShardServer, ShardService};
use millstream_storage::volume::Engine;
use millstream_stream::error::OpenError;
use millstream_stream::{Home, ShardStore, Streams, TokenKey, retention};
use millstream_types::{Epoch, GroupId};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::roles::member::Membership;
use crate::roles::shard::desired::Homes;
use crate::roles::shard::health::{self, Unwell, Vitals};

/// Most calls at a time on one connection of a gateway.
const CALLS_MAX: u32 = 256;
/// How long calls under way may take at the end; each is one commit or one read.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// How often numbers are reported, and what could not be done is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What went into a group since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The store of one log group, held by this process.
pub trait GroupStore: ShardStore {
    /// The life of the group's writer that this is.
    fn epoch(&self) -> Epoch;

    /// Returns when it takes nothing any more, with the reason: the process must end.
    fn failed(&self) -> impl Future<Output = String> + Send;

    /// What went in.
    fn taken(&self) -> Taken;

    /// Whether its disk is full, as far as it says so.
    fn is_full(&self) -> bool {
        false
    }
}

impl GroupStore for Engine {
    fn epoch(&self) -> Epoch {
        Epoch(Self::epoch(self))
    }

    async fn failed(&self) -> String {
        Self::failed(self).await
    }

    fn taken(&self) -> Taken {
        let counters = self.counters();
        Taken {
            records: counters.records,
            bytes: counters.record_bytes,
        }
    }

    fn is_full(&self) -> bool {
        self.counters().no_space != 0
    }
}

/// The streams that a group's store holds.
///
/// # Errors
/// When a row cannot be read.
pub fn open_streams<S: GroupStore>(
    store: &Arc<S>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Streams<S>, OpenError> {
    // Iterators are the gateways' affair: a key that nobody else has.
    let mut key = [0; TokenKey::BYTES];
    entropy.fill(&mut key);
    Streams::open(
        Arc::clone(store),
        millstream_stream::Options::default(),
        Arc::clone(clock),
        Arc::clone(entropy),
        &TokenKey::new(key),
    )
}

/// Limits of the port for gateways, and who may use it.
#[must_use]
pub fn serve_options() -> ServeOptions {
    ServeOptions {
        calls_max: CALLS_MAX,
        drain_timeout: DRAIN_MAX,
        roles: vec![Role::Gateway, Role::Shard],
        ..ServeOptions::default()
    }
}

/// A shard server.
pub struct Server<S> {
    store: Arc<S>,
    streams: Streams<S>,
    group: GroupId,
    membership: Membership,
    caller: Caller,
    signal: DrainSignal,
    drain: Drain,
    stop: watch::Sender<bool>,
    /// Whether the store takes appends.
    well: watch::Sender<bool>,
}

impl<S: GroupStore> Server<S> {
    /// The server of `group`; nothing runs yet.
    #[must_use]
    pub fn new(
        store: Arc<S>,
        streams: Streams<S>,
        group: GroupId,
        membership: Membership,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let caller = Caller::new(
            Options::default(),
            membership.connector(),
            Arc::clone(clock),
        );
        let (signal, drain) = drain();
        Self {
            store,
            streams,
            group,
            membership,
            caller,
            signal,
            drain,
            stop: watch::Sender::new(false),
            well: watch::Sender::new(false),
        }
    }

    /// Counts its calls to other groups from now on.
    pub fn count_calls(&self, meter: Arc<dyn Meter>) {
        self.caller.count_by(meter);
    }

    /// What gateways and other groups call.
    #[must_use]
    pub fn service(&self) -> ShardServer<S> {
        let (store, streams) = (Arc::clone(&self.store), self.streams.clone());
        ShardService::new(store, streams, self.group.clone(), self.store.epoch()).into_server()
    }

    /// Says when the port for gateways has to be closed.
    #[must_use]
    pub fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Says whether the store takes appends; not before that was seen.
    #[must_use]
    pub fn well(&self) -> watch::Receiver<bool> {
        self.well.subscribe()
    }

    /// Opens for gateways with `serving`, which runs the service until it is
    /// [`stopped`](Self::stopped), and starts what looks after the streams.
    pub fn begin(&self, serving: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let (group, epoch) = (self.group.clone(), self.store.epoch());
        tracing::info!(%group, %epoch, "serving gateways");
        let serving = task::spawn("shards", serving);
        let peers = Arc::new(RemoteGroups::new(self.caller.clone()));
        let home = Home::new(self.streams.clone(), group.clone(), peers).in_life(epoch);
        let drain = self.drain.clone();
        let home = home.run(async move { drain.begun().await });
        drop(task::spawn("home", home));
        let trimming = retention::Service::new(retention::Options::default(), self.streams.clone());
        let drain = self.drain.clone();
        let trimming = trimming.run(async move { drain.begun().await });
        drop(task::spawn("retention", trimming));
        self.membership.report(|state| {
            state.group = Some(group);
            state.epoch = epoch;
        });
        serving
    }

    /// Does what the operator wants until the store fails; the reason.
    pub async fn work(&self) -> String {
        tokio::select! {
            biased;
            reason = self.store.failed() => reason,
            never = self.watch_health() => match never {},
            never = self.follow_desired() => match never {},
        }
    }

    /// Tells the operator, and whoever asks here, whether the store takes appends.
    async fn watch_health(&self) -> Infallible {
        let vitals = || Vitals {
            records: self.store.taken().records,
            is_full: self.store.is_full(),
        };
        let say = |health: Result<(), Unwell>| {
            self.well.send_replace(health.is_ok());
            self.membership.report(|state| {
                state.health = Health {
                    ready: health.is_ok(),
                    reason: health.err().map(|unwell| unwell.to_string()),
                };
            });
        };
        health::watch(&*self.store, vitals, say).await
    }

    /// Finishes what is under way, and lets go of the operator. The store is the caller's to close.
    pub async fn end(self, serving: JoinHandle<()>) {
        self.membership.report(|state| state.health.ready = false);
        self.signal.begin();
        self.stop.send_replace(true);
        if let Err(error) = serving.await {
            tracing::error!(%error, "the port for gateways failed");
        }
        self.membership.leave().await;
    }

    /// Does what the operator wants, and reports how far it is.
    async fn follow_desired(&self) -> Infallible {
        let mut desired = self.membership.desired();
        let mut changes = self.streams.watch();
        let mut homes = Homes::default();
        loop {
            let state = desired.borrow_and_update().clone();
            if let Some(DesiredState::Shard(state)) = state.as_deref() {
                self.take(state, &mut homes).await;
            }
            self.membership.report(|state| self.observe(state, &homes));
            tokio::select! {
                biased;
                changed = desired.changed() => {
                    if changed.is_err() {
                        // The membership lives as long as this does.
                        return std::future::pending().await;
                    }
                },
                _ = changes.next() => {},
                () = task::sleep(LOOK_EVERY) => {},
            }
        }
    }

    async fn take(&self, state: &ShardDesired, homes: &mut Homes) {
        if state.group != self.group {
            tracing::warn!(wanted = %state.group, group = %self.group,
                "the operator takes this server for another one");
            return;
        }
        let pool = format!("{}/{}", state.group.namespace(), state.group.pool());
        let version = (state.placement.term, state.placement.counter);
        if !self.caller.place(&pool, version, &state.endpoints()) {
            tracing::warn!(%pool, "an older placement is not taken");
            return;
        }
        homes.bring_about(&self.streams, state).await;
    }

    fn observe(&self, state: &mut ObservedState, homes: &Homes) {
        state.streams = homes.observed(&self.streams);
        // Looked at afterwards: what was changed in between, the gateways may know, and need not.
        state.catalogue = Some(CataloguePoint {
            epoch: state.epoch,
            changes: self.streams.changes(),
        });
        let taken = self.store.taken();
        state.counters.records_in = taken.records;
        state.counters.bytes_in = taken.bytes;
    }
}
