//! What is behind each path.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::guard::Parameters;
use super::metrics::{Format, render};
use super::refusal::refuse;
use super::{Admin, OPENAPI, ReloadCause, ReloadRequest, log, overview};
use crate::config::LogLevel;
use crate::wire::{Name, NameBuf};

/// The process runs, its control thread answers, and every worker makes progress: where not, only a restart helps.
pub(super) async fn healthz(State(admin): State<Arc<Admin>>) -> Response {
    let (status, word) = match admin.status.is_stuck() {
        false => (StatusCode::OK, "ok"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "stuck"),
    };
    (status, [(CACHE_CONTROL, "no-store")], Json(json!({ "status": word }))).into_response()
}

/// Whether queries should come here. A broken reload and dead upstreams are told, and change nothing: what is true of
/// all replicas at once must not take all of them out.
pub(super) async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    readiness(&admin, true)
}

/// The same for everybody: problems name records and paths, which only operators may see.
pub(super) async fn readyz_counts(State(admin): State<Arc<Admin>>) -> Response {
    readiness(&admin, false)
}

fn readiness(admin: &Admin, with_texts: bool) -> Response {
    let is_ready = admin.status.is_ready();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (reloads, now) = (admin.status.reloads(), Instant::now());
    let states: Vec<_> = admin.shared.forwarding().upstream_states().collect();
    let mut body = json!({
        "status": admin.status.word(),
        "reload": overview::reload(&reloads, now),
    });
    body["reload"]["records"] = json!(reloads.last.records);
    if with_texts {
        body["reload"]["problems"] = json!(reloads.last.problems);
        body["upstreams"] = states.iter().map(|state| overview::upstream(state, now)).collect();
    } else {
        let down = states.iter().filter(|state| state.is_down).count();
        body["upstreams"] = json!({ "up": states.len() - down, "down": down });
    }
    body["discover"] = json!(admin.discover.summary(with_texts));
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// All metrics, as OpenMetrics text where the client takes it, else as Prometheus text.
pub(super) async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = if accepts.is_some_and(|accepts| accepts.contains("application/openmetrics-text")) {
        Format::OpenMetrics
    } else {
        Format::Prometheus
    };
    match render(&admin, format) {
        Ok(text) => ([(CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// What does not fit together: endpoints, records, zones.
pub(super) async fn drift(State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json(json!({ "discover": admin.discover.summary(true), "drift": admin.discover.drift() }))
}

/// How full the cache is.
pub(super) async fn cache(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let (entries, bytes) = admin.shared.engine.cache().size();
    Json(json!({ "entries": entries, "bytes": bytes }))
}

/// Whose answers to remove.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flush {
    name: String,
}

/// Removes what the cache has for a name, of all types.
pub(super) async fn flush(State(admin): State<Arc<Admin>>, Parameters(flush): Parameters<Flush>, _: Bytes) -> Response {
    let name = match Name::parse(&flush.name) {
        Ok(name) => name,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &format!("`name` is not a valid domain name: {error}")),
    };
    let mut name_buf = NameBuf::new();
    name_buf.lower(name.as_wire());
    let removed = admin.shared.engine.cache().remove_name(name_buf.name());
    tracing::info!(%name, removed, "cache flushed");
    Json(json!({ "name": name.to_string(), "removed": removed })).into_response()
}

/// Reads settings and records again; 422 with all problems when they are broken, and then the old ones go on serving.
pub(super) async fn reload(State(admin): State<Arc<Admin>>, _: Bytes) -> Response {
    let (outcome, report) = oneshot::channel();
    // Another request may stand before this one; more than a few mean that their answers are not read.
    if admin.reloads.try_send(ReloadRequest { cause: ReloadCause::Request, reply: Some(outcome) }).is_err() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "a reload is under way");
    }
    match report.await {
        Ok(report) if report.accepted => Json(report).into_response(),
        Ok(report) => (StatusCode::UNPROCESSABLE_ENTITY, Json(report)).into_response(),
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"),
    }
}

/// What the log should say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    level: String,
}

/// Sets the level of the log until the next reload.
pub(super) async fn log(Parameters(level): Parameters<Level>, _: Bytes) -> Response {
    match LogLevel::parse(&level.level) {
        Some(parsed) => {
            log::set_level(parsed);
            Json(json!({ "level": level.level })).into_response()
        }
        None => refuse(StatusCode::BAD_REQUEST, "`level` must be one of error, warn, info, debug, trace"),
    }
}

/// The description of all this.
pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
