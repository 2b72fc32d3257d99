//! The state machine: what comes in, what is due, and who gets which answer. It alone knows the parts that it is made of:
//!
//! ```text
//!                 Forwarding                 what is asked of it, what is due, what those who wait get
//!                 │        │
//!          Clients        Tries              places and pace  │  tries and what came of them (tries, answers)
//!                         │    │
//!                 Questions    Upstreams     outstanding, timers, failures  │  health, budget, lines, slow zones
//! ```

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::{SmallVec, smallvec};

use super::answers::Came;
use super::attempts::{AGAIN_AFTER, Tries};
use super::bounds::ForwardBounds;
use super::budget::Limits;
use super::clients::{Clients, Lengths};
use super::loops::is_loop;
use super::outstanding::OutstandingQuery;
use super::question::{
    Answered, Arrival, AttemptId, AttemptState, ClientQuery, Delivery, Failure, ForwardCounts, News, Numbers, Outbox,
    Outcome, Question, ReleasedWaiter, Resolved, Stale, Trouble, Turn, UpstreamState, Waiting,
};
use super::questions::{KEEP, Questions};
use super::rule::Target;
use super::token::LoopGuard;
use super::upstream::SILENT;
use super::upstreams::Upstreams;
use crate::wire::header::Header;
use crate::wire::{Rcode, UpstreamMessage};

/// How long a client is let wait before it gets the stale answer at hand (RFC 8767 §5).
const CLIENT_TIMER: Duration = Duration::from_millis(1800);
/// How much longer a repeat waits for an upstream that does not respond: who was told so after 4.5 s and asks again has the
/// timeout of 5 s that resolvers have, and no other attempt after this one.
const REPEAT_EXTRA: Duration = Duration::from_millis(400);
/// Clients waiting for one question.
const WAITERS_MAX: usize = 4096;
/// Tries after which a question is forgotten and begun again.
const TRIES_KEPT: usize = 64;

/// The forwarding state machine; `W` is whatever waits for answers.
pub struct Forwarding<W> {
    attempts: Tries<W>,
    clients: Clients,
}

/// Whether a message that was accepted says that its upstream failed.
fn says_failure(message: &UpstreamMessage) -> bool {
    Header::read(&message.bytes).is_none_or(|header| !matches!(header.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN))
}

impl<W> Forwarding<W> {
    /// A machine with nothing outstanding. `seed` comes from the operating system's source of randomness; `guard` is the
    /// one that incoming queries are held against.
    pub fn new(seed: [u8; 32], guard: LoopGuard) -> Self {
        let questions = Questions::new(ForwardBounds::MOST, 0);
        let attempts = Tries::new(questions, Upstreams::default(), guard, seed);
        Self { attempts, clients: Clients::new(ForwardBounds::MOST) }
    }

    /// Has other bounds from now on; what is there stays.
    pub fn set_bounds(&mut self, bounds: ForwardBounds) {
        self.attempts.questions.bounds = bounds;
        self.clients.bounds = bounds;
    }

    /// Sets the budgets of upstream addresses; addresses that are not named have none.
    pub fn set_limits(&mut self, limits: HashMap<SocketAddr, Limits>) {
        self.attempts.upstreams.set_limits(limits);
    }

    /// Takes a question that a client waits for: joins the same one outstanding, sends it, lets it wait its turn, or
    /// answers the client with the stale answer at hand.
    pub fn ask(&mut self, now: Instant, question: Box<Question>, client_query: ClientQuery<W>, out: &mut Outbox<W>) {
        let Tries { questions, upstreams, .. } = &mut self.attempts;
        let hash = questions.hash(&question.key);
        let mut known = questions.find(hash, &question.key);
        let numbers = upstreams.numbers(&question.rule);
        if is_loop(questions, upstreams, &question, client_query.client, known) {
            // Not even a stale answer: it would come back as a new one.
            return release(None, Err(Failure::Loop), client_query.waiter, false, out);
        }
        let is_spent = |query: &OutstandingQuery<W>| query.waiters.is_empty() && query.attempts.len() >= TRIES_KEPT;
        if let Some(slot) = known
            && questions.get(slot).is_some_and(is_spent)
        {
            self.end(now, slot, Err(Failure::Silence), out);
            known = None;
        }
        let Tries { questions, upstreams, .. } = &mut self.attempts;
        let is_down = upstreams.are_down(&numbers);
        if known.is_none()
            && let Some(failed) = questions.failures.recall(&question.key, now)
        {
            let answer =
                failed.answer.as_ref().map(|answer| Box::new(UpstreamMessage::accepted_before(answer.to_vec())));
            let outcome = answer.map(|message| Answered { question, message }).ok_or(Failure::Remembered);
            return reject(now, client_query, is_down, outcome, out);
        }
        if is_down
            && known.is_none()
            && let Some(detail) = upstreams.certain_failure(now, &numbers)
        {
            let use_stale = client_query.stale.is_some_and(|stale| stale.may_serve(now, is_down));
            return release(Some(detail), Err(Failure::Unreachable), client_query.waiter, use_stale, out);
        }
        let would_wait = match known.and_then(|slot| questions.get(slot)) {
            // Others have waited for it as long as one waits who has a stale answer (RFC 8767 §5): it would not come sooner for this one.
            Some(query) => query.line.is_some() || is_down || query.is_open_for(CLIENT_TIMER, now),
            None => !upstreams.could_send(now, &question.section, &numbers),
        };
        if would_wait && client_query.stale.is_some_and(|stale| stale.may_serve(now, is_down)) {
            return self.serve_stale(now, question, known, client_query, out);
        }
        if self.clients.has_too_many(client_query.client) {
            self.make_place(now, client_query.client, out);
        }
        if self.clients.are_full() {
            return reject(now, client_query, is_down, Err(Failure::Overload), out);
        }
        let full = |query: &OutstandingQuery<W>| query.waiters.len() >= WAITERS_MAX;
        let slot = match known {
            Some(slot) if self.attempts.questions.get(slot).is_none_or(full) => {
                return reject(now, client_query, is_down, Err(Failure::Overload), out);
            }
            Some(slot) => slot,
            None if !self.make_room(now, &numbers, out) => {
                return reject(now, client_query, is_down, Err(Failure::Overload), out);
            }
            None => self.attempts.questions.start(now, question, hash, numbers),
        };
        let Some(query) = self.attempts.questions.get_mut(slot) else { return };
        let had_no_waiter = query.waiters.is_empty() || query.has_left_line.get();
        // Only for what follows: waiters are in the order of their deadlines.
        query.is_repeated |= known.is_some() && had_no_waiter && is_down;
        query.keep_until = query.keep_until.max(now + KEEP);
        query.queries = query.queries.saturating_add(1);
        query.has_stale |= client_query.stale.is_some();
        let client = client_query.client;
        let mut client_query = Waiting::from(client_query);
        client_query.stale_at = client_query.stale.map(|_| now + CLIENT_TIMER);
        if query.is_repeated {
            client_query.deadline += REPEAT_EXTRA;
        }
        // A client that has come through a CNAME chain has waited before: its deadline may be the earliest.
        let place = query.waiters.partition_point(|waiting| waiting.deadline <= client_query.deadline);
        let is_shared = query.line.is_some()
            && query.waiters.iter().any(|waiting| waiting.client != client)
            && !self.attempts.upstreams.is_slow(&query.question.section, now);
        query.waiters.insert(place, client_query);
        let (ticket, waiters, line) = ((slot, query.generation), query.waiters.len(), query.line);
        let Tries { questions, counts, upstreams, .. } = &mut self.attempts;
        if is_shared && let Some(upstream) = line.and_then(|number| upstreams.get_mut(number)) {
            upstream.is_shared(ticket, waiters);
        }
        self.clients.acquire(now, client, ticket, |ticket| questions.is_live(ticket));
        if known.is_none() {
            self.attempts.try_next(now, slot, client, &mut out.transmits);
        } else {
            counts.joined += 1;
            if had_no_waiter {
                self.attempts.new_round(now, slot, client, &mut out.transmits);
            }
        }
        self.attempts.questions.arm(slot);
    }

    /// Takes a question that no client waits for: an answer in the cache expired (`stale`), or is about to. The latter is
    /// asked only where there is room.
    pub fn refresh(&mut self, now: Instant, question: Box<Question>, stale: Option<Stale>, out: &mut Outbox<W>) {
        let Tries { questions, upstreams, .. } = &mut self.attempts;
        let hash = questions.hash(&question.key);
        if questions.find(hash, &question.key).is_some() || questions.failures.recall(&question.key, now).is_some() {
            return;
        }
        let numbers = upstreams.numbers(&question.rule);
        if (stale.is_none() && !upstreams.have_room(now, &numbers)) || !self.make_room(now, &numbers, out) {
            return;
        }
        let slot = self.attempts.questions.start(now, question, hash, numbers);
        let end = stale.map_or(now + KEEP, |stale| stale.until);
        self.attempts.refresh(now, slot, end, &mut out.transmits);
        self.attempts.questions.arm(slot);
    }

    /// Whether the question with this key failed a moment ago and is not asked again yet (RFC 9520), and the failing
    /// answer where there was one.
    pub fn remembered_failure(&self, now: Instant, key: &[u8]) -> Option<Option<Arc<[u8]>>> {
        self.attempts.questions.failures.recall(key, now).map(|failed| failed.answer.clone())
    }

    /// Takes what came back for a try. It was read before the lock on this machine was taken.
    pub fn on_response(&mut self, now: Instant, id: AttemptId, arrival: Arrival, out: &mut Outbox<W>) -> AttemptState {
        let came = self.attempts.on_response(now, id, arrival, &mut out.transmits);
        self.go_on(now, id, came, out)
    }

    /// Takes that a try could not be carried out: refused, no route, or the connection broke.
    pub fn failed(&mut self, now: Instant, id: AttemptId, trouble: &Trouble, out: &mut Outbox<W>) -> AttemptState {
        let came = self.attempts.failed(now, id, trouble, &mut out.transmits);
        self.go_on(now, id, came, out)
    }

    fn go_on(&mut self, now: Instant, id: AttemptId, came: Came, out: &mut Outbox<W>) -> AttemptState {
        match came {
            Came::Listen => return AttemptState::Open,
            Came::Late => {}
            Came::Over(outcome) => {
                if let Some(outcome) = outcome {
                    self.end(now, id.slot, outcome, out);
                }
                self.attempts.questions.arm(id.slot);
                self.attempts.drain_queues(now, &mut out.transmits);
            }
        }
        AttemptState::Over
    }

    /// Counts datagrams with a wrong ID beyond the first of their socket, which were not looked at.
    pub fn count_ignored(&mut self, datagrams: u64) {
        self.attempts.counts.suspicious += datagrams;
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox<W>) {
        while let Some(slot) = self.attempts.questions.take_due(now) {
            self.handle_timeouts(now, slot, out);
            self.attempts.questions.arm(slot);
        }
        self.attempts.drain_queues(now, &mut out.transmits);
    }

    fn handle_timeouts(&mut self, now: Instant, slot: u32, out: &mut Outbox<W>) {
        self.attempts.look_at(now, slot);
        self.expire_waiters(now, slot, out);
        let Some(query) = self.attempts.questions.get(slot) else { return };
        if query.waiters.is_empty() && query.keep_until <= now {
            return self.end(now, slot, Err(Failure::Silence), out);
        }
        if query.next_try.is_some_and(|next| next <= now) {
            let client = query.waiters.first().map(|waiting| waiting.client);
            self.attempts.mark_late(now, slot);
            match client {
                Some(client) => self.attempts.try_next(now, slot, client, &mut out.transmits),
                None => self.attempts.cancel_timer(slot),
            }
        }
    }

    /// When to call [`Self::handle_timeout`] because of what changed since the last call of this; what was known before stays.
    pub fn take_new_timeout(&mut self, now: Instant) -> Option<Instant> {
        self.attempts.take_new_timeout(now)
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        self.attempts.next_timeout(now)
    }

    /// Whether a reply may leave whose turn it was to be; its query waits no longer then. Else when to ask again: what left
    /// before it left late.
    pub fn may_leave(&mut self, now: Instant, client: IpAddr, turn: Turn) -> Result<(), Instant> {
        self.clients.may_leave(now, client, turn)
    }

    /// Begins again with nothing outstanding and nothing known of upstreams, because what it knows is in doubt or the
    /// server ends. Gives what was asked, for each client that waits.
    pub fn start_over(&mut self) -> Vec<(Box<Question>, ClientQuery<W>)> {
        let fresh = self.attempts.renewed();
        let old = std::mem::replace(&mut self.attempts, fresh);
        let clients = std::mem::replace(&mut self.clients, Clients::new(old.questions.bounds));
        let mut asked = Vec::with_capacity(clients.waiting());
        for OutstandingQuery { question, waiters, .. } in old.questions.into_all() {
            for Waiting { waiter, client, deadline, stale, is_datagram, beside, .. } in waiters {
                asked.push((question.clone(), ClientQuery { waiter, client, deadline, stale, is_datagram, beside }));
            }
        }
        asked
    }

    /// What was counted so far.
    pub fn counts(&self) -> ForwardCounts {
        self.attempts.counts
    }

    /// Questions outstanding or waiting.
    pub fn len(&self) -> usize {
        self.attempts.questions.len()
    }

    /// Whether nothing is outstanding.
    pub fn is_empty(&self) -> bool {
        self.attempts.questions.is_empty()
    }

    /// Whether a client waits.
    pub fn has_waiters(&self) -> bool {
        !self.clients.are_gone()
    }

    /// The state of every upstream that was ever asked.
    pub fn upstream_states(&self) -> impl Iterator<Item = UpstreamState> {
        self.attempts.upstreams.states()
    }

    /// Whether anything was ever heard from an upstream.
    pub fn has_responded(&self, target: &Target) -> bool {
        self.attempts.upstreams.has_responded(target)
    }

    /// Which upstreams stopped answering or answer again, since the last call.
    pub fn take_news(&mut self) -> Vec<News> {
        self.attempts.upstreams.take_news()
    }

    #[cfg(test)]
    pub(super) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Whether there is room for another question, and an upstream to ask. Where there is none, a question that no client
    /// waits for any more makes room.
    fn make_room(&mut self, now: Instant, numbers: &Numbers, out: &mut Outbox<W>) -> bool {
        if numbers.is_empty() || !self.attempts.questions.is_full() {
            return !numbers.is_empty();
        }
        let idle = self.attempts.questions.take_idle();
        if let Some(slot) = idle {
            self.end(now, slot, Err(Failure::BudgetTimeout), out);
        }
        idle.is_some()
    }

    /// The one that waited longest of a client's gives its place to a new one: it has the least time left.
    fn make_place(&mut self, now: Instant, client: IpAddr, out: &mut Outbox<W>) {
        let Tries { questions, upstreams, .. } = &mut self.attempts;
        while let Some(ticket) = self.clients.take_oldest(client) {
            let Some(query) = questions.of_mut(ticket) else { continue };
            let Some(at) = query.waiters.iter().position(|waiting| waiting.client == client) else { continue };
            let waiting = query.waiters.remove(at);
            let is_down = upstreams.are_down(&query.upstreams);
            let use_stale = waiting.stale.is_some_and(|stale| stale.may_serve(now, is_down));
            self.clients.leave(client);
            return release(None, Err(Failure::BudgetTimeout), waiting.waiter, use_stale, out);
        }
    }

    /// Answers a client with the stale answer at hand, and sees to it that the question is asked.
    fn serve_stale(
        &mut self,
        now: Instant,
        question: Box<Question>,
        known: Option<u32>,
        client_query: ClientQuery<W>,
        out: &mut Outbox<W>,
    ) {
        let (client, stale) = (client_query.client, client_query.stale);
        release(None, Err(Failure::BudgetTimeout), client_query.waiter, true, out);
        if let Some(slot) = known {
            // Its tries may be lost: a client that asks keeps the question alive, so that the upstream's return is seen.
            if self.attempts.questions.get(slot).is_some_and(|query| query.attempts.len() < TRIES_KEPT) {
                self.attempts.new_round(now, slot, client, &mut out.transmits);
                return self.attempts.questions.arm(slot);
            }
            self.end(now, slot, Err(Failure::Silence), out);
        }
        self.refresh(now, question, stale, out);
    }

    /// Lets go of those whose timeout is over, and of those who take the stale answer at hand.
    fn expire_waiters(&mut self, now: Instant, slot: u32, out: &mut Outbox<W>) {
        let Tries { questions, upstreams, .. } = &mut self.attempts;
        let Some(query) = questions.get_mut(slot) else { return };
        let is_down = upstreams.are_down(&query.upstreams);
        let is_limited = upstreams.are_limited(&query.upstreams);
        let (released, out_of_time) = query.release(now, is_down);
        let is_idle = query.waiters.is_empty();
        let ticket = (slot, query.generation);
        if released.is_empty() {
            if is_idle {
                questions.note_idle(ticket);
            }
            return;
        }
        // Asked too late to be answered in time is no silence of the upstream.
        let had_time = query.attempts.iter().any(|tried| now.saturating_duration_since(tried.sent) >= AGAIN_AFTER);
        // Only a budget makes a question wait for its turn while its upstream answers: a client that asks again keeps its
        // place. After an outage there is an answer or a failure, never silence.
        let failure = if !had_time && !is_down && is_limited && !query.waited_for_down {
            Failure::BudgetTimeout
        } else if query.trouble.is_some() {
            Failure::Unreachable
        } else {
            Failure::Silence
        };
        let detail = detail(upstreams, query);
        let outcome = if is_idle { query.held.take().or_else(|| query.failure.take()) } else { None };
        let answered = |message| Answered { question: query.question.clone(), message };
        let outcome = outcome.map(answered).ok_or(failure);
        let message = outcome.as_ref().map(|answered| &*answered.message).map_err(|failure| *failure);
        let lengths = Lengths::of(&query.question.section, message, detail.as_deref(), released.len());
        if is_idle {
            questions.note_idle(ticket);
        }
        if failure == Failure::Silence && out_of_time > 0 && !is_down && had_time {
            questions.remember_failure(slot, None, now);
        }
        if out_of_time > 0 {
            self.attempts.mark_late(now, slot);
        }
        let clients = &mut self.clients;
        let waiters = released.into_iter().map(|(waiting, use_stale)| {
            let (delivery, room) = clients.deliver(now, &waiting, use_stale, lengths);
            ReleasedWaiter { waiter: waiting.waiter, use_stale, delivery, room }
        });
        out.resolved.push(Resolved { detail, outcome, waiters: waiters.collect() });
    }

    /// A question is done: `outcome` is its answer, or why there is none.
    fn end(&mut self, now: Instant, slot: u32, outcome: Outcome, out: &mut Outbox<W>) {
        self.attempts.close_all(slot);
        let Tries { questions, upstreams, .. } = &mut self.attempts;
        let Some(query) = questions.get_mut(slot) else { return };
        let is_down = upstreams.are_down(&query.upstreams);
        let detail = if outcome.is_err() { detail(upstreams, query) } else { None };
        // An upstream's word that it failed is no answer: the stale one is better (RFC 8767 §5).
        let is_failure = outcome.as_deref().map_or(true, says_failure);
        let message = outcome.as_deref().map_err(|failure| *failure);
        let lengths = Lengths::of(&query.question.section, message, detail.as_deref(), query.waiters.len());
        let mut waiters = SmallVec::with_capacity(query.waiters.len());
        for waiting in query.waiters.drain(..) {
            let use_stale = is_failure && waiting.stale.is_some_and(|stale| stale.may_serve(now, is_down));
            let (delivery, room) = self.clients.deliver(now, &waiting, use_stale, lengths);
            waiters.push(ReleasedWaiter { waiter: waiting.waiter, use_stale, delivery, room });
        }
        let Some(question) = questions.remove(slot) else { return };
        // An answer is news for the cache even when no client waits.
        if outcome.is_ok() || !waiters.is_empty() {
            let outcome = outcome.map(|message| Answered { question, message });
            out.resolved.push(Resolved { detail, outcome, waiters });
        }
    }
}

/// Answers a client at once.
fn reject<W>(
    now: Instant,
    client_query: ClientQuery<W>,
    is_down: bool,
    outcome: Result<Answered, Failure>,
    out: &mut Outbox<W>,
) {
    let use_stale = client_query.stale.is_some_and(|stale| stale.may_serve(now, is_down));
    release(None, outcome, client_query.waiter, use_stale, out);
}

fn release<W>(
    detail: Option<Arc<str>>,
    outcome: Result<Answered, Failure>,
    waiter: W,
    use_stale: bool,
    out: &mut Outbox<W>,
) {
    out.resolved.push(Resolved {
        detail,
        outcome,
        waiters: smallvec![ReleasedWaiter { waiter, use_stale, delivery: Delivery::Now, room: usize::MAX }],
    });
}

/// What a client may be told of a failure: which upstream, and what happened.
fn detail<W>(upstreams: &Upstreams, query: &OutstandingQuery<W>) -> Option<Arc<str>> {
    match (&query.trouble, query.attempts.last()) {
        (Some((number, text)), _) => upstreams.detail(*number, Some(text)),
        (None, Some(tried)) => upstreams.detail(tried.upstream, Some(SILENT)),
        // It waited for one that was down.
        (None, None) => upstreams.detail(*query.upstreams.first()?, None),
    }
}
