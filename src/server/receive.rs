//! What upstreams say: read from this worker's sockets, told to the state machine, replied to all whom it concerns.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use smallvec::SmallVec;
use tokio::io::unix::AsyncFd;

use super::faults::Part;
use super::forwarding::take;
use super::worker::Worker;
use crate::forward::AttemptState;
use crate::sys::readable;
use crate::upstream::{DatagramSockets, Reader, Received};

/// How often sockets are looked for whose queries were settled elsewhere, or not in time.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// What is taken from upstreams under one lock of the state machine, which others wait for.
const TAKEN_AT_ONCE: usize = 32;

/// Readiness events taken at once.
const EVENTS: usize = 128;

/// The poll of a thread's sockets towards upstreams, where the thread itself sleeps in its runtime's.
pub(super) struct NestedPoll {
    poll: RefCell<Poll>,
    sockets: Arc<DatagramSockets>,
    reader: RefCell<Reader>,
    /// Becomes readable when one of them does.
    readiness: AsyncFd<OwnedFd>,
}

impl NestedPoll {
    /// None is watched yet. To be called in the runtime.
    ///
    /// # Errors
    /// The system's refusal to give descriptors.
    pub(super) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let readiness = readable(poll.registry().as_fd())?;
        let sockets = Arc::new(DatagramSockets::new(poll.registry().try_clone()?));
        Ok(Self { poll: RefCell::new(poll), reader: RefCell::new(Reader::new(sockets.clone())), sockets, readiness })
    }

    /// The sockets that it watches.
    pub(super) fn sockets(&self) -> &Arc<DatagramSockets> {
        &self.sockets
    }

    /// Closes sockets whose queries were settled elsewhere, or not in time.
    pub(super) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.sockets.sweep(Instant::now());
        }
    }

    /// Waits until there are events.
    async fn wait(&self, events: &mut Events) -> io::Result<()> {
        loop {
            let mut guard = self.readiness.readable().await?;
            match self.poll.borrow_mut().poll(events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
                Ok(()) => {}
            }
            let count = events.iter().count();
            // Fewer than there is room for: what comes now is a new event.
            if count < EVENTS {
                guard.clear_ready();
            }
            if count > 0 {
                return Ok(());
            }
        }
    }
}

impl Worker {
    /// Reads what upstreams send to this thread's sockets, as a task.
    pub(super) async fn receive_nested(self: Rc<Self>, nested: &NestedPoll) {
        let (mut events, mut received) = (Events::with_capacity(EVENTS), Vec::new());
        loop {
            if nested.reader.borrow().has_ready() {
                tokio::task::yield_now().await;
            } else if let Err(error) = nested.wait(&mut events).await {
                tracing::error!(%error, "cannot read upstream sockets");
                return;
            } else {
                let mut reader = nested.reader.borrow_mut();
                events.iter().for_each(|event| _ = reader.note_ready(event.token()));
            }
            self.receive(&mut nested.reader.borrow_mut(), &mut received);
        }
    }

    /// Reads what upstreams sent to sockets that are ready.
    pub(super) fn receive(self: &Rc<Self>, reader: &mut Reader, received: &mut Vec<Received>) {
        reader.read(received, &mut self.spares.borrow_mut());
        self.take_received(reader, received);
    }

    /// Does what is due.
    pub(super) fn mind_timers(self: &Rc<Self>, now: Instant) {
        self.with_forwarding(now, |forwarding, out| {
            self.with_machine(Part::Timers, forwarding, now, out, |forwarding, out| {
                forwarding.handle_timeout(now, out)
            });
        });
        self.shared.timers.arm(|| self.shared.forwarding().next_timeout(Instant::now()));
    }

    /// Tells the state machine what came, replies to all whom that concerns, and closes what is done with.
    fn take_received(self: &Rc<Self>, reader: &mut Reader, received: &mut Vec<Received>) {
        let now = self.look_at_clock();
        let mut sources: SmallVec<[_; 1]> = SmallVec::with_capacity(received.len().min(TAKEN_AT_ONCE));
        while !received.is_empty() {
            let some = received.drain(..received.len().min(TAKEN_AT_ONCE));
            let ignored = reader.take_ignored();
            self.with_forwarding(now, |forwarding, out| {
                forwarding.count_ignored(ignored);
                for received in some {
                    let source = received.source();
                    // After a panic its socket is closed.
                    let state = self
                        .with_machine(Part::Answer, forwarding, now, out, |forwarding, out| {
                            take(forwarding, now, received.id, received.outcome, out)
                        })
                        .unwrap_or(AttemptState::Over);
                    sources.push((source, state));
                }
            });
            for (source, state) in sources.drain(..) {
                match state {
                    AttemptState::Over => reader.close(source),
                    AttemptState::Open => reader.listen_on(source),
                }
            }
        }
    }
}
