//! What is kept of an upstream's message: without its hop's parts, with TTLs that are within limits, and with what a
//! query asks of it found out once.

use smallvec::SmallVec;

use crate::wire::answer::{AnswerSection, ChainEnd, Reading};
use crate::wire::compose::Sections;
use crate::wire::compression::push_lower_name;
use crate::wire::edns::extended_errors;
use crate::wire::header::{HEADER_LEN, Header};
use crate::wire::message::MessageView;
use crate::wire::name;
use crate::wire::{Message, Rcode, RecordView, Rtype, Section, UpstreamMessage, is_private_address};

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
pub(super) type NormalBytes = SmallVec<[u8; 512]>;

/// What is known of a message in its normal form.
pub(super) struct Normal {
    /// Where TTLs stand that count down, most significant byte first.
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
    /// longer than [`crate::wire::answer::ALIASES_MAX`].
    pub(super) is_unfinished: bool,
    /// A record of its answer section has a public address.
    pub(super) has_public_address: bool,
}

/// Takes an answer that was accepted, and appends its normal form to `out`: ID 0, no OPT record, TTLs within limits; in the
/// answer section only records that belong to the question, each CNAME record before the records of its target. `None` when
/// it is not sound, or has no question.
pub(super) fn normalize(answer: &mut UpstreamMessage, limits: &TtlLimits, out: &mut NormalBytes) -> Option<Normal> {
    let (written, rewritten, rewritten_section);
    let Reading { mut message, rcode, opt, mut section } = answer.reading()?;
    let errors = match opt {
        Some(opt) => extended_errors(message.bytes.get(opt.record.data())?),
        None => Vec::new(),
    };
    // As a rule all records belong and are in order, and the OPT record is the last: they stay where they are.
    let opt_precedes = opt.is_some_and(|opt| opt.place < message.records.len());
    if section.is_mixed() || opt_precedes {
        written = rewrite(message, section)?;
        rewritten = Message::parse(&written)?;
        message = rewritten.view();
        rewritten_section = AnswerSection::of(message)?;
        section = &rewritten_section;
    }
    // Bytes after the last record are left out.
    let end = message.records.last().map_or(message.question_end, |record| record.data().end);
    let targets = targets(message, section)?;
    let is_unfinished = rcode == Rcode::NOERROR && (section.end != ChainEnd::Name || is_open(message));
    let qname = message.bytes.get(HEADER_LEN..message.question_end)?;
    let is_private = name::is_privatelink(qname) || names(&targets).any(name::is_privatelink);
    // An alias alone is kept as long as it says: where it leads is another question's answer.
    let negative = if is_unfinished { Negative::No } else { negative_ttl(message, rcode, is_private, limits) };
    let mut ttl = match (rcode, negative) {
        (Rcode::NOERROR | Rcode::NXDOMAIN, Negative::No) => limits.max,
        (Rcode::NOERROR | Rcode::NXDOMAIN, Negative::For(seconds)) => seconds,
        _ => 0,
    };
    let start = out.len();
    out.extend_from_slice(message.bytes.get(..end)?);
    let bytes = out.get_mut(start..)?;
    *bytes.first_chunk_mut()? = Header { id: 0, ..message.header }.to_bytes();
    let mut ttl_places = SmallVec::new();
    for record in message.records {
        let mut seconds = sane_ttl(record.ttl).min(limits.max);
        if let (Negative::For(negative), Rtype::SOA) = (negative, record.rtype) {
            seconds = seconds.min(negative);
        }
        ttl = ttl.min(seconds);
        let ttl_at = record.ttl_at();
        *bytes.get_mut(ttl_at..)?.first_chunk_mut()? = seconds.to_be_bytes();
        ttl_places.push(u16::try_from(ttl_at).ok()?.to_be_bytes());
    }
    let is_address = |record: &&RecordView| matches!(record.rtype, Rtype::A | Rtype::AAAA);
    let addresses = message.section(Section::Answer).filter(is_address);
    let is_public = |data: &[u8]| is_private_address(data) == Some(false);
    let has_public_address = addresses.filter_map(|record| message.bytes.get(record.data())).any(is_public);
    Some(Normal { ttl_places, errors, rcode, ttl, targets, is_private, is_unfinished, has_public_address })
}

/// Whether an answer is negative, and how long such a one may live.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Negative {
    No,
    For(u32),
}

/// NXDOMAIN, or no data of the type asked at the end of the chain: kept for the smaller of the SOA's TTL and minimum
/// (RFC 2308 §5), not at all without an SOA.
fn negative_ttl(message: MessageView<'_>, rcode: Rcode, is_private: bool, limits: &TtlLimits) -> Negative {
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

fn qtype(message: MessageView<'_>) -> Option<Rtype> {
    let &[t0, t1, _, _] = message.bytes.get(..message.question_end)?.last_chunk::<4>()?;
    Some(Rtype(u16::from_be_bytes([t0, t1])))
}

/// Whether a message in normal form ends in an alias: the last name of its chain has neither data of the type asked nor an
/// SOA that says there is none. A DNAME without the CNAME that belongs to it leads on as well (RFC 6672 §3.4).
fn is_open(message: MessageView<'_>) -> bool {
    let Some(qtype) = qtype(message) else { return false };
    let has = |section, rtype| message.section(section).any(|record| record.rtype == rtype);
    if matches!(qtype, Rtype::CNAME | Rtype::ANY) || has(Section::Answer, qtype) {
        return false;
    }
    let leads_on = has(Section::Answer, Rtype::CNAME) || has(Section::Answer, Rtype::DNAME);
    leads_on && !has(Section::Authority, Rtype::SOA)
}

/// The targets of the CNAME records, in the order of the chain.
fn targets(message: MessageView<'_>, section: &AnswerSection) -> Option<SmallVec<[u8; 128]>> {
    let mut targets = SmallVec::new();
    for &place in &section.targets {
        push_lower_name(message.bytes, place.into(), &mut targets)?;
    }
    Some(targets)
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
    if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl }
}

/// The message with the records of its answer section that belong, in the order of the chain. Those that follow a record
/// which is left out would move away from under the pointers to them, so all are written again. `None` where that makes it
/// longer than a message can be.
fn rewrite(message: MessageView<'_>, section: &AnswerSection) -> Option<Vec<u8>> {
    let answers: SmallVec<[&RecordView; 16]> = message.section(Section::Answer).collect();
    let answers = section.order().into_iter().filter_map(|at| answers.get(at).copied());
    let others = message.records.iter().filter(|record| record.section != Section::Answer);
    let mut bytes = Vec::with_capacity(message.bytes.len());
    let question = message.bytes.get(HEADER_LEN..message.question_end)?;
    let mut sections = Sections::start(question, usize::from(u16::MAX), &mut bytes);
    for record in answers.chain(others) {
        if !sections.push_view(message.bytes, record) {
            break;
        }
    }
    let (counts, is_truncated) = sections.finish();
    if is_truncated {
        return None;
    }
    let head =
        Header { ancount: counts.answer, nscount: counts.authority, arcount: counts.additional, ..message.header };
    *bytes.first_chunk_mut()? = head.to_bytes();
    Some(bytes)
}
