//! When the thread wakes that watches the timers of all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mio::Waker;

/// Until when the watching thread sleeps at most, and what wakes it sooner.
#[derive(Debug)]
pub(super) struct TimerWatch {
    start: Instant,
    /// Nanoseconds from the start.
    armed: AtomicU64,
    waker: OnceLock<Arc<Waker>>,
}

impl TimerWatch {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, armed: AtomicU64::new(u64::MAX), waker: OnceLock::new() }
    }

    /// Says what wakes the watching thread: once, before there are timers.
    pub(super) fn watched_by(&self, waker: Arc<Waker>) {
        let _ = self.waker.set(waker);
    }

    /// Says when the next timer is, as its setter knows it; whether a thread that sleeps would sleep longer.
    pub(super) fn set(&self, next: Option<Instant>) -> bool {
        let next = self.nanoseconds(next);
        next < self.armed.load(Ordering::Relaxed) && next < self.armed.fetch_min(next, Ordering::Relaxed)
    }

    /// Wakes the watching thread.
    pub(super) fn wake(&self) {
        if let Some(Err(error)) = self.waker.get().map(|waker| waker.wake()) {
            tracing::error!(%error, "cannot wake the thread that watches timers");
        }
    }

    /// How long there is until the next timer; zero where it is due.
    pub(super) fn until_next(&self, now: Instant) -> Duration {
        let now = self.nanoseconds(Some(now));
        Duration::from_nanos(self.armed.load(Ordering::Relaxed).saturating_sub(now))
    }

    /// Notes the next timer as `look` finds it, after those that were due.
    pub(super) fn arm(&self, look: impl FnOnce() -> Option<Instant>) {
        // What is set between the look and the note of what it found must not be forgotten: the earlier one counts.
        self.armed.store(u64::MAX, Ordering::Relaxed);
        let next = look();
        self.armed.fetch_min(self.nanoseconds(next), Ordering::Relaxed);
    }

    fn nanoseconds(&self, at: Option<Instant>) -> u64 {
        let since = |at: Instant| u64::try_from(at.saturating_duration_since(self.start).as_nanos()).ok();
        at.and_then(since).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
    fn a_timer_that_is_set_between_look_and_sleep_is_not_slept_through() {
        let start = Instant::now();
        let watch = TimerWatch::new(start);
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(watch.until_next(start), Duration::from_nanos(u64::MAX));
        assert!(watch.set(Some(at(10))), "it would sleep longer");
        assert!(!watch.set(Some(at(10))) && !watch.set(Some(at(20))), "it wakes by then by itself");
        assert_eq!([9, 10].map(|now| watch.until_next(at(now))), [Duration::from_millis(1), Duration::ZERO]);
        // It slept until then. It finds no other timer, and before it says so another thread sets one.
        watch.arm(|| {
            assert!(watch.set(Some(at(40))));
            None
        });
        assert_eq!(watch.until_next(at(15)), Duration::from_millis(25));
        watch.arm(|| {
            assert!(watch.set(Some(at(90))));
            Some(at(60))
        });
        assert_eq!(watch.until_next(at(15)), Duration::from_millis(45));
        assert!(!watch.set(None));
        assert!(watch.set(Some(at(50))));
        assert_eq!(watch.until_next(at(70)), Duration::ZERO);
    }
}
