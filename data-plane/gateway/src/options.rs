//! What a gateway can be told, and its limits.

use std::sync::Arc;
use std::time::Duration;

use millstream_chassis::{Budget, MemoryPlan};
use millstream_types::Scope;
use tokio::sync::Semaphore;

use crate::auth::Auth;

/// Most connections at once. A further one is answered with 503 and closed.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Most HTTP/2 requests under way on one connection.
pub(crate) const HTTP2_STREAMS_MAX: u32 = 128;
/// Bytes that a client may send ahead on one HTTP/2 request, and on one connection.
pub(crate) const HTTP2_WINDOW_BYTES: u32 = 128 * 1024;
/// Largest HTTP/2 frame read.
pub(crate) const HTTP2_FRAME_BYTES: u32 = 16 * 1024;
/// Largest list of HTTP/2 headers, decoded.
pub(crate) const HTTP2_HEADERS_BYTES: u32 = 32 * 1024;
/// Answer bytes copied ahead for one HTTP/2 request.
pub(crate) const HTTP2_SEND_BYTES: usize = 64 * 1024;
/// Largest HTTP/1 head, and read buffer.
pub(crate) const HTTP1_BUFFER_BYTES: usize = 16 * 1024;
/// Most HTTP/1 headers.
pub(crate) const HTTP1_HEADERS_MAX: usize = 64;

/// How a gateway serves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The account of every signature in loopback mode; the region of every signature in verify
    /// mode; and the region without a label in metrics.
    pub home: Scope,
    /// How callers are known.
    pub auth: Auth,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Most connections at once.
    pub connections_max: usize,
    /// Memory for bodies and answers.
    pub budgets: Budgets,
}

impl Options {
    /// Defaults, with the memory of `plan`. Callers are known by nothing yet: set `auth` before
    /// anything listens beyond loopback.
    #[must_use]
    pub fn new(home: Scope, plan: MemoryPlan) -> Self {
        Self {
            home,
            auth: Auth::Loopback,
            timeouts: Timeouts::DEFAULT,
            connections_max: CONNECTIONS_MAX,
            budgets: Budgets::new(plan),
        }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the connection to the first head or preface, and from the first byte of a later head
    /// to its end.
    pub head: Duration,
    /// Between two parts of a body.
    pub body_pause: Duration,
    /// Time that a body has beyond what its size gives it.
    pub body_grace: Duration,
    /// Least rate of a body after its grace.
    pub body_bytes_per_second: u64,
    /// How long the rest of a refused body is read and dropped, so that the client sees the answer.
    pub body_drop: Duration,
    /// Without progress of a blocked write; also what an answer has beyond what its size gives it.
    pub write: Duration,
    /// Least rate at which an answer must be taken.
    pub send_bytes_per_second: u64,
    /// In the line for a reader's place.
    pub read_line: Duration,
    /// Without a request.
    pub idle: Duration,
    /// How often a connection is looked at.
    pub tick: Duration,
}

impl Timeouts {
    /// What a server uses.
    pub const DEFAULT: Self = Self {
        head: Duration::from_secs(10),
        body_pause: Duration::from_secs(10),
        body_grace: Duration::from_secs(10),
        body_bytes_per_second: 64 * 1024,
        body_drop: Duration::from_secs(5),
        write: Duration::from_secs(10),
        send_bytes_per_second: 256 * 1024,
        read_line: Duration::from_secs(10),
        idle: Duration::from_secs(120),
        tick: Duration::from_millis(500),
    };

    /// Longest time to send an answer of `bytes`.
    #[must_use]
    pub fn to_send(self, bytes: u64) -> Duration {
        self.write + Duration::from_secs(bytes / self.send_bytes_per_second.max(1))
    }

    /// Longest time to receive `bytes` of a body.
    #[must_use]
    pub fn to_receive(self, bytes: u64) -> Duration {
        self.body_grace + Duration::from_secs(bytes / self.body_bytes_per_second.max(1))
    }
}

/// The budgets that requests draw on: lanes by size, so that large bodies and slow readers of
/// large pages leave room for small ones.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// Bodies, by [`lanes`](crate::lanes) from small to large.
    pub bodies: [Budget; 3],
    /// Heads and bodies of requests that name no known key: they take nothing of the others.
    pub strangers: Budget,
    /// Small answers, then larger ones.
    pub responses: [Budget; 2],
    /// Places for readers: those who wait for one are served in the order in which they came, so
    /// that a crowd cannot keep a single reader out.
    pub readers: Arc<Semaphore>,
}

/// Memory for the heads and bodies of all requests that name no known key, out of the allowance
/// `fixed` of the memory table. Such a body is only looked at to say what is wrong; without room it
/// is not read.
const STRANGERS_BYTES: u64 = 1 << 20;
/// Memory of the engine's reads for each place of a reader.
const READER_BYTES: u64 = 8 << 20;
/// Most readers at once.
const READERS_MAX: u64 = 16;

impl Budgets {
    /// Budgets with the caps of `plan`.
    #[must_use]
    pub fn new(plan: MemoryPlan) -> Self {
        let bodies = ["bodies_small", "bodies_medium", "bodies_large"];
        let responses = ["responses_small", "responses_large"];
        let readers = (plan.read_ahead_bytes() / READER_BYTES).clamp(1, READERS_MAX);
        let readers = usize::try_from(readers).unwrap_or(1);
        Self {
            bodies: bodies.map(|name| plan.budget(name)),
            strangers: Budget::new("strangers", STRANGERS_BYTES),
            responses: responses.map(|name| plan.budget(name)),
            readers: Arc::new(Semaphore::new(readers)),
        }
    }

    /// All of them, for metrics.
    #[must_use]
    pub fn all(&self) -> Vec<Budget> {
        let bodies = self.bodies.iter().chain([&self.strangers]);
        bodies.chain(&self.responses).cloned().collect()
    }
}
