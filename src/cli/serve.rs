//! `pldns serve`: the server in the foreground.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::SettingsArg;
use crate::cache::Cache;
use crate::config::Settings;
use crate::document::{Problems, Severity};
use crate::engine::Engine;
use crate::forward::{Forwarding, LoopGuard, Target, UpstreamSets};
use crate::reload::load;
use crate::server::{Shared, Totals, Workers, start};
use crate::upstream::{Streams, probe};

/// The arguments of `pldns serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArg,
    /// Listen here for plain DNS instead of where the settings say; may be given several times
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
}

pub(super) fn run(args: &ServeArgs) -> ExitCode {
    start_log();
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Text for people on a terminal, JSON for whatever reads a pipe.
fn start_log() {
    // What goes wrong on a connection is told by whoever keeps it, once, and not by the libraries below.
    let log = tracing_subscriber::fmt()
        .with_env_filter("info,hickory_net=off,h2=off")
        .with_writer(std::io::stderr)
        .with_target(false);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).init();
    }
}

/// What `serve` cannot do, as the operator should hear it.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("the settings are not usable; `pldns check -c {0}` shows them all")]
    Settings(String),
    #[error(transparent)]
    Bind(#[from] crate::server::BindError),
    #[error("{0}")]
    System(#[from] std::io::Error),
}

fn serve(args: &ServeArgs) -> Result<(), ServeError> {
    let path = &args.settings.config;
    let loaded = load(path);
    log_problems(&loaded.problems);
    if loaded.problems.has_errors() {
        return Err(ServeError::Settings(path.display().to_string()));
    }
    let settings = loaded.settings.clone();
    let mut sets = UpstreamSets::default();
    let cache = Arc::new(Cache::new(settings.cache.max_size));
    let guard = LoopGuard::default();
    let forwarding = Forwarding::new(random_seed()?, guard.clone());
    let authorities = loaded.authorities.clone();
    let snapshot = loaded.into_snapshot(&mut sets, 0);
    let shared = Arc::new(Shared::new(Engine::new(cache, guard), snapshot, forwarding));
    shared.trust.replace(&authorities);
    shared.forwarding().set_limits(settings.upstream_limits.iter().copied().collect());
    let addresses = if args.listen.is_empty() { &settings.listen.dns } else { &args.listen };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut seeds = random_seed;
        let mut workers = start(&shared, addresses, worker_count(&settings), &mut seeds)?;
        for address in &workers.addresses {
            tracing::info!(transport = "udp", %address, "listening");
            tracing::info!(transport = "tcp", %address, "listening");
        }
        tracing::info!(
            records = shared.snapshot.load().table.stats().records,
            rules = shared.snapshot.load().rules.len(),
            "ready"
        );
        let upstreams: Vec<Target> = settings.forwards.iter().flat_map(|rule| rule.upstreams.clone()).collect();
        let local = tokio::task::LocalSet::new();
        let streams = Streams::new(shared.trust.clone(), random_seed()?);
        local.spawn_local(look_at_upstreams(upstreams, streams));
        local.run_until(control(&shared, path, &mut sets, &mut signals)).await;
        end(&shared, &mut workers, &mut signals).await;
        Ok(())
    })
}

/// Reloads until it is time to end.
async fn control(shared: &Arc<Shared>, path: &Path, sets: &mut UpstreamSets, signals: &mut Signals) {
    loop {
        tokio::select! {
            _ = signals.reload.recv() => reload(shared, path, sets),
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
        }
    }
}

/// Builds the next state aside and swaps it in; with an error, what serves goes on serving.
fn reload(shared: &Arc<Shared>, path: &Path, sets: &mut UpstreamSets) {
    let loaded = load(path);
    log_problems(&loaded.problems);
    if loaded.problems.has_errors() {
        let errors = loaded.problems.count(Severity::Error);
        tracing::error!(errors, "reload refused: the settings and records before it go on serving");
        return;
    }
    let limits = loaded.settings.upstream_limits.iter().copied().collect();
    let authorities = loaded.authorities.clone();
    let generation = shared.snapshot.load().generation + 1;
    let snapshot = loaded.into_snapshot(sets, generation);
    let records = snapshot.table.stats().records;
    shared.trust.replace(&authorities);
    shared.snapshot.store(Arc::new(snapshot));
    shared.forwarding().set_limits(limits);
    tracing::info!(records, generation, "reloaded");
}

/// Answers what is in flight, then ends; a second signal ends at once.
async fn end(shared: &Arc<Shared>, workers: &mut Workers, signals: &mut Signals) {
    tracing::info!("stopping: answering what is in flight");
    shared.stop();
    let (ended, waiting) = tokio::sync::oneshot::channel();
    let mut threads = workers.take_threads();
    std::thread::spawn(move || {
        threads.join();
        let _ = ended.send(());
    });
    tokio::select! {
        _ = waiting => {}
        _ = signals.terminate.recv() => tracing::warn!("stopped by a second signal"),
        _ = signals.interrupt.recv() => tracing::warn!("stopped by a second signal"),
    }
    let totals = Totals::of(workers.counters());
    let asked = shared.forwarding().counts();
    let by_name: Vec<String> = totals.named().map(|(name, count)| format!("{name}={count}")).collect();
    tracing::info!(
        received = totals.received,
        answered = totals.answered(),
        refused = totals.refused(),
        dropped = totals.dropped(),
        by_name = by_name.join(" "),
        upstream_queries = asked.sent,
        joined = asked.joined,
        queued = asked.queued,
        refreshes = asked.refreshes,
        suspicious = asked.suspicious,
        "stopped"
    );
}

/// Says at start which upstreams answer, by which way; nothing waits for it.
async fn look_at_upstreams(mut upstreams: Vec<Target>, streams: Streams) {
    upstreams.sort_unstable();
    upstreams.dedup();
    for upstream in upstreams {
        let streams = streams.clone();
        tokio::task::spawn_local(async move {
            let finding = probe(&streams, &upstream, &probe_query()).await;
            match (finding.datagram, finding.stream) {
                (Some(Ok(())), Ok(())) => tracing::info!(%upstream, "the upstream answers by UDP and TCP"),
                (Some(Ok(())), Err(error)) => tracing::warn!(
                    %upstream,
                    %error,
                    "the upstream answers by UDP but not by TCP: large answers will fail. At 168.63.129.16 an old Azure guest agent's \
                     firewall rule does that to users other than root: update the agent"
                ),
                (Some(Err(error)), Ok(())) => {
                    tracing::warn!(%upstream, %error, "the upstream answers by TCP but not by UDP");
                }
                (None, Ok(())) => tracing::info!(%upstream, "the upstream answers"),
                (Some(Err(error)), Err(_)) | (None, Err(error)) => {
                    tracing::warn!(%upstream, %error, "the upstream does not answer");
                }
            }
        });
    }
}

/// A query for the root's name servers, which every resolver answers one way or another.
fn probe_query() -> Vec<u8> {
    let mut id = [0; 2];
    let _ = SysRng.try_fill_bytes(&mut id);
    [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1]].concat()
}

fn log_problems(problems: &Problems) {
    for problem in problems.iter() {
        match problem.severity {
            Severity::Error => tracing::error!("{problem}"),
            Severity::Warning => tracing::warn!("{problem}"),
        }
    }
}

/// One worker per CPU that this process may use: affinity and cgroup quota are counted by the standard library.
fn worker_count(settings: &Settings) -> usize {
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

struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}
