//! The way of one query. Read this first.
//!
//! [`Engine::answer`] takes the bytes of a query and writes the reply into the listener's buffer, or says that the
//! question must go upstream. [`Engine::settle`] takes what came back and does the same for each client that waited.
//! The order is the same for every transport: parse, access, records, names answered here, cache, upstream.
//!
//! No socket, no clock, no waiting: the instant is an argument, and what must leave the machine is a value.

#![deny(clippy::indexing_slicing)]

mod access;
mod chain;
mod outcome;
mod snapshot;
mod write;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

pub use access::AccessList;
pub use chain::Chain;
pub use outcome::{AnswerSource, Reason};
pub use snapshot::Snapshot;

use crate::cache::{Answer, Cache, CacheKey};
use crate::forward::{Disposition, Failure, ForwardRule};
use crate::records::Lookup;
use crate::wire::query::CLASS_IN;
use crate::wire::reply::{udp_limit, write_refusal};
use crate::wire::{ExtendedError, Fault, LowerName, Query, Rcode, Refusal, Rtype};

/// Who asks, and by which way the reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's address; IPv4 where it is one mapped into IPv6.
    pub address: IpAddr,
    /// How it asks.
    pub transport: Transport,
}

/// What limits the size of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams: what the client can take, at most 1232 octets.
    Datagram,
    /// A stream: 65,535 octets.
    Stream,
}

/// What becomes of a query.
pub enum Action {
    /// The reply is written.
    Answered(AnswerSource),
    /// A reply without data is written.
    Refused(Reason),
    /// Nothing is to be sent.
    Dropped(Reason),
    /// The question must be asked upstream.
    Forward(Box<Forward>),
}

/// A question for upstream, and what is known of its answer so far.
pub struct Forward {
    /// What its answer will be kept under.
    pub key: CacheKey,
    /// The question section: name, type, class.
    pub question: Vec<u8>,
    /// DO.
    pub dnssec_ok: bool,
    /// CD.
    pub checking_disabled: bool,
    /// The rule that applies.
    pub rule: Arc<ForwardRule>,
    /// The aliases followed so far, where there are any.
    pub chain: Option<Chain>,
}

/// The engine: what stays through all reloads.
pub struct Engine {
    cache: Arc<Cache>,
}

/// What the steps of one query share.
struct Context<'a> {
    snapshot: &'a Snapshot,
    query: &'a Query<'a>,
    client: Client,
    now: Instant,
    /// Counts up with every query of a worker, so that several addresses take turns.
    turn: u32,
}

impl Context<'_> {
    /// Octets that the reply may have.
    fn limit(&self) -> usize {
        match self.client.transport {
            Transport::Datagram => udp_limit(self.query.edns),
            Transport::Stream => usize::from(u16::MAX),
        }
    }
}

impl Engine {
    /// An engine that keeps upstreams' answers in `cache`.
    pub fn new(cache: Arc<Cache>) -> Self {
        Self { cache }
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Answers the query in `bytes`, or says what must be asked. The reply is written into `reply`, which is cleared.
    pub fn answer(
        &self,
        snapshot: &Snapshot,
        bytes: &[u8],
        client: Client,
        now: Instant,
        turn: u32,
        reply: &mut Vec<u8>,
    ) -> Action {
        reply.clear();
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(fault) => return answer_fault(snapshot, bytes, fault, client, reply),
        };
        if !snapshot.access.allows(client.address) {
            return refuse(&query, Rcode::REFUSED, ExtendedError::PROHIBITED, Reason::Access, reply);
        }
        if query.qclass != CLASS_IN {
            return refuse(
                &query,
                Rcode::REFUSED,
                ExtendedError::NOT_SUPPORTED,
                Reason::Class,
                reply,
            );
        }
        if query.qtype.is_meta() && query.qtype != Rtype::ANY {
            return refuse(
                &query,
                Rcode::REFUSED,
                ExtendedError::NOT_SUPPORTED,
                Reason::QueryType,
                reply,
            );
        }
        let context = Context {
            snapshot,
            query: &query,
            client,
            now,
            turn,
        };
        match snapshot
            .table
            .lookup(query.qname.as_wire(), query.qtype, client.address)
        {
            Lookup::Missing => self.answer_missing(&context, reply),
            Lookup::Alias(..) => self.follow(&context, Chain::new(&query), reply),
            found => write::from_table(&context, &found, reply),
        }
    }

    /// Writes the reply of one client that waited for an upstream, or says what must be asked next.
    ///
    /// `bytes` is its query, which was answered with [`Action::Forward`]; `chain` came with that. `outcome` is the
    /// upstream's answer, or why there is none.
    #[expect(
        clippy::too_many_arguments,
        reason = "the query, the client and the outcome are three things"
    )]
    pub fn settle(
        &self,
        snapshot: &Snapshot,
        bytes: &[u8],
        client: Client,
        chain: Option<Chain>,
        outcome: Result<&Arc<Answer>, Failure>,
        now: Instant,
        turn: u32,
        reply: &mut Vec<u8>,
    ) -> Action {
        reply.clear();
        let Ok(query) = Query::parse(bytes) else {
            return Action::Dropped(Reason::Fault);
        };
        let context = Context {
            snapshot,
            query: &query,
            client,
            now,
            turn,
        };
        match outcome {
            Ok(answer) => self.use_answer(&context, chain, answer, 0, AnswerSource::Upstream, reply),
            Err(failure) => write::failure(&context, error_of(failure), reply),
        }
    }

    /// The table does not have the name: answered here, from the cache, or upstream.
    fn answer_missing(&self, context: &Context<'_>, reply: &mut Vec<u8>) -> Action {
        let query = context.query;
        let rule = match context.snapshot.rules.find(query.qname.as_wire()) {
            (Disposition::Here(here), zone_len) => return write::here(context, *here, zone_len, reply),
            (Disposition::Forward(rule), _) => rule,
        };
        if !query.recursion_desired() {
            return refuse(
                query,
                Rcode::REFUSED,
                ExtendedError::NOT_AUTHORITATIVE,
                Reason::NoRecursion,
                reply,
            );
        }
        let key = self.key(context, &query.qname, rule);
        let cached = self.cache.with(&key, context.now, |answer, age| {
            if self.leads_into_table(context, answer) {
                Err((answer.clone(), age))
            } else {
                Ok(write::from_answer(context, answer, age, reply))
            }
        });
        match cached {
            Some(Ok(())) => Action::Answered(AnswerSource::Cache),
            Some(Err((answer, age))) => self.use_answer(context, None, &answer, age, AnswerSource::Cache, reply),
            None => Action::Forward(Box::new(Forward {
                key,
                question: query.question().to_vec(),
                dnssec_ok: query.dnssec_ok(),
                checking_disabled: query.checking_disabled(),
                rule: rule.clone(),
                chain: None,
            })),
        }
    }

    /// Replies with an upstream's answer, its aliases led into the table.
    fn use_answer(
        &self,
        context: &Context<'_>,
        chain: Option<Chain>,
        answer: &Answer,
        age: u32,
        source: AnswerSource,
        reply: &mut Vec<u8>,
    ) -> Action {
        let cut = self.leads_into_table(context, answer);
        match chain {
            None if !cut => {
                write::from_answer(context, answer, age, reply);
                Action::Answered(source)
            }
            chain => {
                let mut chain = chain.unwrap_or_else(|| Chain::from_upstream(context.query));
                chain.take_upstream(context, answer, age);
                if chain.is_complete() {
                    return chain.write(context, source, reply);
                }
                self.follow(context, chain, reply)
            }
        }
    }

    /// Whether one of the answer's aliases has a target that the table speaks for.
    fn leads_into_table(&self, context: &Context<'_>, answer: &Answer) -> bool {
        !matches!(context.query.qtype, Rtype::CNAME | Rtype::ANY)
            && answer.targets().any(|target| context.table_has(target))
    }

    fn key(&self, context: &Context<'_>, qname: &LowerName, rule: &ForwardRule) -> CacheKey {
        let query = context.query;
        CacheKey::new(
            qname,
            query.qtype,
            query.dnssec_ok(),
            query.checking_disabled(),
            rule.upstream_set,
        )
    }
}

impl Context<'_> {
    /// Whether the table speaks for a name: it has it, or its zone says that it does not exist.
    fn table_has(&self, lower_name: &[u8]) -> bool {
        !matches!(
            self.snapshot
                .table
                .lookup(lower_name, self.query.qtype, self.client.address),
            Lookup::Missing
        )
    }
}

/// The extended error that tells a client of a failure (RFC 8914 §4).
fn error_of(failure: Failure) -> ExtendedError {
    match failure {
        Failure::Silence => ExtendedError::NO_REACHABLE_AUTHORITY,
        Failure::Unreachable => ExtendedError::NETWORK_ERROR,
        Failure::Overload => ExtendedError::OTHER,
    }
}

fn refuse(query: &Query<'_>, rcode: Rcode, error: ExtendedError, reason: Reason, reply: &mut Vec<u8>) -> Action {
    write_refusal(query.as_bytes(), &query.refusal(rcode, Some(error)), reply);
    Action::Refused(reason)
}

fn answer_fault(snapshot: &Snapshot, bytes: &[u8], fault: Fault, client: Client, reply: &mut Vec<u8>) -> Action {
    let refusal = match fault {
        Fault::Short => return Action::Dropped(Reason::Short),
        Fault::Response => return Action::Dropped(Reason::Response),
        Fault::Refused(refusal) => refusal,
    };
    if !snapshot.access.allows(client.address) {
        let refusal = Refusal {
            rcode: Rcode::REFUSED,
            error: Some(ExtendedError::PROHIBITED),
            ..refusal
        };
        write_refusal(bytes, &refusal, reply);
        return Action::Refused(Reason::Access);
    }
    write_refusal(bytes, &refusal, reply);
    Action::Refused(match refusal.rcode {
        Rcode::NOTIMP => Reason::Opcode,
        Rcode::BADVERS => Reason::EdnsVersion,
        _ => Reason::Malformed,
    })
}
