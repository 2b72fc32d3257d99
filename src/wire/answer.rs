//! The answer section of an upstream's message: the CNAME chain from the question's name, and which records belong to it.
//!
//! Messages are read here as soon as they arrive, before any lock is taken: the state machine gets the finding.

use smallvec::SmallVec;

use super::compression::{Steps, is_same_name, walk_name};
use super::header::HEADER_LEN;
use super::message::{MessageView, RecordView, Section};
use super::name::is_within;
use super::soundness::{Opt, Parts};
use super::{Rcode, Rtype};

/// CNAMEs that are followed for one query, whichever of table and upstreams they come from: Unbound follows 11, Knot
/// Resolver 13, BIND 16.
pub const ALIASES_MAX: usize = 16;
/// CNAME records of one answer among which the next one is looked for: more are damage.
const CANDIDATES_MAX: usize = 256;
/// DNAME records of an answer that are looked at.
const DNAMES_MAX: usize = ALIASES_MAX;
/// The place of a record that belongs to no name of the chain.
const FOREIGN: u8 = u8::MAX;

/// A message of an upstream, with what was found when it was read: it is read once, before any lock is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamMessage {
    /// The bytes as they came. Only the case of letters may be changed: the places of names and records stay.
    pub bytes: Vec<u8>,
    state: State,
    parts: Parts,
    /// `None` for a message without a question.
    section: Option<AnswerSection>,
}

/// What is known of the bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// They cannot be read to their end, or are not sound ([`SoundMessage::parse`](super::SoundMessage::parse)).
    Damaged,
    /// They are sound, and its parts are those of the message.
    Sound,
    /// They were sound, and have to be read again.
    Unread,
}

/// A sound message of an upstream that has a question.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'m> {
    /// The message without its OPT record.
    pub message: MessageView<'m>,
    /// The response code, with the upper bits of the OPT record.
    pub rcode: Rcode,
    /// The OPT record, if there is one.
    pub opt: Option<&'m Opt>,
    /// Its answer section.
    pub section: &'m AnswerSection,
}

impl UpstreamMessage {
    /// Reads a message. At most 1 ms for any 64 KiB: the cost is linear in the message.
    pub fn read(bytes: Vec<u8>) -> Self {
        let mut message = Self::of(bytes, State::Unread);
        message.find();
        message
    }

    /// Takes the bytes of another message and reads it, in the memory of the one before.
    pub fn read_again(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.find();
    }

    /// Bytes that are known to be damaged.
    pub fn damaged(bytes: Vec<u8>) -> Self {
        Self::of(bytes, State::Damaged)
    }

    /// A message that was read and accepted before: it is read again when its records are needed, not here.
    pub fn accepted_before(bytes: Vec<u8>) -> Self {
        Self::of(bytes, State::Unread)
    }

    fn of(bytes: Vec<u8>, state: State) -> Self {
        Self { bytes, state, parts: Parts::default(), section: None }
    }

    /// Finds the parts of its bytes.
    fn find(&mut self) {
        let Self { bytes, parts, section, .. } = self;
        let mut find = || {
            parts.read(bytes)?;
            let message = parts.view(bytes);
            *section = if message.header.qdcount == 0 { None } else { Some(AnswerSection::of(message)?) };
            Some(())
        };
        self.state = find().map_or(State::Damaged, |()| State::Sound);
    }

    /// The response code, with the upper bits of the OPT record; `None` for damage.
    pub fn rcode(&self) -> Option<Rcode> {
        (self.state == State::Sound).then_some(self.parts.rcode)
    }

    /// Whether the answer section has records that do not belong to the question.
    pub fn has_foreign(&self) -> bool {
        self.state == State::Sound && self.section.as_ref().is_some_and(|section| section.has_foreign)
    }

    /// Whether its header counts no answer though more follows: it may have had one.
    pub fn lacks_answer(&self) -> bool {
        self.state == State::Sound && self.parts.has_rest && self.parts.view(&self.bytes).header.ancount == 0
    }

    /// What was read; `None` for damage and for a message without a question.
    pub fn reading(&mut self) -> Option<Reading<'_>> {
        if self.state == State::Unread {
            self.find();
        }
        let Self { bytes, state: State::Sound, parts, section: Some(section) } = self else { return None };
        Some(Reading { message: parts.view(bytes), rcode: parts.rcode, opt: parts.opt.as_ref(), section })
    }
}

/// How the CNAME chain of an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainEnd {
    /// At a name without a CNAME record.
    Name,
    /// At a name that it went through before.
    Loop,
    /// Not within [`ALIASES_MAX`] records.
    TooLong,
}

/// The answer section of a sound message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerSection {
    /// Where the targets of the CNAME records are, in the order of the chain, at most one more than [`ALIASES_MAX`]. The
    /// last one of a loop is a name that precedes it.
    pub targets: SmallVec<[u16; 4]>,
    /// How the chain ends.
    pub end: ChainEnd,
    /// Some records do not belong to the question, and the chain comes to its end.
    pub has_foreign: bool,
    /// For each record of the section, which name of the chain it belongs to.
    places: SmallVec<[u8; 16]>,
}

impl AnswerSection {
    /// Reads the answer section of a sound message with one question; `None` where comparing its names takes too long.
    pub fn of(message: MessageView<'_>) -> Option<Self> {
        let question = message.bytes.get(HEADER_LEN..message.question_end)?;
        let &[t0, t1, c0, c1] = question.last_chunk::<4>()?;
        let qtype = Rtype(u16::from_be_bytes([t0, t1]));
        let class = u16::from_be_bytes([c0, c1]);
        if let Some(plain) = Self::plain(message, qtype, class) {
            return Some(plain);
        }
        let mut steps = Steps::for_message();
        let chain = Chain::of(message, qtype, class, &mut steps)?;
        let places = places(message, qtype, class, &chain, &mut steps)?;
        let has_foreign = chain.end == ChainEnd::Name && places.contains(&FOREIGN);
        let targets = chain.names.get(1..)?.iter().copied().collect();
        Some(Self { targets, end: chain.end, has_foreign, places })
    }

    /// The section of most answers: every record has the question's type and class, and its owner name is a pointer to the
    /// question's. `None` for all others, and for CNAME and DNAME.
    fn plain(message: MessageView<'_>, qtype: Rtype, class: u16) -> Option<Self> {
        // A compression pointer to the question's name, which follows the header.
        const TO_QUESTION: [u8; 2] = [0xc0, 12];
        const _: () = assert!(HEADER_LEN == 12);
        let is_plain = |record: &RecordView| {
            record.rtype == qtype
                && record.class == class
                && message.bytes.get(record.start()..record.start() + 2) == Some(&TO_QUESTION)
        };
        if matches!(qtype, Rtype::CNAME | Rtype::DNAME) || !message.section(Section::Answer).all(is_plain) {
            return None;
        }
        let places = SmallVec::from_elem(0, message.header.ancount.into());
        Some(Self { targets: SmallVec::new(), end: ChainEnd::Name, has_foreign: false, places })
    }

    /// Whether there are records that do not belong, or that precede those of a name earlier in the chain.
    pub fn is_mixed(&self) -> bool {
        !self.places.is_sorted() || self.places.last() == Some(&FOREIGN)
    }

    /// The numbers of the section's records that belong to the question, each name's before those of its target.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.places.len()).filter(|&at| self.places.get(at) != Some(&FOREIGN)).collect();
        order.sort_by_key(|&at| self.places.get(at).copied());
        order
    }
}

/// The names of a chain, by their places in the message: the question's, then each target.
struct Chain {
    names: SmallVec<[u16; 5]>,
    /// Which record leads from each name to the next, by its number in the answer section.
    aliases: SmallVec<[u16; 4]>,
    end: ChainEnd,
}

impl Chain {
    /// Follows the CNAME records of the answer section, whatever their order.
    fn of(message: MessageView<'_>, qtype: Rtype, class: u16, steps: &mut Steps) -> Option<Self> {
        let mut chain = Self { names: SmallVec::new(), aliases: SmallVec::new(), end: ChainEnd::Name };
        let mut current = u16::try_from(HEADER_LEN).ok()?;
        chain.names.push(current);
        let aliases = (0_u16..).zip(message.section(Section::Answer));
        let mut left: SmallVec<[(u16, &RecordView); 4]> =
            aliases.filter(|(_, record)| record.rtype == Rtype::CNAME && record.class == class).collect();
        if left.len() > CANDIDATES_MAX {
            return None;
        }
        // Where the order is right, the first one left is always the next.
        let mut passed = 0;
        while let Some(&(number, alias)) = left.get(passed) {
            if !is_same_name(message.bytes, alias.start(), current.into(), steps)? {
                passed += 1;
                continue;
            }
            left.remove(passed);
            passed = 0;
            chain.aliases.push(number);
            current = u16::try_from(alias.data().start).ok()?;
            let mut is_known = false;
            for &name in &chain.names {
                is_known |= is_same_name(message.bytes, name.into(), current.into(), steps)?;
            }
            // A question for CNAME records, or for all, is answered by the first name.
            if matches!(qtype, Rtype::CNAME | Rtype::ANY) && (is_known || chain.names.len() > ALIASES_MAX) {
                break;
            }
            chain.names.push(current);
            if is_known {
                chain.end = ChainEnd::Loop;
                break;
            }
            if chain.names.len() > ALIASES_MAX + 1 {
                chain.end = ChainEnd::TooLong;
                break;
            }
        }
        Some(chain)
    }

    /// Which name of the chain is the one at `at`; `last` is the likely one.
    fn find(&self, bytes: &[u8], at: usize, last: u8, steps: &mut Steps) -> Option<u8> {
        let likely = self.names.get(usize::from(last))?;
        if is_same_name(bytes, at, (*likely).into(), steps)? {
            return Some(last);
        }
        for (place, &name) in (0_u8..).zip(&self.names) {
            if place != last && is_same_name(bytes, at, name.into(), steps)? {
                return Some(place);
            }
        }
        Some(FOREIGN)
    }
}

/// For each record of the answer section, the name of the chain that it belongs to.
fn places(
    message: MessageView<'_>,
    qtype: Rtype,
    class: u16,
    chain: &Chain,
    steps: &mut Steps,
) -> Option<SmallVec<[u8; 16]>> {
    let mut places = SmallVec::with_capacity(message.header.ancount.into());
    let (mut last, mut dnames) = (0, 0);
    let end = chain.names.len() - 1;
    for (number, record) in (0_u16..).zip(message.section(Section::Answer)) {
        if record.class != class {
            places.push(FOREIGN);
            continue;
        }
        let mut place = chain.find(message.bytes, record.start(), last, steps)?;
        if place != FOREIGN {
            last = place;
        }
        let at = usize::from(place);
        let belongs = match record.rtype {
            Rtype::CNAME => chain.aliases.get(at) == Some(&number),
            Rtype::RRSIG => true,
            rtype => qtype == Rtype::ANY || (rtype == qtype && at == end),
        };
        if (place == FOREIGN || !belongs) && covers_dname(message.bytes, record) {
            dnames += 1;
            place = if dnames > 2 * DNAMES_MAX { FOREIGN } else { dname_place(message.bytes, record, chain)? };
        } else if !belongs {
            place = FOREIGN;
        }
        places.push(place);
    }
    Some(places)
}

/// Whether a record is a DNAME record, or its signature.
fn covers_dname(bytes: &[u8], record: &RecordView) -> bool {
    record.rtype == Rtype::DNAME
        || (record.rtype == Rtype::RRSIG
            && bytes.get(record.data()).is_some_and(|data| data.starts_with(&Rtype::DNAME.0.to_be_bytes())))
}

/// The first name of the chain that lies below the owner of a DNAME record.
fn dname_place(bytes: &[u8], record: &RecordView, chain: &Chain) -> Option<u8> {
    let read = |at: usize| {
        let mut name = SmallVec::<[u8; 256]>::new();
        walk_name(bytes, at, |labels| name.extend_from_slice(labels)).map(|_| name)
    };
    let owner = read(record.start())?;
    for (place, &name) in (0_u8..).zip(&chain.names) {
        let name = read(name.into())?;
        if name.len() > owner.len() && is_within(&name, &owner) {
            return Some(place);
        }
    }
    Some(FOREIGN)
}
