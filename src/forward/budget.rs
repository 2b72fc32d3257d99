//! What an upstream may be asked: queries a second and queries pending.
//!
//! Azure DNS takes 1,000 queries a second and 200 pending from a virtual machine and drops the rest in silence
//! (Azure subscription limits, "Azure-provided DNS resolver VM limits"), so what exceeds the budget waits here.
//!
//! The rate is one of a second. Queries are spread over it where there are more than fit; after a pause, many may leave at
//! once: up to half of a second's, if no second has more than its number by that. Those that follow are spread over what
//! this second has left. What was used up so comes back by queries that are not sent, so that a load above the rate is spread
//! evenly again after a second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Queries that may follow each other at once before the rate binds.
const BURST: u32 = 10;
/// Of a second's queries, those that may leave at once after a pause: one of so many.
const PAUSE_SHARE: u32 = 2;
/// Up to which rate they may: the time of each query of a second is noted.
const NOTED_MAX: u32 = 10_000;
/// What the rate is counted in.
const SECOND: Duration = Duration::from_secs(1);

/// Which ports queries leave from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ports {
    /// A socket with a random port for each query.
    #[default]
    Fresh,
    /// One of a pool that is renewed all the time, drawn at random.
    Pool,
}

/// The settings of one upstream address; 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Queries a second.
    pub queries_per_second: u32,
    /// Queries sent and not yet answered.
    pub pending: u32,
    /// Which ports datagrams leave from.
    pub ports: Ports,
}

impl Limits {
    /// Azure DNS's documented limits, and a little under them.
    pub const AZURE: Self = Self { queries_per_second: 950, pending: 180, ports: Ports::Fresh };
}

/// How much of the figures is used.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) limits: Limits,
    pending: u32,
    /// When the next query would be on time if the rate were used up evenly; behind `now` by at most the burst.
    on_time: Option<Instant>,
    /// When as many may leave at once again as ever.
    restored: Option<Instant>,
    /// When the queries of the last second were sent.
    sent: VecDeque<Instant>,
    /// Those of them that were not spread.
    at_once: VecDeque<Instant>,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        let (sent, at_once) = (VecDeque::new(), VecDeque::new());
        Self { limits, pending: 0, on_time: None, restored: None, sent, at_once }
    }

    /// Whether a query may be sent now.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.has_capacity() && self.wait(now).is_zero()
    }

    /// Whether there is a limit at all.
    pub(super) fn is_limited(&self) -> bool {
        self.limits.queries_per_second > 0 || self.limits.pending > 0
    }

    /// Whether the pending limit leaves a place.
    pub(super) fn has_capacity(&self) -> bool {
        self.limits.pending == 0 || self.pending < self.limits.pending
    }

    /// How long until the rate allows a query.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let Some(interval) = self.interval(now) else { return Duration::ZERO };
        let full = self.until_room(now, self.most());
        if !full.is_zero() || self.may_leave_at_once(now) {
            return full;
        }
        self.until_paced(now, interval)
    }

    /// How long until the next query is spread evenly, but for the few that may follow each other.
    fn until_paced(&self, now: Instant, interval: Duration) -> Duration {
        self.on_time.map_or(Duration::ZERO, |at| at.saturating_duration_since(now + interval * (BURST - 1)))
    }

    /// Queries in any second.
    fn most(&self) -> usize {
        self.limits.queries_per_second as usize + BURST as usize
    }

    /// How long until fewer than `most` were sent in the last second.
    fn until_room(&self, now: Instant, most: usize) -> Duration {
        let last = self.sent.len().checked_sub(most).and_then(|place| self.sent.get(place));
        last.map_or(Duration::ZERO, |at| (*at + SECOND).saturating_duration_since(now))
    }

    /// Whether a query may leave that is not spread.
    fn may_leave_at_once(&self, now: Instant) -> bool {
        let rate = self.limits.queries_per_second;
        let used = self.restored.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        (1..=NOTED_MAX).contains(&rate) && used + SECOND / rate <= SECOND / PAUSE_SHARE
    }

    /// After an outage what waited is spread.
    pub(super) fn spread(&mut self, now: Instant) {
        self.restored = Some(now + SECOND / PAUSE_SHARE);
    }

    /// Whether less than half of it is in use.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.is_rate_idle(now) && (self.limits.pending == 0 || self.pending < self.limits.pending / 2)
    }

    /// Whether there is something left beside what first queries may need next.
    pub(super) fn has_spare(&self, now: Instant) -> bool {
        let limit = self.limits.pending;
        self.is_rate_idle(now) && (limit == 0 || self.pending + limit / 36 < limit)
    }

    fn is_rate_idle(&self, now: Instant) -> bool {
        let has_room = self.until_room(now, self.limits.queries_per_second as usize).is_zero();
        match (self.interval(now), self.on_time) {
            (Some(interval), Some(on_time)) => has_room && on_time <= now + interval * (BURST / 2),
            _ => true,
        }
    }

    /// Queries sent and not yet answered.
    pub(super) fn pending(&self) -> u32 {
        self.pending
    }

    /// Counts a query that is sent now.
    pub(super) fn take(&mut self, now: Instant) {
        self.pending += 1;
        let (Some(interval), Some(usual)) = (self.interval(now), SECOND.checked_div(self.limits.queries_per_second))
        else {
            return;
        };
        let mut costs = usual;
        if self.until_paced(now, interval).is_zero() {
            let on_time = self.on_time.unwrap_or(now).max(now);
            // Where each query waits for its time, no time is left that would restore anything.
            if on_time > now + interval * (BURST / 2) {
                costs = interval;
            }
            self.on_time = Some(on_time + interval);
        } else {
            self.at_once.push_back(now);
        }
        self.restored = Some(self.restored.unwrap_or(now).max(now) + costs);
        if self.limits.queries_per_second <= NOTED_MAX {
            self.sent.push_back(now);
        }
        let excess = self.sent.len().saturating_sub(self.most());
        self.sent.drain(..excess);
        while self.at_once.front().is_some_and(|at| now.saturating_duration_since(*at) >= SECOND) {
            self.at_once.pop_front();
        }
    }

    /// A query is no longer pending.
    pub(super) fn give_back(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// The time between two queries that are spread: over what a second leaves beside those that left at once in the last one.
    fn interval(&self, now: Instant) -> Option<Duration> {
        let rate = self.limits.queries_per_second;
        if rate == 0 {
            return None;
        }
        let gone = self.at_once.partition_point(|at| now.saturating_duration_since(*at) >= SECOND);
        let recent = u32::try_from(self.at_once.len() - gone).unwrap_or(u32::MAX);
        SECOND.checked_div(rate.saturating_sub(recent).max(rate / PAUSE_SHARE).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
        Instant::now()
    }

    fn azure() -> Budget {
        Budget::new(Limits { queries_per_second: 950, ..Limits::default() })
    }

    /// Sends what is wanted in each millisecond and what waited before; gives the time of each query, milliseconds.
    fn play(budget: &mut Budget, length: u64, wanted: impl Fn(u64) -> usize) -> Vec<u64> {
        let start = start();
        let (mut sent, mut waiting) = (Vec::new(), 0);
        for tick in 0..length {
            waiting += wanted(tick);
            let now = start + Duration::from_millis(tick);
            while waiting > 0 && budget.allows(now) {
                budget.take(now);
                sent.push(tick);
                waiting -= 1;
            }
        }
        sent
    }

    fn most_in_a_second(sent: &[u64]) -> usize {
        let in_second_from = |(place, at): (usize, &u64)| sent[place..].partition_point(|other| *other < at + 1000);
        sent.iter().enumerate().map(in_second_from).max().unwrap()
    }

    #[test]
    fn the_rate_holds_over_every_second() {
        let sent = play(&mut azure(), 10_000, |_| 100);
        assert!((9_400..=9_500 + BURST as usize).contains(&sent.len()), "{} in ten seconds", sent.len());
        assert!(most_in_a_second(&sent) <= 960);
        // Half of a second's at once, the others in the time that is left; then they are spread.
        let at_once = sent.partition_point(|at| *at < 10);
        assert!((470..=490).contains(&at_once), "{at_once} at once");
        for tenth in 15..100 {
            let count = sent.iter().filter(|at| **at / 100 == tenth).count();
            assert!((90..=100).contains(&count), "{count} in {tenth}");
        }
    }

    #[test]
    fn what_comes_at_once_after_a_pause_leaves_at_once() {
        // A steady half of the rate, and most of the rest in one moment of each second.
        let wanted = |tick: u64| (tick * 450 / 1000 - tick.saturating_sub(1) * 450 / 1000) as usize;
        let sent = play(&mut azure(), 10_000, |tick| wanted(tick) + if tick % 1000 == 500 { 400 } else { 0 });
        assert!(most_in_a_second(&sent) <= 960);
        for second in 0..10 {
            let at_once = sent.iter().filter(|at| **at == second * 1000 + 500).count();
            assert!(at_once >= 400, "{at_once} of 400 in second {second}");
        }
    }

    #[test]
    fn no_second_has_more_than_its_number_whatever_comes_when() {
        for (busy, burst) in [(300, 950), (500, 700), (700, 500), (950, 1000)] {
            let wanted = |tick: u64| match tick % 2000 {
                at if at < busy => 1,
                at if at == busy => burst,
                _ => 0,
            };
            let sent = play(&mut azure(), 10_000, wanted);
            assert!(most_in_a_second(&sent) <= 960, "{busy} {burst}");
        }
    }

    #[test]
    fn after_an_outage_queries_are_spread() {
        let mut budget = azure();
        let now = start();
        budget.spread(now);
        let mut sent = 0;
        while budget.allows(now) {
            budget.take(now);
            sent += 1;
        }
        assert_eq!(sent, BURST);
    }

    #[test]
    fn pending_queries_have_places() {
        let now = start();
        let mut budget = Budget::new(Limits { pending: 2, ..Limits::default() });
        budget.take(now);
        assert!(budget.allows(now));
        budget.take(now);
        assert!(!budget.allows(now));
        budget.give_back();
        assert!(budget.allows(now));
    }
}
