//! The steps of a query, in their order, for one query or for a batch: this is the one place where it is decided.
//!
//! 1. [`Engine::read`]: the query is read; clients that may not ask, and types that are not answered, are refused.
//! 2. [`Engine::look_in_table`]: the records table, names that are answered here, the rule.
//! 3. [`Engine::look_in_cache`]: the cache, or what must be asked upstream.
//! 4. [`Engine::close`]: refusals that would be too many for their network, loops, what is no reply.
//!
//! Records and answers lie anywhere in memory, most of it far from the processor. A batch takes each step for a group of
//! queries, and names the memory of the next step in between: that arrives while other queries are worked on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::{
    Action, Chain, Client, Context, Engine, Observer, Reason, Snapshot, Step, answer_fault, key, limit_for_strangers,
    refuse, write,
};
use crate::cache::KeyHash;
use crate::forward::{Disposition, ForwardRule, LoopGuard};
use crate::records::{Lookup, NameHash};
use crate::wire::query::CLASS_IN;
use crate::wire::{ExtendedError, NameBuf, Query, Rcode, Rtype, Transport};

/// Queries of a batch that are in work at the same time: as many as it takes until memory is there.
pub const GROUP: usize = 16;

/// The same, as turns.
const TURNS: u32 = 16;
const _: () = assert!(TURNS as usize == GROUP);

/// Room for the names of a group.
pub type NameBufs = [NameBuf; GROUP];

/// A query, and what becomes of it.
pub struct Ask<'a> {
    /// The message.
    pub bytes: &'a [u8],
    /// The client.
    pub client: Client,
    /// The client's port.
    pub port: u16,
    /// Where the reply is written; it is empty where there is none yet, or none at all.
    pub reply: &'a mut Vec<u8>,
    /// What is to be done; [`Reason::Fault`] until the query was answered, and where a step of it panicked.
    pub action: Action,
}

impl<'a> Ask<'a> {
    /// A query that was not answered yet.
    pub fn new(bytes: &'a [u8], client: Client, port: u16, reply: &'a mut Vec<u8>) -> Self {
        Self { bytes, client, port, reply, action: LOST }
    }
}

/// What becomes of a query that met a defect.
const LOST: Action = Action::Dropped(Reason::Fault);

/// Keeps a panic in a step of one query from the others.
pub trait StepGuard {
    /// Calls a step; `lost` stands in for its result where it panics.
    fn step<R>(&self, step: impl FnOnce() -> R, lost: impl FnOnce() -> R) -> R;
}

/// Panics go through.
impl StepGuard for () {
    #[inline]
    fn step<R>(&self, step: impl FnOnce() -> R, _: impl FnOnce() -> R) -> R {
        step()
    }
}

/// What the queries of a batch share.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// Settings and records.
    pub snapshot: &'a Snapshot,
    /// The time.
    pub now: Instant,
    /// The turn of the first query; it counts up with each, so that several addresses take turns.
    pub turn: u32,
}

/// A query that was read.
struct Read<'a> {
    query: Query<'a>,
    hash: NameHash,
}

/// What the table says to a query.
enum Looked<'q> {
    /// All that is needed.
    Done(Action),
    /// Nothing: the cache or an upstream has the answer.
    Pending(Pending<'q>),
}

/// A query whose answer the cache may have.
struct Pending<'q> {
    query: &'q Query<'q>,
    rule: &'q Arc<ForwardRule>,
    hash: KeyHash,
}

impl Engine {
    /// Answers queries, or says what must be asked: each reply is written into its buffer, which is cleared, and what is
    /// to be done stands in [`Ask::action`]. `prefetch` may bring the memory at an address nearer.
    pub fn answer_batch(
        &self,
        batch: Batch<'_>,
        asks: &mut [Ask<'_>],
        name_bufs: &mut NameBufs,
        guard: &impl StepGuard,
        prefetch: impl Fn(*const u8) + Copy,
    ) {
        let mut batch = batch;
        for asks in asks.chunks_mut(GROUP) {
            self.answer_group(batch, asks, name_bufs, guard, &(), prefetch);
            batch.turn = batch.turn.wrapping_add(TURNS);
        }
    }

    /// The same for at most as many queries as there are rooms; the steps are told to `observer`.
    #[inline]
    pub(super) fn answer_group<O: Observer>(
        &self,
        batch: Batch<'_>,
        asks: &mut [Ask<'_>],
        name_bufs: &mut [NameBuf],
        guard: &impl StepGuard,
        observer: &O,
        prefetch: impl Fn(*const u8) + Copy,
    ) {
        let Batch { snapshot, now, turn } = batch;
        let table = &snapshot.table;
        let is_alone = asks.len() == 1;
        let mut read: SmallVec<[(&mut Ask<'_>, u32, Read<'_>); GROUP]> = SmallVec::new();
        for ((ask, name_buf), turn) in asks.iter_mut().zip(name_bufs).zip(turn..) {
            ask.reply.clear();
            let (bytes, client, reply) = (ask.bytes, ask.client, &mut *ask.reply);
            match guard.step(|| self.read(snapshot, bytes, client, name_buf, reply, observer), || Err(LOST)) {
                Err(action) => self.close(ask, action, now),
                Ok(query) => {
                    table.prefetch_place(query.hash, prefetch);
                    read.push((ask, turn, query));
                }
            }
        }
        for (.., query) in &read {
            table.prefetch_entry(query.hash, prefetch);
        }
        let mut pending: SmallVec<[(&mut Ask<'_>, Context<'_, O>, Pending<'_>); GROUP]> = SmallVec::new();
        for (ask, turn, Read { query, hash }) in &mut read {
            let context = Context { snapshot, query, client: ask.client, now, turn: *turn, observer };
            match guard.step(|| self.look_in_table(&context, *hash, ask.reply), || Looked::Done(LOST)) {
                Looked::Done(action) => self.close(ask, action, now),
                Looked::Pending(looked) => {
                    // A query alone has no others whose steps hide a cache miss: both places are fetched at once.
                    match is_alone {
                        true => self.cache.prefetch_places(looked.hash, prefetch),
                        false => self.cache.prefetch_place(looked.hash, prefetch),
                    }
                    pending.push((ask, context, looked));
                }
            }
        }
        for (.., looked) in &pending {
            self.cache.prefetch_answer(looked.hash, prefetch);
        }
        for (ask, context, looked) in &mut pending {
            let action = guard.step(|| self.look_in_cache(context, looked, ask.reply), || LOST);
            if is_alone && matches!(action, Action::Forward(_)) {
                // Until its answer comes there is time.
                self.cache.prefetch_insert(looked.hash, prefetch);
            }
            self.close(ask, action, now);
        }
    }

    /// Reads the query, and refuses clients that may not ask and types that are not answered.
    ///
    /// # Errors
    /// What became of a query that goes no further.
    #[inline]
    fn read<'a>(
        &self,
        snapshot: &Snapshot,
        bytes: &'a [u8],
        client: Client,
        name_buf: &'a mut NameBuf,
        reply: &mut Vec<u8>,
        observer: &impl Observer,
    ) -> Result<Read<'a>, Action> {
        let mut query = match Query::parse(bytes, name_buf) {
            Ok(query) => query,
            Err(fault) => return Err(answer_fault(snapshot, bytes, fault, client, reply)),
        };
        if client.transport.is_encrypted() {
            query.pad_reply();
        }
        let limit = client.transport.reply_limit(query.edns);
        let refused = |rcode, error, reason, reply| Err(refuse(&query, rcode, error, reason, limit, reply));
        let is_allowed = snapshot.access.allows(client.address);
        observer.step(Step::Access { is_allowed });
        if !is_allowed {
            let (error, limit) = (ExtendedError::PROHIBITED, limit_for_strangers(client, bytes));
            return Err(refuse(&query, Rcode::REFUSED, error, Reason::Access, limit, reply));
        }
        if query.qclass != CLASS_IN {
            return refused(Rcode::REFUSED, ExtendedError::NOT_SUPPORTED, Reason::Class, reply);
        }
        if query.qtype.is_meta() && query.qtype != Rtype::ANY {
            return refused(Rcode::REFUSED, ExtendedError::NOT_SUPPORTED, Reason::QueryType, reply);
        }
        if self.guard.is_loop(query.question(), LoopGuard::tokens(query.options())) {
            return refused(Rcode::REFUSED, ExtendedError::OTHER, Reason::Loop, reply);
        }
        let hash = snapshot.table.hash(query.qname.as_wire());
        Ok(Read { query, hash })
    }

    /// Looks into the table, and for the rule of what is not in there.
    #[inline]
    fn look_in_table<'q, O: Observer>(
        &self,
        context: &Context<'q, O>,
        hash: NameHash,
        reply: &mut Vec<u8>,
    ) -> Looked<'q> {
        let (query, table) = (context.query, &context.snapshot.table);
        let found = table.lookup_hashed(query.qname.as_wire(), hash, query.qtype, context.client.address);
        context.observer.step(Step::Table { name: query.qname.as_wire(), found: &found });
        match found {
            Lookup::Missing => {}
            Lookup::Alias(..) => return Looked::Done(self.follow(context, Chain::new(query), reply)),
            found => return Looked::Done(write::from_table(context, &found, reply)),
        }
        // The table does not have the name: answered here, from the cache, or upstream.
        let rule = match context.rule(query.qname) {
            (Disposition::BuiltIn(here), zone_len) => {
                return Looked::Done(write::here(context, *here, zone_len, reply));
            }
            (Disposition::Forward(rule), _) => rule,
        };
        if !query.recursion_desired() {
            let error = ExtendedError::NOT_AUTHORITATIVE;
            let limit = context.limit();
            return Looked::Done(refuse(query, Rcode::REFUSED, error, Reason::NoRecursion, limit, reply));
        }
        let hash = self.cache.hash(&key(query, query.qname, rule));
        Looked::Pending(Pending { query, rule, hash })
    }

    /// Looks into the cache.
    #[inline]
    fn look_in_cache<O: Observer>(
        &self,
        context: &Context<'_, O>,
        Pending { query, rule, hash }: &Pending<'_>,
        reply: &mut Vec<u8>,
    ) -> Action {
        self.look_up(context, query.qname, query.question(), rule, Some(*hash), None, reply)
    }

    /// What has to be seen to whatever became of a query.
    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    fn close(&self, ask: &mut Ask<'_>, action: Action, now: Instant) {
        ask.action = match action {
            Action::Refused(reason) if ask.client.transport == Transport::Udp && !self.may_refuse(ask, reason, now) => {
                Action::Dropped(Reason::RefusalRate)
            }
            action => action,
        };
        // What a step left in the buffer is no reply.
        if matches!(ask.action, Action::Dropped(_) | Action::Forward(_)) {
            ask.reply.clear();
        }
    }

    #[cold]
    fn may_refuse(&self, ask: &Ask<'_>, reason: Reason, now: Instant) -> bool {
        self.refusals.allows(reason, SocketAddr::new(ask.client.address, ask.port), now)
    }
}
