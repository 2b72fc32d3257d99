//! How tries are made: of which upstream, when, and in which form.
//!
//! ```text
//! of one upstream   1           2                  3      4                5              6 ... 8
//!                   datagram    the same, or less  TCP    without option   without EDNS   datagram
//! after             0           its timeout        twice that, each time twice as long, at most a second
//! ```
//!
//! The timeout is that of the upstream's measured times ([`Health::timeout`](super::health::Health::timeout)). Where a rule
//! has several upstreams, the next one is asked after the same time. What tries lead to is in `answers.rs`.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::capabilities::Form;
use super::health::PROBE_INTERVAL;
use super::letters::{has_letters, with_case};
use super::outstanding::{Attempt, write_query};
use super::question::{AttemptId, ForwardCounts, Transmit, Via};
use super::questions::Questions;
use super::token::LoopGuard;
use super::upstreams::{SLOW_AFTER, Upstreams};

/// Tries per round.
pub(super) const TRIES_MAX: usize = 8;
/// How long a try of an earlier round counts as the first of the next.
pub(super) const AGAIN_AFTER: Duration = Duration::from_millis(1000);
/// The longest time between two tries.
const PAUSE_MAX: Duration = Duration::from_millis(1000);
/// After how long the only repeat for a name of a slow zone is made, where there is no budget to be saved.
const SLOW_AGAIN_AFTER: Duration = Duration::from_millis(2000);
/// How long TCP is waited for, where a datagram referred to it, before another datagram is sent.
const REST_AFTER: Duration = Duration::from_millis(300);
/// Connections that may be lost under a query on its usual way.
const LOSSES_USUAL: u8 = 1;
/// And where a datagram referred to TCP, for the first time: there is no other way to its answer, and the query is repeated
/// at once.
const LOSSES_OF_REST: u8 = 3;
/// After how long a repeat that had no turn is tried again.
const TURN_AFTER: Duration = Duration::from_millis(100);
/// How long an answer to a try is listened for: above the 4 s that Azure may take.
const LISTEN: Duration = Duration::from_millis(4500);

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

/// What is asked: the questions outstanding, and the upstreams that they are sent to.
pub(super) struct Tries<W> {
    pub(super) questions: Questions<W>,
    pub(super) upstreams: Upstreams,
    guard: LoopGuard,
    rng: StdRng,
    pub(super) counts: ForwardCounts,
}

impl<W> Tries<W> {
    pub(super) fn new(questions: Questions<W>, upstreams: Upstreams, guard: LoopGuard, seed: [u8; 32]) -> Self {
        Self { questions, upstreams, guard, rng: StdRng::from_seed(seed), counts: ForwardCounts::default() }
    }

    /// The same with nothing outstanding and nothing known of upstreams.
    pub(super) fn renewed(&mut self) -> Self {
        let questions = Questions::new(self.questions.bounds, self.questions.generation());
        let upstreams = Upstreams::new(self.upstreams.take_limits());
        let (guard, seed) = (self.guard.clone(), self.rng.random());
        Self { counts: self.counts, ..Self::new(questions, upstreams, guard, seed) }
    }

    /// Asks the next upstream that should be asked, if a try is left; or puts the question into its line.
    pub(super) fn try_next(&mut self, now: Instant, slot: u32, client: IpAddr, out: &mut Vec<Transmit>) {
        let Some(query) = self.questions.get(slot) else { return };
        if query.line.is_some() {
            return self.cancel_timer(slot);
        }
        if query.count_tries() >= TRIES_MAX {
            return self.plan(now, slot);
        }
        let is_first = query.attempts.len() == query.round_start;
        let is_slow = self.upstreams.is_slow(&query.question.section, now);
        let Some(number) = self.choose(now, slot) else {
            return self.plan(now, slot);
        };
        let is_new_to_it = query.last_asked(number).is_none();
        let Some(upstream) = self.upstreams.get_mut(number) else { return };
        let is_down = upstream.health.is_down();
        let is_limited = upstream.budget.limits.pending > 0;
        // A repeat for a slow name would take a second place for the same answer.
        if !is_first && is_slow && !is_down && is_limited {
            return self.cancel_timer(slot);
        }
        // Repeats take nothing from the budget of first tries; lost queries may be the work of another limit.
        let may_send = if is_first || is_new_to_it {
            upstream.is_free(now, is_slow)
        } else {
            upstream.has_spare(now) && (!is_slow || upstream.has_slow_capacity())
        };
        if may_send || (is_down && upstream.health.take_probe(now)) {
            self.send_default(now, slot, number, out);
            self.probe_fallen(now, slot, number, out);
            return self.plan(now, slot);
        }
        if is_first || is_down {
            self.enqueue(slot, number, client, is_slow && is_limited);
        } else {
            self.plan_at(slot, now + TURN_AFTER);
        }
    }

    /// A client waits again for a question that no client waited for: it gets its tries again.
    pub(super) fn new_round(&mut self, now: Instant, slot: u32, client: IpAddr, out: &mut Vec<Transmit>) {
        let Some(query) = self.questions.get_mut(slot) else { return };
        let last = query.attempts.last();
        let interval = match last {
            Some(tried) if self.upstreams.is_down(tried.upstream) => PROBE_INTERVAL,
            _ => AGAIN_AFTER,
        };
        let is_fresh = last.is_some_and(|tried| tried.is_open && now.saturating_duration_since(tried.sent) < interval);
        let is_slow_try = query.attempts.iter().any(|tried| tried.is_open && tried.is_slow);
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
            query.round_start = query.attempts.len() - 1;
            return self.plan(now, slot);
        }
        query.round_start = query.attempts.len();
        self.try_next(now, slot, client, out);
    }

    /// Asks for what no client waits for: at once where there is a turn to spare, else after those that clients wait for, if
    /// possible before `end`.
    pub(super) fn refresh(&mut self, now: Instant, slot: u32, end: Instant, out: &mut Vec<Transmit>) {
        self.counts.refreshes += 1;
        let Some(number) = self.choose(now, slot) else { return };
        let Some(query) = self.questions.get_mut(slot) else { return };
        let is_slow = self.upstreams.is_slow(&query.question.section, now);
        let upstream = self.upstreams.get(number);
        if upstream.is_some_and(|upstream| upstream.is_free(now, is_slow) && upstream.refreshes.is_empty()) {
            self.send_default(now, slot, number, out);
            self.plan(now, slot);
        } else {
            query.line = Some(number);
            self.upstreams.refresh_later(number, (slot, query.generation), end);
            self.counts.queued += 1;
            self.purge_queues(number);
        }
    }

    /// The upstream to ask: of those that answer at all and have not failed for this question, the one asked least often;
    /// of these in order of health and speed, then of the rule.
    fn choose(&self, now: Instant, slot: u32) -> Option<usize> {
        let query = self.questions.get(slot)?;
        if let [only] = *query.upstreams {
            return Some(only);
        }
        let health = |number: usize| self.upstreams.get(number).map(|upstream| &upstream.health);
        let is_down = |number: usize| health(number).is_none_or(|health| health.is_down());
        query.upstreams.iter().copied().min_by_key(|&number| {
            let rank = health(number).map(|health| health.rank(now));
            (is_down(number), query.has_failed(number), query.count_tries_of(number), rank)
        })
    }

    fn enqueue(&mut self, slot: u32, number: usize, client: IpAddr, is_slow: bool) {
        let Some(query) = self.questions.get_mut(slot) else { return };
        query.line = Some(number);
        query.next_try = None;
        query.has_left_line.set(false);
        query.waited_for_down |= self.upstreams.is_down(number);
        let is_first = std::mem::take(&mut query.is_abandoned);
        self.upstreams.enqueue(number, (slot, query.generation), client, is_slow, is_first);
        self.counts.queued += 1;
        self.purge_queues(number);
    }

    /// Keeps lines bounded: they may hold twice as many tickets as there can be questions, then those of questions that
    /// are done go.
    fn purge_queues(&mut self, number: usize) {
        let questions = &self.questions;
        self.upstreams.purge_queues(number, questions.bounds.tickets(), |&ticket| questions.is_live(ticket));
    }

    /// Sends the question also to an upstream of its rule that is down and due to be tried.
    fn probe_fallen(&mut self, now: Instant, slot: u32, but: usize, out: &mut Vec<Transmit>) {
        for place in 0.. {
            let Some(query) = self.questions.get(slot) else { return };
            let Some(&number) = query.upstreams.get(place) else { return };
            if number == but || query.last_asked(number).is_some() || query.count_tries() >= TRIES_MAX {
                continue;
            }
            let Some(upstream) = self.upstreams.get_mut(number) else { continue };
            if upstream.budget.allows(now) && upstream.health.take_probe(now) {
                self.send_default(now, slot, number, out);
            }
        }
    }

    /// When to try again: when the last try has had its time.
    pub(super) fn plan(&mut self, now: Instant, slot: u32) {
        let Some(query) = self.questions.get(slot) else { return };
        if query.count_tries() >= TRIES_MAX || query.waiters.is_empty() || query.line.is_some() {
            return self.cancel_timer(slot);
        }
        let counted = || query.round().iter().filter(|tried| !tried.is_rest);
        // An upstream that is down and was tried beside another one is not waited for.
        let is_up = |number: usize| self.upstreams.get(number).is_some_and(|upstream| !upstream.health.is_down());
        let last = counted().filter(|tried| is_up(tried.upstream)).max_by_key(|tried| tried.sent);
        let last = last.or_else(|| counted().max_by_key(|tried| tried.sent));
        let soon = now + Duration::from_millis(1);
        let at = match last.and_then(|last| Some((last, self.upstreams.get(last.upstream)?))) {
            Some((last, upstream)) => {
                let is_slow = !upstream.health.is_down() && self.upstreams.is_slow(&query.question.section, now);
                if is_slow && query.count_tries() >= 2 {
                    return self.cancel_timer(slot);
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

    pub(super) fn cancel_timer(&mut self, slot: u32) {
        if let Some(query) = self.questions.get_mut(slot) {
            query.next_try = None;
        }
    }

    fn plan_at(&mut self, slot: u32, at: Instant) {
        if let Some(query) = self.questions.get_mut(slot) {
            query.next_try = Some(at);
        }
    }

    /// Sends one try by the way that is due.
    fn send_default(&mut self, now: Instant, slot: u32, number: usize, out: &mut Vec<Transmit>) {
        if let Some(way) = self.way(now, slot, number) {
            self.send(now, slot, number, way, out);
        }
    }

    /// How the next try of a question is made: what stays unanswered may be lost, or swallowed because of what it carries.
    fn way(&mut self, now: Instant, slot: u32, number: usize) -> Option<Way> {
        let query = self.questions.get(slot)?;
        let upstream = self.upstreams.get_mut(number)?;
        let (usual, before) = (upstream.default_transport(), query.count_tries_of(number));
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
            2 if query.may_ask_by_stream(number) => Way::of(Via::Stream, form),
            3 if !is_azure_dns => Way::of(Via::Datagram, form.max(Form::WithoutOption)),
            // Who asks for DNSSEC has no use for an answer without.
            4 if !query.question.dnssec_ok => Way::of(Via::Datagram, Form::WithoutEdns),
            _ => Way::of(Via::Datagram, form),
        })
    }

    /// Sends one try, whatever the budget says: the caller has asked it, or it is the rest of an answer.
    pub(super) fn send(&mut self, now: Instant, slot: u32, number: usize, way: Way, out: &mut Vec<Transmit>) {
        let Some(query) = self.questions.get_mut(slot) else { return };
        let Ok(try_number) = u8::try_from(query.attempts.len()) else { return };
        let Way { via, form, is_rest, is_after_tc } = way;
        let is_first = query.attempts.len() == query.round_start;
        let taken = self.upstreams.take(now, number, &query.question.section, is_first);
        let Some((upstream, is_slow, may_become_slow)) = taken else { return };
        self.counts.sent += 1;
        let id = self.rng.next_u32() as u16;
        let is_azure_dns = upstream.target.is_azure_dns();
        let option = (!is_azure_dns && form == Form::Full)
            .then(|| self.guard.option(&query.question.section, &query.question.tokens));
        // By TCP too: there its answer confirms whether the upstream repeats the case.
        // A name without letters shows nothing, and is no trial.
        let draws = upstream.default_transport() == Via::Datagram
            && has_letters(&query.question.section)
            && match via {
                Via::Datagram => {
                    let came_back = query.attempts.iter().any(|tried| tried.came_back);
                    !query.keeps_case && (upstream.capabilities.draws_case(now, !is_azure_dns) || came_back)
                }
                Via::Stream => query.attempts.last().is_some_and(|tried| tried.case.is_some()),
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
        let losses_max = match upstream.default_transport() {
            Via::Stream => LOSSES_USUAL,
            Via::Datagram if query.count_streams_of(number) == 0 => LOSSES_OF_REST,
            Via::Datagram => 0,
        };
        out.push(Transmit {
            id: AttemptId { slot, generation: query.generation, number: try_number },
            to: upstream.target.address,
            protocol: upstream.target.protocol.clone(),
            via,
            ports: upstream.budget.limits.ports,
            message: write_query(&query.question, section, id, form, option.as_ref()),
            losses_max,
            deadline: closes,
        });
        query.attempts.push(Attempt {
            upstream: number,
            via,
            id,
            form,
            case,
            is_rest,
            is_after_tc,
            is_damaged: false,
            has_failed: false,
            came_back: false,
            sent: now,
            closes,
            slow_at: may_become_slow.then(|| now + SLOW_AFTER),
            is_slow,
            is_open: true,
            is_late: false,
        });
    }

    /// Sends what waits as far as budgets allow.
    pub(super) fn drain_queues(&mut self, now: Instant, out: &mut Vec<Transmit>) {
        for number in self.upstreams.all_numbers() {
            loop {
                let questions = &self.questions;
                let next = self.upstreams.pop_next(now, number, |&ticket, slow_zones| {
                    questions.of(ticket).is_some_and(|query| {
                        query.line == Some(number)
                            && !query.is_hopeless(now, slow_zones.expected(&query.question.section, now))
                    })
                });
                let Some((slot, _)) = next else { break };
                self.send_default(now, slot, number, out);
                self.plan(now, slot);
                self.questions.arm(slot);
            }
        }
    }

    /// When something is to be done first of what was put off since the last call.
    pub(super) fn take_new_timeout(&mut self, now: Instant) -> Option<Instant> {
        [self.questions.take_first_set(), self.upstreams.next_turn(now)].into_iter().flatten().min()
    }

    /// When something is to be done next.
    pub(super) fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        [self.questions.next_due(), self.upstreams.next_turn(now)].into_iter().flatten().min()
    }
}
