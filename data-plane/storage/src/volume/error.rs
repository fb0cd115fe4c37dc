//! Why the engine cannot be opened, and why it has to end.

use std::io;
use std::path::Path;

use super::format::FormatError;

/// Why a data directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory.
    #[error("the data directory {dir} is locked by another process")]
    Locked {
        /// The directory.
        dir: String,
    },
    /// Acknowledged data is damaged or missing. Nothing was changed.
    #[error("{file} is corrupt at byte {offset} (LSN {lsn}): {reason}")]
    Corrupt {
        /// File below the data directory.
        file: String,
        /// Byte offset in the file.
        offset: u64,
        /// Place in the log; 0 where the file is not part of it.
        lsn: u64,
        /// What is wrong.
        reason: String,
    },
    /// The disk answered an error.
    #[error("{what} failed: {source}")]
    Io {
        /// What was being done, with the file's name.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A setting is out of its range.
    #[error("{0}")]
    Options(&'static str),
}

impl OpenError {
    pub(crate) fn io(what: &str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            what: format!("{what} {}", path.display()),
            source,
        }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, lsn: u64, reason: impl ToString) -> Self {
        Self::Corrupt {
            file: path.display().to_string(),
            offset,
            lsn,
            reason: reason.to_string(),
        }
    }

    pub(crate) fn format(path: &Path, error: FormatError) -> Self {
        Self::corrupt(path, 0, 0, error)
    }
}

/// The disk failed in a way after which nothing is known about what is durable: the process must
/// end, and the next open decides.
#[derive(Debug, thiserror::Error)]
#[error("{what} failed: {source}")]
pub struct Fatal {
    /// What was being done, with the file's name.
    pub what: String,
    /// The system's answer.
    pub source: io::Error,
}

impl Fatal {
    pub(crate) fn new(what: &str, path: &Path, source: io::Error) -> Self {
        Self {
            what: format!("{what} {}", path.display()),
            source,
        }
    }
}

impl From<Fatal> for OpenError {
    fn from(fatal: Fatal) -> Self {
        Self::Io {
            what: fatal.what,
            source: fatal.source,
        }
    }
}

/// A step that a full disk may refuse; it can be tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error("the disk is full")]
    NoSpace,
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

impl StepError {
    pub(crate) fn new(what: &str, path: &Path, source: io::Error) -> Self {
        if is_no_space(&source) {
            Self::NoSpace
        } else {
            Self::Fatal(Fatal::new(what, path, source))
        }
    }
}

/// Whether the system said that the disk or a quota is full.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
