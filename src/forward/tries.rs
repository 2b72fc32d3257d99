//! How tries are made: of whom, in which order, and what one that came to nothing leads to.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use smallvec::SmallVec;

use super::health::PROBE_INTERVAL;
use super::machine::Forwarding;
use super::outstanding::{Try, write_query};
use super::question::{Failure, Outbox, Transmit, TryId, Via};
use super::upstream::{Ticket, Upstream};

/// Tries per round.
const TRIES_MAX: usize = 4;
/// After how long a single upstream is asked again.
pub(super) const AGAIN_AFTER: Duration = Duration::from_millis(1000);
/// After how long the next of several is asked.
const NEXT_AFTER: Duration = Duration::from_millis(300);
/// After how long a repeat that had no turn is tried again.
const TURN_AFTER: Duration = Duration::from_millis(100);
/// How long an answer to a try is listened for: above the 4 s that Azure may take.
const LISTEN: Duration = Duration::from_millis(4500);
/// From when on a try is slow.
const SLOW_AFTER: Duration = Duration::from_millis(150);

impl<W> Forwarding<W> {
    /// Asks the next upstream that should be asked, if a try is left; or puts the question into its line.
    pub(super) fn try_next(&mut self, now: Instant, slot: u32, client: IpAddr, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get(slot as usize) else {
            return;
        };
        if query.line.is_some() {
            return self.plan_no_more(slot);
        }
        if query.count_tries() >= TRIES_MAX {
            return self.plan(now, slot);
        }
        let is_first = query.tries.len() == query.round_start;
        let is_slow = self.slow_zones.holds(&query.question.section, now);
        let Some(number) = self.choose(now, slot) else {
            return self.plan(now, slot);
        };
        let Some(upstream) = self.upstreams.get_mut(number) else {
            return;
        };
        // A repeat for a slow name would take a second place for the same answer.
        let is_limited = upstream.budget.limits.pending > 0;
        if !is_first && is_slow && is_limited && !upstream.health.is_down() {
            return self.plan_no_more(slot);
        }
        if upstream.is_free(now, is_slow) || (upstream.health.is_down() && upstream.health.take_probe(now)) {
            self.send_usual(now, slot, number, out);
            self.probe_fallen(now, slot, number, out);
            return self.plan(now, slot);
        }
        if is_first || upstream.health.is_down() {
            let is_slow = is_slow && is_limited;
            self.stand_in_line(slot, number, client, is_slow);
        } else {
            self.plan_at(slot, now + TURN_AFTER);
        }
    }

    /// Somebody waits again for a question that nobody waited for: it gets its tries anew.
    pub(super) fn new_round(&mut self, now: Instant, slot: u32, client: IpAddr, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        let is_down = query
            .tries
            .last()
            .and_then(|tried| self.upstreams.get(tried.upstream))
            .is_some_and(|upstream| upstream.health.is_down());
        let patience = if is_down { PROBE_INTERVAL } else { AGAIN_AFTER };
        let is_fresh = query
            .tries
            .last()
            .is_some_and(|tried| tried.is_open && now.saturating_duration_since(tried.sent) < patience);
        let is_slow_try = query.tries.iter().any(|tried| tried.is_open && tried.is_slow);
        if query.is_abandoned {
            query.line = None;
        } else if query.line.is_some() {
            return;
        }
        if is_slow_try {
            return;
        }
        if is_fresh {
            // The last try is the first of the new round: it is repeated in its time.
            query.round_start = query.tries.len() - 1;
            return self.plan(now, slot);
        }
        query.round_start = query.tries.len();
        self.try_next(now, slot, client, out);
    }

    /// The upstream to ask: one that this question has not asked yet, in order of health and speed, then of the rule;
    /// else the one asked longest ago, once it has had its time.
    pub(super) fn choose(&self, now: Instant, slot: u32) -> Option<usize> {
        let query = self.outstanding.get(slot as usize)?;
        let rank = |number: usize| self.upstreams.get(number).map(|upstream| upstream.health.rank(now));
        let numbers = || query.upstreams.iter().copied();
        let fresh = numbers().filter(|&number| query.last_asked(number).is_none());
        fresh.min_by_key(|&number| rank(number)).or_else(|| {
            let oldest = numbers().min_by_key(|&number| query.last_asked(number))?;
            let waited = now.saturating_duration_since(query.last_asked(oldest)?);
            (waited >= AGAIN_AFTER).then_some(oldest)
        })
    }

    fn stand_in_line(&mut self, slot: u32, number: usize, client: IpAddr, is_slow: bool) {
        let (Some(query), Some(upstream)) = (self.outstanding.get_mut(slot as usize), self.upstreams.get_mut(number))
        else {
            return;
        };
        query.line = Some(number);
        query.next_try = None;
        let line = if is_slow { &mut upstream.slow_line } else { &mut upstream.line };
        let ticket = (slot, query.generation);
        if std::mem::take(&mut query.is_abandoned) {
            line.push_front(client, ticket);
        } else {
            line.push(client, ticket);
        }
        self.counts.queued += 1;
        self.purge_lines(number);
    }

    /// Sends the question also to an upstream of its rule that is down and due to be tried.
    fn probe_fallen(&mut self, now: Instant, slot: u32, but: usize, out: &mut Outbox<W>) {
        for place in 0.. {
            let Some(query) = self.outstanding.get(slot as usize) else {
                return;
            };
            let Some(&number) = query.upstreams.get(place) else {
                return;
            };
            if number == but || query.last_asked(number).is_some() || query.count_tries() >= TRIES_MAX {
                continue;
            }
            let Some(upstream) = self.upstreams.get_mut(number) else {
                continue;
            };
            if upstream.budget.allows(now) && upstream.health.take_probe(now) {
                self.send_usual(now, slot, number, out);
            }
        }
    }

    /// When to try again: the next of several soon, the same one after a while.
    pub(super) fn plan(&mut self, now: Instant, slot: u32) {
        let Some(query) = self.outstanding.get(slot as usize) else {
            return;
        };
        if query.count_tries() >= TRIES_MAX || query.waiters.is_empty() || query.line.is_some() {
            return self.plan_no_more(slot);
        }
        // None before any time: one that was not asked yet is the least.
        let oldest = query.upstreams.iter().map(|&number| query.last_asked(number)).min();
        let at = match oldest {
            Some(None) => now + NEXT_AFTER,
            Some(Some(oldest)) => (oldest + AGAIN_AFTER).max(now + Duration::from_millis(1)),
            None => now + Duration::from_millis(1),
        };
        self.plan_at(slot, at);
    }

    pub(super) fn plan_no_more(&mut self, slot: u32) {
        if let Some(query) = self.outstanding.get_mut(slot as usize) {
            query.next_try = None;
        }
    }

    fn plan_at(&mut self, slot: u32, at: Instant) {
        if let Some(query) = self.outstanding.get_mut(slot as usize) {
            query.next_try = Some(at);
        }
    }

    /// Sends one try by the upstream's usual way.
    pub(super) fn send_usual(&mut self, now: Instant, slot: u32, number: usize, out: &mut Outbox<W>) {
        let via = self.upstreams.get(number).map_or(Via::Datagram, Upstream::usual_way);
        self.send(now, slot, number, via, out);
    }

    /// Sends one try, whatever the budget says: whoever calls has asked it, or it is the rest of an answer.
    pub(super) fn send(&mut self, now: Instant, slot: u32, number: usize, via: Via, out: &mut Outbox<W>) {
        let (Some(query), Some(upstream)) = (self.outstanding.get_mut(slot as usize), self.upstreams.get_mut(number))
        else {
            return;
        };
        let Ok(try_number) = u8::try_from(query.tries.len()) else {
            return;
        };
        upstream.budget.take(now);
        self.counts.sent += 1;
        let is_limited = upstream.budget.limits.pending > 0;
        let is_slow = is_limited && self.slow_zones.holds(&query.question.section, now);
        upstream.slow_open += u32::from(is_slow);
        let id = self.rng.next_u32() as u16;
        let tokens = if upstream.target.is_azure_dns() {
            SmallVec::new()
        } else {
            self.guard.option(&query.question.section, &query.question.tokens)
        };
        let closes = now + LISTEN;
        query.keep_until = query.keep_until.max(closes);
        query.line = None;
        query.is_abandoned = false;
        out.transmits.push(Transmit {
            id: TryId { slot, generation: query.generation, number: try_number },
            to: upstream.target.address,
            protocol: upstream.target.protocol.clone(),
            via,
            ports: upstream.budget.limits.ports,
            message: write_query(query, id, &tokens),
            deadline: closes,
        });
        query.tries.push(Try {
            upstream: number,
            via,
            id,
            sent: now,
            closes,
            slow_at: (is_limited && !is_slow).then(|| now + SLOW_AFTER),
            is_slow,
            is_open: true,
            is_late: false,
        });
    }

    /// Somebody may be guessing IDs: TCP is asked at once, and decides.
    pub(super) fn suspect(&mut self, now: Instant, slot: u32, number: usize, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        if !query.is_suspicious {
            query.is_suspicious = true;
            self.ask_by_stream(now, slot, number, out);
        }
    }

    pub(super) fn ask_by_stream(&mut self, now: Instant, slot: u32, number: usize, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get(slot as usize) else {
            return;
        };
        let mut tries = query.tries.iter();
        if !tries.any(|tried| tried.is_open && tried.via == Via::Stream && tried.upstream == number) {
            self.send(now, slot, number, Via::Stream, out);
        }
    }

    pub(super) fn take_answer(&mut self, now: Instant, slot: u32, via: Via, bytes: Vec<u8>, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        if query.is_suspicious && via == Via::Datagram && query.has_open_stream() {
            query.held = Some(bytes);
            return;
        }
        self.failures.forget(&query.question.key);
        self.end(now, slot, Ok(bytes), out);
    }

    /// A try came to nothing: the next one at once where there is an upstream not asked yet, else what is left.
    pub(super) fn give_up_try(&mut self, now: Instant, slot: u32, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        if !query.has_open_stream()
            && let Some(held) = query.held.take()
        {
            return self.end(now, slot, Ok(held), out);
        }
        let client = query.waiters.first().map(|waiting| waiting.client);
        let others_left = query.upstreams.iter().any(|&number| query.last_asked(number).is_none());
        if let Some(client) = client.filter(|_| others_left && query.count_tries() < TRIES_MAX) {
            return self.try_next(now, slot, client, out);
        }
        if query.has_open_try() || query.line.is_some() {
            return;
        }
        match query.failure.take() {
            Some(failure) => {
                self.failures.remember(&query.question.key, Some(Arc::from(&*failure)), now);
                self.end(now, slot, Ok(failure), out);
            }
            // An upstream that restarts refuses for a moment: the tries left are made at their time.
            None if query.next_try.is_some() => {}
            None => {
                let failure = if query.was_unreachable { Failure::Unreachable } else { Failure::Silence };
                self.end(now, slot, Err(failure), out);
            }
        }
    }

    /// Tells upstreams of tries that were not answered in their time.
    pub(super) fn mark_late(&mut self, slot: u32) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        for tried in query.tries.iter_mut().filter(|tried| tried.is_open && !tried.is_late) {
            tried.is_late = true;
            if let Some(upstream) = self.upstreams.get_mut(tried.upstream) {
                upstream.try_failed(tried.via, tried.sent);
            }
        }
    }

    /// Finds tries that have become slow, while their upstream answers others: it is the name that is slow.
    pub(super) fn mark_slow(&mut self, now: Instant, slot: u32) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        for tried in query.tries.iter_mut().filter(|tried| tried.is_open && tried.slow_at.is_some_and(|at| at <= now)) {
            tried.slow_at = None;
            let Some(upstream) = self.upstreams.get_mut(tried.upstream) else {
                continue;
            };
            if upstream.health.answers_others(now) {
                tried.is_slow = true;
                upstream.slow_open += 1;
                self.slow_zones.note(&query.question.section, now);
            }
        }
    }

    /// An answer came: what that says of its upstream and of its zone.
    pub(super) fn note_answer_time(&mut self, now: Instant, id: TryId, sent: Instant) {
        let Some(query) = self.outstanding.get(id.slot as usize) else {
            return;
        };
        let Some(tried) = query.tries.get(id.number as usize) else {
            return;
        };
        let took = now.saturating_duration_since(sent);
        if let Some(upstream) = self.upstreams.get_mut(tried.upstream) {
            // A slow name says nothing of the upstream's speed.
            let rtt = if tried.is_slow { upstream.health.rtt().unwrap_or(took) } else { took };
            upstream.health.heard(rtt, now);
        }
        if took < SLOW_AFTER {
            self.slow_zones.forget(&query.question.section);
        } else if tried.is_slow {
            self.slow_zones.note(&query.question.section, now);
        }
    }

    /// Closes tries that nobody listens for any more.
    pub(super) fn close_old_tries(&mut self, now: Instant, slot: u32) {
        let Some(query) = self.outstanding.get(slot as usize) else {
            return;
        };
        let old: Vec<usize> = query
            .tries
            .iter()
            .enumerate()
            .filter(|(_, tried)| tried.is_open && tried.closes <= now)
            .map(|(number, _)| number)
            .collect();
        if !old.is_empty() {
            self.mark_late(slot);
        }
        for number in old {
            self.close_try(slot, number);
        }
    }

    pub(super) fn close_try(&mut self, slot: u32, number: usize) {
        let Some(tried) = self.outstanding.get_mut(slot as usize).and_then(|query| query.tries.get_mut(number)) else {
            return;
        };
        if std::mem::replace(&mut tried.is_open, false)
            && let Some(upstream) = self.upstreams.get_mut(tried.upstream)
        {
            upstream.budget.give_back();
            upstream.slow_open = upstream.slow_open.saturating_sub(u32::from(tried.is_slow));
        }
    }

    /// Sends what waits as far as budgets allow.
    pub(super) fn serve_lines(&mut self, now: Instant, out: &mut Outbox<W>) {
        for number in 0..self.upstreams.len() {
            let most = self.upstreams.get(number).map_or(0, |upstream| upstream.turns_at_once());
            let mut served = 0;
            while served < most {
                let outstanding = &self.outstanding;
                let is_live = |&(slot, generation): &Ticket| {
                    let query = outstanding.get(slot as usize);
                    query.is_some_and(|query| {
                        query.generation == generation && query.line == Some(number) && !query.is_hopeless(now)
                    })
                };
                let next = self.upstreams.get_mut(number).and_then(|upstream| upstream.next_in_line(now, is_live));
                let Some((slot, _)) = next else { break };
                served += 1;
                self.send_usual(now, slot, number, out);
                self.plan(now, slot);
                self.arm(slot);
            }
        }
    }
}
