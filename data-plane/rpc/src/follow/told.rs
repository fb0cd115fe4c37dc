//! How much one home may tell: whoever owns a shard server's namespace can have it say anything, and
//! gateways serve everybody.

use std::collections::BTreeMap;

use millstream_stream::catalogue::Encoded;
use millstream_types::StreamUid;

/// Most streams of one home. A pool takes 3,000; those that are being removed count, too.
pub(super) const STREAMS_MAX: usize = 6_000;
/// Most bytes of all streams of one home, as they are told: some 600,000 shards.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// The streams that were told of in one watch, and their bytes.
#[derive(Debug, Default)]
pub(super) struct Told {
    sizes: BTreeMap<StreamUid, usize>,
    bytes: usize,
}

/// A home has told of more than one can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it told of {streams} streams with {bytes} bytes; {STREAMS_MAX} with {BYTES_MAX} are taken"
)]
pub(super) struct TooMuch {
    streams: usize,
    bytes: usize,
}

impl Told {
    /// Notes a stream in place of what was told of it before.
    pub(super) fn put(&mut self, stream: StreamUid, bytes: usize) -> Result<(), TooMuch> {
        self.removed(stream);
        self.sizes.insert(stream, bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.sizes.len() > STREAMS_MAX || self.bytes > BYTES_MAX {
            return Err(TooMuch {
                streams: self.sizes.len(),
                bytes: self.bytes,
            });
        }
        Ok(())
    }

    /// Notes that a stream is no more.
    pub(super) fn removed(&mut self, stream: StreamUid) {
        let bytes = self.sizes.remove(&stream).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The bytes of a stream as it is told.
pub(super) fn bytes(stream: &Encoded) -> usize {
    stream.stream.len() + stream.shards.iter().map(bytes::Bytes::len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_tells_of_so_many_streams_and_no_more() {
        let mut told = Told::default();
        for uid in 0..STREAMS_MAX as u128 {
            told.put(StreamUid(uid), 1).expect("so many");
        }
        assert!(told.put(StreamUid(1), 2).is_ok(), "it was there");
        assert!(told.put(StreamUid(u128::MAX), 1).is_err());
        told.removed(StreamUid(u128::MAX));
        told.removed(StreamUid(0));
        assert!(told.put(StreamUid(u128::MAX), 1).is_ok());
    }

    #[test]
    fn a_home_tells_so_many_bytes_and_no_more() {
        let mut told = Told::default();
        told.put(StreamUid(1), BYTES_MAX).expect("so many");
        assert!(told.put(StreamUid(2), 1).is_err());
        let mut told = Told::default();
        told.put(StreamUid(1), BYTES_MAX).expect("so many");
        told.put(StreamUid(1), 1).expect("in its place");
        assert!(told.put(StreamUid(2), BYTES_MAX - 1).is_ok());
        assert!(told.put(StreamUid(3), usize::MAX).is_err());
    }
}
