//! Tasks, threads and pauses by name.

#![expect(
    clippy::disallowed_methods,
    reason = "these are the calls that the others are told to use"
)]

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// The time that was given to a future has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Runs `future` on the runtime; its log lines carry `name` as the span `task`.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.instrument(tracing::debug_span!("task", name)))
}

/// Waits.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// The future's output, or [`Elapsed`] after `limit`.
///
/// # Errors
/// [`Elapsed`] when the future was not ready in time; it is dropped then.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| Elapsed)
}
