//! What a server does with desired states: takes the newer, refuses the older, keeps the last.
//!
//! The last one is on disk before it is used, so that a restarted server goes on with it when no
//! operator can be reached, and never falls back behind it.

mod envelope;
pub mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

pub use store::{FileStore, MemoryStore, StateStore};

pub(crate) use envelope::{open, seal};

use crate::desired::DesiredState;
use crate::placement::PoolId;
use crate::version::PlacementVersion;
use millstream_link::Identity;

/// What is kept, as its first line says.
const KIND: &str = "desired-state";

/// Why a desired state was not taken. The one before stays.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It is older than what is held.
    #[error("desired state {offered} is older than {held}, which is held")]
    Stale {
        /// What came.
        offered: PlacementVersion,
        /// What is held.
        held: PlacementVersion,
    },
    /// The placement in it is older than the one that is held.
    #[error("the placement {offered} of pool {pool} is older than {held}, which is held")]
    StalePlacement {
        /// The pool.
        pool: PoolId,
        /// What came.
        offered: PlacementVersion,
        /// What is held.
        held: PlacementVersion,
    },
    /// It is for a server of another role, or for another group.
    #[error("the desired state is not for {server}: {reason}")]
    NotOurs {
        /// Who this is.
        server: Identity,
        /// What is wrong.
        reason: String,
    },
    /// It could not be kept.
    #[error("the desired state cannot be kept: {0}")]
    Io(#[from] io::Error),
    /// What was kept cannot be used.
    #[error(
        "the desired state that was kept cannot be used: {0}; remove the file, the operator sends it again"
    )]
    Corrupt(String),
}

/// What became of a desired state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is new, is kept, and holds from now on.
    Taken,
    /// It is what was held already.
    Known,
}

/// Holds a server's desired state.
pub struct Keeper {
    server: Identity,
    store: Box<dyn StateStore>,
    held: Option<Arc<DesiredState>>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("server", &self.server)
            .field("held", &self.held.as_ref().map(|state| state.version()))
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// Reads what `store` has kept for `server`.
    ///
    /// # Errors
    /// When it cannot be read, fails its checksum, or is for another server.
    pub fn open(server: Identity, store: Box<dyn StateStore>) -> Result<Self, KeepError> {
        let held = match store.load()? {
            None => None,
            Some(bytes) => {
                let body =
                    open(KIND, &bytes).map_err(|reason| KeepError::Corrupt(reason.into()))?;
                let state: DesiredState = serde_json::from_slice(body)
                    .map_err(|error| KeepError::Corrupt(error.to_string()))?;
                Some(Arc::new(state))
            },
        };
        let keeper = Self {
            server,
            store,
            held: None,
        };
        if let Some(state) = &held {
            keeper.check_ours(state)?;
        }
        Ok(Self { held, ..keeper })
    }

    /// What holds now.
    #[must_use]
    pub const fn held(&self) -> Option<&Arc<DesiredState>> {
        self.held.as_ref()
    }

    /// Takes `state` if it is not older than what is held. It is kept before it holds.
    ///
    /// A state of the same version may say more: its leader started again in the same term.
    ///
    /// # Errors
    /// When it is older, not for this server, or cannot be kept; the one before stays.
    pub fn offer(&mut self, state: DesiredState) -> Result<Offer, KeepError> {
        self.check_ours(&state)?;
        if let Some(held) = &self.held {
            if **held == state {
                return Ok(Offer::Known);
            }
            check_newer(held, &state)?;
        }
        let body = serde_json::to_vec(&state).map_err(io::Error::other)?;
        self.store.save(&seal(KIND, &body))?;
        self.held = Some(Arc::new(state));
        Ok(Offer::Taken)
    }

    fn check_ours(&self, state: &DesiredState) -> Result<(), KeepError> {
        let not_ours = |reason: String| KeepError::NotOurs {
            server: self.server.clone(),
            reason,
        };
        if state.role() != self.server.role() {
            return Err(not_ours(format!("it is for the role {}", state.role())));
        }
        let (DesiredState::Shard(new), Some(held)) = (state, &self.held) else {
            return Ok(());
        };
        match &**held {
            DesiredState::Shard(old) if old.group != new.group => Err(not_ours(format!(
                "it names the group {}, and this server holds {}",
                new.group, old.group
            ))),
            DesiredState::Shard(_) | DesiredState::Gateway(_) => Ok(()),
        }
    }
}

fn check_newer(held: &DesiredState, offered: &DesiredState) -> Result<(), KeepError> {
    if offered.version() < held.version() {
        return Err(KeepError::Stale {
            offered: offered.version(),
            held: held.version(),
        });
    }
    let before = placements(held);
    for (pool, offered) in placements(offered) {
        if let Some(held) = before.get(&pool).filter(|held| **held > offered) {
            return Err(KeepError::StalePlacement {
                pool,
                offered,
                held: *held,
            });
        }
    }
    Ok(())
}

fn placements(state: &DesiredState) -> BTreeMap<PoolId, PlacementVersion> {
    match state {
        DesiredState::Shard(state) => BTreeMap::from([(PoolId::of(&state.group), state.placement)]),
        DesiredState::Gateway(state) => state
            .routes
            .iter()
            .map(|routes| (routes.pool.clone(), routes.version))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
