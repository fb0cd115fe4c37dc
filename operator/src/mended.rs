//! What a leader had to leave out when it began, looked at again: once it can be used, the leader
//! ends and the next one begins with it.
//!
//! A start is the one place where placements are read and watches begin, so nothing has to be added
//! to a leader that runs.

use std::time::Duration;

use millstream_clock::task;

use crate::context::Context;
use crate::reach::can_read;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Returns once something that was left out can be used.
pub async fn mended(context: &Context) {
    loop {
        task::sleep(LOOK_EVERY).await;
        if look(context).await {
            return;
        }
    }
}

/// Whether something that was left out can be used now.
pub async fn look(context: &Context) -> bool {
    for namespace in context.reach.left_out() {
        match can_read(&context.client, namespace).await {
            Ok(false) => {},
            Ok(true) => {
                tracing::info!(
                    namespace,
                    "it can be read now; the next leader begins with it"
                );
                return true;
            },
            Err(error) => tracing::warn!(namespace, %error, "it was not looked at again"),
        }
    }
    for pool in context.station.refused().keys() {
        if context.station.is_mended(pool).await {
            tracing::info!(%pool, "its placement can be used again; the next leader begins with it");
            return true;
        }
    }
    false
}
