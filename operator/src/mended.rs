//! What a leader had to leave out when it began, looked at again: once it can be used, the leader
//! ends and the next one begins with it. And the other way round: once a namespace cannot be read any
//! more, the next leader begins without it, for the copies of this one are no longer what there is.
//!
//! A start is the one place where placements are read and watches begin, so nothing has to be added
//! to a leader that runs.

use std::time::Duration;

use millstream_clock::task;

use crate::context::Context;
use crate::reach::{can_read, forbidden};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often nothing is gained by an end, first: a tenant that breaks what is its own and mends it,
/// again and again, changes the leader of all so much less often.
const LOOKS_BEFORE_A_GAIN: u32 = 4;

/// Returns once the next leader would begin with something else.
pub async fn mended(context: &Context) {
    for looks in 1.. {
        task::sleep(LOOK_EVERY).await;
        let may_gain = looks > LOOKS_BEFORE_A_GAIN;
        if has_lost(context).await || (may_gain && has_gained(context).await) {
            return;
        }
    }
}

/// Whether something that was left out can be used now.
pub async fn has_gained(context: &Context) -> bool {
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

/// Whether a namespace that there is cannot be read any more. Of one that is gone nothing is used.
///
/// Only a watch of Secrets that was refused is followed: they are the one kind whose old copies do
/// harm, for a key that was deleted would be used on.
pub async fn has_lost(context: &Context) -> bool {
    if !context.secrets.take_forbidden() {
        return false;
    }
    let readable = context.reach.namespaces().unwrap_or_default();
    let there = readable.into_iter().filter(|namespace| {
        let found = context.namespaces.get_cluster_wide(namespace);
        found.is_some() && !context.is_ending(namespace)
    });
    let there: Vec<&str> = there.collect();
    match forbidden(&context.client, &there).await {
        Ok(lost) => {
            for namespace in &lost {
                tracing::warn!(
                    namespace,
                    "it cannot be read any more; the next leader begins without it"
                );
            }
            !lost.is_empty()
        },
        Err(error) => {
            tracing::warn!(%error, "the watched namespaces were not looked at");
            false
        },
    }
}
