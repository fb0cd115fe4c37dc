//! `snapshot`: a copy of a data directory that no server has open.

use std::fs;
use std::io;
use std::path::Path;

use super::super::error::OpenError;
use super::super::layout;
use super::super::open::{Found, find};
use super::verify::verify_disk;
use crate::disk::real::RealDisk;

/// What a snapshot took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
}

/// Checks a data directory and copies what counts of it to `to`, which must be absent or empty.
/// Sealed segments never change, so they are hard links where both lie on one file system. The
/// node's own files (keys) are copied too. `CURRENT` comes last: a copy without it opens nowhere.
///
/// # Errors
/// [`OpenError::Corrupt`] where the directory is damaged; otherwise as opening.
pub fn snapshot(dir: &Path, to: &Path) -> Result<Copied, OpenError> {
    let disk = super::lock(dir)?;
    verify_disk(disk.as_ref())?;
    let found = find(disk.as_ref())?;
    let failed = |error| OpenError::io("copying to", to, error);
    fs::create_dir_all(to).map_err(failed)?;
    if fs::read_dir(to).map_err(failed)?.next().is_some() {
        return Err(OpenError::io(
            "copying to",
            to,
            io::ErrorKind::DirectoryNotEmpty.into(),
        ));
    }
    copy_all(dir, to, &found).map_err(failed)?;
    // the copy is whole only if it opens: check it as one would
    let copy = RealDisk::new(to).map_err(failed)?;
    verify_disk(&copy)?;
    count(to).map_err(failed)
}

fn copy_all(dir: &Path, to: &Path, found: &Found) -> io::Result<()> {
    for sub in [
        layout::WAL,
        layout::WAL_FREE,
        layout::SEGMENTS,
        layout::CHECKPOINTS,
        "node",
    ] {
        fs::create_dir_all(to.join(sub))?;
    }
    for shard in &found.checkpoint.shards {
        fs::create_dir_all(to.join(layout::shard_dir(shard.uid)))?;
        for segment in &shard.segments {
            let file = layout::segment_file(shard.uid, segment.first);
            let linked = segment.sealed && fs::hard_link(dir.join(&file), to.join(&file)).is_ok();
            if !linked {
                copy_file(&dir.join(&file), &to.join(&file))?;
            }
        }
    }
    for link in found.scans.iter().flat_map(|scanned| &scanned.chain) {
        let file = layout::wal_file(link.first);
        copy_file(&dir.join(&file), &to.join(&file))?;
    }
    if found.checkpoint_number > 0 {
        let file = layout::checkpoint_file(found.checkpoint_number);
        copy_file(&dir.join(&file), &to.join(&file))?;
    }
    match fs::read_dir(dir.join("node")) {
        Ok(entries) => {
            for entry in entries {
                let name = entry?.file_name();
                copy_file(&dir.join("node").join(&name), &to.join("node").join(&name))?;
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {},
        Err(error) => return Err(error),
    }
    sync_tree(to)?;
    copy_file(&dir.join(layout::CURRENT), &to.join(layout::CURRENT))?;
    fs::File::open(to)?.sync_all()
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    fs::File::open(to)?.sync_all()
}

/// Makes every directory entry below `dir` durable.
fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    fs::File::open(dir)?.sync_all()
}

fn count(dir: &Path) -> io::Result<Copied> {
    let mut copied = Copied::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let below = count(&entry.path())?;
            copied.files += below.files;
            copied.bytes += below.bytes;
        } else {
            copied.files += 1;
            copied.bytes += entry.metadata()?.len();
        }
    }
    Ok(copied)
}
