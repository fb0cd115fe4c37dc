//! One leader among the replicas: a Lease object, held in turns.
//!
//! [`election`] decides and knows neither client nor clock; [`campaign`] waits until this replica
//! leads, and [`Leadership::lost`] until it no longer does, upon which the process ends: a replica that
//! stalled must not go on with what it remembers. The lease's transitions are the term, the high
//! part of every version that this leader gives out.

pub mod election;
mod kubernetes;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millstream_clock::{Clock, task};
use millstream_types::Millis;

use self::election::{Action, Election, Record, Versioned};

pub use kubernetes::KubernetesLease;

/// Where the lease is kept. A write with an old version is refused: that is all the safety there is.
pub trait LeaseStore: Send + Sync + 'static {
    /// The lease as it is now, if there is one.
    fn read(&self) -> impl Future<Output = Result<Option<Versioned>, LeaseError>> + Send;
    /// Makes the lease.
    fn create(&self, record: &Record)
    -> impl Future<Output = Result<Versioned, LeaseError>> + Send;
    /// Writes over the lease, if it is still at `version`.
    fn replace(
        &self,
        record: &Record,
        version: &str,
    ) -> impl Future<Output = Result<Versioned, LeaseError>> + Send;
}

/// Why the lease could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else wrote first.
    #[error("the lease was written by somebody else")]
    Conflict,
    /// The API server did not do it.
    #[error("{0}")]
    Unavailable(String),
}

/// That this replica leads.
pub struct Leadership<S> {
    store: Arc<S>,
    clock: Arc<dyn Clock>,
    election: Election,
    term: u64,
}

/// Waits until this replica holds the lease.
pub async fn campaign<S: LeaseStore>(
    store: Arc<S>,
    clock: Arc<dyn Clock>,
    identity: String,
    duration: Duration,
) -> Leadership<S> {
    let mut election = Election::new(identity, duration);
    loop {
        // A call that hangs must not keep a standby from the next one.
        match task::timeout(duration, turn(&*store, &*clock, &mut election)).await {
            Ok(Ok(())) => {},
            Ok(Err(error)) => tracing::debug!(%error, "the lease was not taken"),
            Err(_) => tracing::warn!("the API server does not answer for the lease"),
        }
        if let Some(term) = election.term() {
            tracing::info!(term, "this replica leads");
            return Leadership {
                store,
                clock,
                election,
                term,
            };
        }
        task::sleep(election.pause()).await;
    }
}

impl<S: LeaseStore> Leadership<S> {
    /// The term: higher than that of every leader before.
    #[must_use]
    pub const fn term(&self) -> u64 {
        self.term
    }

    /// Renews the lease for as long as that works, and returns when it is lost.
    pub async fn lost(&mut self) {
        loop {
            task::sleep(self.election.pause()).await;
            let left = self.election.time_left(self.clock.monotonic());
            let renewed = task::timeout(left, turn(&*self.store, &*self.clock, &mut self.election));
            match renewed.await {
                Ok(Ok(())) => {},
                Ok(Err(error)) => tracing::warn!(%error, "the lease was not renewed"),
                Err(_) => tracing::warn!("the lease was not renewed in time"),
            }
            if !self.election.holds(self.clock.monotonic(), self.term) {
                return;
            }
        }
    }

    /// Gives the lease up, so that the next leader need not wait for it to run out.
    pub async fn release(mut self) {
        let Some((record, version)) = self.election.release(self.clock.now()) else {
            return;
        };
        let limit = self.election.pause();
        match task::timeout(limit, self.store.replace(&record, &version)).await {
            Ok(Ok(_)) => {},
            Ok(Err(error)) => tracing::debug!(%error, "the lease was not given up"),
            Err(_) => tracing::debug!("the lease was not given up in time"),
        }
    }
}

/// Reads the lease once and does what the election says.
async fn turn<S: LeaseStore>(
    store: &S,
    clock: &dyn Clock,
    election: &mut Election,
) -> Result<(), LeaseError> {
    let seen = store.read().await?;
    // The time before the write: a slow write must not count as a late renewal.
    let (now, asked): (Millis, Duration) = (clock.now(), clock.monotonic());
    let written = match election.decide(asked, now, seen) {
        Action::Wait => return Ok(()),
        Action::Create(record) => store.create(&record).await?,
        Action::Replace(record, version) => store.replace(&record, &version).await?,
    };
    election.written(asked, written);
    Ok(())
}

#[cfg(test)]
mod tests;
