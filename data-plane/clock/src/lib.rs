//! Time, randomness and task spawning, behind traits so that every test can be seeded.
//!
//! The lint configuration forbids the direct calls (`SystemTime::now`, `tokio::spawn`, ...)
//! everywhere else. Real: [`SystemClock`], [`SystemEntropy`]. Seeded: [`ManualClock`],
//! [`SeededEntropy`].

mod crowd;
pub mod entropy;
pub mod task;
pub mod time;

pub use crowd::Crowd;
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use time::{Clock, ManualClock, SystemClock};
