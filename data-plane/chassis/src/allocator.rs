//! Settings of the system's allocator, for a server whose requests come in all sizes.
//!
//! Left to itself it raises the size from which memory goes straight back to the system, up to
//! 32 MiB, and opens an arena for every thread that reads from the disk: under the overload test
//! the process then held three times of what the memory table had dealt out.

/// Allocations from this size on go back to the system when they are freed.
#[cfg(target_env = "gnu")]
const RETURNED_BYTES_MIN: libc::c_int = 1024 * 1024;
/// Heaps that threads share.
#[cfg(target_env = "gnu")]
const ARENAS_MAX: libc::c_int = 4;

/// Fixes the settings; to be called before the first thread starts.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no safe crate wraps mallopt")]
pub fn settle() {
    let settings = [
        (libc::M_MMAP_THRESHOLD, RETURNED_BYTES_MIN),
        (libc::M_ARENA_MAX, ARENAS_MAX),
    ];
    for (parameter, value) in settings {
        // SAFETY: mallopt takes two integers, and may be called at any time.
        let set = unsafe { libc::mallopt(parameter, value) };
        debug_assert_eq!(set, 1, "both parameters are known since glibc 2.10");
    }
}

/// Other allocators keep their settings.
#[cfg(not(target_env = "gnu"))]
pub fn settle() {}
