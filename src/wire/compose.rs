//! Answers put together record by record: CNAME chains across table and upstream, and answers that must be cut.
//!
//! This is the thorough way. Answers that are ready as bytes take [`super::reply`]'s short one.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::compression::{read_name, walk_name};
use super::edns::OPT_LEN;
use super::header::HEADER_LEN;
use super::message::{FIELDS_LEN, Message, RecordView, Records, Section, push_expanded_data};
use super::reply::{Closing, Counts, ReplyOptions, close};
use super::{ExtendedError, Name, Query, Rcode, Rtype};

/// One record by itself: names uncompressed, fit for any message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The section it belongs in.
    pub section: Section,
    /// Its owner name.
    pub owner: Name,
    /// Its type.
    pub rtype: Rtype,
    /// Its class.
    pub class: u16,
    /// Its TTL, seconds.
    pub ttl: u32,
    /// Its data, names uncompressed.
    pub data: Vec<u8>,
}

impl OwnedRecord {
    /// Takes a record out of a message; nothing when a name in it is malformed.
    pub fn from_view(message: &Message<'_>, record: &RecordView) -> Option<Self> {
        Self::read(message.bytes, record)
    }

    /// The same with the bytes of a message, when the others of its records are not read.
    pub fn read(message: &[u8], record: &RecordView) -> Option<Self> {
        let mut data = Vec::with_capacity(record.data().len());
        push_expanded_data(message, record, &mut data)?;
        Some(Self {
            section: record.section,
            owner: read_name(message, record.start())?.0,
            rtype: record.rtype,
            class: record.class,
            ttl: record.ttl,
            data,
        })
    }

    /// Bytes that it takes in a message at least, however its names are compressed.
    pub fn len_min(&self) -> usize {
        let data = match self.rtype {
            Rtype::CNAME | Rtype::NS | Rtype::PTR => 1,
            _ => self.data.len(),
        };
        1 + FIELDS_LEN + data
    }
}

/// Places further back cannot be pointed at (RFC 1035 §4.1.4).
const POINTABLE_MAX: usize = 0x3fff;
/// Labels looked up for one message before names are written whole: honest messages need some thousands.
const LOOKUPS_MAX: u32 = 1 << 16;

/// What an answer says besides its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerFlags<'a> {
    /// The response code.
    pub rcode: Rcode,
    /// Authoritative: the answer to the first owner name is from the table.
    pub authoritative: bool,
    /// Authentic data, as the upstream said it.
    pub authentic: bool,
    /// Options for the OPT record, ready to be written (extended errors).
    pub options: &'a [u8],
}

/// Writes a whole answer to `query` into `out`, at most `limit` bytes.
///
/// Names are compressed (RFC 1035 §4.1.4). Writing stops at the first RRset that does not fit; TC is set when that is one of
/// answer or authority (RFC 2181 §9). Records are expected in section order.
pub fn compose(query: &Query<'_>, records: &[OwnedRecord], flags: &AnswerFlags<'_>, limit: usize, out: &mut Vec<u8>) {
    let mut sections = Sections::start(query.question(), room(query, limit), out);
    for record in records {
        if !sections.push_owned(record) {
            break;
        }
    }
    let written = sections.finish();
    close_whole(query, (flags, None), written, limit, out);
}

/// The same with the records of `message`, which is sound, their TTLs as `ttl` gives them; `error` is this server's own.
/// What is not written is not read either.
pub fn compose_from(
    query: &Query<'_>,
    message: &[u8],
    ttl: impl Fn(u32) -> u32,
    (flags, error): (&AnswerFlags<'_>, Option<ExtendedError>),
    limit: usize,
    out: &mut Vec<u8>,
) {
    let mut sections = Sections::start(query.question(), room(query, limit), out);
    for record in Records::of(message).into_iter().flatten() {
        let mut aged = record;
        aged.ttl = ttl(aged.ttl);
        if !sections.push_view(message, &aged) {
            break;
        }
    }
    let written = sections.finish();
    close_whole(query, (flags, error), written, limit, out);
}

/// Closes an answer whose records are written.
#[inline]
fn close_whole(
    query: &Query<'_>,
    (flags, error): (&AnswerFlags<'_>, Option<ExtendedError>),
    (counts, truncated): (Counts, bool),
    limit: usize,
    out: &mut Vec<u8>,
) {
    let closing = Closing {
        rcode: flags.rcode,
        authoritative: flags.authoritative,
        authentic: flags.authentic,
        truncated,
        counts,
        options: ReplyOptions { error, upstream_errors: flags.options },
    };
    close(out, &query.into(), closing, limit);
}

/// Bytes for header, question and records.
fn room(query: &Query<'_>, limit: usize) -> usize {
    limit.saturating_sub(if query.edns.is_some() { OPT_LEN } else { 0 })
}

/// A message under way: whole RRsets, names compressed, until one does not fit.
pub struct Sections<'o> {
    out: &'o mut Vec<u8>,
    names: Compressor,
    room: usize,
    /// Records of whole RRsets in each section.
    counts: [u16; 3],
    /// Where the RRset under way begins, and how many records it has.
    start: usize,
    pending: u16,
    /// Section, type and class of that RRset.
    current: Option<(Section, Rtype, u16)>,
    /// Answer or authority lack some.
    truncated: bool,
    /// Where names and data are expanded: the owner of the last record, that of this one, and its data.
    last_owner: Vec<u8>,
    owner: Vec<u8>,
    data: Vec<u8>,
}

impl<'o> Sections<'o> {
    /// Writes room for a header and the question; header, question and records may have `room` bytes.
    pub fn start(question: &[u8], room: usize, out: &'o mut Vec<u8>) -> Self {
        out.clear();
        out.resize(HEADER_LEN, 0);
        out.extend_from_slice(question);
        let names = Compressor::new(out);
        Self {
            start: out.len(),
            out,
            names,
            room,
            counts: [0; 3],
            pending: 0,
            current: None,
            truncated: false,
            last_owner: Vec::new(),
            owner: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Appends a record; whether there is room for more.
    pub fn push_owned(&mut self, record: &OwnedRecord) -> bool {
        let OwnedRecord { section, owner, rtype, class, ttl, data } = record;
        self.owner.clear();
        self.owner.extend_from_slice(owner.as_wire());
        self.push((*section, *rtype, *class), *ttl, data)
    }

    /// Appends a record of another, sound message; whether there is room for more.
    pub fn push_view(&mut self, message: &[u8], record: &RecordView) -> bool {
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        self.owner.clear();
        let owner = &mut self.owner;
        let is_read = walk_name(message, record.start(), |labels| owner.extend_from_slice(labels)).is_some()
            && push_expanded_data(message, record, &mut data).is_some();
        let goes_on = is_read && self.push((record.section, record.rtype, record.class), record.ttl, &data);
        self.data = data;
        goes_on
    }

    /// Appends a record of `self.owner`.
    fn push(&mut self, kind: (Section, Rtype, u16), ttl: u32, data: &[u8]) -> bool {
        let (section, rtype, class) = kind;
        let is_same_owner = self.owner == self.last_owner;
        if self.current != Some(kind) || !(is_same_owner || self.owner.eq_ignore_ascii_case(&self.last_owner)) {
            self.end_rrset();
            self.current = Some(kind);
        }
        if !is_same_owner {
            std::mem::swap(&mut self.owner, &mut self.last_owner);
        }
        let out = &mut *self.out;
        self.names.push_owner(out, &self.last_owner, is_same_owner);
        out.extend_from_slice(&rtype.0.to_be_bytes());
        out.extend_from_slice(&class.to_be_bytes());
        out.extend_from_slice(&ttl.to_be_bytes());
        let data_at = out.len() + 2;
        out.extend_from_slice(&[0, 0]);
        match rtype {
            // Types that RFC 1035 defined and that hold one name only: it may be compressed (RFC 3597 §4).
            Rtype::CNAME | Rtype::NS | Rtype::PTR => self.names.push_name(out, data),
            _ => out.extend_from_slice(data),
        }
        let len = u16::try_from(out.len() - data_at);
        let (Ok(len), true) = (len, out.len() <= self.room) else {
            out.truncate(self.start);
            self.pending = 0;
            self.truncated = section != Section::Additional;
            return false;
        };
        if let Some(place) = out.get_mut(data_at - 2..data_at) {
            place.copy_from_slice(&len.to_be_bytes());
        }
        self.pending += 1;
        true
    }

    fn end_rrset(&mut self) {
        if let Some((section, ..)) = self.current
            && let Some(count) = self.counts.get_mut(section as usize)
        {
            *count += self.pending;
        }
        self.pending = 0;
        self.start = self.out.len();
    }

    /// The number of records in each section, and whether answer or authority lack some.
    pub fn finish(mut self) -> (Counts, bool) {
        self.end_rrset();
        let [answer, authority, additional] = self.counts;
        (Counts { answer, authority, additional }, self.truncated)
    }
}

/// Remembers where names are in the message being written.
///
/// A suffix is known by its first label and the place of the rest: a name is looked up from its end, label by label, so the
/// cost is linear in its length.
struct Compressor {
    /// Where suffixes begin, each with the place of what follows its first label; 0 for the root.
    known: HashTable<(u16, u16)>,
    hasher: foldhash::fast::RandomState,
    lookups: u32,
    /// Where the last owner can be pointed at.
    last_owner: Option<u16>,
}

impl Compressor {
    /// Starts with the question's name, which follows the header.
    fn new(out: &[u8]) -> Self {
        let hasher = foldhash::fast::RandomState::default();
        let mut names = Self { known: HashTable::new(), hasher, lookups: LOOKUPS_MAX, last_owner: None };
        let question = out.get(HEADER_LEN..).unwrap_or_default();
        if let Some(name) = super::name::wire_len(question).and_then(|len| question.get(..len)) {
            let labels = label_starts(name);
            names.learn(out, HEADER_LEN, &labels, 0);
        }
        names
    }

    /// Remembers the labels that were written at `at`, where they begin there; `rest` is the place of what follows them.
    fn learn(&mut self, out: &[u8], at: usize, labels: &[u8], mut rest: u16) {
        for start in labels.iter().rev() {
            let place = at + usize::from(*start);
            let Some(place) = u16::try_from(place).ok().filter(|_| place <= POINTABLE_MAX) else { return };
            let hash = hash(&self.hasher, out, place, rest);
            let hasher = &self.hasher;
            self.known.insert_unique(hash, (place, rest), |&(place, rest)| self::hash(hasher, out, place, rest));
            rest = place;
        }
    }

    /// Writes an owner name: that of the record before where `is_same`.
    fn push_owner(&mut self, out: &mut Vec<u8>, name: &[u8], is_same: bool) {
        if let Some(place) = self.last_owner.filter(|_| is_same) {
            return out.extend_from_slice(&(0xc000 | place).to_be_bytes());
        }
        let start = out.len();
        self.push_name(out, name);
        // Where the name is a pointer as a whole, what it leads to can be pointed at as well.
        self.last_owner = match out.get(start..) {
            Some(&[p0, p1]) if p0 >= 0xc0 => Some(u16::from_be_bytes([p0 & 0x3f, p1])),
            Some([_, ..]) if name.len() > 1 => u16::try_from(start).ok().filter(|_| start <= POINTABLE_MAX),
            _ => None,
        };
    }

    fn push_name(&mut self, out: &mut Vec<u8>, name: &[u8]) {
        let labels = label_starts(name);
        let (mut rest, mut own) = (0, labels.len());
        while let Some(&start) = own.checked_sub(1).and_then(|at| labels.get(at)) {
            let Some(lookups) = self.lookups.checked_sub(1) else { break };
            self.lookups = lookups;
            let label = label_at(name, start.into());
            let hash = self.hasher.hash_one((label, rest));
            let is_it = |&(place, behind): &(u16, u16)| behind == rest && label_at(out, place.into()) == label;
            let Some(&(place, _)) = self.known.find(hash, is_it) else { break };
            (rest, own) = (place, own - 1);
        }
        let at = out.len();
        let own_len = labels.get(own).map_or(name.len() - 1, |start| usize::from(*start));
        out.extend_from_slice(name.get(..own_len).unwrap_or_default());
        if rest == 0 {
            out.push(0);
        } else {
            out.extend_from_slice(&(0xc000 | rest).to_be_bytes());
        }
        self.learn(out, at, labels.get(..own).unwrap_or_default(), rest);
    }
}

fn hash(hasher: &foldhash::fast::RandomState, out: &[u8], place: u16, rest: u16) -> u64 {
    hasher.hash_one((label_at(out, place.into()), rest))
}

/// The label at `at`, with its length.
fn label_at(bytes: &[u8], at: usize) -> &[u8] {
    let len = bytes.get(at).map_or(0, |len| usize::from(*len));
    bytes.get(at..at + 1 + len).unwrap_or_default()
}

/// Where the labels of an uncompressed name begin, without the root's.
fn label_starts(name: &[u8]) -> SmallVec<[u8; 32]> {
    let mut starts = SmallVec::new();
    let mut at = 0_u8;
    while let Some(&len @ 1..) = name.get(usize::from(at)) {
        starts.push(at);
        let Some(next) = at.checked_add(1).and_then(|at| at.checked_add(len)) else { break };
        at = next;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header;
    use crate::wire::query::tests::query_bytes;
    use crate::wire::{NameBuf, SoundMessage};

    fn record(section: Section, owner: &str, rtype: Rtype, data: Vec<u8>) -> OwnedRecord {
        OwnedRecord { section, owner: Name::parse(owner).unwrap(), rtype, class: 1, ttl: 10, data }
    }

    const VERDICT: AnswerFlags<'static> =
        AnswerFlags { rcode: Rcode::NOERROR, authoritative: true, authentic: false, options: &[] };

    #[test]
    fn a_chain_is_written_and_read_back() {
        let bytes = query_bytes("Acct.blob.core.windows.net", Rtype::A, header::RD, Some((1232, 0)));
        let mut name_buf = NameBuf::new();
        let query = Query::parse(&bytes, &mut name_buf).unwrap();
        let target = Name::parse("acct.privatelink.blob.core.windows.net").unwrap();
        let records = [
            record(Section::Answer, "acct.blob.core.windows.net", Rtype::CNAME, target.as_wire().to_vec()),
            record(Section::Answer, "acct.privatelink.blob.core.windows.net", Rtype::A, vec![10, 20, 4, 9]),
        ];
        let mut out = Vec::new();
        compose(&query, &records, &VERDICT, 1232, &mut out);
        let message = Message::parse(&out).unwrap();
        assert_eq!(message.records.len(), 3);
        let read: Vec<_> =
            message.section(Section::Answer).map(|view| OwnedRecord::from_view(&message, view).unwrap()).collect();
        assert_eq!(read, records);
        assert!(out.len() < 110, "names are compressed: {} bytes", out.len());
    }

    #[test]
    fn whole_rrsets_are_left_out() {
        let bytes = query_bytes("many.example", Rtype::A, header::RD, None);
        let mut name_buf = NameBuf::new();
        let query = Query::parse(&bytes, &mut name_buf).unwrap();
        let target = Name::parse("other.example").unwrap().as_wire().to_vec();
        let mut records = vec![record(Section::Answer, "many.example", Rtype::CNAME, target)];
        records.extend((0..60).map(|n| record(Section::Answer, "other.example", Rtype::A, vec![10, 0, 0, n])));
        let mut out = Vec::new();
        compose(&query, &records, &VERDICT, 512, &mut out);
        let message = Message::parse(&out).unwrap();
        assert_eq!(message.header.ancount, 1, "the CNAME stays, the addresses go together");
        assert_ne!(message.header.flags & header::TC, 0);
        compose(&query, &records, &VERDICT, 65535, &mut out);
        assert_eq!(Message::parse(&out).unwrap().header.ancount, 61);
    }

    #[test]
    fn writing_stops_at_the_first_rrset_that_does_not_fit() {
        let bytes = query_bytes("many.example", Rtype::A, header::RD, None);
        let mut name_buf = NameBuf::new();
        let query = Query::parse(&bytes, &mut name_buf).unwrap();
        let records: Vec<_> = [(60, Section::Answer), (1, Section::Authority), (1, Section::Additional)]
            .into_iter()
            .flat_map(|(count, section)| (0..count).map(move |n| (n, section)))
            .map(|(n, section)| record(section, "many.example", Rtype::A, vec![10, 0, 0, n]))
            .collect();
        let mut out = Vec::new();
        compose(&query, &records, &VERDICT, 512, &mut out);
        let message = Message::parse(&out).unwrap();
        assert_eq!(message.records.len(), 0, "what follows would be taken for the whole");
        assert_ne!(message.header.flags & header::TC, 0);
        compose(&query, &records[60..], &VERDICT, 12 + 18 + 16, &mut out);
        let message = Message::parse(&out).unwrap();
        assert_eq!((message.header.nscount, message.header.arcount), (1, 0));
        assert_eq!(message.header.flags & header::TC, 0, "additional records are not missed");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_written_is_read_back(
            names in proptest::collection::vec("[ab]{1,2}(\\.[abA]{1,3}){0,5}", 1..40),
            limit in 100..3000_usize,
        ) {
            let bytes = query_bytes("a.b.a", Rtype::A, header::RD, None);
            let mut name_buf = NameBuf::new();
            let query = Query::parse(&bytes, &mut name_buf).unwrap();
            let mut records = Vec::new();
            for name in &names {
                let data = Name::parse(name).unwrap().as_wire().to_vec();
                records.push(record(Section::Answer, name, Rtype::NS, data));
            }
            let mut out = Vec::new();
            compose(&query, &records, &VERDICT, limit, &mut out);
            proptest::prop_assert!(out.len() <= limit);
            let message = SoundMessage::parse(&out).unwrap().message;
            let read: Vec<_> = message.records.iter().map(|view| OwnedRecord::from_view(&message, view).unwrap()).collect();
            proptest::prop_assert!(records.starts_with(&read));
            let truncated = message.header.flags & header::TC != 0;
            proptest::prop_assert_eq!(truncated, read.len() < records.len());
        }
    }
}
