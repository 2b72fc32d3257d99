//! How well and how fast an upstream answers.
//!
//! Answers to clients' own queries are the only measurement. From their times follows how long an answer is waited for
//! before a query is repeated (RFC 6298). An upstream that leaves three queries in a row unanswered, over some time, is
//! taken for down. Others are preferred then; where there are none it is not given up: one real query every 200 ms goes to
//! it, the rest waits, and its first answer brings it back.

use std::time::{Duration, Instant};

/// Unanswered queries in a row after which an upstream is taken for down.
const FAILURES_MAX: u32 = 3;
/// Over at least which time: a few lost packets within a moment are no outage.
const DOWN_AFTER: Duration = Duration::from_millis(300);
/// How often an upstream that is down is tried.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// Response times within one such step are the same: then the order of the rule counts.
const RTT_STEP: Duration = Duration::from_millis(25);
/// How long a measured response time says something about which upstream is faster.
const RTT_MEMORY: Duration = Duration::from_secs(30);
/// Shares of queries are counted in so many parts.
const WHOLE: u32 = 1 << 16;
/// How much of the share of lost queries one query makes.
const LOSS_GAIN: u32 = 16;
/// More than this share is as bad as this one.
const LOSS_MAX: u32 = WHOLE / 10 * 9;
/// An upstream that answered another query within this time is not the reason why one is slow.
const ANSWERS_OTHERS: Duration = Duration::from_millis(500);
/// How long an answer is waited for before a query is repeated: at least, at most, and while nothing was measured.
const TIMEOUT_MIN: Duration = Duration::from_millis(50);
const TIMEOUT_MAX: Duration = Duration::from_secs(1);
const TIMEOUT_UNKNOWN: Duration = Duration::from_millis(400);
/// Answers in a row beyond that, after which it is the upstream that is slow and not a name.
const SLOW_MAX: u32 = 8;

/// What is known of one upstream.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    /// When the first of the queries left that have not been answered since.
    failing_since: Option<Instant>,
    is_down: bool,
    rtt: Option<Rtt>,
    /// The share of its last queries that was not answered in time, of [`WHOLE`], and when it was last counted.
    lost: u32,
    lost_at: Option<Instant>,
    /// Answers in a row that took longer than any timeout.
    slow_in_a_row: u32,
    /// When anything was last heard from it.
    heard: Option<Instant>,
    probed: Option<Instant>,
    /// How often it was tried since it is down.
    probes: u32,
}

/// Response times (RFC 6298 §2).
#[derive(Debug, Clone, Copy)]
struct Rtt {
    smoothed: Duration,
    variation: Duration,
    measured: Instant,
}

impl Rtt {
    fn first(took: Duration, now: Instant) -> Self {
        Self { smoothed: took, variation: took / 2, measured: now }
    }

    /// The gain for growing variation is RFC 6298's. It shrinks more slowly: there are many samples a round trip, and one
    /// answer of many that is late must not be forgotten before the next (RFC 7323 appendix G).
    fn with(self, took: Duration, now: Instant) -> Self {
        let deviation = took.abs_diff(self.smoothed);
        let variation = if deviation > self.variation {
            (self.variation * 3 + deviation) / 4
        } else {
            (self.variation * 31 + deviation) / 32
        };
        Self { smoothed: (self.smoothed * 7 + took) / 8, variation, measured: now }
    }

    fn timeout(self) -> Duration {
        (self.smoothed + self.variation * 4).clamp(TIMEOUT_MIN, TIMEOUT_MAX)
    }
}

impl Health {
    /// Something came from it; `took` is how long after its query, where that says how fast the upstream is. Whether it
    /// was down.
    pub(super) fn on_response(&mut self, took: Option<Duration>, now: Instant) -> bool {
        let was_down = std::mem::take(&mut self.is_down);
        self.failures = 0;
        self.failing_since = None;
        self.probes = 0;
        self.heard = Some(now);
        if let Some(took) = took {
            // One that came later counts as lost already.
            if took <= self.timeout() {
                self.count_loss(false, now);
            }
            self.slow_in_a_row = if took > TIMEOUT_MAX { self.slow_in_a_row.saturating_add(1) } else { 0 };
            // A name that is slow says nothing of the upstream's speed, unless all are.
            if self.slow_in_a_row == 0 || self.slow_in_a_row >= SLOW_MAX {
                // After an outage the path may be another one.
                let known = self.rtt.filter(|_| !was_down);
                self.rtt = Some(known.map_or_else(|| Rtt::first(took, now), |known| known.with(took, now)));
            }
        }
        was_down
    }

    /// A query that was sent at `sent` was not answered in time, or could not be sent, which `is_certain` of the upstream
    /// itself. Whether it is taken for down from now on.
    pub(super) fn failed(&mut self, sent: Instant, now: Instant, is_certain: bool) -> bool {
        self.count_loss(true, now);
        // Whatever was answered after this query left says that the upstream is there: the name is slow, or a packet
        // was lost.
        if self.heard.is_some_and(|heard| heard > sent) {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        let since = self.failing_since.map_or(sent, |since| since.min(sent));
        self.failing_since = Some(since);
        let is_long = is_certain || now.saturating_duration_since(since) >= DOWN_AFTER;
        let is_new = !self.is_down && is_long && self.failures >= FAILURES_MAX;
        self.is_down |= is_new;
        is_new
    }

    /// Counts a query that was answered in time or not. What was counted long ago counts half: an upstream that is asked no
    /// more, because it lost queries, is asked again.
    fn count_loss(&mut self, is_lost: bool, now: Instant) {
        let is_old = self.lost_at.is_some_and(|at| now >= at + RTT_MEMORY);
        let known = if is_old { self.lost / 2 } else { self.lost };
        self.lost = known - known / LOSS_GAIN + if is_lost { WHOLE / LOSS_GAIN } else { 0 };
        self.lost_at = Some(now);
    }

    pub(super) fn is_down(&self) -> bool {
        self.is_down
    }

    /// How long an answer is waited for before a query is repeated, the first time.
    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    pub(super) fn timeout(&self) -> Duration {
        self.rtt.map_or(TIMEOUT_UNKNOWN, Rtt::timeout)
    }

    /// Whether it answers others at this time.
    pub(super) fn answers_others(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now < heard + ANSWERS_OTHERS)
    }

    /// Whether anything ever came from it.
    pub(super) fn has_responded(&self) -> bool {
        self.heard.is_some()
    }

    /// The smoothed response time.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|rtt| rtt.smoothed)
    }

    /// What upstreams are ordered by, the lower the better: whether it is down, then how long an answer takes on average, with
    /// the waits for those that are lost, in steps.
    pub(super) fn rank(&self, now: Instant) -> (bool, u128) {
        let recent = self.rtt.filter(|rtt| now.saturating_duration_since(rtt.measured) < RTT_MEMORY);
        let time = recent.map_or(Duration::ZERO, |rtt| {
            let lost = self.lost.min(LOSS_MAX);
            rtt.smoothed + rtt.timeout() * lost / (WHOLE - lost)
        });
        (self.is_down, time.as_micros() / RTT_STEP.as_micros())
    }

    /// How long until an upstream that is down may be tried again.
    pub(super) fn probe_wait(&self, now: Instant) -> Duration {
        let since = self.probed.map_or(PROBE_INTERVAL, |at| now.saturating_duration_since(at));
        PROBE_INTERVAL.saturating_sub(since)
    }

    /// Whether an upstream that is down is due to be tried again; counts as tried.
    pub(super) fn take_probe(&mut self, now: Instant) -> bool {
        let due = self.is_down && self.probe_wait(now).is_zero();
        if due {
            self.probed = Some(now);
            self.probes = self.probes.wrapping_add(1);
        }
        due
    }

    /// How often it was tried since it is down.
    pub(super) fn probes(&self) -> u32 {
        self.probes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
    fn start() -> Instant {
        Instant::now()
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn down_after_three_silences_and_back_at_the_first_answer() {
        let now = start();
        let mut health = Health::default();
        assert!(!health.failed(now, now + ms(400), false));
        assert!(!health.failed(now, now + ms(400), false) && !health.is_down());
        assert!(health.failed(now, now + ms(400), false) && health.is_down());
        assert!(health.take_probe(now));
        assert!(!health.take_probe(now + ms(199)));
        assert!(health.take_probe(now + ms(200)));
        assert!(!health.take_probe(now + ms(201)));
        assert!(health.on_response(Some(ms(3)), now), "it is back");
        assert!(!health.is_down() && !health.on_response(Some(ms(3)), now));
    }

    #[test]
    fn a_moment_of_silence_is_no_outage() {
        let now = start();
        let mut health = Health::default();
        for n in 0..20 {
            health.failed(now + ms(n), now + ms(n + 50), false);
        }
        assert!(!health.is_down(), "less than 300 ms");
        health.failed(now + ms(250), now + ms(300), false);
        assert!(health.is_down());
        let mut refusing = Health::default();
        for _ in 0..3 {
            refusing.failed(now, now, true);
        }
        assert!(refusing.is_down(), "who is refused need not wait to know");
    }

    #[test]
    fn slow_names_do_not_make_an_upstream_look_dead() {
        let start = start();
        let mut health = Health::default();
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            health.on_response(Some(ms(5)), now + ms(500));
            health.failed(now, now + ms(1000), false);
        }
        assert!(!health.is_down());
    }

    #[test]
    fn small_differences_in_speed_do_not_count() {
        let now = start();
        let (mut near, mut far, unknown) = (Health::default(), Health::default(), Health::default());
        near.on_response(Some(ms(2)), now);
        far.on_response(Some(ms(60)), now);
        assert_eq!(near.rank(now), unknown.rank(now));
        assert!(near.rank(now) < far.rank(now));
        assert_eq!(far.rank(now + RTT_MEMORY), unknown.rank(now), "an old measurement says nothing");
    }

    #[test]
    fn an_upstream_that_loses_queries_comes_behind_one_that_does_not_until_it_is_asked_again() {
        let mut now = start();
        let (mut third, mut good) = (Health::default(), Health::default());
        for n in 0..90 {
            now += ms(10);
            good.on_response(Some(ms(5)), now);
            if n % 3 == 0 {
                third.on_response(Some(ms(5)), now);
            } else {
                third.failed(now - ms(50), now, false);
            }
        }
        assert!(!third.is_down() && good.rank(now) < third.rank(now));
        // One of a hundred is no reason.
        for n in 0..200 {
            if n % 100 == 50 {
                good.failed(now - ms(50), now, false)
            } else {
                good.on_response(Some(ms(5)), now)
            };
            assert_eq!(good.rank(now), Health::default().rank(now), "after {n}");
        }
        let mut turns = 0;
        while third.rank(now) > good.rank(now) {
            now += RTT_MEMORY;
            good.on_response(Some(ms(5)), now);
            assert_eq!(third.rank(now), good.rank(now), "it is asked again");
            third.on_response(Some(ms(5)), now);
            turns += 1;
        }
        assert!(turns < 5, "{turns}");
    }

    #[test]
    fn the_timeout_follows_the_measured_times() {
        let now = start();
        let of = |samples: &mut dyn Iterator<Item = u64>| {
            let mut health = Health::default();
            for took in samples {
                health.on_response(Some(ms(took)), now);
            }
            health.timeout()
        };
        assert_eq!(Health::default().timeout(), ms(400));
        assert_eq!(of(&mut [100].into_iter()), ms(300), "RFC 6298 \u{a7}2.2: srtt + 4 srtt / 2");
        assert_eq!(of(&mut std::iter::repeat_n(2, 200)), ms(50), "at least");
        // 300 ms with 100 ms of jitter: never repeated too early.
        assert!(of(&mut (0..500).map(|n| 200 + n * 37 % 200)) > ms(400));
        // Every fifth answer comes 50 ms later than the others: the others do not let that be forgotten.
        assert!(of(&mut (0..503).map(|n| if n % 5 == 0 { 55 } else { 5 })) > ms(80));
        // One in ten takes 4 s: that is the name, and a lost packet is repeated long before.
        assert_eq!(of(&mut (0..500).map(|n| if n % 10 == 0 { 4000 } else { 5 })), ms(50));
        assert_eq!(of(&mut std::iter::repeat_n(4000, 8)), ms(1000), "all are slow");
        // The upstream moved far away.
        assert!(of(&mut std::iter::repeat_n(5, 100).chain(std::iter::repeat_n(600, 20))) > ms(600));
    }
}
