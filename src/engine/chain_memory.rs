//! Memory of the chains that wait for upstreams: each query may hold one, and upstreams choose how long their names are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of all chains that wait together. A chain of Azure's takes about 1 KiB, the longest possible one some 15 KiB and its
/// signatures.
pub const CHAIN_MEMORY_MAX: usize = 64 << 20;

/// Counts the bytes of chains that wait.
#[derive(Debug, Default)]
pub(super) struct ChainMemory(AtomicUsize);

/// The share of one chain, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    memory: Arc<ChainMemory>,
    bytes: usize,
}

impl ChainMemory {
    /// Takes so many bytes; `None` where there are not as many left.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let held = Held { memory: self.clone(), bytes };
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        (before.saturating_add(bytes) <= CHAIN_MEMORY_MAX).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let memory = Arc::<ChainMemory>::default();
        let first = memory.hold(CHAIN_MEMORY_MAX - 10);
        assert!(first.is_some() && memory.hold(11).is_none(), "a refusal leaves nothing behind");
        let second = memory.hold(10);
        assert!(second.is_some() && memory.hold(1).is_none());
        drop(first);
        assert!(memory.hold(CHAIN_MEMORY_MAX - 10).is_some());
    }
}
