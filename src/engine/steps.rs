//! The way of a query in steps, for whoever has many queries at once.
//!
//! Records and answers lie anywhere in memory, most of it far from the processor. A batch takes each step for all of its
//! queries, and names the memory of the next step in between: that arrives while other queries are worked on.

use std::sync::Arc;
use std::time::Instant;

use super::{
    Action, Chain, Client, Context, Engine, Observer, Reason, Snapshot, Step, answer_fault, key, limit_for_strangers,
    refuse, write,
};
use crate::cache::KeyHash;
use crate::forward::{Disposition, ForwardRule, LoopGuard};
use crate::records::{Lookup, NameHash};
use crate::wire::query::CLASS_IN;
use crate::wire::{ExtendedError, NameRoom, Query, Rcode, Rtype};

/// A query that was read.
pub struct Read<'a> {
    pub(super) query: Query<'a>,
    pub(super) hash: NameHash,
}

/// A query that was begun.
pub enum Begun<'q> {
    /// It needs nothing from the cache.
    Done(Action),
    /// The cache or an upstream has the answer.
    Pending(Pending<'q>),
}

/// A query whose answer the cache may have.
pub struct Pending<'q> {
    query: &'q Query<'q>,
    rule: &'q Arc<ForwardRule>,
    hash: KeyHash,
}

/// Memory that is brought nearer: the place says where the content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approach {
    /// Where something stands, by its hash.
    Place,
    /// What stands there.
    Content,
}

impl Engine {
    /// The first step of [`Self::answer`]: reads the query, and refuses what is no matter for the table.
    ///
    /// Records and answers lie anywhere in memory, most of it far from the processor. Who has many queries at once takes
    /// each step for all of them, and names the memory of the next step in between ([`Self::approach_record`],
    /// [`Self::approach_answer`]).
    ///
    /// # Errors
    /// What became of a query that goes no further.
    #[inline]
    pub fn read<'a>(
        &self,
        snapshot: &Snapshot,
        bytes: &'a [u8],
        client: Client,
        room: &'a mut NameRoom,
        reply: &mut Vec<u8>,
    ) -> Result<Read<'a>, Action> {
        self.read_observed(snapshot, bytes, client, room, reply, &())
    }

    #[inline]
    pub(super) fn read_observed<'a>(
        &self,
        snapshot: &Snapshot,
        bytes: &'a [u8],
        client: Client,
        room: &'a mut NameRoom,
        reply: &mut Vec<u8>,
        observer: &impl Observer,
    ) -> Result<Read<'a>, Action> {
        reply.clear();
        let mut query = match Query::parse(bytes, room) {
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

    /// The second step of [`Self::answer`]: the table and the rules.
    #[inline]
    pub fn begin<'q>(
        &self,
        snapshot: &'q Snapshot,
        Read { query, hash }: &'q Read<'_>,
        client: Client,
        now: Instant,
        turn: u32,
        reply: &mut Vec<u8>,
    ) -> Begun<'q> {
        self.begin_observed(&Context { snapshot, query, client, now, turn, observer: &() }, *hash, reply)
    }

    #[inline]
    pub(super) fn begin_observed<'q, O: Observer>(
        &self,
        context: &Context<'q, O>,
        hash: NameHash,
        reply: &mut Vec<u8>,
    ) -> Begun<'q> {
        let (query, table) = (context.query, &context.snapshot.table);
        let found = table.lookup_hashed(query.qname.as_wire(), hash, query.qtype, context.client.address);
        context.observer.step(Step::Table { name: query.qname.as_wire(), found: &found });
        match found {
            Lookup::Missing => {}
            Lookup::Alias(..) => return Begun::Done(self.follow(context, Chain::new(query), reply)),
            found => return Begun::Done(write::from_table(context, &found, reply)),
        }
        // The table does not have the name: answered here, from the cache, or upstream.
        let rule = match context.rule(query.qname) {
            (Disposition::Here(here), zone_len) => {
                return Begun::Done(write::here(context, *here, zone_len, reply));
            }
            (Disposition::Forward(rule), _) => rule,
        };
        if !query.recursion_desired() {
            let error = ExtendedError::NOT_AUTHORITATIVE;
            let limit = context.limit();
            return Begun::Done(refuse(query, Rcode::REFUSED, error, Reason::NoRecursion, limit, reply));
        }
        let hash = self.cache.hash(&key(query, query.qname, rule));
        Begun::Pending(Pending { query, rule, hash })
    }

    /// Has `fetch` bring nearer where a name stands in the table; then, called again, what the table has of it.
    #[inline]
    pub fn approach_record(&self, snapshot: &Snapshot, read: &Read<'_>, step: Approach, fetch: impl Fn(*const u8)) {
        match step {
            Approach::Place => snapshot.table.approach_place(read.hash, fetch),
            Approach::Content => snapshot.table.approach_entry(read.hash, fetch),
        }
    }

    /// Has `fetch` bring nearer where an answer stands in the cache; then, called again, the answer.
    #[inline]
    pub fn approach_answer(&self, pending: &Pending<'_>, step: Approach, fetch: impl Fn(*const u8)) {
        match step {
            Approach::Place => self.cache.approach_place(pending.hash, fetch),
            Approach::Content => self.cache.approach_answer(pending.hash, fetch),
        }
    }

    /// The third step of [`Self::answer`]: looks into the cache.
    #[inline]
    pub fn finish(
        &self,
        snapshot: &Snapshot,
        pending: &Pending<'_>,
        client: Client,
        now: Instant,
        turn: u32,
        reply: &mut Vec<u8>,
    ) -> Action {
        let context = Context { snapshot, query: pending.query, client, now, turn, observer: &() };
        self.finish_observed(&context, pending, reply)
    }

    #[inline]
    pub(super) fn finish_observed<O: Observer>(
        &self,
        context: &Context<'_, O>,
        Pending { query, rule, hash }: &Pending<'_>,
        reply: &mut Vec<u8>,
    ) -> Action {
        self.look_up(context, query.qname, query.question(), rule, Some(*hash), None, reply)
    }
}
