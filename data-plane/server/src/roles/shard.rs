//! A shard server: one log group over its data directory, the home of some streams, and a host for
//! shards of others.
//!
//! [`run`] is the process: data directory, certificate, port. What it does then is in [`serve`],
//! and what it does with its desired state in [`desired`].

pub mod desired;
pub mod health;
pub mod serve;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use millstream_chassis::Config;
use millstream_chassis::admin::{Phase, Readiness};
use millstream_chassis::config::ShardRole;
use millstream_control::Role;
use millstream_link::grpc;
use millstream_link::tcp::TcpListener;
use millstream_link::tls::TlsListener;
use millstream_storage::volume::Engine;
use millstream_stream::Streams;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::serve::{Server, open_streams, serve_options};
use crate::roles::member::Membership;
use crate::rpc_metrics::RpcMetrics;
use crate::start::{Shared, open_engine};
use crate::{Failure, engine_metrics};

/// Opens the group, joins, and serves until `told` is ready.
pub(crate) async fn run(
    config: Config,
    role: ShardRole,
    shared: Shared,
    mut told: Pin<&mut (impl Future<Output = ()> + Send)>,
) -> Result<(), Failure> {
    let engine = open_engine(&config, &shared).await?;
    let brought_up = tokio::select! {
        biased;
        up = bring_up(&engine, &config, role, &shared) => up,
        () = &mut told => {
            engine.close().await;
            return Ok(());
        },
    };
    let (server, serving) = match brought_up {
        Ok(up) => up,
        Err(failure) => {
            engine.close().await;
            return Err(failure);
        },
    };
    let ended = tokio::select! {
        biased;
        reason = server.work() => Err(Failure::Store(reason)),
        never = show(server.well(), &shared.readiness) => match never {},
        () = told => Ok(()),
    };
    shared.readiness.set(Phase::Draining);
    server.end(serving).await;
    if ended.is_ok() {
        engine.close().await;
        tracing::info!("the log is sealed");
    }
    ended
}

/// Ready once the store was seen to take appends, and as long as it does.
async fn show(mut well: watch::Receiver<bool>, readiness: &Readiness) -> Infallible {
    let mut was_ready = false;
    loop {
        let is_well = *well.borrow_and_update();
        was_ready |= is_well;
        match is_well {
            true => readiness.set(Phase::Ready),
            false if was_ready => readiness.set(Phase::Unwell),
            false => {},
        }
        if well.changed().await.is_err() {
            // The server that says it lives as long as this does.
            return std::future::pending().await;
        }
    }
}

/// Joins, which may take until there is an operator, and opens the port for gateways.
async fn bring_up(
    engine: &Engine,
    config: &Config,
    role: ShardRole,
    shared: &Shared,
) -> Result<(Server<Engine>, JoinHandle<()>), Failure> {
    let store = Arc::new(engine.clone());
    let streams: Streams<Engine> = open_streams(&store, &shared.clock, &shared.entropy)?;
    let joined = Membership::join(&role.member, Role::Shard, &config.data_dir, shared).await;
    let (membership, keys) = joined?;
    let address = role.rpc_listen;
    let socket = TcpListener::bind(&address.into()).await;
    let socket = socket.map_err(|source| Failure::Listen {
        setting: "rpc-listen",
        address,
        source,
    })?;
    tracing::info!(%address, "the port for gateways answers");
    let counted = engine.clone();
    let poll = move || engine_metrics::named(&counted.counters());
    shared.metrics.watch_polled(poll);
    let server = Server::new(store, streams, role.group, membership, &shared.clock);
    let listener = TlsListener::new(socket, keys);
    let counted = Arc::new(RpcMetrics(shared.metrics.clone()));
    server.count_calls(counted.clone());
    let service = server.service().metered(Arc::clone(&shared.clock), counted);
    let serving = grpc::serve(listener, service, serve_options(), server.stopped());
    let serving = server.begin(serving);
    Ok((server, serving))
}
