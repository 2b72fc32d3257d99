//! How well and how fast an upstream answers.
//!
//! Answers to clients' own queries judge; nothing else is measured. An upstream that stays silent three times in a row
//! is taken for down. Others are preferred then; where there are none it is not given up: one real query every 200 ms
//! goes to it, the rest waits, and its first answer brings it back.

use std::time::{Duration, Instant};

/// Silences in a row after which an upstream is taken for down.
const FAILURES_MAX: u32 = 3;
/// How often an upstream that is down is tried.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// Response times within one such step are the same: then the order of the rule counts.
const RTT_STEP: Duration = Duration::from_millis(25);
/// How long a measured response time says something.
const RTT_MEMORY: Duration = Duration::from_secs(30);
/// An upstream that answered somebody within this time is not the reason why another query is slow.
const ANSWERS_OTHERS: Duration = Duration::from_millis(500);

/// What is known of one upstream.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    /// Smoothed response time, and when it was last measured.
    rtt: Option<(Duration, Instant)>,
    /// When anything was last heard from it.
    heard: Option<Instant>,
    probed: Option<Instant>,
}

impl Health {
    /// An answer came `took` after its query.
    pub(super) fn heard(&mut self, took: Duration, now: Instant) {
        self.failures = 0;
        self.heard = Some(now);
        let smoothed = match self.rtt {
            Some((known, at)) if now.saturating_duration_since(at) < RTT_MEMORY => (known * 7 + took) / 8,
            _ => took,
        };
        self.rtt = Some((smoothed, now));
    }

    /// A query that was sent at `sent` was not answered within its patience, or could not be sent.
    pub(super) fn failed(&mut self, sent: Instant) {
        // Whatever was answered after this query left says that the upstream is there: the name is slow, or a packet
        // was lost.
        if self.heard.is_some_and(|heard| heard > sent) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
    }

    pub(super) fn is_down(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// Whether it answers others at this time.
    pub(super) fn answers_others(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < ANSWERS_OTHERS)
    }

    /// The smoothed response time.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|(rtt, _)| rtt)
    }

    /// What upstreams are ordered by: the lower the better.
    pub(super) fn rank(&self, now: Instant) -> (bool, u128) {
        let steps = match self.rtt {
            Some((rtt, at)) if now.saturating_duration_since(at) < RTT_MEMORY => rtt.as_micros() / RTT_STEP.as_micros(),
            _ => 0,
        };
        (self.is_down(), steps)
    }

    /// How long until an upstream that is down may be tried again.
    pub(super) fn probe_wait(&self, now: Instant) -> Duration {
        let since = self.probed.map_or(PROBE_INTERVAL, |at| now.saturating_duration_since(at));
        PROBE_INTERVAL.saturating_sub(since)
    }

    /// Whether an upstream that is down is due to be tried again; counts as tried.
    pub(super) fn take_probe(&mut self, now: Instant) -> bool {
        let due = self.is_down() && self.probe_wait(now).is_zero();
        if due {
            self.probed = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn down_after_three_silences_and_back_at_the_first_answer() {
        #[expect(clippy::disallowed_methods, reason = "a start for the hand-moved clock")]
        let now = Instant::now();
        let mut health = Health::default();
        health.failed(now);
        health.failed(now);
        assert!(!health.is_down());
        health.failed(now);
        assert!(health.is_down());
        assert!(health.take_probe(now));
        assert!(!health.take_probe(now + Duration::from_millis(199)));
        assert!(health.take_probe(now + Duration::from_millis(200)));
        assert!(!health.take_probe(now + Duration::from_millis(201)));
        health.heard(Duration::from_millis(3), now);
        assert!(!health.is_down());
    }

    #[test]
    fn slow_names_do_not_make_an_upstream_look_dead() {
        #[expect(clippy::disallowed_methods, reason = "a start for the hand-moved clock")]
        let start = Instant::now();
        let mut health = Health::default();
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            health.heard(Duration::from_millis(5), now + Duration::from_millis(500));
            health.failed(now);
        }
        assert!(!health.is_down());
    }

    #[test]
    fn small_differences_in_speed_do_not_count() {
        #[expect(clippy::disallowed_methods, reason = "a start for the hand-moved clock")]
        let now = Instant::now();
        let (mut near, mut far, unknown) = (Health::default(), Health::default(), Health::default());
        near.heard(Duration::from_millis(2), now);
        far.heard(Duration::from_millis(60), now);
        assert_eq!(near.rank(now), unknown.rank(now));
        assert!(near.rank(now) < far.rank(now));
        assert_eq!(far.rank(now + RTT_MEMORY), unknown.rank(now), "an old measurement says nothing");
    }
}
