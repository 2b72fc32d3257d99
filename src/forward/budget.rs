//! What an upstream may be asked: queries a second and queries pending.
//!
//! Azure DNS takes 1,000 queries a second and 200 pending from a virtual machine and drops the rest in silence
//! (Azure subscription limits, "Azure-provided DNS resolver VM limits"), so what exceeds the budget waits here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Queries that may follow each other at once before the rate binds.
const BURST: u32 = 10;

/// A burst beyond that, of the queries of a second: after a pause what comes in a moment goes in a moment, as far as there
/// are pending slots for it, and the rest of the second is asked for less. In no second is the limit exceeded.
const LARGE_BURST: (u32, u32) = (2, 5);
/// How long such a burst lasts, and from its beginning until the next.
const LARGE_BURST_TIME: Duration = Duration::from_millis(100);
const LARGE_BURST_INTERVAL: Duration = Duration::from_millis(1000);
/// Slots of the last second, and a part of one.
const SLOTS: u64 = 100;
const SLOT: Duration = Duration::from_millis(10);

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
    /// When the last large burst began, and how many queries it had.
    burst: Option<(Instant, u32)>,
    recent: Recent,
}

/// How many queries were sent in the last second, a slot too many rather than one too few.
#[derive(Debug, Default)]
struct Recent {
    start: Option<Instant>,
    /// The slot of the last query.
    slot: u64,
    counts: VecDeque<u32>,
}

impl Recent {
    fn turn_to(&mut self, now: Instant) {
        let start = *self.start.get_or_insert(now);
        let slot = u64::try_from(now.saturating_duration_since(start).as_millis() / SLOT.as_millis());
        let slot = slot.unwrap_or(u64::MAX).max(self.slot);
        for _ in 0..(slot - self.slot).min(SLOTS + 1) {
            self.counts.push_back(0);
        }
        self.slot = slot;
        while self.counts.len() as u64 > SLOTS + 1 {
            self.counts.pop_front();
        }
    }

    fn note(&mut self, now: Instant) {
        self.turn_to(now);
        match self.counts.back_mut() {
            Some(count) => *count += 1,
            None => self.counts.push_back(1),
        }
    }

    fn count(&self, now: Instant) -> u32 {
        let Some(start) = self.start else { return 0 };
        let slot = u64::try_from(now.saturating_duration_since(start).as_millis() / SLOT.as_millis());
        let newer = usize::try_from(slot.unwrap_or(u64::MAX).saturating_sub(self.slot)).unwrap_or(usize::MAX);
        // Of the slots that are kept the newest is the last query's; as many as there are since are empty.
        let kept = (SLOTS as usize + 1).saturating_sub(newer);
        self.counts.iter().rev().take(kept).sum()
    }
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, pending: 0, on_time: None, burst: None, recent: Recent::default() }
    }

    /// Whether a query may be sent now.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.has_place() && self.wait(now).is_zero()
    }

    /// Whether there is a limit at all.
    pub(super) fn is_limited(&self) -> bool {
        self.limits.queries_per_second > 0 || self.limits.pending > 0
    }

    /// Whether the pending limit leaves a place.
    pub(super) fn has_place(&self) -> bool {
        self.limits.pending == 0 || self.pending < self.limits.pending
    }

    /// How long until the rate allows a query.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let wait = self.usual_wait(now);
        if wait.is_zero() || self.may_burst(now) { Duration::ZERO } else { wait }
    }

    fn usual_wait(&self, now: Instant) -> Duration {
        match (self.interval(), self.on_time) {
            (Some(interval), Some(on_time)) => on_time.saturating_duration_since(now + interval * (BURST - 1)),
            _ => Duration::ZERO,
        }
    }

    /// Whether a query may be sent that the rate, used up evenly, does not allow yet.
    fn may_burst(&self, now: Instant) -> bool {
        let Limits { queries_per_second, pending, .. } = self.limits;
        let (share, of) = LARGE_BURST;
        if pending == 0 || self.recent.count(now) >= queries_per_second {
            return false;
        }
        match self.burst {
            Some((start, count)) if now.saturating_duration_since(start) < LARGE_BURST_TIME => {
                count < queries_per_second / of * share
            }
            Some((start, _)) => now.saturating_duration_since(start) >= LARGE_BURST_INTERVAL,
            None => true,
        }
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
        match (self.interval(), self.on_time) {
            (Some(interval), Some(on_time)) => on_time <= now + interval * (BURST / 2),
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
        let Some(interval) = self.interval() else { return };
        if self.usual_wait(now).is_zero() {
            // What a burst took is missing for the rest of its second.
            let taken = self.burst.filter(|(start, _)| now.saturating_duration_since(*start) < LARGE_BURST_INTERVAL);
            let left = self.limits.queries_per_second - taken.map_or(0, |(_, count)| count);
            let interval = Duration::from_secs(1).checked_div(left).unwrap_or(interval);
            self.on_time = Some(self.on_time.unwrap_or(now).max(now) + interval);
        } else {
            match &mut self.burst {
                Some((start, count)) if now.saturating_duration_since(*start) < LARGE_BURST_TIME => *count += 1,
                burst => *burst = Some((now, 1)),
            }
        }
        if self.limits.pending > 0 {
            self.recent.note(now);
        }
    }

    /// A query is no longer pending.
    pub(super) fn give_back(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    fn interval(&self) -> Option<Duration> {
        Duration::from_secs(1).checked_div(self.limits.queries_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_every_second() {
        #[expect(clippy::disallowed_methods, reason = "a start for the hand-moved clock")]
        let start = Instant::now();
        let mut budget = Budget::new(Limits { queries_per_second: 950, ..Limits::default() });
        let mut sent = 0;
        for tick in 0..10_000 {
            let now = start + Duration::from_micros(tick * 1000);
            while budget.allows(now) {
                budget.take(now);
                sent += 1;
            }
        }
        assert!((9_400..=9_500 + BURST).contains(&sent), "{sent} in ten seconds");
    }

    #[test]
    fn a_burst_goes_at_once_and_no_second_has_more_than_the_limit() {
        #[expect(clippy::disallowed_methods, reason = "a start for the hand-moved clock")]
        let start = Instant::now();
        let limits = Limits { queries_per_second: 950, pending: 180, ..Limits::default() };
        // 450 a second, and so many at once each second; then always something to send.
        for (at_once, endless) in [(400, false), (600, false), (0, true)] {
            let mut budget = Budget::new(limits);
            let (mut waiting, mut open) = (VecDeque::new(), VecDeque::new());
            let (mut taken, mut waits) = (VecDeque::new(), Vec::new());
            for tick in 0..10_000_u64 {
                let now = start + Duration::from_millis(tick);
                while open.front().is_some_and(|sent: &Instant| now - *sent >= Duration::from_millis(10)) {
                    open.pop_front();
                    budget.give_back();
                }
                let arrivals = if endless { 3 } else { u64::from(tick % 20 < 9) };
                let arrivals = if tick % 1000 == 500 { arrivals + at_once } else { arrivals };
                waiting.extend((0..arrivals).map(|_| now));
                while !waiting.is_empty() && budget.allows(now) {
                    budget.take(now);
                    open.push_back(now);
                    taken.push_back(now);
                    waits.push(now - waiting.pop_front().unwrap());
                    taken.retain(|at| now - *at < Duration::from_secs(1));
                    assert!(taken.len() <= 975, "{} in a second", taken.len());
                }
                assert!(open.len() <= 180);
            }
            if at_once == 400 {
                waits.sort_unstable();
                let median = waits[waits.len() / 2];
                assert!(median <= Duration::from_millis(30), "{median:?}");
            }
            if endless {
                assert!(waits.len() >= 9_000, "{} in ten seconds", waits.len());
            }
        }
    }

    #[test]
    fn pending_queries_have_places() {
        #[expect(clippy::disallowed_methods, reason = "a start for the hand-moved clock")]
        let now = Instant::now();
        let mut budget = Budget::new(Limits { pending: 2, ..Limits::default() });
        budget.take(now);
        assert!(budget.allows(now));
        budget.take(now);
        assert!(!budget.allows(now));
        budget.give_back();
        assert!(budget.allows(now));
    }
}
