//! `/status` and `/history`: what the status page shows.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Admin;
use super::found::FOUND_MAX;
use super::history::Counted;
use super::process::resident_bytes;
use super::status::Reloads;
use crate::discover::{Drift, DriftKind};
use crate::forward::UpstreamState;
use crate::server::{THREADS, Totals};

/// Problems of the last reload that are shown.
const PROBLEMS: usize = 10;

impl Admin {
    /// Adds a sample to the history and moves the clock by which clients are remembered. To be called every
    /// [`INTERVAL`](super::INTERVAL).
    pub fn sample(&self, now: Instant) {
        let states: Vec<_> = self.shared.forwarding().upstream_states().collect();
        self.history.note(self.counted(), &states, now);
        let since_start = now.saturating_duration_since(self.status.started);
        self.counters.iter().for_each(|counters| counters.clients.set_time(since_start));
    }

    fn counted(&self) -> Counted {
        let totals = Totals::of(self.counters.iter().map(|counters| &**counters));
        Counted { totals, sent: self.shared.forwarding().counts().sent }
    }
}

/// The last hour.
pub(super) async fn history(State(admin): State<Arc<Admin>>) -> Response {
    fresh(admin.history.shown(&admin.counted(), Instant::now()))
}

/// What the server is like now.
pub(super) async fn status(State(admin): State<Arc<Admin>>) -> Response {
    let now = Instant::now();
    let reloads = admin.status.reloads();
    let mut reload = reload(&reloads, now);
    reload["problems"] = json!(reloads.last.problems.get(..PROBLEMS).unwrap_or(&reloads.last.problems));
    let (entries, bytes) = admin.shared.engine.cache().size();
    let snapshot = admin.shared.snapshot.load_full();
    let stats = snapshot.table.stats();
    let discover = admin.discover.summary(false);
    let expires = admin.shared.certificates.current().map(|certificate| certificate.not_after());
    let (findings, finding_count) = findings(&admin, now);
    fresh(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": admin.status.word(),
        "stuck": admin.status.is_stuck(),
        "uptime_seconds": now.saturating_duration_since(admin.status.started).as_secs(),
        "workers": admin.counters.len() / THREADS,
        "connections": admin.shared.connections.len(),
        "certificate_expires": expires.map(unix_seconds),
        "reload": reload,
        "table": {
            "names": stats.names,
            "records": stats.records,
            "record_sets": stats.sets,
            "bytes": snapshot.table.memory(),
        },
        "upstreams": upstreams(&admin, now),
        "cache": { "entries": entries, "bytes": bytes, "max_bytes": admin.cache_size },
        "memory": { "resident_bytes": resident_bytes(), "bound_bytes": admin.status.memory_bound() },
        "discover": {
            "state": discover.state,
            "reason": admin.discover.reason(),
            "age_seconds": discover.age_seconds,
            "records": discover.records,
            "overridden": admin.discover.overridden(),
            "drift": discover.drift,
        },
        "findings": findings,
        "finding_count": finding_count,
    }))
}

fn upstreams(admin: &Admin, now: Instant) -> Vec<Value> {
    let states: Vec<_> = admin.shared.forwarding().upstream_states().collect();
    let shown = states.into_iter().map(|state| {
        let mut shown = upstream(&state, now);
        shown["queries_per_second"] = json!(admin.history.rate(&state.target));
        shown["queries_per_second_max"] = json!(limit(state.limits.queries_per_second));
        shown["pending_max"] = json!(limit(state.limits.pending));
        shown
    });
    shown.collect()
}

/// What all pages show of an upstream.
pub(super) fn upstream(state: &UpstreamState, now: Instant) -> Value {
    json!({
        "upstream": state.target.to_string(),
        "state": if state.is_down { "down" } else { "up" },
        "rtt_seconds": state.rtt.map(|rtt| rtt.as_secs_f64()),
        "pending": state.pending,
        "waiting": state.waiting,
        "last_error": state.last_error.as_ref().map(|(text, at)| json!({
            "text": &**text,
            "age_seconds": now.saturating_duration_since(*at).as_secs(),
        })),
    })
}

/// What all pages show of the last reload.
pub(super) fn reload(reloads: &Reloads, now: Instant) -> Value {
    json!({
        "state": if reloads.last.accepted { "ok" } else { "rejected" },
        "generation": reloads.last.generation,
        "age_seconds": now.saturating_duration_since(reloads.accepted_at).as_secs(),
        "problem_count": reloads.last.problem_count,
    })
}

/// A limit; 0 is none.
fn limit(figure: u32) -> Option<u32> {
    (figure > 0).then_some(figure)
}

/// What the guard found, the newest first, then what does not fit together in Azure; and how many there are.
fn findings(admin: &Admin, now: Instant) -> (Vec<Value>, usize) {
    let found = admin.found.recent();
    let (drift, drift_count) = admin.discover.first_drift(FOUND_MAX);
    let count = found.len() + drift_count;
    let guarded = found.into_iter().map(|one| {
        json!({
            "kind": one.kind,
            "subject": one.name,
            "name": one.name,
            "client": one.client.map(|client| client.to_string()),
            "reason": one.reason,
            "fix": one.fix,
            "age_seconds": now.saturating_duration_since(one.at).as_secs(),
            "is_serious": true,
        })
    });
    let drift = drift.into_iter().map(|drift| {
        json!({
            "kind": drift.kind.word(),
            "name": name_of(&drift),
            "client": null,
            "reason": drift.reason,
            "fix": drift.fix,
            "age_seconds": null,
            "is_serious": false,
            "subject": drift.subject,
        })
    });
    (guarded.chain(drift).take(FOUND_MAX).collect(), count)
}

/// The name that drift concerns, where it is one's.
fn name_of(drift: &Drift) -> Option<String> {
    match drift.kind {
        // The subject is a name and a type.
        DriftKind::RecordWithoutEndpoint => drift.subject.split(' ').next().map(str::to_owned),
        DriftKind::DifferentRecord => Some(drift.subject.clone()),
        _ => drift.names.first().cloned(),
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn fresh(body: Value) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
