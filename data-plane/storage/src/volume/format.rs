//! The bytes on disk: pure codecs, one file per format. Every format has a magic, a version and a
//! CRC-32C; `docs/formats/` describes them, golden files hold them still.

pub(crate) mod batch;
pub(crate) mod bytes_read;
pub(crate) mod checkpoint;
pub(crate) mod current;
pub(crate) mod entry;
pub(crate) mod frame;
#[cfg(test)]
mod golden;
pub(crate) mod segment;

/// Why bytes are not of the format they should be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    /// Shorter than its header or its lengths say.
    #[error("cut short")]
    Short,
    /// Another magic.
    #[error("not the magic of this format")]
    Magic,
    /// A version that this program does not know.
    #[error("unknown format version {0}")]
    Version(u8),
    /// The checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// A field holds a value that no writer wrote.
    #[error("impossible value of {0}")]
    Field(&'static str),
}
