//! Sockets that serve one query at a time, each from a port that is drawn for it (RFC 5452 §4.5, §9).
//!
//! A port is drawn from 1024 to 65535, each as likely. Most cost a socket: it is opened, bound, and closed again, for a
//! bound socket keeps its port for good. But where the draw falls among the ports that the kernel itself draws from
//! ([`ephemeral_ports`]), the kernel draws one of these instead, which it does for one socket again and again: between
//! its queries such a socket has neither port nor peer, and waits here, open and watched, for the next. A query costs two
//! thirds that way, and an onlooker cannot tell one from the other.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;
use slab::Slab;

use crate::forward::{AttemptId, Transmit};
use crate::sys::{Arrived, discard_received, disconnect, ephemeral_ports, open_connected, receive_datagram};

/// The first port that a query leaves from: those below are for services.
const FIRST_PORT: u16 = 1024;
/// Ports that are drawn, if others have them, before the kernel draws one.
const DRAWS: usize = 10;
/// Sockets without a query that are kept.
const IDLE_MAX: usize = 256;

/// One worker's sockets; its threads share them.
pub(super) struct FreshSockets {
    places: Mutex<Places>,
    /// What the kernel draws from.
    ephemeral: Option<RangeInclusive<u16>>,
}

#[derive(Default)]
struct Places {
    sockets: Slab<Arc<FreshSocket>>,
    idle_v4: Idle,
    idle_v6: Idle,
}

struct FreshSocket {
    socket: UdpSocket,
    /// Its family, which it keeps.
    is_ipv4: bool,
    /// Whether it is bound, and its port its own.
    bound: bool,
    /// What it serves; none while it is idle, or about to be used by the thread that took it.
    query: Mutex<Option<Pending>>,
}

struct Pending {
    id: AttemptId,
    /// The ID of its message.
    message_id: u16,
    deadline: Instant,
    /// A datagram with another ID came for it.
    is_guessed: bool,
}

/// What was read from a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// A datagram with its query's ID, now in the buffer.
    Match(Arrived),
    /// One with another ID, or without: for all further ones the query is known to be guessed at.
    WrongId { is_first: bool },
}

/// Sockets without a query, the one that was used last at the end.
#[derive(Default)]
struct Idle {
    places: Vec<usize>,
    /// The fewest there were since the last sweep: that many are not needed.
    least: usize,
}

impl Idle {
    fn pop(&mut self) -> Option<usize> {
        let place = self.places.pop();
        self.least = self.least.min(self.places.len());
        place
    }
}

/// A port that a query may leave from, at random.
fn draw_port(rng: &mut StdRng) -> u16 {
    loop {
        let port = rng.random();
        if port >= FIRST_PORT {
            return port;
        }
    }
}

/// Opens a connected socket that keeps a random port.
pub(super) fn open_bound(upstream: SocketAddr, rng: &mut StdRng) -> io::Result<UdpSocket> {
    open_drawn(upstream, rng, |_| false)?.map_or_else(|| open_connected(upstream, None), Ok)
}

/// The same. `None` where the port that was drawn is to be `left` to the kernel, or all that were drawn are taken.
fn open_drawn(upstream: SocketAddr, rng: &mut StdRng, left: impl Fn(u16) -> bool) -> io::Result<Option<UdpSocket>> {
    for _ in 0..DRAWS {
        let port = draw_port(rng);
        if left(port) {
            return Ok(None);
        }
        match open_connected(upstream, Some(port)) {
            Err(error) if is_taken(&error) => {}
            opened => return opened.map(Some),
        }
    }
    Ok(None)
}

/// Whether the port was the reason: another process has it, or it is kept from us.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

impl Places {
    fn idle(&mut self, is_ipv4: bool) -> &mut Idle {
        if is_ipv4 { &mut self.idle_v4 } else { &mut self.idle_v6 }
    }

    /// A socket that is idle, taken.
    fn pop_idle(&mut self, is_ipv4: bool) -> Option<(usize, Arc<FreshSocket>)> {
        let at = self.idle(is_ipv4).pop()?;
        Some((at, self.sockets.get(at)?.clone()))
    }

    /// Removes this socket, unless another is in its place already.
    fn remove(&mut self, at: usize, fresh: &Arc<FreshSocket>) {
        if self.has(at, fresh) {
            self.sockets.try_remove(at);
        }
    }

    fn has(&self, at: usize, fresh: &Arc<FreshSocket>) -> bool {
        self.sockets.get(at).is_some_and(|there| Arc::ptr_eq(there, fresh))
    }
}

impl FreshSockets {
    /// No sockets yet.
    pub(super) fn new() -> Self {
        Self { places: Mutex::default(), ephemeral: ephemeral_ports() }
    }

    /// Sends a query from a socket that is not shared, which `registry` watches under the token that `token` gives for
    /// its place.
    pub(super) fn send(
        &self,
        transmit: &Transmit,
        rng: &mut StdRng,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) -> io::Result<()> {
        let (at, fresh) = self.connect(transmit.to, rng, registry, token)?;
        // Before it is sent: another thread may read the answer.
        *fresh.query.lock() = Some(Pending {
            id: transmit.id,
            message_id: transmit.message_id(),
            deadline: transmit.deadline,
            is_guessed: false,
        });
        fresh.socket.send(&transmit.message).inspect_err(|_| self.places.lock().remove(at, &fresh))?;
        Ok(())
    }

    /// A socket that is connected from a port drawn for it, and its place.
    fn connect(
        &self,
        upstream: SocketAddr,
        rng: &mut StdRng,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) -> io::Result<(usize, Arc<FreshSocket>)> {
        let is_ipv4 = upstream.is_ipv4();
        let drawn = open_drawn(upstream, rng, |port| self.is_ephemeral(port))?;
        let bound = drawn.is_some();
        if !bound && let Some(idle) = self.reconnect(upstream) {
            return Ok(idle);
        }
        let socket = drawn.map_or_else(|| open_connected(upstream, None), Ok)?;
        let fresh = Arc::new(FreshSocket { socket, is_ipv4, bound, query: Mutex::new(None) });
        let at = self.places.lock().sockets.insert(fresh.clone());
        registry
            .register(&mut SourceFd(&fresh.socket.as_raw_fd()), token(at), Interest::READABLE)
            .inspect_err(|_| self.places.lock().remove(at, &fresh))?;
        Ok((at, fresh))
    }

    /// Connects a socket that is idle, if there is one; nothing of what came to it before is left in it.
    fn reconnect(&self, upstream: SocketAddr) -> Option<(usize, Arc<FreshSocket>)> {
        loop {
            let (at, fresh) = self.places.lock().pop_idle(upstream.is_ipv4())?;
            // Only now, not when it was disconnected: a datagram may have been under way to it then.
            if discard_received(&fresh.socket) && fresh.socket.connect(upstream).is_ok() {
                return Some((at, fresh));
            }
            self.places.lock().remove(at, &fresh);
        }
    }

    fn is_ephemeral(&self, port: u16) -> bool {
        self.ephemeral.as_ref().is_some_and(|ports| ports.contains(&port))
    }

    fn at(&self, at: usize) -> Option<Arc<FreshSocket>> {
        self.places.lock().sockets.get(at).cloned()
    }

    /// Reads one datagram, or an error, of the query that the socket at this place serves; `None` where it serves none.
    pub(super) fn receive(&self, at: usize, buffer: &mut [u8]) -> Option<(AttemptId, io::Result<Reading>)> {
        let fresh = self.at(at)?;
        let mut query = fresh.query.lock();
        let query = query.as_mut()?;
        let reading = receive_datagram(fresh.socket.as_fd(), buffer).map(|arrived| {
            let message_id = buffer.get(..arrived.len).and_then(<[u8]>::first_chunk).copied();
            if message_id.map(u16::from_be_bytes) == Some(query.message_id) {
                return Reading::Match(arrived);
            }
            // Too short for an ID is nothing that anybody guesses with.
            let is_first = message_id.is_some() && !query.is_guessed;
            query.is_guessed |= is_first;
            Reading::WrongId { is_first }
        });
        Some((query.id, reading))
    }

    /// The query of that place is done with.
    pub(super) fn close(&self, at: usize, id: AttemptId) {
        let Some(fresh) = self.at(at) else { return };
        if fresh.query.lock().take_if(|query| query.id == id).is_none() {
            return;
        }
        let is_free = !fresh.bound && disconnect(&fresh.socket).is_ok();
        let mut places = self.places.lock();
        if is_free && places.has(at, &fresh) && places.idle(fresh.is_ipv4).places.len() < IDLE_MAX {
            places.idle(fresh.is_ipv4).places.push(at);
        } else {
            places.remove(at, &fresh);
        }
    }

    /// Closes those whose queries were settled by another worker, or not in time, and those that were idle since
    /// the last time.
    pub(super) fn sweep(&self, now: Instant) {
        // Closed when the lock is given back.
        let mut gone = Vec::new();
        let mut places = self.places.lock();
        let Places { sockets, idle_v4, idle_v6 } = &mut *places;
        for idle in [idle_v4, idle_v6] {
            for at in idle.places.drain(..idle.least.min(idle.places.len())) {
                gone.extend(sockets.try_remove(at));
            }
            idle.least = idle.places.len();
        }
        sockets.retain(|_, fresh| {
            let is_kept = fresh.query.lock().as_ref().is_none_or(|query| query.deadline > now);
            if !is_kept {
                gone.push(fresh.clone());
            }
            is_kept
        });
        drop(places);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::Poll;
    use rand::SeedableRng;

    use super::*;
    use crate::forward::{Ports, Protocol, Via, test_try};

    /// Sockets, and what they need.
    struct Desk {
        sockets: FreshSockets,
        rng: StdRng,
        poll: Poll,
        now: Instant,
    }

    impl Desk {
        /// The kernel draws all ports, or none.
        fn new(ephemeral: Option<RangeInclusive<u16>>) -> Self {
            let sockets = FreshSockets { ephemeral, ..FreshSockets::new() };
            Self { sockets, rng: StdRng::from_seed([7; 32]), poll: Poll::new().unwrap(), now: Instant::now() }
        }

        fn len(&self) -> usize {
            self.sockets.places.lock().sockets.len()
        }

        fn send(&mut self, upstream: &UdpSocket, slot: u32) -> SocketAddr {
            let transmit = Transmit {
                id: test_try(slot),
                to: upstream.local_addr().unwrap(),
                protocol: Protocol::Datagram,
                via: Via::Datagram,
                ports: Ports::Fresh,
                message: (&b"query"[..]).into(),
                losses_max: 0,
                deadline: self.now + Duration::from_secs(4),
            };
            self.sockets.send(&transmit, &mut self.rng, self.poll.registry(), Token).unwrap();
            upstream.recv_from(&mut [0; 8]).unwrap().1
        }

        fn read(&mut self, at: usize) -> Option<(AttemptId, Reading)> {
            let (id, outcome) = self.sockets.receive(at, &mut [0; 8])?;
            outcome.ok().map(|reading| (id, reading))
        }

        fn receive(&mut self, at: usize) -> Option<(AttemptId, usize)> {
            match self.read(at)? {
                (id, Reading::Match(arrived)) => Some((id, arrived.len)),
                (_, wrong) => panic!("{wrong:?}"),
            }
        }

        /// What is on its way.
        fn wait(&mut self, at: usize) -> (AttemptId, usize) {
            let end = self.now + Duration::from_secs(20);
            loop {
                if let Some(received) = self.receive(at) {
                    return received;
                }
                assert!(Instant::now() < end, "nothing came");
                std::thread::yield_now();
            }
        }
    }

    fn upstream(address: &str) -> UdpSocket {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    #[test]
    fn a_socket_serves_query_after_query_where_the_kernel_draws_ports() {
        let (one, other) = (upstream("127.0.0.1:0"), upstream("127.0.0.1:0"));
        let mut desk = Desk::new(Some(0..=u16::MAX));
        let mut ports = Vec::new();
        for slot in 0..8 {
            let upstream = if slot % 2 == 0 { &one } else { &other };
            let from = desk.send(upstream, slot);
            ports.push(from.port());
            assert_eq!(desk.receive(0), None);
            // The answer twice, and once more when it is not read: what is left is no datagram of the next query.
            for _ in 0..2 {
                upstream.send_to(b"quiche", from).unwrap();
            }
            assert_eq!(desk.wait(0), (test_try(slot), 6));
            desk.sockets.close(0, test_try(slot + 1));
            assert_eq!(desk.wait(0), (test_try(slot), 6), "another query's end is not this one's");
            upstream.send_to(b"qulate", from).unwrap();
            desk.sockets.close(0, test_try(slot));
            assert_eq!(desk.receive(0), None, "no query was sent");
        }
        assert_eq!(desk.len(), 1);
        ports.dedup();
        assert!(ports.len() > 4, "{ports:?}");
    }

    #[test]
    fn a_flood_of_wrong_ids_is_one_mark_of_its_query() {
        let upstream = upstream("127.0.0.1:0");
        let mut desk = Desk::new(Some(0..=u16::MAX));
        for slot in 0..2 {
            let from = desk.send(&upstream, slot);
            upstream.send_to(b"?", from).unwrap();
            for _ in 0..50 {
                upstream.send_to(b"guess", from).unwrap();
            }
            upstream.send_to(b"quiche", from).unwrap();
            let end = desk.now + Duration::from_secs(20);
            let (mut marks, mut ignored) = (0, 0);
            loop {
                match desk.read(0) {
                    Some((id, Reading::Match(arrived))) => {
                        assert_eq!((id, arrived.len), (test_try(slot), 6));
                        break;
                    }
                    Some((_, Reading::WrongId { is_first: true })) => marks += 1,
                    Some((_, Reading::WrongId { is_first: false })) => ignored += 1,
                    None => assert!(Instant::now() < end, "nothing came"),
                }
            }
            assert_eq!((marks, ignored), (1, 50), "and again for the next query of the socket");
            desk.sockets.close(0, test_try(slot));
        }
    }

    #[test]
    fn a_bound_socket_ends_with_its_query() {
        let upstream = upstream("127.0.0.1:0");
        let mut desk = Desk::new(None);
        for slot in 0..4 {
            assert!(desk.send(&upstream, slot).port() >= FIRST_PORT);
            assert_eq!(desk.len(), 1);
            desk.sockets.close(0, test_try(slot));
            assert_eq!(desk.len(), 0);
        }
    }

    #[test]
    fn sockets_of_one_family_serve_no_other() {
        let (v4, v6) = (upstream("127.0.0.1:0"), upstream("[::1]:0"));
        let mut desk = Desk::new(Some(0..=u16::MAX));
        desk.send(&v4, 1);
        desk.sockets.close(0, test_try(1));
        assert!(desk.send(&v6, 2).is_ipv6());
        desk.sockets.close(1, test_try(2));
        assert!(desk.send(&v4, 3).is_ipv4() && desk.send(&v6, 4).is_ipv6());
        assert_eq!(desk.len(), 2);
    }

    #[test]
    fn those_that_are_not_needed_or_not_answered_are_closed() {
        let upstream = upstream("127.0.0.1:0");
        let mut desk = Desk::new(Some(0..=u16::MAX));
        let slots = 0..IDLE_MAX as u32 + 8;
        for slot in slots.clone() {
            desk.send(&upstream, slot);
        }
        for slot in slots {
            desk.sockets.close(slot as usize, test_try(slot));
        }
        assert_eq!(desk.len(), IDLE_MAX);
        let now = desk.now;
        desk.sockets.sweep(now);
        assert_eq!(desk.len(), IDLE_MAX, "all were in use since the last time");
        for slot in 0..3 {
            desk.send(&upstream, slot);
        }
        desk.sockets.sweep(now + Duration::from_secs(3));
        assert_eq!(desk.len(), 3, "no more than three at a time were needed");
        desk.sockets.sweep(now + Duration::from_secs(5));
        assert_eq!(desk.len(), 0, "their answers never came");
        desk.send(&upstream, 9);
    }
}
