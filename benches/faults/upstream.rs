//! The upstream with its fault, over UDP and TCP on one port of loopback: what the proxy of a lab would do, in one place.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::dns::Asked;
use crate::fault::{Fate, Fault, Tcp, damaged};

/// How long an answer takes.
const USUAL: Duration = Duration::from_millis(2);
/// How long a slow name takes.
const SLOW: Duration = Duration::from_secs(4);
/// Wrong IDs before an answer.
const WRONG_IDS: u16 = 20;
/// Of connections, those that are cut in the middle of an answer.
const CUT: f64 = 0.3;
/// Azure DNS's limits.
const QUERIES_PER_SECOND: usize = 1000;
const PENDING: usize = 200;

/// A datagram that leaves at its time, in the order of its number, to its place, from the port that was asked.
type Later = (Instant, u64, SocketAddr, bool, Vec<u8>);

struct Shared {
    fault: Fault,
    tally: Mutex<State>,
    rng: Mutex<StdRng>,
    stopped: AtomicBool,
}

#[derive(Default)]
struct State {
    /// When the measurement began, and how long it is.
    run: Option<(Instant, Duration)>,
    queries: usize,
    /// Queries since the fault's end, of the last 100 ms.
    recent: VecDeque<Instant>,
    most_after: usize,
    /// Queries taken in the last second, and those not answered yet, where there are limits.
    taken: VecDeque<Instant>,
    pending: VecDeque<Instant>,
    over_limit: usize,
}

/// What came upstream.
pub(crate) struct Tally {
    pub(crate) queries: usize,
    pub(crate) most_after: usize,
    /// Queries that exceeded a limit.
    pub(crate) over_limit: usize,
}

pub(crate) struct Upstream {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Upstream {
    pub(crate) fn start(fault: Fault, seed: u64, ip: IpAddr) -> io::Result<Self> {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((ip, 0))?;
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr()?) {
                break (udp, tcp);
            }
        };
        udp.set_read_timeout(Some(Duration::from_millis(1)))?;
        let address = udp.local_addr()?;
        let shared = Arc::new(Shared {
            fault,
            tally: Mutex::default(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            stopped: AtomicBool::new(false),
        });
        let for_udp = shared.clone();
        thread::spawn(move || for_udp.serve_datagrams(udp, address));
        if fault.tcp() != Tcp::Refused {
            let for_tcp = shared.clone();
            thread::spawn(move || for_tcp.accept(&tcp));
        }
        Ok(Self { shared, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The measurement begins, and with it the time of the fault.
    pub(crate) fn begin(&self, length: Duration) {
        *lock(&self.shared.tally) = State { run: Some((Instant::now(), length)), ..State::default() };
    }

    pub(crate) fn tally(&self) -> Tally {
        let state = lock(&self.shared.tally);
        Tally { queries: state.queries, most_after: state.most_after, over_limit: state.over_limit }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
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
    fn phase(&self, run: Option<(Instant, Duration)>, now: Instant) -> Phase {
        // While caches are warmed nothing is wrong but what the upstream is.
        let Some((start, length)) = run else { return Phase::Before };
        let since = now - start;
        match self.fault.thirds() {
            None => Phase::Within,
            Some(thirds) if since < length / 3 * thirds.start => Phase::Before,
            Some(thirds) if since < length / 3 * thirds.end => Phase::Within,
            Some(_) => Phase::After,
        }
    }

    /// Counts a query; whether it is within the time of the fault, and whether a limit swallows it.
    fn count(&self) -> (bool, bool) {
        let mut state = lock(&self.tally);
        state.queries += 1;
        let now = Instant::now();
        let phase = self.phase(state.run, now);
        if phase == Phase::After || (phase == Phase::Within && self.fault.thirds().is_none()) {
            state.recent.push_back(now);
            while state.recent.front().is_some_and(|at| now - *at >= Duration::from_millis(100)) {
                state.recent.pop_front();
            }
            state.most_after = state.most_after.max(state.recent.len());
        }
        let is_over = self.fault == Fault::Burst && phase == Phase::Within && state.is_over_limit(now);
        (phase == Phase::Within, is_over)
    }

    fn serve_datagrams(&self, udp: UdpSocket, address: SocketAddr) {
        let elsewhere = UdpSocket::bind((address.ip(), 0)).ok();
        let mut socket = Some(udp);
        let mut later: BinaryHeap<Reverse<Later>> = BinaryHeap::new();
        let (mut buffer, mut number) = ([0; 4096], 0);
        while !self.stopped.load(Ordering::SeqCst) {
            let is_closed =
                self.fault.closes_port() && self.phase(lock(&self.tally).run, Instant::now()) == Phase::Within;
            if is_closed {
                socket = None;
            } else if socket.is_none() {
                socket = UdpSocket::bind(address).ok();
                let timeout = Some(Duration::from_millis(1));
                let _ = socket.as_ref().map(|socket| socket.set_read_timeout(timeout));
            }
            let Some(udp) = &socket else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            if let Ok((len, from)) = udp.recv_from(&mut buffer) {
                let now = Instant::now();
                for (after, is_elsewhere, message) in self.answers(&buffer[..len]) {
                    number += 1;
                    later.push(Reverse((now + after, number, from, is_elsewhere, message)));
                }
            }
            while later.peek().is_some_and(|Reverse((at, ..))| *at <= Instant::now()) {
                let Some(Reverse((_, _, to, is_elsewhere, message))) = later.pop() else { break };
                let from = if is_elsewhere { elsewhere.as_ref() } else { Some(udp) };
                let _ = from.map(|from| from.send_to(&message, to));
            }
        }
    }

    /// The datagrams that answer a query, each after its time; some from another port.
    fn answers(&self, query: &[u8]) -> Vec<(Duration, bool, Vec<u8>)> {
        let Some((answer, is_slow)) = answer_to(query) else { return Vec::new() };
        let (is_within, is_over_limit) = self.count();
        if is_over_limit {
            return Vec::new();
        }
        let question_end = question_end(query);
        let has_opt = query.get(10..12) != Some(&[0, 0]);
        let has_options = query.len() > question_end + 11;
        let fate = if is_within { self.fault.fate(&mut lock(&self.rng), has_opt, has_options) } else { Fate::Answered };
        let here = |after, message| (after, false, message);
        match fate {
            Fate::Answered if is_slow => vec![here(SLOW, answer)],
            Fate::Answered => vec![here(USUAL, answer)],
            Fate::Lost => Vec::new(),
            Fate::Twice => vec![here(USUAL, answer.clone()), here(USUAL, answer)],
            Fate::Late(by) => vec![here(USUAL + by, answer)],
            Fate::AfterWrongIds => {
                let id = u16::from_be_bytes([answer[0], answer[1]]);
                let forged = (1..=WRONG_IDS).map(|step| {
                    let mut forged = forged(&answer, question_end);
                    forged[..2].copy_from_slice(&id.wrapping_add(step * 97).to_be_bytes());
                    here(USUAL / 2, forged)
                });
                forged.chain([here(USUAL, answer.clone())]).collect()
            }
            Fate::AfterWrongPlace => {
                let forged = forged(&answer, question_end);
                let mut other = forged.clone();
                other[13] = if other[13].eq_ignore_ascii_case(&b'x') { b'y' } else { b'x' };
                vec![here(USUAL / 2, other), (USUAL / 2, true, forged), here(USUAL, answer)]
            }
            Fate::AfterDamaged(form) => {
                let right = here(USUAL + Duration::from_millis(5), answer.clone());
                vec![here(USUAL, damaged(&answer, question_end, form)), right]
            }
            Fate::LowerCase => vec![here(USUAL, lower_case(answer, question_end))],
            Fate::CutShort => vec![here(USUAL, answer[..question_end + 14].to_vec())],
            Fate::Truncated => {
                let mut cut = empty(&answer, question_end);
                cut[2] |= 2;
                vec![here(USUAL, cut)]
            }
            Fate::Code(code) => {
                let mut failure = empty(&answer, question_end);
                failure[3] |= code;
                vec![here(USUAL, failure)]
            }
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let shared = self.clone();
            thread::spawn(move || shared.serve_stream(stream));
        }
    }

    fn serve_stream(&self, mut stream: TcpStream) {
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut query).is_err() {
                return;
            }
            let Some((mut answer, _)) = answer_to(&query) else { return };
            let (is_within, _) = self.count();
            let question_end = question_end(&query);
            match self.fault {
                // The port is closed, as far as a listener on a thread can show that.
                _ if is_within && self.fault.closes_port() => return,
                Fault::Silence | Fault::FirstDies | Fault::Ipv6Dead if is_within => continue,
                Fault::ServFail | Fault::FirstServFail | Fault::Refused | Fault::NxDomain if is_within => {
                    let Fate::Code(code) = self.fault.fate(&mut lock(&self.rng), true, true) else { continue };
                    answer = empty(&answer, question_end);
                    answer[3] |= code;
                }
                Fault::WrongCase => answer = lower_case(answer, question_end),
                Fault::NoEdns if query.get(10..12) != Some(&[0, 0]) => {
                    answer = empty(&answer, question_end);
                    answer[3] |= 1;
                }
                _ if self.fault.tcp() == Tcp::Swallowed => continue,
                _ => {}
            }
            if is_within && let Fate::Late(by) = self.fault.fate(&mut lock(&self.rng), true, true) {
                thread::sleep(by);
            }
            let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            let is_cut = is_within && self.fault.tcp() == Tcp::Broken && lock(&self.rng).random_bool(CUT);
            let part = if is_cut { &framed[..framed.len() / 2] } else { &framed[..] };
            let piece = if self.fault.tcp() == Tcp::Bytes { 1 } else { part.len() };
            let _ = stream.set_nodelay(true);
            let sent = part.chunks(piece).try_for_each(|piece| stream.write_all(piece));
            if sent.is_err() || is_cut {
                return;
            }
        }
    }
}

impl State {
    /// Whether a query exceeds a limit; if not, it is taken.
    fn is_over_limit(&mut self, now: Instant) -> bool {
        let forget = |list: &mut VecDeque<Instant>, age| {
            while list.front().is_some_and(|at| now - *at >= age) {
                list.pop_front();
            }
        };
        forget(&mut self.taken, Duration::from_secs(1));
        forget(&mut self.pending, USUAL);
        let is_over = self.taken.len() >= QUERIES_PER_SECOND || self.pending.len() >= PENDING;
        if is_over {
            self.over_limit += 1;
        } else {
            self.taken.push_back(now);
            self.pending.push_back(now);
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

/// The right answer to a query, and whether it is slow.
fn answer_to(query: &[u8]) -> Option<(Vec<u8>, bool)> {
    let asked = Asked::parse(query)?;
    let ttl = if asked.name.ends_with(".expiring.test") { 3 } else { 300 };
    Some((asked.reply(query, &[], Some((right(&asked.name), ttl))), asked.name.ends_with(".slow.test")))
}

/// The answer without its records.
fn empty(answer: &[u8], question_end: usize) -> Vec<u8> {
    let mut empty = answer[..question_end].to_vec();
    empty[6..12].fill(0);
    empty
}

fn question_end(message: &[u8]) -> usize {
    let name = message.get(12..).unwrap_or_default();
    let mut at = 0;
    while let Some(&len) = name.get(at).filter(|len| **len > 0) {
        at += 1 + usize::from(len);
    }
    12 + at + 5
}

/// The answer with another address.
fn forged(answer: &[u8], question_end: usize) -> Vec<u8> {
    let mut forged = answer.to_vec();
    if let Some(address) = forged.get_mut(question_end + 12..question_end + 16) {
        address.copy_from_slice(&[203, 0, 113, 66]);
    }
    forged
}

fn lower_case(mut answer: Vec<u8>, question_end: usize) -> Vec<u8> {
    answer[12..question_end].make_ascii_lowercase();
    answer
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
