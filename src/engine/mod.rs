//! The way of one query. Read this first.
//!
//! [`Engine::answer_batch`] takes the bytes of queries and writes each reply into the listener's buffer, or says that the
//! question must go upstream. [`Engine::resolve`] takes what came back and does the same for each client that waited.
//! The order is the same for every transport (`pipeline.rs`): parse, access, records, names answered here,
//! cache, upstream.
//!
//! No socket, no clock, no waiting: the instant is an argument, and what must leave the machine is a value.

#![deny(clippy::indexing_slicing)]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation))]

mod access;
mod chain;
mod chain_memory;
mod explain;
mod follow;
mod guard;
mod observe;
mod outcome;
mod pipeline;
mod public_action;
mod refusals;
mod responsible;
mod snapshot;
mod write;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

pub use crate::cache::{Answer, AnswerView, State as AnswerState};
pub use access::AccessList;
pub use chain::Chain;
pub use chain_memory::CHAIN_MEMORY_MAX;
use chain_memory::ChainMemory;
pub use explain::{Asked, Explained, Reached};
pub use guard::{Finding, Findings, PublicGuard};
pub use observe::{Observer, Responsible, Step, matched_owner};
pub use outcome::{AnswerSource, Reason};
pub use pipeline::{Ask, Batch, GROUP, NameBufs, StepGuard};
pub use public_action::PublicAction;
use refusals::RefusalRate;
pub use snapshot::{Snapshot, StaleLimits};

use crate::cache::{Age, Cache, CacheKey, KeyHash, State, TtlLimits};
use crate::forward::{Disposition, Failure, ForwardRule, LoopGuard, Question, Stale};
use crate::records::Lookup;
use crate::wire::reply::write_refusal;
use crate::wire::{ExtendedError, Fault, LowerName, NameBuf, Query, Rcode, Refusal, Transport, UpstreamMessage};

/// Who asks, and by which way the reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's address; IPv4 where it is one mapped into IPv6.
    pub address: IpAddr,
    /// How it asks.
    pub transport: Transport,
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
    Forward(Forward),
    /// The reply is written, and the question should be asked again before its answer expires.
    AnsweredAndRefresh(AnswerSource, Box<Question>),
}

/// What came of a question that was asked upstream.
#[derive(Debug, Clone, Copy)]
pub enum UpstreamResult<'a> {
    /// The upstream's answer.
    Answer(&'a Answer),
    /// No answer, and this expired one may be served.
    Stale(&'a Answer),
    /// No answer; what is known of the upstream concerned, at most 64 bytes.
    Failed(Failure, Option<&'a str>),
}

/// An expired answer at hand.
#[derive(Debug, Clone)]
pub struct StaleAnswer {
    /// The answer.
    pub answer: Answer,
    /// Until when it may be served.
    pub limits: Stale,
}

/// A question for upstream, and what is known of its answer so far.
pub struct Forward {
    /// The question.
    pub question: Box<Question>,
    /// The aliases followed so far, where there are any.
    pub chain: Option<Box<Chain>>,
    /// The expired answer at hand.
    pub stale: Option<Box<StaleAnswer>>,
}

/// The engine: what stays through all reloads.
pub struct Engine {
    cache: Arc<Cache>,
    guard: LoopGuard,
    findings: Findings,
    refusals: RefusalRate,
    /// That of chains that wait for upstreams.
    chain_memory: Arc<ChainMemory>,
}

/// What the steps of one query share.
struct Context<'a, O> {
    snapshot: &'a Snapshot,
    query: &'a Query<'a>,
    client: Client,
    now: Instant,
    /// Counts up with every query of a worker, so that several addresses take turns.
    turn: u32,
    /// Who is told of the steps.
    observer: &'a O,
}

impl<O: Observer> Context<'_, O> {
    /// Bytes that the reply may have.
    fn limit(&self) -> usize {
        self.client.transport.reply_limit(self.query.edns)
    }
}

impl Engine {
    /// An engine that keeps upstreams' answers in `cache` and knows its own questions by `guard`.
    pub fn new(cache: Arc<Cache>, guard: LoopGuard) -> Self {
        Self {
            cache,
            guard,
            findings: Findings::default(),
            refusals: RefusalRate::default(),
            chain_memory: Arc::default(),
        }
    }

    /// Lets the chains that wait for upstreams take so many bytes together.
    pub fn set_chain_memory(&self, bytes: usize) {
        self.chain_memory.set_most(bytes);
    }

    /// What the guard found.
    pub fn findings(&self) -> &Findings {
        &self.findings
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
        self.answer_observed(snapshot, bytes, client, now, turn, reply, &())
    }

    /// The same, its steps told to `observer`.
    #[expect(clippy::too_many_arguments, reason = "the query, the client and the observer are three things")]
    #[inline]
    fn answer_observed(
        &self,
        snapshot: &Snapshot,
        bytes: &[u8],
        client: Client,
        now: Instant,
        turn: u32,
        reply: &mut Vec<u8>,
        observer: &impl Observer,
    ) -> Action {
        let mut name_buf = [NameBuf::new()];
        let mut ask = [Ask::new(bytes, client, u16::MAX, reply)];
        self.answer_group(Batch { snapshot, now, turn }, &mut ask, &mut name_buf, &(), observer, |_| ());
        let [Ask { action, .. }] = ask;
        action
    }

    /// Has `prefetch` bring nearer what [`Self::keep`] will read for an answer under `key`.
    pub fn prefetch_keep(&self, key: &[u8], prefetch: impl Fn(*const u8)) {
        self.cache.prefetch_insert(self.cache.hash_bytes(key), prefetch);
    }

    /// Takes an upstream's answer to a question, and keeps it in the cache as long as its TTL and the limits allow;
    /// nothing when it cannot be read. `prefetch` may bring memory nearer that the next one will read.
    pub fn keep(
        &self,
        snapshot: &Snapshot,
        question: &Question,
        message: &mut UpstreamMessage,
        now: Instant,
        prefetch: impl Fn(*const u8),
    ) -> Option<Answer> {
        let answer = read_answer(snapshot, question, message, now)?;
        self.cache.insert(&answer, prefetch);
        Some(answer)
    }

    /// Writes the reply of one client that waited for an upstream, or says what must be asked next.
    ///
    /// `bytes` is its query, which was answered with [`Action::Forward`]; `chain` came with that.
    #[expect(clippy::too_many_arguments, reason = "the query, the client and the outcome are three things")]
    pub fn resolve(
        &self,
        snapshot: &Snapshot,
        bytes: &[u8],
        client: Client,
        chain: Option<Chain>,
        result: UpstreamResult<'_>,
        now: Instant,
        turn: u32,
        reply: &mut Vec<u8>,
    ) -> Action {
        self.resolve_observed(snapshot, bytes, client, chain, result, now, turn, reply, &())
    }

    /// The same, its steps told to `observer`.
    #[expect(
        clippy::too_many_arguments,
        reason = "the query, the client, the outcome and the observer are four things"
    )]
    fn resolve_observed(
        &self,
        snapshot: &Snapshot,
        bytes: &[u8],
        client: Client,
        chain: Option<Chain>,
        result: UpstreamResult<'_>,
        now: Instant,
        turn: u32,
        reply: &mut Vec<u8>,
        observer: &impl Observer,
    ) -> Action {
        reply.clear();
        let mut name_buf = NameBuf::new();
        let Ok(mut query) = Query::parse(bytes, &mut name_buf) else {
            return Action::Dropped(Reason::Fault);
        };
        if client.transport.is_encrypted() {
            query.pad_reply();
        }
        let context = Context { snapshot, query: &query, client, now, turn, observer };
        match result {
            UpstreamResult::Answer(answer) => {
                self.use_answer(&context, chain, answer.view(), Age::Seconds(0), AnswerSource::Upstream, reply)
            }
            UpstreamResult::Stale(answer) => {
                self.use_answer(&context, chain, answer.view(), Age::Stale, AnswerSource::Stale, reply)
            }
            UpstreamResult::Failed(Failure::BudgetTimeout, _) => Action::Dropped(Reason::BudgetTimeout),
            UpstreamResult::Failed(Failure::Loop, _) => {
                let (error, limit) = (ExtendedError::OTHER, context.limit());
                refuse(&query, Rcode::REFUSED, error, Reason::Loop, limit, reply)
            }
            UpstreamResult::Failed(failure, detail) => {
                write::upstream_failure(&context, error_of(failure), detail.unwrap_or_default(), reply)
            }
        }
    }

    /// The cache, or upstream; `question` is what to ask there, `chain` how the query came to it.
    #[expect(clippy::too_many_arguments, reason = "the question, what is known of it, and the reply")]
    #[inline]
    fn look_up<O: Observer>(
        &self,
        context: &Context<'_, O>,
        qname: LowerName<'_>,
        question: &[u8],
        rule: &Arc<ForwardRule>,
        hash: Option<KeyHash>,
        chain: Option<Chain>,
        reply: &mut Vec<u8>,
    ) -> Action {
        let key = key(context.query, qname, rule);
        let hash = hash.unwrap_or_else(|| self.cache.hash(&key));
        let mut take = |answer: AnswerView<'_>, state| match state {
            State::Fresh { age, refresh } if chain.is_none() && context.is_whole(answer) => {
                context.report_chain(answer);
                write::from_answer(context, answer, Age::Seconds(age), reply);
                Found::Written { refresh }
            }
            State::Fresh { age, refresh } => Found::Fresh { answer: answer.to_answer(), age, refresh },
            State::Expired { at } => Found::Expired { answer: answer.to_answer(), at },
        };
        let found = if O::IS_WATCHING {
            let found = self.cache.peek(&key, context.now);
            context.tell_cache(qname, found.as_ref());
            found.map(|(answer, state)| take(answer.view(), state))
        } else {
            self.cache.with(&key, hash, context.now, take)
        };
        let query = context.query;
        let asked = || {
            Box::new(Question {
                key: key.to_bytes(),
                section: SmallVec::from_slice(question),
                dnssec_ok: query.dnssec_ok(),
                checking_disabled: query.checking_disabled(),
                rule: rule.clone(),
                tokens: LoopGuard::tokens(query.options()).to_vec(),
                alike: alike(context, qname, rule),
            })
        };
        let forward = |chain: Option<Chain>, stale: Option<StaleAnswer>, reply: &mut Vec<u8>| {
            let chain = match chain.map(|chain| chain.wait(&self.chain_memory)) {
                Some(None) => return write::failure(context, ExtendedError::OTHER, reply),
                chain => chain.flatten().map(Box::new),
            };
            Action::Forward(Forward { question: asked(), chain, stale: stale.map(Box::new) })
        };
        match found {
            Some(Found::Written { refresh: false }) => Action::Answered(AnswerSource::Cache),
            Some(Found::Written { refresh: true }) => Action::AnsweredAndRefresh(AnswerSource::Cache, asked()),
            Some(Found::Fresh { answer, age, refresh }) => {
                match self.use_answer(context, chain, answer.view(), Age::Seconds(age), AnswerSource::Cache, reply) {
                    Action::Answered(source) if refresh => Action::AnsweredAndRefresh(source, asked()),
                    action => action,
                }
            }
            Some(Found::Expired { answer, at }) => forward(chain, context.stale(answer, at), reply),
            None => forward(chain, None, reply),
        }
    }

    /// Replies with an upstream's answer, as far as its upstreams are responsible for the names in it, and goes on from
    /// there.
    fn use_answer<O: Observer>(
        &self,
        context: &Context<'_, O>,
        chain: Option<Chain>,
        answer: AnswerView<'_>,
        age: Age,
        source: AnswerSource,
        reply: &mut Vec<u8>,
    ) -> Action {
        if chain.is_some() || !context.is_whole(answer) {
            return self.follow_answer(context, chain, answer, age, source, reply);
        }
        context.report_chain(answer);
        write::from_answer(context, answer, age, reply);
        Action::Answered(source)
    }
}

/// Reads an upstream's answer to a question, its TTLs within the limits; `None` when it cannot be read to its end.
fn read_answer(
    snapshot: &Snapshot,
    question: &Question,
    message: &mut UpstreamMessage,
    now: Instant,
) -> Option<Answer> {
    let (usual, rule) = (snapshot.ttl_limits, &question.rule);
    let limits = TtlLimits {
        max: rule.max_ttl.unwrap_or(usual.max),
        max_negative: rule.max_negative_ttl.unwrap_or(usual.max_negative),
        max_negative_private: rule.max_negative_ttl.unwrap_or(usual.max_negative_private),
    };
    Answer::from_message(&question.key, message, &limits, now)
}

/// What the answer to a query's question about `qname` is kept under.
fn key<'n>(query: &Query<'_>, qname: LowerName<'n>, rule: &ForwardRule) -> CacheKey<'n> {
    CacheKey::new(qname, query.qtype, query.dnssec_ok(), query.checking_disabled(), rule.upstream_set)
}

/// The keys of the same question with other flags, where the client has the address of one of the rule's upstreams.
fn alike<O>(context: &Context<'_, O>, qname: LowerName<'_>, rule: &ForwardRule) -> Vec<SmallVec<[u8; 72]>> {
    if !rule.upstreams.iter().any(|upstream| upstream.address.ip() == context.client.address) {
        return Vec::new();
    }
    let query = context.query;
    let own = (query.dnssec_ok(), query.checking_disabled());
    let others = [(false, false), (true, false), (false, true), (true, true)].into_iter().filter(|flags| *flags != own);
    let key = |(dnssec_ok, checking_disabled)| {
        CacheKey::new(qname, query.qtype, dnssec_ok, checking_disabled, rule.upstream_set).to_bytes()
    };
    others.map(key).collect()
}

/// What the cache has.
enum Found {
    /// A valid answer, which is written.
    Written { refresh: bool },
    /// A valid answer, which belongs to a chain.
    Fresh { answer: Answer, age: u32, refresh: bool },
    /// One that is not valid any more.
    Expired { answer: Answer, at: Instant },
}

impl<'a, O: Observer> Context<'a, O> {
    /// The rule for a name, and how many bytes at the name's end are its zone.
    #[inline]
    fn rule(&self, qname: LowerName<'_>) -> (&'a Disposition, usize) {
        let (disposition, zone_len) = self.snapshot.rules.find(qname.as_wire());
        self.observer.step(Step::Rule { name: qname.as_wire(), disposition, zone_len });
        (disposition, zone_len)
    }

    fn tell_cache(&self, qname: LowerName<'_>, found: Option<&(Answer, State)>) {
        let stale = found.and_then(|(answer, state)| match state {
            State::Expired { at } => self.stale(answer.clone(), *at),
            State::Fresh { .. } => None,
        });
        let found = found.map(|(answer, state)| (answer.view(), *state));
        self.observer.step(Step::Cache { name: qname.as_wire(), found, stale: stale.as_ref() });
    }

    /// An expired answer, where it may still be of use.
    fn stale(&self, answer: Answer, expired_at: Instant) -> Option<StaleAnswer> {
        let StaleLimits { max, max_private } = self.snapshot.stale_limits;
        let usual = if answer.view().is_private() { max_private.min(max) } else { max };
        let len = u16::try_from(answer.view().message_len()).unwrap_or(u16::MAX);
        let limits = Stale { until: expired_at + usual, until_down: expired_at + max, len };
        (self.now < limits.until_down).then_some(StaleAnswer { answer, limits })
    }

    /// Whether the table speaks for a name: it has it, or its zone says that it does not exist.
    fn table_has(&self, lower_name: &[u8]) -> bool {
        !matches!(self.snapshot.table.lookup(lower_name, self.query.qtype, self.client.address), Lookup::Missing)
    }
}

/// The extended error that tells a client of a failure (RFC 8914 §4).
fn error_of(failure: Failure) -> ExtendedError {
    match failure {
        Failure::Silence => ExtendedError::NO_REACHABLE_AUTHORITY,
        Failure::Unreachable => ExtendedError::NETWORK_ERROR,
        Failure::Remembered => ExtendedError::CACHED_ERROR,
        Failure::Overload | Failure::BudgetTimeout | Failure::Loop => ExtendedError::OTHER,
    }
}

/// Refuses a query; `limit` is what the reply may have, bytes.
fn refuse(
    query: &Query<'_>,
    rcode: Rcode,
    error: ExtendedError,
    reason: Reason,
    limit: usize,
    reply: &mut Vec<u8>,
) -> Action {
    write_refusal(query.as_bytes(), &query.refusal(rcode, Some(error)), limit, reply);
    Action::Refused(reason)
}

/// How many bytes the reply to a client may have that is in no allowed network: over UDP, where the address of a sender can
/// be forged, as many as the query had.
fn limit_for_strangers(client: Client, query: &[u8]) -> usize {
    match client.transport {
        Transport::Udp => query.len(),
        Transport::Tcp | Transport::Tls | Transport::Https | Transport::Quic => usize::from(u16::MAX),
    }
}

fn answer_fault(snapshot: &Snapshot, bytes: &[u8], fault: Fault, client: Client, reply: &mut Vec<u8>) -> Action {
    let refusal = match fault {
        Fault::Short => return Action::Dropped(Reason::Short),
        Fault::Response => return Action::Dropped(Reason::Response),
        Fault::Refused(refusal) => refusal,
    };
    if !snapshot.access.allows(client.address) {
        let refusal = Refusal { rcode: Rcode::REFUSED, error: Some(ExtendedError::PROHIBITED), ..refusal };
        write_refusal(bytes, &refusal, limit_for_strangers(client, bytes), reply);
        return Action::Refused(Reason::Access);
    }
    write_refusal(bytes, &refusal, client.transport.reply_limit(refusal.edns), reply);
    Action::Refused(match refusal.rcode {
        Rcode::NOTIMP => Reason::Opcode,
        Rcode::BADVERS => Reason::EdnsVersion,
        _ => Reason::Malformed,
    })
}
