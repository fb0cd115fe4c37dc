//! The ids that every answer carries: `x-amzn-requestid` and `x-amz-id-2`.
//!
//! They only have to differ: a counter is mixed with a key that is random per process, which needs
//! no call to the kernel for each request.

use std::sync::atomic::{AtomicU64, Ordering};

use base64_simd::STANDARD;
use http::HeaderValue;
use millstream_clock::Entropy;

/// Bytes behind `x-amz-id-2`.
const ID_2_BYTES: usize = 72;
const ID_2_CHARS: usize = ID_2_BYTES / 3 * 4;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Makes ids.
#[derive(Debug)]
pub(crate) struct RequestIds {
    key: u64,
    next: AtomicU64,
}

/// The ids of one request.
#[derive(Clone, Debug)]
pub(crate) struct RequestId {
    /// In the form of a UUID.
    pub(crate) id: HeaderValue,
    /// 72 bytes in base64.
    pub(crate) id_2: HeaderValue,
}

impl RequestIds {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self {
            key: entropy.u64(),
            next: AtomicU64::new(entropy.u64()),
        }
    }

    pub(crate) fn next(&self) -> RequestId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut state = self.key ^ mix(count);
        let mut bytes = [0; ID_2_BYTES];
        for eight in bytes.chunks_exact_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            eight.copy_from_slice(&mix(state).to_le_bytes());
        }
        let mut chars = [0; ID_2_CHARS];
        let id_2 = STANDARD.encode(&bytes, base64_simd::Out::from_slice(&mut chars));
        RequestId {
            id: header(&uuid(&bytes)),
            id_2: header(id_2),
        }
    }
}

fn header(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).expect("digits, letters, '-', '+', '/' and '=' are header text")
}

/// The first 16 bytes as a random UUID (version 4).
fn uuid(bytes: &[u8; ID_2_BYTES]) -> [u8; 36] {
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (i, byte) in bytes.iter().take(16).enumerate() {
        let byte = match i {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if matches!(i, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    text
}

/// The finalizer of splitmix64: one to one, and spreads every bit.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use millstream_clock::SeededEntropy;

    use super::*;

    #[test]
    fn ids_have_the_form_of_aws_and_do_not_repeat() {
        let ids = RequestIds::new(&SeededEntropy::new(1));
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            let RequestId { id, id_2 } = ids.next();
            let text = id.to_str().expect("text").to_owned();
            let lengths: Vec<usize> = text.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{text}");
            assert!(text.bytes().all(|b| b == b'-' || HEX.contains(&b)));
            assert_eq!(text.as_bytes()[14], b'4');
            let decoded = STANDARD.decode_to_vec(id_2.as_bytes()).expect("base64");
            assert_eq!(decoded.len(), 72);
            assert!(seen.insert(text));
        }
    }
}
