//! A worker: one thread, one runtime, everything that happens on its core.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::counters::{Counters, Outcome};
use super::inherit::{Inherited, Kept};
use super::kind::type_at_question;
use super::latency::Path;
use super::listen::{BindError, Listener, Stop, bind};
use super::shared::{PATIENCE, ReplyPath, Shared, Waiter};
use super::{stream, udp};
use crate::engine::{Action, Answer, Client, Forward, Reason, Settlement, Snapshot, Transport};
use crate::forward::{
    Asker, Failure, Forwarding, Heard, Outbox, Question, Released, Settled, Target, Transmit, TryId, Via,
};
use crate::log::{self, QueryLine, Recurring};
use crate::upstream::{FreshSockets, Received, Streams};
use crate::wire::query::kept;

/// How often sockets are looked for whose queries were settled elsewhere, or by nobody in time.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How many of its own tasks a worker runs before it looks at its sockets again.
const EVENT_INTERVAL: u32 = 13;
/// How long after the stop a worker waits for what is in flight: the patience of the last query, and a little.
const DRAIN_MAX: Duration = PATIENCE.saturating_add(Duration::from_millis(500));

/// How often a worker says that it is alive.
const BEAT: Duration = Duration::from_millis(500);

/// All workers, running.
pub struct Workers {
    listeners: Vec<Listening>,
    counters: Arc<[Arc<Counters>]>,
    senders: Vec<mpsc::UnboundedSender<Listener>>,
    threads: Vec<JoinHandle<()>>,
}

/// An address that all workers listen on.
struct Listening {
    /// As the settings name it.
    asked: SocketAddr,
    /// With its real port.
    address: SocketAddr,
    /// Ends it.
    stop: Stop,
    /// To be handed on.
    kept: Kept,
}

impl Workers {
    /// The addresses that are listened on, with their real ports.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|listening| listening.address)
    }

    /// Each worker's counters.
    pub fn counters(&self) -> Arc<[Arc<Counters>]> {
        self.counters.clone()
    }

    /// The threads, to be waited for.
    pub fn take_threads(&mut self) -> Threads {
        Threads(std::mem::take(&mut self.threads))
    }

    /// Binds what of `addresses` is not listened on yet. Nothing is served there before [`Self::serve_only`].
    ///
    /// # Errors
    /// The first address that cannot be listened on; none of them is bound then.
    pub fn bind_new(&self, addresses: &[SocketAddr]) -> Result<NewListeners, BindError> {
        let is_new = |address: &&SocketAddr| !self.listeners.iter().any(|listening| listening.asked == **address);
        let addresses: Vec<_> = addresses.iter().filter(is_new).copied().collect();
        NewListeners::bind(&addresses, self.senders.len(), &mut Inherited::default())
    }

    /// Listens on `addresses` and nowhere else: `new` is what [`Self::bind_new`] gave for them. What came to an address
    /// that goes is answered; its connections end as they would have.
    pub fn serve_only(&mut self, addresses: &[SocketAddr], new: NewListeners) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let mut added = Vec::new();
        for NewListener { asked, address, listeners, kept } in new.0 {
            let stop = Stop::default();
            for (sender, mut listener) in self.senders.iter().cycle().zip(listeners) {
                listener.stop = stop.clone();
                // A worker that is gone said so itself.
                let _ = sender.send(listener);
            }
            self.listeners.push(Listening { asked, address, stop, kept });
            added.push(address);
        }
        let (keep, go): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.listeners).into_iter().partition(|listening| addresses.contains(&listening.asked));
        self.listeners = keep;
        let removed = go.iter().map(|listening| listening.address).collect();
        go.iter().for_each(|listening| listening.stop.stop());
        (added, removed)
    }

    /// All sockets for datagrams and for connections, to be handed on.
    pub fn sockets(&self) -> (Vec<BorrowedFd<'_>>, Vec<BorrowedFd<'_>>) {
        let kept = || self.listeners.iter().map(|listening| &listening.kept);
        let datagram = kept().flat_map(|kept| &kept.datagram).map(AsFd::as_fd).collect();
        (datagram, kept().flat_map(|kept| &kept.stream).map(AsFd::as_fd).collect())
    }

    /// Lets all workers end: what came in is answered.
    pub fn stop(&self, shared: &Shared) {
        shared.stop();
        self.listeners.iter().for_each(|listening| listening.stop.stop());
    }
}

/// Sockets that are bound and not served yet.
pub struct NewListeners(Vec<NewListener>);

struct NewListener {
    asked: SocketAddr,
    /// With its real port.
    address: SocketAddr,
    listeners: Vec<Listener>,
    kept: Kept,
}

impl NewListeners {
    /// Binds `addresses` for a number of workers, or takes what is there for them already.
    ///
    /// # Errors
    /// The first address that cannot be listened on; none of them is bound then.
    pub fn bind(addresses: &[SocketAddr], workers: usize, inherited: &mut Inherited) -> Result<Self, BindError> {
        let mut new: Vec<NewListener> = Vec::new();
        for &asked in addresses {
            if asked.port() == 0 || !new.iter().any(|new| new.asked == asked) {
                let (address, listeners, kept) = bind(asked, workers, inherited)?;
                new.push(NewListener { asked, address, listeners, kept });
            }
        }
        Ok(Self(new))
    }
}

/// The threads of all workers.
pub struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    /// Waits until all have ended. A worker that ended by a panic has said so itself.
    pub fn join(&mut self) {
        for thread in self.0.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Starts `count` workers, which listen nowhere yet. `seed` gives each worker's source of randomness.
///
/// # Errors
/// The system's refusal to start a thread or to give randomness.
pub fn start(
    shared: &Arc<Shared>,
    count: usize,
    seed: &mut dyn FnMut() -> io::Result<[u8; 32]>,
) -> io::Result<Workers> {
    let counters: Arc<[Arc<Counters>]> = (0..count).map(|_| Arc::default()).collect();
    let mut workers =
        Workers { listeners: Vec::new(), counters: counters.clone(), senders: Vec::new(), threads: Vec::new() };
    for (number, counters) in counters.iter().cloned().enumerate() {
        let (sender, listeners) = mpsc::unbounded_channel();
        let (shared, seeds) = (shared.clone(), [seed()?, seed()?]);
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            if let Err(error) = run(number, &shared, counters, listeners, seeds) {
                tracing::error!(worker = number, %error, "a worker ended");
            }
        })?;
        workers.senders.push(sender);
        workers.threads.push(thread);
    }
    Ok(workers)
}

fn run(
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
        sockets: RefCell::new(FreshSockets::new(seeds[0])?),
        streams: Streams::new(shared.trust.clone(), seeds[1]),
        turn: Cell::new(number as u32),
        reply: RefCell::new(Vec::with_capacity(4096)),
    });
    runtime.block_on(local.run_until(async {
        let hearing = tokio::task::spawn_local(worker.clone().hear());
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
    sockets: RefCell<FreshSockets>,
    streams: Streams,
    turn: Cell<u32>,
    /// For replies to those who waited.
    reply: RefCell<Vec<u8>>,
}

impl Worker {
    /// A number that is another one for each query.
    pub(super) fn next_turn(&self) -> u32 {
        let turn = self.turn.get().wrapping_add(1);
        self.turn.set(turn);
        turn
    }

    /// Puts one of many queries into the log.
    pub(super) fn sample(&self, query: &[u8], client: Client, outcome: Outcome) {
        let share = self.shared.log_queries.load(Ordering::Relaxed);
        if share != 0 && self.turn.get().is_multiple_of(share) {
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
        let action = guarded(|| self.shared.engine.answer(snapshot, bytes, client, now, turn, reply));
        match action {
            Action::Refused(Reason::Loop) => self.shared.say_loop(client.address, now),
            // What a panic left in the buffer is no reply.
            Action::Dropped(Reason::Fault) => reply.clear(),
            _ => {}
        }
        action
    }

    /// Sends a query's question upstream; the reply goes `path` when its answer is there.
    pub(super) fn forward(
        self: &Rc<Self>,
        query: &[u8],
        client: Client,
        mut forward: Box<Forward>,
        path: ReplyPath,
        now: Instant,
    ) {
        let (chain, stale) = (forward.chain.take(), forward.stale.take());
        let waiter = Waiter { query: kept(query), client, chain, stale, deadline: now + PATIENCE, path };
        self.with_forwarding(now, |forwarding, out| forwarding.ask(now, question(&forward), asker(waiter), out));
    }

    /// Asks a question again before its answer in the cache expires.
    pub(super) fn refresh(self: &Rc<Self>, forward: &Forward, now: Instant) {
        self.with_forwarding(now, |forwarding, out| forwarding.refresh(now, question(forward), None, out));
    }

    /// Calls the state machine and carries out what it says.
    fn with_forwarding<R>(
        self: &Rc<Self>,
        now: Instant,
        call: impl FnOnce(&mut Forwarding<Waiter>, &mut Outbox<Waiter>) -> R,
    ) -> R {
        let mut out = Outbox::default();
        let (result, next) = {
            let mut forwarding = self.shared.forwarding();
            let result = call(&mut forwarding, &mut out);
            (result, forwarding.next_timeout(now))
        };
        self.shared.watch_timer(next);
        if self.carry_out(out, now) {
            let next = self.shared.forwarding().next_timeout(now);
            self.shared.watch_timer(next);
        }
        result
    }

    /// Sends and replies; whether that changed the state machine again.
    fn carry_out(self: &Rc<Self>, mut out: Outbox<Waiter>, now: Instant) -> bool {
        let mut changed = false;
        while !(out.transmits.is_empty() && out.settled.is_empty()) {
            changed |= !out.settled.is_empty();
            let mut next = Outbox::default();
            for transmit in out.transmits {
                self.transmit(transmit, now, &mut next);
            }
            for settled in out.settled {
                self.settle(settled, now, &mut next);
            }
            out = next;
        }
        changed
    }

    fn transmit(self: &Rc<Self>, transmit: Transmit, now: Instant, out: &mut Outbox<Waiter>) {
        match transmit.via {
            Via::Datagram => {
                let sent = self.sockets.borrow_mut().send(&transmit);
                if let Err(error) = sent {
                    static CAUSE: Recurring = Recurring::new();
                    if let Some(before) = CAUSE.due() {
                        tracing::warn!(upstream = %transmit.to, %error, before, "an upstream cannot be asked");
                    }
                    self.shared.forwarding().failed(now, transmit.id, out);
                }
            }
            Via::Stream => {
                tokio::task::spawn_local(self.clone().ask_by_stream(transmit));
            }
        }
    }

    async fn ask_by_stream(self: Rc<Self>, transmit: Transmit) {
        let target = Target { address: transmit.to, protocol: transmit.protocol };
        let outcome = self.streams.ask(&target, &transmit.message, transmit.deadline).await;
        let now = Instant::now();
        self.with_forwarding(now, |forwarding, out| take(forwarding, now, transmit.id, outcome, out));
    }

    /// Replies to all who waited for a question.
    fn settle(&self, settled: Settled<Waiter>, now: Instant, out: &mut Outbox<Waiter>) {
        let snapshot = self.shared.snapshot.load();
        let outcome = settled.outcome.and_then(|bytes| {
            self.shared.engine.keep(&snapshot, &settled.rule, &settled.key, &bytes, now).ok_or(Failure::Silence)
        });
        for released in settled.waiters {
            self.settle_waiter(&snapshot, released, &outcome, now, out);
        }
    }

    fn settle_waiter(
        &self,
        snapshot: &Snapshot,
        released: Released<Waiter>,
        outcome: &Result<Arc<Answer>, Failure>,
        now: Instant,
        out: &mut Outbox<Waiter>,
    ) {
        let Released { mut waiter, use_stale } = released;
        let (chain, stale, turn) = (waiter.chain.take(), waiter.stale.take(), self.next_turn());
        let settlement = match (&stale, outcome) {
            (Some(stale), _) if use_stale => Settlement::Stale(&stale.answer),
            (_, Ok(answer)) => Settlement::Answer(answer),
            (_, Err(failure)) => Settlement::Failed(*failure),
        };
        let mut reply = self.reply.borrow_mut();
        let action = guarded(|| {
            self.shared.engine.settle(snapshot, &waiter.query, waiter.client, chain, settlement, now, turn, &mut reply)
        });
        let outcome = match action {
            Action::Forward(mut forward) => {
                (waiter.chain, waiter.stale) = (forward.chain.take(), forward.stale.take());
                return self.shared.forwarding().ask(now, question(&forward), asker(waiter), out);
            }
            Action::Dropped(reason) => Outcome::Not(reason),
            Action::Answered(source) | Action::AnsweredAndRefresh(source, _) => {
                waiter.path.deliver(&reply, Outcome::Answered(source))
            }
            Action::Refused(reason) => waiter.path.deliver(&reply, Outcome::Not(reason)),
        };
        if let Outcome::Answered(_) = outcome {
            let asked = waiter.deadline - PATIENCE;
            let took = now.saturating_duration_since(asked);
            self.counters.latency(Path::Forwarded, took, 1);
        }
        self.sample(&waiter.query, waiter.client, outcome);
        self.counters.count(outcome);
    }

    /// Reads what upstreams send to this worker's sockets.
    async fn hear(self: Rc<Self>) {
        let readiness = self.sockets.borrow().readiness();
        let readiness = match readiness {
            Ok(readiness) => readiness,
            Err(error) => return tracing::error!(%error, "upstreams cannot be heard"),
        };
        let mut received = Vec::new();
        loop {
            let ready = tokio::time::timeout(SWEEP_INTERVAL, readiness.readable()).await;
            // Also when nothing comes: sockets whose queries are settled must not stay.
            self.sockets.borrow_mut().sweep(Instant::now());
            let mut guard = match ready {
                Ok(Ok(guard)) => guard,
                Ok(Err(_)) => return,
                Err(_) => continue,
            };
            match self.sockets.borrow_mut().receive(&mut received) {
                Ok(true) => {}
                Ok(false) => guard.clear_ready(),
                Err(error) => {
                    tracing::error!(%error, "upstreams' sockets cannot be read");
                    guard.clear_ready();
                }
            }
            let now = Instant::now();
            for Received { socket, id, outcome } in received.drain(..) {
                let heard = self.with_forwarding(now, |forwarding, out| take(forwarding, now, id, outcome, out));
                if heard == Heard::Done {
                    self.sockets.borrow_mut().close(socket);
                }
            }
            tokio::task::yield_now().await;
        }
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

fn take(
    forwarding: &mut Forwarding<Waiter>,
    now: Instant,
    id: TryId,
    outcome: io::Result<Vec<u8>>,
    out: &mut Outbox<Waiter>,
) -> Heard {
    match outcome {
        Ok(bytes) => forwarding.heard(now, id, bytes, out),
        Err(_) => forwarding.failed(now, id, out),
    }
}

/// Calls the engine. A panic in there costs the one query that met it; the worker and its sockets stay.
fn guarded(call: impl FnOnce() -> Action) -> Action {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Action::Dropped(Reason::Fault))
}

/// The question of a forward, borrowed from it.
fn question(forward: &Forward) -> Question<'_> {
    Question {
        key: forward.key.as_bytes(),
        question: &forward.question,
        dnssec_ok: forward.dnssec_ok,
        checking_disabled: forward.checking_disabled,
        tokens: &forward.tokens,
        rule: &forward.rule,
    }
}

fn asker(waiter: Waiter) -> Asker<Waiter> {
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
        let action = guarded(|| panic!("a defect, on purpose"));
        assert!(matches!(action, Action::Dropped(Reason::Fault)));
        let action = guarded(|| Action::Refused(Reason::Access));
        assert!(matches!(action, Action::Refused(Reason::Access)));
    }
}
