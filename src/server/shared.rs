//! What all workers share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio_rustls::rustls::crypto::ring;

use super::certificate::Certificates;
use super::connections::{ConnectionLimits, Connections};
use super::faults::Faults;
use super::listen::Served;
use super::tickets::Tickets;
use super::timer_watch::TimerWatch;
use super::tls::TlsServer;
use super::waiter::Waiter;
use crate::engine::{Engine, Snapshot};
use crate::forward::{CLIENT_TIMEOUT, Forwarding};
use crate::log::Tap;
use crate::upstream::{Authorities, Pools, Trust};

/// How long connections are read from when the server ends: a round trip, and a handshake that had begun.
pub(super) const LAST_MESSAGES: Duration = Duration::from_millis(300);

/// How long what is in flight is waited for when the server ends: as long as the last query waits, and a little.
pub const IN_FLIGHT_MAX: Duration = CLIENT_TIMEOUT.saturating_add(Duration::from_millis(500));

/// How often a loop is reported.
const LOOP_INTERVAL: Duration = Duration::from_secs(60);

/// Connections of clients that are not allowed, which get one REFUSED: these places are no allowed client's.
const STRANGERS: ConnectionLimits = ConnectionLimits { total: 64, kept: 0, per_address: 8 };

/// The state that all workers share.
pub struct Shared {
    /// The engine with its cache.
    pub engine: Engine,
    /// What a query may read, swapped whole by a reload.
    pub snapshot: ArcSwap<Snapshot>,
    /// What is asked upstream.
    forwarding: Mutex<Forwarding<Box<Waiter>>>,
    /// Whose certificates upstreams may show.
    pub trust: Arc<Trust>,
    /// Ports that are used again.
    pub pools: Arc<Pools>,
    /// Connections of clients, whatever their transport.
    pub connections: Arc<Connections>,
    /// Those of clients that are not allowed.
    pub(super) strangers: Arc<Connections>,
    /// Connections that were refused because their clients are not allowed, or got one REFUSED.
    pub(super) not_allowed: AtomicU64,
    /// The certificate of encrypted listeners.
    pub certificates: Arc<Certificates>,
    /// What sessions of these are resumed with.
    pub tickets: Arc<Tickets>,
    pub(super) tls: TlsServer,
    /// Panics that were caught.
    pub faults: Faults,
    /// The timers of the state machine.
    pub(super) timers: TimerWatch,
    /// One of so many queries is logged; 0: none.
    pub log_queries: AtomicU32,
    /// Where queries and responses are sent as they were on the wire.
    pub tap: OnceLock<Tap>,
    start: Instant,
    /// When a loop was last reported.
    loop_reported: Mutex<Option<Instant>>,
    /// The listeners for datagrams, of all workers, hold the others.
    pub(super) served: Served,
    /// Turns true when the server is to end.
    pub(super) stopping: watch::Sender<bool>,
    /// Another process still reads the sockets of this one.
    has_previous_process: watch::Sender<bool>,
    /// Another process serves in the place of this one.
    has_successor: AtomicBool,
    /// Until when what is in flight is waited for then, nanoseconds after `start`.
    end_by: AtomicU64,
}

impl Shared {
    /// The state at start.
    ///
    /// # Errors
    /// The system's refusal to give randomness.
    pub fn new(
        engine: Engine,
        snapshot: Snapshot,
        forwarding: Forwarding<Box<Waiter>>,
        connections: ConnectionLimits,
    ) -> io::Result<Self> {
        let certificates = Arc::new(Certificates::default());
        let tickets = Arc::new(Tickets::new(ring::Ticketer::new().map_err(io::Error::other)?));
        let start = Instant::now();
        Ok(Self {
            tls: TlsServer::new(&certificates, &tickets).map_err(io::Error::other)?,
            certificates,
            tickets,
            engine,
            snapshot: ArcSwap::from_pointee(snapshot),
            forwarding: Mutex::new(forwarding),
            trust: Arc::new(Trust::new(&Authorities::default())),
            pools: Arc::default(),
            connections: Arc::new(Connections::new(connections)),
            strangers: Arc::new(Connections::new(STRANGERS)),
            not_allowed: AtomicU64::new(0),
            faults: Faults::default(),
            timers: TimerWatch::new(start),
            log_queries: AtomicU32::new(0),
            tap: OnceLock::new(),
            start,
            loop_reported: Mutex::new(None),
            served: Served::default(),
            stopping: watch::Sender::new(false),
            has_previous_process: watch::Sender::new(false),
            has_successor: AtomicBool::new(false),
            end_by: AtomicU64::new(u64::MAX),
        })
    }

    /// The forwarding state machine. Held for one call of it, never while anything is sent or written.
    pub fn forwarding(&self) -> MutexGuard<'_, Forwarding<Box<Waiter>>> {
        self.forwarding.lock()
    }

    /// Reports a forwarding loop to the operator, once a minute at most.
    pub(super) fn report_loop(&self, from: std::net::IpAddr, now: Instant) {
        let mut reported = self.loop_reported.lock();
        if reported.is_none_or(|at| now.saturating_duration_since(at) >= LOOP_INTERVAL) {
            *reported = Some(now);
            tracing::warn!(
                %from,
                "forwarding loop detected: an upstream is, or forwards to, this server. \
                 Such questions are refused; name another upstream in [[forward]]"
            );
        }
    }

    /// Tells all workers to end, and to wait for what is in flight no longer than `within`. A second call shortens that.
    pub fn stop(&self, within: Duration) {
        let by = self.nanoseconds(Instant::now() + within);
        self.end_by.fetch_min(by, Ordering::Relaxed);
        self.stopping.send_replace(true);
    }

    /// Says whether the process before this one still reads the sockets that it handed over.
    pub fn set_previous_process(&self, is_there: bool) {
        self.has_previous_process.send_replace(is_there);
    }

    /// Returns when it does not, or there was none.
    #[cfg(feature = "quic")]
    pub(super) async fn without_previous_process(&self) {
        let _ = self.has_previous_process.subscribe().wait_for(|is_there| !*is_there).await;
    }

    /// Says that another process reads the same sockets and serves: to be called before [`Self::stop`].
    pub fn set_successor(&self) {
        self.has_successor.store(true, Ordering::Relaxed);
    }

    /// Whether one does.
    #[cfg(feature = "quic")]
    pub(super) fn has_successor(&self) -> bool {
        self.has_successor.load(Ordering::Relaxed)
    }

    /// Returns when connections are to end because the server does: a moment later, for what was sent before its client could
    /// know.
    pub(super) async fn last_messages(&self) {
        let _ = self.stopping.subscribe().wait_for(|stop| *stop).await;
        tokio::time::sleep(LAST_MESSAGES).await;
    }

    /// Whether the server ends.
    pub(super) fn is_stopping(&self) -> bool {
        self.end_by.load(Ordering::Relaxed) != u64::MAX
    }

    /// Whether what is in flight is waited for no longer.
    pub(super) fn is_over(&self) -> bool {
        self.nanoseconds(Instant::now()) >= self.end_by.load(Ordering::Relaxed)
    }

    /// Counts what still waits now that the server ends; gives how many queries that were.
    pub fn count_left(&self) -> usize {
        let left = self.forwarding().start_over();
        let count = left.len();
        left.into_iter().for_each(|(_, client_query)| client_query.waiter.uncounted.left());
        count
    }

    /// Connections from clients that are not allowed, since the start.
    pub fn not_allowed(&self) -> u64 {
        self.not_allowed.load(Ordering::Relaxed)
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }
}
