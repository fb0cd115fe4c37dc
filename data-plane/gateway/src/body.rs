//! Reads a request's body, part by part, against the memory of its lane.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use millstream_chassis::Permit;
use millstream_clock::{Clock, task};
use millstream_protocol::Codec;
use millstream_types::caps;

use crate::lanes::BodyMemory;
use crate::options::{Budgets, Timeouts};

/// Most bytes of a refused body that are read and dropped.
const DROPPED_BYTES_MAX: u64 = 64 << 20;

/// Largest body that is read for a request whose head shows that it will be refused.
const STRANGERS_BYTES_MAX: u64 = 64 * 1024;

/// A whole body, and the memory that it and its records take.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    pub(crate) permit: Permit,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is over 16 MiB.
    TooLarge,
    /// There is no memory for it.
    NoMemory,
    /// It comes too slowly.
    TooSlow,
    /// The client went away, or broke the protocol.
    Broken,
}

/// Reads bodies.
#[derive(Clone, Copy)]
pub(crate) struct BodyReader<'a> {
    pub(crate) budgets: &'a Budgets,
    pub(crate) timeouts: &'a Timeouts,
    pub(crate) clock: &'a dyn Clock,
    /// What the body is written in.
    pub(crate) codec: Codec,
}

impl<'a> BodyReader<'a> {
    /// The whole body. A refused one is read to its end and dropped where that is short work, so
    /// that the client gets to see the answer.
    pub(crate) async fn read(self, body: Incoming) -> Result<Held, Refused> {
        let announced = body.size_hint().exact();
        if announced.is_some_and(|bytes| bytes > caps::BODY_BYTES_MAX as u64) {
            self.drop_rest(body, 0).await;
            return Err(Refused::TooLarge);
        }
        let memory = BodyMemory::new(&self.budgets.bodies, announced);
        let (bytes, memory) = self.read_into(memory, body).await?;
        let permit = memory.with_records(self.codec, bytes.len() as u64);
        let permit = permit.ok_or(Refused::NoMemory)?;
        Ok(Held { bytes, permit })
    }

    /// The body of a request whose head shows that it will be refused, and its memory: none of what
    /// others read theirs with. A body that is not known to be small is dropped.
    pub(crate) async fn read_of_stranger(
        self,
        body: Incoming,
    ) -> Result<(Bytes, BodyMemory<'a>), Refused> {
        let announced = body.size_hint().exact();
        if announced.is_none_or(|bytes| bytes > STRANGERS_BYTES_MAX) {
            self.drop_rest(body, 0).await;
            return Err(Refused::TooLarge);
        }
        let lane = std::slice::from_ref(&self.budgets.strangers);
        self.read_into(BodyMemory::new(lane, announced), body).await
    }

    async fn read_into(
        self,
        mut memory: BodyMemory<'a>,
        mut body: Incoming,
    ) -> Result<(Bytes, BodyMemory<'a>), Refused> {
        let refused = match self.fill(&mut body, &mut memory).await {
            Ok(bytes) => return Ok((bytes, memory)),
            Err(refused) => refused,
        };
        drop(memory);
        if matches!(refused, Refused::TooLarge | Refused::NoMemory) {
            self.drop_rest(body, caps::BODY_BYTES_MAX as u64).await;
        }
        Err(refused)
    }

    async fn fill(
        self,
        body: &mut Incoming,
        memory: &mut BodyMemory<'_>,
    ) -> Result<Bytes, Refused> {
        let started = self.clock.monotonic();
        let mut bytes = BytesMut::new();
        let mut parts: u32 = 0;
        while let Some(data) = self.next(body).await? {
            let length = bytes.len() + data.len();
            if length > caps::BODY_BYTES_MAX {
                return Err(Refused::TooLarge);
            }
            if bytes.is_empty() && body.is_end_stream() {
                // All in one part: the connection's own buffer, which is given back as soon as the
                // request is decoded.
                memory.hold(length as u64).ok_or(Refused::NoMemory)?;
                return Ok(data);
            }
            if length > bytes.capacity() {
                let capacity = memory.hold(length as u64).ok_or(Refused::NoMemory)?;
                let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
                bytes.reserve(capacity.saturating_sub(bytes.len()));
            }
            bytes.extend_from_slice(&data);
            parts += 1;
            // The first parts of a body come with its head: no need to look at the clock.
            if parts > 1 {
                let taken = self.clock.monotonic().saturating_sub(started);
                if taken > self.timeouts.to_receive(length as u64) {
                    return Err(Refused::TooSlow);
                }
            }
        }
        Ok(bytes.freeze())
    }

    /// The next data, or none at the end.
    async fn next(self, body: &mut Incoming) -> Result<Option<Bytes>, Refused> {
        loop {
            if body.is_end_stream() {
                return Ok(None);
            }
            let frame = task::timeout(self.timeouts.body_pause, body.frame()).await;
            match frame {
                Err(_) => return Err(Refused::TooSlow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Refused::Broken),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                },
            }
        }
    }

    async fn drop_rest(self, mut body: Incoming, mut seen_bytes: u64) {
        let most = self.timeouts.body_drop;
        let dropping = async {
            while let Ok(Some(data)) = self.next(&mut body).await {
                seen_bytes += data.len() as u64;
                if seen_bytes > DROPPED_BYTES_MAX {
                    break;
                }
            }
        };
        if task::timeout(most, dropping).await.is_err() {
            tracing::debug!("the rest of a refused body did not come in time");
        }
    }
}
