//! Upstreams: which ones a rule leads to, how they are, what they may be asked, and which zones they are slow for. Nothing
//! is known here of the questions that they are asked, but for the tickets of those that wait in their lines.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::budget::{Budget, Limits};
use super::memory::SlowZones;
use super::question::{DETAIL_MAX, News, Numbers, Ticket, UpstreamState, Via};
use super::rule::{ForwardRule, Target};
use super::upstream::{Failing, Upstream};

/// From when on a try is slow.
pub(super) const SLOW_AFTER: Duration = Duration::from_millis(150);

/// All upstreams that were ever asked, known by their numbers.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    all: Vec<Upstream>,
    by_target: HashMap<Target, usize, foldhash::fast::RandomState>,
    /// The rule of the last question and its upstreams: the next one's as a rule.
    last_rule: Option<(Arc<ForwardRule>, Numbers)>,
    limits: HashMap<SocketAddr, Limits>,
    slow_zones: SlowZones,
    /// What is to be said of upstreams.
    news: Vec<News>,
}

impl Upstreams {
    /// With these budgets, and nothing known.
    pub(super) fn new(limits: HashMap<SocketAddr, Limits>) -> Self {
        Self { limits, ..Self::default() }
    }

    pub(super) fn get(&self, number: usize) -> Option<&Upstream> {
        self.all.get(number)
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Upstream> {
        self.all.get_mut(number)
    }

    /// Sets the budgets of upstream addresses; addresses that are not named have none.
    pub(super) fn set_limits(&mut self, limits: HashMap<SocketAddr, Limits>) {
        for upstream in &mut self.all {
            upstream.budget.limits = limits.get(&upstream.target.address).copied().unwrap_or_default();
        }
        self.limits = limits;
    }

    pub(super) fn take_limits(&mut self) -> HashMap<SocketAddr, Limits> {
        std::mem::take(&mut self.limits)
    }

    /// The state of every one.
    pub(super) fn states(&self) -> impl Iterator<Item = UpstreamState> {
        self.all.iter().map(|upstream| UpstreamState {
            target: upstream.target.clone(),
            is_down: upstream.health.is_down(),
            rtt: upstream.health.rtt(),
            pending: upstream.budget.pending(),
            waiting: upstream.waiting(),
            last_error: upstream.last_error.clone(),
            limits: upstream.budget.limits,
            sent: upstream.sent,
        })
    }

    /// Whether anything was ever heard from an upstream.
    pub(super) fn has_responded(&self, target: &Target) -> bool {
        let upstream = self.by_target.get(target).and_then(|&number| self.get(number));
        upstream.is_some_and(|upstream| upstream.health.has_responded())
    }

    pub(super) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// The upstreams of a rule.
    pub(super) fn numbers(&mut self, rule: &Arc<ForwardRule>) -> Numbers {
        if let Some((known, numbers)) = &self.last_rule
            && Arc::ptr_eq(known, rule)
        {
            return numbers.clone();
        }
        let numbers: Numbers = rule.upstreams.iter().map(|target| self.number(target)).collect();
        self.last_rule = Some((rule.clone(), numbers.clone()));
        numbers
    }

    fn number(&mut self, target: &Target) -> usize {
        if let Some(&number) = self.by_target.get(target) {
            return number;
        }
        let limits = self.limits.get(&target.address).copied().unwrap_or_default();
        let number = self.all.len();
        self.all.push(Upstream::new(target.clone(), Budget::new(limits)));
        self.by_target.insert(target.clone(), number);
        number
    }

    /// Whether it does not answer.
    pub(super) fn is_down(&self, number: usize) -> bool {
        self.get(number).is_some_and(|upstream| upstream.health.is_down())
    }

    /// Whether none of a rule's upstreams answers.
    pub(super) fn are_down(&self, numbers: &Numbers) -> bool {
        numbers.iter().all(|&number| self.is_down(number))
    }

    /// What a client is told of a question that would fail for sure, whichever of a rule's upstreams it is for.
    pub(super) fn certain_failure(&self, now: Instant, numbers: &Numbers) -> Option<Arc<str>> {
        let would_fail = |&number: &usize| self.get(number).is_some_and(|upstream| upstream.would_fail(now));
        if numbers.iter().all(would_fail) { self.detail(*numbers.first()?, None) } else { None }
    }

    /// Whether one of a rule's upstreams has a budget.
    pub(super) fn are_limited(&self, numbers: &Numbers) -> bool {
        numbers.iter().any(|&number| self.get(number).is_some_and(|upstream| upstream.budget.is_limited()))
    }

    /// Whether names like this one are slow to be answered.
    pub(super) fn is_slow(&self, section: &[u8], now: Instant) -> bool {
        self.slow_zones.holds(section, now)
    }

    /// Whether a question would leave at once.
    pub(super) fn could_send(&self, now: Instant, section: &[u8], numbers: &Numbers) -> bool {
        let is_slow = self.is_slow(section, now);
        numbers.iter().any(|&number| self.get(number).is_some_and(|upstream| upstream.is_free(now, is_slow)))
    }

    /// Whether one of a rule's upstreams has so much room that questions may be asked before they are needed.
    pub(super) fn have_room(&self, now: Instant, numbers: &Numbers) -> bool {
        numbers.iter().any(|&number| self.get(number).is_some_and(|upstream| upstream.has_room(now)))
    }

    /// Takes what a query costs out of a budget, whatever that says; `is_first` where it is its question's first. Gives the
    /// upstream, and whether the query is slow from the beginning and whether it may become so.
    pub(super) fn take(
        &mut self,
        now: Instant,
        number: usize,
        section: &[u8],
        is_first: bool,
    ) -> Option<(&mut Upstream, bool, bool)> {
        let upstream = self.all.get_mut(number)?;
        if is_first {
            upstream.note_sent(now);
        }
        upstream.budget.take(now);
        let is_limited = upstream.budget.limits.pending > 0;
        let is_slow = is_limited && self.slow_zones.holds(section, now);
        upstream.slow_open += u32::from(is_slow);
        Some((upstream, is_slow, is_limited && !is_slow))
    }

    /// A query is not expected to be answered any more, or was.
    pub(super) fn give_back(&mut self, number: usize, was_slow: bool) {
        if let Some(upstream) = self.all.get_mut(number) {
            upstream.budget.give_back();
            upstream.slow_open = upstream.slow_open.saturating_sub(u32::from(was_slow));
        }
    }

    /// Something came from it; `took` is how long after its query, where that says how fast it is.
    pub(super) fn on_response(&mut self, now: Instant, number: usize, took: Option<Duration>) {
        if let Some(upstream) = self.all.get_mut(number) {
            self.news.extend(upstream.on_response(took, now));
        }
    }

    /// An answer came: what that says of it, and of the zone of the question `section`.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        number: usize,
        (via, took, was_slow): (Via, Duration, bool),
        section: &[u8],
    ) {
        let Some(upstream) = self.all.get_mut(number) else { return };
        let is_late = took > upstream.health.timeout() && upstream.health.answers_others(now);
        // How long a connection takes to be opened says nothing of datagrams.
        let sample = (via == upstream.default_transport()).then_some(took);
        self.news.extend(upstream.on_response(sample, now));
        if took < SLOW_AFTER {
            self.slow_zones.forget(section);
        } else if was_slow || is_late {
            self.slow_zones.note(section, took, now);
        }
    }

    /// A query has been open for `so_far`. Where its upstream answers others, it is the name that is slow: notes that, and
    /// says so.
    pub(super) fn became_slow(&mut self, now: Instant, number: usize, so_far: Duration, section: &[u8]) -> bool {
        let Some(upstream) = self.all.get_mut(number).filter(|upstream| upstream.health.answers_others(now)) else {
            return false;
        };
        upstream.slow_open += 1;
        self.slow_zones.note(section, so_far, now);
        true
    }

    /// A query sent then was not answered in its time, or could not be sent.
    pub(super) fn failed(&mut self, now: Instant, number: usize, (via, sent): (Via, Instant), how: Failing<'_>) {
        if let Some(upstream) = self.all.get_mut(number) {
            self.news.extend(upstream.try_failed(via, sent, now, how));
        }
    }

    /// Puts a question into a line; `is_first` in front of its client's.
    pub(super) fn enqueue(&mut self, number: usize, ticket: Ticket, client: IpAddr, is_slow: bool, is_first: bool) {
        let Some(upstream) = self.all.get_mut(number) else { return };
        match (is_slow, is_first) {
            (false, _) => upstream.stand_in_line(ticket, client, is_first),
            (true, true) => upstream.slow_line.push_front(client, ticket),
            (true, false) => upstream.slow_line.push(client, ticket),
        }
    }

    /// Puts a question into a line whose stale answer may be served until `end`.
    pub(super) fn refresh_later(&mut self, number: usize, ticket: Ticket, end: Instant) {
        if let Some(upstream) = self.all.get_mut(number) {
            upstream.refreshes.push(Reverse((end, ticket)));
        }
    }

    /// Keeps a line bounded: beyond `tickets_max`, those that are not `is_live` go.
    pub(super) fn purge_queues(&mut self, number: usize, tickets_max: usize, is_live: impl Fn(&Ticket) -> bool) {
        if let Some(upstream) = self.all.get_mut(number).filter(|upstream| upstream.tickets() > tickets_max) {
            upstream.purge(is_live);
        }
    }

    /// The upstreams' numbers.
    pub(super) fn all_numbers(&self) -> std::ops::Range<usize> {
        0..self.all.len()
    }

    /// The next question of a line to send, if any. `is_live` is also told which zones are slow.
    pub(super) fn pop_next(
        &mut self,
        now: Instant,
        number: usize,
        is_live: impl Fn(&Ticket, &SlowZones) -> bool,
    ) -> Option<Ticket> {
        let slow_zones = &self.slow_zones;
        self.all.get_mut(number)?.pop_next(now, |ticket| is_live(ticket, slow_zones))
    }

    /// When the next turn may be.
    pub(super) fn next_turn(&self, now: Instant) -> Option<Instant> {
        self.all.iter().filter_map(|upstream| upstream.next_turn(now)).min()
    }

    /// What a client may be told of a failure; `text` is what happened, by default what went wrong last.
    pub(super) fn detail(&self, number: usize, text: Option<&str>) -> Option<Arc<str>> {
        let upstream = self.get(number)?;
        let text = match text {
            Some(text) => text,
            None => &*upstream.last_error.as_ref()?.0,
        };
        let mut detail = format!("{}: {text}", upstream.target.short());
        let end = (0..=DETAIL_MAX).rev().find(|&at| detail.is_char_boundary(at)).unwrap_or_default();
        detail.truncate(end);
        Some(detail.into())
    }
}
