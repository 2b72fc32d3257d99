//! The load: names never asked before, and names in the cache, at one rate; each client waits 5 s, once.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::dns::{self, Seen};
use crate::upstream::right;

/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names in the cache.
const KNOWN: u32 = 200;

/// What became of the queries of one kind.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) asked: usize,
    /// How long right answers took, microseconds, sorted.
    pub(crate) times: Vec<u32>,
}

impl Outcome {
    /// Right answers of a hundred.
    pub(crate) fn success(&self) -> f64 {
        if self.asked == 0 { 0.0 } else { self.times.len() as f64 * 100.0 / self.asked as f64 }
    }
}

/// What clients saw.
#[derive(Debug, Default)]
pub(crate) struct Experience {
    pub(crate) missed: Outcome,
    pub(crate) cached: Outcome,
    /// Answers with another address than the right one.
    pub(crate) wrong: usize,
}

/// Clients that share one socket; each query has an ID of its own among those that wait.
pub(crate) struct Load {
    socket: UdpSocket,
    rate: u32,
    waiting: Vec<Option<(String, Instant)>>,
    sent: VecDeque<(Instant, u16)>,
    next_id: u16,
}

impl Load {
    pub(crate) fn new(server: SocketAddr, rate: u32) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, rate, waiting: vec![None; 1 << 16], sent: VecDeque::new(), next_id: 1 })
    }

    /// Brings the known names into the cache.
    pub(crate) fn warm(&mut self) {
        let mut experience = Experience::default();
        for number in 0..KNOWN {
            self.ask(known(number));
            let pause = Instant::now() + Duration::from_millis(5);
            while Instant::now() < pause {
                self.listen(&mut experience);
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        self.wait(&mut experience, Duration::from_secs(1));
    }

    pub(crate) fn run(&mut self, length: Duration) -> Experience {
        let mut experience = Experience::default();
        let start = Instant::now();
        let mut number = 0_u32;
        while start.elapsed() < length {
            let due = (start.elapsed().as_secs_f64() * f64::from(self.rate)) as u32;
            while number < due {
                self.ask(format!("n{number}.miss{}.test", number % 7));
                self.ask(known(number % KNOWN));
                experience.missed.asked += 1;
                experience.cached.asked += 1;
                number += 1;
            }
            self.listen(&mut experience);
            std::thread::sleep(Duration::from_micros(100));
        }
        self.wait(&mut experience, PATIENCE);
        experience.missed.times.sort_unstable();
        experience.cached.times.sort_unstable();
        experience
    }

    fn wait(&mut self, experience: &mut Experience, most: Duration) {
        let end = Instant::now() + most;
        while Instant::now() < end && !self.sent.is_empty() {
            self.listen(experience);
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn ask(&mut self, name: String) {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let now = Instant::now();
        let _ = self.socket.send(&dns::query(id, &name, dns::A));
        self.waiting[usize::from(id)] = Some((name, now));
        self.sent.push_back((now, id));
    }

    fn listen(&mut self, experience: &mut Experience) {
        let mut buffer = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let now = Instant::now();
            let Some(seen) = Seen::parse(&buffer[..len]) else { continue };
            let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
            let Some((name, asked)) = self.waiting[id].take_if(|(name, _)| *name == seen.name) else { continue };
            if now - asked >= PATIENCE || seen.rcode != 0 {
                continue;
            }
            let Some(address) = seen.address else { continue };
            if address != right(&name) {
                experience.wrong += 1;
                continue;
            }
            let took = u32::try_from((now - asked).as_micros()).unwrap_or(u32::MAX);
            let outcome = if name.ends_with(".known.test") { &mut experience.cached } else { &mut experience.missed };
            outcome.times.push(took);
        }
        while self.sent.front().is_some_and(|(at, _)| at.elapsed() >= PATIENCE) {
            if let Some((_, id)) = self.sent.pop_front() {
                self.waiting[usize::from(id)] = None;
            }
        }
        while self.sent.front().is_some_and(|(_, id)| self.waiting[usize::from(*id)].is_none()) {
            self.sent.pop_front();
        }
    }
}

fn known(number: u32) -> String {
    format!("k{number}.known.test")
}
