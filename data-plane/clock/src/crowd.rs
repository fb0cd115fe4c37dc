//! Tasks of which only so many run at once: the oldest makes room for a further one.
//!
//! For what anybody may ask for and nobody may be kept waiting at, such as a port with probes: who
//! opens many connections there ends their own.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::task;

/// The tasks that run, from the oldest to the newest.
#[derive(Debug)]
pub struct Crowd {
    name: &'static str,
    tasks_max: usize,
    life: Duration,
    running: VecDeque<AbortHandle>,
}

impl Crowd {
    /// A crowd of at most `tasks_max` tasks called `name`, each of which is ended after `life`.
    #[must_use]
    pub const fn new(name: &'static str, tasks_max: usize, life: Duration) -> Self {
        Self {
            name,
            tasks_max,
            life,
            running: VecDeque::new(),
        }
    }

    /// Runs one more. It goes on when the crowd is dropped.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.running.retain(|task| !task.is_finished());
        while self.running.len() >= self.tasks_max
            && let Some(oldest) = self.running.pop_front()
        {
            oldest.abort();
        }
        let life = self.life;
        let task = task::spawn(self.name, async move {
            if task::timeout(life, future).await.is_err() {
                tracing::debug!("it is ended after its longest life");
            }
        });
        self.running.push_back(task.abort_handle());
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use super::*;

    const TASKS_MAX: usize = 8;

    /// A task that never ends and holds `own`.
    async fn held(own: Arc<()>) {
        pending::<()>().await;
        drop(own);
    }

    #[tokio::test]
    async fn a_further_task_ends_the_oldest() {
        let mut crowd = Crowd::new("test", TASKS_MAX, Duration::MAX);
        let owned: Vec<Arc<()>> = (0..=TASKS_MAX).map(|_| Arc::default()).collect();
        for own in &owned {
            crowd.spawn(held(Arc::clone(own)));
        }
        while Arc::strong_count(&owned[0]) > 1 {
            tokio::task::yield_now().await;
        }
        let running = owned.iter().filter(|own| Arc::strong_count(own) > 1);
        assert_eq!(running.count(), TASKS_MAX);
    }

    #[tokio::test]
    async fn tasks_that_ended_make_room() {
        let mut crowd = Crowd::new("test", TASKS_MAX, Duration::MAX);
        let own = Arc::default();
        crowd.spawn(held(Arc::clone(&own)));
        for _ in 0..3 * TASKS_MAX {
            crowd.spawn(ready(()));
            tokio::task::yield_now().await;
        }
        assert_eq!(Arc::strong_count(&own), 2, "the oldest runs");
        assert!(crowd.running.len() < TASKS_MAX);
    }

    #[tokio::test]
    async fn a_task_is_ended_after_its_life() {
        let mut crowd = Crowd::new("test", TASKS_MAX, Duration::from_millis(1));
        let own = Arc::default();
        crowd.spawn(held(Arc::clone(&own)));
        while Arc::strong_count(&own) > 1 {
            task::sleep(Duration::from_millis(1)).await;
        }
    }
}
