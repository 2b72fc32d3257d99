//! A worker: one thread, one runtime, everything that happens on its core.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

use super::counters::{Counters, Outcome};
use super::end::End;
use super::faults::Part;
use super::forwarding::Origin;
use super::listen::Listener;
use super::replies::Replies;
use super::shared::Shared;
use super::waiter::{OncePath, OnceReply, ReplyPath, Uncounted, Waiter};
use super::{stream, udp};
use crate::engine::{Action, Ask, Batch, Client, GROUP, Reason, Rooms, Snapshot};
use crate::forward::{Outbox, Transmit};
use crate::sys::fetch;
use crate::upstream::{Datagrams, Streams};
use crate::wire::NameRoom;

/// How many of its own tasks a worker runs before it looks at its sockets again.
const EVENT_INTERVAL: u32 = 13;

/// How often a worker says that it is alive.
const BEAT: Duration = Duration::from_millis(500);
/// How long a worker rests that failed as a whole, before it begins again.
const REST: Duration = Duration::from_millis(200);

/// What a worker's thread is given.
pub(super) struct Start {
    pub(super) number: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    pub(super) listeners: mpsc::UnboundedReceiver<Listener>,
    pub(super) seeds: [[u8; 32]; 2],
    /// Where it says that it has all that it needs, which later may not be there any more.
    pub(super) started: Sender<io::Result<()>>,
}

/// Runs a worker to its end. Where it fails as a whole, once it had started, it begins again and serves what it served.
pub(super) fn run(mut start: Start) {
    let mut serving = Vec::new();
    let mut started = Some(start.started.clone());
    loop {
        let run = || run_once(&mut start, &mut serving, &mut started);
        let outcome = catch_unwind(AssertUnwindSafe(run));
        let worker = start.number;
        match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::error!(worker, %error, "a worker ended");
                if let Some(started) = started.take() {
                    let _ = started.send(Err(error));
                    return;
                }
            }
            Err(_) => {
                start.shared.faults.note(Part::Worker);
                tracing::error!(worker, "a worker ended by a defect of the server itself: it begins again");
            }
        }
        // The IDs and ports of before must not come again: another seed by one bit is another one altogether.
        for seed in &mut start.seeds {
            let [first, ..] = seed;
            *first = first.wrapping_add(1);
        }
        std::thread::sleep(REST);
    }
}

fn run_once(
    start: &mut Start,
    serving: &mut Vec<Rc<Listener>>,
    started: &mut Option<Sender<io::Result<()>>>,
) -> io::Result<()> {
    let Start { number, shared, counters, listeners, seeds, .. } = start;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(EVENT_INTERVAL).build()?;
    let local = LocalSet::new();
    let worker = Rc::new(Worker {
        shared: shared.clone(),
        counters: counters.clone(),
        sockets: RefCell::new(Datagrams::new(seeds[0], shared.pools.clone())?),
        streams: Streams::new(shared.trust.clone(), seeds[1]),
        turn: Cell::new(u32::try_from(*number).unwrap_or_default()),
        sampled: Cell::new(0),
        tapped: Cell::default(),
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
        let mut always = JoinSet::new();
        let own = worker.clone();
        always.spawn_local(async move {
            own.keep_running(Part::Upstream, || own.clone().hear(&readiness)).await;
        });
        let own = worker.clone();
        always.spawn_local(async move { own.keep_running(Part::Upstream, || own.clone().sweep()).await });
        let own = worker.clone();
        always.spawn_local(async move { own.keep_running(Part::Timers, || own.clone().beat()).await });
        // One worker watches the timers of all.
        if *number == 0 {
            let own = worker.clone();
            always.spawn_local(async move { own.keep_running(Part::Timers, || own.clone().watch_timers()).await });
        }
        let mut listening = JoinSet::new();
        serving.iter().for_each(|listener| listen(&worker, listener, &mut listening));
        let mut stopping = shared.stopping.subscribe();
        loop {
            tokio::select! {
                biased;
                Some(new) = listeners.recv() => {
                    let new = Rc::new(new);
                    serving.retain(|listener| !listener.stop.is_stopped());
                    serving.push(new.clone());
                    shared.faults.meet(Part::Worker);
                    listen(&worker, &new, &mut listening);
                }
                Some(_) = listening.join_next() => {}
                _ = stopping.wait_for(|stop| *stop) => break,
            }
        }
        while listening.join_next().await.is_some() {}
        worker.drain().await;
        always.abort_all();
        Ok(())
    }))
}

fn listen(worker: &Rc<Worker>, listener: &Rc<Listener>, listening: &mut JoinSet<()>) {
    if let Some(datagrams) = &listener.datagram {
        let (worker, stop, datagrams) = (worker.clone(), listener.stop.clone(), datagrams.clone());
        listening.spawn_local(async move {
            worker.keep_running(Part::Listener, || udp::serve(&worker, &datagrams, &stop)).await;
        });
    }
    let (worker, listener) = (worker.clone(), listener.clone());
    listening.spawn_local(async move {
        worker.keep_running(Part::Listener, || stream::serve(&worker, &listener)).await;
    });
}

/// What the tasks of one worker share.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    pub(super) sockets: RefCell<Datagrams>,
    pub(super) streams: Streams,
    turn: Cell<u32>,
    /// Queries that might have been put into the log.
    pub(super) sampled: Cell<u32>,
    /// The same for dnstap.
    pub(super) tapped: Cell<u32>,
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

    /// Has the engine answer queries that came together. A panic in there costs the query that met it.
    pub(super) fn answer(&self, snapshot: &Snapshot, now: Instant, asks: &mut [Ask<'_>], rooms: &mut Rooms) {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(u32::try_from(asks.len()).unwrap_or(u32::MAX)));
        self.shared.engine.answer_batch(Batch { snapshot, now, turn }, asks, rooms, &self.shared.faults, fetch);
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
            self.with_forwarding(now, |forwarding, out| {
                self.with_machine(Part::Timers, forwarding, now, out, |forwarding, out| {
                    forwarding.handle_timeout(now, out)
                });
            });
        }
    }

    /// Waits until nothing is in flight any more, or what is left is waited for no longer.
    async fn drain(&self) {
        while !self.shared.is_over() && (self.shared.forwarding().has_waiters() || !self.shared.connections.is_empty())
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Takes a message that came alone, and sees to it that its reply goes its path. `reply` is room to write in.
    pub(super) fn take(self: &Rc<Self>, message: &[u8], client: Client, path: ReplyPath, reply: &mut Vec<u8>) {
        self.counters.received(client.transport, 1);
        self.counters.kind(message);
        let uncounted = Uncounted::new(&self.counters);
        let now = Instant::now();
        let snapshot = self.shared.snapshot.load();
        let mut rooms = [const { NameRoom::new() }; GROUP];
        // Over connections nothing depends on the port.
        let mut asks = [Ask::new(message, client, u16::MAX, reply)];
        self.answer(&snapshot, now, &mut asks, &mut rooms);
        let [Ask { action, reply, .. }] = asks;
        let (answered, outcome) = match action {
            Action::Forward(forward) => {
                let origin = Origin { query: message, client, path, uncounted };
                return self.forward([(forward, origin)], now);
            }
            Action::AnsweredAndRefresh(source, question) => {
                self.refresh(question, now);
                (true, Outcome::Answered(source))
            }
            Action::Answered(source) => (true, Outcome::Answered(source)),
            Action::Refused(reason) => (true, Outcome::Not(reason)),
            Action::Dropped(reason) => (false, Outcome::Not(reason)),
        };
        let outcome = match path {
            ReplyPath::Stream(path) if answered => path.deliver(reply, outcome),
            ReplyPath::Once(path) if answered => path.deliver(reply, outcome),
            // Datagrams are answered in batches.
            ReplyPath::Stream(_) | ReplyPath::Once(_) | ReplyPath::Datagram { .. } => outcome,
        };
        uncounted.counted();
        self.end([End { query: message, client, outcome, reply, has_waited: false }], [now, Instant::now()]);
    }

    /// Answers one message, for transports that carry one at a time; nothing where it gets no reply.
    pub(super) async fn exchange(self: &Rc<Self>, message: &[u8], client: Client) -> Option<OnceReply> {
        let (reply, answered) = oneshot::channel();
        let path = ReplyPath::Once(OncePath { reply, connections: self.shared.connections.clone() });
        self.take(message, client, path, &mut Vec::new());
        answered.await.ok()
    }
}

pub(super) fn dropped() -> Action {
    Action::Dropped(Reason::Fault)
}
