//! The drain: one signal that tells every part of the process to finish what it has and stop.

use tokio::sync::watch;

/// Starts the drain. Dropping it starts it too.
#[derive(Debug)]
pub struct DrainSignal(watch::Sender<bool>);

/// Tells whether the process is draining. Clones share it.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

/// A drain that has not begun, and the way to begin it.
#[must_use]
pub fn drain() -> (DrainSignal, Drain) {
    let (sender, receiver) = watch::channel(false);
    (DrainSignal(sender), Drain(receiver))
}

impl DrainSignal {
    /// Begins the drain; beginning twice is nothing.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Whether the drain has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the drain begins.
    pub async fn begun(&self) {
        let mut receiver = self.0.clone();
        // An error says that the signal was dropped, which begins the drain too.
        drop(receiver.wait_for(|begun| *begun).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn begins_once_for_all_and_also_when_the_signal_is_dropped() {
        let (signal, first) = drain();
        let second = first.clone();
        assert!(!second.has_begun());
        signal.begin();
        first.begun().await;
        second.begun().await;
        assert!(second.has_begun());

        let (signal, waiting) = drain();
        drop(signal);
        waiting.begun().await;
    }
}
