//! Who is responsible for the names of an upstream's answer: whether it is the reply as it is.

use super::{Context, Observer, Responsible, Step};
use crate::cache::AnswerView;
use crate::forward::Disposition;
use crate::wire::{Rcode, Rtype};

impl<O: Observer> Context<'_, O> {
    /// Whether an answer is the reply as it is: it comes to an end, and its upstreams are responsible for every name in it.
    #[inline]
    pub(super) fn is_whole(&self, answer: AnswerView<'_>) -> bool {
        if matches!(self.query.qtype, Rtype::CNAME | Rtype::ANY) {
            return true;
        }
        !answer.is_unfinished() && self.rules_accept(answer) && !answer.targets().any(|target| self.table_has(target))
    }

    /// Whether the rules give all names of an answer's chain to its upstreams. Found out once for each answer and reload: a
    /// query asks for it every time.
    #[inline]
    fn rules_accept(&self, answer: AnswerView<'_>) -> bool {
        let rules = &self.snapshot.rules;
        if answer.accepted_by() == rules.number() {
            return true;
        }
        let upstream_set = answer.upstream_set();
        let is_accepted =
            answer.targets().all(|target| rules.gives_to(target, upstream_set)) && !self.concerns_guard(answer);
        if is_accepted {
            answer.accept(rules.number());
        }
        is_accepted
    }

    /// Whether the guard has to look at an answer each time: a public address for a name whose service has a record here, or
    /// a privatelink name that does not exist.
    fn concerns_guard(&self, answer: AnswerView<'_>) -> bool {
        let names = std::iter::once(self.query.qname.as_wire()).chain(answer.targets());
        (answer.has_public_address() && self.snapshot.guard.concerns(&self.snapshot.table, names))
            || (answer.rcode() == Rcode::NXDOMAIN && answer.is_private())
    }

    /// Whether the upstreams of an answer are responsible for a name.
    pub(super) fn is_answered_by(&self, lower_name: &[u8], answer: AnswerView<'_>) -> bool {
        self.snapshot.rules.gives_to(lower_name, answer.upstream_set()) && !self.table_has(lower_name)
    }

    /// Reports who is responsible for each name that an answer's chain leads to, up to the first that is not its upstreams'.
    pub(super) fn report_chain(&self, answer: AnswerView<'_>) {
        if !O::IS_WATCHING || matches!(self.query.qtype, Rtype::CNAME | Rtype::ANY) {
            return;
        }
        for target in answer.targets() {
            let (disposition, zone_len) = self.snapshot.rules.find(target);
            let responsible = match disposition {
                _ if self.table_has(target) => Responsible::Table,
                Disposition::Forward(rule) if rule.upstream_set == answer.upstream_set() => Responsible::SameUpstreams,
                disposition => Responsible::Rule { disposition, zone_len },
            };
            self.observer.step(Step::Alias { target, responsible });
            if !matches!(responsible, Responsible::SameUpstreams) {
                return;
            }
        }
    }
}
