//! One process of many, under an operator: a shard server or a gateway.
//!
//! Both are members ([`member`]): they get a certificate, attach to the operator, and go on with
//! the last desired state when there is none. [`shard`] holds the shards of one log group,
//! [`gateway`] serves clients over the shards of others. It must not know Kubernetes: who it is
//! comes from settings.

pub mod gateway;
pub mod member;
pub mod shard;

use std::future::Future;
use std::sync::Arc;

use millstream_chassis::admin::guard::Guard;
use millstream_chassis::admin::{self, Readiness};
use millstream_chassis::config::Role;
use millstream_chassis::{Config, Metrics};
use millstream_clock::{SystemClock, SystemEntropy, task};

use crate::Failure;
use crate::start::{Shared, bind};

/// Runs a process of the configured role until `told` is ready or it cannot go on.
///
/// # Errors
/// With the reason that decides the exit code.
pub async fn run(config: Config, told: impl Future<Output = ()> + Send) -> Result<(), Failure> {
    let metrics = Metrics::new();
    let shared = Shared {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy),
        readiness: Readiness::new(metrics.clone()),
        metrics,
    };
    let (admin_addr, listener) = bind("admin-listen", config.admin_listen).await?;
    tracing::info!(%admin_addr, "the admin port answers");
    let guard = Guard::new(config.metrics_token_file.clone());
    let serving = admin::serve(listener, shared.readiness.clone(), guard);
    let admin = task::spawn("admin", serving);
    let told = std::pin::pin!(told);
    let ended = match config.role.clone() {
        Role::Shard(role) => Box::pin(shard::run(config, role, shared, told)).await,
        Role::Gateway(member) => Box::pin(gateway::run(config, member, shared, told)).await,
        // The caller has looked.
        Role::All => Ok(()),
    };
    admin.abort();
    ended
}
