//! What is kept of an upstream's message: without its hop's parts, with TTLs that are within limits, and with what a
//! query asks of it found out once.

use smallvec::SmallVec;

use crate::wire::compose::write_sections;
use crate::wire::edns::{Edns, extended_errors};
use crate::wire::header::{HEADER_LEN, Header};
use crate::wire::{Message, Name, OwnedRecord, Rcode, RecordView, Rtype, Section};

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

/// A message in its normal form.
pub(super) struct Normal {
    /// ID 0, no OPT record, TTLs within limits.
    pub(super) message: Vec<u8>,
    /// Where TTLs stand that count down.
    pub(super) ttl_places: SmallVec<[u16; 8]>,
    /// The extended errors that the upstream gave, as options.
    pub(super) errors: Vec<u8>,
    pub(super) rcode: Rcode,
    /// How long it may be kept, seconds.
    pub(super) ttl: u32,
    /// Where the CNAMEs lead from the question's name, in this order: lower case wire forms, one behind the other.
    pub(super) targets: Vec<u8>,
    /// It speaks of a name in a privatelink zone.
    pub(super) is_private: bool,
}

/// Takes an answer that was accepted; nothing when it cannot be read to its end.
pub(super) fn normalise(bytes: &[u8], limits: &TtlLimits) -> Option<Normal> {
    let message = Message::parse(bytes)?;
    if message.header.qdcount != 1 {
        return None;
    }
    let opt =
        message.records.iter().position(|record| record.rtype == Rtype::OPT && record.section == Section::Additional);
    let mut rcode = message.header.rcode();
    let mut errors = Vec::new();
    if let Some(opt) = opt.and_then(|at| message.records.get(at)) {
        rcode.0 |= u16::from(Edns::from_fields(opt.class, opt.ttl).rcode_high) << 4;
        errors = extended_errors(bytes.get(opt.data.clone())?);
    }
    let without_opt = without_opt(&message, opt)?;
    // The records stand elsewhere now where the OPT record was not the last.
    let message = Message::parse(&without_opt)?;
    let is_private = names_of(&message).any(|name| is_private_name(&name));
    let negative = negative_ttl(&message, rcode, is_private, limits);
    let mut ttl = match (rcode, negative) {
        (Rcode::NOERROR | Rcode::NXDOMAIN, Negative::No) => limits.max,
        (Rcode::NOERROR | Rcode::NXDOMAIN, Negative::For(seconds)) => seconds,
        _ => 0,
    };
    let mut ttls = SmallVec::<[(u16, u32); 8]>::new();
    for record in &message.records {
        let mut seconds = sane_ttl(record.ttl).min(limits.max);
        if let (Negative::For(negative), Rtype::SOA) = (negative, record.rtype) {
            seconds = seconds.min(negative);
        }
        ttl = ttl.min(seconds);
        ttls.push((u16::try_from(record.ttl_at).ok()?, seconds));
    }
    let targets = targets(&message);
    let mut message = without_opt;
    for &(place, seconds) in &ttls {
        message.get_mut(place as usize..place as usize + 4)?.copy_from_slice(&seconds.to_be_bytes());
    }
    message.get_mut(..2)?.fill(0);
    let ttl_places = ttls.into_iter().map(|(place, _)| place).collect();
    Some(Normal { message, ttl_places, errors, rcode, ttl, targets, is_private })
}

/// Whether an answer is negative, and how long such a one may live.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Negative {
    No,
    For(u32),
}

/// NXDOMAIN, or no data of the type asked at the end of the chain: kept for the smaller of the SOA's TTL and minimum
/// (RFC 2308 §5), not at all without an SOA.
fn negative_ttl(message: &Message<'_>, rcode: Rcode, is_private: bool, limits: &TtlLimits) -> Negative {
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
    let most = if is_private { limits.max_negative_private } else { limits.max_negative };
    Negative::For(sane_ttl(soa.ttl).min(minimum).min(most))
}

/// Follows the CNAMEs from the question's name, whatever their order in the message.
fn targets(message: &Message<'_>) -> Vec<u8> {
    let aliases = message.section(Section::Answer).filter(|record| record.rtype == Rtype::CNAME);
    let mut aliases: Vec<_> =
        aliases.filter_map(|record| Some((message.owner(record)?, message.target(record)?))).collect();
    let mut targets = Vec::new();
    let mut current = qname(message);
    while let Some(name) = current {
        // Each alias is followed once, so a loop among them ends.
        let next = aliases.iter().position(|(owner, _)| *owner == name).map(|at| aliases.swap_remove(at).1);
        if let Some(target) = &next {
            targets.extend_from_slice(target.to_lowercase().as_wire());
        }
        current = next;
    }
    targets
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
