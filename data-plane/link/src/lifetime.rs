//! How long an open connection is used: never past the certificates that stood for it, nor for ever.
//!
//! TLS looks at certificates when a connection is opened, and a connection can outlive them by any
//! time. So each has an end, and some time before it the client opens another one for its further
//! calls: those under way are answered where they were asked.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use millstream_clock::{Clock, task};
use millstream_types::Millis;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{BoxIo, Identity};

/// Longest time for which a connection is used. It bounds how long one is trusted whose authority is
/// trusted no more.
pub const CONNECTION_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long calls that end with the connection may take on the client's side.
const GRACE: Duration = Duration::from_secs(60);
/// How often the clock is looked at: it can jump, and a timer does not know of it.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A client opens its next connection when between so many and twice as many of these parts of a
/// connection's life are left.
const LAST_PARTS: u64 = 16;

/// The end of a connection, and what comes before it.
#[derive(Clone)]
pub struct Lifetime {
    clock: Arc<dyn Clock>,
    retires: Millis,
    ends: Millis,
}

impl fmt::Debug for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifetime")
            .field("retires", &self.retires)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

impl Lifetime {
    /// A connection that begins now. `until` is when the first certificate of the two sides runs
    /// out, `between` are those who are known: the connections of one process do not all retire at
    /// once.
    pub(crate) fn begin(
        clock: Arc<dyn Clock>,
        until: Millis,
        between: [Option<&Identity>; 2],
    ) -> Self {
        let now = clock.now();
        let life = until.since(now).min(millis(CONNECTION_LIFE_MAX));
        let part = life / LAST_PARTS;
        let mut hasher = DefaultHasher::new();
        between.hash(&mut hasher);
        let spread = hasher.finish() % part.saturating_add(1);
        let ends = now.plus(life);
        Self {
            clock,
            retires: ends.minus(part + spread),
            ends,
        }
    }

    /// Whether further calls should go over another connection.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.clock.now() >= self.retires
    }

    /// Waits for the end: certificates have run out.
    pub async fn ended(&self) {
        self.reached(self.ends).await;
    }

    /// The bytes of the connection, until calls that end with it have had their time: then it is
    /// broken, whatever the other side does.
    pub(crate) fn bound(self, io: BoxIo) -> Bound {
        let over = self.ends.plus(millis(GRACE));
        Bound {
            io,
            over: Some(async move { self.reached(over).await }.boxed()),
        }
    }

    async fn reached(&self, time: Millis) {
        loop {
            let left = Duration::from_millis(time.since(self.clock.now()));
            if left.is_zero() {
                return;
            }
            task::sleep(left.min(LOOK_EVERY)).await;
        }
    }
}

/// Bytes that stop.
pub(crate) struct Bound {
    io: BoxIo,
    /// None: it is over.
    over: Option<BoxFuture<'static, ()>>,
}

impl Bound {
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(over) = &mut self.over
            && over.poll_unpin(cx).is_ready()
        {
            self.over = None;
        }
        self.over.is_none()
    }
}

impl AsyncRead for Bound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // whoever serves a connection reads all the time, and so hears of its end
        if self.is_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Bound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use millstream_clock::ManualClock;

    use super::*;
    use crate::Role;

    const NOW: Millis = Millis(1_795_305_600_000);
    const HOUR: u64 = 3_600_000;

    fn begin(until: Millis, name: &str) -> Lifetime {
        let ours = Identity::new("a", Role::Gateway, name).expect("an identity");
        Lifetime::begin(Arc::new(ManualClock::new(NOW)), until, [Some(&ours), None])
    }

    #[test]
    fn the_end_is_that_of_the_first_certificate_or_a_day() {
        for (hours, ends) in [(0, 0), (1, 1), (23, 23), (24, 24), (7 * 24, 24)] {
            let lifetime = begin(NOW.plus(hours * HOUR), "gw");
            assert_eq!(lifetime.ends, NOW.plus(ends * HOUR), "{hours}");
        }
        assert!(begin(NOW.minus(HOUR), "gw").is_retired(), "long ago");
    }

    #[test]
    fn connections_retire_before_their_end_and_not_all_at_once() {
        let names: Vec<String> = (0..20).map(|n| format!("gateway-{n}")).collect();
        let mut times: Vec<Millis> = Vec::new();
        for name in &names {
            let lifetime = begin(NOW.plus(16 * HOUR), name);
            assert!(lifetime.retires >= NOW.plus(14 * HOUR), "{lifetime:?}");
            assert!(lifetime.retires <= NOW.plus(15 * HOUR), "{lifetime:?}");
            assert_eq!(lifetime.retires, begin(NOW.plus(16 * HOUR), name).retires);
            times.push(lifetime.retires);
        }
        times.sort_unstable();
        times.dedup();
        assert!(times.len() > names.len() / 2, "{times:?}");
    }
}
