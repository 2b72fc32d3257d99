//! How tries are made: of which upstream, when, in which form, and what one that failed leads to.
//!
//! ```text
//! of one upstream   1           2                  3      4                5              6 ... 8
//!                   datagram    the same, or less  TCP    without option   without EDNS   datagram
//! after             0           its timeout        twice that, each time twice as long, at most a second
//! ```
//!
//! The timeout is that of the upstream's measured times ([`Health::timeout`](super::health::Health::timeout)). Where a rule
//! has several upstreams, the next one is asked after the same time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use smallvec::SmallVec;

use super::capabilities::{Form, with_case};
use super::health::PROBE_INTERVAL;
use super::machine::Forwarding;
use super::outstanding::{Try, write_query};
use super::question::{Failure, Outbox, Transmit, Trouble, TroubleKind, TryId, Via};
use super::upstream::{Failing, Ticket};
use crate::wire::UpstreamMessage;

/// Tries per round.
const TRIES_MAX: usize = 8;
/// How long a try of an earlier round counts as the first of the next.
pub(super) const AGAIN_AFTER: Duration = Duration::from_millis(1000);
/// The longest time between two tries.
const PAUSE_MAX: Duration = Duration::from_millis(1000);
/// After how long the only repeat for a name of a slow zone is made, where there is no budget to be saved.
const SLOW_AGAIN_AFTER: Duration = Duration::from_millis(2000);
/// How long TCP is waited for, where a datagram referred to it, before another datagram is sent.
const REST_AFTER: Duration = Duration::from_millis(300);
/// How often TCP is asked for one question of an upstream that is asked by datagrams: one that refers to TCP and closes
/// each connection must not make one query many.
const STREAMS_MAX: usize = 2;
/// Connections that may be lost under a query on its usual way.
const LOSSES_USUAL: u8 = 1;
/// And where a datagram referred to TCP, for the first time: there is no other way to its answer, and the query is repeated
/// at once.
const LOSSES_OF_REST: u8 = 3;
/// After how long a repeat that had no turn is tried again.
const TURN_AFTER: Duration = Duration::from_millis(100);
/// How long an answer to a try is listened for: above the 4 s that Azure may take.
const LISTEN: Duration = Duration::from_millis(4500);
/// From when on a try is slow.
const SLOW_AFTER: Duration = Duration::from_millis(150);

/// How a try is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) via: Via,
    pub(super) form: Form,
    /// TCP for what a datagram could not say, which is no try of its own.
    pub(super) is_rest: bool,
    /// The datagram said so itself (TC).
    pub(super) is_after_tc: bool,
}

impl Way {
    fn of(via: Via, form: Form) -> Self {
        Self { via, form, is_rest: false, is_after_tc: false }
    }
}

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
        let is_new_to_it = query.last_asked(number).is_none();
        let Some(upstream) = self.upstreams.get_mut(number) else {
            return;
        };
        let is_down = upstream.health.is_down();
        // A repeat for a slow name would take a second place for the same answer.
        if !is_first && is_slow && !is_down && upstream.budget.limits.pending > 0 {
            return self.plan_no_more(slot);
        }
        // Repeats take nothing from the budget of first tries; lost queries may be the work of another limit.
        let may_send = if is_first || is_new_to_it {
            upstream.is_free(now, is_slow)
        } else {
            upstream.has_spare(now) && (!is_slow || upstream.has_slow_place())
        };
        if may_send || (is_down && upstream.health.take_probe(now)) {
            self.send_usual(now, slot, number, out);
            self.probe_fallen(now, slot, number, out);
            return self.plan(now, slot);
        }
        let Some(upstream) = self.upstreams.get(number) else { return };
        if is_first || upstream.health.is_down() {
            let is_slow = is_slow && upstream.budget.limits.pending > 0;
            self.stand_in_line(slot, number, client, is_slow);
        } else {
            self.plan_at(slot, now + TURN_AFTER);
        }
    }

    /// A client waits again for a question that no client waited for: it gets its tries again.
    pub(super) fn new_round(&mut self, now: Instant, slot: u32, client: IpAddr, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        let is_down = query
            .tries
            .last()
            .and_then(|tried| self.upstreams.get(tried.upstream))
            .is_some_and(|upstream| upstream.health.is_down());
        let interval = if is_down { PROBE_INTERVAL } else { AGAIN_AFTER };
        let is_fresh = query
            .tries
            .last()
            .is_some_and(|tried| tried.is_open && now.saturating_duration_since(tried.sent) < interval);
        let is_slow_try = query.tries.iter().any(|tried| tried.is_open && tried.is_slow);
        if query.is_abandoned || query.has_left_line.get() {
            query.line = None;
            query.is_abandoned = true;
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

    /// The upstream to ask: of those that answer at all and have not failed for this question, the one asked least often;
    /// of these in order of health and speed, then of the rule.
    pub(super) fn choose(&self, now: Instant, slot: u32) -> Option<usize> {
        let query = self.outstanding.get(slot as usize)?;
        let health = |number: usize| self.upstreams.get(number).map(|upstream| &upstream.health);
        let is_down = |number: usize| health(number).is_none_or(|health| health.is_down());
        query.upstreams.iter().copied().min_by_key(|&number| {
            let rank = health(number).map(|health| health.rank(now));
            (is_down(number), query.has_failed(number), query.count_tries_of(number), rank)
        })
    }

    fn stand_in_line(&mut self, slot: u32, number: usize, client: IpAddr, is_slow: bool) {
        let (Some(query), Some(upstream)) = (self.outstanding.get_mut(slot as usize), self.upstreams.get_mut(number))
        else {
            return;
        };
        query.line = Some(number);
        query.next_try = None;
        query.has_left_line.set(false);
        query.waited_for_down |= upstream.health.is_down();
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

    /// When to try again: when the last try has had its time.
    pub(super) fn plan(&mut self, now: Instant, slot: u32) {
        let Some(query) = self.outstanding.get(slot as usize) else {
            return;
        };
        if query.count_tries() >= TRIES_MAX || query.waiters.is_empty() || query.line.is_some() {
            return self.plan_no_more(slot);
        }
        let counted = || query.round().iter().filter(|tried| !tried.is_rest);
        // An upstream that is down and was tried beside another one is not waited for.
        let is_up = |number: usize| self.upstreams.get(number).is_some_and(|upstream| !upstream.health.is_down());
        let last = counted().filter(|tried| is_up(tried.upstream)).max_by_key(|tried| tried.sent);
        let last = last.or_else(|| counted().max_by_key(|tried| tried.sent));
        let soon = now + Duration::from_millis(1);
        let at = match last.and_then(|last| Some((last, self.upstreams.get(last.upstream)?))) {
            Some((last, upstream)) => {
                let is_slow = !upstream.health.is_down() && self.slow_zones.holds(&query.question.section, now);
                if is_slow && query.count_tries() >= 2 {
                    return self.plan_no_more(slot);
                }
                let before = u32::try_from(query.count_tries_of(last.upstream)).unwrap_or(u32::MAX).clamp(1, 8) - 1;
                let timeout = upstream.timeout(query.upstreams.len() == 1);
                let pause = (timeout * (1 << before)).min(PAUSE_MAX);
                (last.sent + if is_slow { pause.max(SLOW_AGAIN_AFTER) } else { pause }).max(soon)
            }
            None => soon,
        };
        // Another datagram would be answered by the same reference to TCP.
        let rest = query.round().iter().filter(|tried| tried.is_open && tried.is_rest && tried.via == Via::Stream);
        let at = rest.map(|tried| tried.sent + REST_AFTER).max().map_or(at, |rest| rest.max(at));
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

    /// Sends one try by the way that is due.
    pub(super) fn send_usual(&mut self, now: Instant, slot: u32, number: usize, out: &mut Outbox<W>) {
        if let Some(way) = self.way(now, slot, number) {
            self.send(now, slot, number, way, out);
        }
    }

    /// How the next try of a question is made: what stays unanswered may be lost, or swallowed because of what it carries.
    fn way(&mut self, now: Instant, slot: u32, number: usize) -> Option<Way> {
        let query = self.outstanding.get(slot as usize)?;
        let upstream = self.upstreams.get_mut(number)?;
        let (usual, before) = (upstream.usual_way(), query.count_tries_of(number));
        // While it is down each question has few tries, so the ways take turns among the probes.
        let before = if upstream.health.is_down() {
            before.max((upstream.health.probes() as usize).saturating_sub(1) % 5)
        } else {
            before
        };
        let form = match before {
            0 => upstream.capabilities.first_form(now),
            1 => upstream.capabilities.second_form(),
            _ => upstream.capabilities.form(),
        };
        let form = if query.without_edns { Form::WithoutEdns } else { form };
        if usual == Via::Stream {
            return Some(Way::of(Via::Stream, form));
        }
        let is_azure_dns = upstream.target.is_azure_dns();
        Some(match before {
            2 if !query.has_open_stream() && query.count_streams_of(number) < STREAMS_MAX => Way::of(Via::Stream, form),
            3 if !is_azure_dns => Way::of(Via::Datagram, form.max(Form::WithoutOption)),
            // Who asks for DNSSEC has no use for an answer without.
            4 if !query.question.dnssec_ok => Way::of(Via::Datagram, Form::WithoutEdns),
            _ => Way::of(Via::Datagram, form),
        })
    }

    /// Sends one try, whatever the budget says: the caller has asked it, or it is the rest of an answer.
    pub(super) fn send(&mut self, now: Instant, slot: u32, number: usize, way: Way, out: &mut Outbox<W>) {
        let (Some(query), Some(upstream)) = (self.outstanding.get_mut(slot as usize), self.upstreams.get_mut(number))
        else {
            return;
        };
        let Ok(try_number) = u8::try_from(query.tries.len()) else {
            return;
        };
        let Way { via, form, is_rest, is_after_tc } = way;
        if query.tries.len() == query.round_start {
            upstream.note_sent(now);
        }
        upstream.budget.take(now);
        self.counts.sent += 1;
        let is_limited = upstream.budget.limits.pending > 0;
        let is_slow = is_limited && self.slow_zones.holds(&query.question.section, now);
        upstream.slow_open += u32::from(is_slow);
        let id = self.rng.next_u32() as u16;
        let is_azure_dns = upstream.target.is_azure_dns();
        let tokens = if is_azure_dns || form != Form::Full {
            SmallVec::new()
        } else {
            self.guard.option(&query.question.section, &query.question.tokens)
        };
        // By TCP too: there its answer confirms whether the upstream repeats the case.
        let draws = upstream.usual_way() == Via::Datagram
            && match via {
                Via::Datagram => !query.keeps_case && upstream.capabilities.draws_case(now, !is_azure_dns),
                Via::Stream => query.tries.last().is_some_and(|tried| tried.case.is_some()),
            };
        let case = draws.then(|| self.rng.next_u64());
        let drawn = case.and_then(|case| with_case(&query.question.section, case));
        let case = case.filter(|_| drawn.is_some());
        let closes = now + LISTEN;
        query.keep_until = query.keep_until.max(closes);
        query.line = None;
        query.is_abandoned = false;
        query.has_left_line.set(false);
        let section = drawn.as_deref().unwrap_or(&query.question.section);
        let losses_max = match upstream.usual_way() {
            Via::Stream => LOSSES_USUAL,
            Via::Datagram if query.count_streams_of(number) == 0 => LOSSES_OF_REST,
            Via::Datagram => 0,
        };
        out.transmits.push(Transmit {
            id: TryId { slot, generation: query.generation, number: try_number },
            to: upstream.target.address,
            protocol: upstream.target.protocol.clone(),
            via,
            ports: upstream.budget.limits.ports,
            message: write_query(&query.question, section, id, form, &tokens),
            losses_max,
            deadline: closes,
        });
        query.tries.push(Try {
            upstream: number,
            via,
            id,
            form,
            case,
            is_rest,
            is_after_tc,
            is_damaged: false,
            has_failed: false,
            sent: now,
            closes,
            slow_at: (is_limited && !is_slow).then(|| now + SLOW_AFTER),
            is_slow,
            is_open: true,
            is_late: false,
        });
    }

    /// An attacker may be guessing IDs: TCP is asked at once, and decides.
    pub(super) fn suspect(&mut self, now: Instant, slot: u32, number: usize, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        if !query.is_suspicious {
            query.is_suspicious = true;
            self.ask_by_stream(now, slot, number, false, out);
        }
    }

    /// Asks for what a datagram could not say; `is_after_tc` where it said so itself. Whether TCP is asked, or still asked.
    pub(super) fn ask_by_stream(
        &mut self,
        now: Instant,
        slot: u32,
        number: usize,
        is_after_tc: bool,
        out: &mut Outbox<W>,
    ) -> bool {
        let Some(query) = self.outstanding.get(slot as usize) else {
            return false;
        };
        let mut tries = query.tries.iter();
        if tries.any(|tried| tried.is_open && tried.via == Via::Stream && tried.upstream == number) {
            return true;
        }
        if query.count_streams_of(number) >= STREAMS_MAX {
            return false;
        }
        let Some(upstream) = self.upstreams.get(number) else { return false };
        let form = if query.without_edns { Form::WithoutEdns } else { upstream.capabilities.form() };
        self.send(now, slot, number, Way { via: Via::Stream, form, is_rest: true, is_after_tc }, out);
        self.plan(now, slot);
        true
    }

    /// The upstream does not understand EDNS, as an answer says. Over TCP that is certain, and remembered. A datagram may be
    /// forged: TCP is asked for confirmation, unless it could not be had a moment ago.
    pub(super) fn ask_without_edns(&mut self, now: Instant, id: TryId, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(id.slot as usize) else { return };
        let Some(tried) = query.tries.get(id.number as usize) else { return };
        let (number, via) = (tried.upstream, tried.via);
        let Some(upstream) = self.upstreams.get_mut(number) else { return };
        query.without_edns = true;
        let usual = upstream.usual_way();
        let mut way = Way { via: usual, form: Form::WithoutEdns, is_rest: true, is_after_tc: false };
        let may_ask = !query.has_open_stream() && query.count_streams_of(number) < STREAMS_MAX;
        if via == Via::Stream {
            upstream.capabilities.refused_edns(now);
        } else if may_ask && upstream.capabilities.may_check(now) {
            way = Way { via: Via::Stream, form: upstream.capabilities.form(), ..way };
        }
        self.send(now, id.slot, number, way, out);
        self.plan(now, id.slot);
    }

    /// An answer was accepted: what that says of what its upstream understands.
    pub(super) fn learn(&mut self, now: Instant, id: TryId, repeats_case: bool) {
        let Some(query) = self.outstanding.get(id.slot as usize) else { return };
        let Some(tried) = query.tries.get(id.number as usize) else { return };
        let Some(upstream) = self.upstreams.get_mut(tried.upstream) else { return };
        if upstream.usual_way() == Via::Stream {
            return;
        }
        let timeout = upstream.timeout(false);
        let datagrams = query.round().iter().filter(|other| {
            other.upstream == tried.upstream && other.via == Via::Datagram && other.is_open && other.id != tried.id
        });
        let unanswered = datagrams.filter(|other| now.saturating_duration_since(other.sent) >= timeout);
        match tried.via {
            Via::Datagram => {
                upstream.capabilities.answered(tried.form, unanswered.map(|other| other.form).min(), now);
                let has_upper = || query.question.section.iter().any(u8::is_ascii_uppercase);
                if tried.case.is_some() || (upstream.target.is_azure_dns() && has_upper()) {
                    upstream.capabilities.repeated_case();
                }
            }
            Via::Stream => {
                if let Some(last) = unanswered.map(|other| other.form).max()
                    && !tried.is_rest
                {
                    upstream.capabilities.answered_by_stream_only(last);
                }
                if tried.case.is_some() && !repeats_case {
                    upstream.capabilities.changed_case(now);
                }
            }
        }
    }

    pub(super) fn take_answer(
        &mut self,
        now: Instant,
        slot: u32,
        via: Via,
        message: UpstreamMessage,
        out: &mut Outbox<W>,
    ) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        if query.is_suspicious && via == Via::Datagram && query.has_open_stream() {
            query.held = Some(message);
            return;
        }
        self.failures.forget(&query.question.key);
        self.end(now, slot, Ok(message), out);
    }

    /// An upstream has no answer to a question, or cannot give it: what it was asked beside that is not waited for.
    pub(super) fn note_failed(&mut self, slot: u32, number: usize) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else { return };
        let from = query.round_start;
        let of_it = |tried: &&mut Try| tried.upstream == number;
        query.tries.iter_mut().skip(from).filter(of_it).for_each(|tried| tried.has_failed = true);
        let open = query.tries.iter().enumerate().filter(|(_, tried)| tried.is_open && tried.upstream == number);
        let open: SmallVec<[usize; 8]> = open.map(|(at, _)| at).collect();
        for at in open {
            self.close_try(slot, at);
        }
    }

    /// A try could not be carried out.
    pub(super) fn take_trouble(&mut self, now: Instant, id: TryId, trouble: &Trouble, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(id.slot as usize) else { return };
        let Some(tried) = query.tries.get(id.number as usize) else { return };
        let (number, via, sent) = (tried.upstream, tried.via, tried.sent);
        let (is_rest, is_after_tc) = (tried.is_rest, tried.is_after_tc);
        let Some(upstream) = self.upstreams.get_mut(number) else { return };
        let usual = upstream.usual_way();
        self.news.extend(upstream.try_failed(via, sent, now, Failing::Trouble(trouble)));
        if via == usual || is_after_tc {
            query.trouble = Some((number, trouble.text.clone()));
        }
        let is_final = match trouble.kind {
            TroubleKind::Certificate => via == usual,
            // There is more than fits a datagram, and no other way to it.
            TroubleKind::Refused => is_after_tc,
            TroubleKind::Other => false,
        };
        let without_edns = query.without_edns;
        self.close_try(id.slot, id.number as usize);
        if is_final {
            self.note_failed(id.slot, number);
        } else if is_rest && via != usual && without_edns {
            // TCP was to confirm that the upstream does not understand EDNS.
            if let Some(upstream) = self.upstreams.get_mut(number) {
                upstream.capabilities.check_failed(now);
            }
            let way = Way { via: usual, form: Form::WithoutEdns, is_rest: true, is_after_tc: false };
            self.send(now, id.slot, number, way, out);
        }
        self.give_up_try(now, id.slot, out);
    }

    /// A try failed: the next one at once where there is an upstream not asked yet, else what is left.
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
        let all_failed = query.upstreams.iter().all(|&number| query.has_failed(number));
        match query.failure.take() {
            Some(failure) => {
                self.failures.remember(&query.question.key, Some(Arc::from(&*failure.bytes)), now);
                self.end(now, slot, Ok(failure), out);
            }
            // An upstream that restarts refuses for a moment: the tries left are made at their time.
            None if query.next_try.is_some() && !all_failed => {}
            None => {
                if all_failed {
                    self.failures.remember(&query.question.key, None, now);
                }
                let failure = if query.trouble.is_some() { Failure::Unreachable } else { Failure::Silence };
                self.end(now, slot, Err(failure), out);
            }
        }
    }

    /// Tells upstreams of tries that were not answered in their time.
    pub(super) fn mark_late(&mut self, now: Instant, slot: u32) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        for tried in query.tries.iter_mut().filter(|tried| tried.is_open && !tried.is_late) {
            let Some(upstream) = self.upstreams.get_mut(tried.upstream) else { continue };
            // The next try may have been made because of another upstream.
            if now.saturating_duration_since(tried.sent) < upstream.timeout(false) {
                continue;
            }
            tried.is_late = true;
            self.news.extend(upstream.try_failed(tried.via, tried.sent, now, Failing::Silent));
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
                let so_far = now.saturating_duration_since(tried.sent);
                self.slow_zones.note(&query.question.section, so_far, now);
            }
        }
    }

    /// An answer came: what that says of its upstream and of its zone.
    pub(super) fn note_answer_time(&mut self, now: Instant, id: TryId) {
        let Some(query) = self.outstanding.get(id.slot as usize) else {
            return;
        };
        let Some(tried) = query.tries.get(id.number as usize) else {
            return;
        };
        let took = now.saturating_duration_since(tried.sent);
        let Some(upstream) = self.upstreams.get_mut(tried.upstream) else { return };
        let is_late = took > upstream.health.timeout() && upstream.health.answers_others(now);
        // How long a connection takes to be opened says nothing of datagrams.
        let sample = (tried.via == upstream.usual_way()).then_some(took);
        self.news.extend(upstream.heard(sample, now));
        if took < SLOW_AFTER {
            self.slow_zones.forget(&query.question.section);
        } else if tried.is_slow || is_late {
            self.slow_zones.note(&query.question.section, took, now);
        }
    }

    /// Closes tries that nothing listens for any more.
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
            self.mark_late(now, slot);
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
            loop {
                let (outstanding, slow_zones) = (&self.outstanding, &self.slow_zones);
                let is_live = |&(slot, generation): &Ticket| {
                    let query = outstanding.get(slot as usize);
                    query.is_some_and(|query| {
                        query.generation == generation
                            && query.line == Some(number)
                            && !query.is_hopeless(now, slow_zones.expected(&query.question.section, now))
                    })
                };
                let next = self.upstreams.get_mut(number).and_then(|upstream| upstream.next_in_line(now, is_live));
                let Some((slot, _)) = next else { break };
                self.send_usual(now, slot, number, out);
                self.plan(now, slot);
                self.arm(slot);
            }
        }
    }
}
