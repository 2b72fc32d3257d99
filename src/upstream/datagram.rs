//! A connected socket with a random port for each query (RFC 5452 §4.5, §9): nobody but the upstream can answer on it,
//! and it lives no longer than its query.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slab::Slab;
use tokio::io::unix::AsyncFd;

use crate::forward::{Transmit, TryId};
use crate::sys::{connect_fresh, readable};

/// Readiness events taken at once.
const EVENTS: usize = 128;
/// Datagrams read from one socket before others have their turn.
const READS_MAX: usize = 32;
/// The largest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// How often sockets are looked for whose queries were settled elsewhere.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The sockets of one worker's queries.
pub struct FreshSockets {
    poll: Poll,
    events: Events,
    sockets: Slab<FreshSocket>,
    /// Sockets that may have more to read.
    unfinished: Vec<usize>,
    rng: StdRng,
    buffer: Box<[u8]>,
    swept: Instant,
}

struct FreshSocket {
    socket: mio::net::UdpSocket,
    id: TryId,
    deadline: Instant,
}

/// Something that came back, or the news that nothing will.
#[derive(Debug)]
pub struct Received {
    /// The place of its socket, for [`FreshSockets::close`].
    pub socket: usize,
    /// The try that it belongs to.
    pub id: TryId,
    /// The datagram, or an error such as a port that is closed.
    pub outcome: io::Result<Vec<u8>>,
}

impl FreshSockets {
    /// No sockets yet. `seed` is from the operating system's source of randomness.
    pub fn new(seed: [u8; 32]) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            sockets: Slab::new(),
            unfinished: Vec::new(),
            rng: StdRng::from_seed(seed),
            buffer: vec![0; DATAGRAM_MAX].into_boxed_slice(),
            swept: Instant::now(),
        })
    }

    /// What becomes readable when a socket does.
    pub fn readiness(&self) -> io::Result<AsyncFd<OwnedFd>> {
        readable(self.poll.registry().as_fd())
    }

    /// Sends a query from a new socket.
    pub fn send(&mut self, transmit: &Transmit) -> io::Result<()> {
        let rng = &mut self.rng;
        let ports = std::iter::repeat_with(|| rng.next_u32() as u16).take(64);
        let socket: UdpSocket = connect_fresh(transmit.to, ports)?;
        let mut socket = mio::net::UdpSocket::from_std(socket);
        let entry = self.sockets.vacant_entry();
        self.poll.registry().register(&mut socket, Token(entry.key()), Interest::READABLE)?;
        socket.send(&transmit.message)?;
        entry.insert(FreshSocket { socket, id: transmit.id, deadline: transmit.deadline });
        Ok(())
    }

    /// Reads what is there into `received`; whether there may be more.
    pub fn receive(&mut self, received: &mut Vec<Received>) -> io::Result<bool> {
        let mut ready = std::mem::take(&mut self.unfinished);
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => ready.extend(self.events.iter().map(|event| event.token().0)),
        }
        let more = !ready.is_empty();
        for key in ready {
            self.read_socket(key, received);
        }
        Ok(more)
    }

    /// Closes a socket.
    pub fn close(&mut self, socket: usize) {
        self.sockets.try_remove(socket);
    }

    fn read_socket(&mut self, key: usize, received: &mut Vec<Received>) {
        let Some(fresh) = self.sockets.get(key) else { return };
        for _ in 0..READS_MAX {
            let outcome = match fresh.socket.recv(&mut self.buffer) {
                Ok(len) => Ok(self.buffer.get(..len).unwrap_or_default().to_vec()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = outcome.is_err();
            received.push(Received { socket: key, id: fresh.id, outcome });
            if failed {
                return;
            }
        }
        self.unfinished.push(key);
    }

    /// Closes sockets whose queries were settled by another worker, or by nobody in time. Looks once a second.
    pub fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) >= SWEEP_INTERVAL {
            self.swept = now;
            self.sockets.retain(|_, fresh| fresh.deadline > now);
        }
    }
}
