//! A shard server: one log group over its data directory, the home of some streams, and a host for
//! shards of others.

pub mod desired;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use millstream_chassis::Config;
use millstream_chassis::admin::Phase;
use millstream_chassis::config::ShardRole;
use millstream_chassis::drain::{Drain, drain};
use millstream_clock::task;
use millstream_control::{CataloguePoint, DesiredState, ObservedState, Role, ShardDesired};
use millstream_link::grpc::{ServeOptions, serve};
use millstream_link::tcp::TcpListener;
use millstream_link::tls::TlsListener;
use millstream_rpc::{Caller, Options, RemoteGroups, ShardService};
use millstream_storage::volume::Engine;
use millstream_stream::{Home, Streams, TokenKey, retention};
use millstream_types::Epoch;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::roles::member::Membership;
use crate::start::{Shared, open_engine};
use crate::{Failure, engine_metrics};

/// Most calls at a time on one connection of a gateway.
const CALLS_MAX: u32 = 256;
/// How long calls under way may take at the end; each is one commit or one read.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// How often numbers are reported, and what could not be done is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A shard server that serves.
struct Running {
    engine: Engine,
    streams: Streams<Engine>,
    membership: Membership,
    role: ShardRole,
    caller: Caller,
    drain: Drain,
}

/// Opens the group, joins, and serves until `told` is ready.
pub(crate) async fn run(
    config: Config,
    role: ShardRole,
    shared: Shared,
    mut told: Pin<&mut (impl Future<Output = ()> + Send)>,
) -> Result<(), Failure> {
    let engine = open_engine(&config, &shared).await?;
    let streams = match open_streams(&engine, &shared) {
        Ok(streams) => streams,
        Err(failure) => {
            engine.close().await;
            return Err(failure);
        },
    };
    let joined = tokio::select! {
        joined = Membership::join(&role.member, Role::Shard, &config.data_dir, &shared) => joined,
        () = &mut told => {
            engine.close().await;
            return Ok(());
        },
    };
    let (signal, drain) = drain();
    let (stop, stopped) = watch::channel(false);
    let brought_up = match joined {
        Ok(membership) => {
            let caller = Caller::new(
                Options::default(),
                membership.connector(),
                Arc::clone(&shared.clock),
            );
            let running = Running {
                engine: engine.clone(),
                streams,
                membership,
                role,
                caller,
                drain,
            };
            running
                .serve(&shared, stopped)
                .await
                .map(|serving| (running, serving))
        },
        Err(error) => Err(error.into()),
    };
    let (running, serving) = match brought_up {
        Ok(running) => running,
        Err(failure) => {
            engine.close().await;
            return Err(failure);
        },
    };
    shared.readiness.set(Phase::Ready);
    let ended = tokio::select! {
        reason = engine.failed() => Err(Failure::Store(reason)),
        () = running.follow_desired() => Ok(()),
        () = told => Ok(()),
    };
    shared.readiness.set(Phase::Draining);
    running
        .membership
        .report(|state| state.health.ready = false);
    signal.begin();
    stop.send_replace(true);
    if let Err(error) = serving.await {
        tracing::error!(%error, "the port for gateways failed");
    }
    running.membership.leave().await;
    if ended.is_ok() {
        engine.close().await;
        tracing::info!("the log is sealed");
    }
    ended
}

fn open_streams(engine: &Engine, shared: &Shared) -> Result<Streams<Engine>, Failure> {
    // Iterators are the gateways' affair: a key that nobody else has.
    let mut key = [0; TokenKey::BYTES];
    shared.entropy.fill(&mut key);
    Ok(Streams::open(
        Arc::new(engine.clone()),
        millstream_stream::Options::default(),
        Arc::clone(&shared.clock),
        Arc::clone(&shared.entropy),
        &TokenKey::new(key),
    )?)
}

impl Running {
    /// Opens the port for gateways and starts what looks after the streams.
    async fn serve(
        &self,
        shared: &Shared,
        stopped: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, Failure> {
        let epoch = Epoch(self.engine.epoch());
        let address = self.role.rpc_listen;
        let socket = TcpListener::bind(&address.into()).await;
        let socket = socket.map_err(|source| Failure::Listen {
            setting: "rpc-listen",
            address,
            source,
        })?;
        let group = self.role.group.clone();
        tracing::info!(%group, %epoch, %address, "serving gateways");
        let service = ShardService::new(
            Arc::new(self.engine.clone()),
            self.streams.clone(),
            group.clone(),
            epoch,
        );
        let options = ServeOptions {
            calls_max: CALLS_MAX,
            drain_timeout: DRAIN_MAX,
            roles: vec![Role::Gateway, Role::Shard],
            ..ServeOptions::default()
        };
        let listener = TlsListener::new(socket, self.membership.keys().clone());
        let serving = serve(listener, service.into_server(), options, stopped);
        let serving = task::spawn("shards", serving);

        let counted = self.engine.clone();
        let poll = move || engine_metrics::named(&counted.counters());
        shared.metrics.watch_polled(poll);
        let peers = Arc::new(RemoteGroups::new(self.caller.clone()));
        let home = Home::new(self.streams.clone(), group.clone(), peers);
        let drain = self.drain.clone();
        drop(task::spawn(
            "home",
            home.run(async move { drain.begun().await }),
        ));
        let trimming = retention::Service::new(retention::Options::default(), self.streams.clone());
        let drain = self.drain.clone();
        let trimming = trimming.run(async move { drain.begun().await });
        drop(task::spawn("retention", trimming));
        self.membership.report(|state| {
            state.group = Some(group);
            state.epoch = epoch;
            state.health.ready = true;
        });
        Ok(serving)
    }

    /// Does what the operator wants, and reports how far it is.
    async fn follow_desired(&self) {
        let mut desired = self.membership.desired();
        let mut changes = self.streams.watch();
        let mut homes = desired::Homes::default();
        loop {
            let state = desired.borrow_and_update().clone();
            if let Some(DesiredState::Shard(state)) = state.as_deref() {
                self.take(state, &mut homes).await;
            }
            self.membership.report(|state| self.observe(state, &homes));
            tokio::select! {
                changed = desired.changed() => {
                    if changed.is_err() {
                        // The membership lives as long as this does.
                        std::future::pending::<()>().await;
                    }
                },
                _ = changes.next() => {},
                () = task::sleep(LOOK_EVERY) => {},
            }
        }
    }

    async fn take(&self, state: &ShardDesired, homes: &mut desired::Homes) {
        if state.group != self.role.group {
            tracing::warn!(wanted = %state.group, group = %self.role.group,
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

    fn observe(&self, state: &mut ObservedState, homes: &desired::Homes) {
        state.streams = homes.observed(&self.streams);
        // Looked at afterwards: what was changed in between, the gateways may know, and need not.
        state.catalogue = Some(CataloguePoint {
            epoch: state.epoch,
            changes: self.streams.changes(),
        });
        let counters = self.engine.counters();
        state.counters.records_in = counters.records;
        state.counters.bytes_in = counters.record_bytes;
    }
}
