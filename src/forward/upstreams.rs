//! The machine's upstreams: which ones a rule leads to, what they may be asked, how they are.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::budget::{Budget, Limits};
use super::machine::{Forwarding, Numbers};
use super::question::{News, Question, UpstreamState};
use super::rule::{ForwardRule, Target};
use super::upstream::Upstream;

impl<W> Forwarding<W> {
    /// Sets the budgets of upstream addresses; addresses that are not named have none.
    pub fn set_limits(&mut self, limits: HashMap<SocketAddr, Limits>) {
        for upstream in &mut self.upstreams {
            upstream.budget.limits = limits.get(&upstream.target.address).copied().unwrap_or_default();
        }
        self.limits = limits;
    }

    /// The state of every upstream that was ever asked.
    pub fn upstream_states(&self) -> impl Iterator<Item = UpstreamState> {
        self.upstreams.iter().map(|upstream| UpstreamState {
            target: upstream.target.clone(),
            is_down: upstream.health.is_down(),
            rtt: upstream.health.rtt(),
            pending: upstream.budget.pending(),
            waiting: upstream.waiting(),
            last_error: upstream.last_error.clone(),
            limits: upstream.budget.limits,
            sent: upstream.sent,
        })
    }

    /// Whether anything was ever heard from an upstream.
    pub fn was_heard(&self, target: &Target) -> bool {
        let number = self.upstream_by_target.get(target);
        number.and_then(|&number| self.upstreams.get(number)).is_some_and(|upstream| upstream.health.was_heard())
    }

    /// Which upstreams stopped answering or answer again, since the last call.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Whether one of a rule's upstreams has a budget.
    pub(super) fn are_limited(&self, upstreams: &Numbers) -> bool {
        upstreams.iter().any(|&number| self.upstreams.get(number).is_some_and(|upstream| upstream.budget.is_limited()))
    }

    /// Whether none of a rule's upstreams answers.
    pub(super) fn are_down(&self, upstreams: &Numbers) -> bool {
        upstreams.iter().all(|&number| self.upstreams.get(number).is_some_and(|upstream| upstream.health.is_down()))
    }

    /// Keeps lines bounded: they may hold twice as many tickets as there can be questions, then those of questions that
    /// are done go.
    pub(super) fn purge_lines(&mut self, number: usize) {
        let Some(upstream) = self.upstreams.get_mut(number) else {
            return;
        };
        if upstream.waiting() > self.bounds.tickets() {
            let outstanding = &self.outstanding;
            upstream.purge(|&(slot, generation)| {
                outstanding.get(slot as usize).is_some_and(|query| query.generation == generation)
            });
        }
    }

    /// Whether a question would leave at once.
    pub(super) fn could_send(&self, now: Instant, question: &Question, upstreams: &Numbers) -> bool {
        let is_slow = self.slow_zones.holds(&question.section, now);
        upstreams
            .iter()
            .any(|&number| self.upstreams.get(number).is_some_and(|upstream| upstream.is_free(now, is_slow)))
    }

    pub(super) fn upstream_numbers(&mut self, rule: &Arc<ForwardRule>) -> Numbers {
        if let Some((known, numbers)) = &self.last_rule
            && Arc::ptr_eq(known, rule)
        {
            return numbers.clone();
        }
        let numbers: Numbers = rule.upstreams.iter().map(|target| self.upstream_number(target)).collect();
        self.last_rule = Some((rule.clone(), numbers.clone()));
        numbers
    }

    fn upstream_number(&mut self, target: &Target) -> usize {
        if let Some(&number) = self.upstream_by_target.get(target) {
            return number;
        }
        let limits = self.limits.get(&target.address).copied().unwrap_or_default();
        let number = self.upstreams.len();
        self.upstreams.push(Upstream::new(target.clone(), Budget::new(limits)));
        self.upstream_by_target.insert(target.clone(), number);
        number
    }
}
