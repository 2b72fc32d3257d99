//! The state machine itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slab::Slab;

use super::budget::{Budget, Limits};
use super::health::Health;
use super::outstanding::{Judgement, OutstandingQuery, Try, judge, judge_stream, write_query};
use super::queue::FairQueue;
use super::rule::{ForwardRule, Protocol, Target};

/// Tries per question.
const TRIES_MAX: usize = 4;
/// After how long a single upstream is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(1000);
/// After how long the next of several is asked.
const NEXT_AFTER: Duration = Duration::from_millis(300);
/// After how long a question looks for a budget again that it lacked for a repeat.
const BUDGET_RETRY: Duration = Duration::from_millis(100);
/// Questions outstanding at once.
const OUTSTANDING_MAX: usize = 8192;
/// Clients waiting for one question.
const WAITERS_MAX: usize = 4096;

/// How a try is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A datagram from a socket of its own.
    Datagram,
    /// A TCP connection.
    Stream,
}

/// A try: which question, and which of its tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TryId {
    slot: u32,
    generation: u32,
    number: u8,
}

/// A question for upstream.
pub struct Ask<'a, W> {
    /// What tells it from other questions.
    pub key: &'a [u8],
    /// Name as the client asked it, type, class: the question section.
    pub question: &'a [u8],
    /// DO.
    pub dnssec_ok: bool,
    /// CD.
    pub checking_disabled: bool,
    /// The rule that applies.
    pub rule: &'a Arc<ForwardRule>,
    /// Until when an answer is of use.
    pub deadline: Instant,
    /// Whose turn it takes while it waits for a budget.
    pub client: IpAddr,
    /// Who waits for it.
    pub waiter: W,
}

/// A query to be sent.
#[derive(Debug)]
pub struct Transmit {
    /// What to say when something comes back.
    pub id: TryId,
    /// Whereto.
    pub to: SocketAddr,
    /// How.
    pub via: Via,
    /// The message.
    pub message: Vec<u8>,
    /// Until when an answer is of use.
    pub deadline: Instant,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No upstream answered in time.
    Silence,
    /// No upstream could be reached.
    Unreachable,
    /// Too many questions, or clients of this one, are waiting already.
    Overload,
}

/// A question that is done.
#[derive(Debug)]
pub struct Settled<W> {
    /// Its key.
    pub key: Box<[u8]>,
    /// The upstream's answer, accepted and whole, or why there is none.
    pub outcome: Result<Vec<u8>, Failure>,
    /// All who waited.
    pub waiters: Vec<W>,
}

/// What is to be done after a call.
#[derive(Debug)]
pub struct Outbox<W> {
    /// Queries to send.
    pub transmits: Vec<Transmit>,
    /// Questions to answer.
    pub settled: Vec<Settled<W>>,
}

impl<W> Default for Outbox<W> {
    fn default() -> Self {
        Self {
            transmits: Vec::new(),
            settled: Vec::new(),
        }
    }
}

/// Whether the socket of a try is still of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Keep listening: this was not it.
    Listen,
    /// The try is over: close its socket.
    Done,
}

/// Counts of what was heard, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardCounts {
    /// Queries sent.
    pub sent: u64,
    /// Questions that joined one outstanding.
    pub joined: u64,
    /// Datagrams that matched no try.
    pub unrelated: u64,
    /// Datagrams from the right place with the wrong ID or case.
    pub suspicious: u64,
    /// Answers that were cut and asked for again by TCP.
    pub cut: u64,
}

struct Upstream {
    target: Target,
    health: Health,
    budget: Budget,
    /// Questions that wait for the budget.
    line: FairQueue<(u32, u32)>,
}

/// The forwarding state machine; `W` is whatever waits for answers.
pub struct Forwarding<W> {
    outstanding: Slab<OutstandingQuery<W>>,
    by_key: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    upstreams: Vec<Upstream>,
    upstream_by_target: HashMap<Target, usize>,
    limits: HashMap<SocketAddr, Limits>,
    /// (when, slot, generation), the next first. Entries may be out of date: then they do nothing.
    timers: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    generation: u32,
    rng: StdRng,
    counts: ForwardCounts,
}

impl<W> Forwarding<W> {
    /// A machine with nothing outstanding. `seed` comes from the operating system's source of randomness.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            outstanding: Slab::new(),
            by_key: HashMap::default(),
            upstreams: Vec::new(),
            upstream_by_target: HashMap::new(),
            limits: HashMap::new(),
            timers: BinaryHeap::new(),
            generation: 0,
            rng: StdRng::from_seed(seed),
            counts: ForwardCounts::default(),
        }
    }

    /// Sets the budgets of upstream addresses; addresses that are not named have none.
    pub fn set_limits(&mut self, limits: HashMap<SocketAddr, Limits>) {
        for upstream in &mut self.upstreams {
            upstream.budget.limits = limits.get(&upstream.target.address).copied().unwrap_or_default();
        }
        self.limits = limits;
    }

    /// Takes a question: joins the same one outstanding, or sends it, or lets it wait its turn.
    pub fn ask(&mut self, now: Instant, ask: Ask<'_, W>, out: &mut Outbox<W>) {
        if let Some(query) = self
            .by_key
            .get(ask.key)
            .and_then(|&slot| self.outstanding.get_mut(slot as usize))
        {
            if query.waiters.len() < WAITERS_MAX {
                self.counts.joined += 1;
                query.waiters.push(ask.waiter);
            } else {
                out.settled.push(Settled {
                    key: ask.key.into(),
                    outcome: Err(Failure::Overload),
                    waiters: vec![ask.waiter],
                });
            }
            return;
        }
        if self.outstanding.len() >= OUTSTANDING_MAX || ask.rule.upstreams.is_empty() {
            out.settled.push(Settled {
                key: ask.key.into(),
                outcome: Err(Failure::Overload),
                waiters: vec![ask.waiter],
            });
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let slot = self.outstanding.insert(OutstandingQuery {
            generation,
            key: ask.key.into(),
            question: ask.question.into(),
            dnssec_ok: ask.dnssec_ok,
            checking_disabled: ask.checking_disabled,
            client: ask.client,
            rule: ask.rule.clone(),
            waiters: vec![ask.waiter],
            deadline: ask.deadline,
            tries: Vec::with_capacity(1),
            next_try: None,
            is_waiting: false,
            without_edns: false,
            is_suspicious: false,
            held: None,
            failure: None,
            was_unreachable: false,
        }) as u32;
        self.by_key.insert(ask.key.into(), slot);
        self.timers.push(Reverse((ask.deadline, slot, generation)));
        self.try_next(now, slot, out);
    }

    /// Takes what came back for a try.
    pub fn heard(&mut self, now: Instant, id: TryId, bytes: Vec<u8>, out: &mut Outbox<W>) -> Heard {
        let Some((query, tried)) = self.try_mut(id) else {
            return Heard::Done;
        };
        if !tried.is_open {
            return Heard::Done;
        }
        let with_edns = !query.without_edns;
        let (via, upstream, sent) = (tried.via, tried.upstream, tried.sent);
        let judgement = match via {
            Via::Datagram => judge(&bytes, tried.id, &query.question, with_edns),
            Via::Stream => judge_stream(&bytes, tried.id, &query.question, with_edns),
        };
        match judgement {
            Judgement::Unrelated | Judgement::Suspicious if via == Via::Stream => {
                return self.failed(now, id, out);
            }
            Judgement::Unrelated => {
                self.counts.unrelated += 1;
                return Heard::Listen;
            }
            Judgement::Suspicious => {
                self.counts.suspicious += 1;
                self.suspect(now, id.slot, upstream, out);
                return Heard::Listen;
            }
            Judgement::Cut | Judgement::NoEdns | Judgement::Failure | Judgement::Answer => {}
        }
        self.close_try(id);
        if let Some(upstream) = self.upstreams.get_mut(upstream) {
            upstream.health.heard(now.saturating_duration_since(sent), now);
        }
        match judgement {
            Judgement::Cut if via == Via::Datagram => {
                self.counts.cut += 1;
                self.ask_by_stream(now, id.slot, upstream, out);
            }
            Judgement::Cut => self.give_up_try(now, id.slot, out),
            Judgement::NoEdns => {
                if let Some(query) = self.outstanding.get_mut(id.slot as usize) {
                    query.without_edns = true;
                }
                self.send(now, id.slot, upstream, via, out);
            }
            Judgement::Failure => {
                if let Some(query) = self.outstanding.get_mut(id.slot as usize) {
                    query.failure = Some(bytes);
                }
                self.give_up_try(now, id.slot, out);
            }
            Judgement::Answer | Judgement::Unrelated | Judgement::Suspicious => {
                self.take_answer(id.slot, via, bytes, out)
            }
        }
        self.serve_lines(now, out);
        Heard::Done
    }

    /// Takes that a try could not be carried out: refused, no route, or the connection broke.
    pub fn failed(&mut self, now: Instant, id: TryId, out: &mut Outbox<W>) -> Heard {
        let Some((query, tried)) = self.try_mut(id) else {
            return Heard::Done;
        };
        if !tried.is_open {
            return Heard::Done;
        }
        let (via, upstream) = (tried.via, tried.upstream);
        query.was_unreachable = true;
        self.close_try(id);
        // TCP may be closed to us where UDP is not (an old guest agent's firewall rule): no fault of the upstream.
        if via == Via::Datagram
            && let Some(upstream) = self.upstreams.get_mut(upstream)
        {
            upstream.health.failed(now);
        }
        self.give_up_try(now, id.slot, out);
        self.serve_lines(now, out);
        Heard::Done
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox<W>) {
        while let Some(&Reverse((at, slot, generation))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(query) = self
                .outstanding
                .get(slot as usize)
                .filter(|query| query.generation == generation)
            else {
                continue;
            };
            if query.deadline <= now {
                self.run_out(now, slot, out);
            } else if query.next_try.is_some_and(|next| next <= now) {
                self.mark_late(now, slot);
                self.try_next(now, slot, out);
            }
        }
        self.serve_lines(now, out);
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let timer = self.timers.peek().map(|Reverse((at, _, _))| *at);
        let lines = self
            .upstreams
            .iter()
            .filter(|upstream| !upstream.line.is_empty() && upstream.budget.has_place());
        let turn = lines.map(|upstream| now + upstream.budget.wait(now)).min();
        [timer, turn].into_iter().flatten().min()
    }

    /// What was counted so far.
    pub fn counts(&self) -> ForwardCounts {
        self.counts
    }

    /// Questions outstanding or waiting.
    pub fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether nothing is outstanding.
    pub fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Asks the next upstream that should be asked, if a try is left.
    fn try_next(&mut self, now: Instant, slot: u32, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get(slot as usize) else {
            return;
        };
        if count_tries(query) >= TRIES_MAX {
            return self.plan(now, slot);
        }
        let rule = query.rule.clone();
        let Some(upstream) = self.choose(now, slot, &rule) else {
            return self.plan(now, slot);
        };
        let first = query_is_new(self.outstanding.get(slot as usize));
        let allowed = self
            .upstreams
            .get(upstream)
            .is_some_and(|upstream| upstream.budget.allows(now) && (!first || upstream.line.is_empty()));
        if allowed {
            let via = self.usual_way(upstream);
            self.send(now, slot, upstream, via, out);
            self.probe_fallen(now, slot, &rule, upstream, out);
            return self.plan(now, slot);
        }
        if first {
            let Some(query) = self.outstanding.get_mut(slot as usize) else {
                return;
            };
            query.is_waiting = true;
            let (client, generation) = (query.client, query.generation);
            if let Some(upstream) = self.upstreams.get_mut(upstream) {
                upstream.line.push(client, (slot, generation));
            }
        } else {
            self.plan_at(slot, now + BUDGET_RETRY);
        }
    }

    /// The upstream to ask: one that this question has not asked yet, in order of health and speed, then of the rule;
    /// else the one asked longest ago, once it has had its time.
    fn choose(&mut self, now: Instant, slot: u32, rule: &ForwardRule) -> Option<usize> {
        let numbers: Vec<usize> = rule
            .upstreams
            .iter()
            .map(|target| self.upstream_number(target))
            .collect();
        let query = self.outstanding.get(slot as usize)?;
        let last_asked = |upstream: usize| {
            query
                .tries
                .iter()
                .filter(|tried| tried.upstream == upstream)
                .map(|tried| tried.sent)
                .max()
        };
        let rank = |upstream: usize| self.upstreams.get(upstream).map(|upstream| upstream.health.rank(now));
        let fresh = numbers
            .iter()
            .copied()
            .filter(|&upstream| last_asked(upstream).is_none())
            .min_by_key(|&upstream| rank(upstream));
        fresh.or_else(|| {
            let oldest = numbers.iter().copied().min_by_key(|&upstream| last_asked(upstream))?;
            let waited = now.saturating_duration_since(last_asked(oldest)?);
            (waited >= AGAIN_AFTER).then_some(oldest)
        })
    }

    /// Sends the question also to an upstream of its rule that is down and due to be tried.
    fn probe_fallen(&mut self, now: Instant, slot: u32, rule: &ForwardRule, but: usize, out: &mut Outbox<W>) {
        for target in &rule.upstreams {
            let upstream = self.upstream_number(target);
            let Some(query) = self.outstanding.get(slot as usize) else {
                return;
            };
            let asked = query.tries.iter().any(|tried| tried.upstream == upstream);
            if upstream == but || asked || count_tries(query) >= TRIES_MAX {
                continue;
            }
            let Some(known) = self.upstreams.get_mut(upstream) else {
                continue;
            };
            if known.budget.allows(now) && known.health.take_probe(now) {
                let via = self.usual_way(upstream);
                self.send(now, slot, upstream, via, out);
            }
        }
    }

    /// When to try again: the next of several soon, the same one after a while.
    fn plan(&mut self, now: Instant, slot: u32) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        query.next_try = None;
        if count_tries(query) >= TRIES_MAX {
            return;
        }
        let asked = |target: &Target| {
            let number = self.upstream_by_target.get(target).copied();
            query
                .tries
                .iter()
                .filter(|tried| Some(tried.upstream) == number)
                .map(|tried| tried.sent)
                .max()
        };
        let last_of_each: Vec<Option<Instant>> = query.rule.upstreams.iter().map(asked).collect();
        let at = if last_of_each.contains(&None) {
            now + NEXT_AFTER
        } else {
            last_of_each
                .into_iter()
                .flatten()
                .min()
                .map_or(now, |oldest| (oldest + AGAIN_AFTER).max(now + Duration::from_millis(1)))
        };
        self.plan_at(slot, at);
    }

    fn plan_at(&mut self, slot: u32, at: Instant) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        query.next_try = Some(at);
        if at < query.deadline {
            self.timers.push(Reverse((at, slot, query.generation)));
        }
    }

    /// Sends one try, whatever the budget says: whoever calls has asked it, or it is the rest of an answer.
    fn send(&mut self, now: Instant, slot: u32, upstream: usize, via: Via, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        let Some(known) = self.upstreams.get_mut(upstream) else {
            return;
        };
        known.budget.take(now);
        self.counts.sent += 1;
        let id = self.rng.next_u32() as u16;
        let number = query.tries.len() as u8;
        out.transmits.push(Transmit {
            id: TryId {
                slot,
                generation: query.generation,
                number,
            },
            to: known.target.address,
            via,
            message: write_query(query, id),
            deadline: query.deadline,
        });
        query.tries.push(Try {
            upstream,
            via,
            id,
            sent: now,
            is_open: true,
            is_late: false,
        });
        query.is_waiting = false;
    }

    fn usual_way(&self, upstream: usize) -> Via {
        match self.upstreams.get(upstream).map(|upstream| &upstream.target.protocol) {
            Some(Protocol::Tcp) => Via::Stream,
            Some(Protocol::Datagram) | None => Via::Datagram,
        }
    }

    /// Somebody may be guessing IDs: TCP is asked at once, and decides.
    fn suspect(&mut self, now: Instant, slot: u32, upstream: usize, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        if !query.is_suspicious {
            query.is_suspicious = true;
            self.ask_by_stream(now, slot, upstream, out);
        }
    }

    fn ask_by_stream(&mut self, now: Instant, slot: u32, upstream: usize, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get(slot as usize) else {
            return;
        };
        let under_way = query
            .tries
            .iter()
            .any(|tried| tried.is_open && tried.via == Via::Stream && tried.upstream == upstream);
        if !under_way {
            self.send(now, slot, upstream, Via::Stream, out);
        }
    }

    fn take_answer(&mut self, slot: u32, via: Via, bytes: Vec<u8>, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        let stream_decides = query
            .tries
            .iter()
            .any(|tried| tried.is_open && tried.via == Via::Stream);
        if query.is_suspicious && via == Via::Datagram && stream_decides {
            query.held = Some(bytes);
            return;
        }
        self.settle(slot, Ok(bytes), out);
    }

    /// A try came to nothing: the next one at once where there is an upstream not asked yet, else what is left.
    fn give_up_try(&mut self, now: Instant, slot: u32, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        let stream_open = query
            .tries
            .iter()
            .any(|tried| tried.is_open && tried.via == Via::Stream);
        if !stream_open && let Some(held) = query.held.take() {
            return self.settle(slot, Ok(held), out);
        }
        let asked: Vec<usize> = query.tries.iter().map(|tried| tried.upstream).collect();
        let rule = query.rule.clone();
        let others_left = rule
            .upstreams
            .iter()
            .any(|target| !asked.contains(&self.upstream_number(target)));
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        if others_left && count_tries(query) < TRIES_MAX {
            return self.try_next(now, slot, out);
        }
        if query.tries.iter().any(|tried| tried.is_open) {
            return;
        }
        match query.failure.take() {
            Some(failure) => self.settle(slot, Ok(failure), out),
            // An upstream that restarts refuses for a moment: the tries left are made at their time.
            None if query.next_try.is_some() => {}
            None => self.run_out(now, slot, out),
        }
    }

    /// The patience is over.
    fn run_out(&mut self, now: Instant, slot: u32, out: &mut Outbox<W>) {
        self.mark_late(now, slot);
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        let outcome = match query.held.take().or_else(|| query.failure.take()) {
            Some(answer) => Ok(answer),
            None if query.was_unreachable => Err(Failure::Unreachable),
            None => Err(Failure::Silence),
        };
        self.settle(slot, outcome, out);
    }

    /// Tells upstreams of tries that were not answered in their time.
    fn mark_late(&mut self, now: Instant, slot: u32) {
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        for tried in &mut query.tries {
            if tried.is_open && !tried.is_late && tried.via == Via::Datagram {
                tried.is_late = true;
                if let Some(upstream) = self.upstreams.get_mut(tried.upstream) {
                    upstream.health.failed(now);
                }
            }
        }
    }

    fn settle(&mut self, slot: u32, outcome: Result<Vec<u8>, Failure>, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.try_remove(slot as usize) else {
            return;
        };
        self.by_key.remove(&query.key);
        for tried in query.tries.iter().filter(|tried| tried.is_open) {
            if let Some(upstream) = self.upstreams.get_mut(tried.upstream) {
                upstream.budget.give_back();
            }
        }
        out.settled.push(Settled {
            key: query.key,
            outcome,
            waiters: query.waiters,
        });
    }

    /// Sends what waits as far as budgets allow.
    fn serve_lines(&mut self, now: Instant, out: &mut Outbox<W>) {
        for number in 0..self.upstreams.len() {
            while let Some(upstream) = self.upstreams.get_mut(number) {
                if upstream.line.is_empty() || !upstream.budget.allows(now) {
                    break;
                }
                let Some((slot, generation)) = upstream.line.pop() else {
                    break;
                };
                let waits = self
                    .outstanding
                    .get(slot as usize)
                    .is_some_and(|query| query.generation == generation && query.is_waiting);
                if waits {
                    let via = self.usual_way(number);
                    self.send(now, slot, number, via, out);
                    self.plan(now, slot);
                }
            }
        }
    }

    fn upstream_number(&mut self, target: &Target) -> usize {
        if let Some(&number) = self.upstream_by_target.get(target) {
            return number;
        }
        let limits = self.limits.get(&target.address).copied().unwrap_or_default();
        let number = self.upstreams.len();
        self.upstreams.push(Upstream {
            target: target.clone(),
            health: Health::default(),
            budget: Budget::new(limits),
            line: FairQueue::new(),
        });
        self.upstream_by_target.insert(target.clone(), number);
        number
    }

    fn try_mut(&mut self, id: TryId) -> Option<(&mut OutstandingQuery<W>, TryView)> {
        let query = self
            .outstanding
            .get_mut(id.slot as usize)
            .filter(|query| query.generation == id.generation)?;
        let tried = query.tries.get(id.number as usize)?;
        let view = TryView {
            upstream: tried.upstream,
            via: tried.via,
            id: tried.id,
            sent: tried.sent,
            is_open: tried.is_open,
        };
        Some((query, view))
    }

    fn close_try(&mut self, id: TryId) {
        let Some(query) = self.outstanding.get_mut(id.slot as usize) else {
            return;
        };
        let Some(tried) = query.tries.get_mut(id.number as usize) else {
            return;
        };
        if std::mem::replace(&mut tried.is_open, false)
            && let Some(upstream) = self.upstreams.get_mut(tried.upstream)
        {
            upstream.budget.give_back();
        }
    }
}

/// A try, copied.
struct TryView {
    upstream: usize,
    via: Via,
    id: u16,
    sent: Instant,
    is_open: bool,
}

fn query_is_new<W>(query: Option<&OutstandingQuery<W>>) -> bool {
    query.is_some_and(|query| query.tries.is_empty())
}

/// Tries that count: TCP after a datagram of the same upstream is the rest of that try.
fn count_tries<W>(query: &OutstandingQuery<W>) -> usize {
    let datagrams = query.tries.iter().filter(|tried| tried.via == Via::Datagram).count();
    if datagrams > 0 { datagrams } else { query.tries.len() }
}
