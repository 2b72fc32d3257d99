//! Metrics as text. The `prometheus-client` crate writes OpenMetrics; the older Prometheus text differs from it in a few
//! lines, which are rewritten here.

use std::fmt::{Error, Write};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::registry::Registry;

use super::Admin;
use super::collect::collect;
use super::family::{Family, Value};

/// In which of the two text formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Prometheus,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Labels of exemplars, of which there are none.
type NoLabels = [(&'static str, &'static str); 0];

#[derive(Debug)]
struct Families(Vec<Family>);

/// Looks at everything once and writes it down.
pub(super) fn render(admin: &Admin, format: Format) -> Result<String, Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(collect(admin))));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    match format {
        Format::OpenMetrics => Ok(text),
        Format::Prometheus => to_prometheus(&text),
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        for family in &self.0 {
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, family.kind)?;
            for sample in &family.samples {
                if sample.labels.is_empty() {
                    encode(&mut metric, &sample.value)?;
                } else {
                    encode(&mut metric.encode_family(&sample.labels)?, &sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn encode(encoder: &mut MetricEncoder<'_>, value: &Value) -> Result<(), Error> {
    match value {
        Value::Counter(count) => encoder.encode_counter::<NoLabels, _, u64>(count, None),
        Value::Gauge(value) => encoder.encode_gauge(value),
        Value::Histogram(sum, buckets) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<NoLabels>(*sum, count, buckets, None)
        }
    }
}

/// In the older format a counter is called by its whole name in HELP and TYPE as well, help ends without a dot of its
/// own, and there is no end mark.
fn to_prometheus(text: &str) -> Result<String, Error> {
    let counters: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF"), ..) => {}
            (Some("#"), Some(word), Some(name), Some(rest)) if counters.contains(&name) => {
                writeln!(out, "# {word} {name}_total {rest}")?;
            }
            _ => writeln!(out, "{line}")?,
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::MetricType;

    use super::super::family::Sample;
    use super::*;

    fn text_of(families: Vec<Family>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Families(families)));
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        out
    }

    #[test]
    fn both_formats() {
        let text = text_of(vec![
            Family {
                name: "pldns_a",
                help: "Things",
                kind: MetricType::Counter,
                samples: vec![Sample { labels: vec![("kind", "x\"y".to_owned())], value: Value::Counter(3) }],
            },
            Family {
                name: "pldns_t_seconds",
                help: "Times",
                kind: MetricType::Histogram,
                samples: vec![Sample {
                    labels: vec![],
                    value: Value::Histogram(0.5, vec![(0.1, 1), (f64::INFINITY, 2)]),
                }],
            },
        ]);
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert!(text.contains("# TYPE pldns_a counter\npldns_a_total{kind=\"x\\\"y\"} 3\n"), "{text}");
        let older = to_prometheus(&text).unwrap();
        assert!(older.contains("# HELP pldns_a_total Things"), "{older}");
        assert!(older.contains("# TYPE pldns_a_total counter\npldns_a_total{"), "{older}");
        assert!(older.contains("pldns_t_seconds_bucket{le=\"+Inf\"} 3\n"), "{older}");
        assert!(!older.contains("EOF"));
    }
}
