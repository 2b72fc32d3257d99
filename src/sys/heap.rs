//! What the allocator keeps although nobody uses it.

/// Gives freed memory back to the system, where the C library would keep it: after much was read that is used no more.
pub fn give_back() {
    // SAFETY: malloc_trim may be called by any thread at any time; it takes the allocator's own locks.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
