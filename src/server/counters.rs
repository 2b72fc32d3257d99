//! Counters: one set per worker, written by that worker alone.
//!
//! received = answered (by source) + refused and dropped (by reason), exactly, once nothing is in flight.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clients::Clients;
use super::latency::{Latencies, Latency, Path, add};
use super::qtype_label::QtypeLabel;
use crate::engine::{AnswerSource, Reason};
use crate::wire::Transport;

/// One worker's counters, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    received: [AtomicU64; Transport::ALL.len()],
    kinds: [AtomicU64; QtypeLabel::ALL.len()],
    answered: [AtomicU64; AnswerSource::ALL.len()],
    reasons: [AtomicU64; Reason::ALL.len()],
    latency: [Latency; Path::ALL.len()],
    /// The clients that were seen.
    pub clients: Clients,
    /// Counts up while the worker's own tasks have their turn.
    beat: AtomicU64,
    /// Queries lost by a panic; written by any thread.
    lost: AtomicU64,
    /// Queries that still waited when the server ended; written by any thread.
    left: AtomicU64,
}

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered.
    Answered(AnswerSource),
    /// Refused, or dropped where the reason says so.
    Not(Reason),
}

impl Outcome {
    /// The source of the answer, or why there is none.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Answered(source) => source.name(),
            Self::Not(reason) => reason.name(),
        }
    }
}

impl Counters {
    /// Counts queries that came in.
    pub(crate) fn received(&self, transport: Transport, count: u64) {
        if let Some(counter) = self.received.get(transport as usize) {
            add(counter, count);
        }
    }

    /// Counts a query's type.
    pub(crate) fn kind(&self, query: &[u8]) {
        if let Some(counter) = self.kinds.get(QtypeLabel::of(query) as usize) {
            add(counter, 1);
        }
    }

    /// Counts queries that were answered by `path` after `took`.
    pub(crate) fn latency(&self, path: Path, took: Duration, count: u64) {
        if let Some(latency) = self.latency.get(path as usize).filter(|_| count > 0) {
            latency.add(took, count);
        }
    }

    /// Says that the worker is alive.
    pub(crate) fn beat(&self) {
        add(&self.beat, 1);
    }

    /// A number that stands still when the worker does.
    pub fn beats(&self) -> u64 {
        self.beat.load(Ordering::Relaxed)
    }

    /// Counts a query that was lost by a panic.
    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a query that still waited when the server ended.
    pub(super) fn left(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what became of one.
    pub(crate) fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Answered(source) => self.answered.get(source as usize),
            Outcome::Not(reason) => self.reasons.get(reason as usize),
        };
        if let Some(counter) = counter {
            add(counter, 1);
        }
    }
}

/// The counters of all workers added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Queries that came in.
    pub received: u64,
    /// The same by transport, in the order of [`Transport::ALL`].
    pub by_transport: [u64; Transport::ALL.len()],
    /// The same by type.
    pub by_kind: [u64; QtypeLabel::ALL.len()],
    /// Answered, by source.
    pub answered: [u64; AnswerSource::ALL.len()],
    /// Refused and dropped, by reason.
    pub reasons: [u64; Reason::ALL.len()],
    /// How long answers took, by path.
    pub latency: [Latencies; Path::ALL.len()],
}

impl Totals {
    /// Adds up the counters of workers.
    pub fn of<'c>(workers: impl IntoIterator<Item = &'c Counters>) -> Self {
        let mut totals = Self::default();
        for worker in workers {
            // What became of queries first: what is received meanwhile must not be missing then.
            sum(&mut totals.answered, &worker.answered);
            sum(&mut totals.reasons, &worker.reasons);
            for (reason, count) in [(Reason::Fault, &worker.lost), (Reason::Shutdown, &worker.left)] {
                if let Some(total) = totals.reasons.get_mut(reason as usize) {
                    *total += count.load(Ordering::Relaxed);
                }
            }
            sum(&mut totals.by_kind, &worker.kinds);
            sum(&mut totals.by_transport, &worker.received);
            for (total, latency) in totals.latency.iter_mut().zip(&worker.latency) {
                total.add(latency);
            }
        }
        totals.received = totals.by_transport.iter().sum();
        totals
    }

    /// All answered.
    pub fn answered(&self) -> u64 {
        self.answered.iter().sum()
    }

    /// All refused.
    pub fn refused(&self) -> u64 {
        self.reasons_that(false)
    }

    /// All dropped.
    pub fn dropped(&self) -> u64 {
        self.reasons_that(true)
    }

    /// Answered, refused and dropped by name, those that are not 0.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let answered = AnswerSource::ALL.into_iter().map(AnswerSource::name).zip(self.answered);
        let reasons = Reason::ALL.into_iter().map(Reason::name).zip(self.reasons);
        answered.chain(reasons).filter(|&(_, count)| count > 0)
    }

    fn reasons_that(&self, drops: bool) -> u64 {
        Reason::ALL
            .into_iter()
            .zip(self.reasons)
            .filter(|(reason, _)| reason.is_drop() == drops)
            .map(|(_, count)| count)
            .sum()
    }
}

fn sum(totals: &mut [u64], counters: &[AtomicU64]) {
    for (total, counter) in totals.iter_mut().zip(counters) {
        *total += counter.load(Ordering::Relaxed);
    }
}
