//! The locks of what threads share. Normally those of `parking_lot`; with the feature `shuttle`,
//! locks whose every step is decided by a scheduler of the tests, under the same names.
//!
//! Tests in modules named `threads` run with it, through `explore`; nothing else does.

#[cfg(not(feature = "shuttle"))]
pub(crate) use parking_lot::{Condvar, Mutex, RwLock};

#[cfg(feature = "shuttle")]
pub(crate) use self::scheduled::{Condvar, Mutex, RwLock};
#[cfg(all(test, feature = "shuttle"))]
pub(crate) use self::scheduled::{Signal, explore};

#[cfg(feature = "shuttle")]
mod scheduled;
