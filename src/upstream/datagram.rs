//! Datagrams to upstreams and back, by one of two ways.
//!
//! Fresh, the default: a connected socket with a random port for each query (RFC 5452 §4.5, §9). Nobody but the upstream
//! can answer on it, and it lives no longer than its query. Pooled: reused ports, see [`super::pool`].

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slab::Slab;
use tokio::io::unix::AsyncFd;

use super::pool::{DRAWS, Pool, PooledSocket, Pools, Recipients, no_place};
use crate::forward::{Ports, Transmit, TryId};
use crate::sys::{Inbox, connect_fresh, readable};

/// Readiness events taken at once.
const EVENTS: usize = 128;
/// The largest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// How often sockets are looked for whose queries were settled elsewhere.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The sockets of one worker's queries.
pub struct Datagrams {
    poll: Poll,
    events: Events,
    fresh: Slab<FreshSocket>,
    /// Those of the pools that this worker opened and reads from.
    pooled: Slab<Arc<PooledSocket>>,
    pools: Arc<Pools>,
    /// What was looked up in `pools`.
    known: HashMap<SocketAddr, Arc<Pool>>,
    /// Sockets that may have more to read.
    unfinished: Vec<Place>,
    rng: StdRng,
    buffer: Box<[u8]>,
    inbox: Inbox,
    swept: Instant,
}

struct FreshSocket {
    socket: UdpSocket,
    id: TryId,
    deadline: Instant,
}

/// Where a socket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Fresh(usize),
    Pooled(usize),
}

impl Place {
    fn token(self) -> Token {
        match self {
            Self::Fresh(at) => Token(at << 1),
            Self::Pooled(at) => Token(at << 1 | 1),
        }
    }

    fn of(token: Token) -> Self {
        if token.0 & 1 == 0 { Self::Fresh(token.0 >> 1) } else { Self::Pooled(token.0 >> 1) }
    }
}

/// Something that came back, or the news that nothing will.
#[derive(Debug)]
pub struct Received {
    place: Place,
    /// The try that it belongs to.
    pub id: TryId,
    /// The datagram, or an error such as a port that is closed.
    pub outcome: io::Result<Vec<u8>>,
}

/// For [`Datagrams::listen_on`] and [`Datagrams::close`].
#[derive(Debug, Clone, Copy)]
pub struct Source(Place, TryId);

impl Received {
    /// Where it came from.
    pub fn source(&self) -> Source {
        Source(self.place, self.id)
    }
}

impl Datagrams {
    /// No sockets yet. `seed` is from the operating system's source of randomness; `pools` are shared by all workers.
    pub fn new(seed: [u8; 32], pools: Arc<Pools>) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            fresh: Slab::new(),
            pooled: Slab::new(),
            pools,
            known: HashMap::new(),
            unfinished: Vec::new(),
            rng: StdRng::from_seed(seed),
            buffer: vec![0; DATAGRAM_MAX].into_boxed_slice(),
            inbox: Inbox::default(),
            swept: Instant::now(),
        })
    }

    /// What becomes readable when a socket does.
    pub fn readiness(&self) -> io::Result<AsyncFd<OwnedFd>> {
        readable(self.poll.registry().as_fd())
    }

    /// Sends a query.
    pub fn send(&mut self, transmit: &Transmit, now: Instant) -> io::Result<()> {
        match transmit.ports {
            Ports::Fresh => self.send_fresh(transmit),
            Ports::Pool => self.send_pooled(transmit, now),
        }
    }

    fn send_fresh(&mut self, transmit: &Transmit) -> io::Result<()> {
        let socket = self.connect(transmit.to)?;
        let entry = self.fresh.vacant_entry();
        let token = Place::Fresh(entry.key()).token();
        self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
        socket.send(&transmit.message)?;
        entry.insert(FreshSocket { socket, id: transmit.id, deadline: transmit.deadline });
        Ok(())
    }

    fn send_pooled(&mut self, transmit: &Transmit, now: Instant) -> io::Result<()> {
        let message_id = transmit.message.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
        let pool = self.known.entry(transmit.to).or_insert_with(|| self.pools.of(transmit.to)).clone();
        for _ in 0..DRAWS {
            let place = self.rng.next_u32() as usize;
            let socket = match pool.at(place, now) {
                Some(socket) => socket,
                None => self.open_pooled(&pool, place, transmit.to, now)?,
            };
            if socket.open(message_id, transmit.id, transmit.deadline) {
                return socket.socket.send(&transmit.message).map(|_| ()).inspect_err(|_| {
                    socket.retire();
                    socket.close(transmit.id);
                });
            }
        }
        Err(no_place())
    }

    fn open_pooled(
        &mut self,
        pool: &Pool,
        place: usize,
        upstream: SocketAddr,
        now: Instant,
    ) -> io::Result<Arc<PooledSocket>> {
        let socket = Arc::new(PooledSocket::new(self.connect(upstream)?, now));
        let entry = self.pooled.vacant_entry();
        let token = Place::Pooled(entry.key()).token();
        self.poll.registry().register(&mut SourceFd(&socket.socket.as_raw_fd()), token, Interest::READABLE)?;
        entry.insert(socket.clone());
        pool.put(place, socket.clone());
        Ok(socket)
    }

    /// A connected socket with a random port.
    fn connect(&mut self, upstream: SocketAddr) -> io::Result<UdpSocket> {
        let rng = &mut self.rng;
        connect_fresh(upstream, std::iter::repeat_with(|| rng.next_u32() as u16).take(64))
    }

    /// Reads what is there into `received`; whether there may be more.
    pub fn receive(&mut self, received: &mut Vec<Received>) -> io::Result<bool> {
        let mut ready = std::mem::take(&mut self.unfinished);
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => ready.extend(self.events.iter().map(|event| Place::of(event.token()))),
        }
        let more = !ready.is_empty();
        for place in ready.drain(..) {
            match place {
                Place::Fresh(at) => self.read_fresh(at, received),
                Place::Pooled(at) => self.read_pooled(at, received),
            }
        }
        if self.unfinished.is_empty() {
            self.unfinished = ready;
        }
        Ok(more)
    }

    /// What was received was not the end of its query: its socket may have more.
    pub fn listen_on(&mut self, Source(place, _): Source) {
        if matches!(place, Place::Fresh(_)) {
            self.unfinished.push(place);
        }
    }

    /// What was received was the end of its query.
    pub fn close(&mut self, Source(place, id): Source) {
        match place {
            Place::Fresh(at) => drop(self.fresh.try_remove(at)),
            Place::Pooled(at) => {
                if let Some(socket) = self.pooled.get(at) {
                    socket.close(id);
                }
            }
        }
    }

    /// Reads one datagram: as a rule it is the answer, and its socket is closed.
    fn read_fresh(&mut self, at: usize, received: &mut Vec<Received>) {
        let Some(fresh) = self.fresh.get(at) else { return };
        let outcome = match fresh.socket.recv(&mut self.buffer) {
            Ok(len) => Ok(self.buffer.get(..len).unwrap_or_default().to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                return self.unfinished.push(Place::Fresh(at));
            }
            Err(error) => Err(error),
        };
        received.push(Received { place: Place::Fresh(at), id: fresh.id, outcome });
    }

    fn read_pooled(&mut self, at: usize, received: &mut Vec<Received>) {
        let Some(pooled) = self.pooled.get(at) else { return };
        let place = Place::Pooled(at);
        let read = self.inbox.receive(pooled.socket.as_fd(), |datagram| {
            let mut push = |id| received.push(Received { place, id, outcome: Ok(datagram.to_vec()) });
            match pooled.recipients(datagram) {
                Recipients::One(id) => push(id),
                Recipients::Guessed(ids) => ids.into_iter().for_each(push),
                Recipients::Nobody => {}
            }
        });
        match read {
            Ok(count) if count < Inbox::ROOM => {}
            Ok(_) => self.unfinished.push(place),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.unfinished.push(place),
            Err(error) => {
                let failed = |id| Received { place, id, outcome: Err(error.kind().into()) };
                received.extend(pooled.fail().into_iter().map(failed));
            }
        }
    }

    /// Closes sockets whose queries were settled by another worker, or by nobody in time, and those of pools that are
    /// too old. Looks once a second.
    pub fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) >= SWEEP_INTERVAL {
            self.swept = now;
            self.fresh.retain(|_, fresh| fresh.deadline > now);
            self.pooled.retain(|_, pooled| pooled.sweep(now));
        }
    }
}
