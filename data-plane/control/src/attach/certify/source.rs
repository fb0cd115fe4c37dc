//! A text that may change while the process runs: a mounted file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// Largest token or bundle, in bytes.
const TEXT_BYTES_MAX: u64 = 256 * 1024;

/// Where a token or a bundle comes from.
pub trait TextSource: Send + Sync + 'static {
    /// The text as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self) -> io::Result<String>;
}

/// A file, read each time.
#[derive(Clone, Debug)]
pub struct FileText(pub PathBuf);

impl TextSource for FileText {
    fn read(&self) -> io::Result<String> {
        let mut text = String::new();
        let file = File::open(&self.0)?;
        file.take(TEXT_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    }
}
