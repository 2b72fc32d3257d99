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
use std::sync::mpsc::{self, RecvTimeoutError};

use super::datagram_orders::{EventLoopOrders, ReceiverOrder, ReceiverOrders, ReceiverState, SLEEP_MAX};
use super::faults::Part;
use super::listen::DatagramListener;
use super::udp::ClientSocket;
use super::worker::Worker;
use crate::engine::GROUP;
use crate::wire::NameBuf;

/// What a receiver serves. Outlives a panic of its thread.
pub(super) struct Receiver {
    orders: mpsc::Receiver<ReceiverOrder>,
    serving: Option<DatagramListener>,
    state: Arc<ReceiverState>,
    /// Takes what comes many at a time.
    event_loop: EventLoopOrders,
}

/// Why a receiver serves a listener no longer.
#[derive(Debug, PartialEq, Eq)]
enum Until {
    Stopped,
    Dense,
}

impl Receiver {
    /// A receiver without a listener, and the way to it; `event_loop` takes a listener whose queries come many at a time.
    ///
    /// # Errors
    /// The system's refusal of a signal's handler.
    pub(super) fn new(event_loop: EventLoopOrders) -> io::Result<(Self, ReceiverOrders)> {
        let (way, orders, state) = ReceiverOrders::new()?;
        Ok((Self { orders, serving: None, state, event_loop }, way))
    }

    /// Serves listener after listener until the server ends.
    ///
    /// # Errors
    /// The system's refusal to let the thread sleep in a socket.
    pub(super) fn run(&mut self, worker: &Rc<Worker>) -> io::Result<()> {
        while !worker.shared.is_stopping() || self.state.is_serving() {
            worker.counters.beat();
            if let Some(listener) = &self.serving {
                if self.serve(worker, listener)? == Until::Dense {
                    self.event_loop.serve(listener.clone());
                }
                self.serving = None;
                self.state.set_free();
                continue;
            }
            match self.orders.recv_timeout(SLEEP_MAX) {
                Ok(ReceiverOrder::Serve(listener)) => {
                    self.serving = Some(listener);
                    worker.shared.faults.meet(Part::Worker);
                }
                Ok(ReceiverOrder::Look) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    /// Serves a listener until it is to end, and what is queued in its socket then; or until queries come many at a time.
    fn serve(&self, worker: &Rc<Worker>, listener: &DatagramListener) -> io::Result<Until> {
        let (socket, faults) = (&listener.datagrams.socket, &worker.shared.faults);
        socket.set_read_timeout(Some(SLEEP_MAX))?;
        socket.set_nonblocking(false)?;
        let mut client = ClientSocket::new(listener);
        let mut name_bufs = [const { NameBuf::new() }; GROUP];
        let sleeping = self.state.sleeper.may_sleep();
        while !listener.stop.is_stopped() && !worker.shared.is_stopping() {
            let serve = || client.wait_and_serve(worker, &mut name_bufs);
            if !faults.guarded(Part::Listener, serve, || faults.rest(Part::Listener, true)) {
                // A process that takes the socket over has it not block, and may have failed since.
                socket.set_nonblocking(false)?;
            }
            worker.counters.beat();
            if client.flow.is_dense() {
                return Ok(Until::Dense);
            }
        }
        drop(sleeping);
        client.serve_rest(worker, &mut name_bufs);
        Ok(Until::Stopped)
    }
}
