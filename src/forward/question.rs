//! What goes into the state machine and comes out of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::budget::Limits;
use super::budget::Ports;
use super::rule::{ForwardRule, Protocol, Target};
use crate::wire::UpstreamMessage;

/// Bytes of a failure's detail: it goes to clients (RFC 8914 §2).
pub const DETAIL_MAX: usize = 64;

/// A question outstanding: its slot, and its generation, which tells it from a later one there.
pub(super) type Ticket = (u32, u32);

/// The numbers of a rule's upstreams.
pub(super) type Numbers = SmallVec<[usize; 4]>;

/// How a question ends: the answer, or why there is none.
pub(super) type Outcome = Result<Box<UpstreamMessage>, Failure>;

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
pub struct AttemptId {
    pub(super) slot: u32,
    pub(super) generation: u32,
    pub(super) number: u8,
}

impl AttemptId {
    /// Which attempt at its question it is, from 1.
    pub fn attempt(self) -> u32 {
        u32::from(self.number) + 1
    }

    /// Its question.
    pub(super) fn ticket(self) -> Ticket {
        (self.slot, self.generation)
    }
}

/// A try for tests of rooms that only pass it on.
#[cfg(test)]
pub(crate) fn test_try(slot: u32) -> AttemptId {
    AttemptId { slot, generation: 1, number: 0 }
}

/// A question for upstream.
#[derive(Debug, Clone)]
pub struct Question {
    /// What tells it from other questions, and what its answer will be kept under.
    pub key: SmallVec<[u8; 72]>,
    /// The question section: name as the client asked it, type, class.
    pub section: SmallVec<[u8; 64]>,
    /// DO.
    pub dnssec_ok: bool,
    /// CD.
    pub checking_disabled: bool,
    /// Loop tokens that it came with.
    pub tokens: Vec<u8>,
    /// The rule that applies.
    pub rule: Arc<ForwardRule>,
    /// The keys of the same question with other flags, where its client has the address of one of the rule's upstreams: it may
    /// have come back from there.
    pub alike: Vec<SmallVec<[u8; 72]>>,
}

/// A client that asks.
pub struct ClientQuery<W> {
    /// Who gets the answer.
    pub waiter: W,
    /// The client, whose turn it takes while it waits for a budget.
    pub client: IpAddr,
    /// Until when an answer is of use.
    pub deadline: Instant,
    /// The stale answer at hand.
    pub stale: Option<Stale>,
    /// Its address may be forged, as that of a datagram: replies are paced.
    pub is_datagram: bool,
    /// Bytes of its reply that are there before the answer: records of a CNAME chain.
    pub beside: u16,
}

/// A client that waits.
#[derive(Debug)]
pub(super) struct Waiting<W> {
    pub(super) waiter: W,
    pub(super) client: IpAddr,
    /// The deadline: an answer is of no use after it.
    pub(super) deadline: Instant,
    /// Its address may be forged.
    pub(super) is_datagram: bool,
    /// Bytes of its reply that other answers gave.
    pub(super) beside: u16,
    /// The stale answer at hand.
    pub(super) stale: Option<Stale>,
    /// When that is to be used (RFC 8767 §5: the client response timer).
    pub(super) stale_at: Option<Instant>,
}

impl<W> From<ClientQuery<W>> for Waiting<W> {
    fn from(client_query: ClientQuery<W>) -> Self {
        Self {
            waiter: client_query.waiter,
            client: client_query.client,
            deadline: client_query.deadline,
            is_datagram: client_query.is_datagram,
            beside: client_query.beside,
            stale: client_query.stale,
            stale_at: None,
        }
    }
}

/// A stale answer that a client could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// Until when it may be served while its upstream answers others.
    pub until: Instant,
    /// Until when it may be served while its upstream does not respond.
    pub until_down: Instant,
    /// Bytes of its message.
    pub len: u16,
}

impl Stale {
    /// Whether it may be served.
    pub(super) fn may_serve(self, now: Instant, is_down: bool) -> bool {
        now < if is_down { self.until_down } else { self.until }
    }
}

/// A query to be sent.
#[derive(Debug)]
pub struct Transmit {
    /// What to say when something comes back.
    pub id: AttemptId,
    /// Destination.
    pub to: SocketAddr,
    /// How this upstream is asked where not by a datagram.
    pub protocol: Protocol,
    /// How.
    pub via: Via,
    /// From which port, where by a datagram.
    pub ports: Ports,
    /// The message.
    pub message: SmallVec<[u8; 128]>,
    /// How many connections may be lost under it, where by a connection, before it comes to nothing.
    pub losses_max: u8,
    /// Until when an answer is of use.
    pub deadline: Instant,
}

impl Transmit {
    /// The ID of its message.
    pub fn message_id(&self) -> u16 {
        self.message.first_chunk().map_or(0, |id| u16::from_be_bytes(*id))
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No upstream answered in time.
    Silence,
    /// No upstream could be reached.
    Unreachable,
    /// It failed a moment ago and is not asked again yet (RFC 9520).
    Remembered,
    /// Too many questions, or clients of this one, are waiting already.
    Overload,
    /// It came back from the upstream that it was sent to.
    Loop,
    /// The budget had no turn for it in time, or its client has too many others waiting: silence lets it ask again.
    BudgetTimeout,
}

/// Why a try could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The end of a sentence, without the upstream's name.
    pub text: Arc<str>,
    /// What it says of further tries.
    pub kind: TroubleKind,
}

/// What a failed try says of further ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// Nothing listens: an upstream that restarts refuses for a moment.
    Refused,
    /// The upstream's certificate is not accepted: that stays as it is.
    Certificate,
    /// All else.
    Other,
}

/// An upstream stopped answering, or answers again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The upstream.
    pub target: Target,
    /// Why it is taken for down; nothing where it is back.
    pub down: Option<Arc<str>>,
}

/// What became of those who waited.
#[derive(Debug)]
pub struct Resolved<W> {
    /// For a failure: the upstream concerned and what happened, at most [`DETAIL_MAX`] bytes.
    pub detail: Option<Arc<str>>,
    /// What the upstream answered, or why there is nothing.
    pub outcome: Result<Answered, Failure>,
    /// All whom it concerns.
    pub waiters: SmallVec<[ReleasedWaiter<W>; 1]>,
}

/// A question that was answered.
#[derive(Debug)]
pub struct Answered {
    /// The question.
    pub question: Box<Question>,
    /// The upstream's answer, accepted and whole.
    pub message: Box<UpstreamMessage>,
}

/// A client that waits no longer.
#[derive(Debug)]
pub struct ReleasedWaiter<W> {
    /// Who waited.
    pub waiter: W,
    /// The stale answer at hand is to be used instead of the failure.
    pub use_stale: bool,
    /// When its reply leaves.
    pub delivery: Delivery,
    /// How many bytes it may have: a longer one is cut (TC), as many of this client's wait.
    pub room: usize,
}

/// The place of a reply among those to the same client that leave one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// When it comes if none before it is late.
    pub at: Instant,
    /// How late those before had been in all when that was planned; nothing where that does not matter.
    pub(super) late: Option<Duration>,
    /// Until when it comes however late those before are.
    pub(super) latest: Instant,
}

/// When a reply leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// At once.
    Now,
    /// At its turn, once [`Forwarding::may_leave`](super::Forwarding::may_leave) says so.
    At(Turn),
    /// Not at all: it would come later than any client waits.
    Never,
}

/// What is to be done after a call.
#[derive(Debug)]
pub struct Outbox<W> {
    /// Queries to send.
    pub transmits: Vec<Transmit>,
    /// Questions to answer.
    pub resolved: Vec<Resolved<W>>,
}

impl<W> Outbox<W> {
    /// Whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        self.transmits.is_empty() && self.resolved.is_empty()
    }
}

impl<W> Default for Outbox<W> {
    fn default() -> Self {
        Self { transmits: Vec::new(), resolved: Vec::new() }
    }
}

/// What arrived for a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A message that arrived as it was sent, as far as its transport can tell.
    Message(Box<UpstreamMessage>),
    /// The beginning of a datagram that is longer than was advertised, or that came in fragments: its content may be
    /// anybody's, its header and question tell what it was meant for.
    Damaged(Vec<u8>),
    /// At least one datagram with another ID than the query's, which were not kept.
    WrongId,
}

/// Whether the socket of a try is still of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptState {
    /// What came was not its answer, which may still come.
    Open,
    /// Its socket is to be closed.
    Over,
}

/// Counts of what was asked and heard, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardCounts {
    /// Queries sent.
    pub sent: u64,
    /// Questions that joined one outstanding.
    pub joined: u64,
    /// Questions asked to refresh a stale answer, or one that is about to expire.
    pub refreshes: u64,
    /// Questions that were put into a line, because a budget was spent or an upstream down.
    pub queued: u64,
    /// Datagrams that matched no try.
    pub unrelated: u64,
    /// Datagrams from the right place with the wrong ID or case.
    pub suspicious: u64,
    /// Answers that were cut and asked for again by TCP.
    pub cut: u64,
}

/// The state of one upstream, for metrics and `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamState {
    /// The upstream.
    pub target: Target,
    /// It does not answer.
    pub is_down: bool,
    /// Smoothed response time.
    pub rtt: Option<Duration>,
    /// Queries sent and not yet answered.
    pub pending: u32,
    /// Questions that wait for a turn.
    pub waiting: usize,
    /// What went wrong last, and when.
    pub last_error: Option<(Arc<str>, Instant)>,
    /// Its budget.
    pub limits: Limits,
    /// Queries sent to it so far.
    pub sent: u64,
}

impl UpstreamState {
    /// That of one that was never asked.
    pub fn new(target: &Target) -> Self {
        Self {
            target: target.clone(),
            is_down: false,
            rtt: None,
            pending: 0,
            waiting: 0,
            last_error: None,
            limits: Limits::default(),
            sent: 0,
        }
    }
}
