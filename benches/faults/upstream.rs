//! An upstream with its fault, over UDP and TCP or TLS on one port: what the proxy of a lab would do, in one place. Here is what
//! its datagrams and its streams share: the time of the fault, chance, answers, and what is counted.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::datagrams::Sender;
use crate::dns::{self, Asked};
use crate::fault::{Datagrams, Fate, Fault, Query, Streams, Transport};
use crate::forge::{self, Forger};
use crate::streams;
use crate::tls::Certificates;

/// How long a slow name takes.
const SLOW: Duration = Duration::from_secs(4);
/// Azure DNS's limits.
const QUERIES_PER_SECOND: usize = 1000;
const PENDING: usize = 200;
/// Addresses in a large answer: 48 KB.
const LARGE: usize = 3000;

/// What the threads of an upstream share.
pub(crate) struct Shared {
    pub(crate) fault: Fault,
    tally: Mutex<State>,
    pub(crate) rng: Mutex<StdRng>,
    seed: u64,
    stopped: AtomicBool,
    connections: AtomicUsize,
    pub(crate) forger: Forger,
}

#[derive(Default)]
struct State {
    /// When the measurement began, and how long it is.
    run: Option<(Instant, Duration)>,
    queries: usize,
    /// Queries of the last 100 ms, all the time or after the end of the fault.
    recent: VecDeque<Instant>,
    most_after: usize,
    /// Queries taken in the last second, and when those are answered that are not yet, where there are limits.
    taken: VecDeque<Instant>,
    pending: Vec<Instant>,
    over_limit: usize,
}

/// What came upstream.
pub(crate) struct Tally {
    pub(crate) queries: usize,
    pub(crate) most_after: usize,
    /// Queries that exceeded a limit.
    pub(crate) over_limit: usize,
    pub(crate) connections: usize,
    /// Forged answers of a flood.
    pub(crate) forged: u64,
}

pub(crate) struct Upstream {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Upstream {
    /// Begins to answer at an address; forged answers come from another one, too.
    pub(crate) fn start(fault: Fault, seed: u64, ip: IpAddr, elsewhere: IpAddr) -> io::Result<Self> {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((ip, 0))?;
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr()?) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr()?;
        let shared = Arc::new(Shared {
            fault,
            tally: Mutex::default(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            seed,
            stopped: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            forger: Forger::default(),
        });
        if fault.datagrams == Datagrams::FloodOfWrongIds {
            let (forging, socket) = (shared.clone(), udp.try_clone()?);
            thread::spawn(move || forging.forger.run(&socket, &forging));
        }
        if fault.transport == Transport::Datagrams {
            let (sending, sender) = (shared.clone(), Sender::new(udp, elsewhere)?);
            thread::spawn(move || sender.serve(&sending));
        }
        if fault.streams != Streams::Refused {
            let accepting = shared.clone();
            let certificates = (fault.transport != Transport::Datagrams).then(Certificates::shared);
            thread::spawn(move || streams::accept(&accepting, &tcp, certificates));
        }
        Ok(Self { shared, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The measurement begins, and with it the time of the fault.
    pub(crate) fn begin(&self, length: Duration) {
        *lock(&self.shared.tally) = State { run: Some((Instant::now(), length)), ..State::default() };
        self.shared.connections.store(0, Ordering::Relaxed);
    }

    pub(crate) fn tally(&self) -> Tally {
        let state = lock(&self.shared.tally);
        Tally {
            queries: state.queries,
            most_after: state.most_after,
            over_limit: state.over_limit,
            connections: self.shared.connections.load(Ordering::Relaxed),
            forged: self.shared.forger.sent(),
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(100)));
    }
}

/// When a time is, with respect to the fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Before,
    Within,
    After,
}

impl Shared {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn usual(&self) -> Duration {
        Duration::from_millis(self.fault.usual)
    }

    /// Whether now is the time of the fault.
    pub(crate) fn is_within(&self) -> bool {
        self.phase(lock(&self.tally).run, Instant::now()) == Phase::Within
    }

    pub(crate) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    fn phase(&self, run: Option<(Instant, Duration)>, now: Instant) -> Phase {
        // While caches are warmed nothing is wrong but what the upstream is.
        let Some((start, length)) = run else { return Phase::Before };
        let (since, Some(thirds)) = (now - start, self.fault.time.thirds()) else { return Phase::Within };
        match since {
            _ if since < length / 3 * thirds.start => Phase::Before,
            _ if since < length / 3 * thirds.end => Phase::Within,
            _ => Phase::After,
        }
    }

    /// Counts a query and decides on it.
    pub(crate) fn decide(&self, query: &[u8], right: &Right, is_stream: bool) -> Fate {
        let (is_within, is_over) = self.count(self.usual() + right.slow);
        let name = &right.name;
        if is_over {
            return Fate::Lost;
        }
        let has_opt = query.get(10..12) != Some(&[0, 0]);
        let has_options = query.len() > forge::question_end(query) + 11;
        let query = Query { has_opt, has_options, draw: self.draw(name) };
        let (datagrams, mut rng) = (self.fault.datagrams, lock(&self.rng));
        let fate = match is_within {
            true if is_stream => datagrams.stream_fate(&mut rng, query),
            true => datagrams.fate(&mut rng, query),
            false => Fate::Answered,
        };
        let is_large = fate == Fate::Answered && !is_stream && name.ends_with(".big.test");
        if is_large { Fate::Truncated } else { fate }
    }

    /// What chance says of a name, each time the same.
    fn draw(&self, name: &str) -> f64 {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ self.seed, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Counts a query that takes this time; whether it is within the time of the fault, and whether a limit swallows it.
    fn count(&self, time: Duration) -> (bool, bool) {
        let mut state = lock(&self.tally);
        state.queries += 1;
        let now = Instant::now();
        let phase = self.phase(state.run, now);
        let is_passing = self.fault.time.thirds().is_some();
        if phase == Phase::After || (phase == Phase::Within && !is_passing) {
            state.recent.push_back(now);
            while state.recent.front().is_some_and(|at| now - *at >= Duration::from_millis(100)) {
                state.recent.pop_front();
            }
            state.most_after = state.most_after.max(state.recent.len());
        }
        let is_limited = self.fault.datagrams == Datagrams::Limited && phase == Phase::Within;
        let is_over = is_limited && state.is_over_limit(now, time);
        (phase == Phase::Within, is_over)
    }
}

impl State {
    /// Whether a query exceeds a limit; if not, it is taken.
    fn is_over_limit(&mut self, now: Instant, time: Duration) -> bool {
        while self.taken.front().is_some_and(|at| now - *at >= Duration::from_secs(1)) {
            self.taken.pop_front();
        }
        self.pending.retain(|until| *until > now);
        let is_over = self.taken.len() >= QUERIES_PER_SECOND || self.pending.len() >= PENDING;
        if is_over {
            self.over_limit += 1;
        } else {
            self.taken.push_back(now);
            self.pending.push(now + time);
        }
        is_over
    }
}

/// The right answer of a name: known names stay for five minutes.
pub(crate) fn right(name: &str) -> Ipv4Addr {
    let hash = name.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let [_, b, c, d] = hash.to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}

/// The right answer to a query.
pub(crate) struct Right {
    pub(crate) name: String,
    pub(crate) message: Vec<u8>,
    /// How long it takes beyond the usual time.
    pub(crate) slow: Duration,
}

impl Right {
    pub(crate) fn of(query: &[u8]) -> Option<Self> {
        let asked = Asked::parse(query)?;
        let name = asked.name.clone();
        let ttl = if name.ends_with(".expiring.test") { 3 } else { 300 };
        let mut message = asked.reply(query, &[], Some((right(&name), ttl)));
        if name.ends_with(".big.test") {
            let end = forge::question_end(query);
            let record: Vec<u8> = message[end..end + 16].to_vec();
            let more = (1..LARGE).flat_map(|number| {
                let mut record = record.clone();
                record[12..].copy_from_slice(&[10, 1, (number >> 8) as u8, number as u8]);
                record
            });
            message.splice(end + 16..end + 16, more);
            message[6..8].copy_from_slice(&(LARGE as u16).to_be_bytes());
        }
        let slow = if name.ends_with(".slow.test") { SLOW } else { Duration::ZERO };
        Some(Self { name, message, slow })
    }
}

/// A query for one of the names with large answers.
pub(crate) fn large_query(number: u16) -> Vec<u8> {
    dns::query(number, &format!("b{number}.big.test"), dns::A)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
