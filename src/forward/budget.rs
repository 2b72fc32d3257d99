//! What an upstream may be asked: queries a second and queries pending.
//!
//! Azure DNS takes 1,000 queries a second and 200 pending from a virtual machine and drops the rest in silence
//! (Azure subscription limits, "Azure-provided DNS resolver VM limits"), so what exceeds the budget waits here.

use std::time::{Duration, Instant};

/// Queries that may follow each other at once before the rate binds.
const BURST: u32 = 10;

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
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, pending: 0, on_time: None }
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
        match (self.interval(), self.on_time) {
            (Some(interval), Some(on_time)) => on_time.saturating_duration_since(now + interval * (BURST - 1)),
            _ => Duration::ZERO,
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
        if let Some(interval) = self.interval() {
            self.on_time = Some(self.on_time.unwrap_or(now).max(now) + interval);
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
