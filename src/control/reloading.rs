//! Reloads: the next state is read and compiled in a thread beside, then swapped; with an error anywhere, what serves
//! goes on serving.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::certificate::Secrets;
use super::http::HttpError;
use super::watch::{fingerprint, settled_fingerprint};
use super::{
    Bounds, MemoryBound, RecordSizes, apply_settings, certificate, endpoints, first_problems, handover, http,
    log_listening, log_problems, report_of, skip_missing_families, systemd,
};
use crate::admin::{ReloadCause, ReloadReport, ReloadRequest, Status};
use crate::config::Settings;
use crate::discover::{self, Discovery};
use crate::document::Severity;
use crate::engine::Snapshot;
use crate::forward::UpstreamSets;
use crate::log;
use crate::reload::{Changes, Loaded, load_with};
use crate::server::{BindError, Endpoint, Part, Shared, Workers};
use crate::sys::give_back_memory;

/// What is said of a reload that met a defect.
const PANICKED: &str = "the reload panicked; the log has the panic";

/// The niceness of what reads settings and records.
const NICE: i32 = 10;

/// What the log says of a reload that does not take place.
const REJECTED: &str = "reload rejected; keeping the previous configuration";

/// Performs reloads, one after another.
pub(super) struct Reloader {
    pub(super) path: PathBuf,
    /// Addresses of the command line, which stand above the settings.
    pub(super) listen: Vec<SocketAddr>,
    pub(super) sets: UpstreamSets,
    pub(super) shared: Arc<Shared>,
    pub(super) workers: Rc<RefCell<Workers>>,
    pub(super) status: Arc<Status>,
    pub(super) http: Rc<RefCell<http::Listeners>>,
    /// The settings that serve.
    pub(super) settings: Settings,
    /// What the process may use, bytes; as it was at the start, for the files that tell it cannot be opened any more.
    pub(super) memory_limit: Option<u64>,
    /// Bytes of the cache, which no reload changes.
    pub(super) cache_size: u64,
    /// `[listen] drain` of these.
    pub(super) drain: Rc<Cell<Duration>>,
    /// What systemd keeps for the next process.
    pub(super) store: systemd::Store,
    /// What was discovered.
    pub(super) discovered: Arc<discover::Status>,
    pub(super) discovery: Discovery,
}

impl Reloader {
    /// Reloads on request and whenever files change; `seen` is the fingerprint of what serves.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<ReloadRequest>, mut seen: u64) {
        loop {
            let watch = self.settings.records.watch;
            let request = if watch.is_zero() {
                requests.recv().await
            } else {
                match tokio::time::timeout(watch, requests.recv()).await {
                    Ok(request) => request,
                    Err(_) => {
                        if self.look(false).await == seen {
                            continue;
                        }
                        // A file that was caught while it was rewritten with the same content did not change.
                        let settled = self.look(true).await;
                        if settled != seen {
                            seen = settled;
                            self.reload(ReloadCause::Files).await;
                        }
                        continue;
                    }
                }
            };
            let Some(request) = request else { return };
            // Before it is read: what changes meanwhile is a change.
            seen = self.look(false).await;
            let report = self.reload(request.cause).await;
            if let Some(reply) = request.reply {
                // The client may be gone.
                let _ = reply.send(report);
            }
        }
    }

    async fn look(&self, settle: bool) -> u64 {
        let (path, settings) = (self.path.clone(), self.settings.clone());
        let look = if settle { settled_fingerprint } else { fingerprint };
        tokio::task::spawn_blocking(move || look(&path, &settings)).await.unwrap_or_default()
    }

    async fn reload(&mut self, cause: ReloadCause) -> ReloadReport {
        systemd::reloading();
        let (path, serving) = (self.path.clone(), self.shared.snapshot.load_full());
        let discovered = self.discovered.clone();
        let has_certificate = self.shared.certificates.current().is_some();
        let next = spawn_load(move || load_next(&path, &serving, &discovered, has_certificate, cause));
        let report = match next.await {
            Ok(next) => {
                let shared = self.shared.clone();
                // A panic costs this reload: the next one is another.
                let taken = shared.faults.guarded(Part::Control, || Some(self.take(next, cause)), || None);
                taken.unwrap_or_else(|| self.refused(vec![PANICKED.to_owned()], 1))
            }
            Err(error) => {
                let problem = error.to_string();
                tracing::error!(cause = cause.word(), problem, "{REJECTED}");
                self.refused(vec![problem], 1)
            }
        };
        self.status.note_reload(report.clone());
        systemd::ready();
        report
    }

    fn take(&mut self, next: Next, cause: ReloadCause) -> ReloadReport {
        let loaded = &next.loaded;
        log_problems(&loaded.problems);
        let mut errors = loaded.problems.count(Severity::Error);
        let mut problems = first_problems(&loaded.problems);
        let mut count = loaded.problems.len();
        if errors == 0 {
            match self.use_loaded(next, cause) {
                Ok(report) => return report,
                Err(error) => {
                    tracing::error!("{error}");
                    errors += 1;
                    problems.push(error.to_string());
                    count += 1;
                }
            }
        }
        tracing::error!(cause = cause.word(), errors, "{REJECTED}");
        self.refused(problems, count)
    }

    /// Swaps; what can fail comes first.
    fn use_loaded(&mut self, next: Next, cause: ReloadCause) -> Result<ReloadReport, ListenError> {
        let Next { loaded, changes, secrets } = next;
        let settings = loaded.settings.clone();
        let endpoints = endpoints(&settings, &self.listen);
        let new = self.workers.borrow().bind_new(&endpoints)?;
        let changed = self.http.borrow().prepare(&self.path, &settings)?;
        self.warn_of_fixed(&settings);
        let generation = self.shared.snapshot.load().generation + 1;
        let report = report_of(&loaded, generation, changes);
        let workers = self.workers.borrow().count();
        let records = RecordSizes::of(&loaded);
        let bounds = Bounds::fit(&settings, records, workers, self.memory_limit, Some(self.cache_size));
        self.status.set_memory_bound(MemoryBound::of(&settings, records, workers, &bounds).total());
        let authorities = loaded.authorities.clone();
        let snapshot = loaded.into_snapshot(&mut self.sets, generation);
        self.shared.trust.replace(&authorities);
        secrets.put_to_use(&self.shared);
        self.shared.snapshot.store(Arc::new(snapshot));
        apply_settings(&self.shared, &settings, &bounds);
        let (added, removed) = self.workers.borrow_mut().serve_only(&endpoints, new);
        added.into_iter().for_each(log_listening);
        for Endpoint { kind, address } in removed {
            tracing::info!(transport = kind.key(), %address, "no longer listening");
        }
        self.http.borrow_mut().change(changed);
        self.store.keep(&handover::sockets(&self.workers.borrow(), &self.http.borrow()));
        if settings.log.level != self.settings.log.level {
            log::set_level(settings.log.level);
        }
        self.drain.set(settings.listen.drain);
        self.discovery.set(&settings);
        self.settings = settings;
        let Changes { added, removed, .. } = changes;
        tracing::info!(cause = cause.word(), records = report.records, added, removed, generation, "reloaded");
        Ok(report)
    }

    /// Warns of changed settings that take effect at the next start only.
    fn warn_of_fixed(&self, settings: &Settings) {
        let fixed = [
            ("[cache] max_size", settings.cache.max_size != self.settings.cache.max_size),
            ("[process] workers", settings.workers != self.settings.workers),
            ("[process] max_memory", settings.max_memory != self.settings.max_memory),
            ("[process] user", settings.user != self.settings.user),
            ("[process] confine", settings.confine != self.settings.confine),
            ("[process] handover", settings.handover != self.settings.handover),
            ("[log] format", settings.log.format != self.settings.log.format),
            ("[dnstap]", settings.dnstap != self.settings.dnstap),
        ];
        for (setting, _) in fixed.into_iter().filter(|(_, changed)| *changed) {
            tracing::warn!(setting, "setting takes effect after a restart");
        }
    }

    fn refused(&self, problems: Vec<String>, problem_count: usize) -> ReloadReport {
        let snapshot = self.shared.snapshot.load();
        ReloadReport {
            accepted: false,
            generation: snapshot.generation,
            records: snapshot.table.stats().records,
            added: 0,
            removed: 0,
            problems,
            problem_count,
        }
    }
}

/// What is to serve next.
struct Next {
    loaded: Loaded,
    changes: Changes,
    secrets: Secrets,
}

/// Reads and checks what is to serve next, compared with what serves. With an error among the problems it must not. Where
/// there is a certificate already, a broken one is no error: that one is shown on, and everything else is reloaded.
fn load_next(
    path: &Path,
    serving: &Snapshot,
    discovered: &discover::Status,
    has_certificate: bool,
    cause: ReloadCause,
) -> Next {
    let mut loaded = load_with(path, discovered);
    skip_missing_families(&mut loaded.settings);
    let broken = if has_certificate { Severity::Warning } else { Severity::Error };
    let (secrets, problems) = certificate::read(path, &loaded, broken);
    loaded.problems.extend(problems);
    if loaded.problems.has_errors() {
        return Next { loaded, changes: Changes::default(), secrets };
    }
    let changes = Changes::between(&serving.table, &loaded.table);
    let (before, after) = (serving.table.stats().records, loaded.table.stats().records);
    // What discovery takes away is gone by the word of Azure, a complete round and its grace: that is no accident.
    let allow_empty = loaded.settings.records.allow_empty || cause == ReloadCause::Discovery;
    let problem = changes.problem(before, after, allow_empty, path.display().to_string());
    problem.into_iter().for_each(|problem| loaded.problems.push(problem));
    Next { loaded, changes, secrets }
}

/// Lowers the priority of this thread; Linux does it per thread. Where it is refused, queries are slower meanwhile.
pub(super) fn lower_priority() {
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("reading settings and records failed: the thread panicked")]
    Panicked,
}

/// Why the listeners of new settings are not to be had.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error(transparent)]
    Dns(#[from] BindError),
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Runs `work` in a thread of its own with a lower priority than the workers': reading many records takes longer than a
/// query may wait.
async fn spawn_load<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoadError> {
    let (done, outcome) = oneshot::channel();
    let thread = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
        lower_priority();
        let outcome = work();
        give_back_memory();
        let _ = done.send(outcome);
    });
    thread.map_err(LoadError::Thread)?;
    outcome.await.map_err(|_| LoadError::Panicked)
}
