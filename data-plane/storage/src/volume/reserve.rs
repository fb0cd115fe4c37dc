//! Space set aside for the day when the disk is full: retention and trims need a checkpoint, and a
//! checkpoint needs space. The sink must not use it up: while it is given up, batches stay in the
//! log and in memory, and only once it is back are they written to segments.

use std::io;
use std::path::Path;

use super::error::{OpenError, is_no_space};
use super::layout;
use super::shared::Shared;
use super::wal::stock::{WalStock, create_zeroed};
use crate::disk::{Disk, DiskFile};

/// Frees what can be freed at once on a full disk, for a checkpoint and for a place in the log for
/// changes that free more. Nothing else may use that space until [`regain`] has it back.
pub(crate) fn enter_full<D: Disk>(
    shared: &Shared<D>,
    stock: &WalStock<D>,
) -> Result<(), OpenError> {
    shared.set_full(true);
    stock.remove_free()?;
    stock.wait_prepared();
    give_up_reserve(shared.disk.as_ref())?;
    Ok(stock.prepare_small()?)
}

/// Whether batches can be written again, and appends taken once none is left: the reserve is back,
/// and the log has a whole file to go on to. Without the file the log would be short of space again
/// at once, and what frees space needs the reserve.
pub(crate) fn regain<D: Disk>(shared: &Shared<D>, stock: &WalStock<D>) -> Result<bool, OpenError> {
    if make_reserve(shared)? {
        if stock.prepare_whole()? {
            return Ok(true);
        }
        give_up_reserve(shared.disk.as_ref())?;
    }
    Ok(false)
}

/// Sets space aside, if there is any. True if it is there now.
pub(crate) fn make_reserve<D: Disk>(shared: &Shared<D>) -> Result<bool, OpenError> {
    let path = Path::new(layout::RESERVE);
    let disk = shared.disk.as_ref();
    let failed = |error| OpenError::io("creating", path, error);
    let wanted = shared.options.reserve_bytes;
    match disk.open(path).and_then(|file| file.size()) {
        Ok(size) if size == wanted => return Ok(true),
        Ok(_) => give_up_reserve(disk)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {},
        Err(error) => return Err(failed(error)),
    }
    match create_zeroed(disk, path, wanted, None) {
        Ok(_) => Ok(true),
        Err(error) if is_no_space(&error) => {
            give_up_reserve(disk)?;
            Ok(false)
        },
        Err(error) => Err(failed(error)),
    }
}

/// Frees the space that was set aside.
pub(crate) fn give_up_reserve<D: Disk>(disk: &D) -> Result<(), OpenError> {
    let path = Path::new(layout::RESERVE);
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::io("removing", path, error))
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
