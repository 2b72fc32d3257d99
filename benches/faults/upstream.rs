//! The upstream with its fault, over UDP and TCP on one port of loopback: what the proxy of a lab would do, in one place.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::dns::Asked;
use crate::fault::{Fate, Fault, damaged};

/// How long an answer takes.
const USUAL: Duration = Duration::from_millis(2);
/// Wrong IDs before an answer.
const WRONG_IDS: u16 = 20;
/// Of connections, those that are cut in the middle of an answer.
const CUT: f64 = 0.3;

/// A datagram that leaves at its time, in the order of its number, to its place.
type Later = (Instant, u64, SocketAddr, Vec<u8>);

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
}

/// What came upstream.
pub(crate) struct Tally {
    pub(crate) queries: usize,
    pub(crate) most_after: usize,
}

pub(crate) struct Upstream {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Upstream {
    pub(crate) fn start(fault: Fault, seed: u64) -> io::Result<Self> {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0")?;
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
        thread::spawn(move || for_udp.serve_datagrams(&udp));
        let for_tcp = shared.clone();
        thread::spawn(move || for_tcp.accept(&tcp));
        Ok(Self { shared, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The measurement begins, and with it the fault.
    pub(crate) fn begin(&self, length: Duration) {
        *lock(&self.shared.tally) = State { run: Some((Instant::now(), length)), ..State::default() };
    }

    pub(crate) fn tally(&self) -> Tally {
        let state = lock(&self.shared.tally);
        Tally { queries: state.queries, most_after: state.most_after }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    /// Counts a query; whether the upstream is silent at this time, and whether its fault has begun.
    fn count(&self) -> (bool, bool) {
        let mut state = lock(&self.tally);
        state.queries += 1;
        let Some((start, length)) = state.run else { return (false, false) };
        let (now, third) = (Instant::now(), length / 3);
        let since = now - start;
        if self.fault != Fault::Silence || since >= third * 2 {
            state.recent.push_back(now);
            while state.recent.front().is_some_and(|at| now - *at >= Duration::from_millis(100)) {
                state.recent.pop_front();
            }
            state.most_after = state.most_after.max(state.recent.len());
        }
        (self.fault == Fault::Silence && since >= third && since < third * 2, true)
    }

    fn serve_datagrams(&self, udp: &UdpSocket) {
        let mut later: BinaryHeap<Reverse<Later>> = BinaryHeap::new();
        let (mut buffer, mut number) = ([0; 4096], 0);
        while !self.stopped.load(Ordering::SeqCst) {
            if let Ok((len, from)) = udp.recv_from(&mut buffer) {
                let now = Instant::now();
                for (after, message) in self.answers(&buffer[..len]) {
                    number += 1;
                    later.push(Reverse((now + after, number, from, message)));
                }
            }
            while later.peek().is_some_and(|Reverse((at, ..))| *at <= Instant::now()) {
                if let Some(Reverse((_, _, to, message))) = later.pop() {
                    let _ = udp.send_to(&message, to);
                }
            }
        }
    }

    /// The datagrams that answer a query, each after its time.
    fn answers(&self, query: &[u8]) -> Vec<(Duration, Vec<u8>)> {
        let Some(answer) = answer_to(query) else { return Vec::new() };
        let (is_silent, has_begun) = self.count();
        if is_silent {
            return Vec::new();
        }
        let question_end = question_end(query);
        let has_opt = query.get(10..12) != Some(&[0, 0]);
        let has_options = query.len() > question_end + 11;
        let fate = if has_begun {
            self.fault.fate(&mut lock(&self.rng), has_opt, has_options)
        } else {
            // While caches are warmed nothing is wrong but what the upstream is.
            Fate::Answered
        };
        match fate {
            Fate::Answered => vec![(USUAL, answer)],
            Fate::Lost => Vec::new(),
            Fate::Twice => vec![(USUAL, answer.clone()), (USUAL, answer)],
            Fate::Late => vec![(USUAL + Duration::from_millis(50), answer)],
            Fate::AfterWrongIds => {
                let id = u16::from_be_bytes([answer[0], answer[1]]);
                let forged = (1..=WRONG_IDS).map(|step| {
                    let mut forged = forged(&answer, question_end);
                    forged[..2].copy_from_slice(&id.wrapping_add(step * 97).to_be_bytes());
                    (USUAL / 2, forged)
                });
                forged.chain([(USUAL, answer.clone())]).collect()
            }
            Fate::AfterDamaged(form) => {
                vec![(USUAL, damaged(&answer, question_end, form)), (USUAL + Duration::from_millis(5), answer)]
            }
            Fate::LowerCase => vec![(USUAL, lower_case(answer, question_end))],
            Fate::Truncated => {
                let mut cut = answer[..question_end].to_vec();
                cut[2] |= 2;
                cut[6..12].fill(0);
                vec![(USUAL, cut)]
            }
            Fate::FormErr => {
                let mut failure = answer[..question_end].to_vec();
                failure[3] |= 1;
                failure[6..12].fill(0);
                vec![(USUAL, failure)]
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
            let Some(mut answer) = answer_to(&query) else { return };
            let (is_silent, has_begun) = self.count();
            if is_silent {
                continue;
            }
            match self.fault {
                Fault::WrongCase => answer = lower_case(answer, question_end(&query)),
                Fault::NoEdns if query.get(10..12) != Some(&[0, 0]) => {
                    answer.truncate(question_end(&query));
                    answer[3] |= 1;
                    answer[6..12].fill(0);
                }
                _ => {}
            }
            let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            let is_cut = has_begun && self.fault == Fault::TcpBroken && lock(&self.rng).random_bool(CUT);
            let part = if is_cut { &framed[..framed.len() / 2] } else { &framed[..] };
            if stream.write_all(part).is_err() || is_cut {
                return;
            }
        }
    }
}

/// The right answer of a name: known names stay for five minutes.
pub(crate) fn right(name: &str) -> Ipv4Addr {
    let hash = name.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let [_, b, c, d] = hash.to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}

fn answer_to(query: &[u8]) -> Option<Vec<u8>> {
    let asked = Asked::parse(query)?;
    Some(asked.reply(query, &[], Some((right(&asked.name), 300))))
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
