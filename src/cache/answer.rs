//! One answer of an upstream: one run of memory, ready to be sent many times.
//!
//! A hit touches as little memory as can be: what is known of the answer, its key, its bytes and the places of its TTLs
//! lie one behind the other, and neither a reference count nor anything else that other cores read is written, but for
//! the first few uses.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use triomphe::ThinArc;

use super::normal::{Normal, NormalBytes, normalise};
use super::{State, TtlLimits};
use crate::wire::compose::compose_from;
use crate::wire::edns::OPT_LEN;
use crate::wire::header::{self, HEADER_LEN, Header};
use crate::wire::message::Records;
use crate::wire::reply::{Closing, Counts, ReplyOptions, close};
use crate::wire::{ExtendedError, OwnedRecord, Query, Rcode, RecordView, UpstreamMessage, Verdict};

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
            normalise(message, limits, &mut bytes)?;
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

/// A look at an answer, without a count of it.
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

    fn state_at(self, now: Instant, wants_prefetch: impl FnOnce() -> bool) -> State {
        let head = self.head();
        let age = now.saturating_duration_since(head.heard);
        let ttl = Duration::from_secs(u64::from(head.ttl));
        if age >= ttl {
            return State::Expired { at: head.heard + ttl };
        }
        let ends_soon = (ttl - age) * PREFETCH_SHARE <= ttl;
        State::Fresh { age: u32::try_from(age.as_secs()).unwrap_or(u32::MAX), prefetch: ends_soon && wants_prefetch() }
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
            let verdict = Verdict { rcode: self.rcode(), authoritative: false, authentic, options };
            return compose_from(query, message, |ttl| age.ttl(ttl), (&verdict, error), limit, out);
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
pub(crate) mod tests {
    use super::*;
    use crate::wire::compose::Sections;
    use crate::wire::query::tests::query_bytes;
    use crate::wire::{Message, Name, NameRoom, Rtype, Section};

    pub(crate) const LIMITS: TtlLimits = TtlLimits { max: 3600, max_negative: 60, max_negative_private: 10 };

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn new_answer(bytes: &[u8], limits: &TtlLimits) -> Option<Answer> {
        Answer::from_message(b"key", &mut UpstreamMessage::read(bytes.to_vec()), limits, Instant::now())
    }

    /// An upstream's answer with one address.
    pub(crate) fn address_answer(name: &str, ttl: u32) -> Vec<u8> {
        build(name, Rtype::A, 0x8180, &[record(Section::Answer, name, Rtype::A, ttl, vec![192, 0, 2, 1])])
    }

    fn all_records(answer: &Answer) -> Vec<OwnedRecord> {
        answer.view().records(Age::Seconds(0), |_, _| true).collect()
    }

    fn record(section: Section, owner: &str, rtype: Rtype, ttl: u32, data: Vec<u8>) -> OwnedRecord {
        OwnedRecord { section, owner: Name::parse(owner).unwrap(), rtype, class: 1, ttl, data }
    }

    fn build(qname: &str, qtype: Rtype, flags: u16, records: &[OwnedRecord]) -> Vec<u8> {
        let query = query_bytes(qname, qtype, header::RD, None);
        let mut bytes = Vec::new();
        let mut sections = Sections::start(&query[12..], 65_535, &mut bytes);
        assert!(records.iter().all(|record| sections.push_owned(record)));
        let (Counts { answer, authority, additional }, _) = sections.finish();
        let head = Header { id: 7, flags, qdcount: 1, ancount: answer, nscount: authority, arcount: additional };
        bytes[..12].copy_from_slice(&head.to_bytes());
        bytes
    }

    fn soa(ttl: u32, minimum: u32) -> OwnedRecord {
        let names = [b"\x01m\0".as_slice(), b"\x01r\0"].concat();
        let numbers = [1u32, 2, 3, 4, minimum].iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>();
        record(Section::Authority, "example", Rtype::SOA, ttl, [names, numbers].concat())
    }

    #[test]
    fn ttls_are_capped_and_counted_down() {
        let answer = new_answer(&address_answer("a.example", 1_006_632_960), &LIMITS).unwrap();
        assert_eq!(answer.view().ttl(), 3600);
        let bytes = query_bytes("A.example", Rtype::A, header::RD, Some((1232, 0)));
        let mut room = NameRoom::new();
        let query = Query::parse(&bytes, &mut room).unwrap();
        let mut out = Vec::new();
        answer.view().write(&query, Age::Seconds(100), 1232, &mut out);
        let message = Message::parse(&out).unwrap();
        assert_eq!(message.records[0].ttl, 3500);
        assert_eq!(message.header.id, 0x1234);
        assert_eq!(&out[12..15], b"\x01A\x07", "the question keeps the client's case");
        assert_eq!(message.records[1].rtype, Rtype::OPT);
    }

    #[test]
    fn aliases_are_followed_in_any_order() {
        let targets = |records: &[OwnedRecord]| {
            let answer = new_answer(&build("A.example", Rtype::A, 0x8180, records), &LIMITS).unwrap();
            let targets: Vec<_> = answer.view().targets().map(|target| Name::from_wire(target).unwrap()).collect();
            assert!(targets.iter().all(|name| name.as_wire() == name.to_lowercase().as_wire()));
            (targets.iter().map(Name::to_string).collect::<Vec<_>>(), answer.view().is_private())
        };
        let address = record(Section::Answer, "c.privatelink.example", Rtype::A, 60, vec![10, 0, 0, 1]);
        let chain = [
            alias("b.example", "C.PrivateLink.example"),
            address,
            alias("a.EXAMPLE", "B.example"),
            alias("d.example", "e.example"),
        ];
        assert_eq!(targets(&chain), (vec!["b.example".to_owned(), "c.privatelink.example".to_owned()], true));
    }

    fn alias(owner: &str, target: &str) -> OwnedRecord {
        record(Section::Answer, owner, Rtype::CNAME, 60, Name::parse(target).unwrap().as_wire().to_vec())
    }

    fn address(owner: &str) -> OwnedRecord {
        record(Section::Answer, owner, Rtype::A, 60, vec![10, 0, 0, 1])
    }

    fn answer_of(records: &[OwnedRecord]) -> Option<Answer> {
        new_answer(&build("a.example", Rtype::A, 0x8180, records), &LIMITS)
    }

    fn lookup(name: &str) -> Rtype {
        Rtype::parse(name).unwrap()
    }

    #[test]
    fn aliases_precede_their_targets() {
        let signature = |owner: &str| {
            record(Section::Answer, owner, lookup("RRSIG"), 60, [&[0, 1][..], &[7; 16], &[0, 9]].concat())
        };
        let right = [
            alias("a.example", "b.example"),
            alias("b.example", "c.example"),
            address("c.example"),
            signature("c.example"),
        ];
        let soa = soa(60, 60);
        let written = |order: [usize; 4]| {
            let mut records: Vec<_> = order.iter().map(|&at| right[at].clone()).collect();
            records.push(soa.clone());
            all_records(&answer_of(&records).unwrap())
        };
        let expected = [&right[..], std::slice::from_ref(&soa)].concat();
        for order in [[0, 1, 2, 3], [2, 3, 0, 1], [1, 0, 2, 3], [2, 1, 0, 3], [0, 2, 3, 1]] {
            assert_eq!(written(order), expected, "{order:?}");
        }
    }

    #[test]
    fn what_does_not_belong_to_the_question_is_left_out() {
        let belongs = [alias("a.example", "b.example"), address("b.example")];
        let mut other_class = address("b.example");
        other_class.class = 3;
        for foreign in [
            address("victim.example"),
            address("a.example"),
            alias("b2.example", "b.example"),
            alias("a.example", "evil.example"),
            record(Section::Answer, "b.example", Rtype::TXT, 60, b"\x01x".to_vec()),
            other_class,
        ] {
            for at in 1..3 {
                let mut records = belongs.to_vec();
                records.insert(at, foreign.clone());
                let answer = answer_of(&records).unwrap();
                assert_eq!(all_records(&answer), belongs, "{foreign:?}");
            }
        }
        // A DNAME record of an ancestor belongs to the name that it renames.
        let target = Name::parse("example.net").unwrap().as_wire().to_vec();
        let dname = record(Section::Answer, "example", lookup("DNAME"), 60, target);
        let records = [dname, alias("a.example", "a.example.net"), address("a.example.net")];
        assert_eq!(all_records(&answer_of(&records).unwrap()), records);
    }

    #[test]
    fn a_chain_is_followed_to_its_first_repetition_or_for_seventeen_aliases() {
        let ring = vec![alias("a.example", "b.example"), alias("b.example", "a.example"), address("a.example")];
        let itself = vec![alias("a.example", "A.example")];
        let name = |n: usize| if n == 0 { "a.example".to_owned() } else { format!("n{n}.example") };
        let chain = |len: usize| (0..len).map(|n| alias(&name(n), &name(n + 1))).collect::<Vec<_>>();
        let ended = |len: usize| [chain(len), vec![address(&name(len))]].concat();
        let back = |mut records: Vec<OwnedRecord>| {
            records.reverse();
            records
        };
        for (records, kept, targets, is_unfinished) in [
            (ring, 2, 2, true),
            (itself, 1, 1, true),
            (ended(16), 17, 16, false),
            (ended(17), 18, 17, true),
            (back(ended(16)), 17, 16, false),
            (back(ended(200)), 17, 17, true),
        ] {
            let answer = answer_of(&records).unwrap();
            let view = answer.view();
            let found = (all_records(&answer).len(), view.targets().count(), view.is_unfinished());
            assert_eq!(found, (kept, targets, is_unfinished), "{records:?}");
        }
        assert!(answer_of(&ended(300)).is_none(), "so many aliases are no answer");
        // What a question for CNAME records is answered with is no chain.
        let itself = build("a.example", Rtype::CNAME, 0x8180, &[alias("a.example", "a.example")]);
        assert!(!new_answer(&itself, &LIMITS).unwrap().view().is_unfinished());
    }

    #[test]
    fn an_answer_is_finished_by_data_or_a_denial_of_its_last_name() {
        let target = Name::parse("b.test").unwrap().as_wire().to_vec();
        let dname = record(Section::Answer, "example", Rtype::DNAME, 60, target);
        let long = |len: usize| {
            let name = |n: usize| if n == 0 { "a.example".to_owned() } else { format!("n{n}.example") };
            let aliases = (0..len).map(|n| alias(&name(n), &name(n + 1)));
            aliases.chain([address(&name(len))]).collect::<Vec<_>>()
        };
        for (qtype, rcode, records, is_unfinished, ttl) in [
            (Rtype::A, 0, vec![address("a.example")], false, 60),
            (Rtype::A, 0, vec![], false, 0),
            (Rtype::A, 0, vec![alias("a.example", "B.example"), address("b.EXAMPLE")], false, 60),
            (Rtype::A, 0, vec![address("b.example"), alias("a.example", "b.example")], false, 60),
            (Rtype::A, 0, vec![alias("a.example", "b.example"), address("c.example")], true, 60),
            (Rtype::A, 0, vec![alias("a.example", "b.example")], true, 60),
            (Rtype::A, 0, vec![alias("a.example", "b.example"), soa(3600, 30)], false, 30),
            (Rtype::A, 3, vec![alias("a.example", "b.example")], false, 0),
            (Rtype::A, 2, vec![alias("a.example", "b.example")], false, 0),
            (Rtype::A, 0, vec![alias("a.example", "b.example"), alias("b.example", "a.example")], true, 60),
            (Rtype::A, 0, vec![dname.clone()], true, 60),
            (Rtype::DNAME, 0, vec![dname], false, 60),
            (Rtype::CNAME, 0, vec![alias("a.example", "b.example")], false, 60),
            (Rtype::ANY, 0, vec![alias("a.example", "b.example")], false, 60),
            (Rtype::A, 0, long(super::super::ALIASES_MAX), false, 60),
            (Rtype::A, 0, long(super::super::ALIASES_MAX + 1), true, 60),
        ] {
            let bytes = build("a.example", qtype, 0x8180 | rcode, &records);
            let answer = new_answer(&bytes, &LIMITS).unwrap();
            let found = (answer.view().is_unfinished(), answer.view().ttl());
            assert_eq!(found, (is_unfinished, ttl), "{qtype} {rcode} {records:?}");
        }
    }

    #[test]
    fn negative_answers_live_as_long_as_their_soa_says() {
        for (name, rcode, records, ttl) in [
            ("a.example", 3, vec![soa(3600, 30)], 30),
            ("a.example", 3, vec![soa(20, 30)], 20),
            ("a.example", 3, vec![soa(3600, 3600)], 60),
            ("a.privatelink.example", 3, vec![soa(3600, 300)], 10),
            ("a.example", 0, vec![soa(3600, 30)], 30),
            ("a.example", 3, vec![], 0),
            ("a.example", 2, vec![soa(3600, 30)], 0),
            ("a.example", 5, vec![], 0),
        ] {
            let answer = new_answer(&build(name, Rtype::A, 0x8180 | rcode, &records), &LIMITS).unwrap();
            assert_eq!(answer.view().ttl(), ttl, "{name} {rcode} {records:?}");
        }
    }

    #[test]
    fn an_opt_record_in_the_middle_is_taken_out() {
        let records = [
            record(Section::Answer, "a.example", Rtype::A, 60, vec![192, 0, 2, 1]),
            record(Section::Additional, ".", Rtype::OPT, 0, vec![0, 15, 0, 2, 0, 22]),
            record(Section::Additional, "ns.a.example", Rtype::A, 60, vec![192, 0, 2, 2]),
            record(Section::Additional, "x.ns.a.example", Rtype::A, 60, vec![192, 0, 2, 3]),
        ];
        let answer = new_answer(&build("a.example", Rtype::A, 0x8180, &records), &LIMITS).unwrap();
        assert_eq!(answer.view().errors(), [0, 15, 0, 2, 0, 22]);
        let left = all_records(&answer);
        assert_eq!(left, [records[0].clone(), records[2].clone(), records[3].clone()]);
    }

    #[test]
    fn what_does_not_fit_is_cut_by_rrsets() {
        let records: Vec<_> =
            (0..100).map(|n| record(Section::Answer, "a.example", Rtype::A, 60, vec![10, 0, 0, n])).collect();
        let answer = new_answer(&build("a.example", Rtype::A, 0x8180, &records), &LIMITS).unwrap();
        let bytes = query_bytes("a.example", Rtype::A, header::RD, None);
        let mut out = Vec::new();
        answer.view().write(&Query::parse(&bytes, &mut NameRoom::new()).unwrap(), Age::Seconds(0), 512, &mut out);
        let message = Message::parse(&out).unwrap();
        assert_eq!(message.header.ancount, 0);
        assert_ne!(message.header.flags & header::TC, 0);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut bytes = bytes;
            if bytes.len() > 6 { bytes[4] = 0; bytes[5] = 1; }
            if let Some(answer) = new_answer(&bytes, &LIMITS) {
                let asked = query_bytes("a.example", Rtype::A, header::RD, Some((1232, 0)));
                let mut room = NameRoom::new();
                answer.view().write(&Query::parse(&asked, &mut room).unwrap(), Age::Stale, 1232, &mut Vec::new());
            }
        }
    }
}
