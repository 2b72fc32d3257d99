//! The process as a whole, from its start to its end: the control thread.
//!
//! ```text
//! settings and records ─> sockets bound ─> privileges given up ─> workers ─> ready
//!     ─> reloads (SIGHUP, files that changed, POST /reload), admin and health pages, watchdog
//!     ─> SIGTERM: not ready, answering on for a while ─> what is in flight ─> end
//! ```
//!
//! All of it runs in one thread with a runtime of its own; what takes long (reading and compiling files) goes to a thread
//! beside it. Nothing here is on the way of a query.

#![expect(clippy::disallowed_methods, reason = "the shell owns the clock, and settings are files")]

mod certificate;
mod findings;
mod handover;
mod history;
mod http;
mod memory;
mod memory_bound;
mod preflight;
mod privileges;
mod reloading;
mod shutdown;
mod systemd;
mod upstreams;
mod watch;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::sync::mpsc;

use handover::{Handover, PreviousProcess};
use shutdown::{End, Signals, end};
use systemd::Store;
use watch::sibling;

pub use http::HttpError;
pub use memory::memory_limit;
pub use memory_bound::{Bounds, MemoryBound, RecordSizes};
pub use preflight::preflight;
pub use privileges::UserError;

use crate::admin::{Admin, Found, History, PROBLEMS_MAX, ReloadCause, ReloadReport, ReloadRequest, Status};
use crate::cache::Cache;
use crate::config::Settings;
use crate::discover::{self, Starter};
use crate::document::{Diagnostic, Problems, Severity};
use crate::engine::Engine;
use crate::forward::{Forwarding, LoopGuard, UpstreamSets};
use crate::log::{self, Tap, TapTarget};
use crate::records::Table;
use crate::reload::{Changes, Loaded, azure_names, load_with, settings_alone};
use crate::server::{BindError, ConnectionLimits, Endpoint, EndpointKind, Inherited, NewListeners, Shared, start};
use crate::sys::{give_back_memory, has_family};
use crate::upstream::Streams;
use crate::wire::{Name, Rtype};

/// Connections of clients that are kept for the load balancer's probe and this machine.
const KEPT_CONNECTIONS: usize = 32;

/// Reloads that may be asked for while one is under way.
const RELOADS_WAITING: usize = 8;

/// What `serve` cannot do, as the operator should hear it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The settings or records have errors.
    #[error("settings or records have errors: {}", .0.summary())]
    Settings(Problems),
    /// An address for DNS cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An address for HTTP cannot be listened on, or its token not read.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The user cannot be become.
    #[error(transparent)]
    User(#[from] UserError),
    /// The system refuses something.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// What a process is made of, once its sockets are bound.
struct Parts {
    loaded_settings: Settings,
    report: ReloadReport,
    sets: UpstreamSets,
    shared: Arc<Shared>,
    listeners: NewListeners,
    http: http::Bound,
    /// What the process may use, bytes.
    memory_limit: Option<u64>,
    memory_bound: u64,
    bounds: Bounds,
    workers: usize,
    previous: Option<PreviousProcess>,
    store: Store,
}

/// Serves with the settings in the file at `path` until a signal ends it. `listen`, where it is not empty, takes the
/// place of the settings' addresses for DNS.
///
/// # Errors
/// Whatever keeps it from starting. What goes wrong later is logged.
pub fn serve(path: &Path, listen: &[SocketAddr]) -> Result<(), ServeError> {
    // The first table has what was discovered last, so that a start does not need Azure Resource Manager.
    let home = path.parent().unwrap_or_else(|| Path::new("."));
    let discovered = Arc::new(discover::Status::default());
    let starter = discover::start(&settings_alone(path).unwrap_or_default(), home, discovered.clone());
    let mut loaded = load_beside(path, &discovered)?;
    let found_here = preflight(path, &loaded);
    loaded.problems.extend(found_here);
    if loaded.problems.has_errors() {
        return Err(ServeError::Settings(loaded.problems));
    }
    log::start(loaded.settings.log.format, loaded.settings.log.level);
    log::report_panics();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), settings = %path.display(), "pldns starting");
    log_problems(&loaded.problems);
    if rustix::process::geteuid().is_root() && loaded.settings.user.is_empty() {
        tracing::warn!("running as root: name an unprivileged user in [process] user, or start without root");
    }
    for address in skip_missing_families(&mut loaded.settings) {
        let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
        tracing::info!(%address, "not listening: the kernel has no {family}");
    }
    // As near to the reading as can be: what changes from here on is a change.
    let seen = watch::fingerprint(path, &loaded.settings);
    privileges::raise_descriptors();
    let mut inherited = Inherited::default();
    // What systemd listens on takes the place of the settings' addresses, as the command line does.
    let encrypted = loaded.settings.listen.encrypted();
    let (given, store) = handover::from_systemd(&mut inherited, &encrypted);
    let listen = if listen.is_empty() { &given[..] } else { listen };
    let user = privileges::user_id(&loaded.settings.user);
    let previous = loaded.settings.handover.as_ref();
    let previous = previous.and_then(|socket| PreviousProcess::take_over(Path::new(socket), user, &mut inherited));
    give_back_memory();
    let parts = bind(path, listen, loaded, inherited, (previous, store))?;
    privileges::become_named(&parts.loaded_settings.user)?;
    if parts.loaded_settings.confine {
        privileges::drop_capabilities();
        privileges::confine(path, &parts.loaded_settings);
    }
    log::write();
    start_tap(path, &parts)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let served = runtime.block_on(local.run_until(run(path, listen, parts, seen, (starter, discovered))));
    // A file system that does not answer must not keep the process.
    runtime.shutdown_background();
    served
}

/// Loads; where another process serves meanwhile, with as little of its CPUs as can be.
fn load_beside(path: &Path, discovered: &Arc<discover::Status>) -> std::io::Result<Loaded> {
    let socket = settings_alone(path).ok().and_then(|settings| settings.handover);
    if !socket.is_some_and(|socket| Path::new(&socket).exists()) {
        return Ok(load_with(path, discovered));
    }
    let (path, discovered) = (path.to_owned(), discovered.clone());
    let loading = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
        reloading::lower_priority();
        load_with(&path, &discovered)
    })?;
    loading.join().map_err(|_| std::io::Error::other("reading the settings and records failed"))
}

fn bind(
    path: &Path,
    listen: &[SocketAddr],
    loaded: Loaded,
    mut inherited: Inherited,
    (previous, store): (Option<PreviousProcess>, Store),
) -> Result<Parts, ServeError> {
    let settings = loaded.settings.clone();
    let workers = worker_count(&settings);
    let (memory_limit, records) = (memory_limit(&settings), RecordSizes::of(&loaded));
    let bounds = Bounds::fit(&settings, records, workers, memory_limit, None);
    let memory_bound = MemoryBound::of(&settings, records, workers, &bounds).total();
    let report = report_of(&loaded, 0, Changes::default());
    let mut sets = UpstreamSets::default();
    let cache = Arc::new(Cache::new(bounds.cache));
    let guard = LoopGuard::default();
    let forwarding = Forwarding::new(random_seed()?, guard.clone());
    let authorities = loaded.authorities.clone();
    // What is wrong with it was found before.
    let (secrets, _) = certificate::read(path, &loaded, Severity::Error);
    let snapshot = loaded.into_snapshot(&mut sets, 0);
    let engine = Engine::new(cache, guard);
    let shared = Arc::new(Shared::new(engine, snapshot, forwarding, connection_limits(&settings, &bounds))?);
    shared.trust.replace(&authorities);
    secrets.put_to_use(&shared);
    shared.set_previous_process(previous.is_some());
    let listeners = NewListeners::bind(&endpoints(&settings, listen), workers, &mut inherited)?;
    let http = http::Bound::bind(path, &settings, &mut inherited)?;
    Ok(Parts {
        loaded_settings: settings,
        report,
        sets,
        shared,
        listeners,
        http,
        memory_limit,
        memory_bound,
        bounds,
        workers,
        previous,
        store,
    })
}

async fn run(
    path: &Path,
    listen: &[SocketAddr],
    parts: Parts,
    seen: u64,
    (starter, discovered): (Starter, Arc<discover::Status>),
) -> Result<(), ServeError> {
    let Parts {
        loaded_settings: settings,
        report,
        sets,
        shared,
        listeners,
        http,
        memory_limit,
        memory_bound,
        bounds,
        workers,
        previous,
        mut store,
    } = parts;
    let mut signals = Signals::new()?;
    apply_settings(&shared, &settings, &bounds);
    let mut workers = start(&shared, workers, &mut random_seed)?;
    let (serving, _) = workers.serve_only(&endpoints(&settings, listen), listeners);
    let first = serving.iter().find(|endpoint| endpoint.kind == EndpointKind::Dns).map(|endpoint| endpoint.address);
    serving.into_iter().for_each(log_listening);
    let (reloads, requests) = mpsc::channel(RELOADS_WAITING);
    let status = Arc::new(Status::new(report, memory_bound));
    let admin = Arc::new(Admin {
        shared: shared.clone(),
        counters: workers.counters(),
        status: status.clone(),
        reloads: reloads.clone(),
        token: http.token().into(),
        azure: azure_names(),
        discover: discovered.clone(),
        history: History::new(status.started),
        found: Found::default(),
        cache_size: bounds.cache,
    });
    let http = Rc::new(RefCell::new(http::Listeners::serve(http, admin.clone())));
    let counters = workers.counters();
    let workers = Rc::new(RefCell::new(workers));
    // Before it says that it is ready: the next process may be started at that word, and would find every address taken.
    let relieved = Handover::start(&settings, &workers, &http);
    status.set_ready();
    systemd::ready();
    store.keep(&handover::sockets(&workers.borrow(), &http.borrow()));
    {
        let snapshot = shared.snapshot.load();
        tracing::info!(records = snapshot.table.stats().records, rules = snapshot.rules.len(), "ready");
        if log::is_watched()
            && let Some(command) = first.and_then(|address| dig(&snapshot.table, address))
        {
            tracing::info!("try: {command}");
        }
    }
    let streams = Streams::new(shared.trust.clone(), random_seed()?);
    tokio::task::spawn_local(upstreams::look(upstreams::of(&settings), streams, shared.clone()));
    tokio::task::spawn_local(findings::tell(admin.clone()));
    tokio::task::spawn_local(history::keep(admin));
    tokio::task::spawn_local(memory::give_back(shared.clone()));
    tokio::task::spawn_local(systemd::watchdog(counters, status.clone()));
    let drain = Rc::new(Cell::new(settings.listen.drain));
    if let Some(previous) = previous {
        let shared = shared.clone();
        tokio::task::spawn_blocking(move || {
            previous.release_previous();
            shared.set_previous_process(false);
        });
    }
    let changed = reloads.clone();
    let discovery = starter.run(shared.trust.clone(), move || {
        // Where reloads wait already, they will see what was found.
        let _ = changed.try_send(ReloadRequest { cause: ReloadCause::Discovery, reply: None });
    })?;
    let reloader = reloading::Reloader {
        path: path.to_owned(),
        listen: listen.to_vec(),
        sets,
        shared: shared.clone(),
        workers: workers.clone(),
        status: status.clone(),
        http,
        memory_limit,
        cache_size: bounds.cache,
        settings,
        drain: drain.clone(),
        store,
        discovered,
        discovery,
    };
    let reloading = tokio::task::spawn_local(reloader.run(requests, seen));
    let (how, successor) = tokio::select! {
        is_urgent = signals.until_end(&reloads) => {
            (if is_urgent { End::SOON } else { End::after(drain.get()) }, None)
        }
        // The next process answers already.
        successor = relieved.done() => {
            shared.set_successor();
            (End::after(Duration::ZERO), Some(successor))
        }
    };
    status.set_stopping();
    systemd::stopping();
    end(&shared, &workers, &mut signals, how, successor).await;
    reloading.abort();
    Ok(())
}

/// Starts what sends queries to dnstap, where the settings want that.
fn start_tap(path: &Path, parts: &Parts) -> std::io::Result<()> {
    let dnstap = &parts.loaded_settings.dnstap;
    let target = match (&dnstap.socket, &dnstap.file) {
        (Some(socket), _) => TapTarget::Socket(sibling(path, socket)),
        (None, Some(file)) => TapTarget::File(sibling(path, file)),
        (None, None) => return Ok(()),
    };
    let host = rustix::system::uname();
    let identity = match dnstap.identity.as_str() {
        "" => host.nodename().to_string_lossy(),
        identity => identity.into(),
    };
    let tap = Tap::start(target, &identity, dnstap.sample)?;
    // It is the first.
    let _ = parts.shared.tap.set(tap);
    Ok(())
}

/// Settings that are no part of the Snapshot.
fn apply_settings(shared: &Shared, settings: &Settings, bounds: &Bounds) {
    shared.engine.set_chain_memory(bounds.chains);
    {
        let mut forwarding = shared.forwarding();
        forwarding.set_bounds(bounds.forward);
        forwarding.set_limits(settings.upstream_limits.iter().copied().collect());
    }
    shared.connections.set_limits(connection_limits(settings, bounds));
    shared.connections.set_room(bounds.room);
    shared.log_queries.store(settings.log.queries, std::sync::atomic::Ordering::Relaxed);
}

/// What the workers serve. `listen`, where it is not empty, takes the place of the settings' addresses for plain DNS.
fn endpoints(settings: &Settings, listen: &[SocketAddr]) -> Vec<Endpoint> {
    let dns = if listen.is_empty() { &settings.listen.dns[..] } else { listen };
    let rows = [
        (EndpointKind::Dns, dns),
        (EndpointKind::Tls, &settings.listen.tls),
        (EndpointKind::Https, &settings.listen.https),
        (EndpointKind::Quic, &settings.listen.quic),
    ];
    rows.into_iter().flat_map(|(kind, addresses)| Endpoint::all(kind, addresses)).collect()
}

/// A query to try, for a name of the table where there is one that stands for itself.
fn dig(table: &Table, address: SocketAddr) -> Option<String> {
    let names = table.iter().filter(|(_, set)| set.rtype == Rtype::A);
    let mut names = names.filter_map(|(owner, _)| Name::from_wire(owner)).map(|name| name.to_string());
    let name = names.find(|name| !name.contains('*'))?;
    let server = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let port = if address.port() == 53 { String::new() } else { format!("-p {} ", address.port()) };
    Some(format!("dig {port}@{server} {name}"))
}

fn connection_limits(settings: &Settings, bounds: &Bounds) -> ConnectionLimits {
    let per_address = settings.listen.connections_per_address;
    ConnectionLimits { total: bounds.connections, kept: KEPT_CONNECTIONS, per_address }
}

fn log_listening(endpoint: Endpoint) {
    for transport in endpoint.kind.transports() {
        tracing::info!(transport, address = %endpoint.address, "listening");
    }
}

/// The report of what was loaded without errors.
fn report_of(loaded: &Loaded, generation: u64, changes: Changes) -> ReloadReport {
    ReloadReport {
        accepted: true,
        generation,
        records: loaded.table.stats().records,
        added: changes.added,
        removed: changes.removed,
        problems: first_problems(&loaded.problems),
        problem_count: loaded.problems.len(),
    }
}

/// Those that pages show.
fn first_problems(problems: &Problems) -> Vec<String> {
    problems.iter().take(PROBLEMS_MAX).map(ToString::to_string).collect()
}

/// As text with the line and its marks, or as fields of JSON.
fn log_problems(problems: &Problems) {
    for problem in problems.iter() {
        let Diagnostic { severity, place, message, hint, .. } = problem;
        match (severity, log::is_text()) {
            (Severity::Error, true) => tracing::error!("{problem}"),
            (Severity::Warning, true) => tracing::warn!("{problem}"),
            (Severity::Error, false) => tracing::error!(place, hint, "{message}"),
            (Severity::Warning, false) => tracing::warn!(place, hint, "{message}"),
        }
    }
    if let Some(rest) = problems.rest() {
        tracing::warn!("{rest}");
    }
}

/// Leaves out wildcards of the built-in default whose protocol family the kernel lacks. Those that the settings name
/// stay, and fail.
fn skip_missing_families(settings: &mut Settings) -> Vec<SocketAddr> {
    if !settings.listen.dns_is_default {
        return Vec::new();
    }
    let (there, missing): (Vec<_>, Vec<_>) = settings.listen.dns.iter().partition(|address| has_family(**address));
    settings.listen.dns = there;
    missing
}

/// One worker per CPU that this process may use: affinity and cgroup quota are counted by the standard library.
pub fn worker_count(settings: &Settings) -> usize {
    match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

fn random_seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(std::io::Error::other)?;
    Ok(seed)
}
