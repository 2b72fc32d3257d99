//! All workers: their threads, the endpoints that they serve, ending them.
//!
//! A worker has several threads ([`super::receiver`], [`super::event_loop`], [`super::stream_thread`]). A query is answered on the one
//! that it came to, unless it waits for an upstream or needs a runtime.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::Poll;
use tokio::sync::mpsc;

use super::alarm::Alarm;
use super::counters::Counters;
use super::datagram_orders::{ALARM, EventLoopOrders, ReceiverOrders, end_sleeps, give};
use super::endpoint::{Endpoint, EndpointKind};
use super::event_loop::EventLoop;
use super::faults::Part;
use super::inherit::{Inherited, Kept};
use super::listen::{BindError, DatagramListener, Listener, Served, Stop, bind};
use super::receiver::Receiver;
use super::shared::Shared;
use super::stream_thread::StreamThread;
use super::tasks::Tasks;
use super::worker::Worker;
use crate::upstream::{DatagramSockets, token_beside};

/// Receivers of a worker: one for each UDP socket of the addresses that there are by default. The event loop serves others.
const RECEIVERS: usize = 2;
/// Threads of a worker: its event loop, that of its connections, its receivers.
pub const THREADS: usize = 2 + RECEIVERS;

/// The name of a thread, by its number among those of all workers: `worker-1`, `streams-1`, `receiver-1.0` or `receiver-1.1`.
pub fn thread_name(number: usize) -> String {
    let worker = number / THREADS;
    match number % THREADS {
        0 => format!("worker-{worker}"),
        1 => format!("streams-{worker}"),
        receiver => format!("receiver-{worker}.{}", receiver - 2),
    }
}

/// How long a thread rests that failed as a whole, before it begins again.
const REST: Duration = Duration::from_millis(200);

/// All workers, running.
pub struct Workers {
    listeners: Vec<Listening>,
    shared: Arc<Shared>,
    counters: Arc<[Arc<Counters>]>,
    pub(super) orders: Vec<Orders>,
    threads: Vec<JoinHandle<()>>,
}

/// The ways into a worker's threads.
pub(super) struct Orders {
    pub(super) receivers: Arc<[ReceiverOrders]>,
    /// For what no receiver is free for.
    event_loop: EventLoopOrders,
    streams: mpsc::UnboundedSender<Listener>,
}

impl Orders {
    /// Has the worker serve a listener. A thread that is gone said so itself.
    fn listen(&self, mut listener: Listener, served: &Served) {
        if listener.kind == EndpointKind::Dns
            && let Some(datagrams) = listener.datagram.take()
        {
            let listener = DatagramListener { datagrams, stop: listener.stop.clone(), _served: served.clone() };
            if let Some(listener) = give(&self.receivers, listener) {
                self.event_loop.serve(listener);
            }
        }
        let _ = self.streams.send(listener);
    }

    /// Has all that read datagrams look at what was changed.
    fn look(&self) {
        self.receivers.iter().for_each(ReceiverOrders::look);
        self.event_loop.look();
    }
}

/// An endpoint that all workers serve.
struct Listening {
    /// As the settings name it.
    asked: Endpoint,
    /// With its real port.
    endpoint: Endpoint,
    /// Ends it.
    stop: Stop,
    /// To be handed on.
    kept: Kept,
}

impl Workers {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.orders.len()
    }

    /// Each thread's counters, [`THREADS`] for each worker.
    pub fn counters(&self) -> Arc<[Arc<Counters>]> {
        self.counters.clone()
    }

    /// The threads, to be waited for.
    pub fn take_threads(&mut self) -> Threads {
        Threads(std::mem::take(&mut self.threads))
    }

    /// Binds what of `endpoints` is not served yet. Nothing is served there before [`Self::serve_only`].
    ///
    /// # Errors
    /// The first one that cannot be listened on; none of them is bound then.
    pub fn bind_new(&self, endpoints: &[Endpoint]) -> Result<NewListeners, BindError> {
        let is_new = |endpoint: &&Endpoint| !self.listeners.iter().any(|listening| listening.asked == **endpoint);
        let endpoints: Vec<_> = endpoints.iter().filter(is_new).copied().collect();
        NewListeners::bind(&endpoints, self.count(), &mut Inherited::default())
    }

    /// Serves `endpoints` and nothing else: `new` is what [`Self::bind_new`] gave for them. What came to one that goes is
    /// answered; its connections end as they would have. Gives those that came and those that went, with their real ports.
    pub fn serve_only(&mut self, endpoints: &[Endpoint], new: NewListeners) -> (Vec<Endpoint>, Vec<Endpoint>) {
        let (keep, go): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.listeners).into_iter().partition(|listening| endpoints.contains(&listening.asked));
        self.listeners = keep;
        let removed = go.iter().map(|listening| listening.endpoint).collect();
        go.iter().for_each(|listening| listening.stop.stop());
        self.look();
        let mut added = Vec::new();
        for NewListener { asked, endpoint, listeners, kept } in new.0 {
            let stop = Stop::default();
            // Listeners that have one socket for all are spread over the workers.
            let first = self.listeners.len();
            for (orders, mut listener) in self.orders.iter().cycle().skip(first).zip(listeners) {
                listener.stop = stop.clone();
                orders.listen(listener, &self.shared.served);
            }
            self.listeners.push(Listening { asked, endpoint, stop, kept });
            added.push(endpoint);
        }
        (added, removed)
    }

    /// All sockets for datagrams and for connections, to be handed on.
    pub fn sockets(&self) -> (Vec<BorrowedFd<'_>>, Vec<BorrowedFd<'_>>) {
        let kept = || self.listeners.iter().map(|listening| &listening.kept);
        let datagram = kept().flat_map(|kept| &kept.datagram).map(AsFd::as_fd).collect();
        (datagram, kept().flat_map(|kept| &kept.stream).map(AsFd::as_fd).collect())
    }

    /// Has all that read datagrams look at what was changed.
    fn look(&self) {
        self.orders.iter().for_each(Orders::look);
        end_sleeps(self.orders.iter().flat_map(|orders| orders.receivers.iter()));
    }

    /// Lets all workers end: what came in is answered, and waited for no longer than `within`.
    pub fn stop(&self, within: Duration) {
        self.shared.stop(within);
        self.listeners.iter().for_each(|listening| listening.stop.stop());
        self.look();
    }
}

/// Sockets that are bound and not served yet.
pub struct NewListeners(Vec<NewListener>);

struct NewListener {
    asked: Endpoint,
    /// With its real port.
    endpoint: Endpoint,
    listeners: Vec<Listener>,
    kept: Kept,
}

impl NewListeners {
    /// Binds `endpoints` for a number of workers, or takes what is there for them already.
    ///
    /// # Errors
    /// The first one that cannot be listened on; none of them is bound then.
    pub fn bind(endpoints: &[Endpoint], workers: usize, inherited: &mut Inherited) -> Result<Self, BindError> {
        let mut new: Vec<NewListener> = Vec::new();
        for &asked in endpoints {
            if asked.address.port() == 0 || !new.iter().any(|new| new.asked == asked) {
                let (address, listeners, kept) = bind(asked, workers, inherited)?;
                new.push(NewListener { asked, endpoint: Endpoint { address, ..asked }, listeners, kept });
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

/// Starts `count` workers, which listen nowhere yet, and waits until all have what they need. `seed` gives each thread's
/// source of randomness.
///
/// # Errors
/// The system's refusal to start a thread, or to give randomness or descriptors.
pub fn start(
    shared: &Arc<Shared>,
    count: usize,
    seed: &mut dyn FnMut() -> io::Result<[u8; 32]>,
) -> io::Result<Workers> {
    let counters: Arc<[Arc<Counters>]> = (0..count * THREADS).map(|_| Arc::default()).collect();
    let mut workers = Workers {
        listeners: Vec::new(),
        shared: shared.clone(),
        counters: counters.clone(),
        orders: Vec::new(),
        threads: Vec::new(),
    };
    let (started, starts) = channel();
    let mut numbered = counters.iter().cloned().enumerate();
    let mut start = || -> io::Result<Option<Start>> {
        let Some((number, counters)) = numbered.next() else { return Ok(None) };
        let seeds = [seed()?, seed()?];
        let started = Cell::new(Some(started.clone()));
        Ok(Some(Start { number, shared: shared.clone(), counters, seeds, started }))
    };
    while let (Some(of_events), Some(of_streams)) = (start()?, start()?) {
        let number = workers.orders.len();
        let (streams, new_streams) = mpsc::unbounded_channel();
        let (hand_over, tasks) = mpsc::unbounded_channel();
        let poll = Poll::new()?;
        let (event_loop, new_listeners) = EventLoopOrders::new(&poll)?;
        if number == 0 {
            shared.timers.watched_by(Alarm::new(poll.registry(), token_beside(ALARM))?);
        }
        let receivers = (0..RECEIVERS).map(|_| Receiver::new(event_loop.clone()));
        let (receivers, orders): (Vec<_>, Vec<_>) = receivers.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
        let orders: Arc<[_]> = orders.into();
        workers.orders.push(Orders { receivers: orders.clone(), event_loop, streams });
        let mut event_loop = EventLoop::new(poll, new_listeners, orders)?;
        for mut receiver in receivers {
            let Some(of_receiver) = start()? else { break };
            let (sockets, hand_over) = (event_loop.sockets().clone(), hand_over.clone());
            workers.threads.push(of_receiver.spawn(move |start| {
                let worker = Rc::new(start.worker(sockets.clone(), Tasks::Other(hand_over.clone())));
                start.has_started();
                receiver.run(&worker)
            })?);
        }
        workers.threads.push(of_events.spawn(move |start| {
            let worker = Rc::new(start.worker(event_loop.sockets().clone(), Tasks::Other(hand_over.clone())));
            start.has_started();
            event_loop.run(&worker)
        })?);
        let mut thread = StreamThread::new(new_streams, tasks);
        workers.threads.push(
            of_streams.spawn(move |start| {
                thread.run(|sockets, tasks| start.worker(sockets, tasks), || start.has_started())
            })?,
        );
    }
    drop(started);
    let mut ready = 0;
    for start in starts.iter().take(count * THREADS) {
        start?;
        ready += 1;
    }
    // One that is missing ended by a panic, and said so.
    if ready == count * THREADS { Ok(workers) } else { Err(io::Error::other("a worker did not start")) }
}

/// What a thread is given.
struct Start {
    /// Among all threads.
    number: usize,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    seeds: [[u8; 32]; 2],
    /// Where it says that it has all that it needs, which later may not be there any more.
    started: Cell<Option<Sender<io::Result<()>>>>,
}

impl Start {
    /// Starts the thread.
    fn spawn(self, run: impl FnMut(&Self) -> io::Result<()> + Send + 'static) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name(thread_name(self.number)).spawn(move || self.keep_running(run))
    }

    /// Runs a thread to its end. Where it fails as a whole, once it had started, it begins again and serves what it served.
    fn keep_running(mut self, mut run: impl FnMut(&Self) -> io::Result<()>) {
        loop {
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&self)));
            let (worker, thread) = (self.number / THREADS, std::thread::current());
            let thread = thread.name();
            match outcome {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    tracing::error!(worker, thread, %error, "worker exited");
                    if let Some(started) = self.started.take() {
                        let _ = started.send(Err(error));
                        return;
                    }
                }
                Err(_) => {
                    self.shared.faults.note(Part::Worker);
                    tracing::error!(worker, thread, "worker panicked; restarting it");
                }
            }
            // The IDs and ports of before must not come again: another seed by one bit is another one altogether.
            for seed in &mut self.seeds {
                let [first, ..] = seed;
                *first = first.wrapping_add(1);
            }
            std::thread::sleep(REST);
        }
    }

    fn worker(&self, sockets: Arc<DatagramSockets>, tasks: Tasks) -> Worker {
        Worker::new(self.number, &self.shared, &self.counters, sockets, self.seeds, tasks)
    }

    /// The thread has all that it needs.
    fn has_started(&self) {
        if let Some(started) = self.started.take() {
            let _ = started.send(Ok(()));
        }
    }
}
