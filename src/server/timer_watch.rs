//! When the worker wakes that watches the timers of all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

/// Until when the watcher sleeps, and what wakes it sooner.
#[derive(Debug)]
pub(super) struct TimerWatch {
    start: Instant,
    /// Nanoseconds from the start.
    armed: AtomicU64,
    changed: Notify,
}

impl TimerWatch {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, armed: AtomicU64::new(u64::MAX), changed: Notify::new() }
    }

    /// Says when the next timer is, as its setter knows it: wakes the watcher where it would sleep longer.
    pub(super) fn set(&self, next: Option<Instant>) {
        if next.is_some() && self.nanoseconds(next) < self.armed.load(Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    /// The next timer, as `look` finds it: the watcher is about to sleep until then.
    pub(super) fn arm(&self, look: impl FnOnce() -> Option<Instant>) -> Option<Instant> {
        // Until the end of the look every setter wakes the watcher. One that came between the look and the note of what it found would
        // compare its timer with that of the last sleep, which is past, and the watcher would sleep through it.
        self.armed.store(u64::MAX, Ordering::Relaxed);
        let next = look();
        self.armed.store(self.nanoseconds(next), Ordering::Relaxed);
        next
    }

    /// Returns when a timer was set that is earlier than the one armed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn nanoseconds(&self, at: Option<Instant>) -> u64 {
        let since = |at: Instant| u64::try_from(at.saturating_duration_since(self.start).as_nanos()).ok();
        at.and_then(since).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Whether the watcher would wake now.
    fn wakes(watch: &TimerWatch) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::ZERO, watch.changed()).await.is_ok() })
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
    fn a_timer_that_is_set_between_look_and_sleep_wakes() {
        let start = Instant::now();
        let watch = TimerWatch::new(start);
        let at = |milliseconds| Some(start + Duration::from_millis(milliseconds));
        assert_eq!(watch.arm(|| at(10)), at(10));
        // It slept until then. It finds no other timer, and before it says so another worker sets one.
        let found = watch.arm(|| {
            watch.set(at(40));
            None
        });
        assert_eq!(found, None);
        assert!(wakes(&watch));
        assert!(!wakes(&watch), "once");
        watch.arm(|| at(40));
        watch.set(at(50));
        assert!(!wakes(&watch), "it wakes before that one by itself");
        watch.set(at(30));
        assert!(wakes(&watch));
        watch.set(None);
        assert!(!wakes(&watch));
    }
}
