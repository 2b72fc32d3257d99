//! Clients with the patience of glibc's resolver: five seconds, one repeat from a new port; SERVFAIL and REFUSED are
//! tried again at once; two attempts in all.
//!
//! Each client is a host with a loopback address of its own and a few sockets. All of them run on one thread: queries
//! leave when their stream says so (a Poisson process), whatever the server does.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slab::Slab;

use crate::dns::{A, Seen, query};
use crate::names::BenchName;
use crate::scenario::Picker;

/// How long an attempt waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// Attempts of a lookup.
const ATTEMPTS: u8 = 2;
/// Reads of one socket before others have their turn.
const READS: usize = 64;

/// A stream of lookups.
pub(crate) struct Stream {
    /// What the report calls it.
    pub(crate) group: Group,
    /// Lookups a second.
    pub(crate) rate: f64,
    /// The hosts that ask.
    pub(crate) hosts: Range<usize>,
    /// The names asked for.
    pub(crate) picker: Picker,
}

/// Whose lookup it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Quick,
    Slow,
    Quiet,
    Noisy,
}

/// How a lookup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The right answer.
    Right,
    /// Another answer than the right one.
    Wrong,
    /// Neither attempt was answered with success.
    Failed,
}

/// A lookup that ended; times in microseconds since the first stream began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup {
    pub(crate) group: Group,
    pub(crate) is_new: bool,
    pub(crate) begin: u32,
    pub(crate) took: u32,
    pub(crate) outcome: Outcome,
}

/// All that clients saw.
#[derive(Debug, Default)]
pub(crate) struct Experience {
    pub(crate) lookups: Vec<Lookup>,
    /// Replies with SERVFAIL or REFUSED.
    pub(crate) refusals: u64,
    /// The longest time that the load generator itself was late by.
    pub(crate) lag: Duration,
}

struct Open {
    name: BenchName,
    text: String,
    group: Group,
    host: usize,
    begin: Instant,
    attempt: u8,
    socket: usize,
    id: u16,
    /// Of the attempt, among all.
    number: u64,
}

/// The clients' hosts.
pub(crate) struct Clients {
    poll: Poll,
    sockets: Vec<UdpSocket>,
    sockets_per_host: usize,
    open: Slab<Open>,
    by_id: HashMap<(usize, u16), usize, foldhash::fast::RandomState>,
    /// Attempts in the order in which they run out.
    patience: VecDeque<(Instant, usize, u64)>,
    attempts: u64,
    rng: StdRng,
    start: Instant,
    experience: Experience,
}

impl Clients {
    /// `hosts` hosts with `sockets_per_host` sockets each, which ask `server`.
    pub(crate) fn new(hosts: usize, sockets_per_host: usize, server: SocketAddr, seed: u64) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut sockets = Vec::new();
        for host in 0..hosts {
            let address = Ipv4Addr::new(127, 1, (host / 250) as u8, (host % 250 + 1) as u8);
            for _ in 0..sockets_per_host {
                let mut socket = UdpSocket::bind(SocketAddr::from((address, 0)))?;
                socket.connect(server)?;
                poll.registry().register(&mut socket, Token(sockets.len()), Interest::READABLE)?;
                sockets.push(socket);
            }
        }
        Ok(Self {
            poll,
            sockets,
            sockets_per_host,
            open: Slab::new(),
            by_id: HashMap::default(),
            patience: VecDeque::new(),
            attempts: 0,
            rng: StdRng::seed_from_u64(seed),
            start: Instant::now(),
            experience: Experience::default(),
        })
    }

    /// Asks for each name once, a few hundred at a time; gives how many stayed unanswered.
    pub(crate) fn warm(&mut self, names: &[BenchName], at_once: usize, most: Duration) -> usize {
        let begin = Instant::now();
        let mut events = Events::with_capacity(1024);
        let mut left: VecDeque<BenchName> = names.iter().copied().collect();
        let hosts = self.sockets.len() / self.sockets_per_host;
        while (!left.is_empty() || !self.open.is_empty()) && begin.elapsed() < most {
            while self.open.len() < at_once
                && let Some(name) = left.pop_front()
            {
                let host = name.number as usize % hosts;
                self.begin(name, Group::Quick, host);
            }
            self.turn(&mut events, Duration::from_millis(2));
        }
        let failed = self.experience.lookups.iter().filter(|lookup| lookup.outcome != Outcome::Right);
        let unanswered = failed.count() + left.len() + self.open.len();
        self.open.clear();
        self.by_id.clear();
        self.patience.clear();
        self.experience = Experience::default();
        unanswered
    }

    /// Runs the streams for `length`, then waits for the lookups that are open; `at` is called every turn with the time
    /// since the begin.
    pub(crate) fn run(
        &mut self,
        begin: Instant,
        streams: &mut [Stream],
        length: Duration,
        mut at: impl FnMut(Duration),
    ) -> Experience {
        let mut events = Events::with_capacity(1024);
        let mut due: Vec<Instant> = streams.iter().map(|_| begin).collect();
        self.start = begin;
        loop {
            let now = Instant::now();
            let since = now.saturating_duration_since(begin);
            at(since);
            let is_over = since >= length;
            if is_over && self.open.is_empty() {
                return std::mem::take(&mut self.experience);
            }
            let mut wait = Duration::from_millis(20);
            for (stream, due) in streams.iter_mut().zip(&mut due).filter(|_| !is_over) {
                self.experience.lag = self.experience.lag.max(now.saturating_duration_since(*due));
                while *due <= now {
                    let name = stream.picker.pick(&mut self.rng);
                    let host = self.rng.random_range(stream.hosts.clone());
                    self.begin(name, stream.group, host);
                    let uniform: f64 = self.rng.random();
                    *due += Duration::from_secs_f64(-(1.0 - uniform).ln() / stream.rate);
                }
                wait = wait.min(due.saturating_duration_since(now));
            }
            self.turn(&mut events, wait);
        }
    }

    /// Hears replies, for at most `wait` where there are none, and ends attempts that waited too long.
    fn turn(&mut self, events: &mut Events, wait: Duration) {
        let _ = self.poll.poll(events, Some(wait));
        let mut buffer = [0; 2048];
        for event in &*events {
            let socket = event.token().0;
            // Edge triggered: read until there is no more.
            for _ in 0..READS * 1024 {
                match self.sockets[socket].recv(&mut buffer) {
                    Ok(len) => self.heard(socket, &buffer[..len]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {}
                }
            }
        }
        let now = Instant::now();
        while self.patience.front().is_some_and(|(at, _, _)| *at <= now) {
            let Some((_, key, number)) = self.patience.pop_front() else {
                break;
            };
            if self.open.get(key).is_some_and(|open| open.number == number) {
                self.again(key);
            }
        }
    }

    fn begin(&mut self, name: BenchName, group: Group, host: usize) {
        let key = self.open.insert(Open {
            name,
            text: name.text(),
            group,
            host,
            begin: Instant::now(),
            attempt: 0,
            socket: usize::MAX,
            id: 0,
            number: 0,
        });
        self.attempt(key);
    }

    /// Sends an attempt from another socket than the last one's.
    fn attempt(&mut self, key: usize) {
        let open = &mut self.open[key];
        open.attempt += 1;
        let first = open.host * self.sockets_per_host;
        let others = (first..first + self.sockets_per_host).filter(|&socket| socket != open.socket);
        let place = self.rng.random_range(0..others.clone().count().max(1));
        open.socket = others.clone().nth(place).unwrap_or(first);
        loop {
            open.id = self.rng.random();
            if !self.by_id.contains_key(&(open.socket, open.id)) {
                break;
            }
        }
        self.by_id.insert((open.socket, open.id), key);
        self.attempts += 1;
        open.number = self.attempts;
        self.patience.push_back((Instant::now() + PATIENCE, key, open.number));
        // A datagram that cannot be sent is one that is lost on the way.
        let _ = self.sockets[open.socket].send(&query(open.id, &open.text, A));
    }

    /// The attempt came to nothing.
    fn again(&mut self, key: usize) {
        let open = &self.open[key];
        self.by_id.remove(&(open.socket, open.id));
        if open.attempt < ATTEMPTS {
            self.attempt(key);
        } else {
            self.end(key, Outcome::Failed);
        }
    }

    fn heard(&mut self, socket: usize, bytes: &[u8]) {
        let Some(id) = bytes.first_chunk::<2>() else { return };
        // What comes after its attempt ended finds a closed port.
        let Some(&key) = self.by_id.get(&(socket, u16::from_be_bytes(*id))) else {
            return;
        };
        let open = &self.open[key];
        let outcome = match Seen::parse(bytes) {
            Some(seen) if seen.name != open.text => Outcome::Wrong,
            Some(seen) if matches!(seen.rcode, 2 | 5) => {
                self.experience.refusals += 1;
                return self.again(key);
            }
            Some(seen) if seen.rcode == 0 && seen.address == Some(open.name.address()) => Outcome::Right,
            _ => Outcome::Wrong,
        };
        self.by_id.remove(&(open.socket, open.id));
        self.end(key, outcome);
    }

    fn end(&mut self, key: usize, outcome: Outcome) {
        let open = self.open.remove(key);
        let micros = |duration: Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        self.experience.lookups.push(Lookup {
            group: open.group,
            is_new: open.name.kind == crate::names::Kind::New,
            begin: micros(open.begin.saturating_duration_since(self.start)),
            took: micros(open.begin.elapsed()),
            outcome,
        });
    }
}
