//! A question that was sent and not yet answered, and what counts as its answer (RFC 5452).

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::capabilities::Form;
use super::letters::has_case;
use super::question::{Numbers, Question, Via, Waiting};
use super::token::LoopOption;
use crate::wire::edns::{UDP_PAYLOAD_MAX, UDP_PAYLOAD_PLAIN, opt_head};
use crate::wire::header::{self, HEADER_LEN, Header};
use crate::wire::{Rcode, UpstreamMessage, joined};

/// How long an answer takes that is worth a turn.
const ANSWER_TIME: Duration = Duration::from_millis(100);
/// How often TCP is asked for one question of an upstream that is asked by datagrams: one that refers to TCP and closes
/// each connection must not make one query many.
pub(super) const STREAMS_MAX: usize = 2;

/// A question with all who wait for it.
#[derive(Debug)]
pub(super) struct OutstandingQuery<W> {
    /// Tells it from a later one in the same place.
    pub(super) generation: u32,
    /// As the first client asked it.
    pub(super) question: Box<Question>,
    /// The hash of its key.
    pub(super) hash: u64,
    /// The upstreams of its rule.
    pub(super) upstreams: Numbers,
    /// The waiters, in the order of their deadlines.
    pub(super) waiters: SmallVec<[Waiting<W>; 1]>,
    pub(super) attempts: SmallVec<[Attempt; 1]>,
    /// Tries before this one belong to an earlier round: no client waited for a while, then a client asked again.
    pub(super) round_start: usize,
    /// When to ask again; nothing when all tries are made.
    pub(super) next_try: Option<Instant>,
    /// The upstream in whose line it stands.
    pub(super) line: Option<usize>,
    /// Some of those who waited had a stale answer at hand.
    pub(super) has_stale: bool,
    /// A client asked again after no client had waited any more, while its upstreams were down.
    pub(super) is_repeated: bool,
    /// How many queries of clients asked for it.
    pub(super) queries: u32,
    /// It stands in line though no client waits any more, for the second time: a client asks twice, then gives up. It has no
    /// turn until a client asks again, and is then the first.
    pub(super) is_abandoned: bool,
    /// Until when it is kept though no client waits: a client that gave up may ask again.
    pub(super) keep_until: Instant,
    /// Asked without EDNS, because an upstream does not understand it.
    pub(super) without_edns: bool,
    /// Asked in the case that the client used: an upstream changed it.
    pub(super) keeps_case: bool,
    /// It waited for an upstream that was down.
    pub(super) waited_for_down: bool,
    /// It has no place in its line any more: it had no chance of an answer in time.
    pub(super) has_left_line: Cell<bool>,
    /// An attacker may be guessing: only TCP decides now.
    pub(super) is_suspicious: bool,
    /// A UDP answer that matched after a suspicion: for where TCP is not to be had.
    pub(super) held: Option<Box<UpstreamMessage>>,
    /// An answer that says failure: passed on where no upstream says better.
    pub(super) failure: Option<Box<UpstreamMessage>>,
    /// An upstream could not even be reached: which one, and why.
    pub(super) trouble: Option<(usize, Arc<str>)>,
}

impl<W> OutstandingQuery<W> {
    /// The tries of this round.
    pub(super) fn round(&self) -> &[Attempt] {
        self.attempts.get(self.round_start..).unwrap_or_default()
    }

    /// Whether this round began so long ago.
    pub(super) fn is_open_for(&self, time: Duration, now: Instant) -> bool {
        self.round().first().is_some_and(|tried| now.saturating_duration_since(tried.sent) >= time)
    }

    /// Tries of this round that count: TCP for the rest of a datagram's answer belongs to that try.
    pub(super) fn count_tries(&self) -> usize {
        self.round().iter().filter(|tried| !tried.is_rest).count()
    }

    /// The same of one upstream alone.
    pub(super) fn count_tries_of(&self, upstream: usize) -> usize {
        self.round().iter().filter(|tried| tried.upstream == upstream && !tried.is_rest).count()
    }

    /// How often one upstream was asked by TCP in this round, for whatever reason.
    pub(super) fn count_streams_of(&self, upstream: usize) -> usize {
        self.round().iter().filter(|tried| tried.upstream == upstream && tried.via == Via::Stream).count()
    }

    /// When an upstream was asked last in this round.
    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    pub(super) fn last_asked(&self, upstream: usize) -> Option<Instant> {
        self.round().iter().filter(|tried| tried.upstream == upstream).map(|tried| tried.sent).max()
    }

    /// Whether an upstream said in this round that it has no answer, or can give none.
    pub(super) fn has_failed(&self, upstream: usize) -> bool {
        self.round().iter().any(|tried| tried.upstream == upstream && tried.has_failed)
    }

    /// Whether one upstream that is asked by datagrams may be asked over TCP, as a try of its own.
    pub(super) fn may_ask_by_stream(&self, upstream: usize) -> bool {
        !self.has_open_stream() && self.count_streams_of(upstream) < STREAMS_MAX
    }

    /// Lets go of those whose timeout is over, and of those who take the stale answer at hand: each with whether it does, and
    /// how many had no time left.
    pub(super) fn release(&mut self, now: Instant, is_down: bool) -> (Vec<(Waiting<W>, bool)>, usize) {
        let out_of_time = self.waiters.iter().take_while(|waiting| waiting.deadline <= now).count();
        let mut released = Vec::new();
        for waiting in self.waiters.drain(..out_of_time) {
            let use_stale = waiting.stale.is_some_and(|stale| stale.may_serve(now, is_down));
            released.push((waiting, use_stale));
        }
        let mut left = SmallVec::with_capacity(self.waiters.len());
        for mut waiting in self.waiters.drain(..) {
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
        self.waiters = left;
        let had_its_turns = self.queries >= 2 || self.has_left_line.get();
        self.is_abandoned = self.waiters.is_empty() && self.line.is_some() && had_its_turns;
        (released, out_of_time)
    }

    /// Judges what came back for one of its tries.
    pub(super) fn judge(&self, tried: &Attempt, message: &UpstreamMessage) -> Match {
        match tried.via {
            Via::Datagram => judge(message, tried, &self.question.section),
            Via::Stream => judge_stream(message, tried, &self.question.section),
        }
    }

    /// Whether a turn would be wasted on it: no client waits any more, or the last who does will have gone before an answer
    /// can be there. A client asks twice, so only the second time counts, unless the answer is `expected` to take longer
    /// than all have left: a slot for seconds, for no client. Without this a long line would be served just too late, one
    /// after the other.
    pub(super) fn is_hopeless(&self, now: Instant, expected: Option<Duration>) -> bool {
        let leaves_before = |time: Duration| self.waiters.last().is_some_and(|waiting| waiting.deadline < now + time);
        let is_hopeless = self.is_abandoned
            || (self.queries >= 2 && leaves_before(ANSWER_TIME))
            || expected.is_some_and(leaves_before);
        if is_hopeless {
            self.has_left_line.set(true);
        }
        is_hopeless
    }

    /// Whether any try may still be answered.
    pub(super) fn has_open_try(&self) -> bool {
        self.attempts.iter().any(|tried| tried.is_open)
    }

    /// Whether a try by TCP may still be answered.
    pub(super) fn has_open_stream(&self) -> bool {
        self.attempts.iter().any(|tried| tried.is_open && tried.via == Via::Stream)
    }

    /// When something is to be done for it next.
    pub(super) fn due(&self) -> Instant {
        let waiter = self.waiters.first().map(|waiting| waiting.deadline);
        let stale =
            if self.has_stale { self.waiters.iter().filter_map(|waiting| waiting.stale_at).min() } else { None };
        let slow = self.attempts.iter().filter(|tried| tried.is_open).filter_map(|tried| tried.slow_at).min();
        let closing = self.attempts.iter().filter(|tried| tried.is_open).map(|tried| tried.closes).min();
        let end = if self.waiters.is_empty() { Some(self.keep_until) } else { None };
        let sooner = |one: Option<Instant>, other: Option<Instant>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        [waiter, stale, slow, closing, end, self.next_try].into_iter().fold(None, sooner).unwrap_or(self.keep_until)
    }
}

/// One query to one upstream.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) upstream: usize,
    pub(super) via: Via,
    pub(super) id: u16,
    /// What the query carried beside its question.
    pub(super) form: Form,
    /// The draw of its letters' case.
    pub(super) case: Option<u64>,
    /// TCP for what a datagram could not say: no try of its own.
    pub(super) is_rest: bool,
    /// The datagram whose rest it is said that there is more over TCP, not that something is wrong with it.
    pub(super) is_after_tc: bool,
    /// A damaged datagram came for it.
    pub(super) is_damaged: bool,
    /// Its upstream said that it has no answer, or can give none.
    pub(super) has_failed: bool,
    /// The last one that its upstream's address had got when a query for the same question came from there.
    pub(super) came_back: bool,
    pub(super) sent: Instant,
    /// When nothing listens for its answer any more.
    pub(super) closes: Instant,
    /// When it will be called slow; nothing once it is, or where that does not matter.
    pub(super) slow_at: Option<Instant>,
    /// Counts among the upstream's slow ones.
    pub(super) is_slow: bool,
    /// Still expected to be answered.
    pub(super) is_open: bool,
    /// Its timeout is over, which its upstream was told.
    pub(super) is_late: bool,
}

/// What a datagram or message from an upstream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// Not an answer to this try.
    Unrelated,
    /// From the right place with the wrong ID, the wrong case, or without the question: an attacker may be guessing.
    Suspicious,
    /// The answer, and more of it than fits: TC.
    Cut,
    /// Meant as the answer, but it cannot be read to its end, is not sound, has records of another question, is longer than
    /// was advertised, or was put together from fragments.
    Damaged,
    /// The upstream does not understand EDNS.
    NoEdns,
    /// The answer says failure.
    Failure,
    /// The answer.
    Answer,
}

/// Judges what came back for a datagram with this question. One that is damaged, or is longer than was advertised, is at most
/// [`Match::Damaged`]: TCP decides.
fn judge(message: &UpstreamMessage, tried: &Attempt, question: &[u8]) -> Match {
    let bytes = &*message.bytes;
    let Some(header) = Header::read(bytes) else {
        return Match::Unrelated;
    };
    if header.flags & header::QR == 0 || header.opcode() != 0 {
        return Match::Unrelated;
    }
    if header.id != tried.id {
        return Match::Suspicious;
    }
    let echoed = bytes.get(HEADER_LEN..HEADER_LEN + question.len()).unwrap_or_default();
    if header.qdcount == 0 && header.rcode() != Rcode::NOERROR {
        return Match::Suspicious;
    }
    if header.qdcount != 1 || !has_case(echoed, question, tried.case) {
        let same_but_for_case = header.qdcount == 1 && echoed.eq_ignore_ascii_case(question);
        return if same_but_for_case { Match::Suspicious } else { Match::Unrelated };
    }
    let with_edns = tried.form != Form::WithoutEdns;
    let advertised = if with_edns { UDP_PAYLOAD_MAX } else { UDP_PAYLOAD_PLAIN };
    if bytes.len() > usize::from(advertised) {
        return Match::Damaged;
    }
    judge_matching(message, &header, with_edns, Via::Datagram)
}

/// Judges what came by TCP, where no one can guess: case and a missing question are forgiven.
fn judge_stream(message: &UpstreamMessage, tried: &Attempt, question: &[u8]) -> Match {
    let bytes = &*message.bytes;
    let Some(header) = Header::read(bytes) else {
        return Match::Unrelated;
    };
    if header.flags & header::QR == 0 || header.id != tried.id || header.opcode() != 0 {
        return Match::Unrelated;
    }
    let with_edns = tried.form != Form::WithoutEdns;
    if header.qdcount == 0 && header.rcode() == Rcode::FORMERR && with_edns {
        return Match::NoEdns;
    }
    let echoed = bytes.get(HEADER_LEN..HEADER_LEN + question.len()).unwrap_or_default();
    if header.qdcount != 1 || !echoed.eq_ignore_ascii_case(question) {
        return Match::Unrelated;
    }
    judge_matching(message, &header, with_edns, Via::Stream)
}

fn judge_matching(message: &UpstreamMessage, header: &Header, with_edns: bool, via: Via) -> Match {
    if header.flags & header::TC != 0 {
        return Match::Cut;
    }
    let Some(rcode) = message.rcode() else { return Match::Damaged };
    // TCP decides. What it brings is taken without the records that do not belong.
    if via == Via::Datagram && (message.has_foreign() || message.lacks_answer()) {
        return Match::Damaged;
    }
    match rcode {
        Rcode::NOERROR | Rcode::NXDOMAIN => Match::Answer,
        Rcode::BADVERS | Rcode::FORMERR | Rcode::NOTIMP if with_edns => Match::NoEdns,
        _ => Match::Failure,
    }
}

/// Writes the query for a try: RD, the client's CD, our own OPT record with its DO and with loop tokens; nothing else that
/// the client said. `section` is the question in the case that was drawn, `option` the one with the tokens.
pub(super) fn write_query(
    question: &Question,
    section: &[u8],
    id: u16,
    form: Form,
    option: Option<&LoopOption<'_>>,
) -> SmallVec<[u8; 128]> {
    let mut flags = header::RD | header::AD;
    if question.checking_disabled {
        flags |= header::CD;
    }
    let has_opt = form != Form::WithoutEdns;
    let head = Header { id, flags, qdcount: 1, ancount: 0, nscount: 0, arcount: u16::from(has_opt) };
    if !has_opt {
        return joined(&[&head.to_bytes(), section]);
    }
    let [head, opt] =
        [&head.to_bytes()[..], &opt_head(Rcode::NOERROR, question.dnssec_ok, option.map_or(0, LoopOption::len))];
    match option.map(LoopOption::parts) {
        Some([code, tokens, own]) => joined(&[head, section, opt, code, tokens, own]),
        None => joined(&[head, section, opt]),
    }
}
