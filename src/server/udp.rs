//! Datagrams: a batch in, each answered, the replies out in a batch.

use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::counters::Outcome;
use super::faults::Part;
use super::forwarding::Origin;
use super::latency::Path;
use super::listen::{Datagrams, Stop};
use super::waiter::{ReplyPath, Uncounted};
use super::worker::Worker;
use crate::engine::{Action, Approach, Begun, Client, Forward, Pending, Read, Reason, Snapshot};
use crate::sys::{BATCH, Batch, Datagram, fetch, readable_socket};
use crate::wire::{NameRoom, Transport};

/// Queries of a batch that are in work at the same time: as many as it takes until memory is there.
const GROUP: usize = 16;

/// What became of a datagram so far.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Nothing yet.
    Open,
    /// It waits for an upstream, which counts it.
    Waiting,
    Known(Outcome),
}

/// Serves a socket until the listener or the server ends, then what is still queued in it.
pub(super) async fn serve(worker: &Rc<Worker>, datagrams: &Datagrams, stop: &Stop) {
    let Datagrams { socket, with_local_address } = datagrams;
    let mut batch = Batch::new(*with_local_address);
    let mut rooms = [const { NameRoom::new() }; GROUP];
    let ready = match readable_socket(socket.clone()) {
        Ok(ready) => ready,
        Err(error) => return tracing::error!(%error, "a datagram socket cannot be served"),
    };
    let mut stopping = stop.subscribe();
    loop {
        let mut guard = tokio::select! {
            biased;
            guard = ready.readable() => match guard {
                Ok(guard) => guard,
                Err(error) => return tracing::error!(%error, "a datagram socket cannot be served"),
            },
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        worker.shared.faults.meet(Part::Listener);
        let is_empty = worker.gather(|| serve_batch(worker, socket, &mut batch, &mut rooms)) < BATCH;
        // Fewer than there is room for: the queue was empty, and what comes now is a new event.
        if is_empty {
            guard.clear_ready();
        }
        drop(guard);
        if *stopping.borrow() {
            break;
        }
        // Who waits for an event lets others work as it is; to yield as well would cost a look at the events.
        if !is_empty {
            tokio::task::yield_now().await;
        }
    }
    // A flood must not keep the server from its end.
    while !worker.shared.is_over() && worker.gather(|| serve_batch(worker, socket, &mut batch, &mut rooms)) > 0 {}
}

/// Receives what is there, answers it, sends the replies; gives how many datagrams there were.
fn serve_batch(
    worker: &Rc<Worker>,
    socket: &Arc<UdpSocket>,
    batch: &mut Batch,
    rooms: &mut [NameRoom; GROUP],
) -> usize {
    let fd: BorrowedFd<'_> = socket.as_fd();
    // An error here is about an earlier reply (an unreachable client), or there is nothing to read.
    let Ok(count) = batch.receive(fd) else { return 0 };
    let now = Instant::now();
    let snapshot = worker.shared.snapshot.load();
    worker.counters.received(Transport::Udp, count as u64);
    let mut fates = [Fate::Open; BATCH];
    let (datagrams, replies) = batch.split();
    let groups = fates.chunks_mut(GROUP).zip(replies.chunks_mut(GROUP)).take(count.div_ceil(GROUP));
    for (number, (fates, replies)) in groups.enumerate() {
        let start = number * GROUP;
        let here = GROUP.min(count - start);
        let (fates, replies) = (&mut fates[..here], &mut replies[..here]);
        let group = Group { worker, socket, snapshot: &snapshot, now };
        let answer = || {
            group.answer(|place| datagrams.at(start + place), rooms, fates, replies);
            true
        };
        if !worker.shared.faults.guarded(Part::Query, answer, || false) {
            // What is not known of is lost, and what stands in its place is no reply.
            for (fate, reply) in fates.iter_mut().zip(replies) {
                if matches!(fate, Fate::Open) {
                    *fate = Fate::Known(Outcome::Not(Reason::Fault));
                    reply.clear();
                }
            }
        }
    }
    batch.send(fd, count, |index| {
        if let Some(fate) = fates.get_mut(index) {
            *fate = Fate::Known(Outcome::Not(Reason::Unsent));
        }
    });
    count_batch(worker, &fates[..count], now);
    count
}

/// What the queries of a group share.
struct Group<'g> {
    worker: &'g Rc<Worker>,
    socket: &'g Arc<UdpSocket>,
    snapshot: &'g Snapshot,
    now: Instant,
}

impl Group<'_> {
    /// Answers a group step by step, and has what the next step reads brought nearer in between.
    fn answer<'d>(
        &self,
        datagram: impl Fn(usize) -> Option<Datagram<'d>>,
        rooms: &mut [NameRoom; GROUP],
        fates: &mut [Fate],
        replies: &mut [Vec<u8>],
    ) {
        let (worker, engine) = (self.worker, &self.worker.shared.engine);
        let mut actions: [Option<Action>; GROUP] = [const { None }; GROUP];
        let mut read: SmallVec<[(usize, Client, Read<'_>); GROUP]> = SmallVec::new();
        for (place, ((action, reply), room)) in actions.iter_mut().zip(&mut *replies).zip(rooms).enumerate() {
            let Some(datagram) = datagram(place) else {
                worker.counters.kind(&[]);
                // A reply of an earlier batch may stand in its place.
                reply.clear();
                continue;
            };
            worker.counters.kind(datagram.bytes);
            let client = client(&datagram);
            worker.counters.clients.note(client.address);
            match worker.read(self.snapshot, datagram.bytes, client, self.now, room, reply) {
                Err(done) => *action = Some(worker.limit_refusals(done, datagram.peer, self.now, reply)),
                Ok(query) => {
                    engine.approach_record(self.snapshot, &query, Approach::Place, fetch);
                    read.push((place, client, query));
                }
            }
        }
        for (.., query) in &read {
            engine.approach_record(self.snapshot, query, Approach::Content, fetch);
        }
        let mut pending: SmallVec<[(usize, Client, Pending<'_>); GROUP]> = SmallVec::new();
        for (place, client, query) in &read {
            let (Some(action), Some(reply)) = (actions.get_mut(*place), replies.get_mut(*place)) else { continue };
            match worker.begin(self.snapshot, query, *client, self.now, reply) {
                Begun::Done(done) => *action = Some(done),
                Begun::Pending(begun) => {
                    engine.approach_answer(&begun, Approach::Place, fetch);
                    pending.push((*place, *client, begun));
                }
            }
        }
        for (.., begun) in &pending {
            engine.approach_answer(begun, Approach::Content, fetch);
        }
        for (place, client, begun) in &pending {
            if let (Some(action), Some(reply)) = (actions.get_mut(*place), replies.get_mut(*place)) {
                *action = Some(worker.finish(self.snapshot, begun, *client, self.now, reply));
            }
        }
        let mut waiting: SmallVec<[(usize, Forward, Uncounted); GROUP]> = SmallVec::new();
        for (place, ((action, fate), reply)) in actions.into_iter().zip(fates).zip(replies).enumerate() {
            let known = match action {
                Some(Action::Answered(source)) => Outcome::Answered(source),
                Some(Action::Refused(reason) | Action::Dropped(reason)) => Outcome::Not(reason),
                Some(Action::AnsweredAndRefresh(source, question)) => {
                    worker.refresh(question, self.now);
                    Outcome::Answered(source)
                }
                Some(Action::Forward(forward)) => {
                    reply.clear();
                    *fate = Fate::Waiting;
                    waiting.push((place, forward, Uncounted::new(&worker.counters)));
                    continue;
                }
                None => Outcome::Not(Reason::Fault),
            };
            *fate = Fate::Known(known);
            if worker.is_sampling()
                && let Some(datagram) = datagram(place)
            {
                worker.sample(datagram.bytes, client(&datagram), known, reply, self.now);
            }
        }
        if !waiting.is_empty() {
            worker.forward(
                waiting.into_iter().filter_map(|(place, forward, uncounted)| {
                    let datagram = datagram(place)?;
                    let Datagram { bytes, peer, local } = datagram;
                    let path = ReplyPath::Datagram { socket: self.socket.clone(), peer, local };
                    Some((forward, Origin { query: bytes, client: client(&datagram), path, uncounted }))
                }),
                self.now,
            );
        }
    }
}

fn client(datagram: &Datagram<'_>) -> Client {
    Client { address: datagram.peer.ip().to_canonical(), transport: Transport::Udp }
}

/// Counts a batch that was sent.
fn count_batch(worker: &Worker, fates: &[Fate], now: Instant) {
    // All of a batch leave together, so one look at the clock tells how long each took.
    let took = now.elapsed();
    let mut by_path = [0; Path::ALL.len()];
    for &fate in fates {
        let Fate::Known(outcome) = fate else { continue };
        worker.counters.count(outcome);
        if let Outcome::Answered(source) = outcome {
            by_path[Path::at_once(source) as usize] += 1;
        }
    }
    for (path, count) in Path::ALL.into_iter().zip(by_path) {
        worker.counters.latency(path, took, count);
    }
}
