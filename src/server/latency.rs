//! How long answers took: histograms with fixed buckets, written by one worker without locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::AnswerSource;

/// The upper ends of the buckets, microseconds; one more bucket holds the rest.
pub const BUCKETS_US: [u64; 18] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000,
];

/// By which way an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// From the table, or from what is always known here.
    Records,
    /// From the cache.
    Cache,
    /// After waiting for an upstream, whatever came of it.
    Forwarded,
}

impl Path {
    /// All of them, in the order of their histograms.
    pub const ALL: [Self; 3] = [Self::Records, Self::Cache, Self::Forwarded];

    /// The word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Cache => "cache",
            Self::Forwarded => "forwarded",
        }
    }

    /// The path of an answer that was given at once.
    pub(super) fn at_once(source: AnswerSource) -> Self {
        match source {
            AnswerSource::Cache | AnswerSource::Stale => Self::Cache,
            _ => Self::Records,
        }
    }
}

/// One worker's histogram of one path.
#[derive(Debug, Default)]
pub(super) struct Latency {
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    nanoseconds: AtomicU64,
}

impl Latency {
    /// Counts queries that took as long.
    pub(super) fn add(&self, took: Duration, count: u64) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|&end| end.saturating_mul(1000) < nanoseconds);
        if let Some(bucket) = self.buckets.get(bucket) {
            add(bucket, count);
        }
        add(&self.nanoseconds, nanoseconds.saturating_mul(count));
    }
}

/// The histograms of all workers added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Queries in each bucket alone; the last is that of the rest.
    pub buckets: [u64; BUCKETS_US.len() + 1],
    /// All their times together.
    pub nanoseconds: u64,
}

impl Latencies {
    pub(super) fn add(&mut self, latency: &Latency) {
        for (total, bucket) in self.buckets.iter_mut().zip(&latency.buckets) {
            *total += bucket.load(Ordering::Relaxed);
        }
        self.nanoseconds = self.nanoseconds.wrapping_add(latency.nanoseconds.load(Ordering::Relaxed));
    }
}

/// Only one thread writes a counter, so no read-modify-write cycle is needed.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_buckets() {
        let latency = Latency::default();
        for (micros, count) in [(0, 1), (10, 2), (11, 4), (5_000_000, 8), (5_000_001, 16), (90_000_000, 32)] {
            latency.add(Duration::from_micros(micros), count);
        }
        let mut all = Latencies::default();
        all.add(&latency);
        assert_eq!(all.buckets[0], 3);
        assert_eq!(all.buckets[1], 4);
        assert_eq!(all.buckets[17], 8);
        assert_eq!(all.buckets[18], 48);
        assert_eq!(all.nanoseconds / 1000, 20 + 44 + 40_000_000 + 80_000_016 + 2_880_000_000);
    }
}
