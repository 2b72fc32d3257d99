//! One upstream address: its health, its budget, and who waits for it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::health::Health;
use super::question::Via;
use super::queue::FairQueue;
use super::rule::{Protocol, Target};

/// One of this many turns may go to an answer that is about to become too old to be served.
const REFRESH_SHARE: u32 = 4;
/// How near its end a stale answer is then.
const NEARLY_TOO_OLD: Duration = Duration::from_secs(15);
/// Questions sent at once where an upstream has no budget: after an outage, what waited does not come as a storm.
const UNLIMITED_AT_ONCE: usize = 64;
/// When the next such handful follows.
const UNLIMITED_PAUSE: Duration = Duration::from_millis(5);

/// Which outstanding query: its slot and generation.
pub(super) type Ticket = (u32, u32);

/// An upstream with its lines.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) target: Target,
    pub(super) health: Health,
    pub(super) budget: Budget,
    /// Tries open that are slow, or belong to a slow zone.
    pub(super) slow_open: u32,
    /// Questions that somebody waits for, client by client.
    pub(super) line: FairQueue<Ticket>,
    /// The same for zones that are slow: they may not take every place.
    pub(super) slow_line: FairQueue<Ticket>,
    /// Stale answers to be refreshed, the one that will soonest be too old in front.
    pub(super) refreshes: BinaryHeap<Reverse<(Instant, Ticket)>>,
    turns: u32,
}

impl Upstream {
    pub(super) fn new(target: Target, budget: Budget) -> Self {
        Self {
            target,
            health: Health::default(),
            budget,
            slow_open: 0,
            line: FairQueue::new(),
            slow_line: FairQueue::new(),
            refreshes: BinaryHeap::new(),
            turns: 0,
        }
    }

    /// The way that it is asked by, but for answers that do not fit a datagram.
    pub(super) fn usual_way(&self) -> Via {
        match self.target.protocol {
            Protocol::Datagram => Via::Datagram,
            _ => Via::Stream,
        }
    }

    /// A try was not answered in its time, or could not be made. TCP may be closed to us where UDP is not (an old guest
    /// agent's firewall rule): where UDP is the usual way, that is no fault of the upstream.
    pub(super) fn try_failed(&mut self, via: Via, sent: Instant) {
        if via == self.usual_way() {
            self.health.failed(sent);
        }
    }

    /// Whether a question may be sent now that nobody stands in line before.
    pub(super) fn is_free(&self, now: Instant, is_slow: bool) -> bool {
        let nobody_waits = self.line.is_empty() && (!is_slow || self.slow_line.is_empty());
        nobody_waits && !self.health.is_down() && self.budget.allows(now) && (!is_slow || self.has_slow_place())
    }

    /// Whether there is so much room that questions may be asked before anybody needs them.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.line.is_empty() && self.refreshes.is_empty() && !self.health.is_down() && self.budget.is_idle(now)
    }

    /// Whether another slow query may be pending.
    pub(super) fn has_slow_place(&self) -> bool {
        let most = self.budget.limits.pending;
        most == 0 || self.slow_open < most - most / 18
    }

    /// Whose turn it is, if anybody's. Questions that somebody waits for go before refreshes, but for every fourth turn
    /// when a stale answer would soon be too old. Tickets that `is_live` does not know cost no turn.
    pub(super) fn next_in_line(&mut self, now: Instant, is_live: impl Fn(&Ticket) -> bool) -> Option<Ticket> {
        if !self.budget.allows(now) || (self.health.is_down() && !self.health.probe_wait(now).is_zero()) {
            return None;
        }
        self.turns = self.turns.wrapping_add(1);
        let ticket = std::iter::from_fn(|| self.take_ticket(now)).find(is_live)?;
        self.health.take_probe(now);
        Some(ticket)
    }

    /// The ticket that comes next in this turn.
    fn take_ticket(&mut self, now: Instant) -> Option<Ticket> {
        let nearly_too_old = self.refreshes.peek().is_some_and(|Reverse((end, _))| *end < now + NEARLY_TOO_OLD);
        let refresh_first = self.turns.is_multiple_of(REFRESH_SHARE) && nearly_too_old;
        let slow_first = self.turns % 2 == 1;
        let refresh = |upstream: &mut Self| upstream.refreshes.pop().map(|Reverse((_, ticket))| ticket);
        let slow = |upstream: &mut Self| {
            if upstream.has_slow_place() { upstream.slow_line.pop() } else { None }
        };
        let first = if refresh_first { refresh(self) } else { None };
        let first = first.or_else(|| if slow_first { slow(self) } else { None });
        first.or_else(|| self.line.pop()).or_else(|| slow(self)).or_else(|| refresh(self))
    }

    /// How many turns may follow each other at once.
    pub(super) fn turns_at_once(&self) -> usize {
        if self.budget.limits.queries_per_second == 0 { UNLIMITED_AT_ONCE } else { usize::MAX }
    }

    /// When the next turn may be.
    pub(super) fn next_turn(&self, now: Instant) -> Option<Instant> {
        let slow_can_go = !self.slow_line.is_empty() && self.has_slow_place();
        if self.line.is_empty() && self.refreshes.is_empty() && !slow_can_go {
            return None;
        }
        if self.health.is_down() {
            return Some(now + self.health.probe_wait(now).max(Duration::from_millis(1)));
        }
        if !self.budget.has_place() {
            return None; // a place that becomes free is a turn
        }
        let pause = if self.budget.limits.queries_per_second == 0 { UNLIMITED_PAUSE } else { Duration::ZERO };
        Some(now + self.budget.wait(now).max(pause).max(Duration::from_micros(500)))
    }

    /// Drops tickets of questions that are done: while an upstream is down, they would add up.
    pub(super) fn purge(&mut self, is_live: impl Fn(&Ticket) -> bool) {
        self.line.retain(&is_live);
        self.slow_line.retain(&is_live);
        self.refreshes.retain(|Reverse((_, ticket))| is_live(ticket));
    }

    /// How many questions wait.
    pub(super) fn waiting(&self) -> usize {
        self.line.len() + self.slow_line.len() + self.refreshes.len()
    }
}
