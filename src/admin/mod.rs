//! HTTP for operators and probes, on the control thread, never on a worker.
//!
//! ```text
//! health listener ─> accept (bounded) ─> /healthz /readyz
//! admin listener  ─> accept (bounded) ─> Host ─> token ─> cross-site ─> the same, and all of ROUTES
//! ```
//!
//! It reads counters, sizes and the Snapshot, and hands a wish to reload to the task that reloads. It must not know how an
//! answer is found (`/explain` lets the engine say so), and nothing in here may make a worker wait: no lock is held while anything is sent.

#![expect(clippy::disallowed_methods, reason = "the shell owns the clock")]
#![expect(clippy::disallowed_types, reason = "the shell owns sockets")]

mod accept;
mod collect;
mod explain;
mod family;
mod found;
mod guard;
mod history;
mod metrics;
mod overview;
mod page;
mod pages;
mod process;
mod records;
mod refusal;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Router, middleware};
use tokio::sync::{mpsc, oneshot};

pub use accept::{HEAD_MAX, serve_http};
pub use found::{FOUND_BYTES, Found};
pub use history::{HISTORY_BYTES, History, INTERVAL};
pub use status::{PROBLEMS_MAX, ReloadCause, ReloadReport, Status};

use crate::discover;
use crate::explain::AzureNames;
use crate::log;
use crate::server::{Counters, Shared};

/// Bytes of a request's body: no page reads one.
pub const BODY_MAX: usize = 64 << 10;
/// Bytes of a page's body, about: what is listed ends there.
pub const PAGE_BYTES: usize = 256 << 10;

/// Every route of the admin listener: method, path, whether it needs the token. The OpenAPI document says the same.
pub const ROUTES: [(&str, &str, bool); 14] = [
    ("get", "/", true),
    ("get", "/healthz", false),
    ("get", "/readyz", false),
    ("get", "/status", true),
    ("get", "/history", true),
    ("get", "/metrics", true),
    ("get", "/records", true),
    ("get", "/cache", true),
    ("post", "/cache/flush", true),
    ("get", "/explain", true),
    ("get", "/drift", true),
    ("post", "/reload", true),
    ("post", "/log", true),
    ("get", "/openapi.json", true),
];

/// The description of [`ROUTES`] for other programs, OpenAPI 3.1.
pub const OPENAPI: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// Who wants a reload, and where the outcome goes.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Why.
    pub cause: ReloadCause,
    /// Where the report goes, where it is waited for.
    pub reply: Option<oneshot::Sender<ReloadReport>>,
}

/// What the pages show.
pub struct Admin {
    /// The workers' shared state.
    pub shared: Arc<Shared>,
    /// The workers' counters.
    pub counters: Arc<[Arc<Counters>]>,
    /// What the process is about.
    pub status: Arc<Status>,
    /// Where reloads are asked for.
    pub reloads: mpsc::Sender<ReloadRequest>,
    /// The bearer token; nothing: none is demanded.
    pub token: ArcSwapOption<String>,
    /// What is known of Azure's names.
    pub azure: AzureNames,
    /// How discovery is doing.
    pub discover: Arc<discover::Status>,
    /// The last hour.
    pub history: History,
    /// What the guard found lately.
    pub found: Found,
    /// Bytes that the cache may have.
    pub cache_size: u64,
}

/// The access to a page: some are open to every client, others require the token.
#[derive(Clone)]
struct Door {
    admin: Arc<Admin>,
    /// The address is of loopback: then `Host` must be, too.
    is_loopback: bool,
}

/// The service of the health listener, which everybody may ask: states and counts, no texts.
pub fn health_router(admin: Arc<Admin>) -> Router {
    Router::new().route("/healthz", get(pages::healthz)).route("/readyz", get(pages::readyz_counts)).with_state(admin)
}

/// The service of the admin listener at `address`.
pub fn admin_router(admin: Arc<Admin>, address: SocketAddr) -> Router {
    let door = Door { admin: admin.clone(), is_loopback: address.ip().is_loopback() };
    let guarded = Router::new()
        .route("/", get(page::page))
        .route("/status", get(overview::status))
        .route("/history", get(overview::history))
        .route("/metrics", get(pages::metrics))
        .route("/records", get(records::records))
        .route("/cache", get(pages::cache))
        .route("/cache/flush", post(pages::flush))
        .route("/explain", get(explain::explain))
        .route("/drift", get(pages::drift))
        .route("/reload", post(pages::reload))
        .route("/log", post(pages::log))
        .route("/openapi.json", get(pages::openapi))
        .layer(middleware::from_fn(guard::same_site))
        .layer(middleware::from_fn_with_state(door.clone(), guard::token))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(admin.clone());
    Router::new()
        .route("/healthz", get(pages::healthz))
        .route("/readyz", get(pages::readyz))
        .with_state(admin)
        .merge(guarded)
        .layer(middleware::from_fn_with_state(door, guard::host))
}
