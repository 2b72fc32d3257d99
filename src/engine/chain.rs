//! Chains of aliases: within the table, out of it, and back into it.
//!
//! A CNAME of the table is followed in the table, then by the rules. A CNAME of an upstream's answer whose target the
//! table speaks for is where that answer is cut: what the upstream said of the target is dropped and the table answers
//! in its place. That is how Azure's own private zones work, and no public address slips through behind a private name.

use super::write::{ANY_DATA, loopback, rotated};
use super::{Action, AnswerSource, Context, Engine, Observer, Step, write};
use crate::cache::{Age, AnswerView};
use crate::forward::{Disposition, Here};
use crate::records::{Lookup, Rrset, Soa};
use crate::wire::compose::compose;
use crate::wire::edns::extended_error_option;
use crate::wire::{ExtendedError, LowerName, Name, NameRoom, OwnedRecord, Query, Rcode, Rtype, Section, Verdict};

/// Aliases of the table that are followed for one query.
const TABLE_ALIASES_MAX: usize = 8;
/// Questions that are asked upstream for one query.
const UPSTREAM_QUESTIONS_MAX: usize = 3;

/// What is known of a chain so far.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The name to look up next (the effective qname, RFC 9499), as it was written.
    effective: Name,
    records: Vec<OwnedRecord>,
    /// Every name the chain went through, to find loops.
    seen: Vec<Name>,
    table_aliases: usize,
    upstream_questions: usize,
    authoritative: bool,
    authentic: bool,
    rcode: Rcode,
    /// Extended errors of upstreams, as options.
    errors: Vec<u8>,
    is_complete: bool,
}

impl Chain {
    /// A chain that begins at a query's name.
    pub(super) fn new(query: &Query<'_>) -> Self {
        let qname = query.question().get(..query.qname.len()).and_then(Name::from_wire);
        let effective = qname.unwrap_or_else(Name::root);
        Self {
            seen: vec![effective.clone()],
            effective,
            records: Vec::new(),
            table_aliases: 0,
            upstream_questions: 0,
            authoritative: false,
            authentic: false,
            rcode: Rcode::NOERROR,
            errors: Vec::new(),
            is_complete: false,
        }
    }

    /// A chain that begins with an upstream's answer to the query's own name.
    pub(super) fn from_upstream(query: &Query<'_>) -> Self {
        Self { upstream_questions: 1, ..Self::new(query) }
    }

    /// Whether the end was reached.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Takes an upstream's answer for the effective qname: up to the first alias whose target the table speaks for, or
    /// all of it.
    pub(super) fn take_upstream(&mut self, context: &Context<'_, impl Observer>, answer: AnswerView<'_>, age: Age) {
        let mut records = answer.records(age);
        self.errors.extend_from_slice(answer.errors());
        if age == Age::Stale {
            self.errors.extend_from_slice(&extended_error_option(ExtendedError::STALE_ANSWER));
        }
        let follows = !matches!(context.query.qtype, Rtype::CNAME | Rtype::ANY);
        let cut = answer.targets().position(|target| follows && context.table_has(target));
        let Some(cut) = cut else {
            self.rcode = answer.rcode();
            self.authentic = self.records.is_empty() && answer.is_authentic();
            self.records.append(&mut records);
            self.is_complete = true;
            return;
        };
        for _ in 0..=cut {
            let Some(next) = self.take_upstream_alias(&records) else {
                return;
            };
            // Only the last target is looked up next, and may not have been passed; `follow` notes that one itself.
            if self.effective != *self.seen.last().unwrap_or(&next) {
                self.seen.push(self.effective.clone());
            }
            self.effective = next;
        }
        context.observer.step(Step::Cut { target: self.effective.to_lowercase().as_wire() });
    }

    /// Takes the alias of the effective qname with its signatures out of an upstream's answer; gives its target.
    fn take_upstream_alias(&mut self, records: &[OwnedRecord]) -> Option<Name> {
        let owner = self.effective.clone();
        let of_owner = |record: &&OwnedRecord| record.section == Section::Answer && record.owner == owner;
        let mut alias = records.iter().filter(of_owner).find(|record| record.rtype == Rtype::CNAME)?.clone();
        let covers_cname = |record: &&OwnedRecord| {
            record.rtype == Rtype::RRSIG && record.data.starts_with(&Rtype::CNAME.0.to_be_bytes())
        };
        let signatures: Vec<_> = records.iter().filter(of_owner).filter(covers_cname).cloned().collect();
        let target = Name::from_wire(&alias.data);
        alias.owner.clone_from(&owner);
        self.records.push(alias);
        self.records.extend(signatures);
        target
    }

    /// Adds an alias of the table and goes on to its target; whether that is allowed.
    fn take_alias(&mut self, rrset: &Rrset<'_>) -> bool {
        let Some((ttl, data)) = rrset.iter().next() else {
            return false;
        };
        let Some(target) = Name::from_wire(data) else {
            return false;
        };
        self.authoritative |= self.records.is_empty();
        self.push(Rtype::CNAME, ttl, data);
        self.table_aliases += 1;
        self.effective = target;
        self.table_aliases <= TABLE_ALIASES_MAX
    }

    /// Adds records of the effective qname.
    fn take_rrset(&mut self, rrset: &Rrset<'_>, turn: u32) {
        self.authoritative |= self.records.is_empty();
        let (first, second) = rotated(rrset, turn);
        for records in [first, second] {
            let piece = Rrset { records, ..*rrset };
            for (ttl, data) in piece.iter() {
                self.push(rrset.rtype, ttl, data);
            }
        }
    }

    fn push(&mut self, rtype: Rtype, ttl: u32, data: &[u8]) {
        let owner = self.effective.clone();
        self.records.push(OwnedRecord { section: Section::Answer, owner, rtype, class: 1, ttl, data: data.to_vec() });
    }

    fn take_negative(&mut self, rcode: Rcode, soa: &Soa<'_>) {
        self.rcode = rcode;
        self.records.extend(soa.to_record(&self.effective, Section::Authority));
    }

    /// Writes the reply.
    pub(super) fn write(
        &self,
        context: &Context<'_, impl Observer>,
        source: AnswerSource,
        reply: &mut Vec<u8>,
    ) -> Action {
        let verdict = Verdict {
            rcode: self.rcode,
            authoritative: self.authoritative,
            authentic: self.authentic,
            options: &self.errors,
        };
        compose(context.query, &self.records, &verdict, context.limit(), reply);
        Action::Answered(source)
    }
}

impl Engine {
    /// Follows a chain from its effective qname to its end, or to the question that must be asked upstream.
    pub(super) fn follow(&self, context: &Context<'_, impl Observer>, mut chain: Chain, reply: &mut Vec<u8>) -> Action {
        loop {
            let first = chain.seen.len() == 1 && chain.records.is_empty();
            if !first && chain.seen.contains(&chain.effective) {
                return write::failure(context, ExtendedError::OTHER, reply);
            }
            if !first {
                chain.seen.push(chain.effective.clone());
            }
            let mut room = NameRoom::new();
            let qname = room.lower(chain.effective.as_wire());
            let table = &context.snapshot.table;
            let found = table.lookup(qname.as_wire(), context.query.qtype, context.client.address);
            // The query's own name was looked up before.
            if !first {
                context.observer.step(Step::Table { name: qname.as_wire(), found: &found });
            }
            let source = match found {
                Lookup::Alias(rrset, _) => {
                    if !chain.take_alias(&rrset) {
                        return write::failure(context, ExtendedError::OTHER, reply);
                    }
                    continue;
                }
                Lookup::Answer(rrset, how) => {
                    chain.take_rrset(&rrset, context.turn);
                    how.into()
                }
                Lookup::Pointers(pointers) => {
                    for (ttl, name) in pointers.iter() {
                        chain.push(Rtype::PTR, ttl, name);
                    }
                    AnswerSource::Reverse
                }
                Lookup::Any(how) => {
                    chain.push(Rtype::HINFO, table.ttl(), ANY_DATA);
                    how.into()
                }
                Lookup::NoData(soa, how) => {
                    chain.take_negative(Rcode::NOERROR, &soa);
                    how.into()
                }
                Lookup::NxDomain(soa) => {
                    chain.take_negative(Rcode::NXDOMAIN, &soa);
                    AnswerSource::Zone
                }
                Lookup::ApexSoa(soa) => {
                    chain.records.extend(soa.to_record(&chain.effective, Section::Answer));
                    AnswerSource::Zone
                }
                Lookup::Missing => return self.follow_out(context, chain, qname, reply),
            };
            return chain.write(context, source, reply);
        }
    }

    /// The chain leaves the table.
    fn follow_out(
        &self,
        context: &Context<'_, impl Observer>,
        mut chain: Chain,
        qname: LowerName<'_>,
        reply: &mut Vec<u8>,
    ) -> Action {
        let rule = match context.rule(qname) {
            (Disposition::Here(here), zone_len) => return follow_here(context, chain, *here, zone_len, reply),
            (Disposition::Forward(rule), _) => rule,
        };
        if !context.query.recursion_desired() {
            // What the table has of the chain is an answer by itself (RFC 1034 §4.3.2).
            return chain.write(context, AnswerSource::Record, reply);
        }
        chain.upstream_questions += 1;
        if chain.upstream_questions > UPSTREAM_QUESTIONS_MAX {
            return write::failure(context, ExtendedError::OTHER, reply);
        }
        let tail = context.query.question().last_chunk::<4>().copied().unwrap_or_default();
        let question = [chain.effective.as_wire(), &tail].concat();
        self.look_up(context, qname, &question, rule, None, Some(chain), reply)
    }
}

/// The chain ends at a name that is always answered here.
fn follow_here(
    context: &Context<'_, impl Observer>,
    mut chain: Chain,
    here: Here,
    zone_len: usize,
    reply: &mut Vec<u8>,
) -> Action {
    let ttl = context.snapshot.table.ttl();
    match (here, loopback(context.query.qtype)) {
        (Here::NxDomain, _) => chain.take_negative(Rcode::NXDOMAIN, &Soa::new(zone_len, ttl)),
        (Here::Localhost, Some(data)) => chain.push(context.query.qtype, ttl, data),
        (Here::Localhost, None) | (Here::NoData, _) => chain.take_negative(Rcode::NOERROR, &Soa::new(zone_len, ttl)),
    }
    chain.write(context, AnswerSource::BuiltIn, reply)
}
