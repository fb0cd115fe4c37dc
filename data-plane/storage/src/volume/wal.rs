//! The write-ahead log: frames in a chain of files.

pub(crate) mod lane;
pub(crate) mod scan;
pub(crate) mod stock;
pub(crate) mod writer;
