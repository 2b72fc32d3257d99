//! The ways to the threads that read clients' datagrams: a worker's receivers and its event loop, which give each other listeners.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mio::{Poll, Waker};
use parking_lot::Mutex;

use super::listen::{DatagramListener, Stop};
use crate::sys::Sleeper;
use crate::upstream::token_beside;

/// How long such a thread sleeps at most: it says at each turn that it is alive.
pub(super) const SLEEP_MAX: Duration = Duration::from_millis(500);
/// The numbers of the tokens of an event loop's waker, of its alarms, and of the first listener.
pub(super) const WAKER: usize = 0;
pub(super) const BEAT: usize = 1;
pub(super) const ALARM: usize = 2;
pub(super) const LISTENERS: usize = 3;
/// How long to wait for the receivers of listeners that are to end. Each notices by itself after [`SLEEP_MAX`].
const NOTICE_MAX: Duration = Duration::from_millis(100);
/// How often these are woken meanwhile: a signal that comes just before one sleeps is lost.
const NOTICE_STEP: Duration = Duration::from_millis(1);

/// The way to an event loop.
#[derive(Clone)]
pub(super) struct EventLoopOrders {
    listeners: Sender<DatagramListener>,
    waker: Arc<Waker>,
}

impl EventLoopOrders {
    /// The way to a loop that will wait in this poll, and where it finds its listeners.
    ///
    /// # Errors
    /// The system's refusal to give descriptors.
    pub(super) fn new(poll: &Poll) -> io::Result<(Self, Receiver<DatagramListener>)> {
        let waker = Arc::new(Waker::new(poll.registry(), token_beside(WAKER))?);
        let (listeners, new) = channel();
        Ok((Self { listeners, waker }, new))
    }

    /// Has the loop serve a listener. A thread that is gone said so itself.
    pub(super) fn serve(&self, listener: DatagramListener) {
        let _ = self.listeners.send(listener);
        self.look();
    }

    /// Has the loop look at what was changed.
    pub(super) fn look(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake a worker");
        }
    }
}

/// What a receiver is told.
pub(super) enum ReceiverOrder {
    Serve(DatagramListener),
    /// Something has changed.
    Look,
}

/// What others see of a receiver.
pub(super) struct ReceiverState {
    /// Its thread, where it sleeps in a socket.
    pub(super) sleeper: Sleeper,
    /// It has a listener, or has not answered yet all that came to one.
    is_serving: AtomicBool,
}

impl ReceiverState {
    pub(super) fn is_serving(&self) -> bool {
        self.is_serving.load(Ordering::Acquire)
    }

    /// Nothing that it received is in its hands any more.
    pub(super) fn set_free(&self) {
        self.is_serving.store(false, Ordering::Release);
    }
}

/// The way to a receiver.
pub(super) struct ReceiverOrders {
    orders: Sender<ReceiverOrder>,
    state: Arc<ReceiverState>,
    /// Ends the listener that it was given last.
    stop: Mutex<Option<Stop>>,
}

impl ReceiverOrders {
    /// The way to a receiver, where it finds its orders, and what it shows.
    ///
    /// # Errors
    /// The system's refusal of a signal's handler.
    pub(super) fn new() -> io::Result<(Self, Receiver<ReceiverOrder>, Arc<ReceiverState>)> {
        let state = Arc::new(ReceiverState { sleeper: Sleeper::new()?, is_serving: AtomicBool::new(false) });
        let (sender, orders) = channel();
        Ok((Self { orders: sender, state: state.clone(), stop: Mutex::default() }, orders, state))
    }

    /// Whether the receiver has a listener, or has not answered yet all that came to one.
    pub(super) fn is_serving(&self) -> bool {
        self.state.is_serving()
    }

    /// Has the receiver serve a listener; gives it back where it has one already.
    fn serve(&self, listener: DatagramListener) -> Option<DatagramListener> {
        if self.state.is_serving.swap(true, Ordering::AcqRel) {
            return Some(listener);
        }
        *self.stop.lock() = Some(listener.stop.clone());
        // A thread that is gone said so itself.
        let _ = self.orders.send(ReceiverOrder::Serve(listener));
        None
    }

    /// Has the receiver look whether it is to end.
    pub(super) fn look(&self) {
        let _ = self.orders.send(ReceiverOrder::Look);
    }

    /// Wakes the receiver where its listener is to end; whether that is to end and has not yet.
    fn end_sleep(&self) -> bool {
        let is_ending = self.is_serving() && self.stop.lock().as_ref().is_some_and(Stop::is_stopped);
        if is_ending {
            self.state.sleeper.interrupt();
        }
        is_ending
    }
}

/// Waits a little until these receivers have noticed which listeners are to end, and answered what came to them.
pub(super) fn end_sleeps<'r>(receivers: impl Iterator<Item = &'r ReceiverOrders> + Clone) {
    let end = Instant::now() + NOTICE_MAX;
    // All of them are woken, however many.
    while receivers.clone().filter(|receiver| receiver.end_sleep()).count() > 0 && Instant::now() < end {
        std::thread::sleep(NOTICE_STEP);
    }
}

/// Gives a listener to one of these receivers that has none; gives it back where all have one.
pub(super) fn give(receivers: &[ReceiverOrders], listener: DatagramListener) -> Option<DatagramListener> {
    receivers.iter().try_fold(listener, |listener, receiver| receiver.serve(listener))
}
