//! What all workers share, and what waits for an upstream.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};

use super::connections::{Connections, ReplyOctets};
use super::counters::Outcome;
use crate::engine::{Chain, Client, Engine, Reason, Snapshot, StaleAnswer};
use crate::forward::Forwarding;
use crate::sys::LocalAddress;
use crate::upstream::{Authorities, Pools, Trust};
use crate::wire::query::Kept;

/// How long an answer is of use to a client: Azure asks forwarders for more than 4 s of patience, glibc gives up after 5.
pub(super) const PATIENCE: Duration = Duration::from_millis(4500);

/// How often a loop is told of.
const LOOP_INTERVAL: Duration = Duration::from_secs(60);

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
    /// Stream connections.
    pub connections: Arc<Connections>,
    /// Wakes the one who watches the state machine's timers, when there is an earlier one than it knows.
    pub(super) timers_changed: Notify,
    /// When it will wake by itself, nanoseconds after `start`.
    timer_armed: AtomicU64,
    /// One of so many queries is logged; 0: none.
    pub log_queries: AtomicU32,
    start: Instant,
    /// When a loop was last told of.
    loop_told: Mutex<Option<Instant>>,
    /// Turns true when the server is to end.
    pub(super) stopping: watch::Sender<bool>,
}

impl Shared {
    /// The state at start.
    pub fn new(engine: Engine, snapshot: Snapshot, forwarding: Forwarding<Box<Waiter>>) -> Self {
        Self {
            engine,
            snapshot: ArcSwap::from_pointee(snapshot),
            forwarding: Mutex::new(forwarding),
            trust: Arc::new(Trust::new(&Authorities::default())),
            pools: Arc::default(),
            connections: Arc::default(),
            timers_changed: Notify::new(),
            timer_armed: AtomicU64::new(u64::MAX),
            log_queries: AtomicU32::new(0),
            start: Instant::now(),
            loop_told: Mutex::new(None),
            stopping: watch::Sender::new(false),
        }
    }

    /// The forwarding state machine. Held for one call of it, never while anything is sent or written.
    pub fn forwarding(&self) -> MutexGuard<'_, Forwarding<Box<Waiter>>> {
        self.forwarding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called after a call of the state machine: sees to it that its next timer is watched.
    pub(super) fn watch_timer(&self, next: Option<Instant>) {
        let Some(next) = next else { return };
        if self.nanoseconds(next) < self.timer_armed.load(Ordering::Relaxed) {
            self.timers_changed.notify_one();
        }
    }

    /// Tells the operator of a forwarding loop, once a minute at most.
    pub(super) fn say_loop(&self, from: std::net::IpAddr, now: Instant) {
        let mut told = self.loop_told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| now.saturating_duration_since(at) >= LOOP_INTERVAL) {
            *told = Some(now);
            tracing::warn!(
                %from,
                "a question of this server's own came back to it: an upstream is this server itself, or forwards to it. \
                 Such questions are refused; name another upstream in [[forward]]"
            );
        }
    }

    /// Says until when the watcher sleeps.
    pub(super) fn arm_timer(&self, next: Option<Instant>) {
        self.timer_armed.store(next.map_or(u64::MAX, |next| self.nanoseconds(next)), Ordering::Relaxed);
    }

    /// Tells all workers to end.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A client that waits for an upstream's answer.
pub struct Waiter {
    /// Its query, as far as the reply needs it.
    pub(super) query: Kept,
    pub(super) client: Client,
    pub(super) chain: Option<Box<Chain>>,
    pub(super) stale: Option<Box<StaleAnswer>>,
    pub(super) deadline: Instant,
    pub(super) path: ReplyPath,
}

/// The way back to a client.
pub(super) enum ReplyPath {
    /// A datagram from the socket that the query came to.
    Datagram { socket: Arc<std::net::UdpSocket>, peer: SocketAddr, local: Option<LocalAddress> },
    /// The connection that the query came by.
    Stream(StreamPath),
}

/// The way back into a connection.
pub(super) struct StreamPath {
    pub(super) replies: mpsc::UnboundedSender<StreamReply>,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) connections: Arc<Connections>,
}

/// A reply on its way into a connection, with the place that its query took.
pub(super) struct StreamReply {
    pub(super) message: Vec<u8>,
    /// Of all connections together there are only so many waiting.
    pub(super) _octets: ReplyOctets,
    /// Given back when the reply is written, so that a slow reader stops being read from.
    pub(super) _permit: OwnedSemaphorePermit,
}

impl StreamPath {
    /// Sends a reply; `outcome` comes of it, unless it cannot be sent.
    pub(super) fn deliver(self, message: &[u8], outcome: Outcome) -> Outcome {
        let Self { replies, permit, connections } = self;
        let sent = connections.take_octets(message.len()).is_some_and(|octets| {
            replies.send(StreamReply { message: message.to_vec(), _octets: octets, _permit: permit }).is_ok()
        });
        if sent { outcome } else { Outcome::Not(Reason::Unsent) }
    }
}
