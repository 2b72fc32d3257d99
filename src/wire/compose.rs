//! Answers put together record by record: CNAME chains across table and upstream, and answers that must be cut.
//!
//! This is the thorough way. Answers that are ready as bytes take [`super::reply`]'s short one.

use std::collections::HashMap;

use super::edns::{OPT_LEN, push_opt};
use super::header::{self, HEADER_LEN, Header};
use super::message::{Message, RecordView, Section};
use super::{Name, Query, Rcode, Rtype};

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
        Some(Self {
            section: record.section,
            owner: message.owner(record)?,
            rtype: record.rtype,
            class: record.class,
            ttl: record.ttl,
            data: message.expanded_data(record)?,
        })
    }
}

/// What an answer says besides its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The response code.
    pub rcode: Rcode,
    /// Authoritative: the answer to the first owner name is from the table.
    pub authoritative: bool,
    /// Authentic data, as the upstream said it.
    pub authentic: bool,
    /// Options for the OPT record, ready to be written (extended errors).
    pub options: &'a [u8],
}

/// Writes a whole answer to `query` into `out`, at most `limit` octets.
///
/// Names are compressed (RFC 1035 §4.1.4). What does not fit is left out by whole RRsets; TC is set when that concerns
/// answer or authority (RFC 2181 §9). Records are expected in section order.
pub fn compose(query: &Query<'_>, records: &[OwnedRecord], verdict: &Verdict<'_>, limit: usize, out: &mut Vec<u8>) {
    let reserve = if query.edns.is_some() { OPT_LEN + verdict.options.len() } else { 0 };
    let (counts, truncated) = write_sections(query.question(), records, limit.saturating_sub(reserve), out);
    let mut arcount = counts[2];
    let rcode = client_rcode(query, verdict.rcode);
    if let Some(edns) = query.edns {
        push_opt(out, rcode, edns.dnssec_ok, verdict.options);
        arcount += 1;
    }
    let mut flags =
        header::QR | header::RA | (query.header.flags & (header::RD | header::CD)) | (rcode.0 & header::RCODE);
    for (set, flag) in [(verdict.authoritative, header::AA), (verdict.authentic, header::AD), (truncated, header::TC)] {
        if set {
            flags |= flag;
        }
    }
    let head = Header { id: query.header.id, flags, qdcount: 1, ancount: counts[0], nscount: counts[1], arcount };
    if let Some(place) = out.first_chunk_mut::<HEADER_LEN>() {
        *place = head.to_bytes();
    }
}

/// Writes room for a header, the question, and as many whole RRsets as fit into `room` octets. Gives the number of
/// records in each section, and whether answer or authority lack some.
pub fn write_sections(question: &[u8], records: &[OwnedRecord], room: usize, out: &mut Vec<u8>) -> ([u16; 3], bool) {
    out.clear();
    out.resize(HEADER_LEN, 0);
    out.extend_from_slice(question);
    let mut names = Compressor::new(out);
    let mut counts = [0u16; 3];
    let mut truncated = false;
    for rrset in records.chunk_by(same_rrset) {
        let Some(first) = rrset.first() else { continue };
        let start = out.len();
        for record in rrset {
            names.push_record(out, record);
        }
        if out.len() > room {
            out.truncate(start);
            names.forget_from(start);
            truncated |= first.section != Section::Additional;
            if first.section != Section::Additional {
                break;
            }
            continue;
        }
        if let Some(count) = counts.get_mut(first.section as usize) {
            *count += rrset.len() as u16;
        }
    }
    (counts, truncated)
}

/// A response code that needs EDNS cannot be said to a client without it: SERVFAIL instead.
pub fn client_rcode(query: &Query<'_>, rcode: Rcode) -> Rcode {
    if rcode.0 > header::RCODE && query.edns.is_none() { Rcode::SERVFAIL } else { rcode }
}

fn same_rrset(a: &OwnedRecord, b: &OwnedRecord) -> bool {
    a.section == b.section && a.rtype == b.rtype && a.class == b.class && a.owner == b.owner
}

/// Remembers where names stand in the message being written.
struct Compressor {
    /// Suffixes of names written so far, case kept, with their place.
    known: HashMap<Box<[u8]>, u16, foldhash::fast::RandomState>,
}

impl Compressor {
    /// Starts with the question's name, which stands behind the header.
    fn new(out: &[u8]) -> Self {
        let mut names = Self { known: HashMap::default() };
        if let Some(question) = out.get(HEADER_LEN..) {
            names.learn(question, HEADER_LEN);
        }
        names
    }

    /// Remembers the suffixes of the uncompressed name at the start of `wire`, which stands at `at`.
    fn learn(&mut self, wire: &[u8], at: usize) {
        let Some(name) = super::name::wire_len(wire).and_then(|len| wire.get(..len)) else {
            return;
        };
        let mut suffix = name;
        while suffix.len() > 1 {
            let place = at + (name.len() - suffix.len());
            if place > 0x3fff {
                return;
            }
            self.known.entry(suffix.into()).or_insert(place as u16);
            let Some(up) = super::name::parent(suffix) else { return };
            suffix = up;
        }
    }

    /// Drops what was remembered of places from `start` on.
    fn forget_from(&mut self, start: usize) {
        self.known.retain(|_, place| (*place as usize) < start);
    }

    fn push_name(&mut self, out: &mut Vec<u8>, name: &[u8]) {
        let mut suffix = name;
        while suffix.len() > 1 {
            if let Some(&place) = self.known.get(suffix) {
                out.extend_from_slice(&(0xc000 | place).to_be_bytes());
                return;
            }
            let Some(up) = super::name::parent(suffix) else { return };
            let label = suffix.get(..suffix.len() - up.len()).unwrap_or_default();
            if out.len() <= 0x3fff {
                self.known.insert(suffix.into(), out.len() as u16);
            }
            out.extend_from_slice(label);
            suffix = up;
        }
        out.push(0);
    }

    fn push_record(&mut self, out: &mut Vec<u8>, record: &OwnedRecord) {
        self.push_name(out, record.owner.as_wire());
        out.extend_from_slice(&record.rtype.0.to_be_bytes());
        out.extend_from_slice(&record.class.to_be_bytes());
        out.extend_from_slice(&record.ttl.to_be_bytes());
        let len_at = out.len();
        out.extend_from_slice(&[0, 0]);
        match record.rtype {
            // Types that RFC 1035 defined and that hold one name only: it may be compressed (RFC 3597 §4).
            Rtype::CNAME | Rtype::NS | Rtype::PTR => self.push_name(out, &record.data),
            _ => out.extend_from_slice(&record.data),
        }
        let len = (out.len() - len_at - 2) as u16;
        if let Some(place) = out.get_mut(len_at..len_at + 2) {
            place.copy_from_slice(&len.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::NameRoom;
    use crate::wire::query::tests::query_bytes;

    fn record(section: Section, owner: &str, rtype: Rtype, data: Vec<u8>) -> OwnedRecord {
        OwnedRecord { section, owner: Name::parse(owner).unwrap(), rtype, class: 1, ttl: 10, data }
    }

    const VERDICT: Verdict<'static> =
        Verdict { rcode: Rcode::NOERROR, authoritative: true, authentic: false, options: &[] };

    #[test]
    fn a_chain_is_written_and_read_back() {
        let bytes = query_bytes("Acct.blob.core.windows.net", Rtype::A, header::RD, Some((1232, 0)));
        let mut room = NameRoom::new();
        let query = Query::parse(&bytes, &mut room).unwrap();
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
        assert!(out.len() < 110, "names are compressed: {} octets", out.len());
    }

    #[test]
    fn whole_rrsets_are_left_out() {
        let bytes = query_bytes("many.example", Rtype::A, header::RD, None);
        let mut room = NameRoom::new();
        let query = Query::parse(&bytes, &mut room).unwrap();
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
}
