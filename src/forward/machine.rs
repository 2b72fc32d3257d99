//! The state machine itself: what comes in, what is due. How tries are made is in `tries.rs`.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slab::Slab;
use smallvec::SmallVec;

use super::bounds::ForwardBounds;
use super::budget::Limits;
use super::capabilities::{Form, restore_case, with_case};
use super::memory::{FailureMemory, SlowZones};
use super::orphans::Orphan;
use super::outstanding::{Judgement, OutstandingQuery, Stale, Waiting, judge, judge_stream};
use super::question::{
    Answered, Arrival, Asker, DETAIL_MAX, Failure, ForwardCounts, Heard, News, Outbox, Question, Released, Settled,
    Trouble, TroubleKind, TryId, Via,
};
use super::rule::{ForwardRule, Target};
use super::timers::Timers;
use super::token::LoopGuard;
use super::upstream::{SILENT, Ticket, Upstream};
use super::waiting::{ClientPlaces, Lengths, TRIES_KEPT};
use crate::wire::header::{HEADER_LEN, Header};
use crate::wire::{Rcode, UpstreamMessage};

/// How long a client is let wait before it gets the stale answer at hand (RFC 8767 §5).
const CLIENT_TIMER: Duration = Duration::from_millis(1800);
/// How much longer a repeat waits for an upstream that does not respond: who was told so after 4.5 s and asks again has the
/// timeout of 5 s that resolvers have, and no other attempt after this one.
const REPEAT_PATIENCE: Duration = Duration::from_millis(400);
/// How long a question keeps its place when no client waits for it any more: clients that got no answer ask again after 5 s.
pub(super) const KEEP: Duration = Duration::from_secs(6);
/// Clients waiting for one question.
const WAITERS_MAX: usize = 4096;

/// Places of upstreams in the list of all.
pub(super) type Numbers = SmallVec<[usize; 4]>;

/// The forwarding state machine; `W` is whatever waits for answers.
pub struct Forwarding<W> {
    pub(super) bounds: ForwardBounds,
    pub(super) outstanding: Slab<OutstandingQuery<W>>,
    /// Places in `outstanding`, by the hashes of keys.
    by_key: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) upstream_by_target: HashMap<Target, usize, foldhash::fast::RandomState>,
    /// The rule of the last question and its upstreams: the next one's as a rule.
    pub(super) last_rule: Option<(Arc<ForwardRule>, Numbers)>,
    pub(super) limits: HashMap<SocketAddr, Limits>,
    /// Some are out of date: then they do nothing.
    timers: Timers,
    pub(super) waiting_of: HashMap<IpAddr, ClientPlaces, foldhash::fast::RandomState>,
    /// How many they are together.
    pub(super) waiting: usize,
    pub(super) orphans: VecDeque<Orphan>,
    /// Questions that no client waited for any more at some time, longest ago in front.
    pub(super) idle: VecDeque<Ticket>,
    pub(super) failures: FailureMemory,
    pub(super) slow_zones: SlowZones,
    pub(super) guard: LoopGuard,
    generation: u32,
    pub(super) rng: StdRng,
    pub(super) counts: ForwardCounts,
    /// What is to be said of upstreams.
    pub(super) news: Vec<News>,
}

/// Whether a message that was accepted says that its upstream failed.
fn says_failure(message: &UpstreamMessage) -> bool {
    Header::read(&message.bytes).is_none_or(|header| !matches!(header.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN))
}

impl<W> Forwarding<W> {
    /// A machine with nothing outstanding. `seed` comes from the operating system's source of randomness; `guard` is the
    /// one that incoming queries are held against.
    pub fn new(seed: [u8; 32], guard: LoopGuard) -> Self {
        Self {
            bounds: ForwardBounds::MOST,
            outstanding: Slab::new(),
            by_key: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            upstreams: Vec::new(),
            upstream_by_target: HashMap::default(),
            last_rule: None,
            limits: HashMap::new(),
            timers: Timers::default(),
            waiting_of: HashMap::default(),
            waiting: 0,
            orphans: VecDeque::new(),
            idle: VecDeque::new(),
            failures: FailureMemory::default(),
            slow_zones: SlowZones::default(),
            guard,
            generation: 0,
            rng: StdRng::from_seed(seed),
            counts: ForwardCounts::default(),
            news: Vec::new(),
        }
    }

    /// Has other bounds from now on; what is there stays.
    pub fn set_bounds(&mut self, bounds: ForwardBounds) {
        self.bounds = bounds;
    }

    /// Takes a question that a client waits for: joins the same one outstanding, sends it, lets it wait its turn, or
    /// gives the asker the stale answer at hand.
    pub fn ask(&mut self, now: Instant, question: Box<Question>, asker: Asker<W>, out: &mut Outbox<W>) {
        let hash = self.hasher.hash_one(&*question.key);
        let mut known = self.find(hash, &question.key);
        let is_spent = |query: &OutstandingQuery<W>| query.waiters.is_empty() && query.tries.len() >= TRIES_KEPT;
        if let Some(slot) = known
            && self.outstanding.get(slot as usize).is_some_and(is_spent)
        {
            self.end(now, slot, Err(Failure::Silence), out);
            known = None;
        }
        if known.is_none()
            && let Some(failed) = self.failures.recall(&question.key, now)
        {
            let answer = failed.answer.as_ref().map(|answer| answer.to_vec());
            return self.turn_away(
                now,
                question,
                asker,
                answer.map(UpstreamMessage::accepted_before).ok_or(Failure::Remembered),
                out,
            );
        }
        let upstreams = self.upstream_numbers(&question.rule);
        let is_down = self.are_down(&upstreams);
        let would_wait = match known.and_then(|slot| self.outstanding.get(slot as usize)) {
            Some(query) => query.line.is_some() || is_down,
            None => !self.could_send(now, &question, &upstreams),
        };
        if would_wait && asker.stale.is_some_and(|stale| stale.may_serve(now, is_down)) {
            return self.serve_stale(now, question, known, asker, out);
        }
        self.make_place_where_due(now, asker.client, out);
        if self.waiting >= self.bounds.waiting {
            return self.turn_away(now, question, asker, Err(Failure::Overload), out);
        }
        let full = |query: &OutstandingQuery<W>| query.waiters.len() >= WAITERS_MAX;
        let slot = match known {
            Some(slot) if self.outstanding.get(slot as usize).is_none_or(full) => {
                return self.turn_away(now, question, asker, Err(Failure::Overload), out);
            }
            Some(slot) => slot,
            None if !self.make_room(now, &upstreams, out) => {
                return self.turn_away(now, question, asker, Err(Failure::Overload), out);
            }
            None => self.start(now, question, hash, upstreams),
        };
        let Some(query) = self.outstanding.get_mut(slot as usize) else {
            return;
        };
        let nobody_waited = query.waiters.is_empty() || query.has_left_line.get();
        // Only for what follows: waiters are in the order of their deadlines.
        query.is_repeated |= known.is_some() && nobody_waited && is_down;
        query.keep_until = query.keep_until.max(now + KEEP);
        query.askers = query.askers.saturating_add(1);
        query.has_stale |= asker.stale.is_some();
        let client = asker.client;
        let mut asker = Waiting::from(asker);
        asker.stale_at = asker.stale.map(|_| now + CLIENT_TIMER);
        if query.is_repeated {
            asker.deadline += REPEAT_PATIENCE;
        }
        // A client that has come through a CNAME chain has waited before: its deadline may be the earliest.
        let place = query.waiters.partition_point(|waiting| waiting.deadline <= asker.deadline);
        query.waiters.insert(place, asker);
        let ticket = (slot, query.generation);
        self.take_place(now, client, ticket);
        if known.is_some() {
            self.counts.joined += 1;
            if nobody_waited {
                self.new_round(now, slot, client, out);
            }
        } else {
            self.try_next(now, slot, client, out);
        }
        self.arm(slot);
    }

    /// Whether the question with this key failed a moment ago and is not asked again yet (RFC 9520), and the failing
    /// answer where there was one.
    pub fn remembered_failure(&self, now: Instant, key: &[u8]) -> Option<Option<Arc<[u8]>>> {
        self.failures.recall(key, now).map(|failed| failed.answer.clone())
    }

    /// Takes a question that no client waits for: an answer in the cache expired (`stale`), or is about to. The latter is
    /// asked only where there is room.
    pub fn refresh(&mut self, now: Instant, question: Box<Question>, stale: Option<Stale>, out: &mut Outbox<W>) {
        let hash = self.hasher.hash_one(&*question.key);
        if self.find(hash, &question.key).is_some() || self.failures.recall(&question.key, now).is_some() {
            return;
        }
        let upstreams = self.upstream_numbers(&question.rule);
        let has_room = |number: &usize| self.upstreams.get(*number).is_some_and(|upstream| upstream.has_room(now));
        if (stale.is_none() && !upstreams.iter().any(has_room)) || !self.make_room(now, &upstreams, out) {
            return;
        }
        let is_slow = self.slow_zones.holds(&question.section, now);
        let slot = self.start(now, question, hash, upstreams);
        self.counts.refreshes += 1;
        let Some(upstream) = self.choose(now, slot) else { return };
        if self
            .upstreams
            .get(upstream)
            .is_some_and(|upstream| upstream.is_free(now, is_slow) && upstream.refreshes.is_empty())
        {
            self.send_usual(now, slot, upstream, out);
            self.plan(now, slot);
        } else if let (Some(query), Some(known)) =
            (self.outstanding.get_mut(slot as usize), self.upstreams.get_mut(upstream))
        {
            query.line = Some(upstream);
            let end = stale.map_or(now + KEEP, |stale| stale.until);
            known.refreshes.push(Reverse((end, (slot, query.generation))));
            self.counts.queued += 1;
            self.purge_lines(upstream);
        }
        self.arm(slot);
    }

    /// Counts datagrams with a wrong ID beyond the first of their socket, which were not looked at.
    pub fn count_ignored(&mut self, datagrams: u64) {
        self.counts.suspicious += datagrams;
    }

    /// Takes what came back for a try. It was read before the lock on this machine was taken.
    pub fn heard(&mut self, now: Instant, id: TryId, arrival: Arrival, out: &mut Outbox<W>) -> Heard {
        let message = match arrival {
            Arrival::Message(message) => message,
            Arrival::Damaged(bytes) => UpstreamMessage::damaged(bytes),
            Arrival::WrongId => return self.heard_wrong_id(now, id, out),
        };
        let Some(query) = self.outstanding.get(id.slot as usize).filter(|query| query.generation == id.generation)
        else {
            self.hear_orphan(now, id, &message.bytes);
            return Heard::Done;
        };
        let Some(tried) = query.tries.get(id.number as usize).filter(|tried| tried.is_open) else {
            return Heard::Done;
        };
        let with_edns = tried.form != Form::WithoutEdns;
        let (via, upstream, was_damaged) = (tried.via, tried.upstream, tried.is_damaged);
        let asked = &query.question.section;
        let drawn = tried.case.and_then(|case| with_case(asked, case));
        let section = drawn.as_deref().unwrap_or(asked);
        let judgement = match via {
            Via::Datagram => judge(&message, tried.id, section, with_edns),
            Via::Stream => judge_stream(&message, tried.id, section, with_edns),
        };
        match judgement {
            Judgement::Unrelated | Judgement::Suspicious if via == Via::Stream => {
                let text = "it answered another question".into();
                return self.failed(now, id, &Trouble { text, kind: TroubleKind::Other }, out);
            }
            Judgement::Unrelated => {
                self.counts.unrelated += 1;
                return Heard::Listen;
            }
            Judgement::Suspicious => {
                // Nothing else may be wrong than that the upstream changes the case: then the next tries match.
                if drawn.is_some()
                    && let Some(query) = self.outstanding.get_mut(id.slot as usize)
                {
                    query.keeps_case = true;
                }
                return self.heard_wrong_id(now, id, out);
            }
            Judgement::Damaged if via == Via::Datagram => {
                // The damage does not end the wait for what was sent (RFC 5452 §9.1); TCP is asked beside it, once.
                if !was_damaged {
                    self.counts.cut += 1;
                    self.note_damaged(now, id);
                    self.ask_by_stream(now, id.slot, upstream, false, out);
                    self.arm(id.slot);
                }
                return Heard::Listen;
            }
            Judgement::Cut | Judgement::Damaged | Judgement::NoEdns | Judgement::Failure | Judgement::Answer => {}
        }
        let mut message = message;
        let echoed = message.bytes.get(HEADER_LEN..HEADER_LEN + section.len());
        let repeats_case = echoed.is_none_or(|echoed| echoed == section);
        if let Some(drawn) = &drawn {
            restore_case(&mut message.bytes, drawn, asked);
        }
        self.note_answer_time(now, id);
        if judgement == Judgement::Answer {
            self.learn(now, id, repeats_case);
        }
        self.close_try(id.slot, id.number as usize);
        match judgement {
            Judgement::Cut if via == Via::Datagram => {
                self.counts.cut += 1;
                if !self.ask_by_stream(now, id.slot, upstream, true, out) {
                    // There is more than fits a datagram, and TCP was lost each time.
                    self.note_failed(id.slot, upstream);
                    self.give_up_try(now, id.slot, out);
                }
            }
            Judgement::NoEdns => self.ask_without_edns(now, id, out),
            Judgement::Failure => {
                if let Some(query) = self.outstanding.get_mut(id.slot as usize) {
                    query.failure = Some(message);
                }
                self.note_failed(id.slot, upstream);
                self.give_up_try(now, id.slot, out);
            }
            Judgement::Cut | Judgement::Damaged => {
                // Over TCP it was the upstream that damaged it.
                if let Some(query) = self.outstanding.get_mut(id.slot as usize) {
                    query.trouble = Some((upstream, "malformed answer".into()));
                }
                self.note_failed(id.slot, upstream);
                self.give_up_try(now, id.slot, out);
            }
            Judgement::Answer | Judgement::Unrelated | Judgement::Suspicious => {
                self.take_answer(now, id.slot, via, message, out)
            }
        }
        self.arm(id.slot);
        self.serve_lines(now, out);
        Heard::Done
    }

    /// An attacker may be guessing: a datagram came from the right place with the wrong ID or case.
    fn heard_wrong_id(&mut self, now: Instant, id: TryId, out: &mut Outbox<W>) -> Heard {
        let query = self.outstanding.get(id.slot as usize).filter(|query| query.generation == id.generation);
        let tried = query.and_then(|query| query.tries.get(id.number as usize)).filter(|tried| tried.is_open);
        let Some(upstream) = tried.map(|tried| tried.upstream) else {
            return Heard::Done;
        };
        self.counts.suspicious += 1;
        self.suspect(now, id.slot, upstream, out);
        self.arm(id.slot);
        Heard::Listen
    }

    /// A datagram came that was meant as the answer: the upstream is there.
    fn note_damaged(&mut self, now: Instant, id: TryId) {
        let query = self.outstanding.get_mut(id.slot as usize);
        let Some(tried) = query.and_then(|query| query.tries.get_mut(id.number as usize)) else { return };
        tried.is_damaged = true;
        if let Some(upstream) = self.upstreams.get_mut(tried.upstream) {
            self.news.extend(upstream.heard(None, now));
        }
    }

    /// Takes that a try could not be carried out: refused, no route, or the connection broke.
    pub fn failed(&mut self, now: Instant, id: TryId, trouble: &Trouble, out: &mut Outbox<W>) -> Heard {
        let query = self.outstanding.get(id.slot as usize).filter(|query| query.generation == id.generation);
        let tried = query.and_then(|query| query.tries.get(id.number as usize));
        if !tried.is_some_and(|tried| tried.is_open) {
            return Heard::Done;
        }
        self.take_trouble(now, id, trouble, out);
        self.arm(id.slot);
        self.serve_lines(now, out);
        Heard::Done
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox<W>) {
        while let Some((slot, generation)) = self.timers.take_due(now) {
            if self
                .outstanding
                .get(slot as usize)
                .is_some_and(|query| query.generation == generation && query.due() <= now)
            {
                self.do_what_is_due(now, slot, out);
                self.arm(slot);
            }
        }
        self.serve_lines(now, out);
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let timer = self.timers.next();
        let turn = self.upstreams.iter().filter_map(|upstream| upstream.next_turn(now)).min();
        [timer, turn].into_iter().flatten().min()
    }

    /// Begins again with nothing outstanding and nothing known of upstreams, because what it knows is in doubt or the
    /// server ends. Gives what was asked, for each asker.
    pub fn start_over(&mut self) -> Vec<(Box<Question>, Asker<W>)> {
        let mut fresh = Self::new(self.rng.random(), self.guard.clone());
        // Tries of before must not be taken for those of now.
        fresh.generation = self.generation;
        fresh.counts = self.counts;
        fresh.bounds = self.bounds;
        fresh.limits = std::mem::take(&mut self.limits);
        let old = std::mem::replace(self, fresh);
        let mut asked = Vec::with_capacity(old.waiting);
        for (_, OutstandingQuery { question, waiters, .. }) in old.outstanding {
            for Waiting { waiter, client, deadline, stale, is_datagram, beside, .. } in waiters {
                asked.push((question.clone(), Asker { waiter, client, deadline, stale, is_datagram, beside }));
            }
        }
        asked
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

    /// Whether a client waits.
    pub fn has_waiters(&self) -> bool {
        !self.waiting_of.is_empty()
    }

    /// The same question, if it is outstanding.
    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let is_it = |slot: &u32| self.outstanding.get(*slot as usize).is_some_and(|query| *query.question.key == *key);
        self.by_key.find(hash, is_it).copied()
    }

    /// Whether there is room for another question, and an upstream to ask.
    fn make_room(&mut self, now: Instant, upstreams: &Numbers, out: &mut Outbox<W>) -> bool {
        !upstreams.is_empty() && (self.outstanding.len() < self.bounds.questions || self.end_idle(now, out))
    }

    /// Notes a question that is not outstanding yet, in which place.
    fn start(&mut self, now: Instant, question: Box<Question>, hash: u64, upstreams: Numbers) -> u32 {
        if self.idle.len() > self.bounds.tickets() {
            let outstanding = &self.outstanding;
            self.idle.retain(|&(slot, generation)| {
                outstanding.get(slot as usize).is_some_and(|query| query.generation == generation)
            });
        }
        self.generation = self.generation.wrapping_add(1);
        let slot = self.outstanding.insert(OutstandingQuery {
            generation: self.generation,
            question,
            hash,
            upstreams,
            waiters: SmallVec::new(),
            tries: SmallVec::new(),
            round_start: 0,
            next_try: None,
            line: None,
            has_stale: false,
            is_repeated: false,
            askers: 0,
            is_abandoned: false,
            keep_until: now + KEEP,
            without_edns: false,
            keeps_case: false,
            waited_for_down: false,
            has_left_line: Cell::new(false),
            is_suspicious: false,
            held: None,
            failure: None,
            trouble: None,
        }) as u32;
        let outstanding = &self.outstanding;
        let hash_of = |slot: &u32| outstanding.get(*slot as usize).map_or(0, |query| query.hash);
        self.by_key.insert_unique(hash, slot, hash_of);
        slot
    }

    fn do_what_is_due(&mut self, now: Instant, slot: u32, out: &mut Outbox<W>) {
        self.mark_slow(now, slot);
        self.close_old_tries(now, slot);
        self.let_go(now, slot, out);
        let Some(query) = self.outstanding.get(slot as usize) else {
            return;
        };
        if query.waiters.is_empty() && query.keep_until <= now {
            return self.end(now, slot, Err(Failure::Silence), out);
        }
        if query.next_try.is_some_and(|next| next <= now) {
            self.mark_late(now, slot);
            let client = self
                .outstanding
                .get(slot as usize)
                .and_then(|query| query.waiters.first())
                .map(|waiting| waiting.client);
            match client {
                Some(client) => self.try_next(now, slot, client, out),
                None => self.plan_no_more(slot),
            }
        }
    }

    /// A question is done: `outcome` is its answer, or why there is none.
    pub(super) fn end(
        &mut self,
        now: Instant,
        slot: u32,
        outcome: Result<UpstreamMessage, Failure>,
        out: &mut Outbox<W>,
    ) {
        self.keep_orphans(slot);
        let Some(query) = self.outstanding.get(slot as usize) else {
            return;
        };
        for number in 0..query.tries.len() {
            self.close_try(slot, number);
        }
        let Some(query) = self.outstanding.try_remove(slot as usize) else {
            return;
        };
        if let Ok(place) = self.by_key.find_entry(query.hash, |known| *known == slot) {
            place.remove();
        }
        let is_down = self.are_down(&query.upstreams);
        let detail = if outcome.is_err() { self.detail(&query) } else { None };
        // An upstream's word that it failed is no answer: the stale one is better (RFC 8767 §5).
        let is_failure = outcome.as_ref().map_or(true, says_failure);
        let lengths = Lengths::of(&query.question.section, outcome.as_ref().map_err(|failure| *failure));
        let waiters = query.waiters.into_iter().map(|waiting| {
            let use_stale = is_failure && waiting.stale.is_some_and(|stale| stale.may_serve(now, is_down));
            let (delivery, room) = self.deliver(now, &waiting, use_stale, lengths);
            Released { waiter: waiting.waiter, use_stale, delivery, room }
        });
        let waiters: SmallVec<_> = waiters.collect();
        // An answer is news for the cache even when no client waits.
        if outcome.is_ok() || !waiters.is_empty() {
            let outcome = outcome.map(|message| Answered { question: query.question, message });
            out.settled.push(Settled { detail, outcome, waiters });
        }
    }

    /// What a client may be told of a failure: which upstream, and what happened.
    pub(super) fn detail(&self, query: &OutstandingQuery<W>) -> Option<Arc<str>> {
        let (number, text) = match (&query.trouble, query.tries.last()) {
            (Some((number, text)), _) => (*number, &**text),
            (None, Some(tried)) => (tried.upstream, SILENT),
            (None, None) => {
                // It waited for one that was down.
                let number = *query.upstreams.first()?;
                let (text, _) = self.upstreams.get(number)?.last_error.as_ref()?;
                (number, &**text)
            }
        };
        let mut detail = format!("{}: {text}", self.upstreams.get(number)?.target.short());
        let end = (0..=DETAIL_MAX).rev().find(|&at| detail.is_char_boundary(at)).unwrap_or_default();
        detail.truncate(end);
        Some(detail.into())
    }

    /// Sees to it that a question is looked at when something is due.
    pub(super) fn arm(&mut self, slot: u32) {
        if self.timers.len() >= self.bounds.timers() {
            self.timers.clear();
            for (slot, query) in &self.outstanding {
                self.timers.set(query.due(), (slot as u32, query.generation));
            }
        }
        if let Some(query) = self.outstanding.get(slot as usize) {
            self.timers.set(query.due(), (slot, query.generation));
        }
    }
}
