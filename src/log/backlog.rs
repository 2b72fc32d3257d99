//! What waits for a thread that writes: a queue that never makes who fills it wait, bounded in bytes, what it cannot hold counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// How long the end of the process waits for what is left.
const LAST: Duration = Duration::from_secs(1);

/// How much waits in one queue, and how much was dropped.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl Backlog {
    /// With nothing in it.
    pub(super) const fn new() -> Self {
        Self { bytes: AtomicUsize::new(0), dropped: AtomicU64::new(0) }
    }

    /// Puts an item of so many bytes into its queue. Where there is no queue or no room, it is dropped.
    pub(super) fn put<T>(&self, queue: Option<&SyncSender<T>>, item: T, bytes: usize, bytes_max: usize) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = before + bytes <= bytes_max;
        if !has_room || queue.is_none_or(|queue| queue.try_send(item).is_err()) {
            self.taken(bytes);
            self.count_dropped(1);
        }
    }

    /// An item was taken out of the queue.
    pub(super) fn taken(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// So many items could not be written.
    pub(super) fn count_dropped(&self, items: u64) {
        self.dropped.fetch_add(items, Ordering::Relaxed);
    }

    /// How many items were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Waits a moment until what is in a queue is written: `last` is the item that says so.
pub(super) fn wait_until_written<T>(queue: &SyncSender<T>, last: impl FnOnce(SyncSender<()>) -> T) {
    let (done, waiting) = sync_channel(1);
    if queue.try_send(last(done)).is_ok() {
        let _ = waiting.recv_timeout(LAST);
    }
}
