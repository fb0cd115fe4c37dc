//! Locks that shuttle schedules, with the names and the manners of `parking_lot`'s.
//!
//! There is no time here. A wait without a limit, or with the limit `Duration::MAX`, ends only by a
//! notification: where one is forgotten, every thread comes to wait and shuttle reports a deadlock.
//! A wait with any other limit ends as if its time had passed, after a moment in which the other
//! threads may do anything or nothing: what comes after must be right however early that is.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Duration;

use shuttle::sync::{self as scheduled, RwLockReadGuard, RwLockWriteGuard};

/// See [`parking_lot::Mutex`].
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(scheduled::Mutex<T>);

/// Unlocks its [`Mutex`] when dropped.
pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a scheduled::Mutex<T>,
    /// None only inside a [`Condvar`]'s wait.
    held: Option<scheduled::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(scheduled::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard {
            mutex: &self.0,
            held: Some(lock(&self.0)),
        }
    }
}

fn lock<T>(mutex: &scheduled::Mutex<T>) -> scheduled::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const HELD: &str = "a guard holds its lock outside of a wait";

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect(HELD)
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect(HELD)
    }
}

/// See [`parking_lot::RwLock`].
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(scheduled::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`parking_lot::Condvar`], and above for its waits with a limit.
#[derive(Debug, Default)]
pub(crate) struct Condvar(scheduled::Condvar);

/// How a wait with a limit ended.
pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect(HELD);
        let held = self.0.wait(held).unwrap_or_else(PoisonError::into_inner);
        guard.held = Some(held);
    }

    pub(crate) fn wait_for<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        limit: Duration,
    ) -> WaitTimeoutResult {
        if limit == Duration::MAX {
            self.wait(guard);
            return WaitTimeoutResult(false);
        }
        drop(guard.held.take());
        shuttle::thread::yield_now();
        guard.held = Some(lock(guard.mutex));
        WaitTimeoutResult(true)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(test)]
pub(crate) use self::exploring::{Signal, explore};

#[cfg(test)]
mod exploring {
    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    use shuttle::{Config, Runner};

    use super::{Condvar, Mutex};

    /// Orders of the threads that one test tries, with each of two ways of choosing them.
    const ORDERS: usize = 5_000;
    const SEED: u64 = 1;
    /// Switches of the priority in one run: the bugs that are sought need no more.
    const DEPTH: usize = 3;

    /// Runs `test` under many orders of its threads; `SHUTTLE_RANDOM_SEED` tries others.
    pub(crate) fn explore(test: impl Fn() + Send + Sync + Copy + 'static) {
        let mut config = Config::new();
        config.stack_size = 256 * 1024;
        Runner::new(RandomScheduler::new_from_seed(SEED, ORDERS), config.clone()).run(test);
        Runner::new(PctScheduler::new_from_seed(SEED, DEPTH, ORDERS), config).run(test);
    }

    /// A number that only grows, and that threads wait for.
    #[derive(Default)]
    pub(crate) struct Signal {
        reached: Mutex<u64>,
        raised: Condvar,
    }

    impl Signal {
        pub(crate) fn raise(&self, to: u64) {
            *self.reached.lock() = to;
            self.raised.notify_all();
        }

        pub(crate) fn reached(&self) -> u64 {
            *self.reached.lock()
        }

        /// Waits for more than `seen`; says how much.
        pub(crate) fn wait_beyond(&self, seen: u64) -> u64 {
            let mut reached = self.reached.lock();
            while *reached <= seen {
                self.raised.wait(&mut reached);
            }
            *reached
        }
    }
}
