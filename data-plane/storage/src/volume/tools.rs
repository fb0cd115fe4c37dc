//! Tools for a data directory that no server has open: look, check, repair, copy. "Refuses to open"
//! without them would be a brick.

mod dump;
mod repair;
mod snapshot;
mod verify;

use std::path::Path;
use std::sync::Arc;

pub use dump::dump;
pub use repair::{Repaired, repair};
pub use snapshot::{Copied, snapshot};
pub use verify::{Verified, verify};

use super::error::OpenError;
use super::layout;
use crate::disk::real::RealDisk;

/// Opens and locks a data directory that must exist.
fn lock(dir: &Path) -> Result<Arc<RealDisk>, OpenError> {
    let failed = |error| OpenError::io("opening", dir, error);
    std::fs::metadata(dir.join(layout::CURRENT))
        .map_err(|error| OpenError::io("opening", &dir.join(layout::CURRENT), error))?;
    let mut disk = RealDisk::new(dir).map_err(failed)?;
    if disk.lock(layout::LOCK).map_err(failed)? {
        Ok(Arc::new(disk))
    } else {
        Err(OpenError::Locked {
            dir: dir.display().to_string(),
        })
    }
}

#[cfg(test)]
mod tests;
