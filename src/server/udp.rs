//! Datagrams: a batch in, each answered, the replies out in a batch.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use smallvec::{SmallVec, smallvec};

use super::counters::Outcome;
use super::end::End;
use super::faults::Part;
use super::forwarding::Origin;
use super::listen::{DatagramListener, Datagrams};
use super::waiter::{ReplyPath, Uncounted};
use super::worker::Worker;
use crate::engine::{Action, Ask, Client, Forward, GROUP, NameBufs, Reason, Snapshot};
use crate::sys::{BATCH, Batch, Datagram, prefetch};
use crate::wire::Transport;

/// What became of a datagram so far.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Nothing yet.
    Open,
    /// It waits for an upstream, which counts it.
    Waiting,
    Known(Outcome),
}

/// A listener's socket, as a receiver or the event loop serves it.
pub(super) struct ClientSocket {
    pub(super) listener: DatagramListener,
    /// It may have something to read.
    pub(super) is_ready: bool,
    /// How many datagrams came at a time lately.
    pub(super) flow: Flow,
    batch: Batch,
}

/// Whether datagrams come one by one or many at a time.
#[derive(Debug, Default)]
pub(super) struct Flow {
    batches: u32,
    datagrams: u32,
}

impl Flow {
    /// Batches after which a receiver decides: some milliseconds at full load.
    const LOOK_AFTER: u32 = 256;
    /// Datagrams of a batch, on average, from which on they come many at a time, and below which they do not any more.
    const DENSE: u32 = 8;
    const SPARSE: u32 = 4;

    fn note(&mut self, count: usize) {
        self.batches += 1;
        self.datagrams = self.datagrams.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Whether datagrams have been coming many at a time for a while.
    pub(super) fn is_dense(&mut self) -> bool {
        self.batches >= Self::LOOK_AFTER && {
            let Self { batches, datagrams } = std::mem::take(self);
            datagrams >= batches * Self::DENSE
        }
    }

    /// Whether they came one by one since the last call, or not at all.
    pub(super) fn was_sparse(&mut self) -> bool {
        let Self { batches, datagrams } = std::mem::take(self);
        datagrams <= batches.saturating_mul(Self::SPARSE)
    }
}

impl ClientSocket {
    /// That of a listener. What came before it was watched may wait in it.
    pub(super) fn new(listener: &DatagramListener) -> Self {
        let batch = Batch::new(listener.datagrams.with_local_address);
        Self { listener: listener.clone(), is_ready: true, flow: Flow::default(), batch }
    }

    /// Receives what is there, no more than a batch, answers it, sends the replies; whether there may be more.
    #[inline]
    pub(super) fn serve(&mut self, worker: &Rc<Worker>, name_bufs: &mut NameBufs) -> bool {
        self.serve_by(Batch::receive, worker, name_bufs);
        self.batch.may_have_more()
    }

    /// The same, but waits for the first datagram, as long as the socket does; whether one came.
    #[inline]
    pub(super) fn wait_and_serve(&mut self, worker: &Rc<Worker>, name_bufs: &mut NameBufs) -> bool {
        self.serve_by(Batch::wait, worker, name_bufs)
    }

    /// Serves what is queued in a socket that is served no longer. A flood must not keep the server from its end.
    pub(super) fn serve_rest(&mut self, worker: &Rc<Worker>, name_bufs: &mut NameBufs) {
        let mut serve = || worker.shared.faults.guarded(Part::Listener, || self.serve(worker, name_bufs), || false);
        while !worker.shared.is_over() && serve() {}
    }

    #[inline]
    fn serve_by(&mut self, receive: Receive, worker: &Rc<Worker>, name_bufs: &mut NameBufs) -> bool {
        let Self { listener: DatagramListener { datagrams: Datagrams { socket, .. }, .. }, batch, flow, .. } = self;
        // An error here is about an earlier reply (an unreachable client), or there is nothing to read.
        let Ok(count) = receive(batch, socket.as_fd()) else { return false };
        flow.note(count);
        worker.coalesce(|| serve_batch(worker, socket, batch, count, name_bufs));
        true
    }
}

/// A way of receiving a batch.
type Receive = fn(&mut Batch, BorrowedFd<'_>) -> io::Result<usize>;

/// Answers what was received, sends the replies.
fn serve_batch(
    worker: &Rc<Worker>,
    socket: &Arc<UdpSocket>,
    batch: &mut Batch,
    count: usize,
    name_bufs: &mut NameBufs,
) {
    let fd: BorrowedFd<'_> = socket.as_fd();
    let now = worker.look_at_clock();
    let snapshot = worker.shared.snapshot.load();
    worker.counters.received(Transport::Udp, count as u64);
    let mut fates: SmallVec<[Fate; BATCH]> = smallvec![Fate::Open; count];
    let (datagrams, replies) = batch.split();
    let groups = fates.chunks_mut(GROUP).zip(replies.chunks_mut(GROUP));
    for (number, (fates, replies)) in groups.enumerate() {
        let start = number * GROUP;
        let group = Group { worker, socket, snapshot: &snapshot, now };
        let answer = || {
            group.answer(|place| datagrams.at(start + place), name_bufs, fates, replies);
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
    if fates.iter().all(|fate| matches!(fate, Fate::Waiting)) {
        return;
    }
    batch.send(fd, count, |index| {
        if let Some(fate) = fates.get_mut(index) {
            *fate = Fate::Known(Outcome::Not(Reason::Unsent));
        }
    });
    // All of a batch leave together, so one look at the clock tells how long each took.
    let left = Instant::now();
    let (datagrams, replies) = batch.split();
    let ends = fates.iter().zip(&*replies).enumerate().filter_map(|(place, (&fate, reply))| {
        let Fate::Known(outcome) = fate else { return None };
        let (query, client) = datagrams.at(place).map_or((&[][..], UNREAD), |it| (it.bytes, client(&it)));
        Some(End { query, client, outcome, reply, has_waited: false })
    });
    worker.ends.note(ends, [now, left]);
}

/// What the queries of a group share.
struct Group<'g> {
    worker: &'g Rc<Worker>,
    socket: &'g Arc<UdpSocket>,
    snapshot: &'g Snapshot,
    now: Instant,
}

impl Group<'_> {
    /// Answers a group.
    fn answer<'d>(
        &self,
        datagram: impl Fn(usize) -> Option<Datagram<'d>>,
        name_bufs: &mut NameBufs,
        fates: &mut [Fate],
        replies: &mut [Vec<u8>],
    ) {
        let worker = self.worker;
        let mut asks: SmallVec<[Ask<'_>; GROUP]> = SmallVec::new();
        let mut places: SmallVec<[usize; GROUP]> = SmallVec::new();
        for (place, (fate, reply)) in fates.iter_mut().zip(replies).enumerate() {
            let Some(datagram) = datagram(place) else {
                worker.counters.kind(&[]);
                // A reply of an earlier batch may stand in its place.
                reply.clear();
                *fate = Fate::Known(Outcome::Not(Reason::Fault));
                continue;
            };
            worker.counters.kind(datagram.bytes);
            asks.push(Ask::new(datagram.bytes, client(&datagram), datagram.peer.port(), reply));
            places.push(place);
        }
        let batch = worker.batch(self.snapshot, self.now, asks.len());
        worker.shared.engine.answer_batch(batch, &mut asks, name_bufs, &worker.shared.faults, prefetch);
        let mut waiting: SmallVec<[(usize, Forward, Uncounted); GROUP]> = SmallVec::new();
        // In place: one of these lists is as long as a group, however few queries are in it.
        for (ask, &place) in asks.iter_mut().zip(&places) {
            let Some(fate) = fates.get_mut(place) else { continue };
            *fate = Fate::Known(match std::mem::replace(&mut ask.action, Action::Dropped(Reason::Fault)) {
                Action::Answered(source) => Outcome::Answered(source),
                Action::Refused(reason) | Action::Dropped(reason) => Outcome::Not(reason),
                Action::AnsweredAndRefresh(source, question) => {
                    worker.refresh(question, self.now);
                    Outcome::Answered(source)
                }
                Action::Forward(forward) => {
                    *fate = Fate::Waiting;
                    waiting.push((place, forward, Uncounted::new(&worker.counters)));
                    continue;
                }
            });
        }
        if !waiting.is_empty() {
            worker.forward(
                waiting.drain(..).filter_map(|(place, forward, uncounted)| {
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

/// The client of a datagram that cannot be read.
const UNREAD: Client = Client { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), transport: Transport::Udp };

fn client(datagram: &Datagram<'_>) -> Client {
    Client { address: datagram.peer.ip().to_canonical(), transport: Transport::Udp }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_dense_where_batches_are_large_on_average() {
        let mut flow = Flow::default();
        let mut note = |counts: [usize; 2], times: u32| {
            let mut dense = 0;
            for number in 0..times {
                flow.note(counts[number as usize % 2]);
                dense += u32::from(flow.is_dense());
            }
            dense
        };
        assert_eq!(note([1, 64], Flow::LOOK_AFTER * 2), 2);
        assert_eq!(note([1, 14], Flow::LOOK_AFTER), 0);
        assert_eq!(note([16, 0], Flow::LOOK_AFTER - 1), 0, "too few to tell");
        let mut flow = Flow::default();
        assert!(flow.was_sparse(), "nothing came");
        flow.note(5);
        assert!(!flow.was_sparse() && flow.was_sparse());
        flow.note(7);
        flow.note(1);
        assert!(flow.was_sparse());
    }
}
