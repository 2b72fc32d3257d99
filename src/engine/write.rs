//! What is known, written as a reply.

use super::{Action, AnswerSource, Context, Observer};
use crate::cache::{Age, AnswerView};
use crate::forward::BuiltIn;
use crate::records::{Lookup, Rrset, Soa, push_record};
use crate::wire::reply::{Counts, Writer};
use crate::wire::{ExtendedError, Rcode, Rtype};

/// The data of the record that answers ANY (RFC 8482 §4.2): CPU "RFC8482", no operating system.
pub(super) const ANY_DATA: &[u8] = b"\x07RFC8482\0";

/// A reply from the table, where it is not an alias and not missing.
#[inline]
pub(super) fn from_table(context: &Context<'_, impl Observer>, found: &Lookup<'_>, reply: &mut Vec<u8>) -> Action {
    match found {
        Lookup::Answer(rrset, how) => {
            write_rrset(context, rrset, reply);
            Action::Answered((*how).into())
        }
        Lookup::NoData(soa, how) => {
            write_negative(context, Rcode::NOERROR, soa, reply);
            Action::Answered((*how).into())
        }
        Lookup::NxDomain(soa) => {
            write_negative(context, Rcode::NXDOMAIN, soa, reply);
            Action::Answered(AnswerSource::Zone)
        }
        Lookup::ApexSoa(soa) => {
            let mut writer = Writer::start(context.query, context.limit(), reply);
            soa.push(writer.buffer(), context.query.qname.len());
            writer.finish(Rcode::NOERROR, true, Counts { answer: 1, ..Counts::default() }, None);
            Action::Answered(AnswerSource::Zone)
        }
        Lookup::Pointers(pointers) => {
            let records = pointers.iter().map(|(ttl, name)| (Rtype::PTR, ttl, name));
            write_records(context, records, reply);
            Action::Answered(AnswerSource::Reverse)
        }
        Lookup::Any(how) => {
            let ttl = context.snapshot.table.ttl();
            write_records(context, std::iter::once((Rtype::HINFO, ttl, ANY_DATA)), reply);
            Action::Answered((*how).into())
        }
        // The caller follows aliases and forwards what is missing.
        Lookup::Alias(..) | Lookup::Missing => failure(context, ExtendedError::OTHER, reply),
    }
}

/// TTL of the records that name the encrypted listeners, seconds: a change of these is rare, and clients ask at each new
/// network anyway.
const DESIGNATED_TTL: u32 = 300;

/// An upstream's answer of this age.
#[inline]
pub(super) fn from_answer(context: &Context<'_, impl Observer>, answer: AnswerView<'_>, age: Age, reply: &mut Vec<u8>) {
    answer.write(context.query, age, context.limit(), reply);
}

/// A name that is always answered here; `zone_len` bytes at the end of its name are the zone's.
pub(super) fn here(
    context: &Context<'_, impl Observer>,
    here: BuiltIn,
    zone_len: usize,
    reply: &mut Vec<u8>,
) -> Action {
    let ttl = context.snapshot.table.ttl();
    let soa = Soa::new(zone_len, ttl);
    match (here, loopback(context.query.qtype)) {
        (BuiltIn::NxDomain, _) => write_negative(context, Rcode::NXDOMAIN, &soa, reply),
        (BuiltIn::Designated, _) if is_designated(context, zone_len) => {
            let records = context.snapshot.designated.iter().map(|data| (Rtype::SVCB, DESIGNATED_TTL, &**data));
            write_records(context, records, reply);
        }
        (BuiltIn::Localhost, Some(data)) => {
            write_records(context, std::iter::once((context.query.qtype, ttl, data)), reply)
        }
        (BuiltIn::Localhost, None) | (BuiltIn::NoData | BuiltIn::Designated, _) => {
            write_negative(context, Rcode::NOERROR, &soa, reply)
        }
    }
    Action::Answered(AnswerSource::BuiltIn)
}

/// Whether the encrypted listeners are asked for, and not a name below or another type.
fn is_designated(context: &Context<'_, impl Observer>, zone_len: usize) -> bool {
    context.query.qtype == Rtype::SVCB && context.query.qname.len() == zone_len
}

/// The data of the loopback address of this type.
pub(super) fn loopback(qtype: Rtype) -> Option<&'static [u8]> {
    match qtype {
        Rtype::A => Some(&[127, 0, 0, 1]),
        Rtype::AAAA => Some(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        _ => None,
    }
}

/// SERVFAIL with its reason, and which upstream is concerned.
pub(super) fn upstream_failure(
    context: &Context<'_, impl Observer>,
    error: ExtendedError,
    detail: &str,
    reply: &mut Vec<u8>,
) -> Action {
    Writer::start(context.query, context.limit(), reply).finish_failure(Rcode::SERVFAIL, error, detail);
    Action::Answered(AnswerSource::Failure)
}

/// SERVFAIL with its reason.
pub(super) fn failure(context: &Context<'_, impl Observer>, error: ExtendedError, reply: &mut Vec<u8>) -> Action {
    Writer::start(context.query, context.limit(), reply).finish(Rcode::SERVFAIL, false, Counts::default(), Some(error));
    Action::Answered(AnswerSource::Failure)
}

/// The records of a name and type; several addresses take turns at being the first.
#[inline]
fn write_rrset(context: &Context<'_, impl Observer>, rrset: &Rrset<'_>, reply: &mut Vec<u8>) {
    let mut writer = Writer::start(context.query, context.limit(), reply);
    let (first, second) = rotated(rrset, context.turn);
    writer.buffer().extend_from_slice(first);
    writer.buffer().extend_from_slice(second);
    writer.finish(Rcode::NOERROR, true, Counts { answer: rrset.count, ..Counts::default() }, None);
}

/// The records of an RRset in two pieces, the one whose turn it is in front. Only addresses rotate.
#[inline]
pub(super) fn rotated<'t>(rrset: &Rrset<'t>, turn: u32) -> (&'t [u8], &'t [u8]) {
    let count = usize::from(rrset.count);
    if count < 2 || !matches!(rrset.rtype, Rtype::A | Rtype::AAAA) {
        return (rrset.records, &[]);
    }
    // Spread, for a client that asks for A and AAAA in turn would else meet every second turn only.
    let start = (turn.wrapping_mul(0x9e37_79b1) >> 16) as usize % count * (rrset.records.len() / count);
    let (last, first) = rrset.records.split_at_checked(start).unwrap_or((&[], rrset.records));
    (first, last)
}

fn write_negative(context: &Context<'_, impl Observer>, rcode: Rcode, soa: &Soa<'_>, reply: &mut Vec<u8>) {
    let mut writer = Writer::start(context.query, context.limit(), reply);
    soa.push(writer.buffer(), context.query.qname.len());
    writer.finish(rcode, true, Counts { authority: 1, ..Counts::default() }, None);
}

fn write_records<'d>(
    context: &Context<'_, impl Observer>,
    records: impl Iterator<Item = (Rtype, u32, &'d [u8])>,
    reply: &mut Vec<u8>,
) {
    let mut writer = Writer::start(context.query, context.limit(), reply);
    let mut answer = 0;
    for (rtype, ttl, data) in records {
        push_record(writer.buffer(), rtype, ttl, data);
        answer += 1;
    }
    writer.finish(Rcode::NOERROR, true, Counts { answer, ..Counts::default() }, None);
}
