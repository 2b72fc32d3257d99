//! Signals, and how the process ends: it answers on for a while, then answers what is in flight.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::handover::Successor;
use crate::admin::{ReloadCause, ReloadRequest};
use crate::log;
use crate::server::{IN_FLIGHT_MAX, Shared, Totals, Workers};

/// How the process ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// How long queries are answered on.
    drain: Duration,
    /// How long what is in flight is waited for then.
    in_flight: Duration,
}

impl End {
    /// At SIGINT, the key of a terminal or a supervisor in a hurry: within a second.
    pub(super) const SOON: Self = Self { drain: Duration::ZERO, in_flight: Duration::from_millis(500) };

    /// At SIGTERM.
    pub(super) fn after(drain: Duration) -> Self {
        Self { drain, in_flight: IN_FLIGHT_MAX }
    }
}

/// Goes on answering for a while, then answers what is in flight. A second signal ends at once. A `successor` is told when nothing is
/// read any more.
pub(super) async fn end(
    shared: &Shared,
    workers: &Rc<RefCell<Workers>>,
    signals: &mut Signals,
    end: End,
    successor: Option<Successor>,
) {
    let End { drain, mut in_flight } = end;
    if !drain.is_zero() {
        tracing::info!(seconds = drain.as_secs_f64(), "draining: readiness off, still answering queries");
        tokio::select! {
            () = tokio::time::sleep(drain) => {}
            () = signals.end() => in_flight = stopped_again(),
        }
    }
    tracing::info!("shutting down: waiting for in-flight queries");
    let mut threads = workers.borrow_mut().take_threads();
    workers.borrow().stop(in_flight);
    drop(successor);
    let (ended, waiting) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        threads.join();
        let _ = ended.send(());
    });
    let mut waiting = std::pin::pin!(waiting);
    tokio::select! {
        _ = &mut waiting => {}
        () = signals.end() => {
            shared.stop(stopped_again());
            // Workers end now; one that does not is not waited for.
            let _ = tokio::time::timeout(End::SOON.in_flight, waiting).await;
        }
    }
    if let Some(tap) = shared.tap.get() {
        tap.finish();
    }
    let left = shared.count_left();
    if left > 0 {
        tracing::warn!(left, "queries left unanswered: still waiting for upstreams");
    }
    let counters = workers.borrow().counters();
    let totals = Totals::of(counters.iter().map(|counters| &**counters));
    let asked = shared.forwarding().counts();
    let by_name: Vec<String> = totals.named().map(|(name, count)| format!("{name}={count}")).collect();
    tracing::info!(
        received = totals.received,
        answered = totals.answered(),
        refused = totals.refused(),
        dropped = totals.dropped(),
        left,
        by_name = by_name.join(" "),
        upstream_queries = asked.sent,
        joined = asked.joined,
        queued = asked.queued,
        refreshes = asked.refreshes,
        suspicious = asked.suspicious,
        "stopped"
    );
}

/// How long what is in flight is waited for after a second signal.
fn stopped_again() -> Duration {
    tracing::warn!("stopped by a second signal");
    Duration::ZERO
}

/// The signals that the process takes.
pub(super) struct Signals {
    reload: Signal,
    debug: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            debug: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Passes on what signals ask for, until one asks for the end; says whether that is urgent.
    pub(super) async fn until_end(&mut self, reloads: &mpsc::Sender<ReloadRequest>) -> bool {
        loop {
            tokio::select! {
                // When several wait already, they will see what is there now.
                _ = self.reload.recv() => {
                    let _ = reloads.try_send(ReloadRequest { cause: ReloadCause::Signal, reply: None });
                }
                _ = self.debug.recv() => log::toggle_debug(),
                _ = self.terminate.recv() => return false,
                _ = self.interrupt.recv() => return true,
            }
        }
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
