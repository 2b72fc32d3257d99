//! One answer of an upstream: one run of memory, ready to be sent many times.
//!
//! A hit touches as little memory as can be: what is known of the answer, its key, its bytes and the places of its TTLs
//! lie one behind the other, and neither a reference count nor anything else that other cores read is written, but for
//! the first few uses.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use triomphe::ThinArc;

use super::normalize::{Normal, NormalBytes, normalize};
use super::{State, TtlLimits};
use crate::wire::compose::compose_from;
use crate::wire::edns::OPT_LEN;
use crate::wire::header::{self, HEADER_LEN, Header};
use crate::wire::message::Records;
use crate::wire::reply::{Closing, Counts, ReplyOptions, close};
use crate::wire::{AnswerFlags, ExtendedError, OwnedRecord, Query, Rcode, RecordView, UpstreamMessage};

/// How old an answer is when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// So many seconds: TTLs are that much smaller.
    Seconds(u32),
    /// Expired, and served because its upstream is silent: TTLs are 30 s (RFC 8767 §4).
    Stale,
}

impl Age {
    /// The TTL that a record has now.
    fn ttl(self, ttl: u32) -> u32 {
        match self {
            Self::Seconds(age) => ttl.saturating_sub(age),
            Self::Stale => STALE_TTL,
        }
    }
}

/// TTL of stale answers, seconds (RFC 8767 §4).
const STALE_TTL: u32 = 30;
/// Bytes of the run besides what is in it: reference count, length, and what the allocator adds.
const BLOCK_OVERHEAD: usize = 32;
/// An answer that is in use is asked for again in the last tenth of its life,
const PREFETCH_SHARE: u32 = 10;
/// if it was used so often since it was heard.
const PREFETCH_HITS: u8 = 3;
/// Bytes of a line of the processor's cache, and lines that nearly all answers fit into.
const LINE: usize = 64;
const LINES: usize = 3;
/// Uses counted per answer: more say nothing more.
const USES_MAX: u8 = 3;

/// An upstream's answer without what belongs to the hop: ID 0, no OPT record, TTLs within limits. A handle: clones
/// share it.
#[derive(Clone)]
pub struct Answer(Block);

/// The run of memory: what is known, then the bytes: key, message, places of TTLs, extended errors, targets.
pub(super) type Block = ThinArc<Head, u8>;

/// What is known of an answer.
pub(super) struct Head {
    heard: Instant,
    /// Seconds.
    ttl: u32,
    rcode: Rcode,
    key_len: u16,
    message_len: u16,
    /// Bytes of the places of TTLs, two for each.
    places_len: u16,
    errors_len: u16,
    /// It speaks of a name in a privatelink zone.
    is_private: bool,
    /// It has no answer for the last name of its chain.
    is_unfinished: bool,
    /// A record of its answer section has a public address.
    has_public_address: bool,
    /// The rules that were found to give all names of its chain to the upstreams that it comes from; 0: none yet.
    accepted_by: AtomicU32,
    /// Uses that the queues of the cache know of, counted until [`USES_MAX`].
    uses: AtomicU8,
    /// Uses since it was heard, counted until [`PREFETCH_HITS`].
    hits: AtomicU8,
    /// A client's query had it asked for again before it expires.
    is_prefetched: AtomicBool,
    /// Which of the two queues of the cache it stands in.
    is_main: AtomicBool,
}

impl Answer {
    /// Takes an answer that was accepted at `heard`, for the question with this key; `None` when it is damaged or has
    /// no question.
    pub fn from_message(key: &[u8], message: &mut UpstreamMessage, limits: &TtlLimits, heard: Instant) -> Option<Self> {
        let mut bytes = NormalBytes::from_slice(key);
        let Normal { ttl_places, errors, rcode, ttl, targets, is_private, is_unfinished, has_public_address } =
            normalize(message, limits, &mut bytes)?;
        let head = Head {
            heard,
            ttl,
            rcode,
            key_len: u16::try_from(key.len()).ok()?,
            message_len: u16::try_from(bytes.len() - key.len()).ok()?,
            places_len: u16::try_from(ttl_places.len() * 2).ok()?,
            errors_len: u16::try_from(errors.len()).ok()?,
            is_private,
            is_unfinished,
            has_public_address,
            accepted_by: AtomicU32::new(0),
            uses: AtomicU8::new(0),
            hits: AtomicU8::new(0),
            is_prefetched: AtomicBool::new(false),
            is_main: AtomicBool::new(false),
        };
        for part in [ttl_places.as_flattened(), &errors, &targets] {
            if !part.is_empty() {
                bytes.extend_from_slice(part);
            }
        }
        Some(Self(ThinArc::from_header_and_slice(head, &bytes)))
    }

    /// Looks at it.
    pub fn view(&self) -> AnswerView<'_> {
        AnswerView(&self.0)
    }

    pub(super) fn into_block(self) -> Block {
        self.0
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let view = self.view();
        f.debug_struct("Answer").field("rcode", &view.rcode()).field("ttl", &view.ttl()).finish_non_exhaustive()
    }
}

/// A borrowed view of an answer, without a reference count.
#[derive(Clone, Copy)]
pub struct AnswerView<'a>(&'a Block);

impl<'a> AnswerView<'a> {
    pub(super) fn new(block: &'a Block) -> Self {
        Self(block)
    }

    /// A handle that keeps it.
    pub fn to_answer(self) -> Answer {
        Answer(self.0.clone())
    }

    /// Where the lines of memory begin that a hit reads, as far as that is known without reading any.
    pub(super) fn lines(self) -> impl Iterator<Item = *const u8> {
        let start: *const u8 = (&raw const self.0.header).cast();
        (0..LINES).map(move |line| start.wrapping_add(line * LINE))
    }

    fn head(self) -> &'a Head {
        &self.0.header.header
    }

    fn bytes_from(self, start: usize, len: u16) -> &'a [u8] {
        self.0.slice.get(start..start + usize::from(len)).unwrap_or_default()
    }

    /// What it is kept under.
    pub(super) fn key(self) -> &'a [u8] {
        self.bytes_from(0, self.head().key_len)
    }

    /// How many bytes the message has.
    pub fn message_len(self) -> usize {
        self.head().message_len.into()
    }

    fn message(self) -> &'a [u8] {
        let head = self.head();
        self.bytes_from(head.key_len.into(), head.message_len)
    }

    /// Where TTLs stand in the message that count down.
    fn ttl_places(self) -> impl Iterator<Item = usize> {
        let head = self.head();
        let (places, _) = self
            .bytes_from(usize::from(head.key_len) + usize::from(head.message_len), head.places_len)
            .as_chunks::<2>();
        places.iter().map(|place| usize::from(u16::from_be_bytes(*place)))
    }

    /// The extended errors that the upstream gave, as options.
    pub fn errors(self) -> &'a [u8] {
        let head = self.head();
        let start = [head.key_len, head.message_len, head.places_len].into_iter().map(usize::from).sum();
        self.bytes_from(start, head.errors_len)
    }

    /// Where its CNAMEs lead, from the question's name on: names in lower case wire form.
    pub fn targets(self) -> impl Iterator<Item = &'a [u8]> {
        let head = self.head();
        let start = [head.key_len, head.message_len, head.places_len, head.errors_len]
            .into_iter()
            .map(usize::from)
            .sum::<usize>();
        let mut rest = self.0.slice.get(start..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (target, behind) = rest.split_at_checked(crate::wire::name::wire_len(rest)?)?;
            rest = behind;
            Some(target)
        })
    }

    /// How long it may be kept, seconds; 0 for failures, and for negative answers without an SOA (RFC 2308 §5).
    pub fn ttl(self) -> u32 {
        self.head().ttl
    }

    /// The response code, with the upper bits of the upstream's OPT record.
    pub fn rcode(self) -> Rcode {
        self.head().rcode
    }

    /// Whether a record of its answer section has a public address.
    pub fn has_public_address(self) -> bool {
        self.head().has_public_address
    }

    /// Whether it speaks of a name in a privatelink zone, where an endpoint that is recreated has a new address.
    pub fn is_private(self) -> bool {
        self.head().is_private
    }

    /// Whether it has no answer for the last name of its chain, whose end must be found otherwise: it ends in an alias
    /// without data or an SOA (RFC 1034 §5.3.3), is a loop, or is longer than [`super::ALIASES_MAX`].
    pub fn is_unfinished(self) -> bool {
        self.head().is_unfinished
    }

    /// The set of upstreams that it comes from.
    pub fn upstream_set(self) -> u32 {
        self.key().last_chunk().map_or(0, |set| u32::from_be_bytes(*set))
    }

    /// The number of the rules that were last found to give all names of its chain to the upstreams that it comes from.
    #[inline]
    pub fn accepted_by(self) -> u32 {
        self.head().accepted_by.load(Ordering::Relaxed)
    }

    /// Notes that rules, by their number, give all names of its chain to the upstreams that it comes from.
    pub fn accept(self, rules: u32) {
        self.head().accepted_by.store(rules, Ordering::Relaxed);
    }

    /// Whether the upstream called the data authentic (AD).
    pub fn is_authentic(self) -> bool {
        Header::read(self.message()).is_some_and(|header| header.flags & header::AD != 0)
    }

    /// Bytes of memory that it takes, its key among them.
    pub(super) fn bytes(self) -> usize {
        size_of::<Head>() + self.0.slice.len() + BLOCK_OVERHEAD
    }

    /// Its state at `now`; counts a use.
    pub(super) fn state(self, now: Instant) -> State {
        let head = self.head();
        let count = |counter: &AtomicU8, most| {
            let count = counter.load(Ordering::Relaxed);
            if count >= most {
                return count;
            }
            // Two cores may count one use for two: it is a hint.
            counter.store(count + 1, Ordering::Relaxed);
            count + 1
        };
        count(&head.uses, USES_MAX);
        let hits = count(&head.hits, PREFETCH_HITS);
        self.state_at(now, || hits >= PREFETCH_HITS && !head.is_prefetched.swap(true, Ordering::Relaxed))
    }

    /// Its state at `now`, without a use of it.
    pub(super) fn look(self, now: Instant) -> State {
        self.state_at(now, || false)
    }

    fn state_at(self, now: Instant, wants_refresh: impl FnOnce() -> bool) -> State {
        let head = self.head();
        let age = now.saturating_duration_since(head.heard);
        let ttl = Duration::from_secs(u64::from(head.ttl));
        if age >= ttl {
            return State::Expired { at: head.heard + ttl };
        }
        let ends_soon = (ttl - age) * PREFETCH_SHARE <= ttl;
        State::Fresh { age: u32::try_from(age.as_secs()).unwrap_or(u32::MAX), refresh: ends_soon && wants_refresh() }
    }

    /// Takes the place of `old` in the queues of the cache.
    pub(super) fn succeed(self, old: AnswerView<'_>) {
        self.head().uses.store(old.uses(), Ordering::Relaxed);
        self.set_main(old.is_main());
    }

    pub(super) fn uses(self) -> u8 {
        self.head().uses.load(Ordering::Relaxed)
    }

    pub(super) fn set_uses(self, uses: u8) {
        self.head().uses.store(uses, Ordering::Relaxed);
    }

    pub(super) fn is_main(self) -> bool {
        self.head().is_main.load(Ordering::Relaxed)
    }

    pub(super) fn set_main(self, is_main: bool) {
        self.head().is_main.store(is_main, Ordering::Relaxed);
    }

    /// Its records at this age, names uncompressed, of those that are wanted: by what is in the message, the record and its
    /// data. Each is read when it is asked for.
    pub fn records(
        self,
        age: Age,
        is_wanted: impl Fn(&RecordView, &[u8]) -> bool,
    ) -> impl Iterator<Item = OwnedRecord> {
        let bytes = self.message();
        Records::of(bytes).into_iter().flatten().filter_map(move |view| {
            let data = bytes.get(view.data()).unwrap_or_default();
            let mut record = is_wanted(&view, data).then(|| OwnedRecord::read(bytes, &view))??;
            record.ttl = age.ttl(record.ttl);
            Some(record)
        })
    }

    /// Writes it as the reply to `query`; at most `limit` bytes, by whole RRsets. Where it is stale, an extended error
    /// says so beside the upstream's own.
    ///
    /// All sections, codes and AD go through as the upstream sent them; ID, question (its case), RD and CD are the
    /// client's, and AA is never set: nothing is authoritative here but the table.
    pub fn write(self, query: &Query<'_>, age: Age, limit: usize, out: &mut Vec<u8>) {
        let error = (age == Age::Stale).then_some(ExtendedError::STALE_ANSWER);
        let message = self.message();
        let opt_len = if query.edns.is_some() { OPT_LEN } else { 0 };
        if message.len() + opt_len > limit {
            let (authentic, options) = (self.is_authentic(), self.errors());
            let flags = AnswerFlags { rcode: self.rcode(), authoritative: false, authentic, options };
            return compose_from(query, message, |ttl| age.ttl(ttl), (&flags, error), limit, out);
        }
        out.clear();
        out.extend_from_slice(message);
        if age != Age::Seconds(0) {
            for place in self.ttl_places() {
                if let Some(ttl) = out.get_mut(place..).and_then(|rest| rest.first_chunk_mut::<4>()) {
                    *ttl = age.ttl(u32::from_be_bytes(*ttl)).to_be_bytes();
                }
            }
        }
        let question = query.question();
        if let Some(place) = out.get_mut(HEADER_LEN..HEADER_LEN + question.len()) {
            place.copy_from_slice(question);
        }
        let Some(stored) = Header::read(out) else { return };
        let closing = Closing {
            rcode: self.rcode(),
            authoritative: false,
            authentic: stored.flags & header::AD != 0,
            truncated: false,
            counts: Counts { answer: stored.ancount, authority: stored.nscount, additional: stored.arcount },
            options: ReplyOptions { error, upstream_errors: self.errors() },
        };
        close(out, &query.into(), closing, limit);
    }
}

#[cfg(test)]
pub(crate) mod tests;
