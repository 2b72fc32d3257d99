//! Datagrams to upstreams and back, by one of two ways.
//!
//! Fresh, the default: a socket of its own with a random port for each query, see [`super::fresh`]. Only the upstream
//! can answer on it, and the port is open no longer than its query. Pooled: reused ports, see [`super::pool`].
//!
//! The sockets are those of a worker ([`DatagramSockets`]). Each of its threads sends from them ([`Sender`]), one reads
//! ([`Reader`]), and none waits for another's system call: no lock that two may want is held during one.

mod read;
mod send;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use parking_lot::Mutex;
use rand::rngs::StdRng;

pub use read::{Reader, Spares};
pub use send::Sender;

use super::fresh::{FreshSockets, open_bound};
use super::opened::Opened;
use super::pool::PooledSocket;
use crate::forward::{Arrival, AttemptId, Transmit};

/// The sockets of a worker towards upstreams.
pub struct DatagramSockets {
    /// Of the poll that watches them.
    registry: Registry,
    fresh: FreshSockets,
    /// Those of the pools that this worker opened and reads from.
    pooled: Mutex<Opened>,
}

/// The index of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Fresh(usize),
    Pooled(usize),
}

/// The lower bits of a token, which say what the upper ones count.
const KIND_BITS: u32 = 2;
const FRESH: usize = 0;
const POOLED: usize = 1;
const BESIDE: usize = 2;

impl Place {
    fn token(self) -> Token {
        match self {
            Self::Fresh(at) => Token(at << KIND_BITS | FRESH),
            Self::Pooled(at) => Token(at << KIND_BITS | POOLED),
        }
    }
}

/// A token for something else that the same poll watches.
pub fn token_beside(number: usize) -> Token {
    Token(number << KIND_BITS | BESIDE)
}

/// Something that came back, or the news that nothing will.
#[derive(Debug)]
pub struct Received {
    place: Place,
    /// The try that it belongs to.
    pub id: AttemptId,
    /// What arrived, or an error such as a port that is closed.
    pub outcome: io::Result<Arrival>,
}

/// For [`Reader::listen_on`] and [`Reader::close`].
#[derive(Debug, Clone, Copy)]
pub struct Source(Place, AttemptId);

impl Received {
    /// What it takes while it waits to be processed, but for itself.
    fn len(&self) -> usize {
        match &self.outcome {
            Ok(Arrival::Message(message)) => message.bytes.len(),
            Ok(Arrival::Damaged(bytes)) => bytes.len(),
            Ok(Arrival::WrongId) | Err(_) => 0,
        }
    }

    /// Where it came from.
    pub fn source(&self) -> Source {
        Source(self.place, self.id)
    }
}

impl DatagramSockets {
    /// None yet. `registry` is that of the poll which will watch them.
    pub fn new(registry: Registry) -> Self {
        Self { registry, fresh: FreshSockets::new(), pooled: Mutex::default() }
    }

    fn send_fresh(&self, transmit: &Transmit, rng: &mut StdRng) -> io::Result<()> {
        self.fresh.send(transmit, rng, &self.registry, |at| Place::Fresh(at).token())
    }

    fn pooled(&self, number: usize) -> Option<Arc<PooledSocket>> {
        self.pooled.lock().get(number).cloned()
    }

    fn prefetch_pooled(&self, number: usize, prefetch: impl Fn(*const u8)) {
        self.pooled.lock().prefetch(number, prefetch);
    }

    /// Opens a socket for a pool.
    fn open_pooled(&self, upstream: SocketAddr, rng: &mut StdRng, now: Instant) -> io::Result<Arc<PooledSocket>> {
        let socket = open_bound(upstream, rng)?;
        let socket = self.pooled.lock().open(|number| Arc::new(PooledSocket::new(socket, number, now)));
        let token = Place::Pooled(socket.number).token();
        let watched = self.registry.register(&mut SourceFd(&socket.socket.as_raw_fd()), token, Interest::READABLE);
        // What nothing watches is closed by the next sweep.
        watched.inspect_err(|_| socket.retire())?;
        Ok(socket)
    }

    /// Closes sockets whose queries were settled by another worker, or not in time, and those of pools that are
    /// too old. To be called every now and then.
    pub fn sweep(&self, now: Instant) {
        self.fresh.sweep(now);
        let gone = self.pooled.lock().retain(|pooled| pooled.sweep(now));
        drop(gone);
    }
}

#[cfg(test)]
mod tests;
