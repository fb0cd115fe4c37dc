//! A gateway: clients on one side, the shard servers of all pools on the other. It keeps nothing
//! but its certificate and its last desired state.
//!
//! [`run`] is the process: certificate, ports. What it knows and follows is in [`replica`].

mod catalogues;
mod control;
pub mod replica;
mod tenants;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use millstream_chassis::Config;
use millstream_chassis::admin::Phase;
use millstream_chassis::config::Member;
use millstream_chassis::drain::{Drain, drain};
use millstream_clock::task;
use millstream_control::Role;
use millstream_gateway::{Auth, Drained, Gateway, Listeners, cloudwatch};
use millstream_types::Scope;
use tokio::task::JoinHandle;

pub use self::control::WaitingControl;

use self::replica::Replica;
use crate::Failure;
use crate::front::Front;
use crate::roles::member::Membership;
use crate::rpc_metrics::RpcMetrics;
use crate::start::{ApiPorts, Shared, bind_api};

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
        biased;
        joined = Membership::join(&member, Role::Gateway, &config.data_dir, &shared) => joined,
        () = &mut told => return Ok(()),
    };
    let (membership, _) = joined?;
    let (signal, drain) = drain();
    let mut copy = tokio::select! {
        biased;
        copy = Replica::open(&membership, &shared.clock, &shared.entropy, &drain) => copy,
        () = &mut told => return Ok(()),
    };
    copy.count_calls(Arc::new(RpcMetrics(shared.metrics.clone())));
    let addr = api.addr;
    let gateway = serve_clients(&config, api, front, &shared, &membership, &copy, drain);
    shared.readiness.set(Phase::Ready);
    membership.report(|state| state.health.ready = true);
    tracing::info!(%addr, "ready");
    tokio::select! {
        biased;
        () = &mut told => {},
        never = copy.keep(&membership) => match never {},
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
        copy.streams().clone(),
        Arc::clone(&shared.metrics.cloudwatch),
        home.clone(),
        Arc::clone(&shared.clock),
        drain.clone(),
    );
    drop(task::spawn("cloudwatch", sampling));
    let mut options = millstream_gateway::Options::new(home, config.memory);
    options.auth = Auth::Verify(copy.credentials().clone());
    let tls = api.tls.zip(front.tls.clone());
    let listeners = Listeners {
        plain: api.plain,
        tls: tls.map(|((_, listener), keys)| (listener, keys)),
    };
    front.watch(Arc::clone(&shared.clock), &shared.metrics, &drain);
    let control = copy.control(membership);
    let gateway = Gateway::new(
        options,
        copy.streams().clone(),
        Arc::new(control),
        shared.metrics.clone(),
        Arc::clone(&shared.clock),
        &*shared.entropy,
    );
    task::spawn("gateway", gateway.run(listeners, drain, config.drain))
}
