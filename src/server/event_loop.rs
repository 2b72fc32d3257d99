//! The event loop of a worker: one poll in which a thread waits for datagrams of upstreams and of clients, for timers, and for
//! listeners that begin or end.
//!
//! It does not run in a runtime. At a few thousand queries a second each query wakes the thread, a forwarded one twice, and what a
//! runtime does between the event and its task is then a seventh of the CPU time of a query.

use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry};
use slab::Slab;

use super::alarm::Alarm;
use super::datagram_orders::{ALARM, BEAT, LISTENERS, ReceiverOrders, SLEEP_MAX, WAKER, give};
use super::faults::Part;
use super::listen::DatagramListener;
use super::receive::SWEEP_INTERVAL;
use super::udp::ClientSocket;
use super::worker::Worker;
use crate::engine::GROUP;
use crate::upstream::{DatagramSockets, Reader, Received, token_beside};
use crate::wire::NameBuf;

/// Readiness events taken at once.
const EVENTS: usize = 128;
/// How long the thread sleeps at most while the server ends, and what is in flight may be over without an event.
const SLEEP_MAX_AT_END: Duration = Duration::from_millis(5);

/// What an event loop waits in, and what it serves. Outlives a panic of the loop.
pub(super) struct EventLoop {
    poll: Poll,
    /// Wakes the thread to say that it is alive.
    beat: Arc<Alarm>,
    sockets: Arc<DatagramSockets>,
    receivers: Arc<[ReceiverOrders]>,
    new: Receiver<DatagramListener>,
    serving: Vec<DatagramListener>,
}

/// The state of a loop that runs.
struct Turns<'l> {
    worker: &'l Rc<Worker>,
    beat: Arc<Alarm>,
    reader: Reader,
    events: Events,
    clients: Slab<ClientSocket>,
    name_bufs: [NameBuf; GROUP],
    received: Vec<Received>,
    /// When the last turn ended.
    turned: Instant,
    next_sweep: Instant,
    /// Something may be there of which no event will tell.
    has_more: bool,
}

impl EventLoop {
    /// A loop that waits in `poll`, serves what comes out of `new`, and gives listeners to `receivers` where these serve them better.
    ///
    /// # Errors
    /// The system's refusal to give descriptors.
    pub(super) fn new(
        poll: Poll,
        new: Receiver<DatagramListener>,
        receivers: Arc<[ReceiverOrders]>,
    ) -> io::Result<Self> {
        let sockets = Arc::new(DatagramSockets::new(poll.registry().try_clone()?));
        let beat = Alarm::new(poll.registry(), token_beside(BEAT))?;
        Ok(Self { poll, beat: Arc::new(beat), sockets, receivers, new, serving: Vec::new() })
    }

    /// The sockets towards upstreams that it reads from.
    pub(super) fn sockets(&self) -> &Arc<DatagramSockets> {
        &self.sockets
    }

    /// Serves until the server ends and nothing is in flight any more, or what is left is waited for no longer.
    ///
    /// # Errors
    /// Those of the poll, which no input causes.
    pub(super) fn run(&mut self, worker: &Rc<Worker>) -> io::Result<()> {
        let now = Instant::now();
        // It may have gone off before a panic.
        self.beat.set(SLEEP_MAX)?;
        let mut turns = Turns {
            worker,
            beat: self.beat.clone(),
            reader: Reader::new(self.sockets.clone()),
            events: Events::with_capacity(EVENTS),
            clients: Slab::new(),
            name_bufs: [const { NameBuf::new() }; GROUP],
            received: Vec::new(),
            turned: now,
            next_sweep: now + SWEEP_INTERVAL,
            has_more: false,
        };
        // After a panic these are known to the poll already.
        for listener in &self.serving {
            let _ = self.poll.registry().deregister(&mut SourceFd(&listener.datagrams.socket.as_raw_fd()));
            turns.open(self.poll.registry(), listener);
        }
        self.change(&mut turns);
        while !worker.shared.is_stopping() {
            if turns.turn(&mut self.poll, None)? {
                self.change(&mut turns);
            }
            if turns.sweep(&self.sockets) {
                self.give_sparse(&mut turns);
            }
        }
        loop {
            // A receiver may leave a listener until it ends.
            self.change(&mut turns);
            if worker.is_done() {
                return Ok(());
            }
            turns.turn(&mut self.poll, Some(SLEEP_MAX_AT_END))?;
            turns.sweep(&self.sockets);
        }
    }

    /// Gives listeners whose queries come one by one to receivers that have none.
    fn give_sparse(&mut self, turns: &mut Turns<'_>) {
        let Self { poll, receivers, serving, .. } = self;
        turns.clients.retain(|_, client| {
            if !client.flow.was_sparse() || give(receivers, client.listener.clone()).is_some() {
                return true;
            }
            let socket = &client.listener.datagrams.socket;
            let _ = poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()));
            serving.retain(|listener| !Arc::ptr_eq(&listener.datagrams.socket, socket));
            false
        });
    }

    /// Takes in listeners that begin, and ends those that are to end.
    fn change(&mut self, turns: &mut Turns<'_>) {
        while let Ok(listener) = self.new.try_recv() {
            self.serving.push(listener.clone());
            turns.worker.shared.faults.meet(Part::Worker);
            turns.open(self.poll.registry(), &listener);
        }
        let Turns { worker, clients, name_bufs, .. } = turns;
        clients.retain(|_, client| {
            let goes_on = !client.listener.stop.is_stopped();
            if !goes_on {
                client.serve_rest(worker, name_bufs);
                let _ = self.poll.registry().deregister(&mut SourceFd(&client.listener.datagrams.socket.as_raw_fd()));
            }
            goes_on
        });
        self.serving.retain(|listener| !listener.stop.is_stopped());
    }
}

impl Turns<'_> {
    /// Watches the socket of a listener.
    fn open(&mut self, registry: &Registry, listener: &DatagramListener) {
        let entry = self.clients.vacant_entry();
        let token = token_beside(LISTENERS + entry.key());
        let socket = &listener.datagrams.socket.as_raw_fd();
        match registry.register(&mut SourceFd(socket), token, Interest::READABLE) {
            Ok(()) => _ = entry.insert(ClientSocket::new(listener)),
            Err(error) => tracing::error!(%error, "UDP listener failed"),
        }
    }

    /// Waits, no longer than `most` where that is given, and does what is there to do; whether the waker was used.
    fn turn(&mut self, poll: &mut Poll, most: Option<Duration>) -> io::Result<bool> {
        let most = if self.has_more { Some(Duration::ZERO) } else { most };
        let mut is_woken = false;
        match poll.poll(&mut self.events, most) {
            Ok(()) => {
                for event in &self.events {
                    match self.reader.note_ready(event.token()) {
                        None => {}
                        Some(WAKER) => is_woken = true,
                        Some(BEAT) => self.beat.set(SLEEP_MAX)?,
                        // It is time for something: that is looked at in any case.
                        Some(ALARM) => {}
                        Some(number) => {
                            if let Some(client) = self.clients.get_mut(number - LISTENERS) {
                                client.is_ready = true;
                            }
                        }
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        self.has_more = false;
        self.serve_clients();
        self.receive_from_upstreams();
        self.mind_time();
        Ok(is_woken)
    }

    /// Serves a batch of each listener that may have something.
    fn serve_clients(&mut self) {
        let faults = &self.worker.shared.faults;
        for (_, client) in self.clients.iter_mut().filter(|(_, client)| client.is_ready) {
            let serve = || client.serve(self.worker, &mut self.name_bufs);
            // Fewer than there is room for: the queue was empty, and what comes now is a new event.
            client.is_ready = faults.guarded(Part::Listener, serve, || faults.rest(Part::Listener, true));
            self.has_more |= client.is_ready;
        }
    }

    /// Takes what upstreams sent.
    fn receive_from_upstreams(&mut self) {
        let (worker, faults) = (self.worker, &self.worker.shared.faults);
        if !self.reader.has_ready() {
            return;
        }
        let receive = || worker.receive(&mut self.reader, &mut self.received);
        faults.guarded(Part::Upstream, receive, || faults.rest(Part::Upstream, ()));
        self.has_more |= self.reader.has_ready();
    }

    /// Does what is due, and says that the thread is alive.
    fn mind_time(&mut self) {
        // The time at which the last batch began is exact enough: timers count milliseconds.
        let (worker, faults) = (self.worker, &self.worker.shared.faults);
        let now = worker.looked.take().unwrap_or_else(Instant::now);
        let mind = || {
            worker.counters.beat();
            if worker.watches_timers && worker.shared.timers.until_next(now).is_zero() {
                worker.mind_timers(now);
            }
        };
        faults.guarded(Part::Timers, mind, || faults.rest(Part::Timers, ()));
        self.turned = now;
    }

    /// Closes sockets towards upstreams that are done with, if it is time to; whether it was.
    fn sweep(&mut self, sockets: &DatagramSockets) -> bool {
        let is_due = self.turned >= self.next_sweep;
        if is_due {
            self.next_sweep = self.turned + SWEEP_INTERVAL;
            sockets.sweep(self.turned);
        }
        is_due
    }
}
