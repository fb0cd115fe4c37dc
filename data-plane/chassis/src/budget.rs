//! Byte budgets: a counter with a cap, and permits that give their bytes back when dropped.
//!
//! A budget never waits: what does not fit is refused, and the caller answers with the throttling
//! error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A cap on bytes. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: &'static str,
    cap_bytes: u64,
    used_bytes: AtomicU64,
    refused: AtomicU64,
}

impl Budget {
    /// An empty budget of `cap_bytes`; metrics show it by `name`.
    #[must_use]
    pub fn new(name: &'static str, cap_bytes: u64) -> Self {
        Self(Arc::new(Inner {
            name,
            cap_bytes,
            used_bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// `bytes` of the budget, or none when they do not fit.
    #[must_use]
    pub fn take(&self, bytes: u64) -> Option<Permit> {
        self.0.add(bytes).then(|| Permit {
            budget: self.clone(),
            bytes,
        })
    }

    /// The name that metrics show.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// The cap.
    #[must_use]
    pub fn cap_bytes(&self) -> u64 {
        self.0.cap_bytes
    }

    /// What is taken now.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.0.used_bytes.load(Ordering::Relaxed)
    }

    /// What could be taken now.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.0.cap_bytes.saturating_sub(self.used_bytes())
    }

    /// How often bytes were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn add(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.cap_bytes);
        let taken = self
            .used_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits)
            .is_ok();
        if !taken {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn sub(&self, bytes: u64) {
        let before = self.used_bytes.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(before >= bytes, "a permit gives back what it took");
    }
}

/// Bytes taken from a [`Budget`]; they go back when it is dropped.
#[derive(Debug)]
#[must_use = "the bytes go back to the budget when the permit is dropped"]
pub struct Permit {
    budget: Budget,
    bytes: u64,
}

impl Permit {
    /// The bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more from the same budget; false (and nothing changed) when they do not fit.
    #[must_use]
    pub fn grow(&mut self, more_bytes: u64) -> bool {
        let grown = self.budget.0.add(more_bytes);
        if grown {
            self.bytes += more_bytes;
        }
        grown
    }

    /// Gives back all but `bytes`; nothing happens when it holds no more than that.
    pub fn shrink_to(&mut self, bytes: u64) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes -= back;
        self.budget.0.sub(back);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.0.sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_does_not_fit_and_counts_it() {
        let budget = Budget::new("test", 10);
        let held = budget.take(7).expect("7 of 10 fit");
        assert!(budget.take(4).is_none());
        assert_eq!((budget.used_bytes(), budget.refused()), (7, 1));
        drop(held);
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.take(u64::MAX).is_none(), "no overflow");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u64),
        Grow(usize, u64),
        Shrink(usize, u64),
        Drop(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..200_u64).prop_map(Step::Take),
            (0..8_usize, 0..200_u64).prop_map(|(i, n)| Step::Grow(i, n)),
            (0..8_usize, 0..200_u64).prop_map(|(i, n)| Step::Shrink(i, n)),
            (0..8_usize).prop_map(Step::Drop),
        ]
    }

    proptest! {
        #[test]
        fn used_is_the_sum_of_the_permits_and_never_above_the_cap(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let budget = Budget::new("test", 500);
            let mut held: Vec<Permit> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(bytes) => held.extend(budget.take(bytes)),
                    Step::Grow(i, bytes) => {
                        if let Some(permit) = held.get_mut(i) {
                            let before = permit.bytes();
                            let grown = permit.grow(bytes);
                            prop_assert_eq!(permit.bytes(), before + if grown { bytes } else { 0 });
                        }
                    },
                    Step::Shrink(i, bytes) => {
                        if let Some(permit) = held.get_mut(i) {
                            permit.shrink_to(bytes);
                        }
                    },
                    Step::Drop(i) => {
                        if i < held.len() {
                            drop(held.swap_remove(i));
                        }
                    },
                }
                let sum: u64 = held.iter().map(Permit::bytes).sum();
                prop_assert_eq!(budget.used_bytes(), sum);
                prop_assert!(sum <= 500);
            }
            drop(held);
            prop_assert_eq!(budget.used_bytes(), 0);
        }
    }
}
