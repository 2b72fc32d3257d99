//! All workers: their threads, the endpoints that they serve, ending them.
//!
//! A worker is one thread with one runtime, in which all happens that is done for the queries that come to it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};

use super::counters::Counters;
use super::endpoint::Endpoint;
#[cfg(feature = "quic")]
use super::endpoint::EndpointKind;
use super::faults::Part;
use super::inherit::{Inherited, Kept};
use super::listen::{BindError, Listener, Stop, bind};
#[cfg(feature = "quic")]
use super::quic;
use super::shared::Shared;
use super::worker::Worker;
use super::{stream, udp};

/// How many of its own tasks a worker runs before it looks at its sockets again.
const EVENT_INTERVAL: u32 = 13;

/// How often a worker says that it is alive.
const BEAT: Duration = Duration::from_millis(500);
/// How long a worker rests that failed as a whole, before it begins again.
const REST: Duration = Duration::from_millis(200);

/// All workers, running.
pub struct Workers {
    listeners: Vec<Listening>,
    counters: Arc<[Arc<Counters>]>,
    senders: Vec<mpsc::UnboundedSender<Listener>>,
    threads: Vec<JoinHandle<()>>,
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
    /// Each worker's counters.
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
        NewListeners::bind(&endpoints, self.senders.len(), &mut Inherited::default())
    }

    /// Serves `endpoints` and nothing else: `new` is what [`Self::bind_new`] gave for them. What came to one that goes is
    /// answered; its connections end as they would have. Gives those that came and those that went, with their real ports.
    pub fn serve_only(&mut self, endpoints: &[Endpoint], new: NewListeners) -> (Vec<Endpoint>, Vec<Endpoint>) {
        let mut added = Vec::new();
        for NewListener { asked, endpoint, listeners, kept } in new.0 {
            let stop = Stop::default();
            // Listeners that have one socket for all are spread over the workers.
            let first = self.listeners.len();
            for (sender, mut listener) in self.senders.iter().cycle().skip(first).zip(listeners) {
                listener.stop = stop.clone();
                // A worker that is gone said so itself.
                let _ = sender.send(listener);
            }
            self.listeners.push(Listening { asked, endpoint, stop, kept });
            added.push(endpoint);
        }
        let (keep, go): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.listeners).into_iter().partition(|listening| endpoints.contains(&listening.asked));
        self.listeners = keep;
        let removed = go.iter().map(|listening| listening.endpoint).collect();
        go.iter().for_each(|listening| listening.stop.stop());
        (added, removed)
    }

    /// All sockets for datagrams and for connections, to be handed on.
    pub fn sockets(&self) -> (Vec<BorrowedFd<'_>>, Vec<BorrowedFd<'_>>) {
        let kept = || self.listeners.iter().map(|listening| &listening.kept);
        let datagram = kept().flat_map(|kept| &kept.datagram).map(AsFd::as_fd).collect();
        (datagram, kept().flat_map(|kept| &kept.stream).map(AsFd::as_fd).collect())
    }

    /// Lets all workers end: what came in is answered, and waited for no longer than `within`.
    pub fn stop(&self, shared: &Shared, within: Duration) {
        shared.stop(within);
        self.listeners.iter().for_each(|listening| listening.stop.stop());
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

/// Starts `count` workers, which listen nowhere yet, and waits until all have what they need. `seed` gives each worker's
/// source of randomness.
///
/// # Errors
/// The system's refusal to start a thread, or to give randomness or descriptors.
pub fn start(
    shared: &Arc<Shared>,
    count: usize,
    seed: &mut dyn FnMut() -> io::Result<[u8; 32]>,
) -> io::Result<Workers> {
    let counters: Arc<[Arc<Counters>]> = (0..count).map(|_| Arc::default()).collect();
    let mut workers =
        Workers { listeners: Vec::new(), counters: counters.clone(), senders: Vec::new(), threads: Vec::new() };
    let (started, starts) = std::sync::mpsc::channel();
    for (number, counters) in counters.iter().cloned().enumerate() {
        let (sender, listeners) = mpsc::unbounded_channel();
        let (shared, seeds, started) = (shared.clone(), [seed()?, seed()?], started.clone());
        let start = Start { number, shared, counters, listeners, seeds, started };
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || run(start))?;
        workers.senders.push(sender);
        workers.threads.push(thread);
    }
    drop(started);
    let mut ready = 0;
    for start in starts.iter().take(count) {
        start?;
        ready += 1;
    }
    // One that is missing ended by a panic, and said so.
    if ready == count { Ok(workers) } else { Err(io::Error::other("a worker did not start")) }
}

/// What a worker's thread is given.
struct Start {
    number: usize,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    listeners: mpsc::UnboundedReceiver<Listener>,
    seeds: [[u8; 32]; 2],
    /// Where it says that it has all that it needs, which later may not be there any more.
    started: Sender<io::Result<()>>,
}

/// Runs a worker to its end. Where it fails as a whole, once it had started, it begins again and serves what it served.
fn run(mut start: Start) {
    let mut serving = Vec::new();
    let mut started = Some(start.started.clone());
    loop {
        let run = || run_once(&mut start, &mut serving, &mut started);
        let outcome = catch_unwind(AssertUnwindSafe(run));
        let worker = start.number;
        match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::error!(worker, %error, "worker exited");
                if let Some(started) = started.take() {
                    let _ = started.send(Err(error));
                    return;
                }
            }
            Err(_) => {
                start.shared.faults.note(Part::Worker);
                tracing::error!(worker, "worker panicked; restarting it");
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
    let worker = Rc::new(Worker::new(*number, shared, counters, *seeds)?);
    runtime.block_on(local.run_until(async {
        let readiness = worker.sockets.borrow().readiness()?;
        if let Some(started) = started.take() {
            let _ = started.send(Ok(()));
        }
        let mut always = JoinSet::new();
        let own = worker.clone();
        always.spawn_local(async move {
            own.shared.faults.keep_running(Part::Upstream, || own.clone().receive(&readiness)).await;
        });
        let own = worker.clone();
        always.spawn_local(async move { own.shared.faults.keep_running(Part::Upstream, || own.clone().sweep()).await });
        let own = worker.clone();
        always.spawn_local(async move { own.shared.faults.keep_running(Part::Timers, || beat(&own)).await });
        // One worker watches the timers of all.
        if *number == 0 {
            let own = worker.clone();
            always
                .spawn_local(async move { own.shared.faults.keep_running(Part::Timers, || watch_timers(&own)).await });
        }
        let mut listening = JoinSet::new();
        serving.iter().for_each(|listener| listen(&worker, listener, &mut listening));
        let mut stopping = shared.stopping.subscribe();
        loop {
            tokio::select! {
                biased;
                Some(new) = listeners.recv() => {
                    let new = Rc::new(new);
                    serving.push(new.clone());
                    shared.faults.meet(Part::Worker);
                    listen(&worker, &new, &mut listening);
                }
                // What is not listened on any more is closed: its clients are refused instead of left to wait.
                Some(_) = listening.join_next() => serving.retain(|listener| !listener.stop.is_stopped()),
                _ = stopping.wait_for(|stop| *stop) => break,
            }
        }
        while listening.join_next().await.is_some() {}
        drain(&worker).await;
        always.abort_all();
        Ok(())
    }))
}

fn listen(worker: &Rc<Worker>, listener: &Rc<Listener>, listening: &mut JoinSet<()>) {
    #[cfg(feature = "quic")]
    if let (EndpointKind::Quic, Some(datagrams)) = (listener.kind, &listener.datagram) {
        let (worker, stop, datagrams) = (worker.clone(), listener.stop.clone(), datagrams.clone());
        listening.spawn_local(async move {
            worker.shared.faults.keep_running(Part::Listener, || quic::serve(&worker, &datagrams, &stop)).await;
        });
        return;
    }
    if let Some(datagrams) = &listener.datagram {
        let (worker, stop, datagrams) = (worker.clone(), listener.stop.clone(), datagrams.clone());
        listening.spawn_local(async move {
            worker.shared.faults.keep_running(Part::Listener, || udp::serve(&worker, &datagrams, &stop)).await;
        });
    }
    let (worker, listener) = (worker.clone(), listener.clone());
    listening.spawn_local(async move {
        worker.shared.faults.keep_running(Part::Listener, || stream::serve(&worker, &listener)).await;
    });
}

/// Shows that tasks of this worker have their turn.
async fn beat(worker: &Rc<Worker>) {
    loop {
        worker.counters.beat();
        tokio::time::sleep(BEAT).await;
    }
}

/// Does what is due when it is due.
async fn watch_timers(worker: &Rc<Worker>) {
    loop {
        let next = worker.shared.timers.arm(|| worker.shared.forwarding().next_timeout(Instant::now()));
        let far = Instant::now() + Duration::from_secs(3600);
        tokio::select! {
            () = tokio::time::sleep_until(next.unwrap_or(far).into()) => {}
            () = worker.shared.timers.changed() => continue,
        }
        let now = Instant::now();
        worker.with_forwarding(now, |forwarding, out| {
            worker.with_machine(Part::Timers, forwarding, now, out, |forwarding, out| {
                forwarding.handle_timeout(now, out)
            });
        });
    }
}

/// Waits until nothing is in flight any more, or what is left is waited for no longer.
async fn drain(worker: &Worker) {
    while !worker.shared.is_over()
        && (worker.shared.forwarding().has_waiters() || !worker.shared.connections.is_empty())
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
