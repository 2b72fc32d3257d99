//! A worker: one thread, one runtime, everything that happens on its core.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::counters::{Counters, Outcome};
use super::hearing::take;
use super::kind::type_at_question;
use super::latency::Path;
use super::listen::Listener;
use super::replies::Replies;
use super::shared::{PATIENCE, ReplyPath, Shared, Waiter};
use super::{stream, udp};
use crate::engine::{Action, Answer, Begun, Client, Forward, Pending, Read, Reason, Settlement, Snapshot, Transport};
use crate::forward::{
    Answered, Asker, Failure, Forwarding, Outbox, Ports, Question, Released, Settled, Target, Transmit, Via,
};
use crate::log::{self, QueryLine, Recurring};
use crate::sys::fetch;
use crate::upstream::{Datagrams, Streams};
use crate::wire::query::kept;

/// How many of its own tasks a worker runs before it looks at its sockets again.
const EVENT_INTERVAL: u32 = 13;
/// How long after the stop a worker waits for what is in flight: the patience of the last query, and a little.
const DRAIN_MAX: Duration = PATIENCE.saturating_add(Duration::from_millis(500));

/// An outbox that has room for more than this is not kept.
const OUTBOX_KEPT: usize = 256;
/// How often a worker says that it is alive.
const BEAT: Duration = Duration::from_millis(500);

pub(super) fn run(
    number: usize,
    shared: &Arc<Shared>,
    counters: Arc<Counters>,
    mut listeners: mpsc::UnboundedReceiver<Listener>,
    seeds: [[u8; 32]; 2],
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(EVENT_INTERVAL).build()?;
    let local = LocalSet::new();
    let worker = Rc::new(Worker {
        shared: shared.clone(),
        counters,
        sockets: RefCell::new(Datagrams::new(seeds[0], shared.pools.clone())?),
        streams: Streams::new(shared.trust.clone(), seeds[1]),
        turn: Cell::new(number as u32),
        sampled: Cell::new(0),
        reply: RefCell::new(Vec::with_capacity(4096)),
        replies: RefCell::default(),
        departures: RefCell::default(),
        is_gathering: Cell::new(false),
        spare: RefCell::default(),
    });
    runtime.block_on(local.run_until(async {
        let hearing = tokio::task::spawn_local(worker.clone().hear());
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
    }));
    Ok(())
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
    streams: Streams,
    turn: Cell<u32>,
    /// Queries that might have been put into the log.
    sampled: Cell<u32>,
    /// Where a reply to one who waited is written.
    reply: RefCell<Vec<u8>>,
    /// Replies to those who waited, on their way.
    replies: RefCell<Replies>,
    /// Queries that leave from pools, on their way.
    departures: RefCell<Vec<Transmit>>,
    /// Both wait for others, to be sent together.
    is_gathering: Cell<bool>,
    /// Outboxes with room, to be used again.
    spare: RefCell<Vec<Outbox<Box<Waiter>>>>,
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
                transport: match client.transport {
                    Transport::Datagram => "udp",
                    Transport::Stream => "tcp",
                },
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
        reply: &mut Vec<u8>,
    ) -> Result<Read<'a>, Action> {
        let engine = &self.shared.engine;
        let read = guarded(|| engine.read(snapshot, bytes, client, reply), || Err(dropped()));
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

    /// Sends the questions of queries upstream; each reply goes its path when its answer is there.
    pub(super) fn forward<'q>(self: &Rc<Self>, queries: impl IntoIterator<Item = (Forward, Origin<'q>)>, now: Instant) {
        self.with_forwarding(now, |forwarding, out| {
            for (Forward { question, chain, stale }, Origin { query, client, path }) in queries {
                let waiter = Waiter { query: kept(query), client, chain, stale, deadline: now + PATIENCE, path };
                forwarding.ask(now, question, asker(Box::new(waiter)), out);
            }
        });
    }

    /// Asks a question again before its answer in the cache expires.
    pub(super) fn refresh(self: &Rc<Self>, question: Box<Question>, now: Instant) {
        self.with_forwarding(now, |forwarding, out| forwarding.refresh(now, question, None, out));
    }

    /// Lets queries from pools, and replies to those who waited, go together at the end of `work`.
    pub(super) fn gather<R>(self: &Rc<Self>, work: impl FnOnce() -> R) -> R {
        if self.is_gathering.replace(true) {
            return work();
        }
        let result = work();
        self.depart();
        self.is_gathering.set(false);
        self.replies.borrow_mut().send(&self.counters);
        result
    }

    /// Calls the state machine and carries out what it says.
    pub(super) fn with_forwarding<R>(
        self: &Rc<Self>,
        now: Instant,
        call: impl FnOnce(&mut Forwarding<Box<Waiter>>, &mut Outbox<Box<Waiter>>) -> R,
    ) -> R {
        self.gather(|| {
            let mut out = self.spare.borrow_mut().pop().unwrap_or_default();
            let (result, next) = {
                let mut forwarding = self.shared.forwarding();
                let result = call(&mut forwarding, &mut out);
                (result, forwarding.next_timeout(now))
            };
            self.shared.watch_timer(next);
            if self.carry_out(&mut out, now) {
                let next = self.shared.forwarding().next_timeout(now);
                self.shared.watch_timer(next);
            }
            self.keep_outbox(out);
            result
        })
    }

    /// Sends the queries that leave from pools.
    fn depart(self: &Rc<Self>) {
        while !self.departures.borrow().is_empty() {
            let mut leaving = self.departures.take();
            let (mut failed, now) = (Vec::new(), Instant::now());
            self.sockets.borrow_mut().send_pooled(&leaving, now, |transmit, error| {
                say_unsent(transmit, error);
                failed.push(transmit.id);
            });
            leaving.clear();
            self.departures.replace(leaving);
            if !failed.is_empty() {
                self.with_forwarding(now, |forwarding, out| {
                    for id in failed {
                        forwarding.failed(now, id, out);
                    }
                });
            }
        }
    }

    /// Sends and replies; whether that changed the state machine again.
    fn carry_out(self: &Rc<Self>, out: &mut Outbox<Box<Waiter>>, now: Instant) -> bool {
        let mut changed = false;
        while !out.is_empty() {
            let mut next = self.spare.borrow_mut().pop().unwrap_or_default();
            for transmit in out.transmits.drain(..) {
                changed |= self.transmit(transmit, now, &mut next);
            }
            for settled in &out.settled {
                if let Ok(answered) = &settled.outcome {
                    self.shared.engine.approach_keep(&answered.question.key, fetch);
                }
            }
            for settled in out.settled.drain(..) {
                changed |= self.settle(settled, now, &mut next);
            }
            std::mem::swap(out, &mut next);
            self.keep_outbox(next);
        }
        changed
    }

    /// Keeps an empty outbox for later, unless it has grown large.
    fn keep_outbox(&self, out: Outbox<Box<Waiter>>) {
        if out.transmits.capacity().max(out.settled.capacity()) <= OUTBOX_KEPT {
            self.spare.borrow_mut().push(out);
        }
    }

    /// Sends a query; whether that changed the state machine.
    fn transmit(self: &Rc<Self>, transmit: Transmit, now: Instant, out: &mut Outbox<Box<Waiter>>) -> bool {
        match transmit.via {
            Via::Datagram if transmit.ports == Ports::Pool => {
                self.departures.borrow_mut().push(transmit);
                false
            }
            Via::Datagram => {
                let sent = self.sockets.borrow_mut().send_fresh(&transmit);
                let Err(error) = sent else { return false };
                say_unsent(&transmit, &error);
                self.shared.forwarding().failed(now, transmit.id, out);
                true
            }
            Via::Stream => {
                tokio::task::spawn_local(self.clone().ask_by_stream(transmit));
                false
            }
        }
    }

    async fn ask_by_stream(self: Rc<Self>, transmit: Transmit) {
        let target = Target { address: transmit.to, protocol: transmit.protocol };
        let outcome = self.streams.ask(&target, &transmit.message, transmit.deadline).await;
        let now = Instant::now();
        self.with_forwarding(now, |forwarding, out| take(forwarding, now, transmit.id, outcome, out));
    }

    /// Replies to all who waited for a question; whether that changed the state machine.
    fn settle(&self, settled: Settled<Box<Waiter>>, now: Instant, out: &mut Outbox<Box<Waiter>>) -> bool {
        let snapshot = self.shared.snapshot.load();
        let outcome = settled.outcome.and_then(|Answered { question, message }| {
            let answer = self.shared.engine.keep(&snapshot, &question, &message, now, fetch);
            self.sockets.borrow_mut().take_back(message);
            answer.ok_or(Failure::Silence)
        });
        let mut changed = false;
        for released in settled.waiters {
            changed |= self.settle_waiter(&snapshot, released, &outcome, now, out);
        }
        changed
    }

    fn settle_waiter(
        &self,
        snapshot: &Snapshot,
        released: Released<Box<Waiter>>,
        outcome: &Result<Answer, Failure>,
        now: Instant,
        out: &mut Outbox<Box<Waiter>>,
    ) -> bool {
        let Released { mut waiter, use_stale } = released;
        let (chain, stale, turn) = (waiter.chain.take(), waiter.stale.take(), self.next_turn());
        let settlement = match (&stale, outcome) {
            (Some(stale), _) if use_stale => Settlement::Stale(&stale.answer),
            (_, Ok(answer)) => Settlement::Answer(answer),
            (_, Err(failure)) => Settlement::Failed(*failure),
        };
        let mut reply = self.reply.borrow_mut();
        let settle = || {
            self.shared.engine.settle(
                snapshot,
                &waiter.query,
                waiter.client,
                chain.map(|chain| *chain),
                settlement,
                now,
                turn,
                &mut reply,
            )
        };
        let action = guarded(settle, dropped);
        let outcome = match action {
            Action::Forward(Forward { question, chain, stale }) => {
                (waiter.chain, waiter.stale) = (chain, stale);
                self.shared.forwarding().ask(now, question, asker(waiter), out);
                return true;
            }
            Action::Answered(source) | Action::AnsweredAndRefresh(source, _) => Outcome::Answered(source),
            Action::Dropped(reason) | Action::Refused(reason) => Outcome::Not(reason),
        };
        if let Outcome::Answered(_) = outcome {
            let asked = waiter.deadline - PATIENCE;
            let took = now.saturating_duration_since(asked);
            self.counters.latency(Path::Forwarded, took, 1);
        }
        self.sample(&waiter.query, waiter.client, outcome);
        if let Action::Dropped(_) = action {
            self.counters.count(outcome);
        } else {
            self.replies.borrow_mut().push(waiter.path, &reply, outcome, &self.counters);
        }
        false
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

/// A query whose question goes upstream.
pub(super) struct Origin<'q> {
    /// Its octets.
    pub(super) query: &'q [u8],
    pub(super) client: Client,
    /// The way back.
    pub(super) path: ReplyPath,
}

fn say_unsent(transmit: &Transmit, error: &io::Error) {
    static CAUSE: Recurring = Recurring::new();
    if let Some(before) = CAUSE.due() {
        tracing::warn!(upstream = %transmit.to, %error, before, "an upstream cannot be asked");
    }
}

/// Calls the engine. A panic in there costs the one query that met it; the worker and its sockets stay.
fn guarded<R>(call: impl FnOnce() -> R, instead: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| instead())
}

fn dropped() -> Action {
    Action::Dropped(Reason::Fault)
}

fn asker(waiter: Box<Waiter>) -> Asker<Box<Waiter>> {
    Asker {
        client: waiter.client.address,
        deadline: waiter.deadline,
        stale: waiter.stale.as_ref().map(|stale| stale.limits),
        waiter,
    }
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
