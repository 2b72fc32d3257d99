//! Datagrams: a batch in, each answered, the replies out in a batch.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::counters::Outcome;
use super::latency::Path;
use super::listen::Stop;
use super::shared::ReplyPath;
use super::worker::Worker;
use crate::engine::{Action, Client, Reason, Transport};
use crate::sys::{BATCH, Batch, Bound, readable};

/// Serves a socket until the server ends, then what is still queued in it.
pub(super) async fn serve(worker: Rc<Worker>, bound: Bound, stop: Stop) {
    let mut batch = Batch::new(bound.with_local_address);
    let socket = Arc::new(bound.socket);
    let ready = match readable(socket.as_fd()) {
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
        // Fewer than there is room for: the queue was empty, and what comes now is a new event.
        if worker.gather(|| serve_batch(&worker, &socket, &mut batch)) < BATCH {
            guard.clear_ready();
        }
        drop(guard);
        if *stopping.borrow() {
            break;
        }
        tokio::task::yield_now().await;
    }
    while worker.gather(|| serve_batch(&worker, &socket, &mut batch)) > 0 {}
}

/// Receives what is there, answers it, sends the replies; gives how many datagrams there were.
fn serve_batch(worker: &Rc<Worker>, socket: &Arc<std::net::UdpSocket>, batch: &mut Batch) -> usize {
    let fd: BorrowedFd<'_> = socket.as_fd();
    // An error here is about an earlier reply (an unreachable client), or there is nothing to read.
    let Ok(count) = batch.receive(fd) else { return 0 };
    let now = Instant::now();
    let snapshot = worker.shared.snapshot.load();
    worker.counters.received(Transport::Datagram, count as u64);
    let mut outcomes = [None; BATCH];
    for (index, outcome) in outcomes.iter_mut().enumerate().take(count) {
        let Some((datagram, reply)) = batch.at(index) else {
            worker.counters.kind(&[]);
            *outcome = Some(Outcome::Not(Reason::Fault));
            // A reply of an earlier batch may stand in its place.
            batch.reply(index).map(Vec::clear).unwrap_or_default();
            continue;
        };
        worker.counters.kind(datagram.bytes);
        let client = Client { address: datagram.peer.ip().to_canonical(), transport: Transport::Datagram };
        *outcome = match worker.answer(&snapshot, datagram.bytes, client, now, reply) {
            Action::Answered(source) => Some(Outcome::Answered(source)),
            Action::Refused(reason) | Action::Dropped(reason) => Some(Outcome::Not(reason)),
            Action::AnsweredAndRefresh(source, forward) => {
                worker.refresh(&forward, now);
                Some(Outcome::Answered(source))
            }
            Action::Forward(forward) => {
                reply.clear();
                let path = ReplyPath::Datagram { socket: socket.clone(), peer: datagram.peer, local: datagram.local };
                worker.forward(datagram.bytes, client, forward, path, now);
                None
            }
        };
        if let Some(outcome) = *outcome {
            worker.sample(datagram.bytes, client, outcome);
        }
    }
    batch.send(fd, count, |index| {
        if let Some(outcome) = outcomes.get_mut(index) {
            *outcome = Some(Outcome::Not(Reason::Unsent));
        }
    });
    // All of a batch leave together, so one look at the clock tells how long each took.
    let took = now.elapsed();
    let mut by_path = [0; Path::ALL.len()];
    for outcome in outcomes.into_iter().take(count).flatten() {
        worker.counters.count(outcome);
        if let Outcome::Answered(source) = outcome {
            by_path[Path::at_once(source) as usize] += 1;
        }
    }
    for (path, count) in Path::ALL.into_iter().zip(by_path) {
        worker.counters.latency(path, took, count);
    }
    count
}
