//! Bringing the segments back to what the checkpoint vouches for.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::super::error::OpenError;
use super::super::format::checkpoint::Checkpoint;
use super::super::layout;
use super::find::list;
use crate::disk::{Disk, DiskFile};

/// Cuts active segments to what the checkpoint vouches for, and removes files that it does not
/// name: the log holds what they held.
pub(super) fn cut_segments<D: Disk>(disk: &D, checkpoint: &Checkpoint) -> Result<(), OpenError> {
    let root = Path::new(layout::SEGMENTS);
    let mut known = HashMap::new();
    for shard in &checkpoint.shards {
        let dir = layout::shard_dir(shard.uid);
        let sizes: HashMap<u64, u64> = list(disk, &dir)?
            .iter()
            .filter_map(|e| Some((layout::segment_first(&e.name)?, e.len)))
            .collect();
        for segment in &shard.segments {
            let path = layout::segment_file(shard.uid, segment.first);
            let size = sizes.get(&segment.first).copied().ok_or_else(|| {
                OpenError::corrupt(&path, 0, 0, "the checkpoint names it, but it is missing")
            })?;
            if size < segment.len {
                return Err(OpenError::corrupt(
                    &path,
                    size,
                    0,
                    "shorter than its checkpoint says",
                ));
            }
            if size > segment.len && !segment.sealed {
                let failed = |error| OpenError::io("cutting", &path, error);
                disk.open(&path)
                    .and_then(|file| file.set_len(segment.len))
                    .map_err(failed)?;
            }
        }
        let named: BTreeSet<u64> = shard.segments.iter().map(|segment| segment.first).collect();
        known.insert(shard.uid.to_string(), named);
    }
    for entry in list(disk, root)?.iter().filter(|entry| entry.is_dir) {
        let dir = root.join(&entry.name);
        let named = known.get(&entry.name);
        for file in list(disk, &dir)? {
            let first = layout::segment_first(&file.name);
            if !named.is_some_and(|named| first.is_some_and(|first| named.contains(&first))) {
                remove(disk, &dir.join(&file.name))?;
            }
        }
        if named.is_none() {
            disk.remove_dir(&dir)
                .map_err(|error| OpenError::io("removing", &dir, error))?;
        }
    }
    Ok(())
}

pub(super) fn remove<D: Disk>(disk: &D, path: &Path) -> Result<(), OpenError> {
    disk.remove(path)
        .map_err(|error| OpenError::io("removing", path, error))
}
