//! One answer of an upstream: normalised once, ready to be sent many times.

use crate::wire::compose::{client_rcode, compose, write_sections};
use crate::wire::edns::{Edns, OPT_LEN, extended_error_option, extended_errors, push_opt};
use crate::wire::header::{self, HEADER_LEN, Header};
use crate::wire::{ExtendedError, Message, Name, OwnedRecord, Query, Rcode, RecordView, Rtype, Section, Verdict};

/// How long answers may be kept, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlLimits {
    /// The longest TTL of any record: Azure DNS says 1006632960 where it means 60.
    pub max: u32,
    /// The longest life of a negative answer.
    pub max_negative: u32,
    /// The same below a privatelink zone, where a new endpoint has to appear at once.
    pub max_negative_private: u32,
}

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

/// An upstream's answer without what belongs to the hop: ID 0, no OPT record, TTLs within limits.
#[derive(Debug)]
pub struct Answer {
    message: Box<[u8]>,
    /// Where TTLs stand that count down.
    ttl_places: Box<[u16]>,
    /// The extended errors that the upstream gave, as options.
    errors: Box<[u8]>,
    rcode: Rcode,
    ttl: u32,
    /// Where the CNAMEs lead from the question's name, in this order: lower case wire form.
    targets: Box<[Box<[u8]>]>,
    /// It speaks of a name in a privatelink zone.
    is_private: bool,
}

impl Answer {
    /// Takes an answer that was accepted; nothing when it cannot be read to its end.
    pub fn from_message(bytes: &[u8], limits: &TtlLimits) -> Option<Self> {
        let message = Message::parse(bytes)?;
        if message.header.qdcount != 1 {
            return None;
        }
        let opt = message
            .records
            .iter()
            .position(|record| record.rtype == Rtype::OPT && record.section == Section::Additional);
        let mut rcode = message.header.rcode();
        let mut errors = Vec::new();
        if let Some(opt) = opt.and_then(|at| message.records.get(at)) {
            rcode.0 |= u16::from(Edns::from_fields(opt.class, opt.ttl).rcode_high) << 4;
            errors = extended_errors(bytes.get(opt.data.clone())?);
        }
        let without_opt = without_opt(&message, opt)?;
        // The records stand elsewhere now where the OPT record was not the last.
        let message = Message::parse(&without_opt)?;
        let negative = negative_ttl(&message, rcode, limits);
        let mut ttl = match (rcode, negative) {
            (Rcode::NOERROR | Rcode::NXDOMAIN, Negative::No) => limits.max,
            (Rcode::NOERROR | Rcode::NXDOMAIN, Negative::For(seconds)) => seconds,
            _ => 0,
        };
        let mut ttls = Vec::with_capacity(message.records.len());
        for record in &message.records {
            let mut seconds = sane_ttl(record.ttl).min(limits.max);
            if let (Negative::For(negative), Rtype::SOA) = (negative, record.rtype) {
                seconds = seconds.min(negative);
            }
            ttl = ttl.min(seconds);
            ttls.push((u16::try_from(record.ttl_at).ok()?, seconds));
        }
        let targets = targets(&message);
        let is_private = names_of(&message).any(|name| is_private_name(&name));
        let mut message = without_opt.into_boxed_slice();
        for &(place, seconds) in &ttls {
            message.get_mut(place as usize..place as usize + 4)?.copy_from_slice(&seconds.to_be_bytes());
        }
        message.get_mut(..2)?.fill(0);
        let ttl_places = ttls.into_iter().map(|(place, _)| place).collect();
        Some(Self { message, ttl_places, errors: errors.into(), rcode, ttl, targets, is_private })
    }

    /// How long it may be kept, seconds; 0 for failures, and for negative answers without an SOA (RFC 2308 §5).
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// The response code, with the upper bits of the upstream's OPT record.
    pub fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// Where its CNAMEs lead, from the question's name on: names in lower case wire form.
    pub fn targets(&self) -> impl Iterator<Item = &[u8]> {
        self.targets.iter().map(|target| &**target)
    }

    /// Whether it speaks of a name in a privatelink zone, where an endpoint that is recreated has a new address.
    pub fn is_private(&self) -> bool {
        self.is_private
    }

    /// Whether the upstream called the data authentic (AD).
    pub fn is_authentic(&self) -> bool {
        self.flags() & header::AD != 0
    }

    /// The extended errors that the upstream gave, as options.
    pub fn errors(&self) -> &[u8] {
        &self.errors
    }

    /// Octets of memory that it takes besides its key.
    pub fn octets(&self) -> usize {
        size_of::<Self>()
            + self.message.len()
            + self.ttl_places.len() * 2
            + self.errors.len()
            + self.targets.iter().map(|target| target.len() + 16).sum::<usize>()
    }

    /// All its records at this age, names uncompressed.
    pub fn records(&self, age: Age) -> Vec<OwnedRecord> {
        let Some(message) = Message::parse(&self.message) else {
            return Vec::new();
        };
        let aged = |view: &RecordView| {
            let mut record = OwnedRecord::from_view(&message, view)?;
            record.ttl = age.ttl(record.ttl);
            Some(record)
        };
        message.records.iter().filter_map(aged).collect()
    }

    /// Writes it as the reply to `query`; at most `limit` octets, by whole RRsets. Where it is stale, an extended error
    /// says so beside the upstream's own.
    ///
    /// All sections, codes and AD go through as the upstream said them; ID, question (its case), RD and CD are the
    /// client's, and AA is never set.
    pub fn write(&self, query: &Query<'_>, age: Age, limit: usize, out: &mut Vec<u8>) {
        let mut options = &*self.errors;
        let joined;
        if age == Age::Stale {
            joined = [options, &extended_error_option(ExtendedError::STALE_ANSWER)].concat();
            options = &joined;
        }
        let opt_len = if query.edns.is_some() { OPT_LEN + options.len() } else { 0 };
        if self.message.len() + opt_len > limit {
            let verdict = Verdict { rcode: self.rcode, authoritative: false, authentic: self.is_authentic(), options };
            return compose(query, &self.records(age), &verdict, limit, out);
        }
        out.clear();
        out.extend_from_slice(&self.message);
        if age != Age::Seconds(0) {
            for &place in &self.ttl_places {
                if let Some(ttl) = out.get_mut(place as usize..).and_then(|rest| rest.first_chunk_mut::<4>()) {
                    *ttl = age.ttl(u32::from_be_bytes(*ttl)).to_be_bytes();
                }
            }
        }
        let question = query.question();
        if let Some(place) = out.get_mut(HEADER_LEN..HEADER_LEN + question.len()) {
            place.copy_from_slice(question);
        }
        let rcode = client_rcode(query, self.rcode);
        if let Some(edns) = query.edns {
            push_opt(out, rcode, edns.dnssec_ok, options);
        }
        let Some(stored) = Header::read(out) else { return };
        // The upstream's AA is not ours: nothing here is authoritative but the table.
        let kept = stored.flags & header::AD;
        let asked = query.header.flags & (header::RD | header::CD);
        let head = Header {
            id: query.header.id,
            flags: header::QR | header::RA | kept | asked | (rcode.0 & header::RCODE),
            arcount: stored.arcount + u16::from(query.edns.is_some()),
            ..stored
        };
        if let Some(place) = out.first_chunk_mut::<HEADER_LEN>() {
            *place = head.to_bytes();
        }
    }

    fn flags(&self) -> u16 {
        Header::read(&self.message).map_or(0, |header| header.flags)
    }
}

/// Whether an answer is negative, and how long such a one may live.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Negative {
    No,
    For(u32),
}

/// NXDOMAIN, or no data of the type asked at the end of the chain: kept for the smaller of the SOA's TTL and minimum
/// (RFC 2308 §5), not at all without an SOA.
fn negative_ttl(message: &Message<'_>, rcode: Rcode, limits: &TtlLimits) -> Negative {
    let Some(&[t0, t1, _, _]) =
        message.bytes.get(..message.question_end).and_then(|question| question.last_chunk::<4>())
    else {
        return Negative::No;
    };
    let qtype = Rtype(u16::from_be_bytes([t0, t1]));
    let is_data = |record: &RecordView| qtype == Rtype::ANY || record.rtype == qtype;
    if rcode == Rcode::NOERROR && message.section(Section::Answer).any(is_data) {
        return Negative::No;
    }
    let soa = message.section(Section::Authority).find(|record| record.rtype == Rtype::SOA);
    let Some(soa) = soa else { return Negative::For(0) };
    let minimum = message
        .bytes
        .get(soa.data.clone())
        .and_then(|data| data.last_chunk::<4>())
        .map_or(0, |m| u32::from_be_bytes(*m));
    let private = names_of(message).any(|name| is_private_name(&name));
    let most = if private { limits.max_negative_private } else { limits.max_negative };
    Negative::For(sane_ttl(soa.ttl).min(minimum).min(most))
}

/// Follows the CNAMEs from the question's name, whatever their order in the message.
fn targets(message: &Message<'_>) -> Box<[Box<[u8]>]> {
    let aliases = message.section(Section::Answer).filter(|record| record.rtype == Rtype::CNAME);
    let mut aliases: Vec<_> =
        aliases.filter_map(|record| Some((message.owner(record)?, message.target(record)?))).collect();
    let mut targets = Vec::new();
    let mut current = qname(message);
    while let Some(name) = current {
        // Each alias is followed once, so a loop among them ends.
        let next = aliases.iter().position(|(owner, _)| *owner == name).map(|at| aliases.swap_remove(at).1);
        if let Some(target) = &next {
            targets.push(target.to_lowercase().as_wire().into());
        }
        current = next;
    }
    targets.into_boxed_slice()
}

fn qname(message: &Message<'_>) -> Option<Name> {
    crate::wire::message::read_name(message.bytes, HEADER_LEN).map(|(name, _)| name)
}

/// The question's name and every CNAME's target.
fn names_of<'m>(message: &'m Message<'_>) -> impl Iterator<Item = Name> + 'm {
    let qname = qname(message);
    let targets = message.section(Section::Answer).filter(|record| record.rtype == Rtype::CNAME);
    qname.into_iter().chain(targets.filter_map(|record| message.target(record)))
}

/// Whether a name lies in one of Azure's private zones: it has a label `privatelink`.
pub(crate) fn is_private_name(name: &Name) -> bool {
    name.labels().any(|label| label.eq_ignore_ascii_case(b"privatelink"))
}

/// A TTL with its top bit set is 0 (RFC 2181 §8).
fn sane_ttl(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// The message without its OPT record and without octets behind its last record.
fn without_opt(message: &Message<'_>, opt: Option<usize>) -> Option<Vec<u8>> {
    let end = message.records.last().map_or(message.question_end, |record| record.data.end);
    let Some(at) = opt else {
        return Some(message.bytes.get(..end)?.to_vec());
    };
    let arcount = message.header.arcount.checked_sub(1)?;
    if at + 1 == message.records.len() {
        let mut bytes = message.bytes.get(..message.records.get(at)?.start)?.to_vec();
        bytes.get_mut(10..12)?.copy_from_slice(&arcount.to_be_bytes());
        return Some(bytes);
    }
    // Records behind it would move away from under the pointers to them: write the message anew.
    let others = message.records.iter().enumerate().filter(|&(number, _)| number != at);
    let records = others.map(|(_, view)| OwnedRecord::from_view(message, view)).collect::<Option<Vec<_>>>()?;
    let mut bytes = Vec::with_capacity(message.bytes.len());
    let (counts, _) =
        write_sections(message.bytes.get(HEADER_LEN..message.question_end)?, &records, u16::MAX as usize, &mut bytes);
    let [ancount, nscount, arcount] = counts;
    *bytes.first_chunk_mut()? = Header { ancount, nscount, arcount, ..message.header }.to_bytes();
    Some(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::wire::query::tests::query_bytes;

    pub(crate) const LIMITS: TtlLimits = TtlLimits { max: 3600, max_negative: 60, max_negative_private: 10 };

    /// An upstream's answer with one address.
    pub(crate) fn address_answer(name: &str, ttl: u32) -> Vec<u8> {
        build(name, Rtype::A, 0x8180, &[record(Section::Answer, name, Rtype::A, ttl, vec![192, 0, 2, 1])])
    }

    fn record(section: Section, owner: &str, rtype: Rtype, ttl: u32, data: Vec<u8>) -> OwnedRecord {
        OwnedRecord { section, owner: Name::parse(owner).unwrap(), rtype, class: 1, ttl, data }
    }

    fn build(qname: &str, qtype: Rtype, flags: u16, records: &[OwnedRecord]) -> Vec<u8> {
        let query = query_bytes(qname, qtype, header::RD, None);
        let mut bytes = Vec::new();
        let ([ancount, nscount, arcount], _) = write_sections(&query[12..], records, 65535, &mut bytes);
        let head = Header { id: 7, flags, qdcount: 1, ancount, nscount, arcount };
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
        let answer = Answer::from_message(&address_answer("a.example", 1_006_632_960), &LIMITS).unwrap();
        assert_eq!(answer.ttl(), 3600);
        let bytes = query_bytes("A.example", Rtype::A, header::RD, Some((1232, 0)));
        let query = Query::parse(&bytes).unwrap();
        let mut out = Vec::new();
        answer.write(&query, Age::Seconds(100), 1232, &mut out);
        let message = Message::parse(&out).unwrap();
        assert_eq!(message.records[0].ttl, 3500);
        assert_eq!(message.header.id, 0x1234);
        assert_eq!(&out[12..15], b"\x01A\x07", "the question keeps the client's case");
        assert_eq!(message.records[1].rtype, Rtype::OPT);
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
            let answer = Answer::from_message(&build(name, Rtype::A, 0x8180 | rcode, &records), &LIMITS).unwrap();
            assert_eq!(answer.ttl(), ttl, "{name} {rcode} {records:?}");
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
        let answer = Answer::from_message(&build("a.example", Rtype::A, 0x8180, &records), &LIMITS).unwrap();
        assert_eq!(answer.errors(), [0, 15, 0, 2, 0, 22]);
        let left: Vec<_> = answer.records(Age::Seconds(0));
        assert_eq!(left, [records[0].clone(), records[2].clone(), records[3].clone()]);
    }

    #[test]
    fn what_does_not_fit_is_cut_by_rrsets() {
        let records: Vec<_> =
            (0..100).map(|n| record(Section::Answer, "a.example", Rtype::A, 60, vec![10, 0, 0, n])).collect();
        let answer = Answer::from_message(&build("a.example", Rtype::A, 0x8180, &records), &LIMITS).unwrap();
        let bytes = query_bytes("a.example", Rtype::A, header::RD, None);
        let mut out = Vec::new();
        answer.write(&Query::parse(&bytes).unwrap(), Age::Seconds(0), 512, &mut out);
        let message = Message::parse(&out).unwrap();
        assert_eq!(message.header.ancount, 0);
        assert_ne!(message.header.flags & header::TC, 0);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut bytes = bytes;
            if bytes.len() > 6 { bytes[4] = 0; bytes[5] = 1; }
            if let Some(answer) = Answer::from_message(&bytes, &LIMITS) {
                let asked = query_bytes("a.example", Rtype::A, header::RD, Some((1232, 0)));
                answer.write(&Query::parse(&asked).unwrap(), Age::Stale, 1232, &mut Vec::new());
            }
        }
    }
}
