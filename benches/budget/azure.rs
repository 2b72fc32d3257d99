//! The simulated Azure DNS: answers everything, keeps its limits by silence, can be dead.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::dns::{A, Asked};
use crate::names::facts;

/// Queries that one source may ask in any second.
const QUERIES_PER_SECOND: usize = 1000;
/// Queries of one source that may be unanswered.
const PENDING: usize = 200;
/// How long a slow name takes.
const SLOW: Duration = Duration::from_secs(4);
/// Datagrams taken before answers that are due have their turn.
const TURN: usize = 128;

/// What the limits say of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Taken,
    OverRate,
    OverPending,
}

/// One source's use of the limits.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// When the queries of the last second were taken.
    taken: VecDeque<Instant>,
    pending: usize,
}

impl Limiter {
    /// A query comes; what exceeds a limit costs nothing but itself.
    pub(crate) fn query(&mut self, now: Instant) -> Verdict {
        while self.taken.front().is_some_and(|&at| now.saturating_duration_since(at) >= Duration::from_secs(1)) {
            self.taken.pop_front();
        }
        if self.taken.len() >= QUERIES_PER_SECOND {
            return Verdict::OverRate;
        }
        if self.pending >= PENDING {
            return Verdict::OverPending;
        }
        self.taken.push_back(now);
        self.pending += 1;
        Verdict::Taken
    }

    /// A query was answered.
    pub(crate) fn answered(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }
}

/// What arrived, and what became of it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// Queries that arrived in each second since the tally began.
    pub(crate) seconds: Vec<u32>,
    pub(crate) answered: u64,
    pub(crate) over_rate: u64,
    pub(crate) over_pending: u64,
}

struct Shared {
    limited: AtomicBool,
    dead: AtomicBool,
    stop: AtomicBool,
    tally: Mutex<(Instant, Tally)>,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, (Instant, Tally)> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The simulated Azure DNS, running on a thread of its own.
pub(crate) struct Azure {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Azure {
    /// Starts it without limits, for warming caches.
    pub(crate) fn start() -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
        socket.set_recv_buffer_size(4 << 20)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        let socket = std::net::UdpSocket::from(socket);
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            limited: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            tally: Mutex::new((Instant::now(), Tally::default())),
        });
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new().name("azure".to_owned()).spawn(move || {
            if let Err(error) = Desk::new(socket, of_thread).and_then(|mut desk| desk.serve()) {
                eprintln!("the simulated Azure DNS ended: {error}");
            }
        })?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// From now on the limits hold.
    pub(crate) fn limit(&self) {
        self.shared.limited.store(true, Ordering::Relaxed);
    }

    /// Whether it is dead from now on.
    pub(crate) fn set_dead(&self, dead: bool) {
        self.shared.dead.store(dead, Ordering::Relaxed);
    }

    /// Counts from zero, seconds from `begin`.
    pub(crate) fn reset(&self, begin: Instant) {
        *self.shared.tally() = (begin, Tally::default());
    }

    /// What was counted.
    pub(crate) fn read(&self) -> Tally {
        self.shared.tally().1.clone()
    }
}

impl Drop for Azure {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An answer to be sent, in order of time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    to: SocketAddr,
    message: Vec<u8>,
    is_counted: bool,
}

struct Desk {
    socket: mio::net::UdpSocket,
    poll: Poll,
    shared: Arc<Shared>,
    limiters: HashMap<IpAddr, Limiter>,
    due: BinaryHeap<Reverse<Due>>,
    rng: StdRng,
}

impl Desk {
    fn new(socket: std::net::UdpSocket, shared: Arc<Shared>) -> io::Result<Self> {
        let mut socket = mio::net::UdpSocket::from_std(socket);
        let poll = Poll::new()?;
        poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
        Ok(Self {
            socket,
            poll,
            shared,
            limiters: HashMap::new(),
            due: BinaryHeap::new(),
            rng: StdRng::seed_from_u64(1),
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(4);
        let mut buffer = [0; 4096];
        let mut more = false;
        while !self.shared.stop.load(Ordering::Relaxed) {
            if !more {
                let next = self.due.peek().map(|Reverse(due)| due.at.saturating_duration_since(Instant::now()));
                let wait = next.map_or(Duration::from_millis(50), |next| next.min(Duration::from_millis(50)));
                match self.poll.poll(&mut events, Some(wait)) {
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                    _ => {}
                }
            }
            more = false;
            for turn in 1..=TURN {
                match self.socket.recv_from(&mut buffer) {
                    Ok((len, from)) => self.take(&buffer[..len], from),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What an earlier answer met: a port that is closed by now.
                    Err(_) => {}
                }
                more = turn == TURN;
            }
            self.send_due();
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], from: SocketAddr) {
        let now = Instant::now();
        let is_dead = self.shared.dead.load(Ordering::Relaxed);
        let is_limited = self.shared.limited.load(Ordering::Relaxed);
        let Some(asked) = Asked::parse(bytes) else { return };
        let verdict = if is_dead || !is_limited {
            Verdict::Taken
        } else {
            self.limiters.entry(from.ip()).or_default().query(now)
        };
        {
            let (begin, tally) = &mut *self.shared.tally();
            // What arrives before the tally begins belongs to the warming.
            if let Some(since) = now.checked_duration_since(*begin) {
                let second = since.as_secs() as usize;
                if tally.seconds.len() <= second {
                    tally.seconds.resize(second + 1, 0);
                }
                tally.seconds[second] += 1;
                match verdict {
                    Verdict::OverRate => tally.over_rate += 1,
                    Verdict::OverPending => tally.over_pending += 1,
                    Verdict::Taken => {}
                }
            }
        }
        if is_dead || verdict != Verdict::Taken {
            return;
        }
        let facts = facts(&asked.name);
        let address = facts.address.filter(|_| asked.qtype == A);
        let quick = Duration::from_micros(self.rng.random_range(2000..8000));
        self.due.push(Reverse(Due {
            at: now + if facts.is_slow { SLOW } else { quick },
            to: from,
            message: asked.reply(bytes, &facts.aliases, address),
            is_counted: is_limited,
        }));
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        let mut answered = 0;
        while self.due.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Some(Reverse(due)) = self.due.pop() else { break };
            if due.is_counted
                && let Some(limiter) = self.limiters.get_mut(&due.to.ip())
            {
                limiter.answered();
            }
            if !self.shared.dead.load(Ordering::Relaxed) {
                answered += 1;
                let _ = self.socket.send_to(&due.message, due.to);
            }
        }
        if answered > 0 {
            self.shared.tally().1.answered += answered;
        }
    }
}

/// Two runs that differ in nothing but chance must not differ by the same chance: used where a seed is wanted.
pub(crate) fn seed(text: &str) -> u64 {
    let mut rng = StdRng::seed_from_u64(text.bytes().fold(7, |seed, byte| seed * 31 % 1_000_003 + u64::from(byte)));
    rng.next_u64()
}
