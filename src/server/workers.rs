//! All workers together: starting them, the endpoints that they serve, ending them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::counters::Counters;
use super::endpoint::Endpoint;
use super::inherit::{Inherited, Kept};
use super::listen::{BindError, Listener, Stop, bind};
use super::shared::Shared;
use super::thread::{Start, run};

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
            for (sender, mut listener) in self.senders.iter().cycle().zip(listeners) {
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
