//! One upstream address: its health, its budget, and who waits for it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::capabilities::Capabilities;
use super::health::Health;
use super::question::{News, Ticket, Trouble, TroubleKind, Via};
use super::queue::FairQueue;
use super::rule::{Protocol, Target};

/// One of this many turns may go to an answer that is about to become too old to be served.
const REFRESH_SHARE: u32 = 4;
/// Of so many turns one goes to the clients' lines; the others to what several clients wait for, and to who waits longest.
const LINES_SHARE: u32 = 2;
/// Questions that several clients wait for are in steps: two, four, eight and more.
const SHARED_STEPS: usize = 3;
/// How near its end a stale answer is then.
const NEARLY_TOO_OLD: Duration = Duration::from_secs(15);
/// Questions a second that leave where an upstream has no budget, of those that waited for the end of an outage, where
/// little is known of how many it usually has. All at once they would be the next outage.
const RELEASED_MIN: u32 = 1000;
/// From how many a second on that is known.
const USUAL_KNOWN: u32 = 100;
/// Seconds within which all leave, at most: before the deadline of the last that began to wait.
const RELEASE_SECONDS: u32 = 4;
/// How long an answer over a connection is waited for, at least, before the next of several upstreams is asked, and before
/// the only one is asked again.
const STREAM_NEXT: Duration = Duration::from_millis(300);
const STREAM_ALONE: Duration = Duration::from_millis(1000);
/// What is said of an upstream that does not answer.
pub(super) const SILENT: &str = "timed out";

/// How a try failed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failing<'t> {
    /// No answer came in its time.
    Silent,
    /// It could not be made, or its connection broke.
    Trouble(&'t Trouble),
}

/// How many queries a second an upstream has while it answers.
#[derive(Debug, Default)]
struct UsualRate {
    /// The second that is counted.
    since: Option<Instant>,
    count: u32,
    /// The average of those before.
    average: u32,
}

impl UsualRate {
    fn note(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now >= since + Duration::from_secs(1) {
            // Seconds without a query count as well; a fall is followed more slowly than a rise.
            let seconds = now.saturating_duration_since(since).as_secs();
            let counted = self.count / u32::try_from(seconds).unwrap_or(u32::MAX).max(1);
            self.average = counted.max((self.average * 3 + counted) / 4);
            (self.since, self.count) = (Some(now), 0);
        }
        self.count = self.count.saturating_add(1);
    }

    fn per_second(&self) -> u32 {
        self.average
    }
}

/// An upstream with its lines.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) target: Target,
    pub(super) health: Health,
    pub(super) budget: Budget,
    pub(super) capabilities: Capabilities,
    /// What went wrong last, and when.
    pub(super) last_error: Option<(Arc<str>, Instant)>,
    /// It was that its certificate is not accepted: until that changes nothing can come of a query.
    is_not_accepted: bool,
    usual: UsualRate,
    /// Queries sent so far.
    pub(super) sent: u64,
    /// Where it has no budget: when the next of those that wait may leave, and how many do in a second.
    release_at: Option<Instant>,
    release_rate: u32,
    /// Tries open that are slow, or belong to a slow zone.
    pub(super) slow_open: u32,
    /// Questions that a client waits for, client by client.
    pub(super) line: FairQueue<Ticket>,
    /// Those of them that several clients wait for, in steps of how many: one answer serves them all.
    shared: [VecDeque<Ticket>; SHARED_STEPS],
    /// All of them, the one that has waited longest in front.
    oldest: VecDeque<Ticket>,
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
            capabilities: Capabilities::default(),
            last_error: None,
            is_not_accepted: false,
            usual: UsualRate::default(),
            sent: 0,
            release_at: None,
            release_rate: RELEASED_MIN,
            slow_open: 0,
            line: FairQueue::new(),
            shared: Default::default(),
            oldest: VecDeque::new(),
            slow_line: FairQueue::new(),
            refreshes: BinaryHeap::new(),
            turns: 0,
        }
    }

    /// The way that it is asked by, but for answers that do not fit a datagram.
    pub(super) fn default_transport(&self) -> Via {
        match self.target.protocol {
            Protocol::Datagram => Via::Datagram,
            _ => Via::Stream,
        }
    }

    /// A try was not answered in its time, or could not be made. TCP may be closed to us where UDP is not (an old guest
    /// agent's firewall rule): where UDP is the usual way, that is no fault of the upstream.
    pub(super) fn try_failed(&mut self, via: Via, sent: Instant, now: Instant, error: Failing<'_>) -> Option<News> {
        if via != self.default_transport() {
            return None;
        }
        let text = match error {
            Failing::Silent => SILENT.into(),
            Failing::Trouble(trouble) => trouble.text.clone(),
        };
        let is_certain = matches!(error, Failing::Trouble(_));
        self.is_not_accepted = matches!(error, Failing::Trouble(trouble) if trouble.kind == TroubleKind::Certificate);
        let is_new = self.health.failed(sent, now, is_certain);
        if is_certain || is_new || self.health.is_down() {
            self.last_error = Some((text.clone(), now));
        }
        is_new.then(|| News { target: self.target.clone(), down: Some(text) })
    }

    /// Something came from it; `took` is how long after its query, where that says how fast the upstream is.
    pub(super) fn on_response(&mut self, took: Option<Duration>, now: Instant) -> Option<News> {
        let was_down = self.health.on_response(took, now);
        self.is_not_accepted = false;
        if was_down {
            self.budget.spread(now);
            // As many as asked at the usual rate are sent before their deadlines; so are more, if there was a flood.
            let waiting = u32::try_from(self.waiting()).unwrap_or(u32::MAX);
            let usual = match self.usual.per_second() {
                ..USUAL_KNOWN => RELEASED_MIN,
                usual => usual,
            };
            self.release_rate = usual.max(waiting / RELEASE_SECONDS);
        }
        was_down.then(|| News { target: self.target.clone(), down: None })
    }

    /// Whether a query would fail for sure: its certificate was not accepted, and it is not yet time to look again.
    pub(super) fn would_fail(&self, now: Instant) -> bool {
        self.is_not_accepted && self.health.is_down() && !self.health.probe_wait(now).is_zero()
    }

    /// How long the first answer is waited for; where a connection carries the query, TCP repeats what is lost by itself.
    pub(super) fn timeout(&self, is_alone: bool) -> Duration {
        match self.default_transport() {
            Via::Datagram => self.health.timeout(),
            Via::Stream => self.health.timeout().max(if is_alone { STREAM_ALONE } else { STREAM_NEXT }),
        }
    }

    /// Counts a query that is sent now.
    pub(super) fn note_sent(&mut self, now: Instant) {
        self.sent += 1;
        // What waited for the end of an outage is not the usual rate.
        if !self.health.is_down() && self.line.is_empty() {
            self.usual.note(now);
        }
    }

    /// Whether queries may be sent that are not needed as much as the first query of a question: repeats.
    pub(super) fn has_spare(&self, now: Instant) -> bool {
        self.line.is_empty() && !self.health.is_down() && self.budget.has_spare(now)
    }

    /// Whether a question may be sent now that no question stands in line before.
    pub(super) fn is_free(&self, now: Instant, is_slow: bool) -> bool {
        // Without a budget only an outage makes questions wait; when it is over, those that come go as they come.
        let has_no_line =
            !self.budget.is_limited() || (self.line.is_empty() && (!is_slow || self.slow_line.is_empty()));
        has_no_line && !self.health.is_down() && self.budget.allows(now) && (!is_slow || self.has_slow_capacity())
    }

    /// Whether there is so much room that questions may be asked before anybody needs them.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.line.is_empty() && self.refreshes.is_empty() && !self.health.is_down() && self.budget.is_idle(now)
    }

    /// Whether another slow query may be pending.
    pub(super) fn has_slow_capacity(&self) -> bool {
        let most = self.budget.limits.pending;
        most == 0 || self.slow_open < most - most / 18
    }

    /// The next question to send, if any. Questions that a client waits for go before refreshes, but for every fourth turn
    /// when a stale answer would soon be too old. Tickets that `is_live` does not know cost no turn.
    pub(super) fn pop_next(&mut self, now: Instant, is_live: impl Fn(&Ticket) -> bool) -> Option<Ticket> {
        if self.tickets() == 0 {
            return None;
        }
        if !self.budget.allows(now) || (self.health.is_down() && !self.health.probe_wait(now).is_zero()) {
            return None;
        }
        if !self.budget.is_limited() && !self.health.is_down() && self.release_at.is_some_and(|at| now < at) {
            return None;
        }
        self.turns = self.turns.wrapping_add(1);
        let ticket = std::iter::from_fn(|| self.take_ticket(now)).find(is_live)?;
        self.health.take_probe(now);
        if !self.budget.is_limited() {
            // Beside those that come at the usual rate: twice that in all.
            let pause = Duration::from_secs(1) / self.release_rate.max(1);
            self.release_at = Some(self.release_at.map_or(now, |at| at.max(now)) + pause);
        }
        Some(ticket)
    }

    /// The ticket that comes next in this turn.
    fn take_ticket(&mut self, now: Instant) -> Option<Ticket> {
        if self.line.is_empty() {
            // What is there has left already.
            self.oldest.clear();
            self.shared.iter_mut().for_each(VecDeque::clear);
        }
        let nearly_too_old = self.refreshes.peek().is_some_and(|Reverse((end, _))| *end < now + NEARLY_TOO_OLD);
        let refresh_first = self.turns.is_multiple_of(REFRESH_SHARE) && nearly_too_old;
        let slow_first = self.turns % 2 == 1;
        let refresh = |upstream: &mut Self| upstream.refreshes.pop().map(|Reverse((_, ticket))| ticket);
        let slow = |upstream: &mut Self| {
            if upstream.has_slow_capacity() { upstream.slow_line.pop() } else { None }
        };
        let first = if refresh_first { refresh(self) } else { None };
        let first = first.or_else(|| if slow_first { slow(self) } else { None });
        let shared = |upstream: &mut Self| {
            let is_theirs = !upstream.turns.is_multiple_of(LINES_SHARE);
            if is_theirs {
                let shared = upstream.shared.iter_mut().rev().find_map(VecDeque::pop_front);
                shared.or_else(|| upstream.oldest.pop_front())
            } else {
                None
            }
        };
        first.or_else(|| shared(self)).or_else(|| self.line.pop()).or_else(|| slow(self)).or_else(|| refresh(self))
    }

    /// Puts a question into the line of its client; one that waited before in front.
    pub(super) fn stand_in_line(&mut self, ticket: Ticket, client: IpAddr, is_first: bool) {
        if is_first {
            self.line.push_front(client, ticket);
            self.oldest.push_front(ticket);
        } else {
            self.line.push(client, ticket);
            self.oldest.push_back(ticket);
        }
    }

    /// A question in the line has so many who wait for it, more than one client.
    pub(super) fn is_shared(&mut self, ticket: Ticket, waiters: usize) {
        if waiters.is_power_of_two()
            && let Some(step) = self.shared.get_mut(waiters.ilog2() as usize - 1)
        {
            step.push_back(ticket);
        }
    }

    /// When the next turn may be.
    pub(super) fn next_turn(&self, now: Instant) -> Option<Instant> {
        let slow_can_go = !self.slow_line.is_empty() && self.has_slow_capacity();
        if self.line.is_empty() && self.refreshes.is_empty() && !slow_can_go {
            return None;
        }
        if self.health.is_down() {
            return Some(now + self.health.probe_wait(now).max(Duration::from_millis(1)));
        }
        if !self.budget.has_capacity() {
            return None; // a place that becomes free is a turn
        }
        let pause = if self.budget.is_limited() {
            Duration::ZERO
        } else {
            self.release_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
        };
        Some(now + self.budget.wait(now).max(pause).max(Duration::from_micros(500)))
    }

    /// Drops tickets of questions that are done: while an upstream is down, they would add up.
    pub(super) fn purge(&mut self, is_live: impl Fn(&Ticket) -> bool) {
        self.line.retain(&is_live);
        self.shared.iter_mut().for_each(|step| step.retain(&is_live));
        self.oldest.retain(&is_live);
        self.slow_line.retain(&is_live);
        self.refreshes.retain(|Reverse((_, ticket))| is_live(ticket));
    }

    /// How many tickets its longest list has; those of questions that are done count until their turn comes.
    pub(super) fn tickets(&self) -> usize {
        let shared = self.shared.iter().map(VecDeque::len).max().unwrap_or_default();
        self.waiting().max(self.oldest.len()).max(shared)
    }

    /// How many questions wait.
    pub(super) fn waiting(&self) -> usize {
        self.line.len() + self.slow_line.len() + self.refreshes.len()
    }
}
