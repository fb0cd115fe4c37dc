//! A shard server: one log group over its data directory, the home of some streams, and a host for
//! shards of others.
//!
//! [`run`] is the process: data directory, certificate, port. What it does then is in [`serve`],
//! and what it does with its desired state in [`desired`].

pub mod desired;
pub mod serve;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use millstream_chassis::Config;
use millstream_chassis::admin::Phase;
use millstream_chassis::config::ShardRole;
use millstream_control::Role;
use millstream_link::grpc;
use millstream_link::tcp::TcpListener;
use millstream_link::tls::TlsListener;
use millstream_storage::volume::Engine;
use millstream_stream::Streams;
use tokio::task::JoinHandle;

use self::serve::{Server, open_streams, serve_options};
use crate::roles::member::Membership;
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
    shared.readiness.set(Phase::Ready);
    let ended = tokio::select! {
        biased;
        reason = server.work() => Err(Failure::Store(reason)),
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
    let serving = grpc::serve(
        listener,
        server.service(),
        serve_options(),
        server.stopped(),
    );
    let serving = server.begin(serving);
    Ok((server, serving))
}
