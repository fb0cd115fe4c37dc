//! Large buffers that are used again, so that the kernel need not zero fresh pages for each window
//! or read. A buffer goes back to its pool when the last slice of it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Smaller buffers are left to the allocator.
const POOLED_BYTES_MIN: usize = 64 * 1024;
/// Larger buffers are not kept.
const POOLED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of buffers that a pool keeps for use again.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
const SIZES: usize = 8;

/// Buffers by size: powers of two from 64 KiB to 8 MiB.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    kept: [Mutex<Vec<Vec<u8>>>; SIZES],
    /// Bytes that are kept.
    kept_bytes: AtomicUsize,
    /// Bytes that are out: taken and not yet dropped.
    out: AtomicUsize,
    /// Woken when a buffer comes back.
    pub(crate) returned: Notify,
}

impl BufferPool {
    /// A buffer that can hold `capacity` bytes without growing; what is in it is left over.
    pub(crate) fn take(self: &Arc<Self>, capacity: usize) -> PooledBuffer {
        let kept = size_index(capacity).and_then(|index| self.kept[index].lock().pop());
        if let Some(bytes) = &kept {
            self.kept_bytes
                .fetch_sub(bytes.capacity(), Ordering::Relaxed);
        }
        let bytes = kept.unwrap_or_else(|| Vec::with_capacity(rounded(capacity)));
        self.out.fetch_add(bytes.capacity(), Ordering::Relaxed);
        PooledBuffer {
            counted: bytes.capacity(),
            bytes,
            pool: Arc::clone(self),
        }
    }

    /// Bytes that are out.
    pub(crate) fn out(&self) -> usize {
        self.out.load(Ordering::Relaxed)
    }
}

/// A buffer of a [`BufferPool`].
#[derive(Debug)]
pub(crate) struct PooledBuffer {
    pub(crate) bytes: Vec<u8>,
    counted: usize,
    pool: Arc<BufferPool>,
}

impl PooledBuffer {
    /// The content as shared bytes; the buffer goes back with the last of them.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// Makes the length `len` without zeroing what earlier uses left there.
    pub(crate) fn set_len_dirty(&mut self, len: usize) {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        } else {
            self.bytes.truncate(len);
        }
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        self.pool.out.fetch_sub(self.counted, Ordering::Relaxed);
        let bytes = std::mem::take(&mut self.bytes);
        let capacity = bytes.capacity();
        // only exact sizes go back, so that a buffer taken from a size's list always fits
        if capacity.is_power_of_two()
            && let Some(index) = size_index(capacity)
        {
            let before = self.pool.kept_bytes.fetch_add(capacity, Ordering::Relaxed);
            if before + capacity <= KEPT_BYTES_MAX {
                self.pool.kept[index].lock().push(bytes);
            } else {
                self.pool.kept_bytes.fetch_sub(capacity, Ordering::Relaxed);
            }
        }
        self.pool.returned.notify_waiters();
    }
}

fn rounded(capacity: usize) -> usize {
    if size_index(capacity).is_some() {
        capacity.next_power_of_two()
    } else {
        capacity
    }
}

fn size_index(capacity: usize) -> Option<usize> {
    let pooled = (POOLED_BYTES_MIN / 2 + 1..=POOLED_BYTES_MAX).contains(&capacity);
    pooled.then(|| {
        let size = capacity.next_power_of_two();
        (size.trailing_zeros() - POOLED_BYTES_MIN.trailing_zeros()) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_the_last_slice_of_it() {
        let pool = Arc::new(BufferPool::default());
        let mut buffer = pool.take(100_000);
        buffer.bytes.extend_from_slice(b"abc");
        let at = buffer.bytes.as_ptr();
        let (whole, capacity) = (buffer.freeze(), 131_072);
        let slice = whole.slice(1..2);
        drop(whole);
        assert_eq!(pool.out(), capacity);
        drop(slice);
        assert_eq!(pool.out(), 0);
        assert_eq!(pool.take(131_072).bytes.as_ptr(), at);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let pool = Arc::new(BufferPool::default());
        let taken: Vec<PooledBuffer> = (0..5).map(|_| pool.take(POOLED_BYTES_MAX)).collect();
        drop(taken);
        assert_eq!(
            pool.kept[SIZES - 1].lock().len(),
            KEPT_BYTES_MAX / POOLED_BYTES_MAX
        );
    }

    #[test]
    fn small_and_huge_buffers_are_not_kept() {
        let pool = Arc::new(BufferPool::default());
        for capacity in [10, 9 * 1024 * 1024] {
            drop(pool.take(capacity));
        }
        assert!(pool.kept.iter().all(|kept| kept.lock().is_empty()));
        assert_eq!(pool.out(), 0);
    }
}
