//! A worker, as one of its threads has it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use super::counters::Counters;
use super::end::Ends;
use super::replies::Replies;
use super::shared::Shared;
use super::tasks::Tasks;
use super::waiter::Waiter;
use crate::engine::{Batch, Snapshot};
use crate::forward::{Outbox, Transmit};
use crate::upstream::{DatagramSockets, Sender, Spares, Streams};

/// What all that happens on one thread shares.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    /// What queries to upstreams are sent with.
    pub(super) sender: RefCell<Sender>,
    /// Where answers of upstreams are read into.
    pub(super) spares: RefCell<Spares>,
    pub(super) streams: Streams,
    turn: Cell<u32>,
    /// Where queries end.
    pub(super) ends: Ends,
    /// Where a reply to one who waited is written.
    pub(super) reply: RefCell<Vec<u8>>,
    /// What connections read and write with, for as long as one of them does.
    pub(super) stream_buffers: RefCell<StreamBuffers>,
    /// Replies to those who waited, on their way.
    pub(super) replies: RefCell<Replies>,
    /// Queries that leave from pools, on their way.
    pub(super) pending_sends: RefCell<Vec<Transmit>>,
    /// The time at which the last of them was added.
    pub(super) pending_since: Cell<Instant>,
    /// The time at which this thread began its last batch, until the end of the turn takes it: one reading of the clock serves both.
    pub(super) looked: Cell<Option<Instant>>,
    /// Both wait for others, to be sent together.
    pub(super) is_gathering: Cell<bool>,
    /// Outboxes with room, to be used again.
    pub(super) spare: RefCell<Vec<Outbox<Box<Waiter>>>>,
    /// Where what takes longer is done.
    pub(super) tasks: Tasks,
    /// This thread does what is due when it is due.
    pub(super) watches_timers: bool,
}

/// Messages of upstreams whose memory is kept to be used again.
const SPARES: usize = 256;
/// Bytes that a connection reads at once.
const STREAM_INPUT: usize = 16 << 10;

/// Buffers that a worker's connections share: one that waits for its client has none.
pub(super) struct StreamBuffers {
    /// For what is read.
    pub(super) input: Box<[u8]>,
    /// For one reply.
    pub(super) reply: Vec<u8>,
    /// For replies that wait to be written.
    pub(super) output: Vec<u8>,
}

impl StreamBuffers {
    fn new() -> Self {
        Self { input: vec![0; STREAM_INPUT].into(), reply: Vec::new(), output: Vec::new() }
    }
}

impl Worker {
    /// The worker with this number among the threads. It asks upstreams by `sockets`; `seeds` are for its IDs and ports.
    pub(super) fn new(
        number: usize,
        shared: &Arc<Shared>,
        counters: &Arc<Counters>,
        sockets: Arc<DatagramSockets>,
        seeds: [[u8; 32]; 2],
        tasks: Tasks,
    ) -> Self {
        let [ports, ids] = seeds;
        Self {
            shared: shared.clone(),
            counters: counters.clone(),
            ends: Ends::new(shared.clone(), counters.clone()),
            sender: RefCell::new(Sender::new(sockets, ports, shared.pools.clone())),
            spares: RefCell::new(Spares::new(SPARES)),
            streams: Streams::new(shared.trust.clone(), ids),
            turn: Cell::new(u32::try_from(number).unwrap_or_default()),
            reply: RefCell::new(Vec::with_capacity(4096)),
            stream_buffers: RefCell::new(StreamBuffers::new()),
            replies: RefCell::default(),
            pending_sends: RefCell::default(),
            pending_since: Cell::new(Instant::now()),
            looked: Cell::new(None),
            is_gathering: Cell::new(false),
            spare: RefCell::default(),
            watches_timers: number == 0,
            tasks,
        }
    }

    /// Whether nothing is in flight any more while the server ends, or what is left is waited for no longer.
    pub(super) fn is_done(&self) -> bool {
        let Shared { connections, served, .. } = &*self.shared;
        // In this order: where neither is there any more, nothing asks.
        self.shared.is_over() || served.is_alone() && connections.is_empty() && !self.shared.forwarding().has_waiters()
    }

    /// Notes when the next timer is.
    pub(super) fn set_timer(&self, next: Option<Instant>) {
        self.shared.timers.set(next);
    }

    /// Reads the clock, and keeps the time for the end of the turn.
    pub(super) fn look_at_clock(&self) -> Instant {
        let now = Instant::now();
        self.looked.set(Some(now));
        now
    }

    /// A number that is another one for each query.
    pub(super) fn next_turn(&self) -> u32 {
        let turn = self.turn.get().wrapping_add(1);
        self.turn.set(turn);
        turn
    }

    /// What so many queries have in common that came together.
    pub(super) fn batch<'s>(&self, snapshot: &'s Snapshot, now: Instant, queries: usize) -> Batch<'s> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(u32::try_from(queries).unwrap_or(u32::MAX)));
        Batch { snapshot, now, turn }
    }
}
