//! A beat that says "something changed, look again": many beats are one to a listener that is slow.

use std::time::Duration;

use futures::Stream;
use futures::stream;
use millstream_clock::task;
use tokio::sync::watch;

/// Tells its listeners that something changed. Clones are one pulse.
#[derive(Clone, Debug)]
pub struct Pulse(watch::Sender<u64>);

impl Default for Pulse {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Pulse {
    /// Something changed.
    pub fn beat(&self) {
        self.0.send_modify(|beats| *beats = beats.wrapping_add(1));
    }

    /// A listener that hears the beats from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// Hears a pulse.
#[derive(Clone, Debug)]
pub struct Listener(watch::Receiver<u64>);

impl Listener {
    /// Waits for a beat that was not heard yet; whether there can be one.
    pub async fn heard(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// One item for each beat, at most one in `pause`.
    pub fn into_stream(self, pause: Duration) -> impl Stream<Item = ()> + Send + 'static {
        stream::unfold(self, move |mut listener| async move {
            if !listener.heard().await {
                return None;
            }
            task::sleep(pause).await;
            listener.0.mark_unchanged();
            Some(((), listener))
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_beats_are_heard_as_one_and_the_end_ends_the_stream() {
        let pulse = Pulse::default();
        let beats = pulse.listen().into_stream(Duration::from_secs(1));
        futures::pin_mut!(beats);
        for _ in 0..10 {
            pulse.beat();
        }
        assert_eq!(beats.next().await, Some(()));
        assert!(
            task::timeout(Duration::from_secs(5), beats.next())
                .await
                .is_err()
        );
        pulse.beat();
        assert_eq!(beats.next().await, Some(()));
        drop(pulse);
        assert_eq!(beats.next().await, None);
    }
}
