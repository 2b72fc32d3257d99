//! CNAME chains: every name is answered by the upstreams or the table that the settings make responsible for it.
//!
//! That is the table if it has the name, else the rule with the longest matching zone. A CNAME of the table is followed in
//! the table, then by the rules. An upstream's answer is used up to the first name that the table has or that belongs to
//! other upstreams; there the chain goes on. So an upstream is believed only about names that its rule gives it, and no
//! public address comes out behind a private name. An answer that ends in a CNAME is continued with one more question
//! (RFC 1034 §5.3.3).
//!
//! The cut is made when a reply is written, not when an answer is kept: a reload of table or rules counts at once.

use std::sync::Arc;

use super::chain_memory::{ChainMemory, Held};
use super::write::rotated;
use super::{Action, AnswerSource, Context, Observer, Step};
use crate::cache::{ALIASES_MAX, Age, AnswerView};
use crate::records::{Rrset, Soa};
use crate::wire::compose::compose;
use crate::wire::edns::{extended_error_option, push_extended_error};
use crate::wire::{AnswerFlags, ExtendedError, Name, OwnedRecord, Query, Rcode, RecordView, Rtype, Section, header};

/// Answers of upstreams, cached or not, that one chain is made of. Where each takes a second query (over TCP, without EDNS, to
/// the next upstream), that is 24 queries.
const QUESTIONS_MAX: usize = 12;
/// Bytes of a record beside its data, where its owner is a pointer.
const COMPRESSED_RECORD: usize = 12;

/// What is known of a chain so far.
#[derive(Debug)]
pub struct Chain {
    /// Every name that the chain went through. The last is the effective qname (RFC 9499), as it was written: the name to
    /// look up next.
    names: Vec<Name>,
    records: Vec<OwnedRecord>,
    questions: usize,
    authoritative: bool,
    /// Every part so far is from an upstream that calls it authentic.
    authentic: bool,
    rcode: Rcode,
    /// Extended errors of upstreams, as options.
    errors: Vec<u8>,
    /// The fallback was asked for its last name.
    fell_back: bool,
    /// Its share of the memory for chains that wait.
    held: Option<Held>,
}

/// How an upstream's answer takes a chain on.
pub(super) enum Taken {
    /// To its end.
    Complete,
    /// To a name that is looked up next.
    Further,
}

/// A chain that cannot be followed to an end, with the extended errors that say why, as options.
#[derive(Debug)]
pub(super) struct Broken(Vec<u8>);

impl From<ExtendedError> for Broken {
    fn from(error: ExtendedError) -> Self {
        Self(extended_error_option(error).to_vec())
    }
}

impl Chain {
    /// A chain that begins at a query's name.
    pub(super) fn new(query: &Query<'_>) -> Self {
        let qname = query.question().get(..query.qname.len()).and_then(Name::from_wire);
        Self {
            names: vec![qname.unwrap_or_else(Name::root)],
            records: Vec::new(),
            questions: 0,
            authoritative: false,
            authentic: true,
            rcode: Rcode::NOERROR,
            errors: Vec::new(),
            fell_back: false,
            held: None,
        }
    }

    /// A chain that begins with an upstream's answer to the query's own name.
    pub(super) fn from_upstream(query: &Query<'_>) -> Self {
        Self { questions: 1, ..Self::new(query) }
    }

    /// Makes it ready to wait for an upstream; `None` where too much waits already.
    pub(super) fn wait(mut self, memory: &Arc<ChainMemory>) -> Option<Self> {
        self.held = None;
        self.names.shrink_to_fit();
        self.records.shrink_to_fit();
        let names = self.names.iter().map(|name| size_of::<Name>() + name.as_wire().len());
        let records = self
            .records
            .iter()
            .map(|record| size_of::<OwnedRecord>() + record.owner.as_wire().len() + record.data.len());
        let bytes = size_of::<Self>() + names.chain(records).sum::<usize>() + self.errors.len();
        self.held = Some(memory.hold(bytes)?);
        Some(self)
    }

    /// About how many bytes its records take in a reply, where each owner is a name that stands before.
    pub fn reply_len(&self) -> u16 {
        let bytes = self.records.iter().map(|record| COMPRESSED_RECORD + record.data.len()).sum::<usize>();
        u16::try_from(bytes).unwrap_or(u16::MAX)
    }

    /// The name that the client asked for.
    pub(super) fn first_name(&self) -> Name {
        self.names.first().cloned().unwrap_or_else(Name::root)
    }

    /// Every name that it went through.
    pub(super) fn names(&self) -> &[Name] {
        &self.names
    }

    pub(super) fn records(&self) -> &[OwnedRecord] {
        &self.records
    }

    pub(super) fn rcode(&self) -> Rcode {
        self.rcode
    }

    pub(super) fn errors_mut(&mut self) -> &mut Vec<u8> {
        &mut self.errors
    }

    /// Whether the fallback may be asked for its last name: never for the name that the client asked for, and once.
    pub(super) fn may_fall_back(&self) -> bool {
        !self.fell_back && self.names.len() > 1 && self.questions < QUESTIONS_MAX
    }

    /// Forgets that its last name does not exist: the fallback is asked for it.
    pub(super) fn fall_back(&mut self) {
        self.fell_back = true;
        self.questions += 1;
        self.rcode = Rcode::NOERROR;
        self.records.retain(|record| record.section == Section::Answer);
    }

    /// Counts an upstream's answer that it goes on with, unless there were too many.
    pub(super) fn count_question(&mut self) -> Result<(), Broken> {
        self.questions += 1;
        if self.questions > QUESTIONS_MAX { Err(Broken::because("CNAME chain too long")) } else { Ok(()) }
    }

    /// The effective qname.
    pub(super) fn name(&self) -> Name {
        self.names.last().cloned().unwrap_or_else(Name::root)
    }

    /// Goes on to the target of an alias, unless the chain went through it before or is too long.
    fn go_to(&mut self, target: Name) -> Result<(), Broken> {
        if self.names.contains(&target) {
            return Err(Broken::because("CNAME loop"));
        }
        if self.names.len() > ALIASES_MAX {
            return Err(Broken::because("CNAME chain too long"));
        }
        self.names.push(target);
        Ok(())
    }

    /// Takes an upstream's answer for the effective qname: up to the first name that others are responsible for, or all of
    /// it.
    pub(super) fn take_upstream(
        &mut self,
        context: &Context<'_, impl Observer>,
        answer: AnswerView<'_>,
        age: Age,
    ) -> Result<Taken, Broken> {
        context.report_chain(answer);
        self.authentic &= answer.is_authentic();
        let (qtype, dnssec_ok, limit) = (context.query.qtype, context.query.dnssec_ok(), context.limit());
        // Signatures are for clients that ask for them, and as many as the reply has room for.
        let aliases = answer.records(age, |record, data| is_link(record, data, qtype) && record.rtype != Rtype::RRSIG);
        let signatures = answer
            .records(age, |record, data| dnssec_ok && record.rtype == Rtype::RRSIG && is_link(record, data, qtype));
        let mut links: Vec<_> = aliases.chain(fitting(signatures, limit)).collect();
        let start = self.names.len();
        let stop = answer.targets().position(|target| !context.is_answered_by(target, answer));
        for target in answer.targets().take(stop.map_or(usize::MAX, |at| at + 1)) {
            self.take_link(&mut links, target)?;
        }
        if stop.is_none() && answer.is_unfinished() {
            // A DNAME leads on without a CNAME beside it.
            while self.take_dname(&mut links)? {}
        }
        let rcode = answer.rcode();
        let is_further = stop.is_some() || (answer.is_unfinished() && self.names.len() > start);
        if !is_further && !self.records.is_empty() && !matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
            let errors = answer.errors();
            let unexplained = || ExtendedError::NO_REACHABLE_AUTHORITY.into();
            return Err(if errors.is_empty() { unexplained() } else { Broken(errors.to_vec()) });
        }
        self.errors.extend_from_slice(answer.errors());
        if age == Age::Stale {
            self.errors.extend_from_slice(&extended_error_option(ExtendedError::STALE_ANSWER));
        }
        if is_further {
            let target = self.name().to_lowercase();
            let target = target.as_wire();
            context.observer.step(if stop.is_some() { Step::Cut { target } } else { Step::Open { target } });
            return Ok(Taken::Further);
        }
        self.rcode = rcode;
        let name = self.name();
        let others = answer.records(age, |record, data| !is_link(record, data, qtype));
        let belonging = others.filter(|record| record.section != Section::Answer || record.owner == name);
        self.records.extend(fitting(belonging, limit));
        Ok(Taken::Complete)
    }

    /// Takes the CNAME of the effective qname with this target out of an upstream's answer, after the DNAME that it comes from,
    /// and goes on there.
    fn take_link(&mut self, links: &mut Vec<OwnedRecord>, target: &[u8]) -> Result<(), Broken> {
        let name = self.name();
        if let Some(at) = links.iter().position(|link| is_dname_of(link, &name)) {
            self.take_signed(links, at);
        }
        // Where a name has two, the one that was looked at is meant.
        let cname = links.iter().position(|link| {
            link.rtype == Rtype::CNAME && link.owner == name && link.data.eq_ignore_ascii_case(target)
        });
        let target = cname.and_then(|at| Name::from_wire(&self.take_signed(links, at).data));
        self.go_to(target.ok_or(ExtendedError::OTHER)?)
    }

    /// Takes the DNAME of the effective qname out of an upstream's answer, adds the CNAME that follows from it
    /// (RFC 6672 §3.1), and goes on to its target. `false` where there is none.
    fn take_dname(&mut self, links: &mut Vec<OwnedRecord>) -> Result<bool, Broken> {
        let name = self.name();
        let Some(at) = links.iter().position(|link| is_dname_of(link, &name)) else { return Ok(false) };
        let dname = self.take_signed(links, at);
        let target = substituted(&name, &dname).ok_or(ExtendedError::OTHER)?;
        let data = target.as_wire().to_vec();
        self.records.push(OwnedRecord { owner: name, rtype: Rtype::CNAME, data, ..dname });
        self.go_to(target)?;
        Ok(true)
    }

    /// Moves the record at this place with its signatures to those of the chain; gives a copy of it.
    fn take_signed(&mut self, links: &mut Vec<OwnedRecord>, at: usize) -> OwnedRecord {
        let link = links.remove(at);
        self.records.push(link.clone());
        let signs = |record: &mut OwnedRecord| {
            covered(record.rtype, &record.data) == Some(link.rtype) && record.owner == link.owner
        };
        self.records.extend(links.extract_if(.., signs));
        link
    }

    /// Adds an alias of the table and goes on to its target.
    pub(super) fn take_alias(&mut self, rrset: &Rrset<'_>) -> Result<(), Broken> {
        let (ttl, data) = rrset.iter().next().ok_or(ExtendedError::OTHER)?;
        let target = Name::from_wire(data).ok_or(ExtendedError::OTHER)?;
        self.authoritative |= self.records.is_empty();
        self.push(Rtype::CNAME, ttl, data);
        self.go_to(target)
    }

    /// Adds records of the effective qname, as many as a reply of `limit` bytes can hold.
    pub(super) fn take_rrset(&mut self, rrset: &Rrset<'_>, turn: u32, limit: usize) {
        self.authoritative |= self.records.is_empty();
        let (first, second) = rotated(rrset, turn);
        let pieces = [first, second].map(|records| Rrset { records, ..*rrset });
        self.push_all(rrset.rtype, pieces.iter().flat_map(Rrset::iter), limit);
    }

    /// Adds a record of the effective qname that is this server's own.
    pub(super) fn push(&mut self, rtype: Rtype, ttl: u32, data: &[u8]) {
        self.push_all(rtype, std::iter::once((ttl, data)), 0);
    }

    /// Adds records of the effective qname that are this server's own, by TTL and data: as many as a reply of `limit` bytes
    /// can hold, at least one.
    pub(super) fn push_all<'r>(&mut self, rtype: Rtype, records: impl Iterator<Item = (u32, &'r [u8])>, limit: usize) {
        self.authentic = false;
        let owner = self.name();
        let records = records.map(|(ttl, data)| OwnedRecord {
            section: Section::Answer,
            owner: owner.clone(),
            rtype,
            class: 1,
            ttl,
            data: data.to_vec(),
        });
        self.records.extend(fitting(records, limit));
    }

    pub(super) fn take_negative(&mut self, rcode: Rcode, soa: &Soa<'_>) {
        self.rcode = rcode;
        self.take_soa(soa, Section::Authority);
    }

    pub(super) fn take_soa(&mut self, soa: &Soa<'_>, section: Section) {
        self.authentic = false;
        self.records.extend(soa.to_record(&self.name(), section));
    }

    /// Writes the reply.
    pub(super) fn write(
        &self,
        context: &Context<'_, impl Observer>,
        source: AnswerSource,
        reply: &mut Vec<u8>,
    ) -> Action {
        // RFC 6840 §5.8.
        let wants_ad = context.query.header.flags & header::AD != 0 || context.query.dnssec_ok();
        let flags = AnswerFlags {
            rcode: self.rcode,
            authoritative: self.authoritative,
            authentic: self.authentic && wants_ad,
            options: &self.errors,
        };
        compose(context.query, &self.records, &flags, context.limit(), reply);
        Action::Answered(source)
    }
}

impl Broken {
    /// Broken in a way that no code of RFC 8914 names.
    fn because(text: &str) -> Self {
        let mut option = Vec::new();
        push_extended_error(&mut option, ExtendedError::OTHER.0.to_be_bytes(), text);
        Self(option)
    }

    /// SERVFAIL: an alias without its end is no answer.
    pub(super) fn write(&self, context: &Context<'_, impl Observer>, reply: &mut Vec<u8>) -> Action {
        let flags = AnswerFlags { rcode: Rcode::SERVFAIL, authoritative: false, authentic: false, options: &self.0 };
        compose(context.query, &[], &flags, context.limit(), reply);
        Action::Answered(AnswerSource::Failure)
    }
}

/// The first of these records, up to the one with which they are longer than `limit` bytes: what is behind it is in no reply,
/// and that one makes it truncated.
fn fitting(records: impl Iterator<Item = OwnedRecord>, limit: usize) -> impl Iterator<Item = OwnedRecord> {
    let mut len = 0;
    records.take_while(move |record| {
        let is_within = len <= limit;
        len += record.len_min();
        is_within
    })
}

/// Whether a record may lead from one name of a chain to the next, or signs one that does. What was asked for is data.
fn is_link(record: &RecordView, data: &[u8], qtype: Rtype) -> bool {
    let leads_on = |rtype| matches!(rtype, Rtype::CNAME | Rtype::DNAME) && rtype != qtype;
    record.section == Section::Answer && (leads_on(record.rtype) || covered(record.rtype, data).is_some_and(leads_on))
}

/// Whether a record is a DNAME that `name` lies below.
fn is_dname_of(record: &OwnedRecord, name: &Name) -> bool {
    record.rtype == Rtype::DNAME && record.owner != *name && name.is_within(&record.owner)
}

/// The type that a signature is for.
fn covered(rtype: Rtype, data: &[u8]) -> Option<Rtype> {
    let covered = data.first_chunk().map(|covered| Rtype(u16::from_be_bytes(*covered)));
    covered.filter(|_| rtype == Rtype::RRSIG)
}

/// Where a DNAME leads from a name below its owner (RFC 6672 §2.2); `None` where that is too long for a name.
fn substituted(name: &Name, dname: &OwnedRecord) -> Option<Name> {
    let prefix_len = name.as_wire().len().checked_sub(dname.owner.as_wire().len())?;
    Name::from_wire(&[name.as_wire().get(..prefix_len)?, &dname.data].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_records_are_read_than_a_reply_can_hold() {
        for (limit, most) in [(0, 1), (512, 35), (1232, 83), (65_535, 4000)] {
            let mut read = 0;
            let records = (0..4000_u32).map(|number| {
                read += 1;
                let data = number.to_be_bytes().to_vec();
                OwnedRecord { section: Section::Answer, owner: Name::root(), rtype: Rtype::A, class: 1, ttl: 60, data }
            });
            let taken: Vec<_> = fitting(records, limit).collect();
            assert_eq!(taken.len(), most, "{limit}");
            assert!(read <= most + 1, "{read} read for {limit}");
            // The last one makes the reply truncated.
            assert!(most == 4000 || taken.iter().map(OwnedRecord::len_min).sum::<usize>() > limit, "{limit}");
        }
    }
}
