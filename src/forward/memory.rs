//! What is remembered of questions for a short while: that they failed, and which zones are slow.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Failures and zones remembered at once.
const REMEMBERED_MAX: usize = 10_000;
/// How often a full memory is looked through.
const PURGE_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes of a failing answer that is remembered; of a longer one only that it was there.
const ANSWER_MAX: usize = 1232;
/// Bytes of all that is remembered, at most.
pub const REMEMBERED_BYTES_MAX: usize = REMEMBERED_MAX * (ANSWER_MAX + 2 * 512);
/// How long a first failure is remembered (RFC 9520 §3.2: at least 1 s), and the longest.
const FAILURE_FIRST: Duration = Duration::from_secs(1);
const FAILURE_MAX: Duration = Duration::from_secs(5);
/// How long a zone is taken for slow after a slow answer.
const SLOW_FOR: Duration = Duration::from_secs(30);

/// A failure: the upstream's own answer that says so, or silence.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) answer: Option<Arc<[u8]>>,
    until: Instant,
    span: Duration,
}

/// Questions that failed a moment ago: they are not asked again at once (RFC 9520).
#[derive(Debug, Default)]
pub(super) struct FailureMemory(HashMap<Box<[u8]>, Failed, foldhash::fast::RandomState>, Purges);

impl FailureMemory {
    /// Remembers a failure: 1 s the first time, twice as long each time it follows the one before, at most 5 s.
    pub(super) fn remember(&mut self, key: &[u8], answer: Option<Arc<[u8]>>, now: Instant) {
        if self.0.len() >= REMEMBERED_MAX {
            if self.1.is_due(now) {
                self.0.retain(|_, failed| failed.until > now);
            }
            if self.0.len() >= REMEMBERED_MAX {
                return;
            }
        }
        let answer = answer.filter(|answer| answer.len() <= ANSWER_MAX);
        let before = self.0.get(key).filter(|failed| failed.until + FAILURE_MAX > now);
        let span = before.map_or(FAILURE_FIRST, |failed| (failed.span * 2).min(FAILURE_MAX));
        self.0.insert(key.into(), Failed { answer, until: now + span, span });
    }

    /// The failure of a question, if it is still remembered.
    pub(super) fn recall(&self, key: &[u8], now: Instant) -> Option<&Failed> {
        self.0.get(key).filter(|failed| failed.until > now)
    }

    /// A question was answered.
    pub(super) fn forget(&mut self, key: &[u8]) {
        if !self.0.is_empty() {
            self.0.remove(key);
        }
    }
}

/// Zones whose names an upstream is slow to answer. A name's zone is taken to be its parent.
#[derive(Debug, Default)]
pub(super) struct SlowZones(HashMap<Box<[u8]>, Slow, foldhash::fast::RandomState>, Purges);

/// A zone that is slow.
#[derive(Debug, Clone, Copy)]
struct Slow {
    until: Instant,
    /// How long its answers take, as far as is known.
    took: Duration,
}

impl SlowZones {
    /// Notes a zone whose answer took so long, or has not come yet after so long.
    pub(super) fn note(&mut self, question: &[u8], took: Duration, now: Instant) {
        if self.0.len() >= REMEMBERED_MAX && self.1.is_due(now) {
            self.0.retain(|_, slow| slow.until > now);
        }
        if self.0.len() < REMEMBERED_MAX {
            let slow = self.0.entry(zone_of(question).into()).or_insert(Slow { until: now, took });
            // Names of a zone differ: what is expected of the next is near the shortest.
            slow.took = if took < slow.took { took } else { (slow.took * 3 + took) / 4 };
            slow.until = now + SLOW_FOR;
        }
    }

    /// How long an answer takes, where its zone is known to be slow.
    pub(super) fn expected(&self, question: &[u8], now: Instant) -> Option<Duration> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&*zone_of(question)).filter(|slow| slow.until > now).map(|slow| slow.took)
    }

    pub(super) fn forget(&mut self, question: &[u8]) {
        if !self.0.is_empty() {
            self.0.remove(&*zone_of(question));
        }
    }

    pub(super) fn holds(&self, question: &[u8], now: Instant) -> bool {
        self.expected(question, now).is_some()
    }
}

/// When a full memory was last looked through: not for every failure of a flood.
#[derive(Debug, Default)]
struct Purges(Option<Instant>);

impl Purges {
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|last| now.saturating_duration_since(last) >= PURGE_INTERVAL);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

/// The name above a question's name, lower case.
fn zone_of(question: &[u8]) -> Vec<u8> {
    let name = question.get(..question.len().saturating_sub(4)).unwrap_or_default();
    crate::wire::name::parent(name).unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_remembered_longer_each_time() {
        #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
        let mut now = Instant::now();
        let mut memory = FailureMemory::default();
        for seconds in [1, 2, 4, 5, 5] {
            memory.remember(b"q", None, now);
            assert!(memory.recall(b"q", now + Duration::from_secs(seconds) - Duration::from_millis(1)).is_some());
            now += Duration::from_secs(seconds);
            assert!(memory.recall(b"q", now).is_none(), "after {seconds} s");
        }
        memory.forget(b"q");
        memory.remember(b"q", None, now);
        assert!(memory.recall(b"q", now + Duration::from_secs(1)).is_none(), "an answer starts again");
    }

    #[test]
    fn memory_is_bounded() {
        #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
        let now = Instant::now();
        let mut memory = FailureMemory::default();
        let mut zones = SlowZones::default();
        for n in 0..(REMEMBERED_MAX as u32 * 2) {
            memory.remember(&n.to_be_bytes(), None, now);
            let question = [&[1, b'a', 4][..], &n.to_be_bytes(), &[0, 0, 1, 0, 1]].concat();
            zones.note(&question, Duration::from_secs(1), now);
        }
        assert_eq!((memory.0.len(), zones.0.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
    }
}
