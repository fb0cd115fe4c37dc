//! What answers are written with, whatever their encoding.

use std::fmt;

use bytes::Bytes;
use millstream_types::Millis;

/// Appends values to a buffer. Nesting is the caller's: an object holds fields, and behind the name
/// of a field comes one value.
pub trait Writer {
    /// A writer whose buffer holds `bytes` before it must grow.
    fn with_capacity(bytes: usize) -> Self;

    /// What was written.
    fn finish(self) -> Bytes;

    /// Opens an object.
    fn begin_object(&mut self);

    /// Closes an object.
    fn end_object(&mut self);

    /// Opens a list.
    fn begin_list(&mut self);

    /// Closes a list.
    fn end_list(&mut self);

    /// The name of the value that comes next; it needs no escapes.
    fn field(&mut self, name: &str);

    /// A text.
    fn string(&mut self, text: &str);

    /// A text made of what a value shows, which needs no escapes (numbers, ids).
    fn plain(&mut self, value: impl fmt::Display);

    /// Bytes.
    fn blob(&mut self, data: &[u8]);

    /// A whole number.
    fn integer(&mut self, value: u64);

    /// True or false.
    fn boolean(&mut self, value: bool);

    /// A time.
    fn timestamp(&mut self, time: Millis);
}
