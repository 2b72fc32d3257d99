//! When the thread wakes that watches the timers of all.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::alarm::Alarm;

/// When the watching thread is to wake at the latest, and what wakes it.
#[derive(Debug)]
pub(super) struct TimerWatch {
    start: Instant,
    /// Nanoseconds from the start.
    armed: AtomicU64,
    alarm: OnceLock<Alarm>,
}

impl TimerWatch {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, armed: AtomicU64::new(u64::MAX), alarm: OnceLock::new() }
    }

    /// Says what wakes the watching thread: once, before there are timers.
    pub(super) fn watched_by(&self, alarm: Alarm) {
        let _ = self.alarm.set(alarm);
    }

    /// Says when the next timer is, as its setter knows it; whether the watching thread would have slept longer.
    pub(super) fn set(&self, next: Option<Instant>) -> bool {
        let next = self.nanoseconds(next);
        let is_sooner =
            next < self.armed.load(Ordering::Relaxed) && next < self.armed.fetch_min(next, Ordering::Relaxed);
        if is_sooner {
            self.set_alarm();
        }
        is_sooner
    }

    /// Sets the alarm to what is noted. Another thread may note a sooner time meanwhile, and set its alarm first: the last one to set it
    /// looks again.
    fn set_alarm(&self) {
        let Some(alarm) = self.alarm.get() else { return };
        let mut armed = self.armed.load(Ordering::SeqCst);
        while armed != u64::MAX {
            let now = self.nanoseconds(Some(Instant::now()));
            if let Err(error) = alarm.set(Duration::from_nanos(armed.saturating_sub(now))) {
                tracing::error!(%error, "cannot set the timer for upstream queries; retries may be late");
            }
            let set = std::mem::replace(&mut armed, self.armed.load(Ordering::SeqCst));
            if armed >= set {
                return;
            }
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
        self.set_alarm();
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
