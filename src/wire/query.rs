//! A query: the bytes that a client sent, parsed once into a borrowed view.
//!
//! What is no good query is told from what deserves no word at all: a response is never answered (two servers would
//! talk to each other without end), nor are bytes too few for a header.

use smallvec::SmallVec;

use super::compression::skip_name;
use super::edns::{self, Edns};
use super::header::{self, HEADER_LEN, Header};
use super::name;
use super::{ExtendedError, Rcode, Rtype};

/// The class IN (RFC 1035 §3.2.4).
pub const CLASS_IN: u16 = 1;
/// Bytes of a query that is kept while it waits: header, the longest name, type and class, OPT without options.
pub const KEPT_MAX: usize = HEADER_LEN + name::NAME_MAX + 4 + edns::OPT_LEN + edns::EMPTY_PADDING.len();

/// A query, borrowed from the bytes that came.
#[derive(Clone)]
pub struct Query<'a> {
    /// The whole message.
    bytes: &'a [u8],
    /// Its header.
    pub header: Header,
    /// Where the question ends, bytes from the start of the message.
    question_end: usize,
    /// The type asked for.
    pub qtype: Rtype,
    /// The class asked for.
    pub qclass: u16,
    /// What the OPT record said, if there was one.
    pub edns: Option<Edns>,
    /// The options of the OPT record, well formed.
    options: &'a [u8],
    /// The qname in lower case, the form in which names are looked up.
    pub qname: LowerName<'a>,
}

/// Why bytes are no query that can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Fewer bytes than a header has: no answer.
    Short,
    /// A response (QR set): no answer.
    Response,
    /// An answer without data is due.
    Refused(Refusal),
}

/// What a refusing answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The response code.
    pub rcode: Rcode,
    /// The extended error, for clients that speak EDNS.
    pub error: Option<ExtendedError>,
    /// Where the question ends, where one could be read.
    pub question_end: Option<usize>,
    /// The client's OPT record, where one could be read.
    pub edns: Option<Edns>,
}

impl<'a> Query<'a> {
    /// Reads a query: one question, at most one OPT record, nothing after its last record. The qname is written in lower
    /// case into `name_buf`.
    ///
    /// Queries of every class and type are read; opcodes other than QUERY, more or fewer questions than one
    /// (RFC 9619), records where a query has none, a second OPT record (RFC 6891 §6.1.1) and a version of EDNS other
    /// than 0 are faults. IXFR has one record where others have none: the SOA record of the zone as the client has it
    /// (RFC 1995 §3).
    pub fn parse(bytes: &'a [u8], name_buf: &'a mut NameBuf) -> Result<Self, Fault> {
        let header = Header::read(bytes).ok_or(Fault::Short)?;
        if header.flags & header::QR != 0 {
            return Err(Fault::Response);
        }
        if header.opcode() != 0 {
            let question_end = (header.qdcount == 1).then(|| read_question_end(bytes)).flatten();
            return Err(refusal(
                Rcode::NOTIMP,
                Some(ExtendedError::NOT_SUPPORTED),
                question_end,
                read_edns(bytes, &header),
            ));
        }
        // The OPT record is answered even there, where it can be read (RFC 6891 §6.1.1).
        let form_error = |question_end| refusal(Rcode::FORMERR, None, question_end, read_edns(bytes, &header));
        if header.qdcount != 1 {
            return Err(form_error(None));
        }
        let question = bytes.get(HEADER_LEN..).unwrap_or_default();
        let qname = name::wire_len(question).and_then(|len| question.get(..len));
        let qname = qname.ok_or_else(|| form_error(None))?;
        let Some((&[t0, t1, c0, c1], _)) = question.get(qname.len()..).and_then(|rest| rest.split_first_chunk::<4>())
        else {
            return Err(form_error(None));
        };
        let question_end = HEADER_LEN + qname.len() + 4;
        let qtype = Rtype(u16::from_be_bytes([t0, t1]));
        let authorities = if qtype == Rtype::IXFR { header.nscount.min(1) } else { 0 };
        if header.ancount != 0 || header.nscount != authorities {
            return Err(form_error(Some(question_end)));
        }
        let edns = if header.arcount == 0 && authorities == 0 {
            (bytes.len() == question_end).then_some((None, &[][..]))
        } else {
            parse_records(bytes, question_end, authorities, header.arcount)
        };
        let (edns, options) = edns.ok_or_else(|| form_error(Some(question_end)))?;
        if edns.is_some_and(|edns| edns.version != 0) {
            return Err(refusal(Rcode::BADVERS, None, Some(question_end), edns));
        }
        let qclass = u16::from_be_bytes([c0, c1]);
        Ok(Self { bytes, header, question_end, qtype, qclass, edns, options, qname: name_buf.lower(qname) })
    }

    /// The whole message as it came.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The question section as it came: name (case kept), type, class.
    pub fn question(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..self.question_end).unwrap_or_default()
    }

    /// The options of the OPT record, well formed; empty without one.
    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    /// Has the reply padded where the query was (RFC 7830 §4). For transports on which others cannot read the message.
    pub fn pad_reply(&mut self) {
        if let Some(edns) = &mut self.edns {
            edns.is_padded = edns::has_padding(self.options);
        }
    }

    /// Whether it has the option that keeps TCP connections open (RFC 7828), which others than TCP's forbid (RFC 9250 §5.5.2).
    pub fn has_tcp_keepalive(&self) -> bool {
        edns::has_tcp_keepalive(self.options)
    }

    /// Whether recursion is desired.
    pub fn recursion_desired(&self) -> bool {
        self.header.flags & header::RD != 0
    }

    /// Whether DNSSEC records are wanted.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether the client wants no validation upstream.
    pub fn checking_disabled(&self) -> bool {
        self.header.flags & header::CD != 0
    }

    /// What its answer depends on, as a message: header, question, and an OPT record without options, but for one that asks
    /// for padding.
    pub fn minimal_query(&self) -> Vec<u8> {
        let flags = Header { ancount: 0, nscount: 0, arcount: u16::from(self.edns.is_some()), ..self.header };
        let mut minimal_query = [&flags.to_bytes()[..], self.question()].concat();
        if let Some(edns) = self.edns {
            let [p0, p1] = edns.payload.to_be_bytes();
            let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
            let padding: &[u8] = if edns::has_padding(self.options) { &edns::EMPTY_PADDING } else { &[] };
            let options_len = if padding.is_empty() { 0 } else { 4 };
            minimal_query.extend_from_slice(&[0, 0, 41, p0, p1, 0, 0, dnssec_ok, 0, 0, options_len]);
            minimal_query.extend_from_slice(padding);
        }
        minimal_query
    }

    /// A refusing answer to this query.
    pub fn refusal(&self, rcode: Rcode, error: Option<ExtendedError>) -> Refusal {
        Refusal { rcode, error, question_end: Some(self.question_end), edns: self.edns }
    }
}

fn refusal(rcode: Rcode, error: Option<ExtendedError>, question_end: Option<usize>, edns: Option<Edns>) -> Fault {
    Fault::Refused(Refusal { rcode, error, question_end, edns })
}

fn read_question_end(bytes: &[u8]) -> Option<usize> {
    let end = HEADER_LEN + name::wire_len(bytes.get(HEADER_LEN..)?)? + 4;
    (end <= bytes.len()).then_some(end)
}

/// The OPT record of a message that is not understood otherwise, where it is sound and the only one. Records and bytes that
/// do not belong there do not matter.
fn read_edns(bytes: &[u8], header: &Header) -> Option<Edns> {
    let mut at = match header.qdcount {
        0 => HEADER_LEN,
        1 => read_question_end(bytes)?,
        _ => return None,
    };
    for _ in 0..u32::from(header.ancount) + u32::from(header.nscount) {
        at = read_record(bytes, at)?.end;
    }
    let mut found = None;
    for _ in 0..header.arcount {
        let Some(record) = read_record(bytes, at) else { break };
        at = record.end;
        if record.is_opt {
            let (edns, _) = record.opt.filter(|_| found.is_none())?;
            found = Some(edns);
        }
    }
    found
}

/// Reads so many records of the authority section, which do not matter, and of the additional section from `at` to the end
/// of the message; `None` when they do not end there or are malformed. Gives what the OPT record says, and its options.
// On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
#[inline(always)]
fn parse_records(bytes: &[u8], at: usize, authorities: u16, additionals: u16) -> Option<(Option<Edns>, &[u8])> {
    let (mut edns, mut options, mut at) = (None, &[][..], at);
    for number in 0..u32::from(authorities) + u32::from(additionals) {
        let record = read_record(bytes, at)?;
        if record.is_opt {
            let (read, data) = record.opt.filter(|_| edns.is_none() && number >= authorities.into())?;
            (edns, options) = (Some(read), data);
        }
        at = record.end;
    }
    (at == bytes.len()).then_some((edns, options))
}

/// A record of a query.
struct QueryRecord<'a> {
    end: usize,
    is_opt: bool,
    /// What an OPT record says, and its options, where they are well formed and the owner is the root.
    opt: Option<(Edns, &'a [u8])>,
}

// On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
#[inline(always)]
fn read_record(bytes: &[u8], at: usize) -> Option<QueryRecord<'_>> {
    let fields = skip_name(bytes, at)?;
    let (&[t0, t1, c0, c1, x0, x1, x2, x3, l0, l1], rest) = bytes.get(fields..)?.split_first_chunk::<10>()?;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let data = rest.get(..len)?;
    let is_opt = u16::from_be_bytes([t0, t1]) == Rtype::OPT.0;
    let opt = (is_opt && fields == at + 1 && edns::options_are_sound(data)).then(|| {
        let edns = Edns::from_fields(u16::from_be_bytes([c0, c1]), u32::from_be_bytes([x0, x1, x2, x3]));
        (edns, data)
    });
    Some(QueryRecord { end: fields + 10 + len, is_opt, opt })
}

/// The bytes of a query that is kept while it waits; most have room without an allocation of their own.
pub type OwnedQuery = SmallVec<[u8; 120]>;

/// What is kept of a query: the bytes that came, or its minimal query where they are many.
pub fn kept(bytes: &[u8]) -> OwnedQuery {
    if bytes.len() <= KEPT_MAX {
        return OwnedQuery::from_slice(bytes);
    }
    Query::parse(bytes, &mut NameBuf::new())
        .map_or_else(|_| OwnedQuery::from_slice(bytes), |query| query.minimal_query().into())
}

/// A name in lower case wire form.
#[derive(Clone, Copy)]
pub struct LowerName<'a>(&'a [u8]);

impl<'a> LowerName<'a> {
    /// The wire form.
    #[inline]
    pub fn as_wire(self) -> &'a [u8] {
        self.0
    }

    /// Bytes of the wire form.
    #[expect(clippy::len_without_is_empty, reason = "a name has at least the root label")]
    #[inline]
    pub fn len(self) -> usize {
        self.0.len()
    }
}

/// Where a name is written in lower case. A query is moved from step to step; its name stays here.
pub struct NameBuf {
    bytes: [u8; ROOM],
    len: u8,
}

/// Bytes that are made lower case in one go.
const AT_ONCE: usize = 16;
/// A name's bytes, and what fills up the last of those goes.
const ROOM: usize = name::NAME_MAX.next_multiple_of(AT_ONCE);

impl NameBuf {
    /// An empty one.
    pub const fn new() -> Self {
        Self { bytes: [0; ROOM], len: 0 }
    }

    /// The name that was put in last.
    #[inline]
    pub fn name(&self) -> LowerName<'_> {
        LowerName(self.bytes.get(..usize::from(self.len)).unwrap_or_default())
    }

    /// Takes a name that is in wire form, at most 255 bytes of it.
    #[inline]
    pub fn lower(&mut self, wire: &[u8]) -> LowerName<'_> {
        let len = wire.len().min(name::NAME_MAX);
        let (place, name) = (self.bytes.get_mut(..len), wire.get(..len));
        if let (Some(place), Some(name)) = (place, name) {
            place.copy_from_slice(name);
        }
        // Length bytes are at most 63, below every upper case letter, so the whole name can be lowered at once; what
        // stands behind it does not matter.
        let (pieces, _) = self.bytes.as_chunks_mut::<AT_ONCE>();
        for piece in pieces.iter_mut().take(len.div_ceil(AT_ONCE)) {
            piece.make_ascii_lowercase();
        }
        self.len = u8::try_from(len).unwrap_or(u8::MAX);
        self.name()
    }
}

impl Default for NameBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for LowerName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        name::Presented(self.as_wire()).fmt(f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::wire::Name;

    /// A query in wire form, for tests of every room.
    pub(crate) fn query_bytes(name: &str, qtype: Rtype, flags: u16, opt: Option<(u16, u32)>) -> Vec<u8> {
        let arcount = u16::from(opt.is_some());
        let header = Header { id: 0x1234, flags, qdcount: 1, ancount: 0, nscount: 0, arcount };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(Name::parse(name).unwrap().as_wire());
        bytes.extend_from_slice(&qtype.0.to_be_bytes());
        bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        if let Some((payload, ttl)) = opt {
            bytes.extend_from_slice(&[0, 0, 41]);
            bytes.extend_from_slice(&payload.to_be_bytes());
            bytes.extend_from_slice(&ttl.to_be_bytes());
            bytes.extend_from_slice(&[0, 0]);
        }
        bytes
    }

    #[test]
    fn the_essence_of_a_long_query_is_short() {
        let mut long = query_bytes("Ws.example", Rtype::AAAA, header::RD | header::CD, Some((1400, 0x8000)));
        let end = long.len();
        // An option for padding (RFC 7830).
        long.extend_from_slice(&[0, 12, 1, 0]);
        long.resize(end + 4 + 256, 0);
        long[end - 2..end].copy_from_slice(&260u16.to_be_bytes());
        let (mut name_buf, mut other_buf) = (NameBuf::new(), NameBuf::new());
        let (query, kept_bytes) = (Query::parse(&long, &mut name_buf).unwrap(), kept(&long));
        assert!(long.len() > KEPT_MAX && kept_bytes.len() <= KEPT_MAX);
        let read = Query::parse(&kept_bytes, &mut other_buf).unwrap();
        assert_eq!((read.question(), read.edns, read.header.id), (query.question(), query.edns, query.header.id));
        assert_eq!(read.header.flags, query.header.flags);
        let short = query_bytes("ws.example", Rtype::A, header::RD, None);
        assert_eq!(*kept(&short), *short);
        assert_eq!(Query::parse(&short, &mut name_buf).unwrap().minimal_query(), short);
    }

    fn rcode_of(bytes: &[u8]) -> Result<(), Fault> {
        Query::parse(bytes, &mut NameBuf::new()).map(|_| ())
    }

    #[test]
    fn a_query_is_read() {
        let bytes = query_bytes("Ws.Eastus.api.azureml.ms", Rtype::A, header::RD, Some((4096, 0x8000)));
        let mut name_buf = NameBuf::new();
        // What an earlier name left does not show.
        name_buf.lower(&[b'X'; 400]);
        let query = Query::parse(&bytes, &mut name_buf).unwrap();
        assert_eq!(query.qtype, Rtype::A);
        assert_eq!(query.qname.as_wire(), Name::parse("ws.eastus.api.azureml.ms").unwrap().as_wire());
        assert_eq!(query.question().get(1..3), Some(&b"Ws"[..]));
        assert!(query.recursion_desired() && query.dnssec_ok());
        assert_eq!(query.edns.unwrap().payload, 4096);
    }

    #[test]
    fn silence_for_what_is_no_query() {
        let bytes = query_bytes("a", Rtype::A, 0, None);
        assert_eq!(rcode_of(&bytes[..11]), Err(Fault::Short));
        assert_eq!(rcode_of(&query_bytes("a", Rtype::A, header::QR, None)), Err(Fault::Response));
    }

    #[test]
    fn malformed_queries_are_form_errors() {
        let good = query_bytes("a.b", Rtype::A, 0, Some((1232, 0)));
        let mut cases: Vec<Vec<u8>> = (12..good.len()).map(|end| good[..end].to_vec()).collect();
        cases.push([&good[..], &[0]].concat()); // an byte too many
        let mut two_questions = good.clone();
        two_questions[5] = 2;
        cases.push(two_questions);
        let mut answer_counted = good.clone();
        answer_counted[7] = 1;
        cases.push(answer_counted);
        let mut two_opts = [&good[..], &good[good.len() - 11..]].concat();
        two_opts[11] = 2;
        cases.push(two_opts);
        let mut pointer = good.clone();
        pointer[12] = 0xc0;
        cases.push(pointer);
        for case in cases {
            match rcode_of(&case) {
                Err(Fault::Refused(refusal)) => assert_eq!(refusal.rcode, Rcode::FORMERR, "{case:x?}"),
                other => panic!("{other:?} for {case:x?}"),
            }
        }
    }

    #[test]
    fn version_and_opcode_are_named() {
        let version_1 = query_bytes("a", Rtype::A, 0, Some((1232, 0x0001_0000)));
        let notify = query_bytes("a", Rtype::A, 4 << 11, None);
        for (bytes, rcode) in [(version_1, Rcode::BADVERS), (notify, Rcode::NOTIMP)] {
            match rcode_of(&bytes) {
                Err(Fault::Refused(refusal)) => assert_eq!(refusal.rcode, rcode),
                other => panic!("{other:?}"),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let _ = rcode_of(&bytes);
        }
    }
}
