//! Memory of the chains that wait for upstreams: each query may hold one, and upstreams choose how long their names are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of all chains that wait together, where memory is not limited. A chain of Azure's takes about 1 KiB, the longest possible
/// one some 15 KiB and its signatures.
pub const CHAIN_MEMORY_MAX: usize = 64 << 20;

/// Counts the bytes of chains that wait.
#[derive(Debug)]
pub(super) struct ChainMemory {
    held: AtomicUsize,
    most: AtomicUsize,
}

/// The share of one chain, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    memory: Arc<ChainMemory>,
    bytes: usize,
}

impl Default for ChainMemory {
    fn default() -> Self {
        Self { held: AtomicUsize::new(0), most: AtomicUsize::new(CHAIN_MEMORY_MAX) }
    }
}

impl ChainMemory {
    /// Holds so many bytes at most from now on; what is held stays.
    pub(super) fn set_most(&self, bytes: usize) {
        self.most.store(bytes, Ordering::Relaxed);
    }

    /// Takes so many bytes; `None` where there are not as many left.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let held = Held { memory: self.clone(), bytes };
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        (before.saturating_add(bytes) <= self.most.load(Ordering::Relaxed)).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.bytes, Ordering::Relaxed);
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

    #[test]
    fn a_smaller_bound_holds_for_what_comes() {
        let memory = Arc::<ChainMemory>::default();
        let before = memory.hold(2000);
        memory.set_most(1000);
        assert!(before.is_some() && memory.hold(1).is_none());
        drop(before);
        let (all, more) = (memory.hold(1000), memory.hold(1));
        assert!(all.is_some() && more.is_none());
    }
}
