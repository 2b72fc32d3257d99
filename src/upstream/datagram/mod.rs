//! Datagrams to upstreams and back, by one of two ways.
//!
//! Fresh, the default: a socket of its own with a random port for each query, see [`super::fresh`]. Only the upstream
//! can answer on it, and the port is open no longer than its query. Pooled: reused ports, see [`super::pool`].

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use smallvec::SmallVec;

use super::fresh::{FreshSockets, Reading, open_bound};
use super::opened::Opened;
use super::pool::{DRAWS, Pool, PooledSocket, Pools, Recipient, no_place};
use crate::forward::{Arrival, AttemptId, Transmit};
use crate::sys::{Inbox, SegmentedSend, prefetch};
use crate::wire::UpstreamMessage;
use crate::wire::edns::UDP_PAYLOAD_MAX;

/// Bytes of a datagram that are received: no more than was advertised (RFC 6891 §6.2.3). What is longer is not intact, and
/// of that only this much is looked at.
const DATAGRAM_MAX: usize = UDP_PAYLOAD_MAX as usize;
/// Bytes of a datagram that is not intact which are handed on: header and question.
const BEGINNING_MAX: usize = 512;
/// Bytes of datagrams that wait to be processed, before more sockets are read.
const RECEIVED_MAX: usize = 1 << 20;
/// Datagrams of one fresh socket that are read at once, where they are not its query's answer.
const READS_MAX: usize = 16;
/// Queries that leave from one socket of a pool together: their answers must fit into its receive buffer.
const TOGETHER: usize = 32;
/// Messages whose memory is kept to be used again, and how large the buffer of one may be.
const SPARES: usize = 256;
const SPARE_MAX: usize = 2048;

/// The sockets of one worker's queries.
pub struct Datagrams {
    /// Of the poll that watches them.
    registry: Registry,
    fresh: FreshSockets,
    /// Those of the pools that this worker opened and reads from.
    pooled: Opened,
    pools: Arc<Pools>,
    /// What was looked up in `pools`, and the last of it: most queries are for the same upstream.
    known: HashMap<SocketAddr, Arc<Pool>, foldhash::fast::RandomState>,
    last_pool: Option<(SocketAddr, Arc<Pool>)>,
    /// The place that the next query leaves from, drawn.
    next_place: usize,
    /// Sockets that may have something to read.
    ready: Vec<Place>,
    rng: StdRng,
    buffer: Box<[u8]>,
    inbox: Inbox,
    /// Datagrams with a wrong ID that were not reported.
    ignored: u64,
    volley: SegmentedSend,
    spares: Spares,
}

/// Messages that are done with, whose memory is used again: one moves as a pointer, and costs no allocation.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "what is kept is the allocation of each")]
struct Spares(Vec<Box<UpstreamMessage>>);

impl Spares {
    fn arrival(&mut self, datagram: &[u8], is_intact: bool) -> Arrival {
        if !is_intact {
            return Arrival::Damaged(datagram.get(..BEGINNING_MAX).unwrap_or(datagram).to_vec());
        }
        let Some(mut message) = self.0.pop() else {
            return Arrival::Message(Box::new(UpstreamMessage::read(datagram.to_vec())));
        };
        message.read_again(datagram);
        Arrival::Message(message)
    }

    fn take_back(&mut self, message: Box<UpstreamMessage>) {
        if self.0.len() < SPARES && message.bytes.capacity() <= SPARE_MAX {
            self.0.push(message);
        }
    }
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

/// For [`Datagrams::listen_on`] and [`Datagrams::close`].
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

impl Datagrams {
    /// No sockets yet. `registry` is that of the poll which will watch them, `seed` is from the operating system's source of
    /// randomness, `pools` are shared by all workers.
    pub fn new(registry: Registry, seed: [u8; 32], pools: Arc<Pools>) -> Self {
        let mut rng = StdRng::from_seed(seed);
        Self {
            registry,
            fresh: FreshSockets::new(),
            pooled: Opened::default(),
            pools,
            known: HashMap::default(),
            last_pool: None,
            next_place: rng.next_u32() as usize,
            ready: Vec::new(),
            rng,
            buffer: vec![0; DATAGRAM_MAX].into_boxed_slice(),
            inbox: Inbox::new(DATAGRAM_MAX),
            ignored: 0,
            volley: SegmentedSend::default(),
            spares: Spares::default(),
        }
    }

    /// Notes that the socket with this token is readable. Returns the number given to [`token_beside`] where the token is from there.
    pub fn note_ready(&mut self, token: Token) -> Option<usize> {
        let number = token.0 >> KIND_BITS;
        let place = match token.0 & ((1 << KIND_BITS) - 1) {
            FRESH => Place::Fresh(number),
            POOLED => Place::Pooled(number),
            _ => return Some(number),
        };
        self.ready.push(place);
        None
    }

    /// Whether a socket may have something to read that the poll will not tell of again.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Sends a query from a socket of its own.
    pub fn send_fresh(&mut self, transmit: &Transmit) -> io::Result<()> {
        self.fresh.send(transmit, &mut self.rng, &self.registry, |at| Place::Fresh(at).token())
    }

    /// Sends queries from sockets of the pools: those to one upstream together, from one that is drawn for them. Calls
    /// `failed` for each that could not be sent.
    pub fn send_pooled(&mut self, transmits: &[Transmit], now: Instant, mut failed: impl FnMut(&Transmit, &io::Error)) {
        for alike in transmits.chunk_by(|one, next| one.to == next.to) {
            for together in alike.chunks(TOGETHER) {
                match together {
                    [alone] => self.send_alone(alone, now, &mut failed),
                    _ => self.send_together(together, now, &mut failed),
                }
            }
        }
    }

    /// The same for a query that comes alone, as it does in most networks: nothing is to be sorted, and its bytes go as they are.
    fn send_alone(&mut self, transmit: &Transmit, now: Instant, failed: &mut impl FnMut(&Transmit, &io::Error)) {
        for _ in 0..DRAWS {
            let socket = match self.draw(transmit.to, now) {
                Ok(socket) => socket,
                Err(error) => return failed(transmit, &error),
            };
            let mut ids = socket.ids();
            let is_open = ids.open(transmit.message_id(), transmit.id, transmit.deadline);
            socket.look_at(&ids);
            // Its answer will read these.
            prefetch(ids.past_end());
            self.pooled.prefetch(socket.number, prefetch);
            drop(ids);
            if !is_open {
                continue;
            }
            if let Err(error) = socket.socket.send(&transmit.message) {
                socket.retire();
                socket.close(transmit.id);
                failed(transmit, &error);
            }
            // The pool has more ports than the processor's cache keeps: the next one is fetched ahead.
            if let Some((_, pool)) = &self.last_pool {
                pool.prefetch(self.next_place, prefetch);
            }
            return;
        }
        failed(transmit, &no_place());
    }

    fn send_together(&mut self, transmits: &[Transmit], now: Instant, failed: &mut impl FnMut(&Transmit, &io::Error)) {
        let mut left: SmallVec<[&Transmit; TOGETHER]> = transmits.iter().collect();
        for _ in 0..DRAWS {
            let Some(first) = left.first() else { return };
            let socket = match self.draw(first.to, now) {
                Ok(socket) => socket,
                Err(error) => return left.iter().for_each(|transmit| failed(transmit, &error)),
            };
            let mut ids = socket.ids();
            let (mut leaving, others): (SmallVec<[&Transmit; TOGETHER]>, _) =
                left.into_iter().partition(|transmit| ids.open(transmit.message_id(), transmit.id, transmit.deadline));
            socket.look_at(&ids);
            drop(ids);
            // Those of one length go as one, and a shorter one with them.
            leaving.sort_unstable_by_key(|transmit| std::cmp::Reverse(transmit.message.len()));
            self.volley.send(
                socket.socket.as_fd(),
                leaving.iter().map(|transmit| &*transmit.message),
                |index, error| {
                    socket.retire();
                    if let Some(transmit) = leaving.get(index) {
                        socket.close(transmit.id);
                        failed(transmit, error);
                    }
                },
            );
            // Those whose ID is in use there leave from another socket.
            left = others;
        }
        left.iter().for_each(|transmit| failed(transmit, &no_place()));
    }

    /// A socket of an upstream's pool, at random.
    fn draw(&mut self, upstream: SocketAddr, now: Instant) -> io::Result<Arc<PooledSocket>> {
        let place = self.next_place;
        self.next_place = self.rng.next_u32() as usize;
        let pool = self.pool_of(upstream);
        if let Some(socket) = pool.at(place, now) {
            return Ok(socket);
        }
        let pool = pool.clone();
        self.open_pooled(&pool, place, upstream, now)
    }

    fn pool_of(&mut self, upstream: SocketAddr) -> &Arc<Pool> {
        if self.last_pool.as_ref().is_some_and(|(last, _)| *last != upstream) {
            self.last_pool = None;
        }
        let (_, pool) = self.last_pool.get_or_insert_with(|| {
            (upstream, self.known.entry(upstream).or_insert_with(|| self.pools.of(upstream)).clone())
        });
        pool
    }

    fn open_pooled(
        &mut self,
        pool: &Pool,
        place: usize,
        upstream: SocketAddr,
        now: Instant,
    ) -> io::Result<Arc<PooledSocket>> {
        let number = self.pooled.next_number();
        let socket = Arc::new(PooledSocket::new(open_bound(upstream, &mut self.rng)?, number, now));
        let token = Place::Pooled(number).token();
        self.registry.register(&mut SourceFd(&socket.socket.as_raw_fd()), token, Interest::READABLE)?;
        self.pooled.push(socket.clone());
        pool.put(place, socket.clone());
        Ok(socket)
    }

    /// Reads sockets that are ready into `received`, so many that a bounded number of bytes waits to be processed.
    pub fn read(&mut self, received: &mut Vec<Received>) {
        let mut ready = std::mem::take(&mut self.ready);
        let mut bytes = 0;
        for place in ready.drain(..) {
            if bytes > RECEIVED_MAX {
                self.ready.push(place);
                continue;
            }
            let before = received.len();
            match place {
                Place::Fresh(at) => self.read_fresh(at, received),
                Place::Pooled(at) => self.read_pooled(at, received),
            }
            bytes += received.iter().skip(before).map(Received::len).sum::<usize>();
        }
        if self.ready.is_empty() {
            self.ready = ready;
        }
    }

    /// How many datagrams with a wrong ID came since the last call, beyond the first of each query.
    pub fn take_ignored(&mut self) -> u64 {
        std::mem::take(&mut self.ignored)
    }

    /// A message that is not needed any more.
    pub fn take_back(&mut self, message: Box<UpstreamMessage>) {
        self.spares.take_back(message);
    }

    /// What was received was not the end of its query: its socket may have more.
    pub fn listen_on(&mut self, Source(place, _): Source) {
        if matches!(place, Place::Fresh(_)) {
            self.ready.push(place);
        }
    }

    /// What was received was the end of its query.
    pub fn close(&mut self, Source(place, id): Source) {
        match place {
            Place::Fresh(at) => self.fresh.close(at, id),
            Place::Pooled(at) => {
                if let Some(socket) = self.pooled.get(at) {
                    socket.close(id);
                }
            }
        }
    }

    /// Reads one datagram: as a rule it is the answer, and its query done with. Those with another ID are counted, and the
    /// first of them is reported.
    fn read_fresh(&mut self, at: usize, received: &mut Vec<Received>) {
        let place = Place::Fresh(at);
        for _ in 0..READS_MAX {
            let Some((id, outcome)) = self.fresh.receive(at, &mut self.buffer) else { return };
            let outcome = match outcome {
                Ok(Reading::Match(arrived)) => {
                    let bytes = self.buffer.get(..arrived.len).unwrap_or_default();
                    Ok(self.spares.arrival(bytes, arrived.is_intact))
                }
                Ok(Reading::WrongId { is_first: false }) => {
                    self.ignored += 1;
                    continue;
                }
                Ok(Reading::WrongId { is_first: true }) => {
                    received.push(Received { place, id, outcome: Ok(Arrival::WrongId) });
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                Err(error) => Err(error),
            };
            return received.push(Received { place, id, outcome });
        }
        self.ready.push(place);
    }

    fn read_pooled(&mut self, at: usize, received: &mut Vec<Received>) {
        let Some(pooled) = self.pooled.get(at) else { return };
        let place = Place::Pooled(at);
        let (spares, ignored) = (&mut self.spares, &mut self.ignored);
        // What comes for a question alone is its answer as a rule, and no look at what else there is.
        let (room, is_alone) = if pooled.ids().are_one() { (1, true) } else { (Inbox::ROOM, false) };
        match self.inbox.receive(pooled.socket.as_fd(), room) {
            Ok(datagrams) => {
                let is_full = datagrams.len() == room;
                let mut ids = pooled.ids();
                let (mut is_guessed, mut is_answered) = (false, false);
                for (datagram, is_intact) in datagrams {
                    match ids.recipient(datagram) {
                        Recipient::One(id) => {
                            is_answered |= is_intact;
                            received.push(Received { place, id, outcome: Ok(spares.arrival(datagram, is_intact)) });
                        }
                        Recipient::Guess => {
                            *ignored += 1;
                            is_guessed = true;
                        }
                        Recipient::Unknown => {}
                    }
                }
                if is_full && !(is_alone && is_answered) {
                    self.ready.push(place);
                }
                if is_guessed {
                    // From here on no other question is concerned.
                    pooled.retire();
                    let told = |id| Received { place, id, outcome: Ok(Arrival::WrongId) };
                    received.extend(ids.take_unmarked().map(told));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.ready.push(place),
            Err(error) => {
                let failed = |id| Received { place, id, outcome: Err(error.kind().into()) };
                received.extend(pooled.fail().into_iter().map(failed));
            }
        }
    }

    /// Closes sockets whose queries were settled by another worker, or not in time, and those of pools that are
    /// too old. To be called every now and then.
    pub fn sweep(&mut self, now: Instant) {
        self.fresh.sweep(now);
        self.pooled.retain(|pooled| pooled.sweep(now));
    }
}

#[cfg(test)]
mod tests;
