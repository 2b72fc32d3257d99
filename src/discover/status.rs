//! How discovery is doing: for /readyz, /drift and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

use super::arm::Failure;
use super::drift::{Drift, DriftKind};
use super::round::RoundReport;
use super::state::Discovered;

/// Failures that /readyz names.
const SHOWN: usize = 10;
/// Overridden records that /readyz names: a probe must not cost what a table of them would.
const OVERRIDDEN_SHOWN: usize = 100;

/// Shared by the discovery thread, the loader and the admin pages.
#[derive(Debug, Default)]
pub struct Status(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_on: bool,
    discovered: Arc<Discovered>,
    drift: Vec<Drift>,
    failures: BTreeMap<Failure, u64>,
    reasons: Vec<String>,
    rounds: u64,
    complete_at: Option<Instant>,
    complete_time: Option<SystemTime>,
    overridden: Vec<String>,
    record_drift: Vec<Drift>,
}

/// The member `discover` of /readyz.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// `off`, `starting` (no round yet), `ok`, `failing` (the last round was not complete).
    pub state: &'static str,
    /// Why it is failing; `null` otherwise.
    pub reason: Option<String>,
    /// Seconds since the last complete round; `null` when there was none.
    pub age_seconds: Option<u64>,
    /// Records that discovery adds.
    pub records: usize,
    /// Discovered records that a file has instead, the first of them: name, type, and both sides.
    pub overridden: Vec<String>,
    /// How many there are.
    pub overridden_count: usize,
    /// Things that do not fit together: see /drift.
    pub drift: usize,
}

impl Status {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// Turns discovery on or off. Off, nothing of it is served.
    pub(super) fn set_on(&self, is_on: bool) {
        let mut inner = self.lock();
        if !is_on {
            *inner = Inner { failures: std::mem::take(&mut inner.failures), ..Inner::default() };
        }
        inner.is_on = is_on;
    }

    /// Takes what a round, or the state file, gave. Whether the records changed.
    pub(super) fn take(&self, discovered: Discovered, drift: Vec<Drift>) -> bool {
        let mut inner = self.lock();
        inner.drift = drift;
        let is_changed = *inner.discovered != discovered;
        if is_changed {
            inner.discovered = Arc::new(discovered);
        }
        is_changed
    }

    /// Takes what does not fit together, where the records stay.
    pub(super) fn take_drift(&self, drift: Vec<Drift>) {
        self.lock().drift = drift;
    }

    /// Notes how a round went.
    pub(super) fn note(&self, report: &RoundReport) {
        let mut inner = self.lock();
        inner.rounds += 1;
        for (_, failure, _) in &report.failures {
            *inner.failures.entry(*failure).or_default() += 1;
        }
        inner.reasons = report.failures.iter().take(SHOWN).map(|(of, _, text)| format!("{of}: {text}")).collect();
        if report.is_complete() {
            inner.complete_at = Some(Instant::now());
            inner.complete_time = Some(SystemTime::now());
        }
    }

    /// Notes what the loader found: discovered records that files have instead, and records of files that no endpoint has.
    pub fn note_loaded(&self, overridden: Vec<String>, record_drift: Vec<Drift>) {
        let mut inner = self.lock();
        inner.overridden = overridden;
        inner.record_drift = record_drift;
    }

    /// What discovery adds to the table now; nothing while it is off.
    pub fn discovered(&self) -> Arc<Discovered> {
        self.lock().discovered.clone()
    }

    /// Whether discovery is on.
    pub fn is_on(&self) -> bool {
        self.lock().is_on
    }

    /// Whether the last round was complete.
    pub fn is_read(&self) -> bool {
        let inner = self.lock();
        inner.is_on && inner.rounds > 0 && inner.reasons.is_empty()
    }

    /// For /readyz; with texts for operators, without for everybody.
    pub fn summary(&self, with_texts: bool) -> Summary {
        let inner = self.lock();
        let state = match (inner.is_on, inner.rounds, inner.reasons.is_empty()) {
            (false, ..) => "off",
            (true, 0, _) => "starting",
            (true, _, true) => "ok",
            (true, _, false) => "failing",
        };
        Summary {
            state,
            reason: (with_texts && !inner.reasons.is_empty()).then(|| inner.reasons.join("; ")),
            age_seconds: inner.complete_at.map(|at| at.elapsed().as_secs()),
            records: inner.discovered.records.len(),
            overridden: inner.overridden.iter().take(if with_texts { OVERRIDDEN_SHOWN } else { 0 }).cloned().collect(),
            overridden_count: inner.overridden.len(),
            drift: inner.drift.len() + inner.record_drift.len(),
        }
    }

    /// Everything that does not fit together.
    pub fn drift(&self) -> Vec<Drift> {
        let inner = self.lock();
        inner.drift.iter().chain(&inner.record_drift).cloned().collect()
    }

    /// The first of it, and how much there is.
    pub fn first_drift(&self, most: usize) -> (Vec<Drift>, usize) {
        let inner = self.lock();
        let all = || inner.drift.iter().chain(&inner.record_drift);
        (all().take(most).cloned().collect(), all().count())
    }

    /// What is of one kind.
    pub fn drift_of(&self, kind: DriftKind) -> Vec<Drift> {
        let inner = self.lock();
        inner.drift.iter().chain(&inner.record_drift).filter(|drift| drift.kind == kind).cloned().collect()
    }

    /// How much there is of each kind.
    pub fn drift_counts(&self) -> Vec<(DriftKind, usize)> {
        let inner = self.lock();
        let count = |kind| inner.drift.iter().chain(&inner.record_drift).filter(|drift| drift.kind == kind).count();
        DriftKind::ALL.into_iter().map(|kind| (kind, count(kind))).collect()
    }

    /// Why the last round was not complete.
    pub fn reason(&self) -> Option<String> {
        let inner = self.lock();
        (!inner.reasons.is_empty()).then(|| inner.reasons.join("; "))
    }

    /// How many discovered records files have instead.
    pub fn overridden(&self) -> usize {
        self.lock().overridden.len()
    }

    /// Failures so far, by reason.
    pub fn failures(&self) -> Vec<(&'static str, u64)> {
        let inner = self.lock();
        Failure::ALL.iter().map(|failure| (failure.word(), inner.failures.get(failure).copied().unwrap_or(0))).collect()
    }

    /// When the last complete round ended.
    pub fn last_success(&self) -> Option<SystemTime> {
        self.lock().complete_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_told_how_many_records_are_overridden_and_the_first_of_them() {
        let status = Status::default();
        status.note_loaded((0..150).map(|n| n.to_string()).collect(), Vec::new());
        let told = |with_texts| {
            let summary = status.summary(with_texts);
            (summary.overridden.len(), summary.overridden_count)
        };
        assert_eq!((told(true), told(false)), ((OVERRIDDEN_SHOWN, 150), (0, 150)));
    }
}
