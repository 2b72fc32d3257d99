//! Memory that was freed, given back to the kernel.

/// Gives back what the allocator keeps of freed memory. For after work that took much more than what is left of it.
/// With allocators other than glibc's it does nothing: musl's gives back at once.
#[cfg(target_env = "gnu")]
pub fn give_back_memory() {
    // SAFETY: malloc_trim takes a number of bytes to keep and no pointer, and locks what it touches.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives back what the allocator keeps of freed memory, where there is a way to; here there is none.
#[cfg(not(target_env = "gnu"))]
pub fn give_back_memory() {}
