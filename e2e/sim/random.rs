//! The kernel's random bytes, in this program: the same ones in every process.
//!
//! The runtime below (tokio) seeds its own choices, such as which of several waiting tasks wakes
//! first, from a hasher of the standard library, and that one from `getrandom(2)`; a hash map's
//! order comes from there too. None of them takes a seed from us, so the call itself is answered
//! here. Each simulation runs in a process of its own (`seeds.rs`), so that nothing else draws.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0x5eed) };
}

/// Takes the place of the C library's function when this program is linked.
#[expect(
    unsafe_code,
    reason = "the standard library takes a seed in no other way"
)]
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: the caller owns `length` bytes at `buffer`, as of getrandom(2).
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    for byte in bytes {
        *byte = next();
    }
    length.cast_signed()
}

/// SplitMix64, a byte of it.
fn next() -> u8 {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed.to_le_bytes()[7]
}

#[test]
fn a_hash_map_has_one_order() {
    let keys = || {
        (0..100)
            .collect::<std::collections::HashSet<u32>>()
            .into_iter()
            .collect()
    };
    let orders: [Vec<u32>; 2] = [(); 2].map(|()| {
        let order = std::thread::spawn(keys);
        order.join().expect("it does not panic")
    });
    assert_eq!(orders[0], orders[1]);
}
