//! Names of the files in a data directory.

use std::path::{Path, PathBuf};

use millstream_types::ShardUid;

pub(crate) const LOCK: &str = "LOCK";
pub(crate) const CURRENT: &str = "CURRENT";
pub(crate) const CURRENT_NEW: &str = "CURRENT.new";
pub(crate) const RESERVE: &str = "reserve";
pub(crate) const WAL: &str = "wal";
pub(crate) const WAL_FREE: &str = "wal/free";
pub(crate) const SEGMENTS: &str = "seg";
pub(crate) const CHECKPOINTS: &str = "ckpt";

/// A WAL file, named by its first LSN.
pub(crate) fn wal_file(first: u64) -> PathBuf {
    Path::new(WAL).join(format!("{first:020}.wal"))
}

/// A WAL file that waits to be used again; `first` is the LSN that it began with before.
pub(crate) fn free_wal_file(first: u64) -> PathBuf {
    Path::new(WAL_FREE).join(format!("{first:020}.wal"))
}

/// The first LSN in a WAL file's name.
pub(crate) fn wal_first(name: &str) -> Option<u64> {
    numbered(name, ".wal")
}

/// The directory of a shard's segments.
pub(crate) fn shard_dir(shard: ShardUid) -> PathBuf {
    Path::new(SEGMENTS).join(shard.to_string())
}

/// A segment, named by its first record's number.
pub(crate) fn segment_file(shard: ShardUid, first: u64) -> PathBuf {
    shard_dir(shard).join(format!("{first:020}.seg"))
}

/// The first number in a segment's name.
pub(crate) fn segment_first(name: &str) -> Option<u64> {
    numbered(name, ".seg")
}

/// The `n`th checkpoint.
pub(crate) fn checkpoint_file(n: u64) -> PathBuf {
    Path::new(CHECKPOINTS).join(format!("{n:020}"))
}

/// The `n`th checkpoint while it is being written.
pub(crate) fn checkpoint_new(n: u64) -> PathBuf {
    Path::new(CHECKPOINTS).join(format!("{n:020}.new"))
}

/// The number of a finished checkpoint.
pub(crate) fn checkpoint_number(name: &str) -> Option<u64> {
    numbered(name, "")
}

fn numbered(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let valid = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    if valid { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let name = |path: PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
        assert_eq!(
            name(wal_file(4096)).as_deref().and_then(wal_first),
            Some(4096)
        );
        assert_eq!(
            name(segment_file(ShardUid(1), 9))
                .as_deref()
                .and_then(segment_first),
            Some(9)
        );
        assert_eq!(
            name(checkpoint_file(3))
                .as_deref()
                .and_then(checkpoint_number),
            Some(3)
        );
        assert_eq!(
            name(checkpoint_new(3))
                .as_deref()
                .and_then(checkpoint_number),
            None
        );
        assert_eq!(wal_first("free"), None);
    }
}
