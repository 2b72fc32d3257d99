//! Reloads: the next state is read and compiled in a thread beside, then swapped; with an error anywhere, what serves
//! goes on serving.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::watch::{fingerprint, settled_fingerprint};
use super::{
    MemoryBound, apply_settings, dns_addresses, first_problems, handover, http, log_listening, log_problems, report_of,
    systemd,
};
use crate::admin::{ReloadReport, ReloadRequest, Status};
use crate::config::Settings;
use crate::document::Severity;
use crate::forward::UpstreamSets;
use crate::log;
use crate::reload::{Loaded, load};
use crate::server::{Shared, Workers};
use crate::sys::give_back_memory;

/// The niceness of what reads settings and records.
const NICE: i32 = 10;

/// Who reloads, one after another.
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
    /// Octets of the cache, which no reload changes.
    pub(super) cache_size: u64,
    /// `[listen] drain` of these.
    pub(super) drain: Rc<Cell<Duration>>,
    /// What systemd keeps for the next process.
    pub(super) store: systemd::Store,
}

impl Reloader {
    /// Reloads whenever somebody wishes it or files change; `seen` is the fingerprint of what serves.
    pub(super) async fn run(mut self, mut wishes: mpsc::Receiver<ReloadRequest>, mut seen: u64) {
        loop {
            let watch = self.settings.records.watch;
            let wish = if watch.is_zero() {
                wishes.recv().await
            } else {
                match tokio::time::timeout(watch, wishes.recv()).await {
                    Ok(wish) => wish,
                    Err(_) => {
                        if self.look(false).await == seen {
                            continue;
                        }
                        // A file that was caught while it was written anew with the same content did not change.
                        let settled = self.look(true).await;
                        if settled != seen {
                            seen = settled;
                            self.reload().await;
                        }
                        continue;
                    }
                }
            };
            let Some(wish) = wish else { return };
            // Before it is read: what changes meanwhile is a change.
            seen = self.look(false).await;
            let report = self.reload().await;
            // Nobody may be left to hear it.
            let _ = wish.send(report);
        }
    }

    async fn look(&self, settle: bool) -> u64 {
        let (path, settings) = (self.path.clone(), self.settings.clone());
        let look = if settle { settled_fingerprint } else { fingerprint };
        tokio::task::spawn_blocking(move || look(&path, &settings)).await.unwrap_or_default()
    }

    async fn reload(&mut self) -> ReloadReport {
        systemd::reloading();
        let path = self.path.clone();
        let report = match aside(move || load(&path)).await {
            Ok(loaded) => self.take(loaded),
            Err(problem) => {
                tracing::error!(problem, "reload refused: the settings and records before it go on serving");
                self.refused(vec![problem], 1)
            }
        };
        self.status.note_reload(report.clone());
        systemd::ready();
        report
    }

    fn take(&mut self, loaded: Loaded) -> ReloadReport {
        log_problems(&loaded.problems);
        let mut errors = loaded.problems.count(Severity::Error);
        let mut problems = first_problems(&loaded.problems);
        let mut count = loaded.problems.iter().count();
        if errors == 0 {
            match self.use_loaded(loaded) {
                Ok(report) => return report,
                Err(problem) => {
                    tracing::error!("{problem}");
                    errors += 1;
                    problems.push(problem);
                    count += 1;
                }
            }
        }
        tracing::error!(errors, "reload refused: the settings and records before it go on serving");
        self.refused(problems, count)
    }

    /// Swaps; what can fail comes first.
    fn use_loaded(&mut self, loaded: Loaded) -> Result<ReloadReport, String> {
        let settings = loaded.settings.clone();
        let addresses = dns_addresses(&settings, &self.listen);
        let new = self.workers.borrow().bind_new(addresses).map_err(|error| error.to_string())?;
        let changed = self.http.borrow().prepare(&self.path, &settings).map_err(|error| error.to_string())?;
        self.warn_of_fixed(&settings);
        let generation = self.shared.snapshot.load().generation + 1;
        let report = report_of(&loaded, true, generation);
        let mut sizes = settings.clone();
        sizes.cache.max_size = self.cache_size;
        let workers = self.workers.borrow().counters().len();
        self.status.set_memory_bound(MemoryBound::of(&sizes, &loaded, workers).total());
        let authorities = loaded.authorities.clone();
        let snapshot = loaded.into_snapshot(&mut self.sets, generation);
        self.shared.trust.replace(&authorities);
        self.shared.snapshot.store(Arc::new(snapshot));
        apply_settings(&self.shared, &settings);
        let (added, removed) = self.workers.borrow_mut().serve_only(addresses, new);
        added.into_iter().for_each(log_listening);
        for address in removed {
            tracing::info!(%address, "no longer listening");
        }
        self.http.borrow_mut().change(changed);
        self.store.keep(&handover::sockets(&self.workers.borrow(), &self.http.borrow()));
        if settings.log.level != self.settings.log.level {
            log::set_level(settings.log.level);
        }
        self.drain.set(settings.listen.drain);
        self.settings = settings;
        tracing::info!(records = report.records, generation, "reloaded");
        Ok(report)
    }

    /// Says which settings count from the next start only.
    fn warn_of_fixed(&self, settings: &Settings) {
        let fixed = [
            ("[cache] max_size", settings.cache.max_size != self.settings.cache.max_size),
            ("[process] workers", settings.workers != self.settings.workers),
            ("[process] user", settings.user != self.settings.user),
            ("[process] confine", settings.confine != self.settings.confine),
            ("[process] handover", settings.handover != self.settings.handover),
            ("[log] format", settings.log.format != self.settings.log.format),
        ];
        for (setting, _) in fixed.into_iter().filter(|(_, changed)| *changed) {
            tracing::warn!(setting, "this setting counts from the next start on");
        }
    }

    fn refused(&self, problems: Vec<String>, problem_count: usize) -> ReloadReport {
        let snapshot = self.shared.snapshot.load();
        ReloadReport {
            accepted: false,
            generation: snapshot.generation,
            records: snapshot.table.stats().records,
            problems,
            problem_count,
        }
    }
}

/// Has this thread stand back behind all others: of this one alone, as Linux has it. Where it is not granted, it is slower
/// for the others and no less right.
pub(super) fn stand_back() {
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// Runs `work` in a thread of its own that stands back behind the workers where CPUs are scarce: reading many records
/// takes longer than a query may wait.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (done, outcome) = oneshot::channel();
    let thread = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
        stand_back();
        let outcome = work();
        give_back_memory();
        let _ = done.send(outcome);
    });
    thread.map_err(|error| format!("no thread can be started: {error}"))?;
    outcome.await.map_err(|_| "reading the settings and records failed by a fault of the server itself".to_owned())
}
