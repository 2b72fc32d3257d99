//! A worker's dealings with the state machine: what it is asked and told, and how what it says is carried out.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};

use super::counters::Outcome;
use super::faults::Part;
use super::qtype_label::{question_name, type_at_question};
use super::replies::Waited;
use super::tasks::{Paced, PacedReplies, Task, Tasks};
use super::waiter::{ReplyPath, Uncounted, Waiter};
use super::worker::Worker;
use crate::engine::{Action, Answer, Client, Forward, Reason, Snapshot, UpstreamResult};
use crate::forward::{
    Answered, Arrival, AttemptId, AttemptState, CLIENT_TIMEOUT, ClientQuery, Delivery, Failure, Forwarding, News,
    Outbox, Ports, Question, ReleasedWaiter, Resolved, Target, Transmit, Via,
};
use crate::log::Recurring;
use crate::sys::prefetch;
use crate::upstream::trouble_of;
use crate::wire::UpstreamMessage;
use crate::wire::header::Rcode;
use crate::wire::query::kept;
use crate::wire::reply;

/// An outbox that has room for more than this is not kept.
const OUTBOX_KEPT: usize = 256;

/// How long after the deadline for an answer a datagram may still leave: no client waits longer than 5 s.
const LATE_MAX: Duration = Duration::from_millis(500);

/// A query whose question goes upstream.
pub(super) struct Origin<'q> {
    /// Its bytes.
    pub(super) query: &'q [u8],
    pub(super) client: Client,
    /// The way back.
    pub(super) path: ReplyPath,
    pub(super) uncounted: Uncounted,
}

/// Notes that replies and queries of one moment are gathered, until it is dropped: by a panic as well.
struct Gathering<'w>(&'w Worker);

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        self.0.is_gathering.set(false);
    }
}

impl Worker {
    /// Sends the questions of queries upstream; each reply goes its path when its answer is there.
    pub(super) fn forward<'q>(self: &Rc<Self>, queries: impl IntoIterator<Item = (Forward, Origin<'q>)>, now: Instant) {
        self.with_forwarding(now, |forwarding, out| {
            for (Forward { question, chain, stale }, Origin { query, client, path, uncounted }) in queries {
                let deadline = now + CLIENT_TIMEOUT;
                let waiter = Waiter { query: kept(query), client, chain, stale, deadline, path, uncounted };
                let client_query = client_query(Box::new(waiter));
                self.with_machine(Part::Forwarding, forwarding, now, out, |forwarding, out| {
                    forwarding.ask(now, question, client_query, out)
                });
            }
        });
    }

    /// Asks a question again before its answer in the cache expires.
    pub(super) fn refresh(self: &Rc<Self>, question: Box<Question>, now: Instant) {
        self.with_forwarding(now, |forwarding, out| {
            self.with_machine(Part::Forwarding, forwarding, now, out, |forwarding, out| {
                forwarding.refresh(now, question, None, out)
            });
        });
    }

    /// Lets queries from pools, and replies to those who waited, go together at the end of `work`.
    pub(super) fn coalesce<R>(self: &Rc<Self>, work: impl FnOnce() -> R) -> R {
        if self.is_gathering.replace(true) {
            return work();
        }
        let gathering = Gathering(self);
        let result = work();
        self.flush_sends();
        drop(gathering);
        self.replies.borrow_mut().send(&self.ends);
        result
    }

    /// One call of the state machine. A panic in it costs the query that it was about: what else waits is asked again by a
    /// machine that begins again, because nothing can be said of what this one knows.
    #[inline]
    pub(super) fn with_machine<R>(
        &self,
        part: Part,
        forwarding: &mut Forwarding<Box<Waiter>>,
        now: Instant,
        out: &mut Outbox<Box<Waiter>>,
        call: impl FnOnce(&mut Forwarding<Box<Waiter>>, &mut Outbox<Box<Waiter>>) -> R,
    ) -> Option<R> {
        let faults = &self.shared.faults;
        let result = faults.guarded(part, || Some(call(forwarding, out)), || None);
        if result.is_none() {
            self.start_over(forwarding, now, out);
        }
        result
    }

    #[cold]
    fn start_over(&self, forwarding: &mut Forwarding<Box<Waiter>>, now: Instant, out: &mut Outbox<Box<Waiter>>) {
        let faults = &self.shared.faults;
        let asked = faults.guarded(Part::Forwarding, || forwarding.start_over(), Vec::new);
        tracing::error!(waiting = asked.len(), "forwarding panicked; restarting it, waiting questions are sent again");
        for (question, client_query) in asked {
            faults.guarded(Part::Forwarding, || forwarding.ask(now, question, client_query, out), || ());
        }
    }

    /// Calls the state machine and carries out what it says.
    pub(super) fn with_forwarding<R>(
        self: &Rc<Self>,
        now: Instant,
        call: impl FnOnce(&mut Forwarding<Box<Waiter>>, &mut Outbox<Box<Waiter>>) -> R,
    ) -> R {
        self.coalesce(|| {
            let mut out = self.spare.borrow_mut().pop().unwrap_or_default();
            let (result, next, news) = {
                let mut forwarding = self.shared.forwarding();
                let result = call(&mut forwarding, &mut out);
                (result, forwarding.take_new_timeout(now), forwarding.take_news())
            };
            self.set_timer(next);
            news.iter().for_each(say_news);
            if self.carry_out(&mut out, now) {
                let next = self.shared.forwarding().take_new_timeout(now);
                self.set_timer(next);
            }
            self.keep_outbox(out);
            result
        })
    }

    /// Sends the queries that leave from pools.
    fn flush_sends(self: &Rc<Self>) {
        while !self.pending_sends.borrow().is_empty() {
            let mut leaving = self.pending_sends.take();
            let (mut failed, now) = (Vec::new(), self.pending_since.get());
            self.sender.borrow_mut().send_pooled(&leaving, now, |transmit, error| {
                say_unsent(transmit, error);
                failed.push((transmit.id, trouble_of(error)));
            });
            leaving.clear();
            self.pending_sends.replace(leaving);
            if !failed.is_empty() {
                self.with_forwarding(now, |forwarding, out| {
                    for (id, trouble) in failed {
                        self.with_machine(Part::Forwarding, forwarding, now, out, |forwarding, out| {
                            forwarding.failed(now, id, &trouble, out)
                        });
                    }
                });
            }
        }
    }

    /// Sends and replies; whether that changed the state machine again.
    fn carry_out(self: &Rc<Self>, out: &mut Outbox<Box<Waiter>>, now: Instant) -> bool {
        let mut changed = false;
        while !out.is_empty() {
            if !out.transmits.is_empty() {
                let mut transmits = std::mem::take(&mut out.transmits);
                for transmit in transmits.drain(..) {
                    changed |= self.transmit(transmit, now, out);
                }
                use_again(&mut out.transmits, transmits);
            }
            if !out.resolved.is_empty() {
                let mut resolved = std::mem::take(&mut out.resolved);
                // One that is alone is looked for at once.
                for resolved in resolved.iter().filter(|_| resolved.len() > 1) {
                    if let Ok(answered) = &resolved.outcome {
                        self.shared.engine.prefetch_keep(&answered.question.key, prefetch);
                    }
                }
                for resolved in resolved.drain(..) {
                    changed |= self.resolve(resolved, now, out);
                }
                use_again(&mut out.resolved, resolved);
            }
        }
        changed
    }

    /// Keeps an empty outbox for later, unless it has grown large.
    fn keep_outbox(&self, out: Outbox<Box<Waiter>>) {
        if out.transmits.capacity().max(out.resolved.capacity()) <= OUTBOX_KEPT {
            self.spare.borrow_mut().push(out);
        }
    }

    /// Sends a query; whether that changed the state machine.
    fn transmit(self: &Rc<Self>, transmit: Transmit, now: Instant, out: &mut Outbox<Box<Waiter>>) -> bool {
        if tracing::enabled!(tracing::Level::DEBUG) {
            log_attempt(&transmit);
        }
        match transmit.via {
            Via::Datagram if transmit.ports == Ports::Pool => {
                self.pending_sends.borrow_mut().push(transmit);
                self.pending_since.set(now);
                false
            }
            Via::Datagram => {
                let sent = self.sender.borrow_mut().send_fresh(&transmit);
                let Err(error) = sent else { return false };
                say_unsent(&transmit, &error);
                let trouble = trouble_of(&error);
                let mut forwarding = self.shared.forwarding();
                self.with_machine(Part::Forwarding, &mut forwarding, now, out, |forwarding, out| {
                    forwarding.failed(now, transmit.id, &trouble, out)
                });
                true
            }
            Via::Stream => {
                self.begin(Task::Ask(transmit));
                false
            }
        }
    }

    /// Sees to it that a task runs.
    fn begin(self: &Rc<Self>, task: Task) {
        match &self.tasks {
            Tasks::Own => _ = tokio::task::spawn_local(self.clone().carry(task)),
            // The other thread ends when nothing is in flight any more. What waits for the task then is counted as left.
            Tasks::Other(other) => _ = other.send(task),
        }
    }

    async fn carry(self: Rc<Self>, task: Task) {
        match task {
            Task::Ask(transmit) => self.ask_by_stream(transmit).await,
            Task::Pace(replies) => self.reply_later(replies).await,
        }
    }

    /// Runs what the event loop leaves to this thread.
    pub(super) async fn take_over(self: Rc<Self>, tasks: Arc<Mutex<mpsc::UnboundedReceiver<Task>>>) {
        let mut tasks = tasks.lock().await;
        while let Some(task) = tasks.recv().await {
            self.begin(task);
        }
    }

    async fn ask_by_stream(self: Rc<Self>, transmit: Transmit) {
        let target = Target { address: transmit.to, protocol: transmit.protocol };
        let asking = self.streams.ask(&target, &transmit.message, transmit.losses_max, transmit.deadline);
        let outcome = self.shared.faults.supervised(Part::Upstream, asking).await;
        // A try that ended by a panic failed.
        let outcome = outcome.unwrap_or_else(|| Err(io::ErrorKind::Other.into()));
        let outcome = outcome.map(|bytes| Arrival::Message(Box::new(UpstreamMessage::read(bytes))));
        let now = Instant::now();
        self.with_forwarding(now, |forwarding, out| {
            self.with_machine(Part::Answer, forwarding, now, out, |forwarding, out| {
                take(forwarding, now, transmit.id, outcome, out)
            });
        });
    }

    /// Replies to all who waited for a question; whether that changed the state machine.
    fn resolve(self: &Rc<Self>, resolved: Resolved<Box<Waiter>>, now: Instant, out: &mut Outbox<Box<Waiter>>) -> bool {
        if let Err(reason) = &resolved.outcome {
            let waiters = resolved.waiters.len();
            let detail = resolved.detail.as_deref();
            tracing::debug!(?reason, detail, waiters, "no answer from upstream");
        }
        let snapshot = self.shared.snapshot.load();
        let outcome = resolved.outcome.and_then(|Answered { question, mut message }| {
            let keep = || self.shared.engine.keep(&snapshot, &question, &mut message, now, prefetch);
            let answer = self.shared.faults.guarded(Part::Answer, keep, || None);
            self.spares.borrow_mut().take_back(message);
            answer.ok_or(Failure::Silence)
        });
        let detail = resolved.detail.as_deref();
        let (mut changed, mut later) = (false, Vec::new());
        for released in resolved.waiters {
            match released.delivery {
                Delivery::At(turn) => later.push(Paced { turn, released }),
                Delivery::Now | Delivery::Never => {
                    changed |= self.resolve_waiter(&snapshot, released, &outcome, detail, now, out);
                }
            }
        }
        if !later.is_empty() {
            later.sort_by_key(|paced| paced.turn.at);
            self.begin(Task::Pace(PacedReplies { replies: later, outcome, detail: resolved.detail }));
        }
        changed
    }

    /// Replies to those whose replies are paced, each at its time, by which they are in order.
    async fn reply_later(self: Rc<Self>, PacedReplies { replies, outcome, detail }: PacedReplies) {
        let mut later = replies.into_iter().peekable();
        // When the first one is to be asked for again.
        let mut again = None;
        while let Some(at) = later.peek().map(|next| next.turn.at) {
            tokio::time::sleep_until(again.take().unwrap_or(at).into()).await;
            let now = Instant::now();
            self.coalesce(|| {
                let snapshot = self.shared.snapshot.load();
                let mut out = self.spare.borrow_mut().pop().unwrap_or_default();
                let (leaving, next) = {
                    let mut forwarding = self.shared.forwarding();
                    let mut may_leave = |next: &Paced| {
                        let answer = forwarding.may_leave(now, next.released.waiter.client.address, next.turn);
                        again = answer.err();
                        answer.is_ok()
                    };
                    let leaving: Vec<_> =
                        std::iter::from_fn(|| later.next_if(|next| next.turn.at <= now && may_leave(next))).collect();
                    (leaving, forwarding.take_new_timeout(now))
                };
                self.set_timer(next);
                for Paced { released, .. } in leaving {
                    self.resolve_waiter(&snapshot, released, &outcome, detail.as_deref(), now, &mut out);
                }
                if self.carry_out(&mut out, now) {
                    let next = self.shared.forwarding().take_new_timeout(now);
                    self.set_timer(next);
                }
                self.keep_outbox(out);
            });
        }
    }

    fn resolve_waiter(
        &self,
        snapshot: &Snapshot,
        released: ReleasedWaiter<Box<Waiter>>,
        outcome: &Result<Answer, Failure>,
        detail: Option<&str>,
        now: Instant,
        out: &mut Outbox<Box<Waiter>>,
    ) -> bool {
        let ReleasedWaiter { mut waiter, use_stale, delivery, room } = released;
        let is_late = matches!(waiter.path, ReplyPath::Datagram { .. }) && now > waiter.deadline + LATE_MAX;
        let (chain, stale, turn) = (waiter.chain.take(), waiter.stale.take(), self.next_turn());
        let result = match (&stale, outcome) {
            (Some(stale), _) if use_stale => UpstreamResult::Stale(&stale.answer),
            (_, Ok(answer)) => UpstreamResult::Answer(answer),
            (_, Err(failure)) => UpstreamResult::Failed(*failure, detail),
        };
        let mut reply = self.reply.borrow_mut();
        let resolve = || {
            self.shared.engine.resolve(
                snapshot,
                &waiter.query,
                waiter.client,
                chain.map(|chain| *chain),
                result,
                now,
                turn,
                &mut reply,
            )
        };
        let action = if is_late || delivery == Delivery::Never {
            Action::Dropped(Reason::BudgetTimeout)
        } else {
            self.shared.faults.guarded(Part::Query, resolve, || Action::Dropped(Reason::Fault))
        };
        let outcome = match action {
            Action::Forward(Forward { question, chain, stale }) => {
                (waiter.chain, waiter.stale) = (chain, stale);
                let mut forwarding = self.shared.forwarding();
                let client_query = client_query(waiter);
                self.with_machine(Part::Forwarding, &mut forwarding, now, out, |forwarding, out| {
                    forwarding.ask(now, question, client_query, out)
                });
                return true;
            }
            Action::Answered(source) | Action::AnsweredAndRefresh(source, _) => Outcome::Answered(source),
            Action::Dropped(reason) | Action::Refused(reason) => Outcome::Not(reason),
        };
        if reply.len() > room
            && let Outcome::Answered(_) = outcome
        {
            reply::cut(&waiter.query, &mut reply);
        }
        let Waiter { query, client, deadline, path, uncounted, .. } = *waiter;
        let waited = Waited { query, client, start: deadline - CLIENT_TIMEOUT, outcome };
        uncounted.counted();
        if let Action::Dropped(_) = action {
            waited.end(&self.ends, &[], now);
        } else {
            self.replies.borrow_mut().push(&self.ends, path, &reply, waited, now);
        }
        false
    }
}

/// Keeps the memory of a list that is done with for what comes next, where nothing is there yet.
fn use_again<T>(list: &mut Vec<T>, done: Vec<T>) {
    if list.is_empty() {
        *list = done;
    }
}

/// Tells the state machine what came of a try.
pub(super) fn take(
    forwarding: &mut Forwarding<Box<Waiter>>,
    now: Instant,
    id: AttemptId,
    outcome: io::Result<Arrival>,
    out: &mut Outbox<Box<Waiter>>,
) -> AttemptState {
    if tracing::enabled!(tracing::Level::DEBUG) {
        log_outcome(id, &outcome);
    }
    match outcome {
        Ok(arrival) => forwarding.on_response(now, id, arrival, out),
        Err(error) => forwarding.failed(now, id, &trouble_of(&error), out),
    }
}

/// What debugging shows of the outcome of an upstream query.
fn log_outcome(id: AttemptId, outcome: &io::Result<Arrival>) {
    let attempt = id.attempt();
    match outcome {
        Ok(Arrival::Message(message)) => {
            let rcode = message.bytes.get(3).map(|flags| Rcode(u16::from(flags & 15)).to_string());
            let name = question_name(&message.bytes).map(|name| name.to_string());
            tracing::debug!(attempt, name, rcode, bytes = message.bytes.len(), "upstream response");
        }
        Ok(Arrival::Damaged(_)) => tracing::debug!(attempt, reason = "damaged", "upstream response ignored"),
        Ok(Arrival::WrongId) => tracing::debug!(attempt, reason = "wrong ID", "upstream response ignored"),
        Err(error) => tracing::debug!(attempt, %error, "upstream query failed"),
    }
}

fn say_news(News { target, down }: &News) {
    match down {
        Some(error) => tracing::warn!(upstream = %target, %error, "upstream does not respond"),
        None => tracing::info!(upstream = %target, "upstream responds again"),
    }
}

/// What debugging shows of an upstream query.
fn log_attempt(transmit: &Transmit) {
    let name = question_name(&transmit.message);
    tracing::debug!(
        upstream = %Target { address: transmit.to, protocol: transmit.protocol.clone() },
        over = match transmit.via {
            Via::Datagram => "datagram",
            Via::Stream => "stream",
        },
        attempt = transmit.id.attempt(),
        name = name.map(|name| name.to_string()),
        rtype = type_at_question(&transmit.message).map(|rtype| rtype.to_string()),
        "upstream query"
    );
}

fn say_unsent(transmit: &Transmit, error: &io::Error) {
    static CAUSE: Recurring = Recurring::new();
    if let Some(before) = CAUSE.due() {
        tracing::warn!(upstream = %transmit.to, %error, before, "cannot send query to upstream");
    }
}

fn client_query(waiter: Box<Waiter>) -> ClientQuery<Box<Waiter>> {
    ClientQuery {
        client: waiter.client.address,
        deadline: waiter.deadline,
        stale: waiter.stale.as_ref().map(|stale| stale.limits),
        is_datagram: matches!(waiter.path, ReplyPath::Datagram { .. }),
        beside: waiter.chain.as_ref().map_or(0, |chain| chain.reply_len()),
        waiter,
    }
}
