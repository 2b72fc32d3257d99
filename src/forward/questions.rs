//! Questions outstanding: found by their keys, looked at when something is due, and for a moment remembered when they failed.
//! Nothing is known here of how upstreams are.

use std::cell::Cell;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

use super::bounds::ForwardBounds;
use super::memory::FailureMemory;
use super::orphans::{Orphan, Orphans};
use super::outstanding::{Attempt, OutstandingQuery};
use super::question::{AttemptId, Numbers, Question, Ticket};
use super::timers::Timers;

/// How long a question keeps its place when no client waits for it any more: clients that got no answer ask again after 5 s.
pub(super) const KEEP: Duration = Duration::from_secs(6);

/// All questions that were not settled yet, known by their slots.
pub(super) struct Questions<W> {
    pub(super) bounds: ForwardBounds,
    all: Slab<OutstandingQuery<W>>,
    /// Slots, by the hashes of keys.
    by_key: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    /// Some are out of date: then they do nothing.
    timers: Timers,
    /// Questions that no client waited for any more at some time, oldest first.
    idle: VecDeque<Ticket>,
    orphans: Orphans,
    pub(super) failures: FailureMemory,
    generation: u32,
}

impl<W> Questions<W> {
    /// None outstanding. Tries of before `generation` are not taken for those of now.
    pub(super) fn new(bounds: ForwardBounds, generation: u32) -> Self {
        Self {
            bounds,
            all: Slab::new(),
            by_key: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            timers: Timers::default(),
            idle: VecDeque::new(),
            orphans: Orphans::default(),
            failures: FailureMemory::default(),
            generation,
        }
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.all.len() >= self.bounds.questions
    }

    pub(super) fn into_all(self) -> impl Iterator<Item = OutstandingQuery<W>> {
        self.all.into_iter().map(|(_, query)| query)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&OutstandingQuery<W>> {
        self.all.get(slot as usize)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut OutstandingQuery<W>> {
        self.all.get_mut(slot as usize)
    }

    /// The question of a ticket, unless it is done.
    pub(super) fn of(&self, (slot, generation): Ticket) -> Option<&OutstandingQuery<W>> {
        self.get(slot).filter(|query| query.generation == generation)
    }

    /// The same, to be changed.
    pub(super) fn of_mut(&mut self, (slot, generation): Ticket) -> Option<&mut OutstandingQuery<W>> {
        self.get_mut(slot).filter(|query| query.generation == generation)
    }

    /// Whether the question of a ticket is not done.
    pub(super) fn is_live(&self, ticket: Ticket) -> bool {
        self.of(ticket).is_some()
    }

    pub(super) fn attempt_mut(&mut self, slot: u32, number: usize) -> Option<&mut Attempt> {
        self.get_mut(slot)?.attempts.get_mut(number)
    }

    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The slot of the question with this key, if it is outstanding.
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let is_it = |slot: &u32| self.get(*slot).is_some_and(|query| *query.question.key == *key);
        self.by_key.find(hash, is_it).copied()
    }

    /// Notes a question that is not outstanding yet; its slot.
    pub(super) fn start(&mut self, now: Instant, question: Box<Question>, hash: u64, upstreams: Numbers) -> u32 {
        if self.idle.len() > self.bounds.tickets() {
            let all = &self.all;
            self.idle.retain(|&(slot, generation)| {
                all.get(slot as usize).is_some_and(|query| query.generation == generation)
            });
        }
        self.generation = self.generation.wrapping_add(1);
        let slot = self.all.insert(OutstandingQuery {
            generation: self.generation,
            question,
            hash,
            upstreams,
            waiters: SmallVec::new(),
            attempts: SmallVec::new(),
            round_start: 0,
            next_try: None,
            line: None,
            has_stale: false,
            is_repeated: false,
            queries: 0,
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
        let all = &self.all;
        let hash_of = |slot: &u32| all.get(*slot as usize).map_or(0, |query| query.hash);
        self.by_key.insert_unique(hash, slot, hash_of);
        slot
    }

    /// A question is done: nothing else of it is left.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Question>> {
        let OutstandingQuery { question, hash, .. } = self.all.try_remove(slot as usize)?;
        if let Ok(place) = self.by_key.find_entry(hash, |known| *known == slot) {
            place.remove();
        }
        Some(question)
    }

    /// No client waits for a question.
    pub(super) fn note_idle(&mut self, ticket: Ticket) {
        self.idle.push_back(ticket);
    }

    /// A question that no client waits for, the oldest.
    pub(super) fn take_idle(&mut self) -> Option<u32> {
        while let Some(ticket) = self.idle.pop_front() {
            if self.of(ticket).is_some_and(|query| query.waiters.is_empty()) {
                return Some(ticket.0);
            }
        }
        None
    }

    /// Keeps a question's open tries to upstreams that are down, because it is settled by another.
    pub(super) fn keep_orphans(&mut self, slot: u32, is_down: impl Fn(usize) -> bool) {
        let Some(query) = self.all.get(slot as usize) else { return };
        let open = query.attempts.iter().enumerate().filter(|(_, tried)| tried.is_open && is_down(tried.upstream));
        for (number, tried) in open {
            let Ok(number) = u8::try_from(number) else { continue };
            let id = AttemptId { slot, generation: query.generation, number };
            self.orphans.keep(Orphan { id, upstream: tried.upstream, message_id: tried.id, sent: tried.sent });
        }
    }

    /// The try that a message answers whose question is settled, if that is still news.
    pub(super) fn take_orphan(&mut self, id: AttemptId, message: &[u8]) -> Option<Orphan> {
        self.orphans.answered(id, message)
    }

    /// Remembers that a question failed, and the answer that says so where there is one.
    pub(super) fn remember_failure(&mut self, slot: u32, answer: Option<Arc<[u8]>>, now: Instant) {
        if let Some(query) = self.all.get(slot as usize) {
            self.failures.remember(&query.question.key, answer, now);
        }
    }

    /// A question was answered.
    pub(super) fn forget_failure(&mut self, slot: u32) {
        if let Some(query) = self.all.get(slot as usize) {
            self.failures.forget(&query.question.key);
        }
    }

    /// Sees to it that a question is looked at when something is due.
    pub(super) fn arm(&mut self, slot: u32) {
        if self.timers.len() >= self.bounds.timers() {
            self.timers.clear();
            for (slot, query) in &self.all {
                self.timers.set(query.due(), (slot as u32, query.generation));
            }
        }
        if let Some(query) = self.all.get(slot as usize) {
            self.timers.set(query.due(), (slot, query.generation));
        }
    }

    /// A question for which something is due, its timer gone.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u32> {
        while let Some(ticket) = self.timers.take_due(now) {
            if self.of(ticket).is_some_and(|query| query.due() <= now) {
                return Some(ticket.0);
            }
        }
        None
    }

    /// When something may be due first of what was put off since the last call.
    pub(super) fn take_first_set(&mut self) -> Option<Instant> {
        self.timers.take_first_set()
    }

    /// When something may be due next.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        let Self { timers, all, .. } = self;
        timers.next(|(slot, generation)| all.get(slot as usize).is_some_and(|query| query.generation == generation))
    }
}
