//! Follows a CNAME chain from one name to the next: through the table, by the rules, into upstreams' answers.

use std::sync::Arc;

use super::chain::{Chain, Taken};
use super::write::{ANY_DATA, loopback};
use super::{Action, AnswerSource, Context, Engine, Observer, Step};
use crate::cache::{Age, AnswerView};
use crate::forward::{BuiltIn, Disposition, ForwardRule};
use crate::records::{Lookup, Soa};
use crate::wire::{LowerName, NameBuf, Rcode, Rtype, Section};

impl Engine {
    /// Goes on with an upstream's answer: `chain` is how the query came to its question.
    pub(super) fn follow_answer(
        &self,
        context: &Context<'_, impl Observer>,
        chain: Option<Chain>,
        answer: AnswerView<'_>,
        age: Age,
        source: AnswerSource,
        reply: &mut Vec<u8>,
    ) -> Action {
        let mut chain = chain.unwrap_or_else(|| Chain::from_upstream(context.query));
        match chain.take_upstream(context, answer, age) {
            Ok(Taken::Complete) => self.end_chain(context, chain, source, reply),
            Ok(Taken::Further) => self.follow(context, chain, reply),
            Err(broken) => broken.write(context, reply),
        }
    }

    /// Follows a chain from its effective qname to its end, or to the question that must be asked upstream.
    pub(super) fn follow(&self, context: &Context<'_, impl Observer>, mut chain: Chain, reply: &mut Vec<u8>) -> Action {
        loop {
            let name = chain.name();
            let mut name_buf = NameBuf::new();
            let qname = name_buf.lower(name.as_wire());
            let table = &context.snapshot.table;
            let found = table.lookup(qname.as_wire(), context.query.qtype, context.client.address);
            // The query's own name was looked up before.
            if chain.names().len() > 1 {
                context.observer.step(Step::Table { name: qname.as_wire(), found: &found });
            }
            let source = match found {
                Lookup::Alias(rrset, _) => {
                    if let Err(broken) = chain.take_alias(&rrset) {
                        return broken.write(context, reply);
                    }
                    continue;
                }
                Lookup::Answer(rrset, how) => {
                    chain.take_rrset(&rrset, context.turn, context.limit());
                    how.into()
                }
                Lookup::Pointers(pointers) => {
                    chain.push_all(Rtype::PTR, pointers.iter(), context.limit());
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
                    chain.take_soa(&soa, Section::Answer);
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
            (Disposition::BuiltIn(here), zone_len) => return follow_here(context, chain, *here, zone_len, reply),
            (Disposition::Forward(rule), _) => rule,
        };
        if !context.query.recursion_desired() {
            // What the table has of the chain is an answer by itself (RFC 1034 §4.3.2).
            return chain.write(context, AnswerSource::Record, reply);
        }
        if let Err(broken) = chain.count_question() {
            return broken.write(context, reply);
        }
        self.look_up_last(context, chain, qname, rule, reply)
    }

    /// Looks up what the query asks for, of the last name of a chain: `qname` is that name in lower case, `rule` has it.
    pub(super) fn look_up_last(
        &self,
        context: &Context<'_, impl Observer>,
        chain: Chain,
        qname: LowerName<'_>,
        rule: &Arc<ForwardRule>,
        reply: &mut Vec<u8>,
    ) -> Action {
        let tail = context.query.question().last_chunk::<4>().copied().unwrap_or_default();
        let question = [chain.name().as_wire(), &tail].concat();
        self.look_up(context, qname, &question, rule, None, Some(chain), reply)
    }
}

/// The chain ends at a name that is always answered here.
fn follow_here(
    context: &Context<'_, impl Observer>,
    mut chain: Chain,
    here: BuiltIn,
    zone_len: usize,
    reply: &mut Vec<u8>,
) -> Action {
    let ttl = context.snapshot.table.ttl();
    match (here, loopback(context.query.qtype)) {
        (BuiltIn::NxDomain, _) => chain.take_negative(Rcode::NXDOMAIN, &Soa::new(zone_len, ttl)),
        (BuiltIn::Localhost, Some(data)) => chain.push(context.query.qtype, ttl, data),
        (BuiltIn::Localhost, None) | (BuiltIn::NoData | BuiltIn::Designated, _) => {
            chain.take_negative(Rcode::NOERROR, &Soa::new(zone_len, ttl))
        }
    }
    chain.write(context, AnswerSource::BuiltIn, reply)
}
