//! Where a few bytes are kept: a file, or memory in a simulation.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// Largest kept file, in bytes: that of the largest message, and its first line.
pub const KEPT_BYTES_MAX: u64 = 33 * 1024 * 1024;

/// Keeps a few bytes, all or nothing.
pub trait StateStore: Send + Sync + 'static {
    /// What was saved last; none at the first start.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&self) -> io::Result<Option<Vec<u8>>>;

    /// Saves `bytes` in the place of what was there. When this returns, they outlast a crash.
    ///
    /// # Errors
    /// When they cannot be written; what was there stays.
    fn save(&self, bytes: &[u8]) -> io::Result<()>;
}

/// A file that only its owner can read: written beside its place, synced, renamed.
#[derive(Clone, Debug)]
pub struct FileStore {
    folder: PathBuf,
    name: String,
}

impl FileStore {
    /// The file `name` in `folder`, which is made when something is saved.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl StateStore for FileStore {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.folder.join(&self.name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        let read = file.take(KEPT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if read as u64 > KEPT_BYTES_MAX {
            return Err(io::Error::other(format!(
                "the file is larger than {KEPT_BYTES_MAX} bytes"
            )));
        }
        Ok(Some(bytes))
    }

    fn save(&self, bytes: &[u8]) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let beside = self.folder.join(format!("{}.new", self.name));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&beside, self.folder.join(&self.name))?;
        File::open(&self.folder)?.sync_all()
    }
}

/// Memory, for simulations and tests. Clones share it, so that a restarted server finds it again.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Option<Vec<u8>>>>);

impl StateStore for MemoryStore {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().clone())
    }

    fn save(&self, bytes: &[u8]) -> io::Result<()> {
        *self.0.lock() = Some(bytes.to_vec());
        Ok(())
    }
}
