//! Every metric by name. Labels have words of bounded sets and upstream addresses in them, never a name that was asked.

use std::time::{Duration, SystemTime};

use prometheus_client::metrics::MetricType;

use super::Admin;
use super::family::{Family, Sample, Value};
use super::process::{descriptors, resident_bytes};
use crate::engine::{AnswerSource, Reason};
use crate::forward::UpstreamState;
use crate::log::{self, Tap};
use crate::server::{BUCKETS_US, Latencies, Path, QtypeLabel, THREADS, Totals};
use crate::wire::Transport;

/// Looks at everything once. The forwarding lock is held for two short calls.
pub(super) fn collect(admin: &Admin) -> Vec<Family> {
    let mut families = Vec::new();
    queries(admin, &mut families);
    forwarding(admin, &mut families);
    memory(admin, &mut families);
    state(admin, &mut families);
    process(admin, &mut families);
    families
}

fn queries(admin: &Admin, families: &mut Vec<Family>) {
    let totals = Totals::of(admin.counters.iter().map(|counters| &**counters));
    let transports = Transport::ALL.into_iter().map(Transport::name);
    families.push(counters(
        "pldns_queries_received",
        "Queries received",
        "transport",
        transports.zip(totals.by_transport),
    ));
    families.push(counters(
        "pldns_queries_by_type",
        "Queries received, by query type",
        "type",
        QtypeLabel::ALL.into_iter().map(QtypeLabel::name).zip(totals.by_kind),
    ));
    families.push(counters(
        "pldns_queries_answered",
        "Queries answered, by source of the answer",
        "source",
        AnswerSource::ALL.into_iter().map(AnswerSource::name).zip(totals.answered),
    ));
    let reasons = |drops: bool| {
        let all = Reason::ALL.into_iter().zip(totals.reasons);
        all.filter(move |(reason, _)| reason.is_drop() == drops).map(|(reason, count)| (reason.name(), count))
    };
    families.push(counters("pldns_queries_refused", "Queries refused, by reason", "reason", reasons(false)));
    families.push(counters(
        "pldns_queries_dropped",
        "Queries dropped without a reply, by reason",
        "reason",
        reasons(true),
    ));
    families.push(counters(
        "pldns_faults",
        "Panics caught, by part of the server",
        "part",
        admin.shared.faults.by_part().map(|(part, count)| (part.name(), count)),
    ));
    let expires = admin.shared.certificates.current().map_or(0.0, |certificate| unix(certificate.not_after()));
    families.push(gauge(
        "pldns_certificate_expiry_timestamp_seconds",
        "Expiry time of the certificate of the encrypted listeners; 0 without one",
        expires,
    ));
    let findings = admin.shared.engine.findings();
    families.push(counters(
        "pldns_public_answers",
        "Public addresses for names whose service has a private endpoint record here, by action",
        "action",
        findings.public_answers().map(|(action, count)| (action.name(), count)),
    ));
    families.push(counter(
        "pldns_public_fallback",
        "Privatelink names queried at `azure.public_fallback`",
        findings.fallbacks(),
    ));
    let sample =
        |(zone, count): (Box<str>, u64)| Sample { labels: vec![("zone", zone.into())], value: Value::Counter(count) };
    families.push(Family {
        name: "pldns_shadowed",
        help: "Privatelink names that a linked private DNS zone does not have, by zone",
        kind: MetricType::Counter,
        samples: findings.shadowed().into_iter().map(sample).collect(),
    });
    let connections = admin.shared.connections.refused();
    families.push(counters(
        "pldns_connections_refused",
        "Connections refused or closed early, by reason",
        "reason",
        [
            ("not_allowed", admin.shared.not_allowed()),
            ("per_address", connections.per_address),
            ("full", connections.full),
            ("replaced", connections.replaced),
        ],
    ));
    let samples = Path::ALL.into_iter().zip(&totals.latency);
    families.push(Family {
        name: "pldns_answer_duration_seconds",
        help: "Time from query to response, by path",
        kind: MetricType::Histogram,
        samples: samples
            .map(|(path, latencies)| Sample {
                labels: vec![("path", path.name().to_owned())],
                value: histogram(latencies),
            })
            .collect(),
    });
}

fn histogram(latencies: &Latencies) -> Value {
    let ends = BUCKETS_US.into_iter().map(|micros| micros as f64 / 1e6);
    Value::Histogram(latencies.nanoseconds as f64 / 1e9, ends.chain([f64::INFINITY]).zip(latencies.buckets).collect())
}

fn forwarding(admin: &Admin, families: &mut Vec<Family>) {
    let (counts, outstanding, upstreams) = {
        let forwarding = admin.shared.forwarding();
        let upstreams: Vec<_> = forwarding.upstream_states().collect();
        (forwarding.counts(), forwarding.len(), upstreams)
    };
    families.push(counter("pldns_forward_queries_sent", "Queries sent to upstreams, including retries", counts.sent));
    families.push(counter(
        "pldns_forward_questions_joined",
        "Queries that joined an identical question already outstanding",
        counts.joined,
    ));
    families.push(counter(
        "pldns_forward_refreshes",
        "Questions sent to refresh an answer in the cache",
        counts.refreshes,
    ));
    families.push(counter(
        "pldns_forward_questions_queued",
        "Questions queued, for a budget or an upstream that was down",
        counts.queued,
    ));
    let ignored = [("unrelated", counts.unrelated), ("suspicious", counts.suspicious)];
    families.push(counters(
        "pldns_forward_datagrams_ignored",
        "Datagrams from upstreams that matched no query, by reason",
        "reason",
        ignored,
    ));
    families.push(counter("pldns_forward_answers_truncated", "Truncated answers retried over TCP", counts.cut));
    families.push(gauge("pldns_forward_questions_outstanding", "Questions outstanding or queued", outstanding as f64));
    upstream_gauges(&upstreams, families);
}

fn upstream_gauges(upstreams: &[UpstreamState], families: &mut Vec<Family>) {
    let by_upstream = |name, help, value: &dyn Fn(&UpstreamState) -> Option<f64>| Family {
        name,
        help,
        kind: MetricType::Gauge,
        samples: upstreams
            .iter()
            .filter_map(|state| {
                Some(Sample {
                    labels: vec![("upstream", state.target.to_string())],
                    value: Value::Gauge(value(state)?),
                })
            })
            .collect(),
    };
    families.push(by_upstream("pldns_upstream_up", "1 if the upstream responds", &|state| {
        Some(f64::from(u8::from(!state.is_down)))
    }));
    families.push(by_upstream("pldns_upstream_rtt_seconds", "Smoothed response time of the upstream", &|state| {
        state.rtt.map(|rtt| rtt.as_secs_f64())
    }));
    families.push(by_upstream(
        "pldns_upstream_pending",
        "Queries sent to the upstream and not answered yet: the used part of its pending budget",
        &|state| Some(f64::from(state.pending)),
    ));
    families.push(by_upstream("pldns_upstream_waiting", "Questions queued for the upstream", &|state| {
        Some(state.waiting as f64)
    }));
}

fn memory(admin: &Admin, families: &mut Vec<Family>) {
    let (entries, bytes) = admin.shared.engine.cache().size();
    families.push(gauge("pldns_cache_entries", "Answers in the cache", entries as f64));
    families.push(gauge("pldns_cache_bytes", "Memory of the cache's entries, overhead included", bytes as f64));
    let snapshot = admin.shared.snapshot.load();
    let stats = snapshot.table.stats();
    families.push(gauge("pldns_table_records", "Records in the table", stats.records as f64));
    families.push(gauge("pldns_table_names", "Names that have records", stats.names as f64));
    families.push(gauge("pldns_table_bytes", "Memory of the table", snapshot.table.memory() as f64));
    families.push(gauge(
        "pldns_memory_bound_bytes",
        "Upper bound of memory for this configuration",
        admin.status.memory_bound() as f64,
    ));
    if let Some(bytes) = resident_bytes() {
        families.push(gauge("process_resident_memory_bytes", "Resident memory", bytes as f64));
    }
}

fn state(admin: &Admin, families: &mut Vec<Family>) {
    let reloads = admin.status.reloads();
    families.push(gauge(
        "pldns_ready",
        "1 if the server is ready for queries",
        f64::from(u8::from(admin.status.is_ready())),
    ));
    families.push(gauge(
        "pldns_workers_stuck",
        "1 if a worker is stalled",
        f64::from(u8::from(admin.status.is_stuck())),
    ));
    families.push(counters(
        "pldns_reloads",
        "Reloads, by outcome",
        "outcome",
        [("accepted", reloads.accepted), ("rejected", reloads.rejected)],
    ));
    families.push(gauge(
        "pldns_reload_last_accepted",
        "1 if the last reload was accepted",
        f64::from(u8::from(reloads.last.accepted)),
    ));
    families.push(gauge(
        "pldns_reload_problems",
        "Errors and warnings of the last reload",
        reloads.last.problem_count as f64,
    ));
    families.push(gauge(
        "pldns_reload_accepted_timestamp_seconds",
        "Time of the last accepted reload",
        unix(reloads.accepted_time),
    ));
    families.push(gauge(
        "pldns_snapshot_generation",
        "Number of the settings and records that serve; grows with every accepted reload",
        reloads.last.generation as f64,
    ));
    let discover = admin.discover.summary(false);
    families.push(counters(
        "pldns_discover_failures",
        "Subscriptions and management groups that a discovery round could not read, by reason",
        "reason",
        admin.discover.failures(),
    ));
    families.push(gauge("pldns_discover_records", "Records that discovery found", discover.records as f64));
    families.push(gauge(
        "pldns_discover_last_success_timestamp_seconds",
        "Time of the last discovery round that read every subscription; 0 before the first",
        admin.discover.last_success().map_or(0.0, unix),
    ));
    let drift = admin.discover.drift_counts().into_iter();
    families.push(Family {
        name: "pldns_discover_drift",
        help: "Endpoints, records and zones that do not fit together, by kind",
        kind: MetricType::Gauge,
        samples: drift
            .map(|(kind, count)| Sample {
                labels: vec![("kind", kind.word().to_owned())],
                value: Value::Gauge(count as f64),
            })
            .collect(),
    });
    families.push(gauge(
        "pldns_connections",
        "Connections of clients, whatever their transport",
        admin.shared.connections.len() as f64,
    ));
    let [sent, dropped] = admin.shared.tap.get().map_or([0; 2], Tap::counts);
    families.push(counters(
        "pldns_dnstap_messages",
        "Messages for dnstap, by outcome",
        "outcome",
        [("sent", sent), ("dropped", dropped)],
    ));
    families.push(counter(
        "pldns_log_lines_dropped",
        "Log lines dropped because the output was too slow",
        log::dropped(),
    ));
}

fn process(admin: &Admin, families: &mut Vec<Family>) {
    families.push(gauge("pldns_workers", "Workers", (admin.counters.len() / THREADS) as f64));
    families.push(Family {
        name: "pldns_build_info",
        help: "Version of the server",
        kind: MetricType::Gauge,
        samples: vec![Sample {
            labels: vec![("version", env!("CARGO_PKG_VERSION").to_owned())],
            value: Value::Gauge(1.0),
        }],
    });
    families.push(gauge("process_start_time_seconds", "Start time of the process", unix(admin.status.started_at)));
    let (open, limit) = descriptors();
    if let Some(open) = open {
        families.push(gauge("process_open_fds", "Open file descriptors", open as f64));
    }
    if let Some(limit) = limit {
        families.push(gauge("process_max_fds", "Limit of open file descriptors", limit as f64));
    }
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

fn counter(name: &'static str, help: &'static str, count: u64) -> Family {
    Family {
        name,
        help,
        kind: MetricType::Counter,
        samples: vec![Sample { labels: Vec::new(), value: Value::Counter(count) }],
    }
}

fn counters(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    counts: impl IntoIterator<Item = (&'static str, u64)>,
) -> Family {
    let samples = counts
        .into_iter()
        .map(|(word, count)| Sample { labels: vec![(label, word.to_owned())], value: Value::Counter(count) });
    Family { name, help, kind: MetricType::Counter, samples: samples.collect() }
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Family {
    Family {
        name,
        help,
        kind: MetricType::Gauge,
        samples: vec![Sample { labels: Vec::new(), value: Value::Gauge(value) }],
    }
}
