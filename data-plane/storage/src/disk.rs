//! What the engine asks of a disk: files, directories, and syncs that have names.
//!
//! All decisions lie in the engine; a disk only does as it is told. There are two: the real one,
//! and a simulated one that crashes, tears, drops unsynced bytes and returns errors.
//! Calls block. Paths are relative to the data directory.

pub mod real;
#[cfg(feature = "testkit")]
pub mod sim;

use std::io;
use std::path::Path;

/// Every place where the engine makes something durable. The simulated disk can turn each of them
/// off (reported done, not durable), and the history checker must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SyncPoint {
    /// The frame of a commit window, or a seal or roll frame.
    WalFrame,
    /// The zeroed content and length of a new WAL file.
    WalFileCreate,
    /// The directory entry of a new WAL file.
    WalDir,
    /// The directory entry of a recycled WAL file.
    WalRecycleDir,
    /// The copies of the last window, made while opening.
    RecoveryCopy,
    /// The content of a new `CURRENT`.
    CurrentFile,
    /// The rename of a new `CURRENT` into place.
    CurrentDir,
    /// The batches of a segment, before a checkpoint counts on them.
    SegmentData,
    /// The directory entries of segments.
    SegmentDir,
    /// The content of a new checkpoint.
    CheckpointFile,
    /// The rename of a new checkpoint into place.
    CheckpointDir,
}

impl SyncPoint {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::WalFrame,
        Self::WalFileCreate,
        Self::WalDir,
        Self::WalRecycleDir,
        Self::RecoveryCopy,
        Self::CurrentFile,
        Self::CurrentDir,
        Self::SegmentData,
        Self::SegmentDir,
        Self::CheckpointFile,
        Self::CheckpointDir,
    ];
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// File name, without the directory.
    pub name: String,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A data directory.
pub trait Disk: Send + Sync + 'static {
    /// An open file; it stays usable after a rename or removal of its name.
    type File: DiskFile;

    /// Makes a directory if it is absent. Its own entry is made durable by `sync_dir` of its parent.
    ///
    /// # Errors
    /// What the system answers.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Entries of a directory, in order of their names.
    ///
    /// # Errors
    /// What the system answers.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Makes a new, empty file, open for reading and writing.
    ///
    /// # Errors
    /// What the system answers; `AlreadyExists` if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// What the system answers; `NotFound` if there is none.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Renames a file, over an existing one if there is one.
    ///
    /// # Errors
    /// What the system answers.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// What the system answers.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the system answers.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// What the system answers; what is durable is then unknown.
    fn sync_dir(&self, dir: &Path, point: SyncPoint) -> io::Result<()>;
    /// Makes everything written to the file system durable (`syncfs`).
    ///
    /// # Errors
    /// What the system answers; what is durable is then unknown.
    fn sync_everything(&self, point: SyncPoint) -> io::Result<()>;
}

/// A file of a [`Disk`].
pub trait DiskFile: Send + Sync + 'static {
    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// What the system answers.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `buffers`, one behind the other, at `offset`.
    ///
    /// # Errors
    /// What the system answers; any part may then have been written.
    fn write_at(&self, buffers: &[io::IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Cuts or extends (with zeros) the file.
    ///
    /// # Errors
    /// What the system answers.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    ///
    /// # Errors
    /// What the system answers.
    fn size(&self) -> io::Result<u64>;
    /// Makes the bytes of the file durable (`fdatasync`). Do not count on a changed length.
    ///
    /// # Errors
    /// What the system answers; what is durable is then unknown, and asking again does not help.
    fn sync_data(&self, point: SyncPoint) -> io::Result<()>;
    /// Makes the bytes and the length of the file durable (`fsync`).
    ///
    /// # Errors
    /// As [`DiskFile::sync_data`].
    fn sync_all(&self, point: SyncPoint) -> io::Result<()>;
    /// Asks the system to begin writing a range back; promises nothing.
    fn start_writeback(&self, offset: u64, len: u64);
}
