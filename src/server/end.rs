//! The end of every query, whatever became of it: counters, response time, clients seen, query log.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::counters::{Counters, Outcome};
use super::latency::Path;
use super::qtype_label::{question_name, type_at_question};
use super::shared::Shared;
use crate::engine::{AnswerSource, Client, Reason};
use crate::forward::Disposition;
use crate::log::{self, QueryLine, Tap, Tapped};
use crate::wire::header::Rcode;

/// A query that is over.
pub(super) struct End<'a> {
    /// The message.
    pub(super) query: &'a [u8],
    pub(super) client: Client,
    pub(super) outcome: Outcome,
    /// The response, empty where there is none.
    pub(super) reply: &'a [u8],
    /// It waited for an upstream.
    pub(super) has_waited: bool,
}

/// Where the queries of one worker end.
pub(super) struct Ends {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    /// Queries that might have been put into the log.
    sampled: Cell<u32>,
    /// The same for dnstap.
    tapped: Cell<u32>,
}

impl Ends {
    pub(super) fn new(shared: Arc<Shared>, counters: Arc<Counters>) -> Self {
        Self { shared, counters, sampled: Cell::new(0), tapped: Cell::new(0) }
    }

    /// Counts queries that came in and ended at the same times, and puts those into the log that belong there.
    #[inline]
    pub(super) fn note<'e>(&self, ends: impl IntoIterator<Item = End<'e>>, [start, now]: [Instant; 2]) {
        let took = now.saturating_duration_since(start);
        let is_sampling = self.is_sampling();
        let tap = self.shared.tap.get().map(|tap| (tap, SystemTime::now()));
        let mut by_path = [0; Path::ALL.len()];
        for end in ends {
            self.counters.count(end.outcome);
            self.counters.clients.note(end.client.address);
            match end.outcome {
                Outcome::Answered(_) if end.has_waited => by_path[Path::Forwarded as usize] += 1,
                Outcome::Answered(source) => by_path[Path::at_once(source) as usize] += 1,
                Outcome::Not(Reason::Loop) => self.shared.report_loop(end.client.address, now),
                Outcome::Not(_) => {}
            }
            if is_sampling {
                self.sample(&end, took);
            }
            if let Some((tap, wall)) = tap {
                self.tap(tap, &end, wall, took);
            }
        }
        for (path, count) in Path::ALL.into_iter().zip(by_path) {
            self.counters.latency(path, took, count);
        }
    }

    /// Whether queries are put into the log at all.
    #[inline]
    fn is_sampling(&self) -> bool {
        self.shared.log_queries.load(Ordering::Relaxed) != 0 || tracing::enabled!(tracing::Level::DEBUG)
    }

    /// Puts one of many queries into the log, all of them where it is debugged.
    #[cold]
    fn sample(&self, end: &End<'_>, took: Duration) {
        let share = self.shared.log_queries.load(Ordering::Relaxed);
        let count = self.sampled.get().wrapping_add(1);
        self.sampled.set(count);
        let is_sample = share != 0 && count.is_multiple_of(share);
        if !is_sample && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        log::query(QueryLine {
            client: end.client.address,
            transport: end.client.transport.name(),
            query: end.query.into(),
            rtype: type_at_question(end.query),
            outcome: end.outcome.word(),
            rcode: end.reply.get(3).map(|flags| Rcode(u16::from(flags & 15))),
            rule: self.rule_of(end.query, end.outcome),
            duration: took,
            is_debug: !is_sample,
        });
    }

    /// Sends one of many queries, or all, to dnstap.
    #[cold]
    fn tap(&self, tap: &Tap, end: &End<'_>, ended: SystemTime, took: Duration) {
        let number = self.tapped.get();
        self.tapped.set(number.wrapping_add(1));
        if tap.takes(number) {
            tap.put(Tapped {
                client: end.client.address,
                transport: end.client.transport,
                query: end.query.into(),
                reply: end.reply.into(),
                outcome: end.outcome.word(),
                ended,
                took,
            });
        }
    }

    /// The zone of the rule whose upstreams are responsible for the answer.
    fn rule_of(&self, query: &[u8], outcome: Outcome) -> Option<String> {
        use AnswerSource::{Cache, Failure, Stale, Upstream};
        let Outcome::Answered(Cache | Failure | Stale | Upstream) = outcome else { return None };
        let name = question_name(query)?;
        match self.shared.snapshot.load().rules.find(name.as_wire()) {
            (Disposition::Forward(rule), _) => Some(rule.zone.to_string()),
            _ => None,
        }
    }
}
