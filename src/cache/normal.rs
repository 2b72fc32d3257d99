//! What is kept of an upstream's message: without its hop's parts, with TTLs that are within limits, and with what a
//! query asks of it found out once.

use smallvec::SmallVec;

use crate::wire::compose::write_sections;
use crate::wire::edns::{Edns, extended_errors};
use crate::wire::header::{HEADER_LEN, Header};
use crate::wire::message::{is_same_name, push_lower_name};
use crate::wire::name;
use crate::wire::{Message, OwnedRecord, Rcode, RecordView, Rtype, Section};

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

/// Where an answer is put together.
pub(super) type Octets = SmallVec<[u8; 512]>;

/// What is known of a message in its normal form.
pub(super) struct Normal {
    /// Where TTLs stand that count down, most significant octet first.
    pub(super) ttl_places: SmallVec<[[u8; 2]; 8]>,
    /// The extended errors that the upstream gave, as options.
    pub(super) errors: Vec<u8>,
    pub(super) rcode: Rcode,
    /// How long it may be kept, seconds.
    pub(super) ttl: u32,
    /// Where the CNAMEs lead from the question's name, in this order: lower case wire forms, one behind the other.
    pub(super) targets: SmallVec<[u8; 128]>,
    /// It speaks of a name in a privatelink zone.
    pub(super) is_private: bool,
    /// It has no answer for the last name of its chain: there is neither data nor an SOA, the chain is a loop, or it is
    /// longer than [`ALIASES_MAX`].
    pub(super) is_unfinished: bool,
}

/// CNAMEs that are followed for one query, whichever of table and upstreams they come from: Unbound follows 11, Knot
/// Resolver 13, BIND 16.
pub const ALIASES_MAX: usize = 16;

/// Takes an answer that was accepted, and appends its normal form to `out`: ID 0, no OPT record, TTLs within limits.
/// Nothing when it cannot be read to its end.
pub(super) fn normalise(bytes: &[u8], limits: &TtlLimits, out: &mut Octets) -> Option<Normal> {
    let anew;
    let mut message = Message::parse(bytes)?;
    if message.header.qdcount != 1 {
        return None;
    }
    let opt =
        message.records.iter().position(|record| record.rtype == Rtype::OPT && record.section == Section::Additional);
    let mut rcode = message.header.rcode();
    let mut errors = Vec::new();
    if let Some(opt) = opt.and_then(|at| message.records.get(at)) {
        rcode.0 |= u16::from(Edns::from_fields(opt.class, opt.ttl).rcode_high) << 4;
        errors = extended_errors(bytes.get(opt.data())?);
    }
    match opt {
        // As a rule it is the last: all others stay where they are.
        Some(at) if at + 1 == message.records.len() => {
            message.header.arcount = message.header.arcount.checked_sub(1)?;
            message.records.truncate(at);
        }
        Some(at) => {
            anew = without_record(&message, at)?;
            message = Message::parse(&anew)?;
        }
        None => {}
    }
    // Octets behind the last record are left out.
    let end = message.records.last().map_or(message.question_end, |record| record.data().end);
    let (targets, last) = targets(&message);
    let is_unfinished = rcode == Rcode::NOERROR
        && (is_open(&message, last, !targets.is_empty()) || names(&targets).nth(ALIASES_MAX).is_some());
    let qname = message.bytes.get(HEADER_LEN..message.question_end)?;
    let is_private = name::is_privatelink(qname) || names(&targets).any(name::is_privatelink);
    // An alias alone is kept as long as it says: where it leads is another question's answer.
    let negative = if is_unfinished { Negative::No } else { negative_ttl(&message, rcode, is_private, limits) };
    let mut ttl = match (rcode, negative) {
        (Rcode::NOERROR | Rcode::NXDOMAIN, Negative::No) => limits.max,
        (Rcode::NOERROR | Rcode::NXDOMAIN, Negative::For(seconds)) => seconds,
        _ => 0,
    };
    let start = out.len();
    out.extend_from_slice(message.bytes.get(..end)?);
    let octets = out.get_mut(start..)?;
    *octets.first_chunk_mut()? = Header { id: 0, ..message.header }.to_bytes();
    let mut ttl_places = SmallVec::new();
    for record in &message.records {
        let mut seconds = sane_ttl(record.ttl).min(limits.max);
        if let (Negative::For(negative), Rtype::SOA) = (negative, record.rtype) {
            seconds = seconds.min(negative);
        }
        ttl = ttl.min(seconds);
        let ttl_at = record.ttl_at();
        *octets.get_mut(ttl_at..)?.first_chunk_mut()? = seconds.to_be_bytes();
        ttl_places.push(u16::try_from(ttl_at).ok()?.to_be_bytes());
    }
    Some(Normal { ttl_places, errors, rcode, ttl, targets, is_private, is_unfinished })
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
    let Some(qtype) = qtype(message) else { return Negative::No };
    let is_data = |record: &RecordView| qtype == Rtype::ANY || record.rtype == qtype;
    if rcode == Rcode::NOERROR && message.section(Section::Answer).any(is_data) {
        return Negative::No;
    }
    let soa = message.section(Section::Authority).find(|record| record.rtype == Rtype::SOA);
    let Some(soa) = soa else { return Negative::For(0) };
    let minimum =
        message.bytes.get(soa.data()).and_then(|data| data.last_chunk::<4>()).map_or(0, |m| u32::from_be_bytes(*m));
    let most = if is_private { limits.max_negative_private } else { limits.max_negative };
    Negative::For(sane_ttl(soa.ttl).min(minimum).min(most))
}

fn qtype(message: &Message<'_>) -> Option<Rtype> {
    let &[t0, t1, _, _] = message.bytes.get(..message.question_end)?.last_chunk::<4>()?;
    Some(Rtype(u16::from_be_bytes([t0, t1])))
}

/// Whether a message ends in an alias: the name at `last`, where its CNAMEs lead, has neither data of the type asked nor
/// an SOA that says there is none. A DNAME without the CNAME that belongs to it leads on as well (RFC 6672 §3.4).
fn is_open(message: &Message<'_>, last: usize, has_aliases: bool) -> bool {
    let Some(qtype) = qtype(message) else { return false };
    let is_data = |record: &RecordView| {
        record.rtype == qtype && (!has_aliases || is_same_name(message.bytes, record.start(), last))
    };
    if matches!(qtype, Rtype::CNAME | Rtype::ANY) || message.section(Section::Answer).any(is_data) {
        return false;
    }
    let leads_on = has_aliases || message.section(Section::Answer).any(|record| record.rtype == Rtype::DNAME);
    leads_on && !message.section(Section::Authority).any(|record| record.rtype == Rtype::SOA)
}

/// Follows the CNAMEs from the question's name, whatever their order in the message. Gives their targets, and where the
/// last one is in the message.
fn targets(message: &Message<'_>) -> (SmallVec<[u8; 128]>, usize) {
    let mut targets = SmallVec::new();
    let aliases = message.section(Section::Answer).filter(|record| record.rtype == Rtype::CNAME);
    // Each alias is followed once, so a loop among them ends.
    let mut left: SmallVec<[&RecordView; 8]> = aliases.collect();
    let mut current = HEADER_LEN;
    while let Some(at) = left.iter().position(|alias| is_same_name(message.bytes, alias.start(), current)) {
        let (alias, known) = (left.swap_remove(at), targets.len());
        let data = alias.data();
        if push_lower_name(message.bytes, data.start, &mut targets) == Some(data.end) {
            current = data.start;
        } else {
            targets.truncate(known);
        }
    }
    (targets, current)
}

/// The names that stand one behind the other.
fn names(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (name, behind) = wire.split_at_checked(name::wire_len(wire)?)?;
        wire = behind;
        Some(name)
    })
}

/// A TTL with its top bit set is 0 (RFC 2181 §8).
fn sane_ttl(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// The message without one of its records. Those behind it would move away from under the pointers to them, so all are
/// written anew.
fn without_record(message: &Message<'_>, at: usize) -> Option<Vec<u8>> {
    let others = message.records.iter().enumerate().filter(|&(number, _)| number != at);
    let records = others.map(|(_, view)| OwnedRecord::from_view(message, view)).collect::<Option<Vec<_>>>()?;
    let mut bytes = Vec::with_capacity(message.bytes.len());
    let (counts, _) =
        write_sections(message.bytes.get(HEADER_LEN..message.question_end)?, &records, u16::MAX as usize, &mut bytes);
    let [ancount, nscount, arcount] = counts;
    *bytes.first_chunk_mut()? = Header { ancount, nscount, arcount, ..message.header }.to_bytes();
    Some(bytes)
}
