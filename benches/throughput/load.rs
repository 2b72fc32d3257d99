//! The load generator and the upstream behind the servers: one loop on one thread, which owns its core and spins.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::dns::{A, Asked, Seen, address_of};
use crate::mmsg::{BATCH, Mmsg};
use crate::work::Template;

/// Sockets, each from a port of its own.
const SOCKETS: usize = 8;
/// Queries that may be outstanding on a socket; a power of two.
const WINDOW: usize = 64;
/// Queries that are kept outstanding on a socket where answers are the pace: few enough for the receive buffer that
/// every server has.
const KEPT: usize = 16;
/// After how long a query counts as lost.
const LOST: Duration = Duration::from_secs(1);
/// Where the clients are: not where the upstream is, whose own queries would be looked at for loops.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// TTL of the upstream's answers, seconds.
const TTL: u32 = 3600;

/// The upstream's socket.
pub(crate) struct Upstream {
    socket: UdpSocket,
    batch: Mmsg,
    pub(crate) address: SocketAddr,
}

impl Upstream {
    pub(crate) fn new() -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
        socket.set_recv_buffer_size(4 << 20)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let socket = UdpSocket::from(socket);
        let address = socket.local_addr()?;
        Ok(Self { socket, batch: Mmsg::new(), address })
    }

    /// Answers what is there.
    pub(crate) fn serve(&mut self) {
        let count = self.batch.receive(self.socket.as_fd());
        for index in 0..count {
            let bytes = self.batch.datagram(index);
            let reply = Asked::parse(bytes).map(|asked| {
                let label = asked.name.split('.').next().unwrap_or_default();
                let address = (asked.qtype == A).then(|| (address_of(label), TTL));
                asked.reply(bytes, &[], address)
            });
            let reply = reply.unwrap_or_default();
            self.batch.write(index, |buffer, _| {
                buffer[..reply.len()].copy_from_slice(&reply);
                reply.len()
            });
        }
        if count > 0 {
            self.batch.send(self.socket.as_fd(), count, true);
        }
    }
}

/// A query that is under way.
#[derive(Clone, Copy)]
struct Flight {
    sent: Instant,
    id: u16,
    rcode: u8,
    address: Option<Ipv4Addr>,
    is_open: bool,
}

struct Lane {
    socket: UdpSocket,
    flights: [Flight; WINDOW],
    free: Vec<usize>,
}

/// What a run gave.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Answered with another code than the right one; where addresses are compared, also with another address.
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
    pub(crate) length: Duration,
    /// Sorted, nanoseconds, where latency was asked for.
    pub(crate) took: Vec<u32>,
}

/// How fast queries are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// As fast as they are answered.
    Window,
    /// So many a second, whatever comes back.
    Fixed(f64),
}

/// The generator, pointed at one server.
pub(crate) struct Load<'u> {
    lanes: Vec<Lane>,
    batch: Mmsg,
    upstream: &'u mut Upstream,
    generation: u16,
    compare_addresses: bool,
}

impl<'u> Load<'u> {
    /// A generator that asks `server`; with `compare_addresses` every answer is read whole.
    pub(crate) fn new(server: SocketAddr, upstream: &'u mut Upstream, compare_addresses: bool) -> io::Result<Self> {
        Self::over(&[server], upstream, compare_addresses)
    }

    /// One whose sockets ask the servers in turn.
    pub(crate) fn over(
        servers: &[SocketAddr],
        upstream: &'u mut Upstream,
        compare_addresses: bool,
    ) -> io::Result<Self> {
        let idle = Flight { sent: Instant::now(), id: 0, rcode: 0, address: None, is_open: false };
        let mut lanes = Vec::new();
        for server in servers.iter().cycle().take(SOCKETS) {
            let socket = UdpSocket::bind((CLIENT, 0))?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            lanes.push(Lane { socket, flights: [idle; WINDOW], free: (0..WINDOW).collect() });
        }
        Ok(Self { lanes, batch: Mmsg::new(), upstream, generation: 0, compare_addresses })
    }

    /// Sends what `draw` gives until it gives nothing or `length` is over; then waits for what is under way.
    pub(crate) fn run(
        &mut self,
        length: Duration,
        pace: Pace,
        mut draw: impl FnMut(&mut dyn FnMut(&Template)) -> bool,
    ) -> Outcome {
        let begin = Instant::now();
        let mut outcome = Outcome::default();
        let mut is_over = false;
        let mut scanned = begin;
        while !is_over || self.lanes.iter().any(|lane| lane.free.len() < WINDOW) {
            let now = Instant::now();
            if !is_over && now - begin >= length {
                is_over = true;
                outcome.length = now - begin;
            }
            let mut allowed = match pace {
                _ if is_over => 0,
                Pace::Window => usize::MAX,
                Pace::Fixed(rate) => {
                    (((now - begin).as_secs_f64() * rate) as usize).saturating_sub(outcome.sent as usize)
                }
            };
            // Beyond the window a fixed pace loses queries: they count as sent and not answered.
            if matches!(pace, Pace::Fixed(_)) && self.lanes.iter().all(|lane| lane.free.is_empty()) {
                outcome.sent += allowed as u64;
                outcome.lost += allowed as u64;
                allowed = 0;
            }
            for place in 0..self.lanes.len() {
                if allowed > 0 && !self.send(place, &mut allowed, &mut outcome, &mut draw) {
                    is_over = true;
                    outcome.length = now - begin;
                }
                self.hear(place, matches!(pace, Pace::Fixed(_)), &mut outcome);
                self.upstream.serve();
            }
            if now - scanned > Duration::from_millis(50) {
                scanned = now;
                self.give_up(now, &mut outcome);
            }
        }
        outcome.took.sort_unstable();
        outcome
    }

    fn send(
        &mut self,
        place: usize,
        allowed: &mut usize,
        outcome: &mut Outcome,
        draw: &mut impl FnMut(&mut dyn FnMut(&Template)) -> bool,
    ) -> bool {
        let lane = &mut self.lanes[place];
        let now = Instant::now();
        let most = if *allowed == usize::MAX {
            KEPT.saturating_sub(WINDOW - lane.free.len())
        } else {
            lane.free.len().min(BATCH).min(allowed.div_ceil(SOCKETS))
        };
        let (mut count, mut more) = (0, true);
        while count < most && more {
            let Some(slot) = lane.free.pop() else { break };
            self.generation = self.generation.wrapping_add(1);
            let id = self.generation << WINDOW.trailing_zeros() | slot as u16;
            let (batch, flights) = (&mut self.batch, &mut lane.flights);
            more = draw(&mut |template| {
                flights[slot] =
                    Flight { sent: now, id, rcode: template.rcode, address: template.address, is_open: true };
                batch.write(count, |buffer, _| {
                    buffer[..template.message.len()].copy_from_slice(&template.message);
                    buffer[..2].copy_from_slice(&id.to_be_bytes());
                    template.message.len()
                });
            });
            if more {
                count += 1;
            } else {
                lane.free.push(slot);
            }
        }
        if count > 0 {
            self.batch.send(lane.socket.as_fd(), count, false);
            outcome.sent += count as u64;
            if *allowed != usize::MAX {
                *allowed -= count;
            }
        }
        more
    }

    fn hear(&mut self, place: usize, with_latency: bool, outcome: &mut Outcome) {
        let lane = &mut self.lanes[place];
        let count = self.batch.receive(lane.socket.as_fd());
        if count == 0 {
            return;
        }
        let now = Instant::now();
        for index in 0..count {
            let bytes = self.batch.datagram(index);
            let Some(&[high, low, _, flags]) = bytes.first_chunk::<4>() else { continue };
            let id = u16::from_be_bytes([high, low]);
            let flight = &mut lane.flights[usize::from(id) % WINDOW];
            if !flight.is_open || flight.id != id {
                continue;
            }
            flight.is_open = false;
            lane.free.push(usize::from(id) % WINDOW);
            outcome.answered += 1;
            let is_right = flags & 0x0f == flight.rcode
                && (!self.compare_addresses || Seen::parse(bytes).is_some_and(|seen| seen.address == flight.address));
            outcome.wrong += u64::from(!is_right);
            if with_latency {
                outcome.took.push(u32::try_from((now - flight.sent).as_nanos()).unwrap_or(u32::MAX));
            }
        }
    }

    fn give_up(&mut self, now: Instant, outcome: &mut Outcome) {
        for lane in &mut self.lanes {
            for (slot, flight) in lane.flights.iter_mut().enumerate() {
                if flight.is_open && now.saturating_duration_since(flight.sent) > LOST {
                    flight.is_open = false;
                    lane.free.push(slot);
                    outcome.lost += 1;
                }
            }
        }
    }
}
