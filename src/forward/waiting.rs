//! Those who wait: their places, their timeouts, and the stale answers that they take instead.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use smallvec::{SmallVec, smallvec};

use super::machine::Forwarding;
use super::outstanding::Waiting;
use super::question::{Answered, Asker, Delivery, Failure, Outbox, Question, Released, Settled};
use super::tries::AGAIN_AFTER;
use super::upstream::Ticket;
use crate::wire::UpstreamMessage;

/// How long an answer is of use to a client: Azure asks forwarders for more than a timeout of 4 s, glibc gives up after 5.
pub const CLIENT_TIMEOUT: Duration = Duration::from_millis(4500);
/// Queries of one client that wait at once where places are scarce.
const PER_CLIENT_SURE: u32 = 1000;
/// And where they are not: what a client sends within its own timeout at three times Azure's rate, for an on-premises server
/// is one client too. Lines take turns, so they are no burden to others.
const PER_CLIENT_MAX: u32 = 32_768;
/// From how many waiting queries of one client on its replies are paced: they leave at less than twice the mean rate at
/// which the queries came. Else a slow answer gathers seconds of queries from a forged address, and all replies reach that
/// address as one pulse (CVE-2024-33655).
const PACED_FROM: u32 = 64;
/// The time between two paced replies, in twentieths of that between two queries: less than twice as often, so that ten
/// milliseconds have no more than twice their mean though timers count milliseconds.
const PACE_TWENTIETHS: u32 = 13;
/// From how long a wait on the bytes of a reply count: what gathers for less makes no pulse worth forging, while a busy
/// client that waits so long for each of its answers, an on-premises server whose upstream is on another continent, must
/// get them at the rate of its queries.
const GATHERED_FROM: Duration = Duration::from_millis(250);
/// Behind a pulse that takes longer than this to leave, what waited for less is part of it. It is cut, so that the pulse ends.
const PULSE_FROM: Duration = Duration::from_millis(20);
/// A reply that waited for less counts as one up to this many times the length of its query, and by its bytes above.
const FREE_TIMES: u64 = 4;
/// A paced reply that would take more than this of its client's pace is cut (TC): one alone would be a pulse. A client that
/// is there asks by TCP, where addresses are not forged.
const WHOLE_MAX: Duration = Duration::from_micros(2500);
/// Nor do whole replies make those behind them wait for longer than this.
const BACKLOG_MAX: Duration = Duration::from_millis(200);
/// Over which time the mean rate is taken, and at most twice that.
const WINDOW: Duration = Duration::from_millis(2500);
/// Replies are not held back for less.
const PACE_STEP: Duration = Duration::from_millis(1);
/// How long after the deadline for an answer a reply may still leave: no client waits longer than 5 s.
const LATE_MAX: Duration = Duration::from_millis(500);
/// Bytes of a query beside its question: header and OPT record.
const QUERY_FIXED: usize = 23;
/// Bytes of an OPT record, which a reply may have though the upstream's answer had none.
const OPT_LEN: usize = 11;
/// Bytes that a reply of failure adds to its query: an extended error with its text.
const FAILURE_LEN: usize = 96;
/// Tickets of one client that are not looked through for those that are done.
const TICKETS_MIN: usize = 64;
/// Tries after which a question is forgotten and begun again.
pub(super) const TRIES_KEPT: usize = 64;

/// The places that one client's queries take among those that wait.
#[derive(Debug, Default)]
pub(super) struct ClientPlaces {
    pub(super) count: u32,
    /// The questions that it waits for, oldest in front; those that are done are passed over.
    tickets: VecDeque<Ticket>,
    /// How many tickets there may be before those that are done go.
    purge_at: usize,
    /// How many of its queries began to wait in the current window and in the one before, and how long that one was.
    arrivals: [u32; 2],
    window_start: Option<Instant>,
    last_arrival: Option<Instant>,
    window_before: Duration,
    /// When the next paced reply may leave.
    next_reply: Option<Instant>,
}

impl ClientPlaces {
    fn note_arrival(&mut self, now: Instant) {
        let start = *self.window_start.get_or_insert(now);
        let elapsed = now.saturating_duration_since(start);
        if elapsed >= WINDOW {
            let [current, _] = self.arrivals;
            self.arrivals = [0, current];
            (self.window_start, self.window_before) = (Some(now), elapsed);
        }
        self.last_arrival = Some(now);
        let [current, _] = &mut self.arrivals;
        *current = current.saturating_add(1);
    }

    /// The mean time between two of its queries.
    fn mean_interval(&self) -> Duration {
        let [current, before] = self.arrivals;
        // What came in one moment may leave in one.
        let span = self.last_arrival.zip(self.window_start).map(|(last, start)| last.saturating_duration_since(start));
        (span.unwrap_or_default() + self.window_before) / current.saturating_add(before).max(1)
    }

    /// When a reply may leave that ends a wait of so long, and how long it may be then.
    fn pace(&mut self, now: Instant, waited: Duration, lengths: Lengths, latest: Instant) -> (Delivery, usize) {
        let at = self.next_reply.map_or(now, |at| at.max(now));
        if self.count < PACED_FROM && at <= now {
            return (Delivery::Now, usize::MAX);
        }
        if at > latest {
            return (Delivery::Never, 0);
        }
        let interval = self.mean_interval() * PACE_TWENTIETHS / 20;
        let backlog_max = if waited >= GATHERED_FROM { BACKLOG_MAX } else { PULSE_FROM };
        let is_behind = at > now + backlog_max;
        let counts_bytes = waited >= GATHERED_FROM || is_behind || lengths.times() > FREE_TIMES;
        let whole = if counts_bytes { lengths.share_of(interval) } else { interval };
        let is_cut = whole > interval && (whole > WHOLE_MAX || is_behind);
        self.next_reply = Some(at + if is_cut { interval } else { whole });
        let room = match () {
            () if is_cut => 0,
            () if counts_bytes => lengths.reply.max(lengths.query),
            () => usize::MAX,
        };
        (if at <= now + PACE_STEP { Delivery::Now } else { Delivery::At(at) }, room)
    }
}

/// How many bytes a query has, and about how many its reply will have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    query: usize,
    reply: usize,
}

impl Lengths {
    /// Those of a question whose upstream gave this.
    pub(super) fn of(section: &[u8], outcome: Result<&UpstreamMessage, Failure>) -> Self {
        let query = section.len() + QUERY_FIXED;
        let reply = match outcome {
            Ok(message) => message.bytes.len() + OPT_LEN,
            // No reply at all.
            Err(Failure::NoTurn) => 0,
            Err(_) => query + FAILURE_LEN,
        };
        Self { query, reply }
    }

    /// With a reply from an answer of so many bytes instead.
    fn with_answer(self, bytes: usize) -> Self {
        Self { reply: bytes + OPT_LEN, ..self }
    }

    /// With so many bytes of the reply that other answers gave.
    fn beside(self, bytes: u16) -> Self {
        Self { reply: self.reply + usize::from(bytes), ..self }
    }

    /// How many times as long as the query the reply is.
    fn times(self) -> u64 {
        (self.reply / self.query) as u64
    }

    /// What the reply takes of the pace where one as long as its query takes `interval`.
    fn share_of(self, interval: Duration) -> Duration {
        let nanoseconds = interval.as_nanos() * self.reply.max(self.query) as u128 / self.query as u128;
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

impl<W> Forwarding<W> {
    /// Gives an asker the stale answer at hand, and sees to it that the question is asked.
    pub(super) fn serve_stale(
        &mut self,
        now: Instant,
        question: Box<Question>,
        known: Option<u32>,
        asker: Asker<W>,
        out: &mut Outbox<W>,
    ) {
        let (client, stale) = (asker.client, asker.stale);
        Self::release(Err(Failure::NoTurn), asker.waiter, true, out);
        match known {
            // Its tries may be lost: a client that asks keeps the question alive, so that the upstream's return is seen.
            Some(slot) if self.outstanding.get(slot as usize).is_some_and(|query| query.tries.len() < TRIES_KEPT) => {
                self.new_round(now, slot, client, out);
                self.arm(slot);
            }
            Some(slot) => {
                self.end(now, slot, Err(Failure::Silence), out);
                self.refresh(now, question, stale, out);
            }
            None => self.refresh(now, question, stale, out),
        }
    }

    /// Answers an asker at once.
    pub(super) fn turn_away(
        &mut self,
        now: Instant,
        question: Box<Question>,
        asker: Asker<W>,
        outcome: Result<UpstreamMessage, Failure>,
        out: &mut Outbox<W>,
    ) {
        let upstreams = self.upstream_numbers(&question.rule);
        let use_stale = asker.stale.is_some_and(|stale| stale.may_serve(now, self.are_down(&upstreams)));
        Self::release(outcome.map(|message| Answered { question, message }), asker.waiter, use_stale, out);
    }

    fn release(outcome: Result<Answered, Failure>, waiter: W, use_stale: bool, out: &mut Outbox<W>) {
        out.settled.push(Settled {
            detail: None,
            outcome,
            waiters: smallvec![Released { waiter, use_stale, delivery: Delivery::Now, room: usize::MAX }],
        });
    }

    /// Lets go of those whose timeout is over, and of those who take the stale answer at hand.
    pub(super) fn let_go(&mut self, now: Instant, slot: u32, out: &mut Outbox<W>) {
        let Some(query) = self.outstanding.get(slot as usize) else {
            return;
        };
        let is_down = self.are_down(&query.upstreams);
        let is_limited = self.are_limited(&query.upstreams);
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        let out_of_time = query.waiters.iter().take_while(|waiting| waiting.deadline <= now).count();
        let mut released = Vec::new();
        for waiting in query.waiters.drain(..out_of_time) {
            let use_stale = waiting.stale.is_some_and(|stale| stale.may_serve(now, is_down));
            released.push((waiting, use_stale));
        }
        let mut left = SmallVec::with_capacity(query.waiters.len());
        for mut waiting in query.waiters.drain(..) {
            let timer_over = waiting.stale_at.is_some_and(|at| at <= now);
            if timer_over && waiting.stale.is_some_and(|stale| stale.may_serve(now, is_down)) {
                released.push((waiting, true));
                continue;
            }
            if timer_over {
                waiting.stale_at = None;
            }
            left.push(waiting);
        }
        query.waiters = left;
        let idle = query.waiters.is_empty().then_some((slot, query.generation));
        let had_its_turns = query.askers >= 2 || query.has_left_line.get();
        query.is_abandoned = idle.is_some() && query.line.is_some() && had_its_turns;
        self.idle.extend(idle);
        let Some(query) = self.outstanding.get_mut(slot as usize) else { return };
        if released.is_empty() {
            return;
        }
        // Asked too late to be answered in time is no silence of the upstream.
        let had_time = query.tries.iter().any(|tried| now.saturating_duration_since(tried.sent) >= AGAIN_AFTER);
        let failure = match () {
            // Only a budget makes a question wait for its turn while its upstream answers: a client that asks again keeps
            // its place. After an outage there is an answer or a failure, never silence.
            () if !had_time && !is_down && is_limited && !query.waited_for_down => Failure::NoTurn,
            () if query.trouble.is_some() => Failure::Unreachable,
            () => Failure::Silence,
        };
        let detail = self.outstanding.get(slot as usize).and_then(|query| self.detail(query));
        let Some(query) = self.outstanding.get_mut(slot as usize) else { return };
        let outcome = if query.waiters.is_empty() { query.held.take().or_else(|| query.failure.take()) } else { None };
        let answered = |message| Answered { question: query.question.clone(), message };
        let outcome = outcome.map(answered).ok_or(failure);
        let lengths = Lengths::of(
            &query.question.section,
            outcome.as_ref().map(|answered| &answered.message).map_err(|failure| *failure),
        );
        if failure == Failure::Silence && out_of_time > 0 && !is_down && had_time {
            self.failures.remember(&query.question.key, None, now);
        }
        if out_of_time > 0 {
            self.mark_late(now, slot);
        }
        let waiters = released
            .into_iter()
            .map(|(waiting, use_stale)| {
                let (delivery, room) = self.deliver(now, &waiting, use_stale, lengths);
                Released { waiter: waiting.waiter, use_stale, delivery, room }
            })
            .collect();
        out.settled.push(Settled { detail, outcome, waiters });
    }

    pub(super) fn take_place(&mut self, now: Instant, client: IpAddr, ticket: Ticket) {
        let outstanding = &self.outstanding;
        let places = self.waiting_of.entry(client).or_default();
        places.note_arrival(now);
        places.count += 1;
        self.waiting += 1;
        places.tickets.push_back(ticket);
        if places.tickets.len() > places.purge_at.max(TICKETS_MIN) {
            places.tickets.retain(|&(slot, generation)| {
                outstanding.get(slot as usize).is_some_and(|query| query.generation == generation)
            });
            places.purge_at = places.tickets.len() * 2;
        }
    }

    /// Sees to it that a client has no more places than it may.
    pub(super) fn make_place_where_due(&mut self, now: Instant, client: IpAddr, out: &mut Outbox<W>) {
        let most = if self.waiting < self.bounds.scarce() { PER_CLIENT_MAX } else { PER_CLIENT_SURE };
        if self.waiting_of.get(&client).is_some_and(|places| places.count >= most) {
            self.make_place(now, client, out);
        }
    }

    /// The one that waited longest of a client's gives its place to a new one: it has the least time left.
    fn make_place(&mut self, now: Instant, client: IpAddr, out: &mut Outbox<W>) {
        while let Some((slot, generation)) =
            self.waiting_of.get_mut(&client).and_then(|places| places.tickets.pop_front())
        {
            let Some(query) = self.outstanding.get_mut(slot as usize).filter(|query| query.generation == generation)
            else {
                continue;
            };
            let Some(at) = query.waiters.iter().position(|waiting| waiting.client == client) else {
                continue;
            };
            let waiting = query.waiters.remove(at);
            let upstreams = query.upstreams.clone();
            let use_stale = waiting.stale.is_some_and(|stale| stale.may_serve(now, self.are_down(&upstreams)));
            self.count_out(client);
            return Self::release(Err(Failure::NoTurn), waiting.waiter, use_stale, out);
        }
    }

    /// Ends a question that no client waits for any more, to make room; whether there was one.
    pub(super) fn end_idle(&mut self, now: Instant, out: &mut Outbox<W>) -> bool {
        while let Some((slot, generation)) = self.idle.pop_front() {
            let query = self.outstanding.get(slot as usize).filter(|query| query.generation == generation);
            if query.is_some_and(|query| query.waiters.is_empty()) {
                self.end(now, slot, Err(Failure::NoTurn), out);
                return true;
            }
        }
        false
    }

    /// When the reply to a waiter leaves that waits no longer, and how many bytes it may have; one that leaves later keeps
    /// its place until [`Self::left`].
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        waiting: &Waiting<W>,
        use_stale: bool,
        lengths: Lengths,
    ) -> (Delivery, usize) {
        let latest = waiting.deadline + LATE_MAX;
        let waited = CLIENT_TIMEOUT.saturating_sub(waiting.deadline.saturating_duration_since(now));
        let lengths = match waiting.stale {
            Some(stale) if use_stale => lengths.with_answer(stale.len.into()),
            _ => lengths,
        };
        let (delivery, room) = match self.waiting_of.get_mut(&waiting.client) {
            Some(places) if waiting.is_datagram && lengths.reply > 0 => {
                places.pace(now, waited, lengths.beside(waiting.beside), latest)
            }
            _ => (Delivery::Now, usize::MAX),
        };
        if !matches!(delivery, Delivery::At(_)) {
            self.count_out(waiting.client);
        }
        (delivery, room)
    }

    /// A reply left that was not to leave before its time.
    pub fn left(&mut self, client: IpAddr) {
        self.count_out(client);
    }

    pub(super) fn count_out(&mut self, client: IpAddr) {
        if let Some(places) = self.waiting_of.get_mut(&client) {
            places.count = places.count.saturating_sub(1);
            self.waiting = self.waiting.saturating_sub(1);
            if places.count == 0 {
                self.waiting_of.remove(&client);
            }
        }
    }
}

impl<W> From<Asker<W>> for Waiting<W> {
    fn from(asker: Asker<W>) -> Self {
        Self {
            waiter: asker.waiter,
            client: asker.client,
            deadline: asker.deadline,
            is_datagram: asker.is_datagram,
            beside: asker.beside,
            stale: asker.stale,
            stale_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::{ForwardBounds, ForwardRule, LoopGuard, Protocol, Target};
    use super::*;
    use crate::wire::Name;

    #[test]
    fn there_is_an_end_to_those_who_wait() {
        end_of_those_who_wait(ForwardBounds::MOST);
        // Where memory is short, it comes sooner.
        end_of_those_who_wait(ForwardBounds { questions: 3000, waiting: 8000 });
    }

    fn end_of_those_who_wait(bounds: ForwardBounds) {
        let most = bounds.waiting;
        #[expect(clippy::disallowed_methods, reason = "a start for the hand-moved clock")]
        let now = Instant::now();
        let target = Target { address: SocketAddr::from(([10, 0, 0, 1], 53)), protocol: Protocol::Datagram };
        let rule = Arc::new(ForwardRule {
            zone: Name::root(),
            upstreams: Box::new([target]),
            max_ttl: None,
            max_negative_ttl: None,
            upstream_set: 0,
        });
        let mut machine = Forwarding::new([7; 32], LoopGuard::default());
        machine.set_bounds(bounds);
        let mut out = Outbox::default();
        let deadline = now + Duration::from_millis(4500);
        let mut ask = |machine: &mut Forwarding<usize>, number: usize| {
            // A thousand clients each for every question, every client with many questions.
            let octets = [&[3][..], format!("{:03}", number / 1000).as_bytes(), &[0, 0, 1, 0, 1]].concat();
            let question = Box::new(Question {
                key: octets.clone().into(),
                section: octets.into(),
                dnssec_ok: false,
                checking_disabled: false,
                tokens: Vec::new(),
                rule: rule.clone(),
            });
            let client = IpAddr::from([10, 1, (number % 1000 / 250) as u8, (number % 250) as u8]);
            machine.ask(
                now,
                question,
                Asker { waiter: number, client, deadline, stale: None, is_datagram: true, beside: 0 },
                &mut out,
            );
            std::mem::take(&mut out.settled)
        };
        for number in 0..most {
            assert!(ask(&mut machine, number).is_empty(), "{number}");
        }
        let turned_away = ask(&mut machine, most);
        assert_eq!(turned_away.len(), 1);
        assert_eq!(turned_away[0].outcome.as_ref().err(), Some(&Failure::Overload));
        let tickets: usize = machine.waiting_of.values().map(|places| places.tickets.len()).sum();
        assert_eq!((machine.waiting, tickets), (most, most));
        let mut last = Outbox::default();
        machine.handle_timeout(deadline, &mut last);
        let released: usize = last.settled.iter().map(|settled| settled.waiters.len()).sum();
        assert_eq!((released, machine.waiting, machine.has_waiters()), (most, 0, false));
    }

    #[test]
    fn tickets_of_questions_that_are_done_go() {
        #[expect(clippy::disallowed_methods, reason = "a start for the hand-moved clock")]
        let now = Instant::now();
        let mut places = Forwarding::<()>::new([7; 32], LoopGuard::default());
        let client = IpAddr::from([10, 0, 0, 1]);
        for generation in 0..100_000 {
            places.take_place(now, client, (0, generation));
        }
        assert!(places.waiting_of[&client].tickets.len() <= TICKETS_MIN + 1);
    }
}
