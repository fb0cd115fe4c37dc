//! Seeded choices. The same seed gives the same choices in the same order.

use millstream_clock::{Entropy as _, SeededEntropy};

/// A source of choices that its seed determines.
#[derive(Debug)]
pub struct Dice(SeededEntropy);

impl Dice {
    /// Dice for `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// 64 random bits.
    #[must_use]
    pub fn bits(&self) -> u64 {
        self.0.u64()
    }

    /// A number below `end`; 0 when `end` is 0.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(end);
        u64::try_from(wide >> 64).expect("the upper half of a product of two u64 is a u64")
    }

    /// An index into something with `len` elements.
    #[must_use]
    pub fn index(&self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("it is below a usize")
    }

    /// A number from `low` to `high`, both included.
    #[must_use]
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in `part` of `whole` cases.
    #[must_use]
    pub fn chance(&self, part: u64, whole: u64) -> bool {
        self.below(whole) < part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_row_of_choices_inside_their_bounds() {
        let row = |seed| {
            let dice = Dice::new(seed);
            (0..200).map(|_| dice.between(3, 7)).collect::<Vec<u64>>()
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
        assert!((3..=7).all(|value| row(1).contains(&value)));
        assert!(row(1).iter().all(|value| (3..=7).contains(value)));
    }

    #[test]
    fn nothing_is_below_zero_and_no_chance_is_none() {
        let dice = Dice::new(1);
        assert_eq!(dice.below(0), 0);
        assert!(!dice.chance(0, 5));
        assert!(dice.chance(5, 5));
    }
}
