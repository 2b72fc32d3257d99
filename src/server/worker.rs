//! A worker: one thread, one runtime, everything that happens on its core.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::counters::{Counters, Outcome};
use super::kind::type_at_question;
use super::listen::Listener;
use super::replies::Replies;
use super::shared::{PATIENCE, Shared, Waiter};
use super::{stream, udp};
use crate::engine::{Action, Begun, Client, Pending, Read, Reason, Snapshot};
use crate::forward::{Outbox, Transmit};
use crate::log::{self, QueryLine};
use crate::upstream::{Datagrams, Streams};
use crate::wire::NameRoom;

/// How many of its own tasks a worker runs before it looks at its sockets again.
const EVENT_INTERVAL: u32 = 13;
/// How long after the stop a worker waits for what is in flight: the patience of the last query, and a little.
const DRAIN_MAX: Duration = PATIENCE.saturating_add(Duration::from_millis(500));

/// How often a worker says that it is alive.
const BEAT: Duration = Duration::from_millis(500);

/// Runs a worker to its end; says on `started` when it has all that it needs, which later may not be there any more.
pub(super) fn run(
    number: usize,
    shared: &Arc<Shared>,
    counters: Arc<Counters>,
    mut listeners: mpsc::UnboundedReceiver<Listener>,
    seeds: [[u8; 32]; 2],
    started: &mut Option<Sender<io::Result<()>>>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(EVENT_INTERVAL).build()?;
    let local = LocalSet::new();
    let worker = Rc::new(Worker {
        shared: shared.clone(),
        counters,
        sockets: RefCell::new(Datagrams::new(seeds[0], shared.pools.clone())?),
        streams: Streams::new(shared.trust.clone(), seeds[1]),
        turn: Cell::new(u32::try_from(number).unwrap_or_default()),
        sampled: Cell::new(0),
        reply: RefCell::new(Vec::with_capacity(4096)),
        replies: RefCell::default(),
        departures: RefCell::default(),
        is_gathering: Cell::new(false),
        spare: RefCell::default(),
    });
    runtime.block_on(local.run_until(async {
        let readiness = worker.sockets.borrow().readiness()?;
        if let Some(started) = started.take() {
            let _ = started.send(Ok(()));
        }
        let hearing = tokio::task::spawn_local(worker.clone().hear(readiness));
        let sweeping = tokio::task::spawn_local(worker.clone().sweep());
        let beating = tokio::task::spawn_local(worker.clone().beat());
        // One worker watches the timers of all.
        let watching = (number == 0).then(|| tokio::task::spawn_local(worker.clone().watch_timers()));
        let mut listening = tokio::task::JoinSet::new();
        let mut stopping = shared.stopping.subscribe();
        loop {
            tokio::select! {
                biased;
                Some(new) = listeners.recv() => listen(&worker, new, &mut listening),
                Some(ended) = listening.join_next() => {
                    // Its socket would be read by nobody. Without beats, systemd and /healthz know.
                    if let Err(error) = ended {
                        tracing::error!(worker = number, %error, "a listener ended by a fault of the server itself");
                        beating.abort();
                    }
                }
                _ = stopping.wait_for(|stop| *stop) => break,
            }
        }
        listening.join_all().await;
        worker.drain().await;
        hearing.abort();
        sweeping.abort();
        beating.abort();
        if let Some(watching) = watching {
            watching.abort();
        }
        Ok(())
    }))
}

fn listen(worker: &Rc<Worker>, new: Listener, listening: &mut tokio::task::JoinSet<()>) {
    listening.spawn_local(udp::serve(worker.clone(), new.datagram, new.stop.clone()));
    listening.spawn_local(stream::serve(worker.clone(), new.stream, new.stop));
}

/// What the tasks of one worker share.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    pub(super) sockets: RefCell<Datagrams>,
    pub(super) streams: Streams,
    turn: Cell<u32>,
    /// Queries that might have been put into the log.
    sampled: Cell<u32>,
    /// Where a reply to one who waited is written.
    pub(super) reply: RefCell<Vec<u8>>,
    /// Replies to those who waited, on their way.
    pub(super) replies: RefCell<Replies>,
    /// Queries that leave from pools, on their way.
    pub(super) departures: RefCell<Vec<Transmit>>,
    /// Both wait for others, to be sent together.
    pub(super) is_gathering: Cell<bool>,
    /// Outboxes with room, to be used again.
    pub(super) spare: RefCell<Vec<Outbox<Box<Waiter>>>>,
}

impl Worker {
    /// A number that is another one for each query.
    pub(super) fn next_turn(&self) -> u32 {
        let turn = self.turn.get().wrapping_add(1);
        self.turn.set(turn);
        turn
    }

    /// Whether queries are put into the log at all.
    #[inline]
    pub(super) fn is_sampling(&self) -> bool {
        self.shared.log_queries.load(Ordering::Relaxed) != 0
    }

    /// Puts one of many queries into the log.
    pub(super) fn sample(&self, query: &[u8], client: Client, outcome: Outcome) {
        let share = self.shared.log_queries.load(Ordering::Relaxed);
        if share == 0 {
            return;
        }
        let count = self.sampled.get().wrapping_add(1);
        self.sampled.set(count);
        if count.is_multiple_of(share) {
            log::query(QueryLine {
                client: client.address,
                transport: client.transport.name(),
                query: query.into(),
                rtype: type_at_question(query),
                outcome: match outcome {
                    Outcome::Answered(source) => source.name(),
                    Outcome::Not(reason) => reason.name(),
                },
            });
        }
    }

    /// Asks the engine. A panic in there costs this one query.
    pub(super) fn answer(
        &self,
        snapshot: &Snapshot,
        bytes: &[u8],
        client: Client,
        now: Instant,
        reply: &mut Vec<u8>,
    ) -> Action {
        let turn = self.next_turn();
        let action = guarded(|| self.shared.engine.answer(snapshot, bytes, client, now, turn, reply), dropped);
        self.look_at(action, client, now, reply)
    }

    /// The first step of that, for one of many queries.
    #[inline]
    pub(super) fn read<'a>(
        &self,
        snapshot: &Snapshot,
        bytes: &'a [u8],
        client: Client,
        now: Instant,
        room: &'a mut NameRoom,
        reply: &mut Vec<u8>,
    ) -> Result<Read<'a>, Action> {
        let engine = &self.shared.engine;
        let read = guarded(|| engine.read(snapshot, bytes, client, room, reply), || Err(dropped()));
        read.map_err(|action| self.look_at(action, client, now, reply))
    }

    /// The second step.
    #[inline]
    pub(super) fn begin<'q>(
        &self,
        snapshot: &'q Snapshot,
        read: &'q Read<'_>,
        client: Client,
        now: Instant,
        reply: &mut Vec<u8>,
    ) -> Begun<'q> {
        let (engine, turn) = (&self.shared.engine, self.next_turn());
        let begun = guarded(|| engine.begin(snapshot, read, client, now, turn, reply), || Begun::Done(dropped()));
        match begun {
            Begun::Done(action) => Begun::Done(self.look_at(action, client, now, reply)),
            pending => pending,
        }
    }

    /// The third step.
    #[inline]
    pub(super) fn finish(
        &self,
        snapshot: &Snapshot,
        pending: &Pending<'_>,
        client: Client,
        now: Instant,
        reply: &mut Vec<u8>,
    ) -> Action {
        let (engine, turn) = (&self.shared.engine, self.turn.get());
        let action = guarded(|| engine.finish(snapshot, pending, client, now, turn, reply), dropped);
        self.look_at(action, client, now, reply)
    }

    fn look_at(&self, action: Action, client: Client, now: Instant, reply: &mut Vec<u8>) -> Action {
        match action {
            Action::Refused(Reason::Loop) => self.shared.say_loop(client.address, now),
            // What a panic left in the buffer is no reply.
            Action::Dropped(Reason::Fault) => reply.clear(),
            _ => {}
        }
        action
    }

    /// Shows that tasks of this worker have their turn.
    async fn beat(self: Rc<Self>) {
        loop {
            self.counters.beat();
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Does what is due when it is due.
    async fn watch_timers(self: Rc<Self>) {
        loop {
            let next = self.shared.forwarding().next_timeout(Instant::now());
            self.shared.arm_timer(next);
            let far = Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                () = tokio::time::sleep_until(next.unwrap_or(far).into()) => {}
                () = self.shared.timers_changed.notified() => continue,
            }
            let now = Instant::now();
            self.with_forwarding(now, |forwarding, out| forwarding.handle_timeout(now, out));
        }
    }

    /// Waits until nothing is in flight any more.
    async fn drain(&self) {
        let deadline = Instant::now() + DRAIN_MAX;
        while Instant::now() < deadline
            && (self.shared.forwarding().has_waiters() || !self.shared.connections.is_empty())
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Calls the engine. A panic in there costs the one query that met it; the worker and its sockets stay.
pub(super) fn guarded<R>(call: impl FnOnce() -> R, instead: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| instead())
}

pub(super) fn dropped() -> Action {
    Action::Dropped(Reason::Fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_one_query() {
        let action = guarded(|| panic!("a defect, on purpose"), dropped);
        assert!(matches!(action, Action::Dropped(Reason::Fault)));
        let action = guarded(|| Action::Refused(Reason::Access), dropped);
        assert!(matches!(action, Action::Refused(Reason::Access)));
    }
}
