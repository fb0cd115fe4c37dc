//! gRPC between our own processes: the client's [`Channel`] and the server's [`serve`], both
//! HTTP/2 over any [`crate::Connector`] and [`crate::Listener`].
//!
//! Both sides ping every two seconds, so that a peer that went away without a word is noticed.
//! The channel tells apart what a caller must know before it repeats a call: [`was_not_sent`].

pub mod channel;
pub mod peer;
pub mod serve;

use std::time::Duration;

pub use channel::{Channel, ChannelError, was_not_sent};
pub use peer::{Ending, ending, peer, require};
pub use serve::{ServeOptions, serve};

/// Largest message, in bytes: a PutRecords request and what goes around it, with room.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How often both sides ask whether the other is there.
pub const KEEPALIVE: Duration = Duration::from_secs(2);
/// How long they wait for the answer.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long opening a connection may take, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes in flight on one call before the receiver must take some.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes in flight on one connection before the receiver must take some.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Runs what HTTP/2 wants to run beside a connection.
#[derive(Clone, Copy, Debug)]
struct Tasks;

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(millstream_clock::task::spawn("link http/2", future));
    }
}
