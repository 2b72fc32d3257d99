//! The last hour in samples of ten seconds, for the status page: a ring of fixed size.
//!
//! The control thread adds a sample every [`INTERVAL`] from the counters that are there anyway; the query path knows nothing
//! of it. The newest sample is the time since the last one, taken when it is asked for.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use crate::engine::AnswerSource;
use crate::forward::{Target, UpstreamState};
use crate::server::{BUCKETS_US, Latencies, Path, Totals};

/// The time of one sample.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// Samples: an hour.
const SAMPLES: usize = 360;
/// Bytes of all samples.
pub const HISTORY_BYTES: usize = SAMPLES * size_of::<Sample>();
/// Upstreams whose rate is known. Those of a configuration are few; what is gone is forgotten with the next sample.
const UPSTREAMS_MAX: usize = 256;
/// A latency where nothing was answered.
const NONE: u32 = u32::MAX;

/// What was counted in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    milliseconds: u32,
    answered: [u32; AnswerSource::ALL.len()],
    refused: u32,
    dropped: u32,
    /// Queries sent to upstreams.
    sent: u32,
    /// The median and the 99th percentile by path, microseconds; [`NONE`] where nothing was answered.
    latency: [[u32; 2]; Path::ALL.len()],
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    /// Those of the workers.
    pub(super) totals: Totals,
    /// Queries sent to upstreams.
    pub(super) sent: u64,
}

/// The ring. The control thread writes it, pages read it.
#[derive(Debug)]
pub struct History(Mutex<Ring>);

#[derive(Debug)]
struct Ring {
    samples: VecDeque<Sample>,
    last: Counted,
    last_at: Instant,
    /// Queries sent to each upstream until the last sample, and how many a second in it.
    upstreams: HashMap<Target, (u64, f64)>,
}

impl History {
    /// Nothing yet; counts from `now` on.
    pub fn new(now: Instant) -> Self {
        let samples = VecDeque::with_capacity(SAMPLES);
        Self(Mutex::new(Ring { samples, last: Counted::default(), last_at: now, upstreams: HashMap::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock()
    }

    /// Adds a sample of the time since the last one.
    pub(super) fn note(&self, counted: Counted, upstreams: &[UpstreamState], now: Instant) {
        let mut ring = self.lock();
        let sample = ring.since_last(&counted, now);
        let seconds = f64::from(sample.milliseconds.max(1)) / 1000.0;
        if ring.samples.len() >= SAMPLES {
            ring.samples.pop_front();
        }
        ring.samples.push_back(sample);
        let rate = |state: &UpstreamState| {
            let before = ring.upstreams.get(&state.target).map_or(0, |(sent, _)| *sent);
            (state.target.clone(), (state.sent, state.sent.saturating_sub(before) as f64 / seconds))
        };
        let rates = upstreams.iter().take(UPSTREAMS_MAX).map(rate).collect();
        ring.upstreams = rates;
        (ring.last, ring.last_at) = (counted, now);
    }

    /// Queries a second to an upstream, in the last sample.
    pub(super) fn rate(&self, target: &Target) -> f64 {
        self.lock().upstreams.get(target).map_or(0.0, |(_, rate)| (rate * 10.0).round() / 10.0)
    }

    /// All samples for the page, the oldest first; the last is the time since the last one in the ring.
    pub(super) fn shown(&self, counted: &Counted, now: Instant) -> Value {
        let ring = self.lock();
        let mut samples: Vec<Sample> = ring.samples.iter().copied().collect();
        samples.push(ring.since_last(counted, now));
        drop(ring);
        let column = |of: &dyn Fn(&Sample) -> u32| -> Vec<u32> { samples.iter().map(of).collect() };
        let named = AnswerSource::ALL.iter().enumerate().map(|(number, source)| {
            (source.name().to_owned(), json!(column(&|sample| sample.answered.get(number).copied().unwrap_or(0))))
        });
        let answered: serde_json::Map<String, Value> = named.collect();
        let latency = Path::ALL.iter().enumerate().map(|(number, path)| {
            let of = |which: usize| -> Vec<Option<u32>> {
                let value = |sample: &Sample| sample.latency.get(number).and_then(|both| both.get(which)).copied();
                samples.iter().map(|sample| value(sample).filter(|micros| *micros != NONE)).collect()
            };
            (path.name().to_owned(), json!({ "p50": of(0), "p99": of(1) }))
        });
        let latency: serde_json::Map<String, Value> = latency.collect();
        json!({
            "interval_seconds": INTERVAL.as_secs(),
            "capacity": SAMPLES,
            "milliseconds": column(&|sample| sample.milliseconds),
            "answered": answered,
            "refused": column(&|sample| sample.refused),
            "dropped": column(&|sample| sample.dropped),
            "sent": column(&|sample| sample.sent),
            "latency_us": latency,
        })
    }
}

impl Ring {
    fn since_last(&self, counted: &Counted, now: Instant) -> Sample {
        let (before, after) = (&self.last.totals, &counted.totals);
        let mut answered = [0; AnswerSource::ALL.len()];
        for (place, (before, after)) in answered.iter_mut().zip(before.answered.iter().zip(&after.answered)) {
            *place = gain(*before, *after);
        }
        let mut latency = [[NONE; 2]; Path::ALL.len()];
        for (place, (before, after)) in latency.iter_mut().zip(before.latency.iter().zip(&after.latency)) {
            *place = [quantile(before, after, 50), quantile(before, after, 99)];
        }
        Sample {
            milliseconds: u32::try_from(now.saturating_duration_since(self.last_at).as_millis()).unwrap_or(NONE),
            answered,
            refused: gain(before.refused(), after.refused()),
            dropped: gain(before.dropped(), after.dropped()),
            sent: gain(self.last.sent, counted.sent),
            latency,
        }
    }
}

fn gain(before: u64, after: u64) -> u32 {
    u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX)
}

/// Below how many microseconds so many of a hundred answers were, those between two moments; between the ends of a bucket as if
/// they lay evenly in it.
fn quantile(before: &Latencies, after: &Latencies, hundredths: u64) -> u32 {
    let counts = || before.buckets.iter().zip(&after.buckets).map(|(before, after)| after.saturating_sub(*before));
    let all: u64 = counts().sum();
    if all == 0 {
        return NONE;
    }
    let rank = (all * hundredths).div_ceil(100);
    let (mut below, mut start) = (0, 0);
    for (count, end) in counts().zip(BUCKETS_US.into_iter().chain([u64::MAX])) {
        if count > 0 && below + count >= rank {
            // The last bucket has no end: it is at least as much as its beginning.
            let width = if end == u64::MAX { 0 } else { end - start };
            return u32::try_from(start + width * (rank - below) / count).unwrap_or(NONE - 1);
        }
        (below, start) = (below + count, end);
    }
    NONE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(answered: u64, bucket: usize) -> Counted {
        let mut totals = Totals::default();
        totals.answered[0] = answered;
        totals.latency[0].buckets[bucket] = answered;
        Counted { totals, sent: answered * 2 }
    }

    #[test]
    fn the_ring_has_an_hour_and_no_more() {
        let start = Instant::now();
        let history = History::new(start);
        for number in 1..=1000 {
            history.note(counted(number * 50, 0), &[], start + INTERVAL * u32::try_from(number).unwrap());
        }
        let shown = history.shown(&counted(50_007, 0), start + INTERVAL * 1000 + Duration::from_secs(3));
        let answered = shown["answered"]["record"].as_array().unwrap();
        assert_eq!(answered.len(), SAMPLES + 1);
        assert!(answered[..SAMPLES].iter().all(|count| *count == 50), "{answered:?}");
        assert_eq!((&answered[SAMPLES], &shown["milliseconds"][SAMPLES]), (&7.into(), &3000.into()));
        assert_eq!((&shown["sent"][0], &shown["milliseconds"][0]), (&100.into(), &10_000.into()));
        assert_eq!(shown["latency_us"]["cache"]["p50"][0], Value::Null, "nothing was answered so");
        const { assert!(HISTORY_BYTES <= 32 << 10) };
        assert!(shown.to_string().len() < 64 << 10, "{} bytes", shown.to_string().len());
    }

    #[test]
    fn percentiles_are_of_the_interval_alone() {
        let (none, mut first, mut second) = (Latencies::default(), Latencies::default(), Latencies::default());
        assert_eq!(quantile(&none, &none, 99), NONE);
        first.buckets[3] = 100;
        assert_eq!(quantile(&none, &first, 50), 75, "50 to 100 us");
        assert_eq!(quantile(&none, &first, 99), 99);
        (second.buckets[3], second.buckets[18]) = (100, 5);
        assert_eq!(quantile(&first, &second, 50), 5_000_000, "what came before does not count");
        second.buckets[0] = 995;
        assert!(quantile(&first, &second, 50) <= 10 && quantile(&first, &second, 99) <= 10);
    }

    #[test]
    fn the_rate_of_an_upstream_is_that_of_the_last_sample() {
        use crate::forward::Protocol;
        let start = Instant::now();
        let target = Target { address: "10.0.0.4:53".parse().unwrap(), protocol: Protocol::Datagram };
        let history = History::new(start);
        let state = |sent| UpstreamState { target: target.clone(), sent, ..UpstreamState::new(&target) };
        history.note(Counted::default(), &[state(100)], start + INTERVAL);
        history.note(Counted::default(), &[state(350)], start + INTERVAL * 2);
        assert_eq!(history.rate(&target), 25.0);
        history.note(Counted::default(), &[], start + INTERVAL * 3);
        assert_eq!(history.rate(&target), 0.0, "gone");
    }
}
