//! A receiver: a thread of a worker that sleeps in one socket of clients, and answers or asks what comes.
//!
//! At a few thousand queries a second each one wakes a thread. One that sleeps in the receive itself wakes with the query in its
//! hands: asking the poll first what there is to receive would be a seventh of the query's CPU time. It waits for nothing else;
//! what upstreams say, timers and changes are the event loop's.
//!
//! Where queries come many at a time there is nothing to be won, and two threads that have much to do on one core would interrupt each
//! other: the receiver leaves its socket to the event loop then, which gives it back when they come one by one again.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::event_loop::{EventLoopOrders, SLEEP_MAX, rest, serve_rest};
use super::faults::Part;
use super::listen::{DatagramListener, Stop};
use super::udp::ClientSocket;
use super::worker::Worker;
use crate::engine::GROUP;
use crate::sys::Sleeper;
use crate::wire::NameBuf;

/// How long whoever ends a listener waits for its receiver to notice. It does by itself after [`SLEEP_MAX`].
const NOTICE_MAX: Duration = Duration::from_millis(100);
/// How often it is woken meanwhile: a signal that comes just before it sleeps is lost.
const NOTICE_STEP: Duration = Duration::from_millis(1);

/// What a receiver serves. Outlives a panic of its thread.
pub(super) struct Receiver {
    orders: mpsc::Receiver<Order>,
    serving: Option<DatagramListener>,
    state: Arc<ReceiverState>,
    /// Takes what comes many at a time.
    event_loop: EventLoopOrders,
}

/// What a receiver is told.
enum Order {
    Serve(DatagramListener),
    /// Something has changed.
    Look,
}

/// Why a receiver serves a listener no longer.
#[derive(Debug, PartialEq, Eq)]
enum Until {
    Stopped,
    Dense,
}

/// What other threads see of a receiver.
struct ReceiverState {
    sleeper: Sleeper,
    /// It has a listener, whose queries it may still have in its hands.
    is_serving: AtomicBool,
}

/// The way to a receiver.
pub(super) struct ReceiverOrders {
    orders: mpsc::Sender<Order>,
    state: Arc<ReceiverState>,
    /// Ends the listener that it was given last.
    stop: Mutex<Option<Stop>>,
}

impl ReceiverOrders {
    /// Whether the receiver serves a listener, or has not answered yet all that came to one.
    pub(super) fn is_serving(&self) -> bool {
        self.state.is_serving.load(Ordering::Acquire)
    }

    /// Has the receiver serve a listener; gives it back where it serves one already.
    pub(super) fn serve(&self, listener: DatagramListener) -> Option<DatagramListener> {
        if self.state.is_serving.swap(true, Ordering::AcqRel) {
            return Some(listener);
        }
        *self.stop.lock() = Some(listener.stop.clone());
        // A thread that is gone said so itself.
        let _ = self.orders.send(Order::Serve(listener));
        None
    }

    /// Has the receiver look whether it is to end, or its listener; waits a little then until it has answered what came to that.
    pub(super) fn look(&self) {
        let _ = self.orders.send(Order::Look);
        if !self.stop.lock().as_ref().is_some_and(Stop::is_stopped) {
            return;
        }
        let end = Instant::now() + NOTICE_MAX;
        while self.is_serving() && Instant::now() < end {
            self.state.sleeper.interrupt();
            std::thread::sleep(NOTICE_STEP);
        }
    }
}

impl Receiver {
    /// A receiver without a listener, and the way to it; `event_loop` takes a listener whose queries come many at a time.
    ///
    /// # Errors
    /// The system's refusal of a signal's handler.
    pub(super) fn new(event_loop: EventLoopOrders) -> io::Result<(Self, ReceiverOrders)> {
        let state = Arc::new(ReceiverState { sleeper: Sleeper::new()?, is_serving: AtomicBool::new(false) });
        let (sender, orders) = mpsc::channel();
        let receiver = Self { orders, serving: None, state: state.clone(), event_loop };
        Ok((receiver, ReceiverOrders { orders: sender, state, stop: Mutex::default() }))
    }

    /// Serves listener after listener until the server ends.
    ///
    /// # Errors
    /// The system's refusal to let the thread sleep in a socket.
    pub(super) fn run(&mut self, worker: &Rc<Worker>) -> io::Result<()> {
        while !worker.shared.is_stopping() || self.state.is_serving.load(Ordering::Acquire) {
            worker.counters.beat();
            if let Some(listener) = &self.serving {
                if self.serve(worker, listener)? == Until::Dense {
                    self.event_loop.serve(listener.clone());
                }
                self.serving = None;
                self.state.is_serving.store(false, Ordering::Release);
                continue;
            }
            match self.orders.recv_timeout(SLEEP_MAX) {
                Ok(Order::Serve(listener)) => {
                    self.serving = Some(listener);
                    worker.shared.faults.meet(Part::Worker);
                }
                Ok(Order::Look) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    /// Serves a listener until it is to end, and what is queued in its socket then; or until queries come many at a time.
    fn serve(&self, worker: &Rc<Worker>, listener: &DatagramListener) -> io::Result<Until> {
        let socket = &listener.datagrams.socket;
        socket.set_read_timeout(Some(SLEEP_MAX))?;
        socket.set_nonblocking(false)?;
        let mut client = ClientSocket::new(listener);
        let mut name_bufs = [const { NameBuf::new() }; GROUP];
        let sleeping = self.state.sleeper.may_sleep();
        while !listener.stop.is_stopped() && !worker.shared.is_stopping() {
            let serve = || client.wait_and_serve(worker, &mut name_bufs);
            if !worker.shared.faults.guarded(Part::Listener, serve, || rest(Part::Listener, true)) {
                // Another process that takes the socket over has it not block, and may have failed since.
                socket.set_nonblocking(false)?;
            }
            worker.counters.beat();
            if client.flow.is_dense() {
                return Ok(Until::Dense);
            }
        }
        drop(sleeping);
        serve_rest(worker, &mut client, &mut name_bufs);
        Ok(Until::Stopped)
    }
}
