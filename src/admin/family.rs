//! Metrics as they are collected, before they are text.

use prometheus_client::metrics::MetricType;

/// All samples of one name.
#[derive(Debug)]
pub(super) struct Family {
    /// Without the `_total` of counters.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    pub(super) samples: Vec<Sample>,
}

/// One line, or the lines of one histogram.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

/// A value of each kind.
#[derive(Debug)]
pub(super) enum Value {
    Counter(u64),
    Gauge(f64),
    /// Sum, and the upper end and count of each bucket alone.
    Histogram(f64, Vec<(f64, u64)>),
}
