//! Counters: one set per worker, written by that worker alone.
//!
//! received = answered (by source) + refused and dropped (by reason), exactly, once nothing is in flight.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{AnswerSource, Reason};

/// One worker's counters, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    received: AtomicU64,
    answered: [AtomicU64; AnswerSource::ALL.len()],
    reasons: [AtomicU64; Reason::ALL.len()],
}

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered.
    Answered(AnswerSource),
    /// Refused, or dropped where the reason says so.
    Not(Reason),
}

impl Counters {
    /// Counts queries that came in.
    pub(crate) fn received(&self, count: u64) {
        add(&self.received, count);
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

/// Only one thread writes a counter, so no read-modify-write cycle is needed.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

/// The counters of all workers added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Queries that came in.
    pub received: u64,
    /// Answered, by source.
    pub answered: [u64; AnswerSource::ALL.len()],
    /// Refused and dropped, by reason.
    pub reasons: [u64; Reason::ALL.len()],
}

impl Totals {
    /// Adds up the counters of workers.
    pub fn of<'c>(workers: impl IntoIterator<Item = &'c Counters>) -> Self {
        let mut totals = Self::default();
        for worker in workers {
            totals.received += worker.received.load(Ordering::Relaxed);
            for (total, counter) in totals.answered.iter_mut().zip(&worker.answered) {
                *total += counter.load(Ordering::Relaxed);
            }
            for (total, counter) in totals.reasons.iter_mut().zip(&worker.reasons) {
                *total += counter.load(Ordering::Relaxed);
            }
        }
        totals
    }

    /// All answered.
    pub fn answered(&self) -> u64 {
        self.answered.iter().sum()
    }

    /// All refused.
    pub fn refused(&self) -> u64 {
        self.by_kind(false)
    }

    /// All dropped.
    pub fn dropped(&self) -> u64 {
        self.by_kind(true)
    }

    /// Answered, refused and dropped by name, those that are not 0.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let answered = AnswerSource::ALL.into_iter().map(AnswerSource::name).zip(self.answered);
        let reasons = Reason::ALL.into_iter().map(Reason::name).zip(self.reasons);
        answered.chain(reasons).filter(|&(_, count)| count > 0)
    }

    fn by_kind(&self, drops: bool) -> u64 {
        Reason::ALL
            .into_iter()
            .zip(self.reasons)
            .filter(|(reason, _)| reason.is_drop() == drops)
            .map(|(_, count)| count)
            .sum()
    }
}
