//! What several tests share: seeded choices, workloads, and the driver that holds two stores
//! against each other. Compiled with the feature `testkit` only; no product code may use it.

pub mod dice;
pub mod hooked;

pub use dice::Dice;
pub use hooked::{Answers, Hooked, Hooks};
